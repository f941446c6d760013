"""What a stranger wrote reaches no terminal as it is."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fewshot_bench.text.printable import cleaned, printable


@pytest.mark.parametrize(
    "bad",
    [
        *("\x1b[2J", "\x1b]0;title\x07", "\x9b31m", "\x00", "\x7f", "\r", "\n", "\t", "\x85"),
        *("\u202e", "\u2066", "\u200e", "\u061c"),
        *("\u200b", "\ufeff", "\u2060", "\u00ad", "\u3164", "\u2800", "\ufe0f", "\u115f"),
        *("\u2028", "\u2029", "\ud800", "\ue000", "\U000e0041"),
    ],
    ids=ascii,
)
def test_what_moves_a_terminal_or_hides_is_shown_as_replaced(bad: str) -> None:
    """Control characters, bidirectional controls, invisible characters, line breaks, surrogates, tags."""
    assert printable(f"a{bad[0]}b") == "a\N{REPLACEMENT CHARACTER}b"


@pytest.mark.parametrize("text", ["maml", "5–10-way 1–5-shot", "Grüße, 中文 × ± →", "한국어", "नमस्ते", "emoji 🙂"])
def test_ordinary_text_of_any_script_stays(text: str) -> None:
    """Nothing is taken from what a person can read."""
    assert printable(text) == text


def test_a_long_text_is_cut_and_says_so() -> None:
    """A name of a megabyte makes no page of a megabyte."""
    assert printable("a" * 10**6 + ".png") == "a" * 133 + "…" + "a" * 62 + ".png"
    assert printable("x" * 300, most=300) == "x" * 300


def test_marks_do_not_pile_up() -> None:
    """One letter with a thousand marks would cover the lines above it."""
    assert printable("a" + "\u0301" * 100 + "b") == "a" + "\u0301" * 3 + "b"


@given(st.text(st.characters(), max_size=300))
def test_the_result_is_one_line_that_can_be_encoded(text: str) -> None:
    """Whatever comes in."""
    shown = printable(text)
    assert shown.isprintable() and len(shown) <= 200
    assert shown.encode("utf-8").decode("utf-8") == shown
    assert printable(shown) == shown


def test_every_text_of_a_value_is_cleaned() -> None:
    """Keys too, at any depth; numbers stay numbers."""
    assert json.dumps(cleaned({"a\x1b": [{"b": "\u202e"}, 1, 0.5, None, True]}), ensure_ascii=False) == (
        '{"a�": [{"b": "�"}, 1, 0.5, null, true]}'
    )
