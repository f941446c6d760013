"""Tasks changed in what must not matter to an inductive method, whether its outputs moved, and what is said then.

Legend: T tasks, Q query images in all, N ways (of regression: D values, of K inner steps).
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from fewshot_bench.episodes.philox import key_of, words
from fewshot_bench.episodes.tasks import Tasks
from fewshot_bench.specs import Kind

BOUND, BOUND_64 = 1e-3, 1e-6
"""Of the spread of a query's scores: what may move in the dtype of the test, and in float64."""
ROUNDING = 64
"""Of the dtype's precision, of the largest score: what may move however near to each other the scores of a query are."""
IMAGES = ("support_x", "query_x", "unlabelled_x")
"""The parts of a task that are images."""
TIES = 0.01
"""So large a share of queries may change winner while no score moves beyond the bound (near ties); one may always."""

CAUSES = {
    "earlier": (
        "when the same is asked of a copy",
        "predict must keep nothing from one call for the next, and draw at random from tasks.key alone.",
    ),
    "queries": (
        "with other queries beside it",
        "Answer each query from the support alone, or declare transductive = True in the class{other}.",
    ),
    "tasks": (
        "with other tasks in the same call",
        "predict must answer each task from its own support, whatever other tasks it is called with.",
    ),
    "together": (
        "with other queries and tasks in the same call",
        "Answer each query from its support alone, or declare transductive = True in the class{other}.",
    ),
    "kept": (
        "with other queries beside it, and images changed by a rounding",
        "What is kept of a support must not depend on queries, or declare transductive = True{other}.",
    ),
    "order": (
        "with tasks and queries in the opposite order",
        "predict must answer each query by itself, wherever it stands; what is drawn at random comes from tasks.key.",
    ),
    "alone": (
        "as the only query of the only task",
        "predict must answer each query by itself, however many there are; what is drawn at random comes from tasks.key.",
    ),
    "fewer": (
        "beside half as many queries",
        "predict must answer each query by itself, however many there are; what is drawn at random comes from tasks.key.",
    ),
    "sorted": (
        "with its queries sorted by class",
        "predict must answer each query by itself, wherever it stands; what is drawn at random comes from tasks.key.",
    ),
    "balance": (
        "with the other queries all of one class",
        "Answer each query from the support alone, or declare transductive = True in the class{other}.",
    ),
    "embedding": (
        "with images that embed_images was given one at a time",
        "embed_images must embed each image by itself: return None where the images of a call see each other.",
    ),
    "left": (
        "when the same is asked in a process that does not have what the test left in memory",
        "predict must keep nothing from one call for the next, in a library's objects and in the environment neither.",
    ),
}
"""When a score was another one, and what to do. `fsbench check` alone asks for `fewer`, `sorted` and `balance`."""


@dataclass(frozen=True)
class Again:
    """What is asked once more, and of which queries the same must be said."""

    tasks: Tasks
    kept: Tensor  # [T, Q] bool, of the tasks as they were tested
    back: Callable[[Tensor], Tensor] = lambda outputs: outputs
    """Outputs in the order of the tasks as they were tested."""
    in_place: bool = True
    """Whether tasks and queries are as many as before and stand where they stood, so that not even rounding differs."""
    exact: Tasks | None = None
    """The same to be asked in float64, where that is more than the tasks in float64."""


def replaced(tasks: Tasks, others: Tasks, kept: Tensor) -> Again:
    """All queries but those `kept` [T, Q] replaced by those of other tasks, and so are whole tasks of which none is kept."""
    size = tasks.query_x.shape[1]
    theirs = others.query_x[:, torch.arange(size, device=kept.device) % others.query_x.shape[1]]
    changed = {"query_x": torch.where(_fitting(kept, tasks.query_x), tasks.query_x, theirs)}
    stays = kept.any(1)  # [T]
    if not stays.all():  # then they are all of one size
        for name in (one.name for one in fields(Tasks) if one.name != "query_x"):
            if isinstance(x := getattr(tasks, name), Tensor):
                changed[name] = torch.where(_fitting(stays, x), x, getattr(others, name))
    return Again(replace(tasks, **changed), kept)  # type: ignore[arg-type]


def turned(tasks: Tasks) -> Again:
    """Tasks and their queries in the opposite order."""
    moved = {one.name: x.flip(0) for one in fields(Tasks) if isinstance(x := getattr(tasks, one.name), Tensor)}
    moved["query_x"] = moved["query_x"].flip(1)
    everything = torch.ones(tasks.query_x.shape[:2], dtype=torch.bool, device=tasks.key.device)
    return Again(replace(tasks, **moved), everything, lambda outputs: outputs.flip(0, 1), in_place=False)  # type: ignore[arg-type]


def alone(tasks: Tasks, task: int, query: int) -> Again:
    """One query of one task, beside no other query and no other task."""
    one = tasks.some(slice(task, task + 1))
    kept = torch.zeros(tasks.query_x.shape[:2], dtype=torch.bool, device=tasks.key.device)
    kept[task, query] = True
    single = replace(one, query_x=one.query_x[:, query : query + 1])
    return Again(single, kept, lambda outputs: outputs.expand(*kept.shape, -1), in_place=False)


def nudged(tasks: Tasks, others: Tasks, kept: Tensor) -> Again:
    """The first tasks as `replaced` does it, as many as `others`, with images that differ from themselves by rounding, so
    that a method which keeps what it made of a support does not meet it again."""
    some, rows = tasks.some(slice(len(others))), kept[: len(others)]
    found, exact = (_scaled(replaced(x, y, rows).tasks) for x, y in ((some, others), (in_float64(some), in_float64(others))))
    padding = torch.zeros_like(kept)
    padding[: len(others)] = rows
    return Again(found, padding, lambda outputs: _padded(outputs, len(kept)), in_place=False, exact=exact)


def _scaled(tasks: Tasks) -> Tasks:
    factor = 1 + 8 * torch.finfo(tasks.query_x.dtype).eps
    return replace(tasks, support_x=tasks.support_x * factor, query_x=tasks.query_x * factor)


def _padded(outputs: Tensor, size: int) -> Tensor:
    return torch.cat([outputs, outputs.new_zeros(size - len(outputs), *outputs.shape[1:])])


def copied(tasks: Tasks) -> Tasks:
    """The same tasks in tensors of their own, which a method may overwrite."""
    return replace(tasks, **{name: x.clone() for name, x in vars(tasks).items() if isinstance(x, Tensor)})  # type: ignore[arg-type]


def in_float64(tasks: Tasks) -> Tasks:
    """The same tasks, computed more exactly."""
    held = {one.name: getattr(tasks, one.name) for one in fields(Tasks)}
    exact = {name: x.double() for name, x in held.items() if isinstance(x, Tensor) and x.is_floating_point()}
    return replace(tasks, **exact)  # type: ignore[arg-type]


def differing(before: Tensor, after: Tensor, kept: Tensor, kind: Kind, precision: float, bound: float) -> Tensor:
    """Which of the `kept` queries [T, Q] are answered otherwise: outputs [T, Q, N] moved by more than `bound` times their
    spread, or so little, but the highest of too many queries changed."""
    finite = before.isfinite()
    spread_of = (1, 2) if kind == "regression" else 2  # of a task's values, or of a query's scores
    high = before.masked_fill(~finite, -torch.inf).amax(spread_of, keepdim=True)
    low = before.masked_fill(~finite, torch.inf).amin(spread_of, keepdim=True)
    largest = before.masked_fill(~finite, 0).abs().amax(spread_of, keepdim=True)
    allowed = bound * (high - low) + ROUNDING * precision * largest
    same = (before == after) | ((before - after).abs() <= allowed)  # NaN is not
    moved = ~same.all(2) & kept
    if kind == "regression" or moved.any():
        return moved
    turned = (before.argmax(2) != after.argmax(2)) & kept
    return turned & (turned.sum() > max(1, TIES * int(kept.sum())))


def gaps(before: Tensor, after: Tensor, kept: Tensor) -> Tensor:
    """By how much the outputs [T, Q, N] of each task's `kept` queries [T, Q] moved at most [T]; infinite where one became a
    number, or is none any more."""
    moved = torch.where(before == after, 0, (before - after).abs().nan_to_num(torch.inf))
    return moved.masked_fill(~kept[:, :, None], 0).amax((1, 2))


def jittered(tasks: Tasks, roundings: int, key: int) -> Tasks:
    """The same tasks, each number of their images changed by at most so many roundings of its own."""
    return replace(tasks, **{name: _jittered(getattr(tasks, name), roundings, key_of(key, name)) for name in IMAGES})  # type: ignore[arg-type]


def _jittered(x: Tensor | None, roundings: int, key: int) -> Tensor | None:
    if x is None or not x.is_floating_point():
        return x
    dice = torch.from_numpy(words(key, x.numel()).view(np.int64) >> 32).to(torch.float64) / 2**31  # -1 to 1
    return x * (1 + roundings * torch.finfo(x.dtype).eps * dice.reshape(x.shape).to(x))


def _fitting(mask: Tensor, x: Tensor) -> Tensor:
    """A mask of the first axes of x, with ones for the others."""
    return mask.reshape(*mask.shape, *[1] * (x.dim() - mask.dim()))
