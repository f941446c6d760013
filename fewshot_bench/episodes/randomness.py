"""Where random numbers come from: generators forked from the spec's seed, and a task's own key."""

# ruff: noqa: NPY002 -- numpy's global state is handled here so that nothing else depends on it
import math
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from fewshot_bench.episodes.seeds import derive_seed

if TYPE_CHECKING:
    from fewshot_bench.episodes.own_generators import OwnGenerator


def task_uniforms(key: Tensor, shape: tuple[int, ...], purpose: str) -> Tensor:
    """A task's own draws: uniform numbers in (0, 1), float64 [T, *shape], a function of its key [T] and the purpose alone.

    Each key starts a SplitMix64 stream (Steele, Lea & Flood 2014) of its own. It computes with integers until the end, so
    that every device gives the same.
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
        kinds = {"cpu", device.type}
        self.states = [torch.Generator(kind).manual_seed(seed).get_state() for kind in sorted(kinds, key="cpu".__ne__)]

    @contextmanager
    def active(self) -> Iterator[None]:
        """Draw from this generator inside the block."""
        before = _read(self.device)
        _write(self.states, self.device)
        try:
            yield
        finally:
            self.states = _read(self.device)
            _write(before, self.device)


@contextmanager
def host_generators(own: "Sequence[OwnGenerator]" = ()) -> Iterator[Callable[[int], None]]:
    """numpy's and Python's own global generators, from which a plugin may draw, and generators of the plugin's `own`: inside
    the block they are seeded by the yielded function, and after it they have their former state."""
    outside = np.random.get_state(), random.getstate(), [one.state for one in own]

    def seed_with(seed: int) -> None:
        np.random.seed(seed % 2**32)
        random.seed(seed)
        for one in own:
            one.seed(seed)

    try:
        yield seed_with
    finally:
        for one, state in zip(own, outside[2], strict=True):
            one.state = state
        np.random.set_state(outside[0])
        random.setstate(outside[1])


@contextmanager
def seeded(seed: int, device: torch.device, own: "Sequence[OwnGenerator]" = ()) -> Iterator[Callable[[], bool]]:
    """All global generators (torch's, numpy's, Python's) and a plugin's `own` from a seed of ours, and afterwards as they
    were; yields whether any was drawn from so far."""
    generator = ForkedGenerator(seed, device)
    with generator.active(), host_generators(own) as seed_with:
        seed_with(seed)
        states = [one.state for one in own]
        _, words, *place = np.random.get_state()
        python = random.getstate()

        def drew() -> bool:
            _, words_now, *place_now = np.random.get_state()
            numpy_drew = place_now != place or not np.array_equal(words_now, words)
            if numpy_drew or random.getstate() != python or not all(map(torch.equal, _read(device), generator.states)):
                return True
            return any(one.drew_since(state) for one, state in zip(own, states, strict=True))

        yield drew


def _read(device: torch.device) -> list[Tensor]:
    accelerator = [torch.get_device_module(device).get_rng_state()] if device.type != "cpu" else []
    return [torch.get_rng_state(), *accelerator]


def _write(states: list[Tensor], device: torch.device) -> None:
    torch.set_rng_state(states[0])
    if device.type != "cpu":
        torch.get_device_module(device).set_rng_state(states[1])
