"""Augmentation of training images: whole batches of tensors at once, each image by its task's own draws.

The draws come from the task's key, with a purpose for each operation, so an image's do not depend on the batch, its chunks,
the device or the other operations. Nothing is fused into one rounding and no sum runs over several images, so that under one
plan the pixels do not depend on the chunks either.

    crop          H/10.5, rounded up, rows of zeros on each side (columns likewise), then a random window of the old size: 8
                  of 84 pixels and 4 of 32, as in MetaOptNet (Lee et al. 2019) and RFS (Tian et al. 2020)
    resized-crop  a random window, 8 to 100 % of the area and 3:4 to 4:3 in shape, scaled up to the old size: torchvision's
                  RandomResizedCrop, with its ten attempts and its window in the middle after them. Bilinear as Pillow's,
                  whose antialiasing is for windows larger than the result. Chen et al. 2019 cut theirs out of the whole
                  photograph, here it is cut out of the prepared image: a small window has fewer pixels than theirs
    flip          left to right, with probability 1/2
    jitter        brightness, then contrast, then saturation times 0.6 to 1.4 each, cut to [0, 1] after each (Chen et al.
                  2019; the ColorJitter(0.4, 0.4, 0.4) of MetaOptNet and RFS draws the order, too): away from or towards
                  black, the image's mean grey, and each pixel's grey. A grey image has no saturation
    rotate        each class by 0, 90, 180 or 270 degrees, all of its images alike (Santoro et al. 2016; with batches of
                  classes each image for itself)

Legend: T tasks, n images of each, N = T * n, C channels, H rows, W columns.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from fewshot_bench.episodes.randomness import task_uniforms
from fewshot_bench.errors import UsageError, unknown

AREA = (0.08, 1.0)
"""The least and the largest area of a resized crop, as a share of the image's."""
RATIO = (3 / 4, 4 / 3)
"""The least and the largest ratio of a resized crop's width to its height."""
ATTEMPTS = 10
"""Attempts to draw a resized crop that fits."""
JITTER = 0.4
"""The most that a factor differs from 1."""
GREY = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in a grey (ITU-R 601-2, as in Pillow)."""


def augmented(images: Tensor, classes: Tensor, key: Tensor, names: Sequence[str]) -> Tensor:
    """Images [T, n, C, H, W] in [0, 1] after the operations, in this order; `classes` [T, n] number the classes of a task
    from 0, at most n of them, and `key` [T] are the tasks' keys."""
    flat = images.flatten(0, 1)  # [N, C, H, W]
    for name in names:
        operation, count = OPERATIONS[name]
        draws = task_uniforms(key, (images.shape[1], count), f"augment {name}")  # [T, n, count]
        if name == "rotate":
            draws = draws.gather(1, classes[..., None])
        flat = operation(flat, draws.flatten(0, 1))
    return flat.view(images.shape)


def augmentations(dataset: object, trained: Sequence[str]) -> tuple[str, ...]:
    """The operations of a training: what the options of its data set ask for, then its own; each once."""
    return tuple(dict.fromkeys((*getattr(dataset, "augment", ()), *trained)))


def check_augmentation(names: Sequence[str], shape: tuple[int, ...]) -> None:
    """Refuse operations that do not exist, or that images of this shape (C, H, W) do not allow; raises `UsageError`."""
    for name in names:
        if name not in OPERATIONS:
            raise unknown("augmentation", name, OPERATIONS)
    if names and len(shape) != 3:
        raise UsageError(
            f"augment={names[0]} applies only to images; this data set is a family of functions. Remove augment."
        )
    if "rotate" in names and shape[1] != shape[2]:
        raise UsageError(f"augment=rotate turns square images, not {shape[1]} x {shape[2]} pixels: leave rotate out.")
    if "jitter" in names and shape[0] not in (1, 3):
        raise UsageError(f"augment=jitter needs grey or RGB images, not {shape[0]} channels: leave jitter out.")


def crop(images: Tensor, draws: Tensor) -> Tensor:
    """A random window of each padded image [N, C, H, W], by its draws [N, 2]."""
    height, width = images.shape[2:]
    rows, columns = math.ceil(height / 10.5), math.ceil(width / 10.5)
    padded = F.pad(images, (columns, columns, rows, rows))
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # [N, C, 2 rows + 1, 2 columns + 1, H, W]
    top, left = _whole(draws[:, 0], 2 * rows + 1), _whole(draws[:, 1], 2 * columns + 1)
    return windows[torch.arange(len(images), device=images.device), :, top, left]


def resized_crop(images: Tensor, draws: Tensor) -> Tensor:
    """A random window of each image [N, C, H, W], scaled up to its size, by its draws [N, 22]."""
    height, width = images.shape[2:]
    top, left, rows, columns = _window(height, width, draws)
    down = _positions(top, rows, height).to(images.dtype)[:, :, None]  # [N, H, 1]
    across = _positions(left, columns, width).to(images.dtype)[:, None]  # [N, 1, W]
    grid = torch.stack(torch.broadcast_tensors(across, down), -1)  # [N, H, W, 2]
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def flip(images: Tensor, draws: Tensor) -> Tensor:
    """Each image [N, C, H, W], mirrored left to right where its draw [N, 1] is below a half."""
    columns = torch.arange(images.shape[3], device=images.device)
    columns = torch.where(draws < 0.5, columns.flip(0), columns)  # [N, W]
    return images.gather(3, columns[:, None, None].expand_as(images))


def jitter(images: Tensor, draws: Tensor) -> Tensor:
    """Each image [N, C, H, W] in brightness, contrast and saturation of its own, by its draws [N, 3]."""
    factors = (1 - JITTER + 2 * JITTER * draws).to(images.dtype)[..., None, None, None]  # [N, 3, 1, 1, 1]
    brightness, contrast, saturation = factors.unbind(1)  # [N, 1, 1, 1] each
    bright = (images * brightness).clamp_(max=1)
    mean = _grey(bright.mean(3, keepdim=True).mean(2, keepdim=True))  # [N, 1, 1, 1]; by rows: no sum is left to two threads
    contrasted = bright.mul_(contrast).add_(mean * (1 - contrast)).clamp_(0, 1)
    if images.shape[1] == 1:
        return contrasted
    grey = _grey(contrasted)  # [N, 1, H, W]
    return contrasted.mul_(saturation).add_(grey.mul_(1 - saturation)).clamp_(0, 1)


def rotate(images: Tensor, draws: Tensor) -> Tensor:
    """Each image [N, C, H, H] after as many `torch.rot90` as its draw [N, 1] says: 0 to 3."""
    turns = _whole(draws, 4)[..., None, None]  # [N, 1, 1, 1]
    turned = torch.where(turns % 2 == 1, images.rot90(1, (2, 3)), images)
    return torch.where(turns >= 2, turned.rot90(2, (2, 3)), turned)


class Operation(NamedTuple):
    """What is done to images [N, C, H, W] by draws [N, `draws`] of the uniform distribution on (0, 1)."""

    apply: Callable[[Tensor, Tensor], Tensor]
    draws: int


OPERATIONS: dict[str, Operation] = {
    "crop": Operation(crop, 2),
    "resized-crop": Operation(resized_crop, 2 * ATTEMPTS + 2),
    "flip": Operation(flip, 1),
    "jitter": Operation(jitter, 3),
    "rotate": Operation(rotate, 1),
}


def _window(height: int, width: int, draws: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Top, left, rows and columns [N, 1] of each image's window: the first attempt that fits, else one in the middle."""
    attempts, place = draws[:, : 2 * ATTEMPTS].unflatten(1, (ATTEMPTS, 2)), draws[:, 2 * ATTEMPTS :]
    area = height * width * _between(*AREA, attempts[..., 0])  # [N, ATTEMPTS]
    ratio = _between(math.log(RATIO[0]), math.log(RATIO[1]), attempts[..., 1]).exp()
    columns, rows = (area * ratio).sqrt().round().long(), (area / ratio).sqrt().round().long()
    fits = (rows > 0) & (rows <= height) & (columns > 0) & (columns <= width)
    first = fits.long().argmax(1, keepdim=True)  # [N, 1]; the first of equals
    found = fits.gather(1, first)
    rows = torch.where(found, rows.gather(1, first), min(height, round(width / RATIO[0])))
    columns = torch.where(found, columns.gather(1, first), min(width, round(height * RATIO[1])))
    top = torch.where(found, _whole(place[:, :1], height - rows + 1), (height - rows) // 2)
    left = torch.where(found, _whole(place[:, 1:], width - columns + 1), (width - columns) // 2)
    return top, left, rows, columns


def _positions(first: Tensor, count: Tensor, size: int) -> Tensor:
    """Where `size` pixels lie that cover pixels `first` to `first + count - 1` [N, 1] of as many, as `grid_sample` has them:
    from -1 to 1 across the image [N, size]; none beyond the middle of a window's own pixels."""
    centres = torch.arange(size, device=first.device, dtype=torch.float64) + 0.5
    within = (centres * count / size - 0.5).clamp(min=0).minimum(count - 1)  # [N, size]
    return (2 * (first + within) + 1) / size - 1


def _grey(images: Tensor) -> Tensor:
    """The grey [N, 1, ...] of images [N, C, ...]: its own where there is one channel."""
    if images.shape[1] == 1:
        return images
    red, green, blue = (images[:, channel, None] * share for channel, share in enumerate(GREY))
    return red.add_(green).add_(blue)


def _between(low: float, high: float, draws: Tensor) -> Tensor:
    """Uniform draws on (low, high)."""
    return low + (high - low) * draws


def _whole(draws: Tensor, count: int | Tensor) -> Tensor:
    """Draws on (0, 1) as whole numbers from 0 to `count - 1`."""
    return (draws * count).long().clamp(max=count - 1)
