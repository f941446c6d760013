"""Which folders are classes: the first level below any folders that wrap them all, or below the folders of splits.

photos/cat/1.jpg, photos/dog/indoor/2.jpg               cat, dog
photos/train/cat/1.jpg, photos/validation/dog/2.jpg     cat of train, dog of val; `folder_levels` says when
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from fewshot_bench.data.dataset import ImageClass
from fewshot_bench.data.images.decoding import HIDDEN, IMAGE_SUFFIXES, is_image
from fewshot_bench.errors import DataError
from fewshot_datasets.own.folder_levels import Parts, class_level
from fewshot_datasets.own.own_split import composed, few, split_of

NOT_READ = (".gif", ".tif", ".tiff", ".heic", ".heif", ".avif", ".jp2", ".jxl", ".ppm", ".pgm", ".tga", ".psd", ".svg")
"""These are images too. If they were left out silently, a class would be smaller or missing."""
SUFFIXES = ", ".join(IMAGE_SUFFIXES)
EXPECTED = f"Expected of --data-root: a folder of images ({SUFFIXES}) for each class, as cat/1.jpg and dog/2.jpg."


@dataclass(frozen=True)
class ClassFolders:
    """The classes among some files, and how they lie."""

    members: list[ImageClass]
    """The classes, sorted by name, and so are their images."""
    files: dict[str, str]
    """The file of each image id."""
    level: int
    """How many folders lead to a class's files: 1, or 2 below folders of splits."""
    wrapped: str
    """What wraps the classes: `photos/`; "" for nothing."""
    splits: dict[str, list[str]]
    """The folders of splits in which each class stands; {} if there are none."""
    without_images: list[str]
    """Folders at the level of the class folders that hold files, but none with the suffix of an image."""


def find_classes(names: Iterable[str], where: str, named: Collection[str] = ()) -> ClassFolders:
    """The classes among files `names`, where a split file calls them `named`; raises `DataError` that says what was found in
    `where` if there are none, or if it cannot be told which folders they are."""
    names = sorted(names)
    paths = _image_paths(names, where)
    wrapped = _wrapping(list(paths.values()))
    inside = {name: parts[len(wrapped) :] for name, parts in paths.items()}
    folders = class_level(inside.values(), "/".join([where, *wrapped]), named)  # that lead to a class's files
    _check_places(inside, folders, where)
    by_class: dict[str, dict[Parts, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name, parts in inside.items():
        by_class[composed(parts[folders - 1])][parts[:folders]].append(name)
    _check_names(by_class, inside, where)
    ids = {one: _image_ids(one, found, inside) for one, found in sorted(by_class.items())}
    return ClassFolders(
        [ImageClass(one, tuple(sorted(files))) for one, files in ids.items()],
        {image: name for files in ids.values() for image, name in files.items()},
        folders,
        "".join(f"{part}/" for part in wrapped),
        {one: [folder[0] for folder in sorted(found)] for one, found in by_class.items()} if folders == 2 else {},
        _without_images(names, wrapped, folders, {parts[:folders] for parts in inside.values()}),
    )


def _image_paths(names: list[str], where: str) -> dict[str, Parts]:
    """The images among some files; raises `DataError` where there are none."""
    paths = {name: _parts(name) for name in names if is_image(name) or _is_not_read(name)}
    if not paths:
        found = f"holds no images but {len(names):,} files, such as {few(names)}" if names else "is empty"
        raise DataError(f"{where} {found}.\n{EXPECTED}")
    return paths


def wrapping(names: Iterable[str], where: str) -> str:
    """What wraps the class folders among files `names`: `photos/`; "" for nothing. Raises `DataError` where no file is an
    image."""
    return "".join(f"{part}/" for part in _wrapping(list(_image_paths(sorted(names), where).values())))


def _parts(name: str) -> Parts:
    """The folders and the file of a path (a `PurePath` for each of many files would take longer than reading them)."""
    return tuple(part for part in name.split("/") if part not in ("", "."))


def _is_not_read(name: str) -> bool:
    return name.lower().endswith(NOT_READ) and not HIDDEN.search(name)


def _wrapping(paths: list[Parts]) -> Parts:
    """The single folders, one in another, that lead to the class folders, without a split's folder."""
    shortest, longest = min(map(len, paths)), max(map(len, paths))
    depth = 0
    while (
        shortest > depth + 1
        and longest > depth + 2
        and len({parts[depth] for parts in paths}) == 1
        and split_of(paths[0][depth]) is None
    ):
        depth += 1
    return paths[0][:depth]


def _without_images(names: list[str], wrapped: Parts, folders: int, classes: set[Parts]) -> list[str]:
    """The folders beside those of the classes that hold files, but no images; hidden ones are left out."""
    first, last = len(wrapped), len(wrapped) + folders
    paths = [_parts(name) for name in names if not HIDDEN.search(name)]
    beside = {parts[first:last] for parts in paths if len(parts) > last and parts[:first] == wrapped}
    split_or_class = beside if folders == 1 else {folder for folder in beside if split_of(folder[0])}
    return sorted("/".join(folder) for folder in split_or_class - classes)


def _check_places(inside: dict[str, Parts], folders: int, where: str) -> None:
    """Refuse images that are in no class folder, and those of a kind that is not read; raises `DataError`."""
    if outside := [name for name, parts in inside.items() if len(parts) <= folders]:
        hint = " Remove them, or put them into a class's folder."
        if len(outside) == len(inside):  # there are no classes
            hint = ""
        if "\\" in outside[0]:
            hint = " Their zip was made on Windows: name the zip itself, not the folder it was unpacked to."
        raise DataError(f"{where} holds images outside every class folder: {few(outside)}.{hint}\n{EXPECTED}")
    if unread := [name for name in inside if _is_not_read(name)]:
        raise DataError(
            f"{where} holds images in a format that cannot be read: {few(unread)}.\nConvert ({SUFFIXES}) or remove them."
        )


def _check_names(by_class: dict[str, dict[Parts, list[str]]], inside: dict[str, Parts], where: str) -> None:
    """Refuse folders and images whose names are equal once composed, and classes whose names are not text."""
    alike = [name for name, found in by_class.items() if len({folder[-1] for folder in found}) > 1]
    alike += [name for name, times in Counter(composed("/".join(parts)) for parts in inside.values()).items() if times > 1]
    if alike:
        raise DataError(f"{where} holds names that differ only in how accents are encoded: {few(alike)}. Rename one.")
    if undecoded := [ascii(name) for name in by_class if any("\ud800" <= letter <= "\udfff" for letter in name)]:
        raise DataError(f"{where} holds class folders whose names are not UTF-8: {', '.join(undecoded[:3])}. Rename them.")


def _image_ids(one: str, found: dict[Parts, list[str]], inside: dict[str, Parts]) -> dict[str, str]:
    """The file of each image id of class `one`: class, the split's folder where the class stands in several, path."""
    return {
        "/".join([one, *(folder[:-1] if len(found) > 1 else ()), *map(composed, inside[name][len(folder) :])]): name
        for folder, names in found.items()
        for name in names
    }
