"""An explanation as one static HTML page, with the pictures of its hardest episodes in it: it asks for nothing else.

All text of records and data sets is escaped by Jinja2, and the page's Content-Security-Policy admits no script.
"""

import base64
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from fewshot_bench.data.bank import Ids, ImageBank
from fewshot_bench.errors import UsageError
from fewshot_bench.results.drawn_queries import DrawnQueries
from fewshot_bench.results.explanation import Explanation, HardEpisode
from fewshot_bench.results.explanation_tables import title_of
from fewshot_bench.storage import atomic
from fewshot_bench.table import Table
from fewshot_bench.text.printable import printable

MOST_IMAGES = 5000
"""On one page."""


def write_page(path: Path, found: Explanation, tables: Sequence[Table], episodes: int) -> None:
    """Write the page of an explanation with the pictures of so many episodes.

    Raises `UsageError` where there are no pictures, or too many, `FewshotError` where the file cannot be written.
    """
    if found.drawn is None or found.drawn.bank is None or found.answers is None:
        raise UsageError("\n".join(["--page shows pictures, which cannot be had.", found.missing[-1]]))
    bank = found.drawn.bank
    probe = bank.gather(np.zeros(1, np.int64))
    if probe.ndim != 4 or probe.shape[1] not in (1, 3):
        shape = "×".join(map(str, probe.shape[1:]))
        raise UsageError(f"--page shows images of 1 or 3 channels; those of this data set are {shape}: leave it out.")
    hardest = found.hardest[:episodes]
    images = sum(block.images.size for block in (found.drawn.episode(one.number) for one in hardest))
    if images > MOST_IMAGES:
        raise UsageError(f"The page would have {images:,} images, more than {MOST_IMAGES:,}: lower --episodes {episodes}.")
    loader = PackageLoader("fewshot_bench.results", ".")
    template = Environment(loader=loader, autoescape=True, undefined=StrictUndefined).get_template("explanation_page.html")
    text = template.render(
        title=printable(title_of(found), 1000),
        episodes=[_shown(one, found, found.drawn, bank) for one in hardest],
        tables=tables,
        missing=[printable(one, 1000) for one in found.missing],
        predicted=found.predictions is not None,
    )
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _shown(one: HardEpisode, found: Explanation, drawn: DrawnQueries, bank: ImageBank) -> dict[str, Any]:
    """An episode for the template: its classes in the order of their labels."""
    assert found.answers is not None, "what is shown was answered"
    block, first = drawn.episode(one.number), int(found.answers.starts[one.number])
    names = [printable(name) for name in one.classes]
    classes: list[dict[str, Any]] = [{"name": name, "support": [], "queries": []} for name in names]
    for label, image in zip(block.support_y[0], _pictures(bank, block.support[0]), strict=True):
        classes[label]["support"].append(image)
    for place, (label, image) in enumerate(zip(block.query_y[0], _pictures(bank, block.query[0]), strict=True)):
        right, said, name = bool(found.answers.right[first + place]), "", ""
        if found.predictions is not None:
            sure = f"{100 * found.predictions.confidence[first + place]:.0f} %"
            answer = int(found.predictions.labels[first + place])
            said, name = sure if right else f"→ {answer + 1}, {sure}", names[answer]
        classes[label]["queries"].append({"right": right, "image": image, "said": said, "name": name})
    return {"number": one.number, "right": one.right, "queries": one.queries, "classes": classes}


def _pictures(bank: ImageBank, ids: Ids) -> list[str]:
    """Images as addresses that hold them."""
    found = []
    for pixels in bank.gather(ids).cpu().numpy():
        content = BytesIO()
        plain = pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)
        Image.fromarray(np.ascontiguousarray(plain)).save(content, "PNG")
        found.append("data:image/png;base64," + base64.b64encode(content.getvalue()).decode())
    return found
