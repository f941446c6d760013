"""Where random numbers come from: a torch generator forked from the spec's seed, and a task's own key."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


def derive_seed(seed: int, purpose: str) -> int:
    """A 63-bit seed for one purpose, so that initialisation, dropout and so on do not share a stream."""
    return int.from_bytes(hashlib.sha256(f"{purpose}:{seed}".encode()).digest()[:8], "little") >> 1


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
