"""What a user should know of images that lost something when they became pixels: gathered over all processes, said once.

The code that decodes an image makes remarks (`remark_deep`, `remark_see_through`, `remark_moving`). `heard()` gathers the
remarks that are made inside its block, and `pass_on` adds those of another process.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

DARK = 3
"""If no pixel of a data set is brighter than this (of 255), the images may have been saved with fewer bits than 8."""
FEWER = 3
"""If half of the images need so many bits fewer than the largest value, that value may be a fault."""


@dataclass
class Remarks:
    """What was remarked on some images."""

    bits: Counter[int] = field(default_factory=Counter)
    """For each number of bits, how many 16-bit images need it for their largest value."""
    counts: Counter[str] = field(default_factory=Counter)
    """How many images are see-through, show nothing on the background, hold several pictures."""
    depth: int = 16
    """The depth in bits with which 16-bit images were read."""
    background: str = "white"
    """The background of see-through images."""
    largest: int | None = None
    """The largest value of all pixels, once they are prepared; None where there are none."""

    def add(self, other: "Remarks") -> None:
        """Join what was heard elsewhere."""
        self.bits += other.bits
        self.counts += other.counts
        self.depth = other.depth if other.bits else self.depth
        self.background = other.background if other.counts["see-through"] else self.background
        self.largest = max((one for one in (self.largest, other.largest) if one is not None), default=None)

    def lines(self, total: int, options: Mapping[str, Any]) -> list[str]:
        """The remarks on `total` images in words, with what to set of the `options` that their data set has."""
        return [
            *self._deep(total, options),
            *self._see_through(total, options),
            *self._moving(total),
            *self._dark(),
        ]

    def _deep(self, total: int, options: Mapping[str, Any]) -> Iterator[str]:
        if not (deep := self.bits.total()):
            return
        said = f"{deep:,} of {total:,} images have 16 bits a channel; they are read as {self.depth}-bit values"
        if "depth" not in options:
            yield f"{said}: the upper 8 bits are taken."
            return
        if options["depth"]:
            yield f"{said}, as data.depth says."
            return
        yield f"{said}: the largest of all needs so many bits. To state another number: --set data.depth=16."
        usual = sorted(self.bits.elements())[deep // 2]
        if usual <= self.depth - FEWER:
            yield f"Half of them need at most {usual} bits. If larger values are faults: --set data.depth={max(usual, 8)}."

    def _see_through(self, total: int, options: Mapping[str, Any]) -> Iterator[str]:
        if not (some := self.counts["see-through"]):
            return
        nothing = f", where {blank:,} of them show nothing at all" if (blank := self.counts["blank"]) else ""
        other = "black" if self.background == "white" else "white"
        hint = f". For another background: --set data.background={other}." if "background" in options else "."
        yield f"{some:,} of {total:,} images are see-through; they are laid on {self.background}{nothing}{hint}"

    def _moving(self, total: int) -> Iterator[str]:
        if some := self.counts["moving"]:
            yield f"{some:,} of {total:,} images hold several pictures; the first of each is taken."

    def _dark(self) -> Iterator[str]:
        if self.largest is not None and self.largest <= DARK:
            meant = "If they should span black to white, as images of 0 and 1 do, multiply their values and save them anew."
            yield f"No pixel of any image is brighter than {self.largest} of 255. {meant}"


_listening: ContextVar[Remarks | None] = ContextVar("listening", default=None)


@contextmanager
def heard() -> Iterator[Remarks]:
    """The remarks that are made inside the block. No block around it receives them."""
    remarks = Remarks()
    before = _listening.set(remarks)
    try:
        yield remarks
    finally:
        _listening.reset(before)


def pass_on(remarks: Remarks) -> None:
    """Add another process's remarks to those that are gathered here."""
    if (now := _listening.get()) is not None:
        now.add(remarks)


def remark_deep(bits: int, depth: int) -> None:
    """Remark that a 16-bit image, whose largest value needs `bits`, was read with `depth` bits."""
    pass_on(Remarks(bits=Counter({bits: 1}), depth=depth))


def remark_see_through(background: str, blank: bool) -> None:
    """Remark that a see-through image was laid on a background, where it shows nothing if `blank`."""
    pass_on(Remarks(counts=Counter({"see-through": 1, "blank": int(blank)}), background=background))


def remark_moving() -> None:
    """Remark that an image holds several pictures."""
    pass_on(Remarks(counts=Counter({"moving": 1})))
