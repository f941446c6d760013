"""Prepared data: a data set's images made once into one class-sorted memory map, then opened at once.

A prepared data set is a folder `<name>-<hash>` of the cache: `images.npy` (uint8 [images, C, H, W], split by split, class
by class) and `meta.json`. The hash covers the data set's name, options and identity, so another source is another folder.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from fewshot_bench.cache import cache_folder
from fewshot_bench.data.answers import checked_block, checked_classes
from fewshot_bench.data.dataset import Dataset, ImageClass, Images, Progress
from fewshot_bench.data.images.loss_notes import Remarks, heard, pass_on
from fewshot_bench.errors import DataError, FewshotError, TooFewClasses
from fewshot_bench.hashing import canonical_json, short_hash
from fewshot_bench.storage import only_one

if TYPE_CHECKING:
    from fewshot_bench.data.bank import Ids, ImageBank

FORMAT = 1
MADE = frozenset({"shape", "splits", "fingerprint", "bytes"})
"""What `meta.json` says of prepared images; it says more, for people."""
Note = Callable[[str], None]
"""Called with a line for the user."""


@dataclass(frozen=True)
class Prepared:
    """A prepared data set: `bank(split)` opens a split."""

    folder: Path
    meta: dict[str, Any]
    dataset: Dataset | None = field(default=None, kw_only=True, repr=False, compare=False)
    """What it was opened for."""

    @property
    def own(self) -> str:
        """How many images and whose split, where that is the user's own or was drawn; else ""."""
        return self.dataset.variant() if self.dataset and self.dataset.split_csv() is not None else ""

    @property
    def depth(self) -> int | None:
        """The depth in bits with which 16-bit images were read; None if there are none."""
        return self.meta.get("depth")

    @property
    def remarks(self) -> list[str]:
        """What was lost of the images when they became pixels, in words."""
        return [str(said) for said in self.meta.get("remarks", ())]

    @property
    def fingerprint(self) -> str:
        """Hash (sha256) of all prepared pixels: provenance."""
        return str(self.meta["fingerprint"])

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape (C, H, W) of an image."""
        c, h, w = self.meta["shape"]
        return c, h, w

    def bank(self, split: str) -> "ImageBank":
        """The bank of a split, or of two neighbours such as `train+val`; raises `TooFewClasses` where one does not exist."""
        from fewshot_bench.data.bank import MemmapBank  # torch, which `fsbench data list` does without

        if missing := [name for name in split.split("+") if not self.meta["splits"].get(name, {}).get("classes")]:
            raise no_split(missing[0], [name for name, one in self.meta["splits"].items() if one["classes"]])
        splits = [self.meta["splits"][name] for name in split.split("+")]
        names = tuple(name for one in splits for name in one["classes"])
        sizes = [size for one in splits for size in one["sizes"]]
        first, total = splits[0]["first"], sum(sizes)
        structure = splits[0]["structure_id"] if len(splits) == 1 else short_hash([s["structure_id"] for s in splits])
        images = np.load(self.folder / "images.npy", mmap_mode="r")[first : first + total]
        return MemmapBank(images, names, np.cumsum([0, *sizes], dtype=np.int64), structure)

    def training_classes(self, split: str) -> int:
        """How many classes a split has."""
        return len(self.bank(split).class_names)

    def describe(self, *splits: str) -> dict[str, Any]:
        """Structure id, classes and images of each named split, for a record."""
        return {
            name: {
                "structure_id": bank.structure_id,
                "classes": len(bank.class_names),
                "images": int(bank.starts[-1]),
                **_sizes(bank.starts),
            }
            for name in splits
            for bank in [self.bank(name)]
        }


@dataclass(frozen=True)
class OnDemand(Prepared):
    """A data set whose images are made when they are asked for: nothing lies on disk."""

    dataset: Dataset

    @property
    def fingerprint(self) -> str:
        """The identity of the data set: there are no stored pixels to hash."""
        return self.dataset.identity()

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape (C, H, W) of an image."""
        return self.dataset.shape

    def bank(self, split: str) -> "ImageBank":
        """The bank of one split; raises `TooFewClasses` where there is no such split."""
        if split not in self.dataset.splits:
            raise no_split(split, self.dataset.splits)
        from fewshot_bench.data.bank_answers import checked_bank  # torch

        return checked_bank(type(self.dataset).__name__, self.dataset.bank(split), self.dataset.shape)


def no_split(split: str, splits: Iterable[str]) -> TooFewClasses:
    """The error for a split that a data set does not have."""
    held = ", ".join(splits) or "none at all"
    hint = "  Use it to test what was trained on another one: --test-dataset." if held == "test" else ""
    return TooFewClasses(f"This data set has no classes in split {split!r}; it has {held}.{hint}")


@contextmanager
def own_split_told(prepared: Prepared) -> Iterator[None]:
    """Where a split has too few classes, the error says whose split it is, if that is the user's own or was drawn."""
    try:
        yield
    except TooFewClasses as error:
        raise TooFewClasses(f"{error}\nThe data: {prepared.own}." if prepared.own else str(error)) from None


def prepared_folder(name: str, dataset: Dataset) -> Path:
    """The folder of the cache where this data set lies once it is prepared."""
    made_as = [dataset.making] if dataset.making else []
    return cache_folder() / f"{name.replace(':', '-')}-{short_hash(FORMAT, dataset.stated, dataset.identity(), *made_as)}"


def open_prepared(name: str, dataset: Dataset) -> Prepared | None:
    """The prepared data set if the cache has it whole, else None."""
    if dataset.on_demand:
        return OnDemand(Path(), {}, dataset)
    folder = prepared_folder(name, dataset)
    meta = _read_meta(folder)
    try:
        whole = meta.keys() >= MADE and (folder / "images.npy").stat().st_size == meta["bytes"]
    except OSError:
        return None
    return Prepared(folder, meta, dataset=dataset) if whole else None


def _read_meta(folder: Path) -> dict[str, Any]:
    """What `meta.json` of a folder of the cache says; {} where it is not there, or damaged."""
    with suppress(OSError, ValueError):
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        return meta if isinstance(meta, dict) else {}
    return {}


def prepare(
    name: str, dataset: Dataset, progress: Progress = lambda done, total: None, note: Note = lambda text: None
) -> Prepared:
    """Open the prepared data set, making it first where the cache lacks it. `note` is called with the reason why it is made
    again, and with what was made of a user's own images.

    Raises `DataError` where the source is missing or damaged, `FewshotError` where the cache cannot be written. Made in
    a temporary folder and renamed: an interruption leaves no half-made cache. Of two makers one waits for the other.
    """
    if ready := open_prepared(name, dataset):
        return ready
    folder = prepared_folder(name, dataset)
    try:
        with only_one(folder):
            for abandoned in folder.parent.glob(f".{folder.name}-*"):  # by makers that were killed
                shutil.rmtree(abandoned, ignore_errors=True)
            if ready := open_prepared(name, dataset):  # made by another process meanwhile
                return ready
            for reason in _why_again(name, dataset, folder):
                note(reason)
            made = _make_in_place(name, dataset, folder, progress)
    except OSError as error:
        raise FewshotError(f"Cannot write the cache {folder}: {error.strerror or error}. Set FSBENCH_CACHE.") from error
    for said in ([f"{made.own}."] if made.own else []) + made.remarks:
        note(f"{name}: {said}")
    return made


def _why_again(name: str, dataset: Dataset, folder: Path) -> Iterator[str]:
    """Why prepared images that are there cannot be used."""
    if folder.exists():
        yield f"The prepared images of {name} are damaged: they are made again."
        return
    for other in folder.parent.glob(f"{folder.name.rpartition('-')[0]}-*/meta.json"):
        meta, source = _read_meta(other.parent), str(dataset.root) if dataset.root else None
        made_alike = meta.get("making") == dataset.making and meta.get("options") == dataset.stated
        if meta.get("name") == name and made_alike and meta.get("source") == source:
            yield f"The files of {name} have changed since {other.parent.name} was prepared: they are prepared anew."
            return


def _make_in_place(name: str, dataset: Dataset, folder: Path, progress: Progress) -> Prepared:
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    work.chmod(0o755)  # the cache may be shared; mkdtemp's own mode shuts others out
    try:
        with heard() as remarks:
            meta = _make(work, dataset, progress)
        meta["remarks"] = remarks.lines(sum(map(sum, (one["sizes"] for one in meta["splits"].values()))), dataset.options)
        meta |= {"name": name, "options": dataset.stated, "source": str(dataset.root) if dataset.root else None}
        meta |= {"making": dataset.making, "depth": remarks.depth if remarks.bits else None}
        with (work / "meta.json").open("w", encoding="utf-8") as file:
            file.write(json.dumps(meta))
            _to_disk(file)
        if folder.exists():  # damaged
            shutil.rmtree(folder)
        work.rename(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return Prepared(folder, meta, dataset=dataset)


def _make(work: Path, dataset: Dataset, progress: Progress) -> dict[str, Any]:
    classes = checked_classes(dataset)
    splits, first = {}, 0
    for split, members in classes.items():
        sizes = [len(member.image_ids) for member in members]
        splits[split] = {
            "first": first,
            "classes": [member.name for member in members],
            "sizes": sizes,
            "structure_id": structure_id(members),
        }
        first += sum(sizes)
    sha = hashlib.sha256()
    path = work / "images.npy"
    with path.open("wb") as store:  # written, not mapped: a full disk is then an error and no SIGBUS
        header = {"descr": "|u1", "fortran_order": False, "shape": (first, *dataset.shape)}
        np.lib.format.write_array_header_1_0(store, header)
        for block in checked_images(dataset, first, progress):
            pixels = block.tobytes()
            store.write(pixels)
            sha.update(pixels)
        _to_disk(store)
    return {"shape": dataset.shape, "splits": splits, "fingerprint": sha.hexdigest(), "bytes": path.stat().st_size}


def _to_disk(file: IO[Any]) -> None:
    """Write a file out before its folder is renamed: a power cut must not leave a whole folder of half a file."""
    file.flush()
    os.fsync(file.fileno())


def checked_images(dataset: Dataset, total: int, progress: Progress) -> Iterator[Images]:
    """The images of a data set, block by block; raises `DataError` unless they are `total` of its shape, as its classes
    say."""
    made = 0
    for block in dataset.images(progress):
        block = checked_block(dataset, block)
        if block.shape[1:] != dataset.shape or block.dtype != np.uint8:
            raise DataError(
                f"{type(dataset).__name__} made images {block.dtype} {block.shape[1:]}, not uint8 {dataset.shape}."
            )
        made += len(block)
        if block.size:
            pass_on(Remarks(largest=int(block.max())))
        if made <= total:
            yield block
    if made != total:
        raise DataError(f"{type(dataset).__name__} made {made} images where its classes name {total}.")


def _sizes(starts: "Ids") -> dict[str, list[int]]:
    """The images of each class, where they differ."""
    sizes = np.diff(starts)
    return {} if not len(sizes) or (sizes == sizes[0]).all() else {"class_sizes": sizes.tolist()}


def structure_id(classes: Sequence[ImageClass]) -> str:
    """Hash of the ordered class names and source image ids: equal for any resolution of the same images."""
    return hashlib.sha256(canonical_json([[c.name, c.image_ids] for c in classes]).encode()).hexdigest()[:16]
