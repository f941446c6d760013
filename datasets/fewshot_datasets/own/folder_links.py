"""Links in a folder of one's own images: none may silently remove images or give a class two names."""

from fewshot_bench import errors
from fewshot_bench.data.files.source_files import Walked
from fewshot_bench.data.images.decoding import HIDDEN, is_image
from fewshot_bench.errors import DataError
from fewshot_datasets.own.class_folders import ClassFolders
from fewshot_datasets.own.own_split import few


def check_lost(walked: Walked, where: str) -> None:
    """Refuse links to nothing, pipes and devices in the place of images or folders; raises `DataError`."""
    lost = sorted(name for name in walked.nowhere if not HIDDEN.search(name) and (is_image(name) or "." not in name))
    if lost:
        raise DataError(
            f"{where} has links that lead to no file ({len(lost):,} where images or folders should be): {few(lost)}.\n"
            "Repair or remove them."
        )


def check_twice(walked: Walked, found: ClassFolders, where: str) -> None:
    """Refuse class folders that links lead to a second time; raises `DataError`."""
    holding = {name.rpartition("/")[0] for name in found.files.values()}
    twice = [
        f"{name!r} is {first!r}"
        for name, first in sorted(walked.again.items())
        if not HIDDEN.search(name) and _holds_images(first, holding) and not _of_one_class(name, first, found)
    ]
    if twice:
        raise DataError(
            f"{where} holds folders of images twice, through links: {errors.few(twice)}.\n"
            "Two classes would have the same images. A class has one folder, in one split: remove the links."
        )


def _holds_images(folder: str, holding: set[str]) -> bool:
    return any(name == folder or name.startswith(f"{folder}/") for name in holding)


def _of_one_class(one: str, other: str, found: ClassFolders) -> bool:
    """Whether two folders lie in the folder of one class. Then their images count once."""
    depth = found.wrapped.count("/") + found.level
    first = one.split("/")[:depth]
    return len(first) == depth and first == other.split("/")[:depth]
