"""What the names of classes tell of whether two data sets share some."""

import pytest

from fewshot_bench.class_names import may_hide_shared, unnamed

NAMELESS = [unnamed("train", label) for label in range(64)]
IMAGENETS = ["n01532829", "n01558993"]
BIRDS = ["001.Black_footed_Albatross", "002.Laysan_Albatross"]
TRAINS = ["train-1", "tram", "train-2"]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (NAMELESS, IMAGENETS, True),
        (NAMELESS, [*BIRDS, *IMAGENETS], True),
        (NAMELESS, [unnamed("test", 80)], True),
        (NAMELESS, BIRDS, False),
        (IMAGENETS, BIRDS, False),
        (IMAGENETS, ["n02110063"], False),
        (TRAINS, IMAGENETS, False),
    ],
)
def test_classes_without_names_may_be_imagenets_or_others_without(one: list[str], other: list[str], expected: bool) -> None:
    """Whichever of the two has no names; where both have some, equal names are what they share."""
    assert may_hide_shared(one, other) == may_hide_shared(other, one) == expected
