"""Records that a reader may take for others: names and titles of one look, and trainings that stand as several seeds."""

from pathlib import Path

import numpy as np
import pytest
from example_records import draw_scores, make_record

from fewshot_bench.results.look_alikes import look
from fewshot_bench.results.tables import results_tables

pytestmark = pytest.mark.usefixtures("records_of_any_length")
HONEST = draw_scores("honest", 0.9)
CYRILLIC_MAML = "m\N{CYRILLIC SMALL LETTER A}ml"
ODD = {
    "a space": {"test_protocol": "standard "},
    "a zero-width space": {"test_protocol": "standard\N{ZERO WIDTH SPACE}"},
    "a capital": {"test_protocol": "Standard"},
    "a full-width letter": {"test_protocol": "\N{FULLWIDTH LATIN SMALL LETTER S}tandard"},
    "another digest": {"digest": "e" * 64},
}


@pytest.mark.parametrize("forged", ODD.values(), ids=ODD)
def test_no_two_tables_have_titles_of_one_look(tmp_path: Path, forged: dict[str, str]) -> None:
    """Neither as texts nor to a reader's eye."""
    records = [make_record(tmp_path, "maml", HONEST), make_record(tmp_path, "anil", draw_scores("f", 0.99), **forged)]
    tables = results_tables(records)
    assert len({look(table.title) for table in tables}) == len(tables) == 2


def test_letters_that_look_like_others_are_named(tmp_path: Path) -> None:
    """And a name without any is only said not to be installed."""
    names = (CYRILLIC_MAML, "my-maml", "maml")
    (table,) = results_tables([make_record(tmp_path, name, draw_scores(name, 0.9)) for name in names])
    said = [note for note in table.notes if "not installed" in note]
    assert said == [
        "Method 'm\\u0430ml' is not installed here. It has U+0430, which may look like something else.",
        "Method 'my-maml' is not installed here.",
    ]


def test_equal_weights_are_one_training(tmp_path: Path) -> None:
    """Although a score was changed in each."""
    records = []
    for seed in range(3):
        scores = HONEST.copy()
        scores[seed] = (scores[seed] * 75 + 1) % 76 / 75
        records.append(make_record(tmp_path, "maml", scores, train_seed=seed, weights_sha256="f" * 64))
    (table,) = results_tables(records)
    assert [row["seeds"].value for row in table.rows] == [1]
    assert any("seed 1, 2 has the weights, or the scores in every episode, of another seed" in note for note in table.notes)


def test_scores_that_are_closely_alike_are_named(tmp_path: Path) -> None:
    """Those of a copy of which every fifth score was changed by one query; not those of two seeds that correlate at 0.8."""
    moved = HONEST + np.where(np.arange(len(HONEST)) % 5 == 0, np.where(HONEST > 0.5, -1, 1) / 75, 0)
    apart = HONEST.mean() + 0.8 * (HONEST - HONEST.mean()) + 0.6 * (draw_scores("own", 0.9) - 0.9)
    for name, others, close in (("maml", moved, True), ("anil", np.round(apart.clip(0, 1) * 75) / 75, False)):
        records = [make_record(tmp_path / name, name, one, train_seed=seed) for seed, one in enumerate((HONEST, others))]
        (table,) = results_tables(records)
        assert [row["seeds"].value for row in table.rows] == [2]
        assert any("seeds 0 and 1 correlate at 0.95 or more" in note for note in table.notes) is close


def test_errors_of_functions_correlate_by_nature(tmp_path: Path) -> None:
    """The amplitude decides them. Two honest seeds are named by nobody; a copy with a fifth of its scores changed is."""
    amplitude, random = np.random.default_rng(0).uniform(0.1, 5, 200) ** 2, np.random.default_rng(1)
    seeds = [amplitude * random.uniform(0.95, 1.05, 200) for _ in range(2)]
    assert np.corrcoef(*seeds)[0, 1] > 0.98
    copy = np.where(np.arange(200) % 5 == 0, seeds[0] * 1.01, seeds[0])
    for name, other, close in (("maml", seeds[1], False), ("anil", copy, True)):
        about = {"metric": "mse", "direction": "min", "test_dataset": "sinusoid", "train_backbone": "mlp-40"}
        records = [make_record(tmp_path / name, name, s, train_seed=i, **about) for i, s in enumerate((seeds[0], other))]
        (table,) = results_tables(records)
        assert any("seeds 0 and 1 are equal in 1% of the episodes or more" in note for note in table.notes) is close


def test_what_is_not_trained_may_be_alike(tmp_path: Path) -> None:
    """Its seeds change nothing."""
    records = [make_record(tmp_path, "nearest-centroid", HONEST, train_seed=seed, train_updates=0) for seed in range(2)]
    (table,) = results_tables(records)
    assert [row["seeds"].value for row in table.rows] == [2]
    assert not any("correlate" in note for note in table.notes)
