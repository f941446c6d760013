"""Whether splits have room for episodes; where they have none, what is suggested fits."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from imageless_splits import make_bank

from fewshot_bench.episodes import enough_images
from fewshot_bench.episodes.enough_images import Place
from fewshot_bench.episodes.size import EpisodeSize
from fewshot_bench.errors import TooFewClasses, UsageError

PLACES = [
    Place("Training", "train"),
    Place("Validation", "validation"),
    *(Place("Test", "test", queries) for queries in ("free", "fixed", "shots")),
]


@st.composite
def sizes(draw: st.DrawFn) -> EpisodeSize:
    """Any size that a specification may have."""
    ways, shots, unlabelled = draw(st.integers(2, 9)), draw(st.integers(1, 9)), draw(st.integers(0, 5))
    return EpisodeSize(
        ways,
        shots,
        draw(st.integers(1, 9)),
        draw(st.none() | st.integers(ways, 12)),
        draw(st.none() | st.integers(shots, 12)),
        unlabelled=unlabelled,
        distractors=draw(st.integers(0, 4)) if unlabelled else 0,
    )


def suggested(text: str, size: EpisodeSize) -> EpisodeSize:
    """The size with what a message says to set."""
    found = re.findall(r"--(?:set \w+\.)?(\w+)[ =](\d+)", text)
    return replace(size, **{key: int(value) for key, value in found})


@given(size=sizes(), classes=st.integers(2, 12), images=st.integers(2, 20), place=st.sampled_from(PLACES))
def test_what_a_refusal_suggests_fits_and_is_a_size(size: EpisodeSize, classes: int, images: int, place: Place) -> None:
    """At once, ways and images alike; the protocol's queries stay, unless another protocol is part of it."""
    if place.queries == "shots":
        size = replace(size, queries=size.shots, max_shots=None, unlabelled=0, distractors=0)
    banks = [make_bank([images] * classes), make_bank([20] * 12)]
    try:
        enough_images.check(banks, size, place)
        return
    except UsageError as error:
        text = str(error)
    fits = suggested(text, size)
    if place.queries == "shots":
        fits = replace(fits, queries=fits.shots)
    enough_images.check(banks, fits, place)
    assert place.queries != "fixed" or fits.queries == size.queries or "--protocol custom" in text
    assert min(fits.ways, fits.shots, fits.queries) >= 1
    assert fits.largest_ways >= fits.ways and fits.largest_shots >= fits.shots
    assert fits.unlabelled or not fits.distractors
    assert text.startswith(f"{place.title}: ") and len(text.splitlines()) == 1


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (Place(), "at most --ways 4; 9 shots and 1 query need 10 images of each class, but class 'class1' has 7"),
        (Place("Training", "train"), "at most --set train.ways=4; .*: for example --set train.shots=6"),
        (Place("Validation", "validation", together=3), "more than the 4 classes of this split: at most --ways 3"),
        (Place("Test", "test", "shots"), "for example --shots 3"),
    ],
)
def test_what_is_wrong_with_ways_and_images_is_said_at_once(place: Place, words: str) -> None:
    """In the keys of whose episodes they are."""
    with pytest.raises(TooFewClasses, match=words):
        enough_images.check([make_bank([20, 7, 9, 20])], EpisodeSize(5, 9, 1), place)


def test_a_class_of_one_image_has_no_remedy() -> None:
    """A shot and a query are two images."""
    with pytest.raises(UsageError, match="class 'class1' has 1; one shot and one query need two: leave that class out"):
        enough_images.check([make_bank([20, 1, 9])], EpisodeSize(2, 1, 1))
