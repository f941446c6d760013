"""What determines the numbers: the specification of a training and of a test, and nothing else.

A spec is complete (every default expanded), immutable and serialisable; where a run is written, how many threads it uses
and how its progress is shown are not part of it.
"""

import shlex
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SerializerFunctionWrapHandler,
    Strict,
    ValidationError,
    WithJsonSchema,
    field_validator,
    model_serializer,
    model_validator,
)

from fewshot_bench.errors import UsageError, unknown
from fewshot_bench.inputs.strict_json import outside_bounds
from fewshot_bench.metrics import Kind as Kind
from fewshot_bench.metrics import extra_metrics
from fewshot_bench.text.printable import printable
from fewshot_bench.text.reasons import reason

Normalisation = Literal["none", "running", "support", "separate", "joint", "support+1", "episode-running"]
Precision = Literal["highest", "tf32", "bfloat16"]
Augmentation = Literal["crop", "resized-crop", "flip", "jitter", "rotate"]
TRANSDUCTIVE_MODES = frozenset({"separate", "joint"})

RateFrom = Annotated[tuple[PositiveInt, PositiveFloat], Strict(False)]  # a list in YAML and JSON
Option = bool | int | float | str | None
Seed = Field(ge=0, lt=2**32)
MOST_STEPS = 100_000
"""The most steps, epochs or iterations that a method may take on one task. The papers take up to a hundred."""
Steps = Annotated[int, Field(ge=1, le=MOST_STEPS)]


def _extra_metric(name: str) -> str:
    if name not in extra_metrics():
        raise ValueError(f"it takes {' and '.join(extra_metrics())}")
    return name


ExtraMetric = Annotated[str, AfterValidator(_extra_metric), WithJsonSchema({"enum": extra_metrics(), "type": "string"})]


class Spec(BaseModel):
    """Base of the specs: frozen, no unknown field, no coercion of text to numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
    later: ClassVar[frozenset[str]] = frozenset()
    """Fields that came after the first records. They are left out where they have their default, so that ids do not
    change."""

    @model_validator(mode="after")
    def _whole_numbers_are_of_64_bits(self) -> Self:
        for name, value in self:
            for key, number in value.items() if isinstance(value, dict) else [(name, value)]:
                if type(number) is int and not -(2**63) <= number < 2**63:
                    raise ValueError(f"{key} must be a whole number below 2^63")
        return self

    @model_serializer(mode="wrap")
    def _without_later_defaults(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = type(self).model_fields
        unset = {name for name in self.later if getattr(self, name) == fields[name].default}
        return {name: value for name, value in dump(self).items() if name not in unset}

    @model_validator(mode="after")
    def _a_record_can_hold_it(self) -> Self:
        if wrong := outside_bounds(self.model_dump(), longest=1000):
            raise ValueError(wrong)
        return self

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
    inner_steps: Steps | None
    unlabelled: NonNegativeInt = 0
    distractors: NonNegativeInt = 0
    later = frozenset({"unlabelled", "distractors"})

    @model_validator(mode="after")
    def _what_an_episode_holds_is_whole(self) -> Self:
        _check_bounds(self)
        return self


class BackboneSpec(Spec):
    """The embedding network: its name, and how it differs from one that is built afresh and trained whole."""

    name: str
    weights: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")  # sha256 of the file of its initial values
    frozen: bool = False  # its parameters do not train
    options: dict[str, Option] = {}  # of its factory
    reads: str | None = None  # hash of initial values that the factory itself takes from elsewhere than the seed
    later = frozenset({"weights", "frozen", "options", "reads"})

    def __str__(self) -> str:
        extra = [*(["weights"] if self.weights or self.reads else []), *(["frozen"] if self.frozen else [])]
        extra += [f"{key}={value}" for key, value in self.options.items()]
        return f"{self.name} ({', '.join(extra)})" if extra else self.name


class TrainSpec(Spec):
    """One training. `ways`, `shots` and `queries` are those of the training episodes; the test's may differ. A method that
    trains on batches of all classes has a `batch_size` instead."""

    method: str
    hparams: dict[str, Option]
    backbone: BackboneSpec | None
    dataset: str
    data: dict[str, Option]
    split: Literal["train", "train+val"] = "train"
    ways: PositiveInt | None
    shots: PositiveInt | None
    max_shots: PositiveInt | None = None  # each update draws its shots from `shots` to this; None: always `shots`
    queries: PositiveInt | None
    batch_size: PositiveInt | None = None  # images per update
    normalisation: Normalisation
    meta_batch_size: PositiveInt = 1  # tasks per update
    updates: int = Field(ge=0)
    optimiser: Literal["adam", "sgd"] = "adam"
    momentum: float = Field(default=0.0, ge=0, lt=1)  # needs SGD
    nesterov: bool = False
    weight_decay: NonNegativeFloat = 0.0  # added to the gradient
    lr: PositiveFloat = 1e-3
    lr_halve_every: PositiveInt | None = None  # updates
    lr_steps: tuple[RateFrom, ...] = Field(default=(), strict=False)  # (update, rate): from this update on, this rate
    lr_linear: bool = False  # the rate falls linearly, to 0 after the last update
    gradient_clip: PositiveFloat | None = None  # elementwise bound, as in Finn et al.'s mini-ImageNet
    gradient_norm_clip: PositiveFloat | None = None  # bound on the norm of the whole, as in Ravi & Larochelle
    validation: Validation | None
    selection: Literal["best", "last"] = "best"
    seed: int = Seed
    device: Literal["cpu", "cuda", "mps"] = "cpu"
    dtype: Literal["float32", "float64"] = "float32"
    precision: Precision = "highest"  # of convolutions in updates alone; all else, and every score, is computed in `dtype`
    augment: tuple[Augmentation, ...] = Field(default=(), strict=False)  # of training images, in this order (`augmentation`)
    standardise: bool = False  # every image, by the training split's mean and deviation of each channel
    max_ways: PositiveInt | None = None  # each episode draws its ways from `ways` to this; None: always `ways`
    imbalanced: bool = False  # each class of an episode draws its own shots, from `shots` to `max_shots`
    unlabelled: NonNegativeInt = 0  # images of each class, and of each distractor, that an episode shows without labels
    distractors: NonNegativeInt = 0  # classes of an episode's unlabelled images that are none of its ways
    later = frozenset({"augment", "standardise", "max_ways", "imbalanced", "unlabelled", "distractors"})

    @field_validator("backbone", mode="before")
    @classmethod
    def _a_word_is_a_backbone(cls, given: Any) -> Any:
        return {"name": given} if isinstance(given, str) else given

    @field_validator("augment", mode="before")
    @classmethod
    def _a_word_is_an_augmentation(cls, given: Any) -> Any:
        return _words("train.augment", given)

    @field_validator("augment")
    @classmethod
    def _each_augmentation_is_once(cls, given: tuple[Augmentation, ...]) -> tuple[Augmentation, ...]:
        if len(set(given)) < len(given):
            raise ValueError("each augmentation may be named only once")
        return given

    @field_validator("lr_steps", mode="before")
    @classmethod
    def _each_step_is_a_pair(cls, given: Any) -> Any:
        if not isinstance(given, list | tuple) or not all(isinstance(one, list | tuple) and len(one) == 2 for one in given):
            raise ValueError("it takes a list of [update, rate], as --set 'train.lr_steps=[[500, 0.001], [800, 0.0001]]'")
        return given

    @model_validator(mode="after")
    def _selection_needs_a_validation_split(self) -> Self:
        if self.validation is None and self.selection == "best":
            used_up = "split=train+val trains on the validation classes, so no key of validation holds; "
            why = used_up if self.split == "train+val" else ""
            raise ValueError(f"{why}without validation there is nothing to select on: add --set selection=last")
        return self

    @model_validator(mode="after")
    def _what_an_update_sees_is_whole(self) -> Self:
        episodes = (self.ways, self.shots, self.queries)
        if (None in episodes) != (episodes == (None,) * 3) or (self.batch_size is None) == (self.ways is None):
            raise ValueError("an update sees episodes of ways, shots and queries, or batches of batch_size images")
        if self.ways is None and (self.sizes_differ or self.unlabelled or self.distractors):
            raise ValueError("max_ways, imbalanced, unlabelled and distractors need episodes; here an update sees batches")
        _check_bounds(self)
        return self

    @model_validator(mode="after")
    def _momentum_is_of_sgd(self) -> Self:
        if self.momentum and self.optimiser != "sgd":
            raise ValueError("momentum needs SGD: add --set optimiser=sgd")
        if self.nesterov and not self.momentum:
            sgd = "" if self.optimiser == "sgd" else " --set optimiser=sgd"
            raise ValueError(f"nesterov needs a momentum: add --set momentum=0.9{sgd}")
        updates = [update for update, _ in self.lr_steps]
        if updates != sorted(set(updates)):
            raise ValueError(f"the updates of lr_steps must ascend, got {', '.join(map(str, updates))}")
        if self.lr_steps and self.lr_halve_every:
            raise ValueError(
                "lr_steps and lr_halve_every exclude each other: add --set 'train.lr_steps=[]' or --set lr_halve_every=null"
            )
        return self

    @model_validator(mode="after")
    def _a_lower_precision_is_of_float32(self) -> Self:
        if self.precision != "highest" and self.dtype != "float32":
            raise ValueError(
                f"precision={self.precision} rounds float32, got dtype {self.dtype!r}: write --set dtype=float32"
            )
        if self.precision == "tf32" and self.device != "cuda":
            raise ValueError(
                f"precision=tf32 needs a CUDA device, got {self.device!r}: "
                "write --device cuda, or --set train.precision=bfloat16"
            )
        return self

    @property
    def sizes_differ(self) -> bool:
        """Whether two tasks of one update may differ in size."""
        return self.max_ways is not None or self.imbalanced

    @property
    def largest_shots(self) -> int:
        """The most shots that a training episode has; 0 for batches of all classes."""
        return self.max_shots or self.shots or 0

    @property
    def images(self) -> int:
        """Training images (points) processed in all, on average where ways or shots are drawn."""
        return round(self.updates * self.images_per_update)

    @property
    def images_per_update(self) -> float:
        """Training images (points) of an update, on average where ways or shots are drawn."""
        if self.batch_size is not None:
            return self.batch_size
        ways = ((self.ways or 0) + (self.max_ways or self.ways or 0)) / 2
        shots = ((self.shots or 0) + self.largest_shots) / 2
        of_task = ways * (shots + (self.queries or 0) + self.unlabelled) + self.distractors * self.unlabelled
        return self.meta_batch_size * of_task


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
    inner_steps: Steps | None = None
    max_ways: PositiveInt | None = None  # as in `TrainSpec`, and so are the others
    max_shots: PositiveInt | None = None
    imbalanced: bool = False
    unlabelled: NonNegativeInt = 0
    distractors: NonNegativeInt = 0
    extra_metrics: tuple[ExtraMetric, ...] = Field(default=(), strict=False)  # measured beside the main one (`metrics`)
    sampling: Literal["independent", "disjoint"] = "independent"  # disjoint: no two episodes share an image
    later = frozenset({"max_ways", "max_shots", "imbalanced", "unlabelled", "distractors", "extra_metrics", "sampling"})

    @field_validator("extra_metrics", mode="before")
    @classmethod
    def _a_word_is_a_metric(cls, given: Any) -> Any:
        return _words("test.extra_metrics", given)

    @field_validator("extra_metrics")
    @classmethod
    def _each_metric_is_once(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(given)) < len(given):
            raise ValueError("each metric is named once")
        return tuple(sorted(given))  # another order is no other test

    @model_validator(mode="after")
    def _what_an_episode_holds_is_whole(self) -> Self:
        _check_bounds(self)
        return self

    @model_validator(mode="after")
    def _disjoint_episodes_are_of_one_size(self) -> Self:
        names = ("max_ways", "max_shots", "imbalanced", "unlabelled", "distractors")
        if self.sampling == "disjoint" and (more := [name for name in names if getattr(self, name)]):
            raise ValueError(f"disjoint episodes have one size and no unlabelled images: leave {' and '.join(more)} out")
        return self


def _words(key: str, given: Any) -> Any:
    """A list of words, of which one may stand alone and none may be null."""
    if isinstance(given, str) and "," in given:
        raise ValueError(f"several are written in brackets, as --set {shlex.quote(f'{key}=[{given}]')}")
    return () if given is None else (given,) if isinstance(given, str) else given


def _check_bounds(spec: Validation | TrainSpec | TestSpec) -> None:
    """Refuse a bound below what it bounds, and settings that mean nothing without another; raises `ValueError`."""
    if not isinstance(spec, Validation):
        for name, low, most in (("ways", spec.ways, spec.max_ways), ("shots", spec.shots, spec.max_shots)):
            if most is not None and most < (low or 0):
                raise ValueError(f"max_{name} {most} is below {name} {low}: at least {_set(spec, f'max_{name}', low or 1)}")
        if spec.imbalanced and spec.max_shots is None:
            few = _set(spec, "max_shots", (spec.shots or 0) + 4)
            raise ValueError(
                f"imbalanced draws the shots of each class from shots to max_shots: set max_shots too, as {few}"
            )
    if spec.distractors and not spec.unlabelled:
        raise ValueError(
            f"distractors are classes of unlabelled images: set unlabelled too, as {_set(spec, 'unlabelled', 5)}"
        )


def _set(spec: Spec, key: str, value: Any) -> str:
    return f"--set {section_of(type(spec))}.{key}={value}"


def section_of(cls: type[Spec]) -> str:
    """The section whose keys are a spec's fields."""
    return cls.__name__.removesuffix("Spec").lower()


def _usage_error(cls: type[Spec], error: ValidationError) -> UsageError:
    """All that is wrong, a line each, three at most."""
    lines = dict.fromkeys(_line(cls, one) for one in error.errors())  # each once: a union complains for each of its types
    first = error.errors()[0]
    if first["type"] == "extra_forbidden":
        return unknown("key", ".".join(map(str, first["loc"])), cls.model_fields)
    return UsageError("\n".join(list(lines)[:3]))


def _line(cls: type[Spec], error: Any) -> str:
    where, said = ".".join(str(part) for part in error["loc"]), reason(error)
    given = error["input"]
    if not where:
        return f"{section_of(cls)}: {said}."
    if error["type"] in ("int_type", "int_parsing") and isinstance(given, float) and given.is_integer():
        said += f" (write {int(given)})"
    return f"{section_of(cls)}.{where}: {said}, got {printable(repr(given), 100)}."
