"""What the names of classes tell of whether two data sets share some."""

import pytest

from fewshot_bench.data.class_names import alike, may_hide_shared, seen_as, unnamed

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


ONE = {
    "case": ("Cat", "cAT"),
    "case that takes two letters": ("stra\xdfe", "STRASSE"),
    "a space at an end": (" cat", "cat  "),
    "two spaces": ("red  fox", "red fox"),
    "a no-break space": ("red\xa0fox", "red fox"),
    "an ideographic space": ("red\u3000fox", "red fox"),
    "a zero-width space": ("c\u200bat", "cat"),
    "a zero-width joiner at the end": ("cat\u200d", "cat"),
    "a byte order mark": ("\ufeffcat", "cat"),
    "a soft hyphen": ("c\xadat", "cat"),
    "a mark of direction": ("\u202ecat", "cat"),
    "a variation selector": ("cat\ufe0f", "cat"),
    "an empty pattern of Braille": ("cat\u2800", "cat"),
    "a filler": ("cat\u3164", "cat"),
    "an accent apart": ("ne\u0301e", "n\xe9e"),
    "full-width letters": ("\uff23\uff21\uff34", "cat"),
    "half-width kana": ("\uff88\uff7a", "\u30cd\u30b3"),
    "a ligature": ("\ufb01sh", "fish"),
    "a line break": ("red\nfox", "red fox"),
}


@pytest.mark.parametrize("name", ONE)
def test_names_that_look_alike_are_one(name: str) -> None:
    """To a reader, who cannot see the difference or does not mind it."""
    one, other = ONE[name]
    assert seen_as(one) == seen_as(other)
    assert alike(["dog", one, "emu", other]) == [[one, other]]


@pytest.mark.parametrize(
    ("one", "other"),
    [("cat", "cats"), ("n\xe9e", "nee"), ("a b", "ab"), ("n01532829", "n01558993"), ("1", "01")],
)
def test_names_that_differ_are_two(one: str, other: str) -> None:
    """By a letter, an accent, a space inside."""
    assert alike([one, other]) == []


def test_a_name_of_nothing_that_is_shown_is_itself() -> None:
    """Two of them are two."""
    assert alike(["\u200b", "\u200c", " "]) == []
