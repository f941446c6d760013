"""The picture of a few episodes shows their images, whole and in their places, under the names of their classes."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fewshot_bench.data.bank import MemmapBank
from fewshot_bench.episodes.preview import (
    GAP,
    LINE,
    MARGIN,
    ROW_LABEL,
    Layout,
    caption,
    lacking,
    picture,
    shown_episodes,
    text_font,
    write_png,
)
from fewshot_bench.episodes.sampling import EpisodeSampler
from fewshot_bench.errors import FewshotError, UsageError

CLASSES, IMAGES = 8, 6
WAYS, SHOTS, QUERIES, EPISODES = 4, 2, 3, 2


def bank_of(channels: int, side: int = 28) -> MemmapBank:
    """Random images of 8 classes, 6 each; the first pixel of each says its class and place."""
    random = np.random.default_rng(channels)
    images = random.integers(0, 256, (CLASSES * IMAGES, channels, side, side), np.uint8)
    images[:, 0, 0, 0] = np.arange(len(images))
    starts = np.arange(0, len(images) + 1, IMAGES)
    return MemmapBank(images, tuple(f"class{number}" for number in range(CLASSES)), starts, "preview")


@pytest.mark.parametrize("channels", [1, 3])
def test_a_column_is_a_class_and_no_image_is_support_and_query(channels: int) -> None:
    """The images, their classes and the order of the labels are those of the episode stream."""
    bank = bank_of(channels)
    sampler = EpisodeSampler(bank, WAYS, SHOTS, QUERIES, seed=5)
    stream = sampler.block(0, EPISODES)
    for number, shown in enumerate(shown_episodes(sampler, bank, EPISODES)):
        support, query = shown.support[..., 0, 0, 0], shown.query[..., 0, 0, 0]  # [N, K], [N, Q] image ids
        assert (shown.number, support.shape, query.shape) == (number, (WAYS, SHOTS), (WAYS, QUERIES))
        for label, name in enumerate(shown.classes):
            assert set(support[label]) == set(stream.support[number][stream.support_y[number] == label])
            assert set(query[label]) == set(stream.query[number][stream.query_y[number] == label])
            assert {f"class{image // IMAGES}" for image in [*support[label], *query[label]]} == {name}
            assert not set(support[label]) & set(query[label])


@pytest.mark.parametrize(("channels", "side", "scale"), [(1, 28, 4), (3, 32, 3), (3, 84, 1), (1, 105, 1), (3, 300, 1)])
def test_every_image_stands_in_its_place_each_pixel_a_square(channels: int, side: int, scale: int) -> None:
    """Small ones enlarged without a new grey value, grey and RGB; support above queries."""
    bank = bank_of(channels, side)
    layout = Layout((channels, side, side), WAYS, SHOTS, QUERIES, EPISODES)
    shown = list(shown_episodes(EpisodeSampler(bank, WAYS, SHOTS, QUERIES, seed=5), bank, EPISODES))
    canvas = np.asarray(picture("title", layout, shown))
    assert canvas.shape == (layout.size[1], layout.size[0], 3)
    each = side * scale
    for number, episode in enumerate(shown):
        top = MARGIN + 2 * LINE + number * layout.height + 3 * LINE + 2 * GAP
        for column in range(WAYS):
            left = MARGIN + ROW_LABEL + column * (each + GAP)
            for row, image in enumerate([*episode.support[column], *episode.query[column]]):
                y = top + row * (each + GAP) + (GAP if row >= SHOTS else 0)
                seen = canvas[y : y + each, left : left + each].reshape(side, scale, side, scale, 3)
                pixels = np.broadcast_to(image.transpose(1, 2, 0), (side, side, 3))
                assert (seen == pixels[:, None, :, None]).all()


NAMES = ["apple", "n01532829", "Greek/character01/rot090", "x" * 200, "Жук " * 50, "日本" * 100, "a\nb\x1b[2J", "", "é" * 7]


@pytest.mark.parametrize("width", [60, 96, 300])
@pytest.mark.parametrize("name", NAMES)
def test_a_caption_has_at_most_two_lines_that_fit(name: str, width: int) -> None:
    """Long names lose their middle; what decides, their beginning and their end, stays."""
    font = text_font(name)
    lines = caption(name, font, width).split("\n")
    assert len(lines) <= 2
    assert max(font.getlength(line) for line in lines) <= width
    assert "\x1b" not in "".join(lines)
    whole = "".join(lines)
    if name.isprintable():
        assert name == whole or (name.startswith(lines[0]) and name.endswith(lines[1].removeprefix("...")))


@given(st.text(max_size=250), st.integers(40, 200))
def test_any_name_has_a_caption(name: str, width: int) -> None:
    """Of characters that no font has, too."""
    font = text_font("")
    assert all(font.getlength(line) <= width for line in caption(name, font, width).split("\n"))


def test_a_short_name_stands_whole_and_a_long_one_breaks_after_a_separator() -> None:
    """As a reader would break it."""
    font = text_font("")
    assert caption("mushroom", font, 96) == "mushroom"
    assert caption("Alphabet03/character12", font, 96) == "Alphabet03/\ncharacter12"


def test_the_characters_that_a_font_lacks_are_known() -> None:
    """Pillow's own has ASCII, and no cuneiform; a font of the machine is taken where it has more."""
    own = text_font("")
    assert lacking("abc XYZ 019", own) == set()
    assert lacking("abc \U00012000", own) == {"\U00012000"}
    assert len(lacking("Жук", text_font("Жук"))) <= len(lacking("Жук", own))


def test_a_picture_of_other_channels_or_of_too_many_pixels_is_refused() -> None:
    """Before any image is read; what would make it smaller is said."""
    with pytest.raises(UsageError, match="2 channels"):
        Layout((2, 28, 28), 5, 1, 3, 3)
    with pytest.raises(UsageError, match="--episodes, --ways, --shots or --queries"):
        Layout((1, 28, 28), 5, 1, 3, 10_000)


def test_a_picture_is_written_as_a_png_or_not_at_all(tmp_path: Path) -> None:
    """A folder that cannot be made is named."""
    image = Image.new("RGB", (4, 3), "red")
    write_png(image, tmp_path / "new" / "a.png")
    with Image.open(tmp_path / "new" / "a.png") as read:
        assert (read.format, read.size, read.getpixel((0, 0))) == ("PNG", (4, 3), (255, 0, 0))
    with pytest.raises(FewshotError, match="Cannot write"):
        write_png(image, tmp_path / "new" / "a.png" / "b.png")
