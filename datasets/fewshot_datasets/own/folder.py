"""Images of your own: a folder, or a zip or tar archive, that holds a folder of images for each class.

Legend: n images of a block, C channels, S side of a prepared image.
"""

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from fewshot_bench.cache import cache_folder
from fewshot_bench.data.dataset import ImageClass, Images, Progress
from fewshot_bench.data.files.source_files import ARCHIVES, BROKEN, Files, Walked, is_archive, opened
from fewshot_bench.data.images.common_depth import decoded_photos
from fewshot_bench.data.images.decoding import HIDDEN, Photo, is_image
from fewshot_bench.data.images.depth import DEEPEST, SHALLOWEST
from fewshot_bench.errors import DataError, UsageError
from fewshot_datasets.own.class_folders import EXPECTED, ClassFolders, find_classes, wrapping
from fewshot_datasets.own.folder_levels import recognised
from fewshot_datasets.own.folder_links import check_lost, check_twice
from fewshot_datasets.own.own_images import NAMED, OwnImages, Split, only_one, split_beside
from fewshot_datasets.own.own_split import SPLIT_FILE, few, read_split, split_of, to_splits
from fewshot_datasets.sources.checksums import UNREAD, checksums

AT_ONCE = 64
"""Images that one process decodes at a time."""
POOL = (
    f"To pool a class's folders, put a file {SPLIT_FILE} beside train and test: a line class,split, then a line for each "
    "class,\nsuch as cat,train. This file decides. Or name such a file: --set data.split=FILE."
)
"""What to do where a class stands in the folders of several splits."""


class Folder(OwnImages):
    """Class folders of images: `root` holds them, or is an archive that does, or holds just such an archive.

    Single folders that wrap the classes are passed through, and images in folders of a class folder belong to the class. The
    split comes from the file that option `split` names (from `root`, or absolute), else from `split.csv` in the root, else
    from folders `train`, `val` and `test` around the classes (`own_split.WRITTEN` has their other names). Otherwise it is
    drawn, or all classes are for the test, if the images are given for nothing else. Hidden files and those without the
    suffix of an image are left out. An image's id is `class/path/in/it.jpg`.
    """

    defaults: ClassVar[Mapping[str, Any]] = {
        "side": 84,  # pixels
        "resize": "crop",  # crop: the square in the middle; squash: all of the image
        "channels": 3,  # 3: RGB; 1: grey
        "depth": 0,  # bits of the values in 16-bit images, 8 to 16; 0: as many as their largest value needs
        "background": "white",  # white or black: what shows through see-through images
        "split": "",  # a file `class,split`
        "split_seed": 0,  # the seed of a drawn split
    }
    making = 2  # since prepared images tell the depth that they were read with

    def __init__(self, options: Mapping[str, Any] | None = None, root: Path | None = None) -> None:
        super().__init__(options, root)
        if self.options["channels"] not in (1, 3):
            raise UsageError(f"data.channels must be 3 (RGB) or 1 (grey), not {self.options['channels']}.")
        if self.options["depth"] and not SHALLOWEST <= self.options["depth"] <= DEEPEST:
            bits = f"{SHALLOWEST} to {DEEPEST} bits, or 0 for as many as the largest value needs"
            raise UsageError(f"data.depth must be from {bits}, not {self.options['depth']}.")
        if self.options["background"] not in ("white", "black"):
            raise UsageError(f"data.background must be white or black, not {self.options['background']!r}.")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Square, RGB or grey."""
        return (self.options["channels"], self.options["side"], self.options["side"])

    @property
    def members(self) -> list[ImageClass]:
        """All classes, sorted by name, and their images too; raises `DataError` for another layout."""
        return self._found.members

    def stated_split(self) -> Split | None:
        """The split of a split file, else of folders of splits; raises `DataError` for one that cannot be used."""
        found = self._found
        if self._split_file or not found.splits:
            return self._split_file
        folders = {folder for named in found.splits.values() for folder in named}
        where = f"the folders of {self._files.path}{recognised(folders)}"
        return Split(to_splits(found.splits, where, POOL), where)

    @cached_property
    def _split_file(self) -> Split | None:
        """What the split file says, if there is one."""
        assert self.root is not None, "the files were found"
        wanted = self.options["split"] or SPLIT_FILE
        paths = {name.removeprefix("./"): name for name in self._stamps if name.endswith(wanted)}
        for inside in (wrapping(self._stamps, str(self._files.path)) + wanted, wanted) if paths else ():
            if inside in paths:
                where = f"{inside} in {self._files.path}"
                return Split(read_split(self._read(paths[inside]), where), where)
        return split_beside(self.root, self.options["split"])

    def contents(self) -> list[Any]:
        """Id, size and CRC-32 of each image, and how it is read where that is stated. Files are read for it the first
        time."""
        files = self._found.files
        read = [{key: self.stated[key]} for key in ("depth", "background") if key in self.stated]
        each = [[image, self._stamps[name][0], crc] for (image, name), crc in zip(files.items(), self._sums, strict=True)]
        return [*each, *read]

    def readable(self) -> bool:
        """Whether each image has a CRC-32."""
        return UNREAD not in self._sums

    def variant(self) -> str:
        """How many classes and images, whose split, and what lies beside the classes but is not a class: folders without
        images, archives."""
        without = sorted({*self._found.without_images, *self._empty()})
        packed, wrapped = sorted(self._packed()), self._found.wrapped
        beside = (name.removeprefix("./") for name in self._stamps if not HIDDEN.search(name))
        alone = wrapped and not all(name.startswith(wrapped) for name in beside)
        return (
            super().variant()
            + (f"; only {wrapped} is read" if alone else "")
            + (f"; folders without images: {few(without)}" if without else "")
            + (f"; archives, which are not read: {few(packed)}" if packed else "")
        )

    def images(self, progress: Progress) -> Iterator[Images]:
        """Blocks [n, C, S, S], decoded by parallel processes; raises `DataError` that names every damaged image."""
        files = self._found.files
        ordered = [files[image] for members in self.classes().values() for one in members for image in one.image_ids]
        groups = [ordered[first : first + AT_ONCE] for first in range(0, len(ordered), AT_ONCE)]
        side, resize, channels, depth, background = (
            self.options[key] for key in ("side", "resize", "channels", "depth", "background")
        )
        photo = Photo(side, resize, channels, depth=depth, background=background)
        with opened(self._files.path, cache_folder()) as readable:
            where = f"Read from {self._files.path}: replace or remove them."  # not from where that was unpacked
            yield from decoded_photos(readable, groups, photo, progress, where)

    def _empty(self) -> Iterator[str]:
        """Empty folders at the level of the class folders. An archive need not list them."""
        top = self._files.path / self._found.wrapped
        for path in top.glob("*/*" if self._found.splits else "*"):
            name = path.relative_to(top)
            misplaced = self._found.splits and split_of(name.parts[0]) is None
            if path.is_dir() and not any(path.iterdir()) and not misplaced and not HIDDEN.search(name.as_posix()):
                yield name.as_posix()

    def _packed(self) -> Iterator[str]:
        """Archives at the level of the class folders."""
        for name in self._stamps:
            inside = name.removeprefix(self._found.wrapped)
            if is_archive(Path(name)) and inside.count("/") < self._found.level and not HIDDEN.search(name):
                yield inside

    @cached_property
    def _source(self) -> tuple[Files, Walked]:
        """The folder or archive of the images, and what is in it."""
        root = self.root
        if root is None:
            raise DataError(f"Say where your images are: --data-root photos/, or a .zip or .tar of them.{NAMED}\n{EXPECTED}")
        if not root.is_dir() and root.exists() and not is_archive(root):
            hint = " For arrays: --dataset arrays." if root.suffix.lower() in (".npz", ".npy") else ""
            raise DataError(f"{root} is neither a folder nor an archive ({', '.join(ARCHIVES)}).{hint}\n{EXPECTED}")
        walked = Files(root).walked()
        if root.is_dir() and not any(map(is_image, walked.stamps)) and (archive := only_one(root, ARCHIVES)):
            return Files(archive), Files(archive).walked()
        return Files(root), walked

    @property
    def _files(self) -> Files:
        return self._source[0]

    @property
    def _stamps(self) -> dict[str, tuple[int, int]]:
        return self._source[1].stamps

    @cached_property
    def _found(self) -> ClassFolders:
        where, named = str(self._files.path), self._split_file.of if self._split_file else {}
        check_lost(walked := self._source[1], where)
        found = find_classes(walked.stamps, where, named)
        check_twice(walked, found, where)
        return found

    @cached_property
    def _sums(self) -> list[int]:
        """The CRC-32 of each image."""
        return checksums(self._files, list(self._found.files.values()), self._stamps)

    def _read(self, name: str) -> bytes:
        try:
            return self._files.read(name)
        except BROKEN as error:
            raise DataError(f"Cannot read {name} in {self._files.path}: {error}.") from error
