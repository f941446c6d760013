"""`fsbench compare` and `fsbench power` on small records whose answers are known."""

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import assert_refused, call, finished
from example_records import draw_scores, make_record

pytestmark = pytest.mark.usefixtures("records_of_any_length")

CHAIN = {
    "maml": [0.9, 0.8, 0.75, 0.8, 0.65, 0.65, 0.55, 0.6, 0.65, 0.8, 0.8, 0.65],
    "anil": [0.75, 0.75, 0.75, 0.85, 0.65, 0.55, 0.65, 0.6, 0.65, 0.7, 0.8, 0.5],
    "reptile": [0.7, 0.7, 0.7, 0.8, 0.6, 0.55, 0.45, 0.55, 0.55, 0.65, 0.8, 0.6],
}


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    """Three methods, of which the first two are tied, and the last two."""
    for name, scores in CHAIN.items():
        make_record(tmp_path, name, np.array(scores), test_queries=4)
    return tmp_path


def parts(*arguments: object) -> dict[str, Any]:
    """The tables of a comparison by part."""
    tables = json.loads(finished("compare", *arguments, "--json").out)["tables"]
    return {table["part"]: table for table in tables}


def test_ranks_pairs_and_matrix(chain: Path) -> None:
    """Tied with the best are the first two; p-values, wins and groups are those made by hand."""
    found = parts(chain)
    ranks = {row["member"]: (row["rank"], row["tied"], row["groups"]) for row in found["ranks"]["rows"]}
    assert ranks == {"maml": (1, True, "a"), "anil": (1, True, "ab"), "reptile": (2, False, "b")}
    pairs = {(row["first"], row["second"]): row for row in found["pairs"]["rows"]}
    assert pairs["maml", "reptile"]["p_holm"] == pytest.approx(0.0019190321696436908)
    assert pairs["maml", "reptile"]["t"] == pytest.approx(4.710027339825051)
    assert pairs["anil", "reptile"]["verdict"] == "not separated"
    assert any("Holm's correction does not separate them" in note for note in found["pairs"]["notes"])
    against = {row["member"]: row for row in found["matrix"]["rows"]}
    assert against["maml"]["against-2"] == [10, 2, 0]
    assert against["reptile"]["against-0"] == [0, 2, 10]


def test_the_order_of_runs_changes_nothing(chain: Path) -> None:
    """Byte for byte; a run named twice counts once."""
    folders = sorted(path.parent for path in chain.rglob("record.json"))
    assert finished("compare", *folders).out == finished("compare", *folders[::-1], folders[0]).out


def test_it_fits_80_columns(chain: Path) -> None:
    """As text."""
    assert max(map(len, finished("compare", chain).out.splitlines())) <= 80


@pytest.mark.parametrize("form", ["text", "markdown", "latex"])
def test_every_form_names_every_pair(chain: Path, form: str) -> None:
    """With its verdict."""
    text = finished("compare", chain, "--format", form).out
    assert all(name in text for name in CHAIN)
    assert "not separated" in text


def test_csv_holds_numbers(chain: Path) -> None:
    """A row a pair, values unrounded."""
    rows = [
        row
        for row in csv.DictReader(io.StringIO(finished("compare", chain, "--format", "csv").out))
        if row["part"] == "pairs"
    ]
    assert float(rows[1]["p"]) == pytest.approx(0.0006396773898812302)


def test_the_same_scores_are_said_and_json_stays_json(tmp_path: Path) -> None:
    """p is 1, nothing is NaN, and a reader is warned."""
    scores = draw_scores("same", 0.9)
    for name in ("maml", "anil"):
        make_record(tmp_path, name, scores)
    text = finished("compare", tmp_path, "--json").out
    assert "NaN" not in text
    found = json.loads(text, parse_constant=pytest.fail)["tables"][1]
    assert (found["rows"][0]["p"], found["rows"][0]["verdict"]) == (1, "same scores")
    assert "one run under two names" in " ".join(found["notes"])
    assert "the same scores in all 200 episodes" in finished("compare", tmp_path).out


def test_fewer_episodes_are_the_beginning_of_more(tmp_path: Path) -> None:
    """Compared over those that both have, which is said."""
    long = draw_scores("long", 0.9, episodes=300)
    make_record(tmp_path, "maml", long)
    make_record(tmp_path, "anil", long[:100] - 2 / 75, digest="e" * 64)
    found = parts(tmp_path)
    assert found["pairs"]["rows"][0]["difference"] == pytest.approx(2 / 75)
    assert found["pairs"]["rows"][0]["episodes"] == 100
    assert any("first 100 episodes" in note for note in found["ranks"]["notes"])


def test_other_episodes_are_refused_and_compared_on_demand(tmp_path: Path) -> None:
    """Under one specification with another digest, and under another seed; --unpaired is the way out."""
    make_record(tmp_path, "maml", draw_scores("a", 0.9))
    make_record(tmp_path, "anil", draw_scores("b", 0.8), digest="e" * 64)
    said = call("compare", tmp_path)
    assert (said.code, "digests of their episodes differ" in said.complaint) == (2, True)
    assert "--unpaired" in said.complaint
    rows = json.loads(finished("compare", tmp_path, "--unpaired", "--json").out)["tables"][1]["rows"]
    assert (rows[0]["test"], rows[0]["verdict"]) == ("Welch's t", "separated")


def test_results_without_common_episodes_say_in_what_they_differ(tmp_path: Path) -> None:
    """And the options that would mend it."""
    make_record(tmp_path, "maml", draw_scores("a", 0.9))
    make_record(tmp_path, "anil", draw_scores("b", 0.8), test_seed=7)
    said = call("compare", tmp_path)
    assert said.code == 2
    assert "test.seed" in said.complaint and "fsbench test" in said.complaint
    assert len(said.complaint.splitlines()) <= 3


def test_seeds_are_pooled_or_compared_by_themselves(tmp_path: Path) -> None:
    """Two seeds of two methods are one pair of methods, or six of checkpoints."""
    for name, mean in (("maml", 0.9), ("anil", 0.8)):
        for seed in range(2):
            make_record(tmp_path, name, draw_scores(f"{name} {seed}", mean), train_seed=seed)
    methods, each = parts(tmp_path), parts(tmp_path, "--checkpoints")
    assert [row["seeds"] for row in methods["pairs"]["rows"]] == [[2, 2]]
    assert "the methods, over their training seeds" in methods["ranks"]["notes"][0]
    assert len(each["pairs"]["rows"]) == 6
    assert "these checkpoints alone" in each["ranks"]["notes"][0]


def test_each_pair_says_of_whom_it_speaks(tmp_path: Path) -> None:
    """Where one result has one seed, pairs of the others still speak of the methods."""
    for name, mean, seeds in (("maml", 0.9, 2), ("anil", 0.8, 2), ("reptile", 0.7, 1)):
        for seed in range(seeds):
            make_record(tmp_path, name, draw_scores(f"{name} {seed}", mean), train_seed=seed)
    found = parts(tmp_path)
    said = {(row["first"], row["second"]): row["estimand"].partition(",")[0] for row in found["pairs"]["rows"]}
    assert said == {
        ("maml", "anil"): "the methods",
        ("maml", "reptile"): "these checkpoints",
        ("anil", "reptile"): "these checkpoints",
    }
    assert "Pairs of results with several seeds each speak of the methods" in found["ranks"]["notes"][0]


def test_what_is_no_training_may_agree(tmp_path: Path) -> None:
    """Nearest neighbours and centroids are one at one shot: nobody asks whether they are one run."""
    for name in ("nearest-neighbour", "nearest-centroid"):
        make_record(tmp_path, name, draw_scores("same", 0.9), train_updates=0)
    notes = " ".join(parts(tmp_path)["pairs"]["notes"])
    assert "have the same scores" in notes
    assert "one run under two names" not in notes


def test_one_run_is_not_compared_with_itself(tmp_path: Path) -> None:
    """Neither where it was tested twice, nor where its record lies there twice."""
    make_record(tmp_path / "a", "maml", draw_scores("a", 0.9))
    make_record(tmp_path / "b", "maml", draw_scores("a", 0.9))
    assert "at least two results, got 1" in call("compare", tmp_path, "--checkpoints").complaint
    make_record(tmp_path / "c", "maml", draw_scores("c", 0.95), test_shots=5)
    said = call("compare", tmp_path)
    assert (said.code, "needs two runs, got one" in said.complaint, "--unpaired" in said.complaint) == (2, True, False)


def test_no_way_out_is_named_that_is_none(tmp_path: Path) -> None:
    """Other data sets are not compared without pairs either."""
    make_record(tmp_path, "maml", draw_scores("a", 0.9))
    make_record(tmp_path, "anil", draw_scores("b", 0.8), train_dataset="cifar-fs", test_dataset="cifar-fs")
    assert "--unpaired" not in call("compare", tmp_path).complaint
    assert call("compare", tmp_path, "--unpaired").code == 2


def test_an_adjusted_p_below_the_smallest_is_said_to_be_below(tmp_path: Path) -> None:
    """Not as a number that was computed."""
    for name, mean in (("maml", 0.95), ("anil", 0.5), ("reptile", 0.1)):
        make_record(tmp_path, name, draw_scores(name, mean, episodes=2000))
    assert "< 3e-300" in finished("compare", tmp_path).out


@pytest.mark.parametrize("command", ["compare", "verify", "explain"])
def test_an_empty_name_is_no_run(command: str, chain: Path) -> None:
    """It would be the start of every id."""
    assert_refused(call(command, "", "--out", chain), 2, "is empty")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("command", ["compare", "verify", "table"])
def test_a_folder_that_may_not_be_read_is_not_an_empty_one(command: str, chain: Path) -> None:
    """The reason is the system's."""
    chain.chmod(0)
    try:
        assert_refused(call(command, chain), 3, "Permission denied")
    finally:
        chain.chmod(0o755)


def test_one_result_is_no_comparison(tmp_path: Path) -> None:
    """Two seeds neither, but they can be compared as checkpoints."""
    for seed in range(2):
        make_record(tmp_path, "maml", draw_scores(f"{seed}", 0.9), train_seed=seed)
    said = call("compare", tmp_path)
    assert (said.code, "--checkpoints" in said.complaint) == (2, True)
    assert call("compare", tmp_path, "--checkpoints").code == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--level", "1"), "--level 0.95"),
        (("--format", "xml"), "Unknown format"),
        (("--protocol", "finn"), "'finn'"),
        (("--protocol", "fin"), "Did you mean 'finn'"),
    ],
)
def test_bad_options_are_refused(chain: Path, options: tuple[str, ...], words: str) -> None:
    """With what mends them."""
    said = call("compare", chain, *options)
    assert (said.code, words in said.complaint) == (2, True)


def test_power_leaves_out_what_is_the_same(chain: Path) -> None:
    """Two results without a difference need no plan, and hold up no other pair."""
    make_record(chain, "fomaml", np.array(CHAIN["maml"]), test_queries=4)
    said = finished("power", chain, "--margin", "5", "--json")
    assert len(json.loads(said.out)) == 5
    assert "fomaml and maml differ by the same" in said.err or "maml and fomaml differ by the same" in said.err


def test_power_says_how_many_episodes_and_seeds(chain: Path) -> None:
    """For each pair, in words of at most 80 columns and as JSON; a margin is in points."""
    rows = json.loads(finished("power", chain, "--margin", "5", "--json").out)
    assert len(rows) == 3
    assert rows[0]["episodes"] > rows[1]["episodes"] > 12  # the first pair varies more
    text = finished("power", chain, "--margin", "5").out
    assert max(map(len, text.splitlines())) <= 80
    for margin, words in (("0", "got 0"), ("-1", "got -1:"), ("200", "--margin 200 is no difference")):
        assert_refused(call("power", chain, "--margin", margin), 2, words)
