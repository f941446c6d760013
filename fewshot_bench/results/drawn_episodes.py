"""Which classes and images stand in the test episodes of a result, drawn again from its record alone.

Episodes are a pure function of the structure of the split, their size and seed (`episodes.sampling`). The record's digest
proves that those drawn here are those that were tested on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from fewshot_bench.data.bank import Ids
from fewshot_bench.data.choice import DataChoice
from fewshot_bench.data.dataset import Dataset
from fewshot_bench.episodes.sampling import EpisodeIndices, digest_of
from fewshot_bench.episodes.size import EpisodeSize
from fewshot_bench.episodes.varying import sampler_of
from fewshot_bench.errors import FewshotError
from fewshot_bench.metrics import is_regression
from fewshot_bench.plugins import registry
from fewshot_bench.results.data_parts import Drawn, NoDataInterval
from fewshot_bench.results.record_models import MOST_CLASSES

if TYPE_CHECKING:
    from fewshot_bench.results.records import Record


MOST_IMAGES = 2**27
"""Of all test episodes of a result, with those that stand in several: a record is a stranger's, and may state any number."""
ANEW = "Records of this version do: run it again (fsbench run with --on-existing overwrite)."


@dataclass
class Outline:
    """A split without its images and names: what decides its episodes."""

    starts: Ids  # [classes + 1]
    structure_id: str
    class_names: Sequence[str] = ()

    def gather(self, ids: Ids) -> Tensor:
        """There are no images here."""
        raise NotImplementedError("a record has no images")


def test_split(record: "Record", result: Mapping[str, Any]) -> dict[str, Any]:
    """What a record says of the split that a result was tested on; {} where it says nothing."""
    data = result.get("data", record.content["data"])
    return dict(data.get("splits", {}).get("test", {}))


def outline_of(split: Mapping[str, Any]) -> Outline | None:
    """The split that a record states; None where it does not state the sizes of its classes."""
    if (sizes := split.get("class_sizes")) is None:
        classes, images = split.get("classes", 0), split.get("images", 0)
        if not 0 < classes <= MOST_CLASSES or images % classes:
            return None
        sizes = [images // classes] * classes  # so it was, if the digest agrees
    return Outline(np.concatenate([[0], np.cumsum(sizes)]), split["structure_id"])


def episodes_of(record: "Record", result: Mapping[str, Any]) -> list[EpisodeIndices]:
    """The test episodes of a result in blocks, in their order, as they were drawn.

    Raises `NoDataInterval` where the record does not hold what decides them, which is so for functions, and for some records
    that an earlier version wrote.
    """
    blocks, digest = redrawn(record, result)
    if digest != result["digest"]:
        raise NoDataInterval(
            "The episodes that follow from the record are not those of its digest: the classes of its test split differ in "
            f"size, which it does not state. {ANEW}"
        )
    return blocks


def redrawn(record: "Record", result: Mapping[str, Any]) -> tuple[list[EpisodeIndices], str]:
    """The episodes that follow from the split that a record states, in blocks, and their digest, which is the result's where
    the record is right and complete. No blocks and "" where no such split could give them. Raises as `episodes_of`."""
    if is_regression(result["metric"]):
        raise NoDataInterval("Functions have neither classes nor images.")
    outline = outline_of(test_split(record, result))
    if outline is None:
        raise NoDataInterval(f"The record does not state how many images each class of the test split has. {ANEW}")
    test = result["test"]
    size = EpisodeSize.of(test)
    if size.images * test["episodes"] > MOST_IMAGES:
        raise NoDataInterval(f"The test episodes show more than {MOST_IMAGES:,} images, which are not drawn again.")
    return _drawn(tuple(outline.starts.tolist()), outline.structure_id, size, test["seed"], test["episodes"])


@lru_cache(maxsize=16)
def _drawn(
    starts: tuple[int, ...], structure: str, size: EpisodeSize, seed: int, count: int
) -> tuple[list[EpisodeIndices], str]:
    outline = Outline(np.array(starts), structure, [f"class {number}" for number in range(len(starts) - 1)])
    try:
        blocks = list(sampler_of(outline, size, seed).blocks(0, count))
    except FewshotError:  # no such split could have given them
        return [], ""
    return blocks, digest_of(blocks)


def drawn_of(record: "Record", result: Mapping[str, Any]) -> Drawn:
    """The classes and images of each test episode of a result; raises `NoDataInterval` where they cannot be had."""
    if EpisodeSize.of(result["test"]).varies:
        raise NoDataInterval("The episodes differ in size, and with it in difficulty.")
    blocks, split = episodes_of(record, result), test_split(record, result)
    outline = outline_of(split)
    assert outline is not None, "episodes were drawn from it"
    related = _related(result["test"], split)
    images = np.concatenate([block.images for block in blocks])  # [E, I]
    of_class = np.searchsorted(outline.starts, images, "right") - 1
    classes = np.sort(of_class)
    first = np.ones(classes.shape, bool)
    first[:, 1:] = classes[:, 1:] != classes[:, :-1]
    each = classes[first].reshape(len(classes), -1)  # [E, N]
    if related == 1:
        return Drawn(each, images)
    drawings = outline.starts[of_class // related * related] + images - outline.starts[of_class]  # the turns of one are one
    return Drawn(each // related, drawings)


def _related(test: Mapping[str, Any], split: Mapping[str, Any]) -> int:
    """How many classes that follow each other are made of one source."""
    if "related" in split:
        return int(split["related"])
    try:  # a record from before it was stated
        with registry.only_installed():  # a record's word imports nothing
            dataset = DataChoice.of(test["dataset"]).build(test["data"], None)
    except FewshotError:  # not installed here
        return 1
    return dataset.related if isinstance(dataset, Dataset) else 1
