"""What a spec says of the size of its episodes: read, bounded, counted and put into words."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from training_spec import spec as a_training

from fewshot_bench.episodes.size import EpisodeSize
from fewshot_bench.errors import UsageError
from fewshot_bench.identity import run_id
from fewshot_bench.specs import TestSpec, TrainSpec, Validation

MORE: dict[str, Any] = {"max_ways": 9, "max_shots": 5, "imbalanced": True, "unlabelled": 4, "distractors": 2}
VALIDATION = {"every": 1, "episodes": 5, "normalisation": "none", "inner_steps": None}
SIZE: dict[str, Any] = {"ways": 5, "shots": 1, "queries": 3}


def a_test(**changes: Any) -> TestSpec:
    """A test of 5-way 1-shot episodes."""
    fields = {"protocol": "custom", "dataset": "glyphs", "data": {}, **SIZE, "episodes": 5, "seed": 0}
    return TestSpec.checked(fields | {"normalisation": "none"} | changes)


SPECS = {"test": a_test(), "training": a_training(), "validation": Validation.checked(VALIDATION | SIZE)}


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_a_size_says_what_the_spec_says(spec: TrainSpec | TestSpec | Validation) -> None:
    """As a spec and as it stands in a record, with and without what an episode may have more."""
    assert EpisodeSize.of(spec) == EpisodeSize.of(json.loads(spec.model_dump_json())) == EpisodeSize(5, 1, 3)
    known = {key: value for key, value in MORE.items() if key in type(spec).model_fields}
    more = spec.model_copy(update=known)
    assert EpisodeSize.of(more) == EpisodeSize.of(json.loads(more.model_dump_json())) == EpisodeSize(5, 1, 3, **known)
    assert EpisodeSize.of(more).more == known
    assert EpisodeSize.of(spec).more == {}


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({}, "5-way 1-shot"),
        ({"max_ways": 50, "max_shots": 10}, "5–50-way 1–10-shot"),
        ({"max_shots": 10, "imbalanced": True}, "5-way 1–10-shot, imbalanced"),
        ({"unlabelled": 5, "distractors": 2}, "5-way 1-shot, 5 unlabelled a class, 2 distractor classes"),
    ],
)
def test_a_size_in_words_names_bounds_and_unlabelled_images(more: dict[str, Any], text: str) -> None:
    """As titles of tables have it."""
    assert EpisodeSize(**SIZE, **more).text == text


def test_the_most_images_are_those_of_the_largest_episode() -> None:
    """9 ways of 5 shots, 3 queries and 4 unlabelled images, and 2 distractors of 4."""
    size = EpisodeSize(**SIZE, **MORE)
    assert (size.largest_ways, size.largest_shots, size.largest_support) == (9, 5, 45)
    assert size.images == 9 * (5 + 3 + 4) + 2 * 4


@pytest.mark.parametrize("make", [a_test, a_training])
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"max_ways": 4}, "max_ways 4 is below ways 5"),
        ({"shots": 3, "max_shots": 2}, "max_shots 2 is below shots 3"),
        ({"imbalanced": True}, "set max_shots too"),
        ({"distractors": 1}, "set unlabelled too"),
        ({"unlabelled": -1}, "unlabelled"),
    ],
)
def test_bounds_that_mean_nothing_are_refused(make: Any, changes: dict[str, Any], words: str) -> None:
    """With what is missing, in a test as in a training."""
    with pytest.raises(UsageError, match=words):
        make(**changes)


@pytest.mark.parametrize(("make", "section"), [(a_test, "test"), (a_training, "train")])
def test_a_bound_that_is_refused_is_named_with_its_section(make: Any, section: str) -> None:
    """Both have one of that name."""
    with pytest.raises(UsageError, match=f"^{section}: max_ways 4 is below ways 5"):
        make(ways=5, max_ways=4)


def test_what_came_later_changes_the_identity_only_where_it_is_used() -> None:
    """A training that says nothing of it keeps the id that it had before there was any."""
    plain = a_training()
    assert not (MORE.keys() - {"max_shots"}) & plain.model_dump().keys()
    others = [{**MORE, key: value} for key, value in (("max_ways", 9), ("max_ways", 8), ("unlabelled", 3))]
    ids = {run_id(a_training(**other), "", "") for other in others}
    assert len({run_id(plain, "", ""), *ids}) == 4


@given(
    ways=st.integers(1, 9),
    more_ways=st.integers(0, 5),
    shots=st.integers(1, 9),
    more_shots=st.integers(0, 5),
    unlabelled=st.integers(1, 9),
    distractors=st.integers(0, 4),
)
def test_training_images_are_counted_on_average(
    ways: int, more_ways: int, shots: int, more_shots: int, unlabelled: int, distractors: int
) -> None:
    """The mean over all ways and shots within the bounds, times the tasks of all updates."""
    spec = a_training(
        ways=ways,
        max_ways=ways + more_ways,
        shots=shots,
        max_shots=shots + more_shots,
        unlabelled=unlabelled,
        distractors=distractors,
    )
    tasks = [
        n * (k + 3 + unlabelled) + distractors * unlabelled
        for n in range(ways, ways + more_ways + 1)
        for k in range(shots, shots + more_shots + 1)
    ]
    assert abs(spec.images - 3 * 4 * sum(tasks) / len(tasks)) <= 0.5
