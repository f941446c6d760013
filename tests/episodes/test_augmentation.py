"""Each operation on a batch is what numpy or Pillow does image by image, by draws that depend on the task alone.

Legend: N images.
"""

import math
from collections.abc import Iterator
from typing import get_args

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image, ImageEnhance
from scipy import stats
from torch import Tensor

from fewshot_bench.episodes.augmentation import (
    OPERATIONS,
    augmentations,
    augmented,
    check_augmentation,
    crop,
    flip,
    jitter,
    resized_crop,
    rotate,
)
from fewshot_bench.episodes.randomness import task_uniforms
from fewshot_bench.errors import UsageError
from fewshot_bench.specs import Augmentation

ALL = tuple(OPERATIONS)
Pixels = npt.NDArray[np.float64]
names = pytest.mark.parametrize("name", ALL)
shapes = pytest.mark.parametrize("shape", [(3, 84, 84), (1, 28, 28), (3, 20, 33), (3, 33, 20)], ids=str)


def images_of(*shape: int, seed: int = 0) -> Tensor:
    """Random images in float64."""
    return torch.from_numpy(np.random.default_rng(seed).random(shape))


def draws_of(name: str, count: int, seed: int = 0) -> Tensor:
    """Draws for so many images [N, draws]."""
    return torch.from_numpy(np.random.default_rng(seed).random((count, OPERATIONS[name].draws)))


def keys_of(tasks: int) -> Tensor:
    """Keys of tasks, as different as a sampler's."""
    return torch.from_numpy(np.random.default_rng(5).integers(-(2**63), 2**63, tasks))


def classes_of(tasks: int, images: int, ways: int = 5) -> Tensor:
    """Labels of tasks [T, n], each class as often as any other."""
    return (torch.arange(images) % ways).expand(tasks, images)


def pairs(images: Tensor, draws: Tensor) -> Iterator[tuple[Pixels, list[float]]]:
    """Each image for numpy, with its own draws."""
    yield from zip(images.numpy(), draws.tolist(), strict=True)


@shapes
def test_a_crop_is_a_window_of_the_image_in_zeros(shape: tuple[int, int, int]) -> None:
    """numpy's padding and slice, at the row and column that the draws say."""
    images, draws = images_of(40, *shape), draws_of("crop", 40)
    rows, columns = (math.ceil(side * 8 / 84) for side in shape[1:])
    for (image, (down, across)), found in zip(pairs(images, draws), crop(images, draws), strict=True):
        padded = np.pad(image, [(0, 0), (rows, rows), (columns, columns)])
        top, left = int(down * (2 * rows + 1)), int(across * (2 * columns + 1))
        assert np.array_equal(found, padded[:, top : top + shape[1], left : left + shape[2]])


@pytest.mark.parametrize(("side", "padding"), [(84, 8), (32, 4)])
def test_the_padding_is_the_authors(side: int, padding: int) -> None:
    """Of mini-ImageNet and CIFAR-FS in MetaOptNet's and RFS's code: so many rows and columns at most are lost."""
    corners = crop(torch.ones(2, 1, side, side), torch.tensor([[0.0, 0.0], [1 - 1e-9, 1 - 1e-9]]))
    assert [int(corner.sum()) for corner in corners] == [(side - padding) ** 2] * 2
    assert corners[0, 0, 0, 0] == 0 and corners[0, 0, -1, -1] == 1


def reference_window(height: int, width: int, draws: list[float]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a resized crop: torchvision's loop over attempts, fed with our draws."""
    for area_draw, ratio_draw in zip(draws[:20:2], draws[1:20:2], strict=True):
        area = height * width * (0.08 + 0.92 * area_draw)
        ratio = math.exp(math.log(3 / 4) + (math.log(4 / 3) - math.log(3 / 4)) * ratio_draw)
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            top, left = int(draws[20] * (height - h + 1)), int(draws[21] * (width - w + 1))
            return left, top, left + w, top + h
    w, h = width, height
    if width / height < 3 / 4:
        h = round(width / (3 / 4))
    elif width / height > 4 / 3:
        w = round(height * (4 / 3))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


@shapes
@pytest.mark.parametrize("seed", [0, 1])
def test_a_resized_crop_is_pillows_of_torchvisions_window(shape: tuple[int, int, int], seed: int) -> None:
    """Pillow's bilinear resizing of 32-bit images, cut out beforehand; within its rounding."""
    images, draws = images_of(40, *shape, seed=seed), draws_of("resized-crop", 40, seed)
    for (image, given), found in zip(pairs(images, draws), resized_crop(images, draws), strict=True):
        box = reference_window(*shape[1:], given)
        cut = [Image.fromarray(channel.astype(np.float32)).crop(box) for channel in image]
        wanted = [np.asarray(one.resize(shape[:0:-1], Image.Resampling.BILINEAR)) for one in cut]
        np.testing.assert_allclose(found, np.stack(wanted), atol=1e-6)


def test_a_resized_crop_that_never_fits_is_the_middle_of_the_image() -> None:
    """Ten attempts at all of the area in a shape that the image has not: the whole of a square image, of another the
    largest part in a shape that is allowed."""
    draws = torch.ones(1, 22) - 1e-9
    for height, width, box in [(24, 24, (0, 0, 24, 24)), (20, 40, (6, 0, 33, 20)), (40, 20, (0, 6, 20, 33))]:
        image = images_of(1, 1, height, width)
        cut = Image.fromarray(image[0, 0].numpy().astype(np.float32)).crop(box)
        wanted = np.asarray(cut.resize((width, height), Image.Resampling.BILINEAR))
        np.testing.assert_allclose(resized_crop(image, draws)[0, 0], wanted, atol=1e-6)


def test_a_flip_is_from_left_to_right_below_a_half() -> None:
    """numpy's reversed columns, or the image itself."""
    images, draws = images_of(40, 3, 9, 7), draws_of("flip", 40)
    for (image, (draw,)), found in zip(pairs(images, draws), flip(images, draws), strict=True):
        assert np.array_equal(found, image[:, :, ::-1] if draw < 0.5 else image)


def test_a_rotation_is_numpys_by_quarters() -> None:
    """`np.rot90` as often as the draw has quarters; torch turns the same way."""
    images, draws = images_of(40, 2, 8, 8), draws_of("rotate", 40)
    turns = [int(4 * draw) for (draw,) in draws.tolist()]
    assert set(turns) == {0, 1, 2, 3}
    for image, turn, found in zip(images, turns, rotate(images, draws), strict=True):
        assert np.array_equal(found, np.rot90(image.numpy(), turn, (1, 2)))
        assert torch.equal(found, image.rot90(turn, (1, 2)))


@pytest.mark.parametrize("channels", [1, 3])
def test_jitter_is_its_closed_form(channels: int) -> None:
    """Blends with black, the mean grey and each pixel's grey, in this order, each cut to [0, 1]; torchvision's formulae."""
    images, draws = images_of(40, channels, 9, 7), draws_of("jitter", 40)
    shares = np.array([0.299, 0.587, 0.114]) if channels == 3 else np.ones(1)
    for (image, given), found in zip(pairs(images, draws), jitter(images, draws), strict=True):
        brightness, contrast, saturation = (0.6 + 0.8 * draw for draw in given)
        wanted = np.clip(brightness * image, 0, 1)
        mean = np.tensordot(shares, wanted, 1).mean()
        wanted = np.clip(contrast * wanted + (1 - contrast) * mean, 0, 1)
        if channels == 3:
            wanted = np.clip(saturation * wanted + (1 - saturation) * np.tensordot(shares, wanted, 1), 0, 1)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-14)


ENHANCERS = [
    (ImageEnhance.Brightness, 1.0),  # Pillow cuts off what is less than a level
    (ImageEnhance.Contrast, 1.0 + 0.4 * 1.0),  # and rounds greys and their mean, by half a level each
    (ImageEnhance.Color, 1.0 + 0.4 * 0.5),
]
"""Pillow's, which the authors use, and by how many levels its rounding may differ."""


@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("draw", [0.0, 0.3, 0.8, 1.0])
def test_each_part_of_jitter_is_pillows(place: int, draw: float) -> None:
    """With the other two factors at 1, up to Pillow's rounding to 256 levels."""
    pixels = np.random.default_rng(3).integers(0, 256, (20, 24, 3), np.uint8)
    enhancer, bound = ENHANCERS[place]
    wanted = np.asarray(enhancer(Image.fromarray(pixels)).enhance(0.6 + 0.8 * draw))
    draws = torch.full((1, 3), 0.5, dtype=torch.float64)
    draws[0, place] = draw
    found = jitter(torch.from_numpy(pixels / 255).permute(2, 0, 1)[None], draws)[0].permute(1, 2, 0) * 255
    assert np.abs(found.numpy() - wanted).max() <= bound + 1e-3  # its weights of a grey have 16 bits


@names
def test_an_image_is_augmented_by_its_tasks_draws(name: str) -> None:
    """The operation is carried out with the draws of the key, with a purpose of its own; a class shares its rotation."""
    images, keys, classes = images_of(3, 10, 3, 12, 12), keys_of(3), classes_of(3, 10)
    draws = task_uniforms(keys, (10, OPERATIONS[name].draws), f"augment {name}")
    if name == "rotate":
        draws = torch.stack([row[labels] for row, labels in zip(draws, classes, strict=True)])
    for images_, found, own in zip(images, augmented(images, classes, keys, [name]), draws, strict=True):
        assert torch.equal(found, OPERATIONS[name].apply(images_, own))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("shape", [(6, 3, 84, 84), (1, 1, 224, 224)], ids=str)
@pytest.mark.parametrize("chosen", [*((name,) for name in ALL), ALL], ids="+".join)
def test_a_task_is_the_same_alone_and_among_others(chosen: tuple[str, ...], shape: tuple[int, ...], threads: int) -> None:
    """Bit for bit, in one chunk of 8 or in 8 of 1, whatever the number of threads; even where a task is one image."""
    images, keys, classes = images_of(8, *shape).float(), keys_of(8), classes_of(8, shape[0])
    before = torch.get_num_threads()
    whole = augmented(images, classes, keys, chosen)
    try:
        torch.set_num_threads(threads)
        parts = [augmented(images[i : i + 1], classes[i : i + 1], keys[i : i + 1], chosen) for i in range(8)]
    finally:
        torch.set_num_threads(before)
    assert torch.equal(whole, torch.cat(parts))


def test_operations_follow_each_other_in_order() -> None:
    """The draws of one do not depend on the others; another order is another result."""
    images, keys, classes = images_of(2, 10, 3, 12, 12), keys_of(2), classes_of(2, 10)
    expected = images
    for name in ALL:
        expected = augmented(expected, classes, keys, [name])
    assert torch.equal(augmented(images, classes, keys, ALL), expected)
    assert not torch.equal(augmented(images, classes, keys, ALL[::-1]), expected)


@names
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_stay_between_0_and_1_and_the_images_given_as_they_were(name: str, dtype: torch.dtype) -> None:
    """Black, white, pure colours and noise, in their dtype and shape."""
    extremes = torch.randint(0, 2, (4, 25, 3, 24, 24), generator=torch.Generator().manual_seed(0)).to(dtype)
    images = torch.cat([extremes, extremes * 0 + 1, images_of(4, 25, 3, 24, 24).to(dtype)])
    given = images.clone()
    found = augmented(images, classes_of(12, 25), keys_of(12), [name])
    assert (found.dtype, found.shape) == (dtype, images.shape)
    assert found.min() >= 0 and found.max() <= 1
    assert not torch.equal(found, images)
    assert torch.equal(images, given)


def test_no_value_is_read_back() -> None:
    """An accelerator is not waited for: device `meta` has none to read."""
    images, keys, classes = (x.to("meta") for x in (images_of(2, 10, 3, 12, 12), keys_of(2), classes_of(2, 10)))
    assert augmented(images, classes, keys, ALL).shape == images.shape


def test_every_second_image_is_flipped() -> None:
    """Within the 99.99 % interval of fair coins: over tasks, and over the places of a task."""
    images = torch.tensor([[0.0, 1.0]]).expand(400, 50, 1, 1, 2)
    flipped = augmented(images, classes_of(400, 50), keys_of(400), ["flip"])[:, :, 0, 0, 0] == 1
    for count, total in [(flipped.sum(), 20000), *((column.sum(), 400) for column in flipped.T)]:
        low, high = stats.binom.interval(1 - 1e-4 / 51, total, 0.5)
        assert low <= count <= high


def test_windows_and_turns_are_equally_likely() -> None:
    """All 9 x 9 windows of a crop of 32 pixels and all 4 turns, by chi-squared tests."""
    marks = torch.zeros(500, 20, 1, 32, 32)
    marks[..., 16, 16] = 1
    place = augmented(marks, classes_of(500, 20), keys_of(500), ["crop"]).flatten(2).argmax(-1)
    windows = np.unique((place // 32 - 12) * 9 + place % 32 - 12, return_counts=True)
    assert windows[0].tolist() == list(range(81))
    marks[..., 16, 16], marks[..., 0, 0] = 0, 1
    corner = augmented(marks, classes_of(500, 20, ways=20), keys_of(500), ["rotate"]).flatten(2).argmax(-1)
    turns = np.unique(corner, return_counts=True)
    assert turns[0].tolist() == [0, 31, 31 * 32, 32 * 32 - 1]
    assert min(stats.chisquare(windows[1]).pvalue, stats.chisquare(turns[1]).pvalue) > 1e-3


def test_factors_are_uniform_from_0_6_to_1_4() -> None:
    """Kolmogorov and Smirnov's test of how bright a dark grey becomes: its contrast and saturation change nothing."""
    grey = torch.full((200, 20, 3, 2, 2), 0.5, dtype=torch.float64)
    factors = augmented(grey, classes_of(200, 20), keys_of(200), ["jitter"])[:, :, 0, 0, 0].flatten() / 0.5
    assert stats.kstest(factors.numpy(), "uniform", (0.6, 0.8)).pvalue > 1e-3


def test_the_operations_are_those_that_a_spec_may_name() -> None:
    """All of them and no other."""
    assert set(OPERATIONS) == set(get_args(Augmentation))


def test_what_an_image_cannot_have_is_refused() -> None:
    """With what was given and what to do."""
    check_augmentation(ALL, (3, 84, 84))
    check_augmentation(("crop",), (2, 20, 30))
    for chosen, shape, said in [
        (("flip", "rotate"), (1, 20, 30), "rotate turns square images, not 20 x 30 pixels"),
        (("jitter",), (4, 20, 20), "jitter needs grey or RGB images, not 4 channels"),
        (("crop",), (1,), "crop applies only to images"),
        (("flop",), (3, 84, 84), "Unknown augmentation 'flop'. Did you mean 'flip'"),
    ]:
        with pytest.raises(UsageError, match=said):
            check_augmentation(chosen, shape)


def test_a_data_sets_augmentation_comes_before_the_trainings_own() -> None:
    """Each operation once."""

    class Turned:
        augment = ("rotate",)

    assert augmentations(Turned(), ("flip", "rotate")) == ("rotate", "flip")
    assert augmentations(object(), ("jitter",)) == ("jitter",)
