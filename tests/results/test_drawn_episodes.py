"""The test episodes of a result, drawn again from its record alone."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import finished
from example_records import make_record

from fewshot_bench.data.choice import DataChoice
from fewshot_bench.data.prepare import open_prepared
from fewshot_bench.episodes.sampling import EpisodeSampler
from fewshot_bench.results.data_parts import NoDataInterval
from fewshot_bench.results.drawn_episodes import _related, drawn_of, episodes_of
from fewshot_bench.results.records import Record, load_record

pytestmark = pytest.mark.usefixtures("records_of_any_length")

PUBLISHED = Path(__file__).parents[2] / "leaderboard" / "results"


def pixels_on_glyphs(folder: Path, *more: object) -> Record:
    """A record of pixels on glyphs, 40 episodes."""
    custom = ("--protocol", "custom", "--episodes", "40", "--queries", "5")
    finished("run", "--method", "nearest-centroid", *custom, *more, "--out", folder)
    (path,) = folder.rglob("record.json")
    return load_record(path)


def test_they_are_those_of_the_data_set(tmp_path: Path) -> None:
    """As the images' own sampler draws them; classes and images by number."""
    record = pixels_on_glyphs(tmp_path)
    dataset: Any = DataChoice.of("glyphs").build({}, None)
    prepared = open_prepared("glyphs", dataset)
    assert prepared is not None
    bank = prepared.bank("test")
    block = EpisodeSampler(bank, 5, 1, 5, 0).block(0, 40)
    (again,) = episodes_of(record, record.results[0])
    assert again.images.tolist() == block.images.tolist()
    drawn = drawn_of(record, record.results[0])
    owners = np.searchsorted(bank.starts, block.images, "right") - 1
    assert [set(row) for row in drawn.classes.tolist()] == [set(row) for row in owners.tolist()]
    assert drawn.images.tolist() == block.images.tolist()


def test_disjoint_episodes_are_drawn_again_too(tmp_path: Path) -> None:
    """No image twice."""
    record = pixels_on_glyphs(tmp_path, "--sampling", "disjoint")
    images = drawn_of(record, record.results[0]).images
    assert len(np.unique(images)) == images.size


def test_the_turns_of_a_character_are_one() -> None:
    """On Omniglot 1,692 test classes are 423 characters, of 20 drawings each; also in records that do not state it."""
    (path,) = PUBLISHED.glob("prototypical-networks-omniglot-ce86becd3f3c/record.json")
    record = load_record(path)
    drawn = drawn_of(record, record.results[0])
    assert len(np.unique(drawn.classes)) == 423
    assert len(np.unique(drawn.images)) == 423 * 20
    content = record.content | {"data": {**record.content["data"], "splits": {"test": _split(record) | {"related": 1}}}}
    apart = replace(record, content=content)
    assert len(np.unique(drawn_of(apart, apart.results[0]).classes)) == 1688  # of 1,692: four are in no episode


def _split(record: Record) -> dict[str, Any]:
    return dict(record.content["data"]["splits"]["test"])


def test_episodes_that_are_not_those_of_the_digest_are_refused(tmp_path: Path) -> None:
    """A record that states other sizes than those that were tested on."""
    record = pixels_on_glyphs(tmp_path)
    split = _split(record)
    sizes = [split["images"] // split["classes"]] * split["classes"]
    sizes[0], sizes[1] = sizes[0] - 1, sizes[1] + 1
    content = record.content | {"data": {**record.content["data"], "splits": {"test": {**split, "class_sizes": sizes}}}}
    with pytest.raises(NoDataInterval, match="not those of its digest"):
        episodes_of(replace(record, content=content), record.results[0])


def test_a_records_word_imports_nothing(tmp_path: Path) -> None:
    """A data set that it names by a file counts as one without related classes."""
    (tmp_path / "canary.py").write_text(f"open({str(tmp_path / 'fired')!r}, 'w')\nclass Canary: pass\n")
    test = {"dataset": f"{tmp_path / 'canary.py'}:Canary", "data": {}}
    assert _related(test, {}) == 1
    assert not (tmp_path / "fired").exists()


@pytest.mark.parametrize(
    ("split", "test", "text"),
    [
        ({"classes": 10**12, "images": 10**15}, {}, "does not state how many images"),
        ({"classes": 20, "images": 20 * 10**9}, {"queries": 10**8}, "more than 134,217,728 images"),
    ],
)
def test_numbers_that_no_split_has_take_no_memory(
    tmp_path: Path, split: dict[str, int], test: dict[str, int], text: str
) -> None:
    """A record is a stranger's file."""
    record = pixels_on_glyphs(tmp_path)
    content = record.content | {"data": {**record.content["data"], "splits": {"test": {**_split(record), **split}}}}
    result = record.results[0]
    with pytest.raises(NoDataInterval, match=text):
        episodes_of(replace(record, content=content), {**result, "test": {**result["test"], **test}})


def test_functions_have_no_classes(tmp_path: Path) -> None:
    """And it is said so."""
    record = pixels_on_glyphs(tmp_path)
    with pytest.raises(NoDataInterval, match="neither classes nor images"):
        episodes_of(record, {**record.results[0], "metric": "mse"})


def test_a_record_without_its_split_says_how_to_get_one(tmp_path: Path) -> None:
    """As earlier versions wrote them."""
    record = make_record(tmp_path, "maml", np.linspace(0, 1, 76))
    with pytest.raises(NoDataInterval, match="--on-existing overwrite"):
        drawn_of(record, record.results[0])
