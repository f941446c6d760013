"""Glyphs on demand: the drawings of the built set and as many more as are asked for, at a cost that does not grow."""

import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from fewshot_bench.data.prepare import OnDemand, prepare
from fewshot_bench.episodes.sampling import EpisodeSampler
from fewshot_bench.episodes.sources import TaskSource
from fewshot_bench.errors import UsageError
from fewshot_datasets.glyphs import on_demand as glyphs_on_demand
from fewshot_datasets.glyphs.glyphs import Glyphs
from fewshot_datasets.glyphs.on_demand import GlyphBank, Lazy

SPLITS = ("train", "val", "test")
Pixels = npt.NDArray[np.uint8]


def bank(split: str, classes: int, drawings: int = 20) -> GlyphBank:
    """The bank of a split of so many classes in all."""
    return Glyphs({"classes": classes, "drawings": drawings}).bank(split)


def gathered(source: GlyphBank, ids: object) -> Pixels:
    """Images of a bank, [n, 28, 28]."""
    images: Pixels = source.gather(np.asarray(ids)).numpy()[:, 0]
    return images


def alphabets(split: str, classes: int) -> set[str]:
    """The alphabets of a split of so many classes in all."""
    return {name.partition("/")[0] for name in bank(split, classes).class_names}


def episode(source: GlyphBank, number: int) -> npt.NDArray[np.int64]:
    """The images of a 5-way 1-shot episode with 15 queries, [80]."""
    block = EpisodeSampler(source, 5, 1, 15, 0).block(number, 1)
    return np.concatenate([block.support[0], block.query[0]])


def test_1350_classes_on_demand_are_the_built_ones() -> None:
    """The same classes and image ids in the same splits, and every pixel of them."""
    built = np.concatenate(list(Glyphs().images(lambda done, total: None)))
    on_demand = [bank(split, 1350) for split in SPLITS]
    made = [one.gather(np.arange(one.starts[-1])).numpy() for one in on_demand]
    np.testing.assert_array_equal(np.concatenate(made), built)
    assert {split: list(one.classes()) for split, one in zip(SPLITS, on_demand, strict=True)} == Glyphs().classes()


@pytest.mark.parametrize("split", SPLITS)
def test_more_classes_and_drawings_leave_the_earlier_ones_as_they_are(split: str) -> None:
    """Class 100 has the name, and its first twenty drawings the pixels, that it has in a smaller set."""
    small, large = bank(split, 1350), bank(split, 100_000, 100)
    assert large.class_names[100] == small.class_names[100]
    np.testing.assert_array_equal(gathered(large, 100 * 100 + np.arange(20)), gathered(small, 100 * 20 + np.arange(20)))


def test_an_image_is_the_same_whatever_was_asked_for_before() -> None:
    """One by one backwards, all at once, twice in one gather, and after the cache was emptied."""
    source = bank("train", 5000, 70)
    ids = np.random.default_rng(0).integers(0, source.starts[-1], 40)
    at_once = gathered(source, [*ids, *ids[::-1]])
    np.testing.assert_array_equal(at_once[40:], at_once[:40][::-1])
    glyphs_on_demand._alphabet.cache_clear()
    for index in reversed(range(40)):
        np.testing.assert_array_equal(gathered(source, ids[index : index + 1])[0], at_once[index])


def test_another_process_draws_the_same() -> None:
    """No state of this one decides a pixel."""
    code = (
        "import hashlib, numpy as np; from fewshot_datasets.glyphs.glyphs import Glyphs\n"
        "bank = Glyphs({'classes': 100_000, 'drawings': 100}).bank('test')\n"
        "print(hashlib.sha256(bank.gather(np.array([2_000_000, 57, 2_399_999])).numpy().tobytes()).hexdigest())"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}
        )
        for seed in ("1", "2")
    ]
    assert said[0].stdout == said[1].stdout != ""


def test_later_hands_write_the_same_characters() -> None:
    """Of 27 characters, the mean of hands 20 to 39 is nearest to the mean of hands 0 to 19 of the same one."""
    drawings = gathered(bank("train", 1350, 40), np.arange(27 * 40)).reshape(27, 2, 20, -1) / 255
    early, late = drawings.mean(axis=2).transpose(1, 0, 2)  # [27, 784] each
    distances = ((late[:, None] - early) ** 2).sum(axis=-1)
    assert (distances.argmin(axis=1) == np.arange(27)).all()


def test_no_two_drawings_are_the_same() -> None:
    """Of one class of 300, and of the same hand of 300 classes."""
    source = bank("train", 1350, 300)
    ids = [*range(300), *range(300, 300 * 300, 300)]
    assert len({image.tobytes() for image in gathered(source, ids)}) == len(ids)


@pytest.mark.parametrize("classes", [25, 1000, 1351, 100_000])
def test_every_class_stands_in_one_split_and_no_alphabet_in_two(classes: int) -> None:
    """There are as many classes as were asked for, six parts in ten of them for training."""
    names = [list(bank(split, classes).class_names) for split in SPLITS]
    assert len({name for part in names for name in part}) == sum(map(len, names)) == classes
    assert len(names[0]) / classes == pytest.approx(0.6, abs=1 / 25)
    each = [alphabets(split, classes) for split in SPLITS]
    assert sum(map(len, each)) == len(set.union(*each))


def test_no_alphabet_that_trains_tests_under_another_number_of_classes() -> None:
    """What was trained on many glyphs can be tested on the built ones."""
    assert not alphabets("train", 100_000) & (alphabets("val", 1350) | alphabets("test", 1350))
    assert not alphabets("train", 1350) & (alphabets("val", 100_000) | alphabets("test", 100_000))


def test_the_structure_id_changes_with_classes_drawings_and_split() -> None:
    """And with nothing else: equal options give equal episodes."""
    sizes = [(split, classes, drawings) for split in SPLITS for classes in (1350, 1351) for drawings in (20, 21)]
    ids = [bank(*size).structure_id for size in sizes]
    assert len(set(ids)) == len(ids) and ids == [bank(*size).structure_id for size in sizes]


def test_the_identity_says_how_many() -> None:
    """A run on demand is another run than one on the built set, and than one on more."""
    options = [{}, {"classes": 1350}, {"classes": 1351}, {"classes": 1350, "drawings": 21}]
    assert len({Glyphs(one).identity() for one in options}) == len(options)


def test_ten_million_images_open_without_a_list_of_them() -> None:
    """The numbers of 100,000 classes fit in 4 MB; their names alone would not, nor the ids of 10,000,000 images by far."""
    tracemalloc.start()
    try:
        dataset = Glyphs({"classes": 100_000, "drawings": 100})
        banks = [dataset.bank(split) for split in SPLITS]
        assert sum(len(members) for members in dataset.classes().values()) == 100_000
        assert sum(int(one.starts[-1]) for one in banks) == 10_000_000
        assert banks[0].class_names[-1] == dataset.classes()["train"][-1].name
        assert tracemalloc.get_traced_memory()[1] < 4e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("classes", [1000, 1_000_000])
def test_an_episode_draws_its_own_images_and_invents_its_own_alphabets(
    classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """80 drawings and at most five alphabets, however many there are; none again where it comes back."""
    glyphs_on_demand._alphabet.cache_clear()
    drawn: list[int] = []
    draw = glyphs_on_demand.draw
    monkeypatch.setattr(glyphs_on_demand, "draw", lambda curves, *rest: drawn.append(len(curves)) or draw(curves, *rest))
    source = bank("train", classes, 100)
    for _ in range(2):
        source.gather(episode(source, 7))
    assert drawn == [80, 80] and glyphs_on_demand._alphabet.cache_info().misses <= 5


def test_what_is_remembered_is_bounded_and_small() -> None:
    """At most KEPT alphabets, each of less than 8 KB: 33 MB in all."""
    glyphs_on_demand._alphabet.cache_clear()
    source = bank("train", 100_000)
    first = np.arange(60) * 27 * 20  # an image of each of 60 alphabets
    source.gather(first[:10])
    tracemalloc.start()
    try:
        source.gather(first[10:])
        held = tracemalloc.get_traced_memory()[0] / 50
    finally:
        tracemalloc.stop()
    assert held < 8192 and glyphs_on_demand._alphabet.cache_info().maxsize == glyphs_on_demand.KEPT == 4096


def test_it_is_prepared_at_once_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The core opens it as it opens a prepared one, and makes tasks of it."""
    monkeypatch.setenv("FSBENCH_CACHE", str(tmp_path))
    prepared = prepare("glyphs", Glyphs({"classes": 100_000}))
    opened = prepared.bank("val")
    tasks = TaskSource(opened, EpisodeSampler(opened, 5, 1, 15, 0), torch.device("cpu"), torch.float32).tasks(0, 2)
    assert isinstance(prepared, OnDemand) and prepared.training_classes("train") == 60_000
    assert tasks.query_x.shape == (2, 75, 1, 28, 28) and tasks.query_x.max() == 1
    assert list(tmp_path.iterdir()) == []


def test_the_built_set_is_not_on_demand() -> None:
    """By default nothing is changed."""
    assert not Glyphs().on_demand and Glyphs({"classes": 25}).on_demand


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"classes": 24}, r"data.classes must be 0 \(as built\) or 25 to 10,000,000, not 24"),
        ({"classes": -1}, "data.classes .* not -1"),
        ({"classes": 10_000_001}, "data.classes .* not 10000001"),
        ({"classes": 1000, "drawings": 0}, "data.drawings must be 1 to 10,000, not 0"),
        ({"classes": 1000, "drawings": 10_001}, "data.drawings .* not 10001"),
        ({"drawings": 40}, "data.drawings applies only to glyphs on demand: add --set data.classes=1350"),
    ],
)
def test_an_option_out_of_its_range_is_refused(options: dict[str, int], said: str) -> None:
    """The message names the option, its range and the value."""
    with pytest.raises(UsageError, match=said):
        Glyphs(options)


def test_a_lazy_sequence_is_indexed_as_a_list() -> None:
    """From both ends, by slices, and not beyond."""
    squares = Lazy(5, lambda number: number**2)
    assert list(squares) == [0, 1, 4, 9, 16] and len(squares) == 5
    assert (squares[-1], squares[1:4], squares[::-2]) == (16, [1, 4, 9], [16, 4, 0])
    for beyond in (5, -6):
        with pytest.raises(IndexError):
            squares[beyond]
