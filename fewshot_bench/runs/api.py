"""`fewshot_bench.run`: a run as a Python caller asks for it."""

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, SupportsIndex

import torch

from fewshot_bench import arguments
from fewshot_bench.data.several import SEPARATOR
from fewshot_bench.errors import UsageError, system_errors
from fewshot_bench.learning.base import Method
from fewshot_bench.plugins import registry
from fewshot_bench.plugins.faults import plugin_faults_told
from fewshot_bench.results.records import Record
from fewshot_bench.runs.execution import execute
from fewshot_bench.runs.listener import Listener
from fewshot_bench.runs.requests.request import Request
from fewshot_bench.runs.requests.resolve import resolve
from fewshot_bench.runs.retest import OnExisting
from fewshot_bench.threads import one_thread_at_a_time


@one_thread_at_a_time()
@system_errors()
def run(
    method: str | type[Method],
    ways: SupportsIndex | None = None,
    shots: SupportsIndex = 1,
    *,
    dataset: str | type | Sequence[str] = "glyphs",
    protocol: str | None = None,
    recipe: str | PathLike[str] | None = None,
    settings: Mapping[str, Any] | Sequence[str] | None = None,
    seed: SupportsIndex = 0,
    device: str | torch.device = "auto",
    data_root: str | PathLike[str] | None = None,
    out: str | PathLike[str] = "runs",
    on_existing: OnExisting = "reuse",
    queries: SupportsIndex | None = None,
    episodes: SupportsIndex | None = None,
    test_dataset: str | type | None = None,
    test_data_root: str | PathLike[str] | None = None,
    images: SupportsIndex | None = None,
    threads: SupportsIndex | None = None,
    backbone: str | None = None,
) -> Record:
    """Train and test one method under one seed, as `fsbench run` does, and return its record.

    `method`, `dataset` and `test_dataset` are names, `file.py:Class`, or classes; several names of data sets are trained on
    together. A class of a notebook is identified by its source, but no command can make its run again: its record says so.
    `settings` are the `--set` keys, as `{"train.updates": 3}`, `{"train": {"updates": 3}}` or `["train.updates=3"]`; values
    may be numbers and arrays of numpy or torch, lists, tuples and paths. Whole numbers may be numpy's, paths texts or
    `Path`s, the device torch's. `images` is the most images that the training sees. `threads` None takes what
    `OMP_NUM_THREADS` says, or every core; processes that are forked afterwards compute with one. A second thread of this
    process waits until the first one's run is done. No other thread may change what the method's own module holds meanwhile:
    a check of the test puts it back to what it was. What a user should know (images that were scaled, a run that was there
    already) is logged as a warning of logger `fewshot_bench`.

    Raises `UsageError` for a request that cannot be met, `DataError` for data that is missing or damaged, `FewshotError`
    where the run fails.
    """
    if not isinstance(dataset, str | type) and isinstance(dataset, Sequence):
        dataset = SEPARATOR.join(arguments.word("a name in dataset", one) for one in dataset)
    classes = {"method": method, "dataset": dataset, "test_dataset": test_dataset}
    classes = {name: one for name, one in classes.items() if isinstance(one, type)}
    request = Request(
        method=_reference("method", method),
        dataset=_reference("dataset", dataset),
        ways=None if ways is None else arguments.whole("ways", ways),
        shots=arguments.whole("shots", shots),
        protocol=None if protocol is None else arguments.word("protocol", protocol),
        queries=None if queries is None else arguments.whole("queries", queries),
        episodes=None if episodes is None else arguments.whole("episodes", episodes),
        recipe=None if recipe is None else str(arguments.path("recipe", recipe)),
        settings=arguments.settings(settings),
        seed=arguments.whole("seed", seed),
        device=_device(device),
        data_root=None if data_root is None else arguments.path("data_root", data_root),
        test_dataset=None if test_dataset is None else _reference("test_dataset", test_dataset),
        test_data_root=None if test_data_root is None else arguments.path("test_data_root", test_data_root),
        images=None if images is None else arguments.whole("images", images),
        threads=None if threads is None else arguments.whole("threads", threads),
        classes=classes,  # type: ignore[arg-type]
        backbone=None if backbone is None else arguments.word("backbone", backbone),
    )
    with plugin_faults_told(), system_errors():
        return execute(request, resolve(request), arguments.path("out", out), on_existing, Listener())[0]


def _device(one: Any) -> str:
    """The name of a device; there is one CPU, whatever number torch gives it."""
    if isinstance(one, torch.device):
        return str(one) if one.type == "cuda" else one.type
    return arguments.word("device", one)


def _reference(name: str, one: Any) -> str:
    """How a record names a method or data set that was given by name or as a class."""
    if isinstance(one, type):
        plugin = registry.find("methods" if name == "method" else "datasets", one)
        return plugin.reference if ":" in plugin.name else plugin.name
    if not isinstance(one, str | PathLike):
        raise UsageError(f"{name} must be a name or a class, got {arguments.shown(one)}.")
    return arguments.word(name, one) if isinstance(one, str) else str(one)
