"""Smooth strokes to grey images, in whole numbers only: every platform gets the same bytes.

n images, S strokes an image, s strokes of all of them together, P points a stroke. Lengths are in units of 1/64 pixel; x
runs to the right, y runs down.
"""

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

SIDE = 28
PIXEL = 64  # units in a pixel
POINTS = 48  # a stroke
AT_ONCE = 64  # images drawn together: more of them leave the processor's cache
MARGIN = 5  # pixels around the canvas that take the ink of strokes that leave it


def points(curves: Ints, count: int) -> Ints:
    """`count` points [..., count, 2] along the cubic Bézier curves `curves` [..., 4, 2], both ends included."""
    t = np.arange(count)
    s = count - 1 - t
    weights = np.stack([s**3, 3 * s * s * t, 3 * s * t * t, t**3], axis=-1)  # [count, 4]
    total: Ints = weights @ curves  # [..., count, 2]
    return total // (count - 1) ** 3


def draw(curves: Ints, present: Bools, radius: Ints) -> npt.NDArray[np.uint8]:
    """Images [n, SIDE, SIDE] of the strokes `curves` [n, S, 4, 2] with the origin in the middle, ink 255 on paper 0.

    Only the strokes where `present` [n, S] is true are drawn, with a round pen of outer radius `radius` [n]: 1 to 2.5
    pixels, as the pen's stamp has 5 x 5.
    """
    wide = SIDE + 2 * MARGIN
    canvas = np.zeros((len(curves), wide, wide), np.uint8)
    for first in range(0, len(curves), AT_ONCE):
        some = slice(first, first + AT_ONCE)
        image, stroke = np.nonzero(present[some])  # [s] each
        path = points(curves[some][image, stroke], POINTS) + wide * PIXEL // 2  # [s, P, 2]
        pen = path.clip(2 * PIXEL, (wide - 2) * PIXEL - 1).astype(np.int32)
        _press(canvas[some], image[:, None], pen, radius[some][image, None].astype(np.int32))
    return canvas[:, MARGIN:-MARGIN, MARGIN:-MARGIN]  # [n, SIDE, SIDE]


def _press(canvas: npt.NDArray[np.uint8], image: Ints, at: npt.NDArray[np.int32], radius: npt.NDArray[np.int32]) -> None:
    """Press the pen of each stroke, of `radius` [s, 1], at each of its points `at` [s, P, 2] on its `image` [s, 1].

    The ink falls from full to none over the outermost pixel of the radius, with the squared distance: no root.
    """
    steps = np.arange(-2, 3, dtype=np.int32)
    pixel = at // PIXEL  # [s, P, 2]
    away = (at - pixel * PIXEL - PIXEL // 2)[..., None] - steps * PIXEL  # [s, P, 2, 5], from the centres of the pixels
    square = away * away
    distance = square[:, :, 1, :, None] + square[:, :, 0, None, :]  # [s, P, 5, 5]
    outer = radius * radius
    gain = (255 << 10) // (outer - (radius - PIXEL) ** 2)  # [s, 1]
    ink = ((outer[..., None, None] - distance) * gain[..., None, None] >> 10).clip(0, 255).astype(np.uint8)
    wide = canvas.shape[1]
    corner = (image * wide + pixel[..., 1]) * wide + pixel[..., 0]  # [s, P]
    where = corner[..., None, None] + (steps[:, None] * wide + steps)  # [s, P, 5, 5]
    np.maximum.at(canvas.reshape(-1), where.reshape(-1), ink.reshape(-1))  # flat: many times as fast
