"""The shape, types and bounds of `record.json`, in one place: what is written is built of these models, what is read is
checked against them, and the JSON Schema is made of them (`schema`).

A record that is read is a stranger's file. The specs admit no key that they do not know, for it would be a setting that
nothing here understands. Elsewhere a later version may have added a fact, which is left alone. A key whose default is `None`
may be absent; an explicit null is allowed only where its type has `None`.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    WithJsonSchema,
    model_validator,
)

from fewshot_bench.inputs.strict_json import LARGEST_NUMBER
from fewshot_bench.metrics import LARGEST_SCORE, METRICS
from fewshot_bench.results.stored_request import StoredRequest
from fewshot_bench.specs import ExtraMetric, TestSpec, TrainSpec

ABSENT: Any = None  # not checked where it is the default
SCHEMA: Final = 4
"""The number of the format."""

MOST_RESULTS = 1000
MOST_CLASSES = 100_000
"""Of a split whose classes differ in size."""
MOST_SCORES = 4_000_000
"""Of the test episodes of all results of a record: what is read into memory at once."""

MAIN_METRICS = [metric.name for metric in METRICS.values() if metric.main]


def _main_metric(name: str) -> str:
    if name not in MAIN_METRICS:
        raise ValueError(f"must be {' or '.join(map(repr, MAIN_METRICS))}")
    return name


Name = Annotated[str, Field(min_length=1, max_length=1000)]
Id = Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Split = Literal["train", "val", "test", "train+val"]
Amount = Annotated[float, Field(ge=0, le=1e10)]
Error = Annotated[float, Field(ge=0, le=LARGEST_SCORE)]
MainMetric = Annotated[str, AfterValidator(_main_metric), WithJsonSchema({"enum": MAIN_METRICS, "type": "string"})]
Threads = Annotated[int, Field(ge=1, le=4096)]
Chunk = Annotated[int, Field(ge=1, le=2**20)]


class Part(BaseModel):
    """A part of a record: frozen, nothing coerced, every number finite."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True, allow_inf_nan=False)

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """The part that is to be written; raises `ValueError` for a key that it does not know."""
        if unknown := sorted(given.keys() - cls.model_fields):
            raise ValueError(f"{cls.__name__} has no {', '.join(unknown)}")
        return cls.model_validate(given)

    def as_json(self) -> dict[str, Any]:
        """As it stands in `record.json`: what was given, in the order of the fields."""
        fields = type(self).model_fields.items()
        return {one.alias or name: _as_json(getattr(self, name)) for name, one in fields if name in self.model_fields_set}


def _as_json(value: Any) -> Any:
    if isinstance(value, Part | StoredRequest):
        return value.as_json()
    if isinstance(value, dict):
        return {name: _as_json(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_as_json(one) for one in value]
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else value  # of a specification all is said


class PlanPart(Part):
    """How the work was laid out."""

    device: Name
    threads: Threads
    train_chunk: Chunk
    test_chunk: Chunk
    kernels: bool = False


class SplitPart(Part):
    """The classes of a split."""

    structure_id: Name
    classes: NonNegativeInt
    images: NonNegativeInt
    class_sizes: Annotated[list[PositiveInt], Field(max_length=MOST_CLASSES)] = ABSENT
    """Images of each class, in order, where they differ."""
    related: PositiveInt = ABSENT
    """How many classes that follow each other are made of one source, where more than one."""

    @model_validator(mode="after")
    def _sizes_are_of_the_classes(self) -> Self:
        sizes = self.class_sizes
        if sizes is not ABSENT and (len(sizes), sum(sizes)) != (self.classes, self.images):
            raise ValueError("class_sizes do not come to the classes and images of the split")
        return self


class DataPart(Part):
    """A data set."""

    name: Name
    reference: Name = ABSENT
    identity: Name
    fingerprint: Name = ABSENT
    splits: dict[Split, SplitPart] = Field(default_factory=dict)


class MethodPart(Part):
    """A method and its code."""

    name: Name
    reference: Name = ABSENT
    title: str = ABSENT
    plugin: str = ABSENT
    source_sha256: Hash
    source_version: PositiveInt = ABSENT
    packages: dict[str, str] = Field(default_factory=dict)
    weights_file: Name = ABSENT
    parameters: NonNegativeInt = ABSENT


class StepPart(Part):
    """The error after an inner step."""

    inner_steps: PositiveInt
    mean: Error
    low: Error
    high: Error


class ExtraPart(Part):
    """The mean of an extra metric and its interval."""

    mean: float
    low: float
    high: float
    level: Annotated[float, Field(gt=0, lt=1)]
    interval: str

    @model_validator(mode="after")
    def _an_interval_holds_its_mean(self) -> Self:
        _check_interval(self.low, self.mean, self.high)
        return self


class TestCost(Part):
    """What a test took."""

    __test__ = False

    test_s: Amount


class Result(Part):
    """One test of the run."""

    id: Id
    test: TestSpec
    predictions: PositiveInt = ABSENT
    metric: MainMetric
    direction: Literal["max", "min"]
    mean: float
    low: float
    high: float
    level: Annotated[float, Field(gt=0, lt=1)]
    interval: str
    extra: dict[ExtraMetric, ExtraPart] = Field(default_factory=dict)
    digest: Hash
    source_sha256: Hash
    engine: PositiveInt
    plan: PlanPart = ABSENT
    cost: TestCost
    data: DataPart = ABSENT
    by_step: Annotated[list[StepPart], Field(max_length=1000)] = []
    request: StoredRequest = ABSENT
    command: str = ABSENT
    former: dict[str, Any] = ABSENT

    @model_validator(mode="after")
    def _the_direction_is_that_of_the_metric(self) -> Self:
        if self.direction != (due := METRICS[self.metric].direction):
            raise ValueError(f"direction of {self.metric} is {due}")
        return self

    @model_validator(mode="after")
    def _an_interval_holds_its_mean(self) -> Self:
        _check_interval(self.low, self.mean, self.high)
        return self

    @model_validator(mode="after")
    def _the_extra_metrics_are_those_of_the_test(self) -> Self:
        if (due := set(self.test.extra_metrics)) != set(self.extra):
            raise ValueError(f"extra must hold what test.extra_metrics names: {', '.join(sorted(due)) or 'nothing'}")
        for name, one in self.extra.items():
            if METRICS[name].kind != METRICS[self.metric].kind:
                raise ValueError(f"extra.{name} is no metric of {METRICS[self.metric].kind}")
            if not METRICS[name].holds(one.mean):
                raise ValueError(f"extra.{name}.mean {one.mean:.6g} is no {name}")
        return self

    @model_validator(mode="after")
    def _so_many_predictions_can_be_made(self) -> Self:
        least = self.test.episodes * self.test.ways * self.test.queries
        most = self.test.episodes * (self.test.max_ways or self.test.ways) * self.test.queries
        if most > LARGEST_NUMBER:
            raise ValueError(f"a test of {most:,} predictions was never made")
        if self.predictions is not None and not least <= self.predictions <= most:
            raise ValueError(f"predictions must lie between {least:,} and {most:,}")
        return self


class TrainingPart(Part):
    """How a training went."""

    updates: NonNegativeInt
    recipe_updates: PositiveInt = ABSENT  # of the recipe, where the request asks for another number
    best_update: NonNegativeInt | None = None
    validation_score: float | None = None


class Cost(Part):
    """What a training took."""

    train_s: Amount
    train_cpu_s: Amount = ABSENT
    peak_mib: Amount | None = None


class GitPart(Part):
    """The state of the source."""

    commit: Name
    dirty: bool


class Provenance(Part):
    """Where a record came from."""

    command: str = ABSENT
    started: Name = ABSENT
    finished: Name = ABSENT
    versions: dict[str, str | None] = Field(default_factory=dict)
    platform: str | None = None
    processor: str | None = None
    cpu_capability: str | None = ABSENT
    git: GitPart | None = None


class RecordContent(Part):
    """The whole of `record.json`."""

    version: Literal[4] = Field(alias="schema")
    run_id: Id
    engine: PositiveInt
    weights_sha256: Hash = ABSENT
    train: TrainSpec
    method: MethodPart
    data: DataPart
    training: TrainingPart | None
    results: list[Result] = Field(min_length=1, max_length=MOST_RESULTS)
    cost: Cost
    plan: PlanPart = ABSENT
    provenance: Provenance
    former: dict[str, Any] = ABSENT

    @model_validator(mode="after")
    def _one_method_is_named(self) -> Self:
        if self.method.name != self.train.method:
            raise ValueError(f"method.name {self.method.name!r} is not train.method, {self.train.method!r}")
        return self

    @model_validator(mode="after")
    def _each_result_is_once(self) -> Self:
        ids = [result.id for result in self.results]
        if twice := sorted({one for one in ids if ids.count(one) > 1}):
            raise ValueError(f"two results have the id {twice[0]}")
        return self

    @model_validator(mode="after")
    def _so_many_episodes_are_read(self) -> Self:
        if (scores := sum(scores_in(result.test) for result in self.results)) > MOST_SCORES:
            raise ValueError(f"scores of {scores:,} test episodes are more than the {MOST_SCORES:,} that are read")
        return self


def _check_interval(low: float, mean: float, high: float) -> None:
    if not low <= mean <= high:
        raise ValueError("low, mean and high must ascend")


def scores_in(test: TestSpec | Mapping[str, Any]) -> int:
    """How many scores a test leaves: one of each episode for its main metric and for each extra one."""
    said = dict(test)
    return int(said["episodes"] * (1 + len(said.get("extra_metrics", ()))))
