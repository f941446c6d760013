"""How large an episode is: its ways, shots and queries, the bounds within which they vary, its unlabelled images."""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fewshot_bench.specs import TestSpec, TrainSpec, Validation


@dataclass(frozen=True)
class EpisodeSize:
    """The size of the episodes of a test, a validation or a training."""

    ways: int
    shots: int
    queries: int  # a class
    max_ways: int | None = None  # each episode draws its ways from `ways` to this; None: always `ways`
    max_shots: int | None = None
    imbalanced: bool = False  # each class draws its own shots, up to `max_shots`
    unlabelled: int = 0  # images of each class and of each distractor
    distractors: int = 0  # classes that are none of the ways
    sampling: str = "independent"  # or `disjoint`: no two episodes share an image

    @classmethod
    def of(cls, spec: "TrainSpec | Validation | TestSpec | Mapping[str, Any]") -> "EpisodeSize":
        """The size that a spec or a record states."""
        said = dict(spec)
        return cls(**{one.name: said[one.name] for one in fields(cls) if said.get(one.name) is not None})

    @property
    def more(self) -> dict[str, Any]:
        """What there is beside ways, shots and queries; {} for the usual episodes."""
        return {
            one.name: value for one in fields(self) if one.name in MORE and (value := getattr(self, one.name)) != one.default
        }

    @property
    def varies(self) -> bool:
        """Whether two episodes may differ in size."""
        return self.max_ways is not None or self.max_shots is not None

    @property
    def largest_ways(self) -> int:
        """The most ways that an episode has."""
        return self.max_ways or self.ways

    @property
    def largest_shots(self) -> int:
        """The most shots that a class has."""
        return self.max_shots or self.shots

    @property
    def largest_support(self) -> int:
        """The most support images that an episode has."""
        return self.largest_ways * self.largest_shots

    @property
    def images(self) -> int:
        """The most images that an episode has."""
        of_way = self.largest_shots + self.queries + self.unlabelled
        return self.largest_ways * of_way + self.distractors * self.unlabelled

    @property
    def text(self) -> str:
        """`5-way 1-shot`, or `5–10-way 1–5-shot, imbalanced, 5 unlabelled a class, 2 distractor classes`."""
        parts = [f"{span(self.ways, self.max_ways)}-way {span(self.shots, self.max_shots)}-shot"]
        parts += ["imbalanced"] if self.imbalanced else []
        parts += [f"{self.unlabelled} unlabelled a class"] if self.unlabelled else []
        parts += [f"{self.distractors} distractor classes"] if self.distractors else []
        parts += ["disjoint episodes"] if self.sampling == "disjoint" else []
        return ", ".join(parts)


MORE = frozenset(one.name for one in fields(EpisodeSize) if one.default is not MISSING)
"""The fields of an episode's size beside ways, shots and queries."""


def span(low: int, high: int | None) -> str:
    """`1`, or `1–5` where there is an upper bound."""
    return f"{low}" if high is None else f"{low}–{high}"
