"""What the benchmarks measured, and the table of it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

HEADS = ("work", "ours", "learn2learn", "in memory", "ratio", "in memory")


@dataclass(frozen=True)
class Speed:
    """One work: units per second of ours, and of learn2learn's by where its images come from (`files`, `memory`)."""

    title: str
    ours: float
    peer: Mapping[str, float]
    note: str

    @property
    def ratios(self) -> dict[str, float]:
        """Ours over learn2learn's, by source."""
        return {source: self.ours / rate for source, rate in self.peer.items()}

    @property
    def row(self) -> tuple[str, ...]:
        """The cells of the table."""
        return (self.title, f"{self.ours:,.1f}", *_cells(self.peer, ""), *_cells(self.ratios, "×"))


def table(speeds: Sequence[Speed]) -> Iterator[str]:
    """The lines of the table: a row for each work, then what is to be known of each."""
    rows = [HEADS, *(speed.row for speed in speeds)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for title, *numbers in rows:
        right = (text.rjust(width) for text, width in zip(numbers, widths[1:], strict=True))
        yield "  ".join([title.ljust(widths[0]), *right])
    for speed in speeds:
        yield f"- {speed.title}: {speed.note}"


def _cells(numbers: Mapping[str, float], unit: str) -> list[str]:
    return [f"{numbers[source]:,.1f}{unit}" if source in numbers else "–" for source in ("files", "memory")]
