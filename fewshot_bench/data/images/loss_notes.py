"""What a user should hear of images that became pixels with a loss: gathered over all processes, said once.

Whoever decodes an image remarks on it (`remark_deep`, `remark_see_through`, `remark_moving`); `heard()` gathers what is
remarked inside its block, and `pass_on` adds what another process heard.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

DARK = 3
"""Where no pixel of a data set is brighter, of 255, the images may have been saved with fewer bits than they are read as."""
FEWER = 3
"""So many bits less than the largest value needs must do for half of the images, before that value is called a fault."""


@dataclass
class Remarks:
    """What was remarked on some images."""

    bits: Counter[int] = field(default_factory=Counter)
    """How many images of 16 bits need so many for their largest value."""
    counts: Counter[str] = field(default_factory=Counter)
    """How many are see-through, show nothing on the background, move."""
    depth: int = 16
    """As images of so many bits those of 16 were read."""
    background: str = "white"
    """On what those that are see-through were laid."""
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
        said = f"{deep:,} of {total:,} images have 16 bits a channel; they are read as of {self.depth}"
        if "depth" not in options:
            yield f"{said}: the upper 8 bits are taken."
            return
        if options["depth"]:
            yield f"{said}, as data.depth says."
            return
        yield f"{said}, which the largest value among all of them needs. To state another number: --set data.depth=16."
        usual = sorted(self.bits.elements())[deep // 2]
        if usual <= self.depth - FEWER:
            yield f"Half of them need no more than {usual}: if larger values are faults, --set data.depth={max(usual, 8)}."

    def _see_through(self, total: int, options: Mapping[str, Any]) -> Iterator[str]:
        if not (some := self.counts["see-through"]):
            return
        nothing = f", where {blank:,} of them show nothing at all" if (blank := self.counts["blank"]) else ""
        other = "black" if self.background == "white" else "white"
        hint = f". On another: --set data.background={other}." if "background" in options else "."
        yield f"{some:,} of {total:,} images are see-through; they are laid on {self.background}{nothing}{hint}"

    def _moving(self, total: int) -> Iterator[str]:
        if some := self.counts["moving"]:
            yield f"{some:,} of {total:,} images hold several pictures; the first of each is taken."

    def _dark(self) -> Iterator[str]:
        if self.largest is not None and self.largest <= DARK:
            meant = "If they are meant to span black and white, as those of 0 and 1 are: multiply them, and save them anew."
            yield f"No pixel of any image is brighter than {self.largest} of 255. {meant}"


_listening: ContextVar[Remarks | None] = ContextVar("listening", default=None)


@contextmanager
def heard() -> Iterator[Remarks]:
    """What is remarked inside the block; it is passed on to no block around it."""
    remarks = Remarks()
    before = _listening.set(remarks)
    try:
        yield remarks
    finally:
        _listening.reset(before)


def pass_on(remarks: Remarks) -> None:
    """Let whoever listens here hear what another process remarked."""
    if (now := _listening.get()) is not None:
        now.add(remarks)


def remark_deep(bits: int, depth: int) -> None:
    """An image of 16 bits, whose largest value needs `bits`, was read as one of `depth` bits."""
    pass_on(Remarks(bits=Counter({bits: 1}), depth=depth))


def remark_see_through(background: str, blank: bool) -> None:
    """An image that is see-through was laid on a background, where it shows nothing if `blank`."""
    pass_on(Remarks(counts=Counter({"see-through": 1, "blank": int(blank)}), background=background))


def remark_moving() -> None:
    """An image holds several pictures."""
    pass_on(Remarks(counts=Counter({"moving": 1})))
