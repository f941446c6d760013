"""Which of Omniglot's characters stand in which split, under which options."""

import json
import os
from hashlib import sha256
from pathlib import Path

import pytest

from fewshot_bench.data.prepare import structure_id
from fewshot_bench.errors import UsageError
from fewshot_datasets.omniglot.manifest import manifest_text, parse_manifest
from fewshot_datasets.omniglot.omniglot import Omniglot

RECORDS = Path(__file__).parents[2] / "leaderboard" / "results"
HALVES = {c.name.partition("/")[0]: c.folder.partition("/")[0] for c in parse_manifest(manifest_text())}
"""Which half of Omniglot each alphabet is of."""


def characters(omniglot: Omniglot, split: str) -> list[str]:
    """The characters of a split, each once, in order."""
    return list(dict.fromkeys(name.rpartition("/")[0] for name in omniglot.class_names(split)))


def alphabets(omniglot: Omniglot, split: str) -> set[str]:
    """The alphabets of a split."""
    return {name.partition("/")[0] for name in omniglot.class_names(split)}


def drawn(half: str = "") -> list[str]:
    """The alphabets of a half, or all 50, in the documented order: by the sha256 of their names."""
    hashes = {sha256(name.encode()).hexdigest(): name for name, own in HALVES.items() if half in own}
    return [hashes[key] for key in sorted(hashes)]


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_vinyals_split_is_the_published_one(split: str) -> None:
    """The committed lists are those of Snell et al.'s repository, line for line."""
    if not os.environ.get("FSBENCH_DATA"):
        pytest.skip("FSBENCH_DATA is not set")
    published = Path(os.environ["FSBENCH_DATA"]) / "splits" / "omniglot-vinyals" / f"{split}.txt"
    assert "".join(f"{name}\n" for name in Omniglot().class_names(split)) == published.read_text()


def test_the_default_options_are_those_of_the_committed_records() -> None:
    """Identity and structure ids, which run ids and episodes hang on; and no option is stated in a spec."""
    texts = [path.read_text("utf-8") for path in RECORDS.glob("*omniglot*/record.json")]
    data = [record["data"] for record in map(json.loads, texts)]
    classes = Omniglot().classes()
    ids = {split: structure_id(members) for split, members in classes.items()}
    recorded = {split: held["structure_id"] for one in data for split, held in one["splits"].items() if split in ids}
    assert {one["identity"] for one in data} == {Omniglot().identity()}
    assert recorded == ids and Omniglot().stated == {}


@pytest.mark.parametrize(
    ("split", "counts"), [("vinyals", (1028, 172, 423)), ("lake", (748, 216, 659)), ("alphabets", (959, 265, 399))]
)
def test_every_character_stands_in_one_split(split: str, counts: tuple[int, ...]) -> None:
    """As many as documented, each once and in one split, all 1,623 of them, however turned."""
    omniglot = Omniglot({"split": split})
    each = [characters(omniglot, part) for part in omniglot.splits]
    assert tuple(map(len, each)) == counts
    assert {name for part in each for name in part} == {c.name for c in parse_manifest(manifest_text())}


def test_lakes_test_is_the_evaluation_set_and_the_rest_the_background_set() -> None:
    """20 alphabets against 30; train+val is the whole background set."""
    lake = Omniglot({"split": "lake"})
    assert alphabets(lake, "test") == {name for name, half in HALVES.items() if half == "images_evaluation"}
    assert alphabets(lake, "train") | alphabets(lake, "val") == set(drawn("background"))


def test_lakes_validation_alphabets_are_drawn_by_the_documented_rule() -> None:
    """The last six of the background alphabets in their drawn order."""
    assert alphabets(Omniglot({"split": "lake"}), "val") == set(drawn("background")[24:])


def test_whole_alphabets_are_held_out_by_the_documented_rule() -> None:
    """30, 8 and 12 of the 50 alphabets in their drawn order."""
    held_out = Omniglot({"split": "alphabets"})
    expected = [set(drawn()[:30]), set(drawn()[30:38]), set(drawn()[38:])]
    assert [alphabets(held_out, split) for split in held_out.splits] == expected


@pytest.mark.parametrize("split", ["vinyals", "lake", "alphabets"])
@pytest.mark.parametrize("rotations", ["none", "augment"])
def test_without_rotations_the_upright_characters_are_left(split: str, rotations: str) -> None:
    """A quarter of the classes, in the same order, under the same names."""
    four = Omniglot({"split": split})
    upright = Omniglot({"split": split, "rotations": rotations})
    for part in four.splits:
        assert upright.class_names(part) == [f"{character}/rot000" for character in characters(four, part)]
        assert 4 * len(upright.class_names(part)) == len(four.class_names(part))


@pytest.mark.parametrize(("rotations", "augment"), [("classes", ()), ("none", ()), ("augment", ("rotate",))])
def test_rotations_as_augmentation_are_asked_of_the_training(rotations: str, augment: tuple[str, ...]) -> None:
    """The data set only says so: its own images stay upright."""
    assert Omniglot({"rotations": rotations}).augment == augment


def test_a_larger_side_is_the_same_classes_and_images_and_another_identity() -> None:
    """28 and 105 pixels give the same episodes, from other prepared images."""
    small, native = Omniglot({"side": 28}), Omniglot({"side": 105})
    assert small.classes() == native.classes()
    assert small.identity() != native.identity() and native.shape == (1, 105, 105)


@pytest.mark.parametrize(
    "options", [{"split": "snell"}, {"rotations": "all"}, {"rotations": ""}, {"side": 0}, {"side": 106}, {"side": -28}]
)
def test_an_option_out_of_its_range_is_refused(options: dict[str, object]) -> None:
    """The message names the option, the value and what is valid."""
    (name, value) = next(iter(options.items()))
    valid = {"split": "vinyals, lake, alphabets", "rotations": "classes, none, augment", "side": "1 to 105"}[name]
    with pytest.raises(UsageError, match=f"data.{name} must be .*{valid}.*{value}"):
        Omniglot(options)
