"""What the commands of `fsbench data` have in common: a data set as it was asked for, prepared under a progress bar."""

from pathlib import Path
from typing import Any

from fewshot_bench.cli.progress import Bars
from fewshot_bench.data.choice import load_dataset
from fewshot_bench.data.dataset import Dataset, absent, data_root, root_of, stale_environment
from fewshot_bench.data.functions import FunctionFamily
from fewshot_bench.data.prepare import Prepared, open_prepared, prepare
from fewshot_bench.data.verification import Verification, verify
from fewshot_bench.errors import DataError
from fewshot_bench.plugins import registry
from fewshot_bench.plugins.registry import Plugin
from fewshot_bench.recipes import each_once, read_setting


def asked_for(name: str, settings: list[str] | None, root: Path | None) -> tuple[Plugin, Dataset | FunctionFamily]:
    """A data set with its options, at a data root."""
    plugin = registry.find("datasets", name)
    loaded = load_dataset(plugin)
    return plugin, loaded(options(settings), root_of(loaded, root))


def refuse_stale(given: Path | None) -> None:
    """Raises `DataError` if files are to be found through FSBENCH_DATA and it names nothing that is there."""
    if given is None and stale_environment():
        raise absent(data_root(None), "")


def options(settings: list[str] | None) -> dict[str, Any]:
    """Options of a data set by their keys, given as `side=84` or `data.side=84`."""
    return each_once((key.removeprefix("data."), value) for key, value in map(read_setting, settings or ()))


def prepared(plugin: Plugin, dataset: Dataset) -> Prepared:
    """The prepared data set, which is prepared first if need be."""
    if ready := open_prepared(plugin.name, dataset):
        return ready
    with Bars(plugin.name) as bars:
        return prepare(plugin.name, dataset, bars.preparing(plugin.name), bars.note)


def verified(plugin: Plugin, dataset: Dataset) -> Verification:
    """The whole data set, read again."""
    with Bars(plugin.name) as bars:
        return verify(plugin.name, dataset, bars.preparing(plugin.name, "verifying"))


def prepared_from(path: Path, plugin: Plugin, dataset: Dataset) -> Prepared:
    """The data set prepared from what lies at `path`, which is read as a whole even if it was prepared before.

    Raises `DataError` where it is not there or damaged, or was prepared from other images.
    """
    dataset.imported = None  # an earlier import must not stand in for what is given now
    if (found := dataset.found()) and not _related(found.absolute(), path.absolute()):  # nor must a download
        raise DataError(f"{path} does not hold {plugin.name}. It was found in {found}, where it needs no import.")
    if not (ready := open_prepared(plugin.name, dataset)):
        return prepared(plugin, dataset)
    result = verified(plugin, dataset)
    if not result.whole:
        other = f"{plugin.name} was prepared from other images, or is damaged since: delete {ready.folder}."
        raise DataError(result.error or other, result.damaged)
    return ready


def _related(one: Path, other: Path) -> bool:
    return one.is_relative_to(other) or other.is_relative_to(one)
