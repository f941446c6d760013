"""Images that a test shares with training, whatever their classes are called, known by a hash of their prepared pixels.

Some published data sets have equal images in different splits (CIFAR-FS has 15 groups). `fsbench data verify` names these,
and no run is refused for them. A user's own images, and two data sets that are used together, are compared before a run:
shared images are reported, and a test class is refused if a considerable part of it was trained or selected on.

Legend: n images, N classes.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fewshot_bench.data.bank import Ids, MemmapBank
from fewshot_bench.data.prepare import Note, Prepared
from fewshot_bench.data.several import SeveralPrepared
from fewshot_bench.data.verification import AT_ONCE, image_hashes
from fewshot_bench.errors import DataError, FewshotError, few
from fewshot_bench.specs import TrainSpec
from fewshot_bench.storage import atomic
from fewshot_bench.text.printable import printable

SHOWN = 60
"""The most characters of a class's name in a message."""
SHARE = 0.1
"""The share of a class's images that is considerable: fewer may be duplicates by chance."""
Hashes = npt.NDArray[np.uint64]  # [n]: two of a million different images share one with a probability of 3e-8


@dataclass(frozen=True)
class Side:
    """The images of a split."""

    name: str
    """The name of the data set."""
    split: str
    class_names: Sequence[str]
    sizes: Ids  # [N]
    hashes: Hashes  # [n]

    @property
    def owners(self) -> Ids:
        """The class [n] of each image."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes)


@dataclass(frozen=True)
class Shared:
    """A class some of whose images stand elsewhere too."""

    name: str
    images: int
    of: int
    twin: str
    """A class that has one of them, and its split."""

    def __str__(self) -> str:
        return f"{printable(self.name, SHOWN)} ({self.images:,} of {self.of:,}, as in {printable(self.twin, SHOWN)})"


def check_images(prepared: Prepared, train: TrainSpec, tested: Prepared, test_name: str, note: Note) -> None:
    """Report the images that a test shares with training or validation, those that validation shares with training, and
    those that classes of one split share with each other.

    Raises `DataError` where a considerable part of a class's images was seen before.
    """
    parts = dict(prepared.parts) if isinstance(prepared, SeveralPrepared) else {train.dataset: prepared}
    trained = train.split.split("+") if train.updates else []
    selected = ["val"] if train.validation else []
    seen = [(name, part, split) for name, part in parts.items() for split in (*trained, *selected)]
    _check("test", test_name, tested, seen, note)
    for name, part in parts.items() if selected else ():
        _check("val", name, part, [(other, one, split) for other, one, split in seen if split in trained], note)
    for name, part, split in (*seen, (test_name, tested, "test")):
        if _is_own(part) and (side := _side(name, part, split)):
            _note_within(side, note)


def _check(split: str, name: str, part: Prepared, seen: list[tuple[str, Prepared, str]], note: Note) -> None:
    comparable = [_side(*one) for one in seen if one[1].folder != part.folder or _is_own(part)]
    others = [side for side in comparable if side is not None]
    if not others or (asked := _side(name, part, split)) is None or not (found := _shared(asked, others)):
        return
    considerable = [one for one in found if one.images >= SHARE * one.of]
    if considerable and (split == "test" or _is_own(part)):
        raise DataError(
            f"{len(considerable):,} of the {len(asked.sizes):,} classes of {split} in {name} hold images that are also "
            f"trained or selected on:\n{few(map(str, considerable))}.\nTake these images out, or put such classes into one "
            "split. `fsbench data verify` names the equal files of a data set."
        )
    images = sum(one.images for one in found)
    note(f"{images:,} images of {split} in {name} are also trained or selected on: {few(map(str, found))}.")


def _shared(asked: Side, others: Sequence[Side]) -> list[Shared]:
    """The classes of a split that have images of others."""
    known = np.concatenate([side.hashes for side in others])
    twins = np.array([f"{name} of {side.split}" for side in others for name in side.class_names])
    owners = np.repeat(np.arange(len(twins)), np.concatenate([side.sizes for side in others]))
    order = np.argsort(known, kind="stable")
    place = order[np.searchsorted(known, asked.hashes, sorter=order).clip(max=len(known) - 1)]
    hit = known[place] == asked.hashes  # [n]
    counts = np.bincount(asked.owners[hit], minlength=len(asked.sizes))  # [N]
    first = {int(asked.owners[image]): str(twins[owners[place[image]]]) for image in np.flatnonzero(hit)[::-1]}
    hold: list[int] = np.flatnonzero(counts).tolist()
    return [Shared(asked.class_names[c], int(counts[c]), int(asked.sizes[c]), first[c]) for c in hold]


def _note_within(side: Side, note: Note) -> None:
    """Say which classes of a split have the same images, and which have one twice."""
    owners = side.owners
    order = np.argsort(side.hashes, kind="stable")
    before, after = order[:-1], order[1:]
    equal = side.hashes[before] == side.hashes[after]
    one, other = owners[before[equal]], owners[after[equal]]
    names = [printable(name, SHOWN) for name in side.class_names]
    if pairs := dict.fromkeys(zip(one[one != other].tolist(), other[one != other].tolist(), strict=True)):
        said = few(f"{names[a]} and {names[b]}" for a, b in pairs)
        note(f"Classes of {side.split} in {side.name} share images, so that nothing can tell them apart: {said}.")
    if twice := dict.fromkeys(one[one == other].tolist()):
        said = few(names[c] for c in twice)
        note(f"Classes of {side.split} in {side.name} hold an image twice, which can be support and query at once: {said}.")


def _side(name: str, part: Prepared, split: str) -> Side | None:
    """A split's images; None where they are drawn on demand, or there is no such split."""
    if split not in part.meta.get("splits", {}) or not part.meta["splits"][split]["classes"]:
        return None
    bank = part.bank(split)
    assert isinstance(bank, MemmapBank), "prepared images lie in a memory map"
    return Side(
        name, split, bank.class_names, np.diff(bank.starts), _hashes(part.folder / f"hashes-{split}.npy", bank.images)
    )


def _hashes(path: Path, images: npt.NDArray[np.uint8]) -> Hashes:
    """A hash of each image, kept beside the prepared images and removed with them."""
    with suppress(OSError, ValueError, EOFError):
        kept: Hashes = np.load(path, allow_pickle=False)
        if kept.shape == (len(images),) and kept.dtype == np.uint64:
            return kept
    made = np.empty(len(images), np.uint64)
    for first in range(0, len(images), AT_ONCE):
        block = images[first : first + AT_ONCE]
        made[first : first + len(block)] = image_hashes(block)[:, 0]
    with suppress(FewshotError), atomic(path) as temporary, temporary.open("wb") as file:  # unless it cannot be written
        np.save(file, made)
    return made


def _is_own(part: Prepared) -> bool:
    """Whether the images are the user's own, which nobody has published."""
    return part.dataset is not None and part.dataset.own_root
