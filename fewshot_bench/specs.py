"""What determines the numbers: the specification of a training and of a test, and nothing else.

A spec is complete (every default expanded), immutable and serialisable; where a run is written, how many threads it uses
and how its progress is shown are not part of it.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError, model_validator

from fewshot_bench.errors import UsageError, unknown

Normalisation = Literal["none", "running", "support", "separate", "joint", "support+1", "episode-running"]
Precision = Literal["highest", "tf32", "bfloat16"]
TRANSDUCTIVE_MODES = frozenset({"separate", "joint"})

Option = bool | int | float | str | None
Seed = Field(ge=0, lt=2**32)


class Spec(BaseModel):
    """Base of the specs: frozen, no unknown field, no coercion of text to numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @classmethod
    def checked(cls, fields: Mapping[str, Any]) -> Self:
        """Build the spec; raises `UsageError` that names the field, what was given and what is expected."""
        try:
            return cls(**fields)
        except ValidationError as error:
            raise _usage_error(cls, error) from None


class Validation(Spec):
    """The fixed validation episodes: how often, how many, of what size, under which conditions."""

    every: PositiveInt  # updates
    episodes: PositiveInt
    ways: PositiveInt
    shots: PositiveInt
    queries: PositiveInt
    normalisation: Normalisation
    inner_steps: PositiveInt | None


class TrainSpec(Spec):
    """One training. `ways`, `shots` and `queries` are those of the training episodes; the test's may differ."""

    method: str
    hparams: dict[str, Option]
    backbone: str | None
    dataset: str
    data: dict[str, Option]
    split: Literal["train", "train+val"] = "train"
    ways: PositiveInt
    shots: PositiveInt
    queries: PositiveInt
    normalisation: Normalisation
    meta_batch_size: PositiveInt = 1  # tasks per update
    updates: int = Field(ge=0)
    lr: PositiveFloat = 1e-3  # Adam's
    lr_halve_every: PositiveInt | None = None  # updates
    gradient_clip: PositiveFloat | None = None  # elementwise bound, as in Finn et al.'s mini-ImageNet
    validation: Validation | None
    selection: Literal["best", "last"] = "best"
    seed: int = Seed
    device: Literal["cpu", "cuda", "mps"] = "cpu"
    dtype: Literal["float32", "float64"] = "float32"
    precision: Precision = "highest"  # of convolutions in updates alone; all else, and every score, is computed in `dtype`

    @model_validator(mode="after")
    def _selection_needs_a_validation_split(self) -> Self:
        if self.validation is None and self.selection == "best":
            raise ValueError("split 'train+val' leaves nothing to select on: --set selection=last")
        return self

    @model_validator(mode="after")
    def _a_lower_precision_is_of_float32(self) -> Self:
        if self.precision != "highest" and self.dtype != "float32":
            raise ValueError(f"precision={self.precision} rounds float32, got dtype {self.dtype!r}: --set dtype=float32")
        if self.precision == "tf32" and self.device != "cuda":
            raise ValueError(
                f"precision=tf32 needs a CUDA device, got {self.device!r}: --device cuda, or --set train.precision=bfloat16"
            )
        return self


class TestSpec(Spec):
    """One test of a trained checkpoint: the protocol, fully expanded."""

    __test__ = False  # not a test class of pytest's

    protocol: str
    dataset: str
    data: dict[str, Option]
    ways: PositiveInt
    shots: PositiveInt
    queries: PositiveInt
    episodes: int = Field(ge=2)  # an interval needs two
    seed: int = Seed
    normalisation: Normalisation
    inner_steps: PositiveInt | None = None


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def short_hash(*parts: Any) -> str:
    """First 12 hex digits of the sha256 of the canonical JSON of `parts`."""
    return hashlib.sha256(canonical_json(parts).encode()).hexdigest()[:12]


def run_id(spec: TrainSpec, source_sha256: str, data_identity: str) -> str:
    """The identity of a training: its spec, the method's source and the data, so that a change of any is another run."""
    return short_hash(spec.model_dump(), source_sha256, data_identity)


def _usage_error(cls: type[Spec], error: ValidationError) -> UsageError:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return unknown("key", where, cls.model_fields)
    reason = first["msg"].removeprefix("Value error, ")
    return UsageError(f"{where}: {reason}, got {first['input']!r}." if where else f"{reason}.")
