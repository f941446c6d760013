"""What a run takes, known before it starts: what cannot fit in memory is refused, what takes more than a day is said.

Bytes are the least that any way of computing needs, so that nothing is refused which would have run.

Legend: T tasks, n images a task.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from fewshot_bench.episodes.size import EpisodeSize
from fewshot_bench.errors import FewshotError, UsageError
from fewshot_bench.learning.backbone import Backbone
from fewshot_bench.learning.base import Method
from fewshot_bench.memory import memory_bytes
from fewshot_bench.runs.plan import kept_bytes
from fewshot_bench.runs.requests.resolve import Resolved
from fewshot_bench.runs.testing import EMBED_AT_ONCE

WORDS_KEPT = 4
"""Arrays of a function task's random words that are there at once: words, uniform numbers, points, values."""
OPTIMISED = 4
"""Numbers a parameter in training: itself, its gradient, the best one, and at least one of the optimiser."""
ONE_SIZE = {"max_ways": None, "max_shots": None, "imbalanced": False}
LARGE, MANY = 2**24, 10**5
"""From so many bytes of a task's images, or so large a hyper-parameter, the memory of networks and gradients is estimated by
a build without storage. That imports torch's compiler, which takes a second."""
HELD = {"classification": 0.5, "regression": 2.0}
"""Copies of the largest map of a network that must exist at once: our kernels pool before they store, other layers have an
input and an output."""


@dataclass(frozen=True)
class Need:
    """Bytes that must be there at once, what they are for, and the options that lower them."""

    bytes: float
    what: str
    options: str


def check_image(resolved: Resolved) -> None:
    """Refuse images of which two do not fit in memory, before any is made; raises `UsageError`."""
    of_data = f"the shape of the data{_options_of_data(resolved)}"
    _refuse(resolved, Need(2 * _input_bytes(resolved), f"a pair of {_things(resolved)}", of_data))


def check_memory(resolved: Resolved, training_classes: int) -> None:
    """Refuse a run that cannot fit in memory; raises `UsageError` that names the options which lower what it needs."""
    for need in needs(resolved, training_classes):
        _refuse(resolved, need)


def _refuse(resolved: Resolved, need: Need) -> None:
    limit = memory_bytes()
    if resolved.device.startswith("cuda"):  # what it takes may lie there
        limit = max(limit, torch.cuda.get_device_properties(resolved.device).total_memory)
    if need.bytes > limit:
        raise UsageError(
            f"It cannot fit in memory: {need.what} takes at least {_gib(need.bytes)}, and there is {_gib(limit)}.\n"
            f"What lowers it: {need.options}."
        )


def needs(resolved: Resolved, training_classes: int) -> Iterator[Need]:
    """What a run needs, the plainest first: each is known before the next is looked at."""
    train, test, rules = resolved.train, resolved.test, resolved.train.validation
    yield Need(16 * test.episodes, f"a score for each of {test.episodes:,} test episodes", "--episodes")
    if rules is not None:
        yield Need(
            16 * rules.episodes, f"a score for each of {rules.episodes:,} validation episodes", "--set validation.episodes"
        )
    keys = _keys(resolved)
    sizes = {"a test task": (EpisodeSize.of(test), ", ".join(f"--{key}" for key in keys))}
    if rules is not None:
        sizes["a validation task"] = EpisodeSize.of(rules), ", ".join(f"--set validation.{key}" for key in keys)
    if train.updates and train.ways is not None:
        sizes["a training task"] = EpisodeSize.of(train), "--shots, " + ", ".join(f"--set train.{key}" for key in keys)
    of_data = _options_of_data(resolved)
    for what, (size, options) in sizes.items():
        yield Need(
            size.images * _input_bytes(resolved), f"{what} with {size.images:,} {_things(resolved)}", options + of_data
        )
    if train.batch_size is not None and train.updates:
        need = train.batch_size * _input_bytes(resolved)
        yield Need(need, f"a batch of {train.batch_size:,} images", f"--set batch_size{of_data}")
    largest = max([size.images for size, _ in sizes.values()] + [train.batch_size or 0]) * _input_bytes(resolved)
    numbers = [value for value in train.hparams.values() if isinstance(value, int)]
    if largest >= LARGE or max(numbers, default=0) >= MANY:
        yield from _of_networks(resolved, training_classes, sizes)


def _of_networks(resolved: Resolved, training_classes: int, sizes: dict[str, tuple[EpisodeSize, str]]) -> Iterator[Need]:
    """What the method's parameters and its backbone's maps need, by a method without storage."""
    of_data = _options_of_data(resolved)
    train = resolved.train
    try:
        method = resolved.build_meta(resolved.dataset.shape, training_classes)
        kept = _kept_of(method, resolved.dataset.shape)
    except FewshotError:
        raise
    except Exception:  # whatever a plugin's code raises without storage; the rehearsal says what is wrong with it
        return
    largest = _largest_map(kept, resolved)
    parameters = sum(p.numel() for p in method.parameters())
    copies = OPTIMISED if method.trained and train.updates else 1
    yield Need(
        parameters * copies * _itemsize(resolved), f"a method of {parameters:,} parameters", f"its hyper-parameters{of_data}"
    )
    for what, (size, options) in sizes.items():
        images = max(size.largest_support, size.largest_ways * size.queries)
        if what != "a training task" and resolved.kind == "classification":
            images = min(images, EMBED_AT_ONCE)  # where they are embedded apart from their tasks
        yield Need(images * largest, f"{what} of {size.images:,} {_things(resolved)} in the network", options + of_data)
    if train.batch_size is not None and train.updates:
        yield Need(
            train.batch_size * largest,
            f"a batch of {train.batch_size:,} images in the network",
            f"--set batch_size{of_data}",
        )


def check_kept(resolved: Resolved, method: Method) -> None:
    """Refuse training tasks whose gradient needs more than there is, and tests whose inner steps do, by what small tasks
    keep; it is only tried where a task is large. Raises `UsageError`."""
    train, test = resolved.train, resolved.test
    if not (method.trained and train.updates) or train.batch_size is not None:
        return
    size, tested = EpisodeSize.of(train), EpisodeSize.of(test)
    if max(size.images, tested.images) * _input_bytes(resolved) < LARGE:
        return
    least, more_shots, more_queries = (
        kept_bytes(method, train.model_copy(update={**ONE_SIZE, "shots": shots, "queries": queries}), kernels=False)
        for shots, queries in ((1, 1), (2, 1), (1, 2))
    )
    share = HELD[resolved.kind] / 2 / size.largest_ways
    if getattr(method.hparams, "first_order", False):  # each step is forgotten before the next
        share /= _steps(method)
    of_shot, of_query = ((more - least) * share for more in (more_shots, more_queries))  # of one image
    support, queries = size.largest_support, size.largest_ways * size.queries
    keys = _keys(resolved)
    what = f"a training task with {size.images:,} {_things(resolved)} and its gradient"
    need = of_shot * support + of_query * queries
    _refuse(resolved, Need(need, what, "--shots, " + ", ".join(f"--set train.{key}" for key in keys)))
    if test.inner_steps is not None:
        what = f"a test task with {tested.largest_support:,} {_things(resolved)} to adapt to"
        need = of_shot / 2 / _steps(method) * tested.largest_support  # one step, of first order
        _refuse(resolved, Need(need, what, ", ".join(f"--{key}" for key in keys)))


def _steps(method: Method) -> int:
    """Inner steps in training; 1 for a method without."""
    steps = getattr(method.hparams, "inner_steps", 1)
    return max(1, steps) if isinstance(steps, int) else 1


def _keys(resolved: Resolved) -> list[str]:
    """What says how large an episode is; functions have no ways."""
    return ["ways", "shots", "queries"] if resolved.kind == "classification" else ["shots", "queries"]


def _kept_of(method: Method, shape: tuple[int, ...]) -> tuple[list[int], list[int]] | None:
    """What the backbone keeps of 2 images and of 3; None without a backbone."""
    network = next((one for one in method.modules() if isinstance(one, Backbone)), None)
    return None if network is None else (_kept(network, shape, 2), _kept(network, shape, 3))


def _largest_map(kept: tuple[list[int], list[int]] | None, resolved: Resolved) -> float:
    """Bytes that an image's largest map in the backbone takes, as often as it is there at once; 0 without a backbone."""
    if kept is None:
        return 0.0
    few, more = kept
    largest = max((after - before for before, after in zip(few, more, strict=False)), default=0)  # weights stay as they are
    return largest * _itemsize(resolved) * HELD[resolved.kind]


def _kept(network: Backbone, shape: tuple[int, ...], images: int) -> list[int]:
    """Sizes of the tensors that autograd keeps of a pass of some images, in their order; nothing is computed."""
    sizes: list[int] = []

    def seen(tensor: Tensor) -> Tensor:
        sizes.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(seen, lambda tensor: tensor):
        network.embed(torch.empty(1, images, *shape, device="meta"), dict(network.named_parameters()))
    return sizes


def _input_bytes(resolved: Resolved) -> int:
    """Bytes of an image as it is made: uint8, then floating-point; of a point: its random words."""
    shape = resolved.dataset.shape
    if resolved.kind == "regression":
        return 8 * WORDS_KEPT
    pixels = 1
    for side in shape:
        pixels *= side  # whole numbers of any size
    return pixels * (1 + _itemsize(resolved))


def _itemsize(resolved: Resolved) -> int:
    return 8 if resolved.train.dtype == "float64" else 4


def _things(resolved: Resolved) -> str:
    if resolved.kind == "regression":
        return "points"
    return f"images of {'×'.join(map(str, resolved.dataset.shape[1:]))}"


def _options_of_data(resolved: Resolved) -> str:
    return ", --set data.side" if "side" in getattr(resolved.dataset, "options", {}) else ""


def _gib(size: float) -> str:
    return f"{size / 2**30:,.1f} GiB"
