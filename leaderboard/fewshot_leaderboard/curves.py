"""Learning curves as SVG: small multiples, a panel for each family of methods, in which the other families are grey.

A line's colour and dash differ within its panel, and its name stands at its end. The same curves give the same bytes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from markupsafe import escape

from fewshot_bench.text.printable import printable
from fewshot_leaderboard.learning_curves import Curve

FAMILIES = {
    "Metrics and closed forms": (
        *("matching-networks", "prototypical-networks", "relation-networks", "r2d2", "metaoptnet-ridge"),
        "l2l-prototypical-networks",
    ),
    "Gradient-based": ("maml", "fomaml", "anil", "reptile", "meta-sgd", "t-net", "mt-net", "l2l-maml", "l2l-meta-sgd"),
    "Learned learners": ("lstm-meta-learner", "snail", "tcml"),
    "Features of all classes": (
        *("baseline", "baseline++", "logistic-regression", "simpleshot", "nearest-neighbour-features"),
    ),
}
OTHERS = "Other methods"
MOST = 12
"""Named lines of a panel; what is more stays grey."""
LONGEST = 27
"""Characters of a name."""

WIDTH, HEIGHT = 450, 300
LEFT, RIGHT, TOP, BOTTOM = 40, 176, 48, 44
GAP, HEAD, FOOT = 12, 40, 28
LINE = 13  # pixels from a name to the next
COLOURS = 5
DASHES = ("", " dash", " dots")
STEPS = ((1,), (1, 3), (1, 2, 5), (1, 2, 3, 4, 6, 8))
"""Ticks of the axis of images: some of these times powers of ten."""
TRANSDUCTIVE = "† Queries normalise each other in its validations."
NO_VALIDATION = "Open circle: it trains without validations; the accuracy of its test."

FIGURES = {"omniglot": "Omniglot, 5-way 1-shot", "cifar-fs": "CIFAR-FS, 5-way 1-shot"}
"""Data sets that have a figure, and its title."""


@dataclass(frozen=True)
class Axes:
    """What all panels of a figure share: images on a log axis, accuracies in percent."""

    images: tuple[float, float]
    accuracies: tuple[float, float]

    @classmethod
    def around(cls, curves: Sequence[Curve]) -> "Axes":
        """The axes that hold every point."""
        points = [point for curve in curves for point in (*curve.points, curve.end)]
        seen, scores = [point[0] for point in points], [point[1] for point in points]
        low, high = math.floor(min(scores) / 5) * 5, math.ceil(max(scores) / 5) * 5
        return cls((min(seen) / 1.15, max(seen) * 1.15), (low, max(high, low + 5)))

    def x(self, images: float) -> float:
        """The horizontal pixel of a number of images."""
        low, high = map(math.log, self.images)
        return LEFT + (WIDTH - LEFT - RIGHT) * (math.log(images) - low) / (high - low)

    def y(self, accuracy: float) -> float:
        """The vertical pixel of an accuracy in percent."""
        low, high = self.accuracies
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (accuracy - low) / (high - low)

    @property
    def image_ticks(self) -> list[float]:
        """Round numbers of images on the axis."""
        low, high = self.images
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        every = [[tick for d in decades for step in steps if low <= (tick := step * 10.0**d) <= high] for steps in STEPS]
        return next((ticks for ticks in every if len(ticks) > 2), every[-1])

    @property
    def accuracy_ticks(self) -> list[int]:
        """Round accuracies on the axis."""
        low, high = map(int, self.accuracies)
        step = next(step for step in (5, 10, 20) if (high - low) / step <= 6)
        return [tick for tick in range(0, 101, step) if low <= tick <= high]


def panels(curves: Sequence[Curve]) -> list[tuple[str, str]]:
    """The title and the SVG of each family's panel; none where there is no curve."""
    if not curves:
        return []
    axes = Axes.around(curves)
    known = {label: family for family, labels in FAMILIES.items() for label in labels}
    grouped = {family: [one for one in curves if known.get(_base(one), OTHERS) == family] for family in (*FAMILIES, OTHERS)}
    return [(family, _panel(family, own, curves, axes)) for family, own in grouped.items() if own]


def figure(title: str, curves: Sequence[Curve]) -> str:
    """One SVG file of all panels, two in a row, with its style; it fits a light and a dark page."""
    drawn = panels(curves)
    rows = math.ceil(len(drawn) / 2)
    width, height = 2 * WIDTH + 3 * GAP, HEAD + rows * (HEIGHT + GAP) + FOOT * bool(notes(curves))
    style = files("fewshot_leaderboard").joinpath("templates", "curves.css").read_text(encoding="utf-8")
    places = [(GAP + (WIDTH + GAP) * (place % 2), HEAD + (HEIGHT + GAP) * (place // 2)) for place in range(len(drawn))]
    nested = [
        svg.replace("<svg ", f'<svg x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" ', 1)
        for (x, y), (_, svg) in zip(places, drawn, strict=True)
    ]
    said = escape(" ".join(notes(curves)))
    footer = [f'<text class="note" x="{2 * GAP}" y="{height - 14}">{said}</text>'] if said else []
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" class="curves" viewBox="0 0 {width} {height}" role="img">',
            f"<title>{escape(title)}</title>",
            f"<desc>{escape(description(curves))}</desc>",
            f"<style>\n{style}</style>",
            f'<rect class="sheet" width="{width}" height="{height}"/>',
            f'<text class="heading" x="{2 * GAP}" y="27">{escape(title)}</text>',
            *nested,
            *footer,
            "</svg>\n",
        ]
    )


def description(curves: Sequence[Curve]) -> str:
    """The ends of all curves in words, the best first."""
    ends = sorted(curves, key=lambda curve: (-curve.end[1], curve.label))
    return "; ".join(f"{_name(one)} {one.end[1]:.1f} % after {one.end[0]:,.0f} images" for one in ends) + "."


def notes(curves: Sequence[Curve]) -> list[str]:
    """What the marks in a figure of these curves mean."""
    transductive = [TRANSDUCTIVE] if any(one.transductive for one in curves) else []
    return [*transductive, *([NO_VALIDATION] if any(not one.points for one in curves) else [])]


def _base(curve: Curve) -> str:
    """A method without the setting that makes it another one in the literature."""
    return curve.label.partition(",")[0]


def _name(curve: Curve) -> str:
    return printable(curve.label.replace(": true", ""), LONGEST) + (" †" if curve.transductive else "")


def _panel(family: str, own: Sequence[Curve], every: Sequence[Curve], axes: Axes) -> str:
    named = sorted(own, key=lambda curve: (-curve.end[1], curve.label))[:MOST]
    ends = dict(zip((one.label for one in named), spread([axes.y(one.end[1]) for one in named]), strict=True))
    lines = [_named(one, place, ends[one.label], axes) for place, one in enumerate(named)]
    return "\n".join(
        [
            f'<svg class="curves" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(family)}">',
            f'<rect class="sheet" width="{WIDTH}" height="{HEIGHT}"/>',
            f'<text class="name" x="{LEFT}" y="18">{escape(family)}</text>',
            *_grid(axes),
            *[_grey(one, axes) for one in every if one not in named],
            *lines[::-1],  # the best on top
            "</svg>",
        ]
    )


def _grid(axes: Axes) -> list[str]:
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    parts = [f'<text class="tick" x="{LEFT}" y="{TOP - 9}">accuracy on validation episodes, %</text>']
    for accuracy in axes.accuracy_ticks:
        y = f"{axes.y(accuracy):.1f}"
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 6}" y="{y}" dy="4" text-anchor="end">{accuracy}</text>')
    for images in axes.image_ticks:
        x = f"{axes.x(images):.1f}"
        parts.append(f'<line class="grid" x1="{x}" x2="{x}" y1="{TOP}" y2="{bottom}"/>')
        parts.append(f'<text class="tick" x="{x}" y="{bottom + 15}" text-anchor="middle">{_short(images)}</text>')
    middle = (LEFT + right) / 2
    parts.append(
        f'<text class="tick" x="{middle:.0f}" y="{bottom + 32}" text-anchor="middle">training images seen (log axis)</text>'
    )
    return parts


def _short(images: float) -> str:
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if images >= unit:
            return f"{images / unit:g}{name}"
    return f"{images:g}"


def _path(curve: Curve, axes: Axes) -> str:
    return "M" + "L".join(f"{axes.x(images):.1f} {axes.y(accuracy):.1f}" for images, accuracy in curve.points)


def _grey(curve: Curve, axes: Axes) -> str:
    if len(curve.points) > 1:
        return f'<path class="rest" d="{_path(curve, axes)}"/>'
    return f'<circle class="rest-dot" cx="{axes.x(curve.end[0]):.1f}" cy="{axes.y(curve.end[1]):.1f}" r="2.5"/>'


def _named(curve: Curve, place: int, label_y: float, axes: Axes) -> str:
    x, y = axes.x(curve.end[0]), axes.y(curve.end[1])
    dash = DASHES[place // COLOURS]
    parts = [f'<g class="c{place % COLOURS}">']
    if len(curve.points) > 1:
        parts.append(f'<path class="line{dash}" d="{_path(curve, axes)}"/>')
    shape = "dot" if curve.points else "ring"
    parts += [
        f'<path class="lead" d="M{x:.1f} {y:.1f}L{WIDTH - RIGHT + 2} {y:.1f}L{WIDTH - RIGHT + 10} {label_y:.1f}"/>',
        f'<circle class="{shape}" cx="{x:.1f}" cy="{y:.1f}" r="{3 if curve.points else 4}"/>',
        f'<text x="{WIDTH - RIGHT + 13}" y="{label_y:.1f}" dy="4">{escape(_name(curve))}</text>',
        "</g>",
    ]
    return "".join(parts)


def spread(wanted: Sequence[float]) -> list[float]:
    """Vertical places of names in the order of `wanted`, which ascends: a line apart, within the plot, each block of names
    about the middle of its wishes."""
    blocks: list[tuple[float, int]] = []  # sum of the wishes for a block's first name, and how many names it has
    for one in wanted:
        total, count = one, 1
        while blocks and _top(*blocks[-1]) + LINE * blocks[-1][1] > _top(total, count):
            before, names = blocks.pop()
            total, count = before + total - LINE * names * count, names + count
        blocks.append((total, count))
    return [_top(total, count) + LINE * place for total, count in blocks for place in range(count)]


def _top(total: float, count: int) -> float:
    """The place of a block's first name, so that the block lies within the plot."""
    return max(float(TOP), min(total / count, HEIGHT - BOTTOM - LINE * (count - 1.0)))
