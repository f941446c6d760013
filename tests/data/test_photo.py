"""A photograph becomes pixels: of every kind, turned and opaque; a giant is refused by its header."""

import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from picture_files import Pixels, encoded, noise, png
from PIL import Image, ImageFile, ImageOps

from fewshot_bench.data.images.decoding import UNREADABLE, Photo

COLOUR = (200, 100, 50)
GREY = (299 * 200 + 587 * 100 + 114 * 50) / 1000  # ITU-R 601's luma
UPRIGHT = np.arange(6 * 4 * 3, dtype=np.uint8).reshape(6, 4, 3) * 3  # [H, W, C], each pixel its own


def filled(mode: str, colour: object) -> Image.Image:
    """An image of 8 x 8 in one colour."""
    return Image.new(mode, (8, 8), colour)  # type: ignore[arg-type]


def blended(colour: int, alpha: int) -> float:
    """A colour of an opacity alpha of 255 on white."""
    return (colour * alpha + 255 * (255 - alpha)) / 255


KINDS = {
    "JPEG": (encoded(filled("RGB", COLOUR), "JPEG", quality=95), COLOUR),
    "progressive JPEG": (encoded(filled("RGB", COLOUR), "JPEG", quality=95, progressive=True), COLOUR),
    "grey JPEG": (encoded(filled("L", 120), "JPEG"), (120,) * 3),
    "CMYK JPEG": (encoded(filled("CMYK", (55, 155, 205, 0)), "JPEG", quality=95), COLOUR),
    "PNG": (encoded(filled("RGB", COLOUR)), COLOUR),
    "grey PNG": (encoded(filled("L", 120)), (120,) * 3),
    "1 bit": (encoded(filled("1", 1)), (255,) * 3),
    "16 bits": (encoded(filled("I;16", 120 * 256 + 255)), (120,) * 3),
    "palette": (encoded(filled("RGB", COLOUR).convert("P", palette=Image.Palette.ADAPTIVE)), COLOUR),
    "see-through palette": (encoded(filled("P", 0), transparency=0), (255,) * 3),
    "palette of opacities": (encoded(filled("P", 1), transparency=bytes([0, 255, 0])), (0, 0, 1)),
    "RGBA": (encoded(filled("RGBA", (*COLOUR, 128))), tuple(blended(c, 128) for c in COLOUR)),
    "grey and alpha": (encoded(filled("LA", (120, 64))), (blended(120, 64),) * 3),
    "see-through colour": (encoded(filled("RGB", COLOUR), transparency=COLOUR), (255,) * 3),
    "WebP": (encoded(filled("RGB", COLOUR), "WEBP", lossless=True), COLOUR),
    "lossy WebP": (encoded(filled("RGB", COLOUR), "WEBP", quality=95), COLOUR),
    "WebP with alpha": (encoded(filled("RGBA", (*COLOUR, 0)), "WEBP", lossless=True), (255,) * 3),
    "BMP": (encoded(filled("RGB", COLOUR), "BMP"), COLOUR),
    "1 bit BMP": (encoded(filled("1", 0), "BMP"), (0,) * 3),
    "moving PNG": (encoded(filled("RGB", COLOUR), save_all=True, append_images=[filled("RGB", 0)]), COLOUR),
}
LOSSY = {"JPEG", "progressive JPEG", "CMYK JPEG", "lossy WebP"}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_image_becomes_rgb(kind: str) -> None:
    """Transparency on white, 16 bits by their upper 8, the first picture of a moving one; exact where the file is."""
    content, colour = KINDS[kind]
    pixels = Photo(4)(content)
    assert (pixels.shape, pixels.dtype) == ((3, 4, 4), np.uint8)
    np.testing.assert_allclose(pixels.transpose(1, 2, 0), np.broadcast_to(colour, (4, 4, 3)), atol=4 if kind in LOSSY else 1)


@pytest.mark.parametrize("kind", ["PNG", "16 bits", "RGBA", "palette", "see-through palette", "1 bit"])
def test_one_channel_is_grey(kind: str) -> None:
    """ITU-R 601's luma of what three channels would show."""
    content, (red, green, blue) = KINDS[kind]
    pixels = Photo(4, channels=1)(content)
    assert pixels.shape == (1, 4, 4)
    np.testing.assert_allclose(pixels, (299 * red + 587 * green + 114 * blue) / 1000, atol=1.5)


def test_the_luma_is_that_of_the_colour() -> None:
    """Not the mean of the channels, 116.7."""
    assert Photo(4, channels=1)(KINDS["PNG"][0])[0, 0, 0] == round(GREY)


STORED: dict[int, Callable[[Pixels], Pixels]] = {  # what a camera stores of an upright picture, by EXIF's orientation
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.transpose(1, 0, 2),
    6: lambda upright: np.rot90(upright, 1),  # shown turned clockwise, so stored turned counter-clockwise
    7: lambda upright: upright[::-1, ::-1].transpose(1, 0, 2),
    8: lambda upright: np.rot90(upright, -1),
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_a_photograph_is_turned_as_its_exif_says(kind: str, orientation: int) -> None:
    """All eight ways; where that is not wanted it stays as it is stored."""
    stored = np.ascontiguousarray(STORED[orientation](UPRIGHT))
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(stored, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    middle = UPRIGHT[1:5].transpose(2, 0, 1)
    np.testing.assert_array_equal(Photo(4)(content), middle)
    as_stored = stored[1:5] if stored.shape[0] == 6 else stored[:, 1:5]
    np.testing.assert_array_equal(Photo(4, upright=False)(content), as_stored.transpose(2, 0, 1))


def test_a_photograph_of_16_bits_is_turned_too() -> None:
    """Before it loses its lower bits."""
    exif = Image.Exif()
    exif[0x0112] = 3
    grey = np.arange(16, dtype=np.uint16).reshape(4, 4) * 4096
    np.testing.assert_array_equal(Photo(4, channels=1)(encoded(Image.fromarray(grey), exif=exif))[0], grey[::-1, ::-1] >> 8)


@pytest.mark.parametrize("exif", [b"garbage", b"II*\0\xff\xff\xff\x7f", b"MM\0*\0\0\0\x08\0\x05\x01\x12", b""])
def test_a_broken_exif_is_no_damage(exif: bytes) -> None:
    """The pixels are whole; nothing is said of it."""
    pixels = Photo(8)(encoded(noise(0), "JPEG", exif=b"Exif\0\0" + exif))
    np.testing.assert_array_equal(pixels, Photo(8)(encoded(noise(0), "JPEG")))


def test_an_image_of_the_wanted_size_stays_as_it_is() -> None:
    """Pixel for pixel."""
    np.testing.assert_array_equal(Photo(8)(encoded(noise(0))), noise(0).transpose(2, 0, 1))


@pytest.mark.parametrize("lying", [True, False])
def test_crop_takes_the_square_in_the_middle_and_squash_takes_all(lying: bool) -> None:
    """Of three squares of one colour each, the middle one; or a third of each."""
    stripes = np.repeat(np.array([[10, 120, 240]], np.uint8), 30, 0).repeat(30, 1)  # [30, 90]
    content = encoded(stripes if lying else stripes.T.copy())
    assert set(Photo(30, "crop")(content).reshape(-1)) == {120}
    noisy = noise(0, side=40)[:, :29] if lying else noise(0, side=40)[:29]
    fitted = np.asarray(ImageOps.fit(Image.fromarray(noisy), (7, 7), Image.Resampling.LANCZOS))
    np.testing.assert_array_equal(Photo(7, "crop")(encoded(noisy)), fitted.transpose(2, 0, 1))
    squashed = Photo(30, "squash", channels=1)(content)[0]
    line = squashed[15] if lying else squashed[:, 15]
    assert [line[4], line[15], line[25]] == [10, 120, 240]
    np.testing.assert_array_equal(np.asarray(Image.fromarray(stripes).resize((30, 30), Image.Resampling.LANCZOS))[15], line)


def jpeg_header(width: int, height: int) -> bytes:
    """A JPEG whose header claims any size."""
    content = encoded(noise(0), "JPEG")
    place = content.index(b"\xff\xc0") + 5
    return content[:place] + struct.pack(">HH", height, width) + content[place + 4 :]


def bmp_header(width: int, height: int) -> bytes:
    """A BMP whose header claims any size."""
    content = encoded(noise(0), "BMP")
    return content[:18] + struct.pack("<ii", width, height) + content[26:]


GIANT = {
    "PNG": png(30_000, 30_000),
    "JPEG": jpeg_header(30_000, 30_000),
    "BMP": bmp_header(30_000, 30_000),
    "a line": png(100_000_001, 1),
}


@pytest.mark.parametrize("kind", GIANT)
def test_a_giant_is_refused_by_its_header(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is decoded of it, so that it takes neither time nor memory."""
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: pytest.fail("it was decoded"))
    with pytest.raises(Image.DecompressionBombError):
        Photo(84)(GIANT[kind])


@pytest.mark.parametrize(("side", "fits"), [(10_000, True), (30_000, False)])
def test_a_whole_image_of_one_bit_may_be_a_giant(side: int, fits: bool) -> None:
    """One of 30,000 x 30,000 pixels takes 110 KB on disk; the largest that is decoded has 10,000 x 10,000."""
    content = png(side, side, zlib.compress(bytes(side * (1 + side // 8))))
    assert len(content) < 120_000
    if fits:
        assert Photo(84)(content).max() == 0
    else:
        with pytest.raises(Image.DecompressionBombError):
            Photo(84)(content)


WHOLE = [KINDS[kind][0] for kind in ("JPEG", "PNG", "palette", "WebP", "BMP", "16 bits")]

CHANGES = st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), max_size=4)


@settings(max_examples=300)
@given(st.sampled_from(WHOLE), CHANGES, st.integers(0, 400))
def test_altered_bytes_are_an_unreadable_image_or_another(content: bytes, changes: list[tuple[int, int]], cut: int) -> None:
    """Never another error, nor a warning."""
    altered = bytearray(content)
    for place, value in changes:
        altered[place % len(altered)] = value
    try:
        pixels = Photo(4)(bytes(altered[: len(altered) - cut] if cut < 100 else altered))
    except UNREADABLE:
        return
    assert (pixels.shape, pixels.dtype) == ((3, 4, 4), np.uint8)
