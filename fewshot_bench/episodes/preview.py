"""A picture of a few episodes as a learner sees them: a column a class, its support above its queries.

Legend: N ways, K shots, Q queries a class, R rows (K or Q), C channels, H and W the size of an image.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fewshot_bench.data.bank import Ids, ImageBank
from fewshot_bench.data.dataset import Images
from fewshot_bench.episodes.sampling import EpisodeSampler
from fewshot_bench.errors import UsageError
from fewshot_bench.storage import atomic
from fewshot_bench.text.printable import printable

SIDE = 100
"""About how many pixels wide an image is in the picture: smaller ones are enlarged by a whole number."""
MOST_PIXELS = 60_000_000
"""The most pixels of a picture."""
GAP, MARGIN, ROW_LABEL, LINE, BETWEEN = 4, 16, 62, 15, 22
"""Pixels: between images, around everything, for the words left of a row, for a line of text, between episodes."""
TITLE_SIZE, TEXT_SIZE = 14, 11
PAPER, STRIP, INK, PALE = "white", "#e8eef6", "#1a1a1a", "#666666"
FONTS = ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "NotoSansCJK-Regular.ttc", "Arial Unicode.ttf", "arial.ttf", "msyh.ttc")
"""Looked for on the machine where Pillow's own font lacks a character."""

Font = ImageFont.FreeTypeFont


@dataclass(frozen=True)
class Shown:
    """An episode in columns: the classes in the order of their labels."""

    number: int
    classes: tuple[str, ...]  # N
    support: Images  # [N, K, C, H, W]
    query: Images  # [N, Q, C, H, W]


def shown_episodes(sampler: EpisodeSampler, bank: ImageBank, count: int) -> Iterator[Shown]:
    """The first episodes of a stream: those that a run of the same split, size and seed sees."""
    for number in range(count):
        block = sampler.block(number, 1)
        support = _columns(block.support[0], block.support_y[0], sampler.ways)  # [N, K]
        query = _columns(block.query[0], block.query_y[0], sampler.ways)  # [N, Q]
        rows = np.searchsorted(bank.starts, support[:, 0], side="right") - 1  # [N]
        names = tuple(str(bank.class_names[row]) for row in rows)
        yield Shown(number, names, _pixels(bank, support), _pixels(bank, query))


def _columns(ids: Ids, labels: Ids, ways: int) -> Ids:
    """Image ids by their labels: [N * R] -> [N, R]."""
    return ids[np.argsort(labels, kind="stable")].reshape(ways, -1)


def _pixels(bank: ImageBank, ids: Ids) -> Images:
    images: Images = bank.gather(ids.reshape(-1)).cpu().numpy()
    return images.reshape(*ids.shape, *images.shape[1:])


@dataclass(frozen=True)
class Layout:
    """The measures of a picture; raises `UsageError` for images of neither 1 nor 3 channels, and for too large a picture."""

    shape: tuple[int, ...]  # C, H, W
    ways: int
    shots: int
    queries: int
    episodes: int

    def __post_init__(self) -> None:
        if self.shape[0] not in (1, 3):
            raise UsageError(f"Images of {self.shape[0]} channels cannot be shown, only grey (1) and RGB (3).")
        width, height = self.size
        if width * height > MOST_PIXELS:
            raise UsageError(
                f"The picture would have {width:,} x {height:,} pixels, more than {MOST_PIXELS:,} in all.\n"
                "Make it smaller: fewer --episodes, --ways, --shots or --queries."
            )

    @property
    def scale(self) -> int:
        """By what factor an image is enlarged."""
        return max(1, round(SIDE / max(self.shape[1:])))

    @property
    def cell(self) -> tuple[int, int]:
        """Width and height of an image and the gap after it."""
        return self.shape[2] * self.scale + GAP, self.shape[1] * self.scale + GAP

    @property
    def height(self) -> int:
        """The height of an episode."""
        return 3 * LINE + (self.shots + self.queries) * self.cell[1] + 3 * GAP + BETWEEN

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the picture."""
        return 2 * MARGIN + ROW_LABEL + self.ways * self.cell[0], MARGIN + 2 * LINE + self.episodes * self.height


def picture(title: str, layout: Layout, episodes: Iterable[Shown]) -> Image.Image:
    """The episodes below one another."""
    canvas = Image.new("RGB", layout.size, PAPER)
    ImageDraw.Draw(canvas).text((MARGIN, MARGIN), printable(title), INK, text_font("", TITLE_SIZE))
    for place, episode in enumerate(episodes):
        _draw_episode(canvas, episode, MARGIN + 2 * LINE + place * layout.height, layout)
    return canvas


def write_png(image: Image.Image, path: Path) -> None:
    """Write a picture; raises `FewshotError` where that cannot be done."""
    with atomic(path) as temporary:
        image.save(temporary, "PNG")


def _draw_episode(canvas: Image.Image, episode: Shown, top: int, layout: Layout) -> None:
    draw, cell, left = ImageDraw.Draw(canvas), layout.cell, MARGIN + ROW_LABEL
    font = text_font("".join(episode.classes))
    draw.text((MARGIN, top), f"episode {episode.number}", PALE, text_font(""))
    top += 3 * LINE
    for column, name in enumerate(episode.classes):
        text = caption(name, font, cell[0] - GAP)
        draw.multiline_text((left + column * cell[0], top), text, INK, font, anchor="ld", spacing=2)
    top += GAP
    for label, images, colour in (("support", episode.support, STRIP), ("queries", episode.query, PAPER)):
        bottom = top + images.shape[1] * cell[1]
        draw.rectangle((MARGIN - GAP, top, left + layout.ways * cell[0], bottom + GAP), colour)
        draw.text((MARGIN, top + GAP), label, INK, text_font(""))
        for column, of_class in enumerate(images):
            for row, image in enumerate(of_class):
                at = left + column * cell[0], top + GAP + row * cell[1]
                canvas.paste(_enlarged(image, layout.scale), at)
        top = bottom + GAP


def _enlarged(image: Images, scale: int) -> Image.Image:
    """An image [C, H, W], each pixel a square of `scale` pixels."""
    pixels = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
    return Image.fromarray(np.ascontiguousarray(pixels.repeat(scale, 0).repeat(scale, 1)))


def caption(name: str, font: Font, width: int) -> str:
    """A class's name in two lines of at most `width` pixels, broken after a separator, without its middle if need be."""
    name = printable(name)
    first = _fitting(name, font, width)
    if first == name:
        return name
    cut = 1 + max(first.rfind(separator) for separator in "/ _-.,")
    first = first[: cut or len(first)]
    rest = name[len(first) :]
    second = _fitting(rest, font, width)
    if second != rest:
        second = "..." + _fitting(rest[::-1], font, width - int(font.getlength("...")) - 1)[::-1]
    return f"{first}\n{second}"


def _fitting(text: str, font: Font, width: int) -> str:
    """The longest beginning of a text that is at most `width` pixels wide."""
    end = 1
    while end <= len(text) and font.getlength(text[:end]) <= width:
        end += 1
    return text[: end - 1]


def text_font(text: str, size: int = TEXT_SIZE) -> Font:
    """Pillow's own font, or another of this machine that has more of a text's characters."""
    return min(_fonts(size), key=lambda font: len(lacking(text, font)))  # the first of those that have as many


def lacking(text: str, font: Font) -> set[str]:
    """The characters that a font lacks: it draws each as the same box."""
    box = _bits("\U0010ffff", font)  # no character, in any font
    return {character for character in set(printable(text)) if _bits(character, font) == box}


def _bits(character: str, font: Font) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(character)
    return mask.size, bytes(mask)


@lru_cache
def _fonts(size: int) -> list[Font]:
    own = ImageFont.load_default(size)
    assert isinstance(own, ImageFont.FreeTypeFont), "load_default of a size"
    found = [own]
    for name in FONTS:
        try:
            found.append(ImageFont.truetype(name, size))
        except OSError:  # not on this machine
            continue
    return found
