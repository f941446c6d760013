"""What a grid says: its values are read as the command line reads them, and what can be misread is refused."""

import json
from pathlib import Path

import pytest
from command_line import assert_refused, call, finished

from fewshot_bench.errors import UsageError
from fewshot_bench.recipes import read_setting
from fewshot_bench.request import Request
from fewshot_bench.sweeps.grid import read_grid
from fewshot_bench.sweeps.plan import request_of

PROTO = "methods: [prototypical-networks]\ndatasets: [glyphs]\n"


def grid(folder: Path, text: str) -> Path:
    """A file of that text."""
    path = folder / "grid.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def plan(folder: Path, text: str) -> list[str]:
    """The names of the runs of a grid."""
    said = finished("sweep", grid(folder, text), "--dry-run", "--json", "--out", folder / "runs")
    return [run["name"] for run in json.loads(said.out)["runs"]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (PROTO + "seeds: [010]\n", ("seeds[0]: 010", "line 3", "write 8 or 10")),
        (PROTO + "ways: 5:1\n", ("ways: 5:1", "line 3")),
        ("methods: [prototypical-networks, off]\n", ("methods[1]: off", "false", '"off"')),
        (PROTO + "seeds: 0-4\nshots: [1, 5]\nseeds: 0\n", ("seeds", "lines 3 and 5")),
        (PROTO + "set: {train.lr_steps: [[2, 0.001], [4, 0.0001]]}\n", ("train.lr_steps takes a list", "one more bracket")),
        (PROTO + "seeds: [0, 1]\nexclude:\n  - {methods: prototypical-networks}\n", ("exclude leaves nothing of 2 runs",)),
        (PROTO + "exclude: [{methods: maml}]\n", ("exclude[0] means none of 1 run",)),
        (PROTO + "include: [{shots: 5}]\n", ("include[0] means none of 1 run",)),
        (PROTO + "exclude: [{sets: {train.lr: 1}}]\n", ("exclude: sets is written set",)),
        (PROTO + "exclude: {shots: 5}\n", ("exclude is a list of mappings",)),
        ("method: maml\n", ("method is written methods",)),
        (PROTO + "seed: 0\n", ("seed is written seeds",)),
        (PROTO + "sheds: 0\n", ("'sheds'", "'seeds'")),
        ("", ("is empty",)),
        ("methods: []\n", ("methods: no value is given",)),
        ("seeds: 0-4\n", ("names no methods",)),
        ("- maml\n", ("must be a mapping",)),
        (PROTO + "seeds: 4-0\n", ("seeds", "from 0 up")),
        (PROTO + "shots: 1.5\n", ("shots", "whole number")),
        (PROTO + "protocol: [standard, finn]\n", ("protocol",)),
        (PROTO + "set: [train.lr]\n", ("set", "maps keys")),
        (
            PROTO
            + "seeds: 0-999\nshots: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]\nset: {train.lr: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]}\n",
            ("110,000",),
        ),
    ],
)
def test_what_can_be_misread_or_means_nothing_is_refused(tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    """In one to three lines that name the key; nothing is planned."""
    assert_refused(call("sweep", grid(tmp_path, text), "--dry-run", "--out", tmp_path / "runs"), 2, *words)
    assert not (tmp_path / "runs").exists()


def test_four_spellings_of_a_number_are_one_run_and_that_of_the_command_line(tmp_path: Path) -> None:
    """Under one id, and it is said."""
    text = "methods: [prototypical-networks]\nset:\n  train.lr: [1e-3, 1.0e-3, 0.001, 1E-3]\n"
    said = finished("sweep", grid(tmp_path, text), "--dry-run", "--json", "--out", tmp_path)
    (run,) = json.loads(said.out)["runs"]
    assert "4 values are one run" in said.err
    alone = finished("run", "--method", "prototypical-networks", "--set", "train.lr=1e-3", "--dry-run", "--json")
    assert json.loads(alone.out)[0]["run_id"] == run["run_id"]


def test_one_more_bracket_makes_a_list_one_value(tmp_path: Path) -> None:
    """Two values: two steps, and none."""
    names = plan(
        tmp_path, PROTO + "set:\n  train.lr_steps: [[[2, 0.001], [4, 0.0001]], []]\n  train.lr_halve_every: [null]\n"
    )
    assert len(names) == 2


def test_all_methods_run_under_one_seed_before_the_next(tmp_path: Path) -> None:
    """After two of six runs the table holds both methods."""
    names = plan(
        tmp_path, "methods: [prototypical-networks, matching-networks]\nseeds: [0, 1, 2]\nset: {train.updates: 5}\n"
    )
    assert [(name.split()[0], name.split()[-1]) for name in names[:3]] == [
        ("prototypical-networks", "0"),
        ("matching-networks", "0"),
        ("prototypical-networks", "1"),
    ]


def test_order_of_keys_comments_and_line_ends_change_no_byte_of_the_plan(tmp_path: Path) -> None:
    """Of what is printed."""
    texts = (
        "methods: [nearest-centroid]\nseeds: 0-2\nshots: [1, 5]\n"
        "set: {test.queries: 5, test.episodes: [8, 9]}\nprotocol: custom\n",
        "# c\r\nprotocol: custom\r\nset: {test.episodes: [8, 9], test.queries: [5]}\r\nshots: [1, 5] # d\r\n"
        "seeds: [0, 1, 2]\r\nmethods: nearest-centroid\r\n",
    )
    said = [finished("sweep", grid(tmp_path, text), "--dry-run", "--out", tmp_path / "runs").out for text in texts]
    assert said[0] == said[1]
    assert len(said[0].splitlines()) == 13


def test_include_keeps_and_exclude_removes(tmp_path: Path) -> None:
    """An entry means what has one of its values in each of its keys."""
    text = PROTO + "shots: [1, 5]\nseeds: 0-3\ninclude: [{shots: 5}, {seeds: 0}]\nexclude: [{shots: 5, seeds: '1-2'}]\n"
    left = [(one.shots, one.seed) for one in read_grid(grid(tmp_path, text)).combinations()]
    assert left == [(1, 0), (5, 0), (5, 3)]


def test_a_combination_that_cannot_run_is_named_before_anything_runs(tmp_path: Path) -> None:
    """With the reason of the first, and the names of the others."""
    text = "methods: [nearest-centroid, prototypical-networks]\nset: {train.lr: [0.1, -1]}\n"
    said = call("sweep", grid(tmp_path, text), "--out", tmp_path / "runs")
    assert_refused(said, 2, "cannot be run, so nothing is", "nearest-centroid glyphs", "train.lr=-1", "exclude")
    assert not (tmp_path / "runs").exists()


def test_a_value_reaches_the_run_as_it_is(tmp_path: Path) -> None:
    """Spaces, quotes, hyphens and a shell's signs are text."""
    values = ["a b", "it's", "-x", "$(touch x)", 'say "no"']
    (tmp_path / "grid.yaml").write_text(f"methods: [maml]\nset: {{backbone.weights: {json.dumps(values)}}}\n")
    found = read_grid(tmp_path / "grid.yaml")
    requests = [request_of(one, found, Request("maml")) for one in found.combinations()]
    assert [read_setting(one.settings[0]) for one in requests] == [("backbone.weights", value) for value in values]


def test_a_grid_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """One that is not there, a folder, and no text."""
    with pytest.raises(UsageError, match="No such grid"):
        read_grid(tmp_path / "none.yaml")
    with pytest.raises(UsageError, match="a folder, not a file"):
        read_grid(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"methods: [\xe9]\n")
    with pytest.raises(UsageError, match="not UTF-8"):
        read_grid(tmp_path / "latin.yaml")
