"""Families of functions of one variable, for regression: a task is one function.

Legend: B tasks.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from fewshot_bench.data.dataset import checked_options
from fewshot_bench.hashing import short_hash

Values = npt.NDArray[np.float64]
Range = tuple[float, float]


class FunctionFamily(ABC):
    """A family of functions: a task is one of them, its support K noiseless points. A plugin subclasses it, with a card
    (`<module>.yaml`) beside its file, and is registered as a data set."""

    defaults: ClassVar[Mapping[str, Any]] = {}
    parameters: ClassVar[Mapping[str, Range]]
    """The name of each parameter of a function, and the range from which it is drawn uniformly."""
    domain: ClassVar[Range]
    """The range from which the points are drawn uniformly."""

    def __init__(self, options: Mapping[str, Any] | None = None, root: Path | None = None) -> None:
        self.options = checked_options(self.defaults, options)

    @property
    def stated(self) -> dict[str, Any]:
        """The options as specs state them."""
        return self.options

    @abstractmethod
    def values(self, x: Values, parameters: Mapping[str, Values]) -> Values:
        """The functions' values at x [B, n]; each parameter is [B, 1]."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of an input: one value."""
        return (1,)

    def identity(self) -> str:
        """A short text that changes with the name, ranges and domain."""
        return f"functions-{short_hash(type(self).__name__, self.options, dict(self.parameters), self.domain)}"


@dataclass(frozen=True)
class FunctionData:
    """A family of functions as a run sees its data: nothing to prepare, tasks without end."""

    family: FunctionFamily

    @property
    def fingerprint(self) -> str:
        """The identity of the family: there are no pixels to hash."""
        return self.family.identity()

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of an input."""
        return self.family.shape

    def training_classes(self, split: str) -> int:
        """0: functions have no classes."""
        return 0

    def describe(self, *splits: str) -> dict[str, Any]:
        """Each named split, for a record."""
        return {
            name: {"structure_id": short_hash(self.family.identity(), name), "classes": 0, "images": 0} for name in splits
        }
