"""The episodes of a result drawn again, and the class of each of its queries.

They count only if they have the digest that the record states. Names and images of the classes are there where the data set
is prepared; the episodes themselves follow from the record, unless an older version wrote it.

Legend: E episodes, A answers (the queries of all episodes, in the order of the stream), N ways.
"""

import shlex
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from fewshot_bench.data.bank import Ids, ImageBank
from fewshot_bench.data.choice import DataChoice
from fewshot_bench.data.dataset import Dataset
from fewshot_bench.data.prepare import open_prepared
from fewshot_bench.episodes.sampling import EpisodeIndices, digest_of
from fewshot_bench.episodes.size import EpisodeSize
from fewshot_bench.episodes.varying import sampler_of
from fewshot_bench.errors import DataError, FewshotError, UsageError
from fewshot_bench.inputs.plain_yaml import assignment
from fewshot_bench.plugins import registry
from fewshot_bench.request import TestRequest
from fewshot_bench.results.drawn_episodes import episodes_of, outline_of, test_split
from fewshot_bench.results.records import Record
from fewshot_bench.results.rerun_command import keeping
from fewshot_bench.text.printable import printable


@dataclass(frozen=True)
class DrawnQueries:
    """The queries of a test: which image each is, and which class of the test split it belongs to."""

    names: tuple[str, ...]
    """The classes of the test split."""
    starts: Ids
    """The first image of each class, and the number of images [classes + 1]."""
    blocks: tuple[EpisodeIndices, ...]
    bank: ImageBank | None
    """The images of the test split; None where they are not here."""
    unnamed: str = ""
    """Why classes have numbers in the place of names, and what mends it."""

    @cached_property
    def classes(self) -> Ids:
        """The class of each query [A], as its place in the test split."""
        return np.concatenate([self._of(block.query).reshape(-1) for block in self.blocks])

    @cached_property
    def by_label(self) -> list[Ids]:
        """For each episode the class of each of its labels [E][N]."""
        found = []
        for block in self.blocks:
            table = np.empty((len(block), block.ways), np.int64)
            np.put_along_axis(table, block.support_y, self._of(block.support), 1)
            found += list(table)
        return found

    def episode(self, number: int) -> EpisodeIndices:
        """One episode, in a block of its own."""
        for block in self.blocks:
            if number < len(block):
                at = slice(number, number + 1)
                return EpisodeIndices(
                    block.support[at], block.support_y[at], block.query[at], block.query_y[at], block.key[at]
                )
            number -= len(block)
        raise IndexError(number)

    def _of(self, images: Ids) -> Ids:
        return np.searchsorted(self.starts, images, side="right") - 1


def draw_queries(record: Record, result: Mapping[str, Any], given: TestRequest) -> DrawnQueries:
    """Draw the episodes of a result again: from the data set of its test, which has names and images, or else from the
    record alone (`drawn_episodes`).

    `given` may name a data set that is not installed, and the folders of data. Raises `UsageError` or `DataError`, which say
    what is missing and how it is mended.
    """
    try:
        bank = _test_bank(record, result, given)
        return DrawnQueries(tuple(bank.class_names), bank.starts, _blocks(record, result, bank), bank)
    except (DataError, registry.NotInstalled) as error:
        outline = outline_of(test_split(record, result))
        try:
            blocks = tuple(episodes_of(record, result))
        except FewshotError:  # an older record
            raise error from None
        assert outline is not None, "episodes were drawn from it"
        names = tuple(f"class {place}" for place in range(len(outline.starts) - 1))
        return DrawnQueries(names, outline.starts, blocks, None, " ".join(str(error).split()))


def _blocks(record: Record, result: Mapping[str, Any], bank: ImageBank) -> tuple[EpisodeIndices, ...]:
    """The episodes as they are drawn from the data set that is here; raises `DataError` where they are others."""
    test = result["test"]
    blocks: tuple[EpisodeIndices, ...] = ()
    with suppress(UsageError):  # too few classes, or images
        blocks = tuple(sampler_of(bank, EpisodeSize.of(test), test["seed"]).blocks(0, test["episodes"]))
    if digest_of(blocks) != result["digest"]:
        root = "--test-data-root" if "data" in result else "--data-root"
        raise DataError(
            f"The classes or images of {printable(test['dataset'])} here are not those that {record.run_id} was tested on.\n"
            f"Say where those lie: {root} DIR."
        )
    return blocks


def _test_bank(record: Record, result: Mapping[str, Any], given: TestRequest) -> ImageBank:
    """The test split of the data set that a result was tested on, prepared before."""
    train = record.content["train"]
    named = _choice(train["dataset"], record.content["data"], given.dataset, "--dataset")
    dataset, choice = named.build(train["data"], given.data_root), named
    if "data" in result:
        choice = _choice(result["data"]["name"], result["data"], given.test_dataset or given.dataset, "--test-dataset")
        dataset = choice.build_like(dataset, result["test"]["data"], given.data_root, given.test_data_root)
    assert isinstance(dataset, Dataset), "functions have no classes"
    if (ready := open_prepared(choice.name, dataset)) is None:
        settings = [word for key, value in dataset.stated.items() for word in ("--set", assignment(key, value))]
        command = shlex.join(["fsbench", "data", "get", choice.reference, *settings])
        raise DataError(
            f"The images of {printable(choice.name)} are not prepared here, so that its classes have no "
            f"names.\nPrepare them: {printable(command, 1000)} (where they lie elsewhere, --data-root DIR)"
        )
    return ready.bank("test")


def _choice(name: str, recorded: Mapping[str, Any], given: str | None, option: str) -> DataChoice:
    """The data set that a record names: one that is installed, or that a person names now."""
    if not registry.is_uninstalled(name):
        try:
            return DataChoice.of(name)
        except UsageError as error:  # a plugin that is not here
            raise DataError(str(error)) from None
    if given is None:
        raise registry.NotInstalled(
            f"The data set {printable(name)} is not installed, and is never imported on a record's word.\n"
            f"If you trust it, name it: {option} {shlex.quote(printable(recorded.get('reference', name)))}"
        )
    if registry.name_of(given) != registry.name_of(name):
        raise UsageError(f"{option} is {printable(given)}, but the record's data set is {printable(name)}.")
    return DataChoice.of(given)


def no_answers(record: Record, result: Mapping[str, Any]) -> FewshotError:
    """The error for a result that does not say which queries were answered right."""
    return DataError(
        f"{printable(record.folder.name, 1000)} does not say which queries of result {result['id']} were answered right: an "
        f"older version made it.\nAdd that: {printable(keeping(record.folder, record.content, result), 1000)}"
    )
