"""Images of 16 bits become 8 by the depth of their values, one for a whole data set; what is lost is said once."""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import call
from picture_files import chunk, deep_png, encoded, pack, plain, write
from PIL import Image

from fewshot_bench.data.dataset import Images
from fewshot_bench.data.files.source_files import Files
from fewshot_bench.data.images.decoding import IN_THIS_PROCESS, Photo, decoded
from fewshot_bench.data.images.depth import DepthNeeded, is_deep
from fewshot_bench.data.images.loss_notes import heard
from fewshot_bench.data.prepare import prepare
from fewshot_bench.data.verification import verify
from fewshot_bench.errors import DataError, UsageError
from fewshot_datasets.own.folder import Folder

RANDOM = np.random.default_rng(0)
GREY = RANDOM.integers(0, 4096, (8, 8, 1))
COLOUR = RANDOM.integers(0, 4096, (8, 8, 3))
OPAQUE = np.full((8, 8, 1), 4095)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv("FSBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def shown(values: Any) -> Images:
    """What channels first of 8 bits show: three of them."""
    return np.broadcast_to(np.asarray(values, np.uint8), (8, 8, 3)).transpose(2, 0, 1)


KINDS = {
    "grey": (GREY, GREY >> 4),
    "grey and opacity": (np.concatenate([GREY, OPAQUE], -1), GREY >> 4),
    "grey and an opacity of 16 bits": (np.concatenate([GREY, np.full_like(GREY, 65535)], -1), GREY >> 4),
    "colour": (COLOUR, COLOUR >> 4),
    "colour and opacity": (np.concatenate([COLOUR, OPAQUE], -1), COLOUR >> 4),
    "invisible": (np.concatenate([COLOUR, 0 * OPAQUE], -1), 255),
}


@pytest.mark.parametrize("kind", KINDS)
def test_values_of_12_bits_keep_their_upper_8(kind: str) -> None:
    """In every kind of PNG that has 16; on white where it is see-through."""
    values, wanted = KINDS[kind]
    np.testing.assert_array_equal(Photo(8, depth=12)(deep_png(values)), shown(wanted))


@pytest.mark.parametrize("depth", range(8, 17))
def test_values_of_any_depth_span_black_to_white(depth: int) -> None:
    """Larger ones are white, not black again."""
    ramp = np.linspace(0, 2**depth - 1, 64).astype(int).reshape(8, 8, 1)
    pixels = Photo(8, depth=depth)(deep_png(ramp))
    assert (pixels.min(), pixels.max()) == (0, 255)
    np.testing.assert_array_equal(pixels, shown(ramp >> (depth - 8)))
    if depth < 16:
        assert Photo(8, depth=depth)(deep_png(np.full((8, 8, 1), 2**depth))).min() == 255


@pytest.mark.parametrize("kind", KINDS)
def test_full_16_bits_stay_as_pillow_reads_them(kind: str) -> None:
    """As they were before: published data sets keep their pixels."""
    values = np.minimum(KINDS[kind][0] * 16, 65535)
    wide = Photo(8)(deep_png(values))
    assert wide.std() > 20 or kind == "invisible"
    np.testing.assert_array_equal(wide, Photo(8)(encoded(np.squeeze(values >> 8).astype(np.uint8))))


def test_a_see_through_grey_of_16_bits_is_laid_on_the_background() -> None:
    """Only pixels of just this value are."""
    values = np.full((8, 8, 1), 1000)
    values[:, :4] = 1001
    pixels = Photo(8, depth=12)(deep_png(values, more=chunk(b"tRNS", struct.pack(">H", 1001))))
    assert set(pixels[:, :, :4].reshape(-1)) == {255}
    assert set(pixels[:, :, 4:].reshape(-1)) == {1000 >> 4}


def test_a_see_through_colour_of_16_bits_is_laid_on_the_background() -> None:
    """All three of its values must agree."""
    values = np.full((8, 8, 3), 1000)
    values[:, :4, 2] = 1001
    pixels = Photo(8, depth=12)(deep_png(values, more=chunk(b"tRNS", struct.pack(">HHH", 1000, 1000, 1001))))
    assert set(pixels[:, :, :4].reshape(-1)) == {255}
    assert set(pixels[:, :, 4:].reshape(-1)) == {1000 >> 4}


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_see_through_grey_of_few_bits_is_laid_on_the_background(bits: int) -> None:
    """The brightest value hides here: on black nothing is seen."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, bits, 0, 0, 0, 0)) + chunk(b"tRNS", struct.pack(">H", 2**bits - 1))
    rows = chunk(b"IDAT", zlib.compress((b"\0" + b"\xff" * bits) * 8))
    content = b"\x89PNG\r\n\x1a\n" + header + rows + chunk(b"IEND")
    assert Photo(8, background="black")(content).max() == 0


def test_only_a_png_of_16_bits_is_deep() -> None:
    """It says so at its front."""
    assert is_deep(deep_png(GREY))
    assert not any(map(is_deep, [plain(0), encoded(np.zeros((8, 8, 3), np.uint8), "JPEG"), b"", b"\x89PNG\r\n\x1a\n"]))
    with pytest.raises(DepthNeeded):
        Photo(8, depth=0)(deep_png(GREY))


def test_an_opaque_image_with_an_opacity_keeps_each_of_its_values() -> None:
    """In RGB and in grey; nothing is laid on anything."""
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    image = Image.merge(
        "RGBA", [Image.fromarray(one) for one in (values, values.T.copy(), values[::-1].copy(), values | 255)]
    )
    np.testing.assert_array_equal(Photo(16)(encoded(image)), Photo(16)(encoded(image.convert("RGB"))))
    np.testing.assert_array_equal(
        Photo(16, channels=1)(encoded(image)), Photo(16, channels=1)(encoded(image.convert("RGB")))
    )


@pytest.mark.parametrize(("background", "value"), [("white", 255), ("black", 0)])
def test_the_background_can_be_chosen(background: Any, value: int) -> None:
    """An invisible image shows it alone, never the colours that hide in it."""
    hidden = Image.new("RGBA", (8, 8), (200, 100, 50, 0))
    assert set(Photo(8, background=background)(encoded(hidden)).reshape(-1)) == {value}


def ramps(most: int, classes: int = 4, each: int = 3) -> dict[str, bytes]:
    """Grey images of 16 bits in classes; the brightest of all has `most`."""
    images = classes * each
    darker = np.eye(8, dtype=int)[..., None]  # by one, on a diagonal: no image has one value alone
    return {
        f"c{i // each}/{i % each}.png": deep_png(np.full((8, 8, 1), most * (i + 1) // images) - darker)
        for i in range(images)
    }


def folder(root: Path, **options: Any) -> Folder:
    """The data set of a folder, 8 pixels high, in grey."""
    return Folder({"side": 8, "channels": 1} | options, root=root)


def prepared(dataset: Folder) -> tuple[Images, list[str]]:
    """All prepared images [n, 1, 8, 8], and what is said of them."""
    notes: list[str] = []
    made = prepare("folder", dataset, note=notes.append)
    return np.load(made.folder / "images.npy"), [note.removeprefix("folder: ") for note in notes[1:]]


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "archive"])
@pytest.mark.parametrize("most", [255, 1023, 4095, 16383, 65535])
def test_a_data_set_has_the_depth_that_its_largest_value_needs(most: int, packed: bool, tmp_path: Path) -> None:
    """All its images one and the same, so that a dark one stays dark; what was found is said once."""
    photos = ramps(most)
    root = pack(tmp_path / "photos.tar.gz", photos) if packed else write(tmp_path / "photos", photos)
    pixels, said = prepared(folder(root))
    bits = most.bit_length()
    assert sorted({int(image.max()) for image in pixels}) == [most * (i + 1) // 12 >> (bits - 8) for i in range(12)]
    assert said == [
        f"12 of 12 images have 16 bits a channel; they are read as {bits}-bit values: the largest of all needs so "
        "many bits. To state another number: --set data.depth=16."
    ]
    assert prepared(folder(root))[1] == []


def test_images_of_8_bits_are_as_without_others(tmp_path: Path) -> None:
    """Wherever the first of 16 bits stands, and however many processes decode."""
    photos = {f"a/{i:03}.png": plain(i % 256, side=8) for i in range(IN_THIS_PROCESS + 10)}
    alone, said = prepared(folder(write(tmp_path / "alone", photos)))
    assert said == []
    mixed, said = prepared(
        folder(write(tmp_path / "mixed", photos | {"b/0.png": deep_png(GREY), "c/0.png": deep_png(GREY // 4)}))
    )
    assert said[0].startswith(f"2 of {len(photos) + 2} images have 16 bits a channel; they are read as 12-bit values:")
    a = [i for i, image in enumerate(mixed) if image.std() == 0]
    np.testing.assert_array_equal(mixed[a], alone)
    assert {image.max() for image in mixed if image.std()} == {GREY.max() >> 4, GREY.max() // 4 >> 4}


def test_a_single_value_that_is_too_large_is_shown_by_the_others(tmp_path: Path) -> None:
    """With what to set, which then reads the value as white."""
    root = write(tmp_path / "photos", ramps(4095) | {"c3/2.png": deep_png(np.full((8, 8, 1), 65535))})
    pixels, said = prepared(folder(root))
    assert "read as 16-bit values:" in said[0] and said[1].startswith("Half of them need at most")
    stated = int(said[1].rpartition("data.depth=")[2].rstrip("."))
    assert stated in (11, 12)
    pixels, said = prepared(folder(root, depth=12))
    assert said == ["12 of 12 images have 16 bits a channel; they are read as 12-bit values, as data.depth says."]
    assert np.sort(pixels.max((1, 2, 3)))[-2:].tolist() == [4095 * 11 // 12 >> 4, 255]


def test_a_depth_that_is_stated_is_another_data_set(tmp_path: Path) -> None:
    """So are other pixels; what is not stated changes no identity."""
    root = write(tmp_path / "photos", ramps(4095))
    identities = {folder(root, **o).identity() for o in ({}, {"depth": 12}, {"depth": 16}, {"background": "black"})}
    assert len(identities) == 4
    assert folder(root, depth=0, background="white").identity() == folder(root).identity()


@pytest.mark.parametrize("options", [{"depth": 7}, {"depth": 17}, {"depth": -1}, {"background": "grey"}], ids=str)
def test_an_option_out_of_range_is_refused(options: dict[str, Any], tmp_path: Path) -> None:
    """By its name."""
    (name,) = options
    with pytest.raises(UsageError, match=f"data.{name} must be"):
        folder(tmp_path, **options)


def test_a_damaged_image_among_deep_ones_is_named(tmp_path: Path) -> None:
    """Beside how many there are in all."""
    photos = ramps(4095)
    root = write(tmp_path / "photos", photos | {"c1/0.png": photos["c1/0.png"][:60], "c0/1.png": b"text"})
    with pytest.raises(DataError, match="2 of 12 images are missing or damaged") as error:
        prepared(folder(root))
    assert sorted(name.partition(" ")[0] for name in error.value.damaged) == ["c0/1.png", "c1/0.png"]


LOST = {
    "a/0.png": encoded(Image.new("RGBA", (8, 8), (255, 255, 255, 9))),
    "b/0.png": encoded(Image.new("LA", (8, 8), (0, 128))),
    "c/0.png": encoded(Image.new("P", (8, 8), 0), transparency=0),
    "d/0.webp": encoded(Image.new("RGB", (8, 8)), "WEBP", save_all=True, append_images=[Image.new("RGB", (8, 8), "red")]),
    "e/0.png": encoded(Image.new("RGBA", (8, 8), (9, 9, 9, 255))),
    "f/0.png": deep_png(GREY),
}
SAID = [
    "1 of 6 images have 16 bits a channel; they are read as 12-bit values: the largest of all needs so many bits. To "
    "state another number: --set data.depth=16.",
    "3 of 6 images are see-through; they are laid on white, where 3 of them show nothing at all. For another background: "
    "--set data.background=black.",
    "1 of 6 images hold several pictures; the first of each is taken.",
]


def test_what_is_lost_is_said_by_preparation_and_verification(tmp_path: Path) -> None:
    """In the same words; it is no damage."""
    dataset = folder(write(tmp_path / "photos", LOST))
    assert prepared(dataset)[1] == SAID
    found = verify("folder", dataset, lambda done, total: None)
    assert found.whole and list(found.remarks) == SAID


def test_the_command_says_what_is_lost(tmp_path: Path) -> None:
    """For people and for programs; a run would say it as it prepares."""
    root = write(tmp_path / "photos", LOST)
    command = ("data", "verify", "folder", "--data-root", root, "--set", "data.side=8")
    said = call(*command)
    assert said.code == 0
    assert [line[12:] for line in said.out.splitlines() if line[12:] in SAID] == SAID
    assert "remarks     1 of 6" in said.out
    assert '"remarks": [' in call(*command, "--json").out
    got = call("data", "get", "folder", "--data-root", root, "--set", "data.side=8")
    assert [line for line in SAID if f"folder: {line}" not in got.err] == []


def test_images_of_zeros_and_ones_are_said_to_be_dark(tmp_path: Path) -> None:
    """They are read as they are; white somewhere says that they are meant so."""
    photos = {f"{name}/{i}.png": encoded(np.eye(8, k=i, dtype=np.uint8)) for i in range(3) for name in "abcd"}
    assert prepared(folder(write(tmp_path / "dark", photos)))[1] == [
        "No pixel of any image is brighter than 1 of 255. If they should span black to white, as images of 0 and 1 do, "
        "multiply their values and save them anew."
    ]
    assert prepared(folder(write(tmp_path / "light", photos | {"e/0.png": plain(16)})))[1] == []


def test_a_data_set_without_these_options_is_told_what_was_done(tmp_path: Path) -> None:
    """And of no option that it lacks."""
    files = Files(write(tmp_path / "photos", LOST))
    with heard() as remarks:
        list(decoded(files, [sorted(LOST)], Photo(8), lambda done, total: None))
    assert remarks.lines(6, {}) == [
        "1 of 6 images have 16 bits a channel; they are read as 16-bit values: the upper 8 bits are taken.",
        "3 of 6 images are see-through; they are laid on white, where 3 of them show nothing at all.",
        SAID[2],
    ]
