"""Which sizes of episodes a method, or a family of functions, accepts: said before any work."""

from typing import TYPE_CHECKING

from fewshot_bench.errors import UsageError

if TYPE_CHECKING:
    from fewshot_bench.learning.base import Method
    from fewshot_bench.specs import Kind, TestSpec, TrainSpec
from fewshot_bench.episodes.size import EpisodeSize


def check_accepted(name: str, method: "type[Method]", kind: "Kind", train: "TrainSpec", test: "TestSpec") -> None:
    """Refuse episodes of a size that a method cannot learn or be tested on, or that functions do not have; raises
    `UsageError`."""
    if kind == "regression":
        _check_functions(train, test)
    elif train.validation is not None and train.validation.ways == 1:
        raise UsageError("A validation of 1 way has nothing to tell apart: at least --set validation.ways=2.")
    tested = EpisodeSize.of(test)
    trained = EpisodeSize.of(train) if train.ways is not None else None
    if method.balanced_support and any(size.imbalanced for size in (tested, trained) if size):
        raise UsageError(f"{name} needs equally many support images of each class: leave imbalanced out.")
    if trained is None:
        return
    if method.fixed_ways and (varying := trained.max_ways or tested.max_ways):
        raise UsageError(
            f"{name} has one output for each way: its episodes cannot have {train.ways} to {varying} ways. "
            "Leave max_ways out."
        )
    if method.fixed_ways and trained.ways != tested.ways:
        raise UsageError(
            f"{name} has one output for each way: trained {train.ways}-way, it cannot be tested {test.ways}-way.\n"
            f"Set both with --ways {train.ways}, or leave train.ways out."
        )
    if method.fixed_support and tested.largest_shots > trained.largest_shots:
        raise UsageError(
            f"{name} is built for its largest support: trained with up to {trained.largest_shots} shots, it cannot be "
            f"tested with {tested.largest_shots}. Train it with --set train.max_shots={tested.largest_shots}."
        )
    if method.fixed_support and tested.largest_support > trained.largest_support:
        raise UsageError(
            f"{name} is built for its largest support: trained on up to {trained.largest_support} support images, it cannot "
            f"be tested on {tested.largest_support}. Train it with --set train.max_ways={tested.largest_ways}."
        )


def _check_functions(train: "TrainSpec", test: "TestSpec") -> None:
    sections = {"train": train, "validation": train.validation, "test": test}
    asked = [f"{name}.{key}" for name, spec in sections.items() if spec for key in EpisodeSize.of(spec).more]
    if refused := [key for key in asked if key != "train.max_shots"]:
        raise UsageError(
            f"Functions have no classes, and a test on them has one number of shots: leave {', '.join(refused)} out."
        )
