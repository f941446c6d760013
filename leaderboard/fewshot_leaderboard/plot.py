"""A dot with whiskers for each row of a table, all on one axis: coordinates for the template's SVG."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH = 140  # pixels
MARGIN = 6  # pixels, so that a dot at the end of the axis is whole


@dataclass(frozen=True)
class Axis:
    """A linear axis from `low` to `high`."""

    low: float
    high: float
    digits: int
    """Decimals that its ends need."""

    @classmethod
    def around(cls, rows: Sequence[Sequence[float]]) -> "Axis":
        """The axis with round ends that holds each row's values, the row's mean first, the best row first.

        A row more than four times as far from the best as the median row is left off the scale: one floor far below
        would press all the others into a corner.
        """
        distances = [abs(row[0] - rows[0][0]) for row in rows]
        farthest = 4 * statistics.median(distances)
        known = sorted(value for row, far in zip(rows, distances, strict=True) if far <= farthest for value in row)
        span = known[-1] - known[0] or 1.0
        exponent = math.floor(math.log10(span))
        step = 10.0**exponent
        return cls(math.floor(known[0] / step) * step, math.ceil(known[-1] / step) * step, max(0, -exponent))

    def holds(self, value: float) -> bool:
        """Whether a value is on the scale."""
        return self.low <= value <= self.high

    def x(self, value: float) -> float:
        """The horizontal pixel of a value, to a tenth of a pixel; of one off the scale, the nearer end's."""
        share = min(max((value - self.low) / (self.high - self.low or 1.0), 0.0), 1.0)
        return round(MARGIN + (WIDTH - 2 * MARGIN) * share, 1)

    @property
    def ends(self) -> tuple[str, str]:
        """Its two ends as text."""
        return f"{self.low:.{self.digits}f}", f"{self.high:.{self.digits}f}"
