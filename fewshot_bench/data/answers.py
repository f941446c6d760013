"""Checks of what a data plugin returns, made where it enters the core. Nothing here imports torch."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from fewshot_bench.data.dataset import Dataset, ImageClass
from fewshot_bench.errors import PluginError

if TYPE_CHECKING:
    from fewshot_bench.data.functions import FunctionFamily


def check_family(family: "FunctionFamily") -> None:
    """Refuse a family of functions without ranges, or whose `values` returns no numbers; raises `PluginError`."""
    name = type(family).__name__
    parameters, domain = getattr(family, "parameters", None), getattr(family, "domain", None)
    if not (isinstance(parameters, Mapping) and parameters and all(map(_is_range, parameters.values()))):
        raise PluginError(f"{name}: parameters must map names to ranges (low, high), got {parameters!r}.")
    if not _is_range(domain):
        raise PluginError(f"{name}: domain must be a range (low, high), got {domain!r}.")
    x = np.linspace(domain[0], domain[1], 6).reshape(2, 3)  # type: ignore[index]
    values: Any = family.values(x, {key: np.full((2, 1), low) for key, (low, _) in parameters.items()})
    if not isinstance(values, np.ndarray) or values.shape != x.shape or values.dtype.kind != "f":
        what = f"{values.dtype} {list(values.shape)}" if isinstance(values, np.ndarray) else told(values)
        raise PluginError(f"{name}.values gave {what} at x [2, 3], where floating-point numbers [2, 3] were expected.")


def check_dataset(dataset: Dataset) -> None:
    """Refuse a data set whose `shape` is not three whole numbers; raises `PluginError`."""
    shape: Any = dataset.shape
    if not (isinstance(shape, tuple) and len(shape) == 3 and all(type(n) is int and n > 0 for n in shape)):
        raise PluginError(f"{type(dataset).__name__}.shape must be three whole numbers (C, H, W), got {shape!r}.")


def checked_classes(dataset: Dataset) -> dict[str, list[ImageClass]]:
    """The classes of each split; raises `PluginError` where the data set returns something else."""
    name, classes = type(dataset).__name__, dataset.classes()
    if not isinstance(classes, Mapping) or not set(classes) <= set(dataset.splits):
        splits = ", ".join(dataset.splits)
        raise PluginError(f"{name}.classes must map its splits ({splits}) to lists of ImageClass, got {told(classes)}.")
    return {split: _members(f"{name}.classes: split {split!r}", members) for split, members in classes.items()}


def checked_block(dataset: Dataset, block: Any) -> np.ndarray[Any, Any]:
    """A block of images; raises `PluginError` where it is something else."""
    if not isinstance(block, np.ndarray):
        raise PluginError(f"{type(dataset).__name__}.images must give uint8 blocks [n, C, H, W], got {told(block)}.")
    return block


def told(answer: Any) -> str:
    """What a plugin returned, described by its type."""
    return "None" if answer is None else f"a {type(answer).__name__}"


def _members(where: str, members: Any) -> list[ImageClass]:
    if not isinstance(members, Iterable) or isinstance(members, str):
        raise PluginError(f"{where} must be a list of ImageClass, got {told(members)}.")
    found = list(members)
    for one in found:
        if not isinstance(one, ImageClass):
            raise PluginError(f"{where} must be a list of ImageClass, but holds {told(one)}.")
        ids: Any = one.image_ids
        if not (isinstance(one.name, str) and isinstance(ids, tuple | list) and all(isinstance(text, str) for text in ids)):
            raise PluginError(f"{where}: an ImageClass has a name and a tuple of image ids, all texts; got {one!r:.60}.")
    return found


def _is_range(given: Any) -> bool:
    pair = isinstance(given, tuple | list) and len(given) == 2
    return pair and all(isinstance(end, int | float) for end in given) and given[0] <= given[1]
