"""Learning curves: the right points of the right trainings, drawn on one log axis, with names that do not overlap."""

import json
import math
import xml.etree.ElementTree as ET
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from example_records import draw_scores, make_record

from fewshot_bench.results.records import Record
from fewshot_bench.results.tables import boards
from fewshot_leaderboard.curves import HEIGHT, LINE, NO_VALIDATION, TOP, TRANSDUCTIVE, Axes, figure, notes, panels, spread
from fewshot_leaderboard.learning_curves import Curve, learning_curves

pytestmark = pytest.mark.usefixtures("records_of_any_length")

VALIDATION = {
    "every": 100,
    "episodes": 200,
    "ways": 5,
    "shots": 1,
    "queries": 15,
    "normalisation": "support",
    "inner_steps": 3,
}
EACH = 16 * 5 * (1 + 5)
"""Images of an update of an example record."""


def record_with(root: Path, lines: list[str], method: str = "maml", **changes: Any) -> Record:
    """A record whose log has these lines."""
    changes = {"train_validation": VALIDATION, **changes}
    record = make_record(root, method, draw_scores(f"{method} {sorted(map(str, changes.items()))}", 0.9), **changes)
    (record.folder / "log.jsonl").write_text("".join(line + "\n" for line in lines))
    return record


def line(update: Any, validation: Any) -> str:
    """A line of a log."""
    return json.dumps({"update": update, "validation": validation})


def curves(*records: Record) -> list[Curve]:
    """The curves of Omniglot, 5-way 1-shot."""
    return learning_curves(boards(records)[0], "omniglot", 5, 1)


@pytest.mark.parametrize(
    "bad",
    [
        line(100, None),
        line("100", 0.5),
        line(True, 0.5),
        line(9_000, 0.5),
        line(0, 0.5),
        line(100, 1.5),
        "[]",
        line(100, float("nan")),
    ],
)
def test_what_is_no_validation_is_left_out(bad: str, tmp_path: Path) -> None:
    """The other lines stand, unless the file is damaged: then the test stands in the place of the curve."""
    [curve] = curves(record_with(tmp_path, [bad, line(200, 0.75)]))
    assert curve.points in (((200 * EACH, 75.0),), ())
    assert (curve.test is None) == bool(curve.points)


@pytest.mark.parametrize("validation", [None, {**VALIDATION, "shots": 5}])
def test_without_a_validation_of_this_size_the_test_stands(validation: Any, tmp_path: Path) -> None:
    """At the images of the whole training; the notes say what an open circle is."""
    record = record_with(tmp_path, [line(100, 0.5)], train_validation=validation)
    [curve] = curves(record)
    assert not curve.points and curve.test is not None
    assert curve.test[0] == 8000 * EACH
    assert curve.test[1] == pytest.approx(100 * record.scores(record.results[0]).mean())
    assert notes([curve]) == [NO_VALIDATION]


def test_the_longest_training_with_a_curve_is_taken(tmp_path: Path) -> None:
    """Of a method; a longer one without validations does not displace it."""
    short = record_with(tmp_path, [line(50, 0.4)], train_updates=100)
    long = record_with(tmp_path, [line(50, 0.5)])
    longer = record_with(tmp_path, [], train_updates=9_000, train_validation=None)
    for records in ((short, long, longer), (longer, long, short)):
        assert [curve.points for curve in curves(*records)] == [((50 * EACH, 50.0),)]


def test_a_transductive_validation_is_marked(tmp_path: Path) -> None:
    """By its own normalisation, not by the test's."""
    [curve] = curves(record_with(tmp_path, [line(50, 0.4)], train_validation={**VALIDATION, "normalisation": "separate"}))
    assert curve.transductive
    assert notes([curve]) == [TRANSDUCTIVE]
    assert "maml †" in figure("Omniglot", [curve])


def test_other_data_sets_and_sizes_have_no_curve_here(tmp_path: Path) -> None:
    """Each figure is of one."""
    assert curves(record_with(tmp_path, [line(50, 0.4)], train_dataset="glyphs", test_dataset="glyphs")) == []
    assert curves(record_with(tmp_path, [line(50, 0.4)], test_shots=5)) == []
    assert panels([]) == []


def test_the_axis_of_images_is_logarithmic() -> None:
    """Equal ratios are equally far apart, and more images lie to the right; better scores lie higher."""
    axes = Axes((1e3, 1e6), (50.0, 100.0))
    steps = [axes.x(10 * images) - axes.x(images) for images in (1e3, 1e4, 1e5)]
    assert steps == pytest.approx([steps[0]] * 3) and steps[0] > 0
    assert axes.y(90) < axes.y(60)
    assert all(1e3 <= tick <= 1e6 for tick in axes.image_ticks) and len(axes.image_ticks) > 2


def test_names_keep_a_line_apart_within_the_plot() -> None:
    """In their order, however close their wishes are, and where they are free, at their wish."""
    assert spread([100.0, 200.0]) == [100.0, 200.0]
    for wanted in ([60.0] * 9, [48.0, 50.0, 51.0, 250.0, 255.0, 256.0], [256.0] * 3):
        places = spread(wanted)
        assert all(later - earlier >= LINE - 1e-9 for earlier, later in pairwise(places))
        assert min(places) >= TOP and max(places) < HEIGHT
    assert math.isclose(sum(spread([100.0, 100.0, 100.0])) / 3, 100.0)


def test_a_figure_is_one_well_formed_file_and_text_of_records_is_text(tmp_path: Path) -> None:
    """A method's name makes no element, and every curve has its name in one panel."""
    name = "<script>alert(1)</script>&"
    records = [record_with(tmp_path, [line(50, 0.4), line(100, 0.6)], method) for method in ("maml", "snail", name)]
    text = figure("Omniglot", curves(*records))
    tree = ET.fromstring(text)
    tags = {element.tag.rpartition("}")[2] for element in tree.iter()}
    assert "script" not in tags
    words = [element.text for element in tree.iter() if element.tag.endswith("}text")]
    assert [sum(str(word).startswith(start) for word in words) for start in ("maml", "snail", "<script>")] == [1, 1, 1]
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
