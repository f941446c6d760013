"""Where random numbers come from: a torch generator forked from the spec's seed, and a task's own key."""

import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


def derive_seed(seed: int, purpose: str) -> int:
    """A 63-bit seed for one purpose, so that initialisation, dropout and so on do not share a stream."""
    return int.from_bytes(hashlib.sha256(f"{purpose}:{seed}".encode()).digest()[:8], "little") >> 1


def task_uniforms(key: Tensor, shape: tuple[int, ...], purpose: str) -> Tensor:
    """A task's own draws: uniform numbers in (0, 1), float64 [T, *shape], a function of its key [T] and the purpose alone.

    Each key starts a SplitMix64 stream (Steele, Lea & Flood 2014) of its own; integers alone until the end, so that every
    device gives the same.
    """
    start = _mixed(key ^ derive_seed(0, purpose))[:, None]  # [T, 1]
    steps = torch.arange(1, math.prod(shape) + 1, device=key.device) * _GOLDEN
    words = _mixed(start + steps)
    return ((_shifted(words, 11).double() + 0.5) * 2.0**-53).reshape(len(key), *shape)


def task_orders(key: Tensor, size: int, purpose: str, repeats: int = 1) -> Tensor:
    """A task's own shuffles: `repeats` random orders of `size` places each, int64 [T, repeats, size]."""
    return task_uniforms(key, (repeats, size), purpose).argsort(-1)


_GOLDEN = 0x9E3779B97F4A7C15 - 2**64  # as the signed integers that torch has


def _mixed(z: Tensor) -> Tensor:
    """SplitMix64's output function of words [...], int64."""
    z = (z ^ _shifted(z, 30)) * (0xBF58476D1CE4E5B9 - 2**64)
    z = (z ^ _shifted(z, 27)) * (0x94D049BB133111EB - 2**64)
    return z ^ _shifted(z, 31)


def _shifted(z: Tensor, bits: int) -> Tensor:
    """Words shifted right with zeros coming in."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)


class ForkedGenerator:
    """A torch random state of our own: code inside `active()` draws from it, the global state stays as it was.

    It serves what draws from torch's default generator (initialisers, dropout), on the CPU and on one accelerator.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self.device = device
        self.states: list[Tensor] = []
        with self._preserved():
            torch.manual_seed(seed)
            self.states = self._read()

    @contextmanager
    def active(self) -> Iterator[None]:
        """Draw from this generator inside the block."""
        with self._preserved():
            self._write(self.states)
            try:
                yield
            finally:
                self.states = self._read()

    @contextmanager
    def _preserved(self) -> Iterator[None]:
        before = self._read()
        try:
            yield
        finally:
            self._write(before)

    def _read(self) -> list[Tensor]:
        accelerator = [torch.get_device_module(self.device).get_rng_state()] if self.device.type != "cpu" else []
        return [torch.get_rng_state(), *accelerator]

    def _write(self, states: list[Tensor]) -> None:
        torch.set_rng_state(states[0])
        if self.device.type != "cpu":
            torch.get_device_module(self.device).set_rng_state(states[1])
