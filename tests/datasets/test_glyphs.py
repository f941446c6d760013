"""The glyphs data set: reproducible pixels, separate splits, and a task that is neither trivial nor hopeless."""

import json
from hashlib import sha256
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import yaml
from sklearn.neighbors import NearestCentroid

from fewshot_bench.data.prepare import structure_id
from fewshot_datasets.glyphs import glyphs
from fewshot_datasets.glyphs.alphabets import COMPASS
from fewshot_datasets.glyphs.dice import Dice
from fewshot_datasets.glyphs.glyphs import HANDS, Glyphs
from fewshot_datasets.glyphs.strokes import PIXEL, draw, points

# Of all the pixels, class by class: any change to it is a new version of the data set, to be told by `identity()`.
FINGERPRINT = "ba316f87ab906dd7ff7fc17022987e759f4db39fa19ea3f9dadcb7425fb5b815"

Drawings = npt.NDArray[np.uint8]
Made = tuple[Drawings, list[tuple[int, int]]]


@pytest.fixture(scope="module")
def made() -> Made:
    """All the images [n, C, H, W] and the calls of `progress` while they were made."""
    calls: list[tuple[int, int]] = []
    blocks = list(Glyphs().images(lambda done, total: calls.append((done, total))))
    return np.concatenate(blocks), calls


@pytest.fixture
def drawings(made: Made) -> Drawings:
    """All the drawings, [classes, HANDS, H, W]."""
    return made[0].reshape(-1, HANDS, 28, 28)


def test_the_pixels_are_the_same_on_every_platform(drawings: Drawings) -> None:
    """The sha256 of all the pixels is the one that was stored."""
    assert sha256(drawings.tobytes()).hexdigest() == FINGERPRINT


def test_the_built_set_is_that_of_the_committed_records() -> None:
    """Identity, structure ids and fingerprint, which run ids and episodes hang on; and no option is stated in a spec."""
    records = (Path(__file__).parents[2] / "leaderboard" / "results").glob("*-glyphs-*/record.json")
    data = [json.loads(path.read_text("utf-8"))["data"] for path in records]
    ids = {split: structure_id(members) for split, members in Glyphs().classes().items()}
    recorded = {split: held["structure_id"] for one in data for split, held in one["splits"].items() if split in ids}
    assert {(one["identity"], one["fingerprint"]) for one in data} == {(Glyphs().identity(), FINGERPRINT)}
    assert recorded == ids and Glyphs().stated == {}


def test_there_are_as_many_drawings_as_the_classes_list(drawings: Drawings) -> None:
    """The images are as many as the image ids of all splits."""
    listed = sum(len(each.image_ids) for classes in Glyphs().classes().values() for each in classes)
    assert drawings.shape[0] * drawings.shape[1] == listed


def test_images_have_the_declared_shape(made: Made) -> None:
    """The images are [n, C, H, W] with the (C, H, W) that `shape` declares."""
    assert made[0].shape[1:] == Glyphs().shape


def test_images_are_whole_bytes(made: Made) -> None:
    """The images are uint8."""
    assert made[0].dtype == np.uint8


def test_progress_rises_to_the_total(made: Made) -> None:
    """The calls of `progress` rise and the last reports all the images."""
    images, calls = made
    assert calls == sorted(calls) and calls[-1] == (len(images), len(images))


def test_the_splits_share_no_alphabet() -> None:
    """Each alphabet stands in exactly one split."""
    alphabets = [{each.name.split("/")[0] for each in classes} for classes in Glyphs().classes().values()]
    assert len(set.union(*alphabets)) == sum(map(len, alphabets))


def test_names_and_image_ids_are_unique() -> None:
    """No class name and no image id stands twice."""
    classes = [each for split in Glyphs().classes().values() for each in split]
    ids = [image for each in classes for image in each.image_ids]
    assert len({each.name for each in classes}) == len(classes) and len(set(ids)) == len(ids)


def test_names_tell_alphabet_character_and_hand() -> None:
    """The first class and its first image are named as documented."""
    first = Glyphs().classes()["train"][0]
    assert (first.name, first.image_ids[5]) == ("Alphabet00/character00", "Alphabet00/character00/05")


def test_the_card_states_the_counts_of_the_classes() -> None:
    """The card's splits, total, images a class and shape are those of the data set."""
    card = yaml.safe_load(Path(glyphs.__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
    counts = {split: len(classes) for split, classes in Glyphs().classes().items()}
    total = sum(counts.values())
    stated = card["splits"], card["classes"], card["images"], card["images_per_class"], tuple(card["shape"])
    assert stated == (counts, total, total * HANDS, HANDS, Glyphs().shape)


def test_no_two_drawings_are_the_same(drawings: Drawings) -> None:
    """All drawings differ, within a class and between classes."""
    flat = drawings.reshape(-1, 28 * 28)
    assert len({row.tobytes() for row in flat}) == len(flat)


def test_every_drawing_has_ink(drawings: Drawings) -> None:
    """Each drawing covers between 1.5 % and 50 % of the page with more than half ink."""
    covered = (drawings > 127).mean(axis=(2, 3))
    assert covered.min() > 0.015 and covered.max() < 0.5


def test_ink_stays_off_the_border(drawings: Drawings) -> None:
    """The outermost ring of pixels holds less than 0.2 % of the ink."""
    total = drawings.sum(dtype=np.int64)
    inside = drawings[:, :, 1:-1, 1:-1].sum(dtype=np.int64)
    assert (total - inside) / total < 0.002


def test_nearest_class_mean_on_pixels_is_neither_trivial_nor_hopeless(drawings: Drawings) -> None:
    """Nearest class mean on raw pixels gets 40 to 70 % of 5-way 1-shot test queries right."""
    test = drawings[-len(Glyphs().classes()["test"]) :].reshape(-1, HANDS, 28 * 28) / 255  # [classes, HANDS, H * W]
    rng = np.random.default_rng(0)
    accuracies = [_episode_accuracy(test, rng) for _ in range(100)]
    assert 0.4 < np.mean(accuracies) < 0.7


def _episode_accuracy(images: npt.NDArray[np.float64], rng: np.random.Generator, ways: int = 5) -> float:
    chosen = images[rng.choice(len(images), ways, replace=False)][:, rng.permutation(HANDS)[:16]]  # [N, 1 + Q, D]
    with np.errstate(invalid="ignore"):  # it also takes the spread within a class, which one shot does not have
        model = NearestCentroid().fit(chosen[:, 0], np.arange(ways))
    return float(model.score(chosen[:, 1:].reshape(ways * 15, -1), np.arange(ways).repeat(15)))


def test_dice_stay_below_their_limit_and_reach_it() -> None:
    """A die of six sides shows every side about equally often."""
    counts = np.bincount(Dice(0, 0).below(6, 6000), minlength=6)
    assert len(counts) == 6 and counts.min() > 850 and counts.max() < 1150


def test_dice_of_different_streams_differ() -> None:
    """Two alphabets do not get the same numbers."""
    assert not np.array_equal(Dice(0, 0).below(1000, 20), Dice(0, 1).below(1000, 20))


def test_the_compass_is_the_unit_circle() -> None:
    """The integer table holds 256 (cos, sin) of the sixteenths of a turn."""
    angles = np.arange(16) * np.pi / 8
    assert np.abs(COMPASS - 256 * np.stack([np.cos(angles), np.sin(angles)], axis=-1)).max() <= 0.6


def test_points_of_a_curve_follow_bernstein() -> None:
    """The middle of a cubic Bézier curve is (p0 + 3 p1 + 3 p2 + p3) / 8, and its ends are its end points."""
    curve = np.array([[0, 0], [80, 160], [160, 240], [800, 80]])
    assert points(curve, 3).tolist() == [[0, 0], [190, 160], [800, 80]]


def test_the_pen_draws_a_disc_of_its_radius() -> None:
    """A dot in the middle of a pixel has full ink there, part of it beside and none beyond the radius."""
    centre = np.full((1, 1, 4, 2), PIXEL // 2)
    image = draw(centre, np.array([[True]]), np.array([PIXEL * 3 // 2]))[0]
    assert image[14, 14] == 255 and 0 < image[14, 15] < 255 and image[14, 16] == 0
