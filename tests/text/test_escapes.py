"""A record's text is shown in Markdown, LaTeX and CSV, and never carried out."""

import csv
import io
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fewshot_bench.table import Cell, Column, Table, render
from fewshot_bench.text.escapes import in_csv, in_latex, in_markdown

COLUMN = Column("a", "a", "d", leads=True)


@pytest.mark.parametrize(
    "text",
    ["=1+1", "=cmd|'/C calc'!A0", "+A1", "-A1", "-2+3+cmd|x", "@SUM(A1)", "\t=1", " =1", "\uff1d1", "\r=1", "-", "+(1)"],
)
def test_a_formula_is_no_formula_in_a_spreadsheet(text: str) -> None:
    """It stands behind an apostrophe."""
    [[header], [cell]] = csv.reader(io.StringIO(in_csv([{"a": text}])))
    assert (header, cell) == ("a", f"'{text}")


@pytest.mark.parametrize("text", ["-1", "+1.5", "-0.5e-3", "-.5", "maml", "baseline++", "5-way", "a=b", "x@y", ""])
def test_numbers_and_names_are_as_they_are(text: str) -> None:
    """So that a program reads them back."""
    [_, *rows] = csv.reader(io.StringIO(in_csv([{"a": text, "b": -0.5}])))
    assert rows == [[text, "-0.5"]]


def test_what_another_spreadsheet_would_part_is_quoted() -> None:
    """Some part columns by semicolons or tabs, and a formula behind one would begin a cell."""
    assert in_csv([{"a": "x;=1"}]) == 'a\n"x;=1"\n'


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.text() | st.integers() | st.none(), min_size=1), min_size=1))
def test_rows_are_read_back_by_pythons_csv(rows: list[dict[str, object]]) -> None:
    """As many rows and cells as were written, whatever stands in them."""
    read = list(csv.reader(io.StringIO(in_csv(rows), newline="")))
    keys = list(dict.fromkeys(key for row in rows for key in row))
    assert read[0] == keys
    assert [len(row) or 1 for row in read] == [len(keys)] * (len(rows) + 1)


@pytest.mark.parametrize("text", ["https://evil.example", "www.evil.example", "a@evil.example", "mailto:x", "HTTP://EVIL"])
def test_an_address_in_markdown_is_no_link(text: str) -> None:
    """It stands as code; one of our own may be a link."""
    assert in_markdown(text) == f"`{text}`"
    assert in_markdown("https://arxiv.org/abs/1", links=True) == "https://arxiv.org/abs/1"


def test_code_ends_where_it_should() -> None:
    """Whatever backticks it holds, and without ending a cell."""
    assert in_markdown("``www.x|y`") == r"``` ``www.x\|y` ```"


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("# big", r"\# big"),
        ("- item", r"\- item"),
        ("+ item", r"\+ item"),
        ("1. item", r"1\. item"),
        ("2) item", r"2\) item"),
        ("==", r"\=="),
        ("> quote", "&gt; quote"),
    ],
)
def test_a_note_begins_no_heading_and_no_list(text: str, escaped: str) -> None:
    """As a note does, which a record's text may begin."""
    assert in_markdown(text, begins=True) == escaped


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("*b*", r"\*b\*"),
        ("_i_", r"\_i\_"),
        ("inner_lr", "inner_lr"),
        ("~~s~~", r"\~\~s\~\~"),
        ("$x$", r"\$x\$"),
        ("![i](u)", r"!\[i](u)"),
        ("<b>", "&lt;b&gt;"),
        ("a|b", r"a\|b"),
        ("&amp;", "&amp;amp;"),
    ],
)
def test_markdown_shows_what_it_would_carry_out(text: str, escaped: str) -> None:
    """Emphasis, formulas, images, tags, columns, entities."""
    assert in_markdown(text) == escaped


def test_headers_and_titles_are_escaped_too() -> None:
    """A metric's name stands in a header, a protocol's in a title."""
    table = Table("x <i> *", [replace(COLUMN, header="a|<b>")], [{"a": Cell.of("1")}])
    text = table.markdown()
    assert r"### x &lt;i&gt; \*" in text and r"| a\|&lt;b&gt; |" in text


@pytest.mark.parametrize("text", ["[10cm]", "*[1cm]"])
def test_a_row_of_latex_does_not_begin_with_the_height_of_the_last(text: str) -> None:
    r"""`\\[10cm]` and `\\*` are commands."""
    assert in_latex(text)[0] == "{"


@pytest.mark.parametrize("form", ["text", "markdown", "csv", "latex", "json"])
def test_no_form_holds_a_control_character(form: str) -> None:
    """In title, header, cell, note and what is the same for all rows."""
    evil = "\x1b[2J\u202e\r\n\t\x00\u200b\ud800"
    table = Table(evil, [replace(COLUMN, header=evil)], [{"a": Cell.of(evil)}], [evil], {"about": evil, evil: [evil]})
    text = render([table], form)  # type: ignore[arg-type]
    assert all(character.isprintable() or character == "\n" for character in text)
    assert text.encode("utf-8")


def test_a_long_text_makes_no_long_table() -> None:
    """A name of a megabyte is cut."""
    table = Table("t" * 10**6, [COLUMN], [{"a": Cell.of("x" * 10**6)}])
    assert all(len(render([table], form)) < 20_000 for form in ("text", "markdown", "csv", "latex", "json"))
