"""YAML that is read one way alone: the same in `--set`, recipe files and cards, whatever stands within whatever."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from command_line import assert_refused, call
from hypothesis import example, given
from hypothesis import strategies as st

from fewshot_bench import UsageError
from fewshot_bench.inputs import plain_yaml

REPOSITORY = Path(__file__).parents[2]

TWO_READINGS = {
    "010": ("8", "10"),
    "-010": ("-8", "-10"),
    "0_10": ("8", "10"),
    "08": ("8", '"08"'),
    "007": ("7", '"007"'),
    "0x1F": ("31", '"0x1F"'),
    "0o17": ("15", '"0o17"'),
    "0b11": ("3", '"0b11"'),
    "1_000": ("1000", '"1_000"'),
    "1_0.5": ("10.5", '"1_0.5"'),
    "1:30": ("90", '"1:30"'),
    "5:1": ("301", '"5:1"'),
    "-1:30": ("-90", '"-1:30"'),
    "190:20:30.15": ("685230.15", '"190:20:30.15"'),
    "on": ("true", '"on"'),
    "Off": ("false", '"Off"'),
    "YES": ("true", '"YES"'),
    "~": ("null", '"~"'),
    "None": ("null", '"None"'),
    ".5": ("0.5", '".5"'),
    "1.": ("1.0", '"1."'),
    "+5": ("5", '"+5"'),
    "+1e3": ("1000.0", '"+1e3"'),
    "00.5": ("0.5", '"00.5"'),
}
"""A word, and what everybody reads as the one and as the other of its readings."""
ONE_FORM = {"2024-01-01": '"2024-01-01"', "2024-1-1 10:00:00": '"2024-1-1 10:00:00"', ".inf": '".inf"', "nan": '"nan"'}
"""A word that is a date or no finite number to some, and how the text is written."""


@pytest.mark.parametrize("word", TWO_READINGS)
def test_a_word_of_two_readings_is_refused_with_both(word: str) -> None:
    """In a setting, alone and within lists; each form that the message offers is read."""
    for text in (word, f"[[1, {word}]]", f"{{a: {word}}}"):
        with pytest.raises(UsageError) as refused:
            plain_yaml.read_setting("train.lr", text)
        assert all(form in str(refused.value) for form in (word, *TWO_READINGS[word]))
    one, other = (plain_yaml.read_setting("train.lr", form) for form in TWO_READINGS[word])
    assert one != other


@pytest.mark.parametrize("word", ONE_FORM)
def test_a_word_that_is_a_date_or_no_finite_number_is_refused(word: str) -> None:
    """The text is had in quotes."""
    with pytest.raises(UsageError, match=r"date|not finite") as refused:
        plain_yaml.read_setting("name", word)
    assert ONE_FORM[word] in str(refused.value)
    assert plain_yaml.read_setting("name", ONE_FORM[word]) == word


@pytest.mark.parametrize("text", ["1e-3", "1.0e-3", "0.001", "1E-3", "10E-4"])
def test_a_number_may_have_an_exponent(text: str) -> None:
    """As JSON has it, in settings and in files, at any depth."""
    assert plain_yaml.read_setting("lr", text) == 0.001
    assert plain_yaml.read(f"a: [[{text}]]", "file") == {"a": [[0.001]]}


@pytest.mark.parametrize("text", ["1e400", "-1e400", "1e-400", "9" * 30, "9" * 5000, "0" * 5000 + "7"])
def test_a_number_that_cannot_be_held_is_refused(text: str) -> None:
    """No infinity, no 0, no text in its place."""
    with pytest.raises(UsageError, match=r"too large|characters is too long") as refused:
        plain_yaml.read_setting("lr", text)
    assert len(str(refused.value)) < 300


PART_OF_IT = ["a #b", "a: b", "- a", "#a", "--- 5", "|\n a", "> a", "a\nb", "[1] #b", "'a' #b"]
UNREADABLE = ["@a", "`a", "%a", "[1", "{a", "'a", "...", ":", "\x1b[31m"]
REFERENCES = [
    "&a",
    "&a 5",
    "*a",
    "!a",
    "!!str 5",
    "! 5",
    "{<<: {a: 1}}",
    "[&a 1, *a]",
    "{a: 1, a: 2}",
    "-",
    "{a: }",
    "5\n---\n6",
]


@pytest.mark.parametrize("text", [*PART_OF_IT, *UNREADABLE])
def test_a_setting_that_yaml_would_read_only_in_part_is_refused_with_the_quoted_text(text: str) -> None:
    """The setting that the message offers gives the whole text."""
    with pytest.raises(UsageError, match="in quotes") as refused:
        plain_yaml.read_setting("name", text)
    assert plain_yaml.setting("name", text) in str(refused.value)
    assert plain_yaml.read_setting("name", plain_yaml.write(text)) == text


@pytest.mark.parametrize("text", [*REFERENCES, "", "  ", "\udcff", '"\\ud800"', "[" * 60 + "]" * 60, "[" * 5000])
def test_a_setting_with_references_tags_two_values_or_none_is_refused(text: str) -> None:
    """In one line, with nothing that steers a terminal."""
    with pytest.raises(UsageError) as refused:
        plain_yaml.read_setting("name", text)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 300


FILES = {
    "octal": ("a: 1\nseeds: [010]\n", "my.yaml (line 2): seeds[0]: 010", "8 or as 10"),
    "sixties": ("ways: 5:1\n", "ways: 5:1 may be read as 301"),
    "a switch": ("methods: [maml, off]\n", "methods[1]: off may be read as false"),
    "a key of two readings": ("a: {on: 1}\n", "(line 1): a: on may be read as true"),
    "a key twice": ("seeds: 0-4\nshots: [1, 5]\nseeds: 0\n", "seeds: the key is written twice, in lines 1 and 3"),
    "a key twice within": ("a: {b: {c: 1, 'c': 2}}\n", "a.b.c: the key is written twice, in line 1"),
    "one key and its equal": ("{1: 2, true: 3}", "written twice"),
    "a key that is a list": ("? [a]\n: 1\n", "a key must be a name"),
    "no value": ("a: 1\nb:\n", "(line 2): b: no value is given: write null"),
    "a tag": ("a: !!python/name:os.system x\n", "tags are not read"),
    "a date": ("a: 2024-01-01\n", "a date"),
    "two documents": ("a: 1\n---\na: 2\n", "a second document"),
    "an alias to nothing": ("a: *b\n", "*b refers to no anchor"),
    "an alias to itself": ("a: &b [*b]\n", "*b refers to no anchor"),
    "an anchor twice": ("a: &b 1\nc: &b 2\n", "&b is written twice"),
    "a merge of no mapping": ("a: {<<: 1}\n", "merges mappings"),
    "a billion": (
        "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
        + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10)),
        "more than 100,000 values",
    ),
    "control characters": ("a: \x1b[31m\n", "is not YAML"),
    "a half character": ('a: "\\ud83d"\n', "my.yaml"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_refused_with_its_line_and_the_keys_that_lead_there(name: str) -> None:
    """What is ambiguous, twice, missing, or more than it seems."""
    text, *words = FILES[name]
    with pytest.raises(UsageError) as refused:
        plain_yaml.read(text, "my.yaml")
    assert [word for word in words if word not in str(refused.value)] == []
    assert str(refused.value).startswith("my.yaml")


def test_anchors_aliases_and_merge_keys_serve_in_files() -> None:
    """As PyYAML reads them: own keys win over merged ones, of several mappings the first."""
    text = "a: &a {x: 1, y: [2, 3]}\nb: &b {x: 4, z: 5}\nc: {y: 6, <<: [*a, *b]}\nd: *a\n"
    assert plain_yaml.read(text, "file") == yaml.safe_load(text)


def test_comments_line_ends_and_the_order_of_keys_make_no_difference() -> None:
    """CRLF as LF."""
    assert plain_yaml.read("a: 1 # one\r\nb: [x, 2]\r\n", "file") == plain_yaml.read("b:\n- x\n- 2\na: 1\n", "file")


def cards() -> list[Path]:
    """Every YAML file of the repository."""
    folders = ("methods", "datasets", "leaderboard/fewshot_leaderboard", "tests/support/plugin")
    return [path for folder in folders for path in sorted((REPOSITORY / folder).rglob("*.yaml"))]


@pytest.mark.parametrize("path", cards(), ids=lambda path: path.name)
def test_every_card_has_one_reading(path: Path) -> None:
    """That of PyYAML."""
    text = path.read_text(encoding="utf-8")
    assert plain_yaml.read(text, path.name) == yaml.safe_load(text)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=20), inner),
    max_leaves=8,
)


@given(VALUES)
def test_whatever_json_can_say_is_written_and_read_back(value: Any) -> None:
    """In a setting and in a file, with its type."""
    for read in (plain_yaml.read_setting("key", plain_yaml.write(value)), plain_yaml.read(plain_yaml.write(value), "file")):
        assert read == value
        assert type(read) is type(value)


@example("0x_")
@given(st.text("0123456789+-._:eExobinfayTt \u0660", min_size=1, max_size=12).map(str.strip).filter(bool))
def test_what_is_read_is_what_every_other_reader_reads(text: str) -> None:
    """JSON's reading where it has one; YAML 1.1's, of PyYAML, where that is no text."""
    try:
        value = plain_yaml.read_setting("key", text)
    except UsageError:
        return
    try:
        theirs = json.loads(text)
    except ValueError:
        try:
            theirs = yaml.safe_load(text)
        except ValueError:  # PyYAML takes `0x_` for a number, and fails
            theirs = text
    assert value == theirs
    assert isinstance(value, str) == isinstance(theirs, str)


COMMANDS = {
    "--set": (["--set", "train.updates=010"], "--set train.updates=8 or --set train.updates=10"),
    "--set of sixties": (["--set", "train.updates=1:30"], "--set train.updates=90"),
    "--set of nested lists": (["--set", "train.lr_steps=[[010, 1e-3]]"], "[0][0]: 010", "8 or 10"),
    "--set twice": (["--set", "updates=3", "--set", "train.updates=4"], "train.updates", "3", "4", "twice"),
    "a recipe": (["--recipe", "train: {updates: 010}"], "(line 1): train.updates: 010", "8 or 10"),
    "a recipe's key": (["--recipe", "train: {updates: 3}\ntrain: {updates: 4}"], "lines 1 and 2"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_settings_and_recipes_refuse_alike(name: str, tmp_path: Path) -> None:
    """Exit 2, with what to write."""
    (option, *more), *words = COMMANDS[name]
    if option == "--recipe":
        (tmp_path / "my.yaml").write_text(more[0])
        more = [str(tmp_path / "my.yaml")]
    assert_refused(call("run", "--method", "maml", option, *more, "--dry-run"), 2, *words)


def test_one_setting_may_be_given_twice_with_one_value() -> None:
    """A script that adds what is there already changes nothing."""
    said = call("run", "--method", "maml", "--set", "updates=3", "--set", "train.updates=3", "--dry-run", "--json")
    assert json.loads(said.out)[0]["train"]["updates"] == 3


def test_nothing_else_reads_yaml() -> None:
    """One reader, so that a card, a recipe and a setting mean the same."""
    packages = ("fewshot_bench", "methods/fewshot_methods", "datasets/fewshot_datasets", "leaderboard/fewshot_leaderboard")
    sources = [path for package in packages for path in (REPOSITORY / package).rglob("*.py")]
    readers = [
        path.name for path in sources if re.search(r"yaml\.(safe_|full_|unsafe_)?(load|parse)\b", path.read_text("utf-8"))
    ]
    assert readers == ["plain_yaml.py"]
