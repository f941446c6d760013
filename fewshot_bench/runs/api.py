"""`fewshot_bench.run`: a run as a Python caller asks for it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from os import PathLike
from typing import Any, SupportsIndex

import torch

from fewshot_bench import arguments
from fewshot_bench.data.several import SEPARATOR
from fewshot_bench.errors import system_errors
from fewshot_bench.learning.base import Method
from fewshot_bench.plugins.faults import plugin_faults_told
from fewshot_bench.request import Request, checked, options
from fewshot_bench.results.records import Record
from fewshot_bench.runs.execution import execute
from fewshot_bench.runs.listener import Listener
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
    sampling: str | None = None,
    test_dataset: str | type | None = None,
    test_data_root: str | PathLike[str] | None = None,
    images: SupportsIndex | None = None,
    threads: SupportsIndex | None = None,
    backbone: str | None = None,
    keep: str | None = None,
) -> Record:
    """Train and test one method under one seed, as `fsbench run` does, and return its record, whose `result`
    is the one of this test: a run that was there may hold others.

    `method`, `dataset` and `test_dataset` are names, `file.py:Class`, or classes; several names of data sets are trained on
    together. A class of a notebook is identified by its source, but no command can make its run again: its record says so.
    `settings` are the `--set` keys, as `{"train.updates": 3}`, `{"train": {"updates": 3}}` or `["train.updates=3"]`; values
    may be numbers and arrays of numpy or torch, lists, tuples and paths. Whole numbers may be numpy's, paths texts or
    `Path`s, the device torch's. `images` is the most images that the training sees.
    `keep="predictions"` keeps each answer of the test too. `threads` None takes what
    `OMP_NUM_THREADS` says, or every core; processes that are forked afterwards compute with one. A second thread of this
    process waits until the first one's run is done. No other thread may change what the method's own module holds meanwhile:
    a check of the test puts it back to what it was. What a user should know (images that were scaled, a run that was there
    already) is logged as a warning of logger `fewshot_bench`.

    Raises `UsageError` for a request that cannot be met, `DataError` for data that is missing or damaged, `FewshotError`
    where the run fails.
    """
    given = dict(locals())  # by name, as `Request` has them
    if not isinstance(dataset, str | type) and isinstance(dataset, Sequence):
        given["dataset"] = SEPARATOR.join(arguments.word("a name in dataset", one) for one in dataset)
    asked = {name: given[name] for name in options(Request)}
    classes = {name: one for name, one in asked.items() if isinstance(one, type)}
    request = replace(checked(Request, asked), classes=classes)
    with plugin_faults_told(), system_errors():
        record, result = execute(request, resolve(request), arguments.path("out", out), on_existing, Listener())
    return replace(record, asked=result["id"])
