"""Tasks: T episodes at once as tensors on the device.

Legend: T tasks, S support images, Q query images, U unlabelled images, in all (not per class).
"""

from dataclasses import dataclass, fields, replace
from typing import Any

from torch import Tensor

from fewshot_bench.specs import Kind


@dataclass(frozen=True)
class Tasks:
    """T tasks of the same shape."""

    support_x: Tensor  # [T, S, ...]
    support_y: Tensor  # [T, S] labels, or [T, S, D] targets
    query_x: Tensor  # [T, Q, ...]
    query_y: Tensor | None  # [T, Q]; None at test: no method sees a query label
    ways: int
    key: Tensor  # [T] int64: a task's own randomness
    kind: Kind = "classification"
    unlabelled_x: Tensor | None = None  # [T, U, ...]

    def __len__(self) -> int:
        return len(self.support_x)

    @property
    def targets(self) -> Tensor:
        """The query labels [T, Q], for a loss; there are none at test."""
        assert self.query_y is not None, "query labels are never shown at test"
        return self.query_y

    def some(self, part: slice | Tensor) -> "Tasks":
        """Some of the tasks: views for a slice, copies for a tensor of their numbers."""
        held = {one.name: getattr(self, one.name) for one in fields(self)}
        parts: dict[str, Any] = {name: x[part] for name, x in held.items() if isinstance(x, Tensor)}
        return replace(self, **parts)

    def without_query_labels(self) -> "Tasks":
        """The same tasks as a learner may see them at test."""
        return replace(self, query_y=None)
