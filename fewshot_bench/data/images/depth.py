"""Images of 16 bits a channel whose values may need fewer bits: PNG files of cameras, microscopes and scanners.

Cameras of 10, 12 and 14 bits put their values into 16 as they are, so that the upper 8 of these are (nearly) black. A value
v of a depth of d bits becomes v >> (d - 8), its upper 8 bits. All images of a data set have one depth, because images of
different depths would differ in brightness. PNG's chunk sBIT does not help: it says how many bits were meaningful before the
values were scaled to 16.

Legend: H x W pixels, C channels.
"""

import struct
import zlib
from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import Image

from fewshot_bench.data.images.loss_notes import remark_deep

Bytes = npt.NDArray[np.uint8]
Deep = npt.NDArray[np.uint16]
DEEPEST = 16
SHALLOWEST = 8
SIGNATURE = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR"
"""How a PNG begins; behind it stand width, height, the bits of a channel (byte 24) and the kind of pixels (25)."""
GREY, COLOUR, GREY_ALPHA, COLOUR_ALPHA = 0, 2, 4, 6
"""The kinds of pixels of a PNG that can have 16 bits."""


class DepthNeeded(Exception):
    """An image has 16 bits a channel, and it is not known yet how many of them its values use."""


def is_deep(content: bytes) -> bool:
    """Whether a file is an image of 16 bits a channel."""
    return content.startswith(SIGNATURE) and content[24:25] == b"\x10"


def shallow(content: bytes, image: Image.Image, depth: int) -> Image.Image:
    """A deep image, as opened from `content`, as one of 8 bits: of mode L, RGB, LA or RGBA; `depth` is that of its values.

    Larger values are white. Raises `DepthNeeded` where `depth` is 0.
    """
    if not depth:
        raise DepthNeeded
    pixels = _values(content, image)
    alpha = content[25] in (GREY_ALPHA, COLOUR_ALPHA)
    values = pixels[..., :-1] if alpha else pixels
    remark_deep(_bits(values), depth)
    upper = _upper(values, depth)
    if alpha:
        opacity = pixels[..., -1:]
        upper = np.concatenate([upper, _upper(opacity, depth if _bits(opacity) <= depth else DEEPEST)], -1)
    elif isinstance(clear := image.info.get("transparency"), int | tuple):  # this one value or colour is see-through
        hidden = (values == np.array(clear)).all(-1, keepdims=True)
        upper = np.concatenate([upper, np.where(hidden, 0, 255).astype(np.uint8)], -1)
    return Image.fromarray(upper[..., 0] if upper.shape[-1] == 1 else upper)


def scale_clear(content: bytes, image: Image.Image) -> None:
    """Scale the see-through value of a grey PNG of 2 or 4 bits to 8 bits, as Pillow scales the others."""
    clear = image.info.get("transparency")
    if isinstance(clear, int) and content.startswith(SIGNATURE) and content[24] in (2, 4) and content[25] == GREY:
        image.info["transparency"] = clear * 255 // (2 ** content[24] - 1)


def bits_of(content: bytes, image: Image.Image) -> int:
    """How many bits the largest value of a deep image needs; its opacity does not count."""
    pixels = _values(content, image)
    return _bits(pixels[..., :-1] if content[25] in (GREY_ALPHA, COLOUR_ALPHA) else pixels)


def _bits(values: Deep) -> int:
    return int(values.max(initial=0)).bit_length()


def _upper(values: Deep, depth: int) -> Bytes:
    upper: Bytes = np.minimum(values >> (depth - SHALLOWEST), 255).astype(np.uint8)
    return upper


def _values(content: bytes, image: Image.Image) -> Deep:
    """All 16 bits [H, W, C], the opacity last. Of several channels Pillow gives one byte of each value at a time."""
    if content[25] == GREY:
        return np.asarray(image).astype(np.uint16)[..., None]
    if content[25] == GREY_ALPHA:  # as bytes the same as one of 8 bits and four channels
        header = content[12:24] + bytes([8, COLOUR_ALPHA]) + content[26:29]
        bytes_of = _pixels(content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:])
        return _joined(bytes_of[..., ::2], bytes_of[..., 1::2])
    return _joined(np.asarray(image), _pixels(content, lower=True))


def _pixels(content: bytes, lower: bool = False) -> Bytes:
    """A PNG's pixels [H, W, C]; the lower byte of 16 bits if `lower`."""
    with Image.open(BytesIO(content), formats=["PNG"]) as image:
        if lower:  # read as if the byte that comes second were the upper one
            image.tile = [(*tile[:3], f"{image.mode};16L") for tile in image.tile]  # type: ignore[misc]
        return np.asarray(image)


def _joined(upper: Bytes, lower: Bytes) -> Deep:
    return np.left_shift(upper, 8, dtype=np.uint16) | lower
