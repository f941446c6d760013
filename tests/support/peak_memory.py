"""The peak memory of a run in a process of its own: a fork of one that has imported what runs import and has run nothing."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

from command_line import one_thread

import fewshot_bench
from fewshot_methods.backbones.conv4 import Conv4

IMPORTS = ["fewshot_bench.runs.execution", "fewshot_methods.maml", "scipy.stats", "pyarrow.parquet"]

narrow = partial(Conv4, filters=4, strided=True, scale=False, eps=1e-3)
"""So cheap a backbone that a second sees many episodes, and what grows with them shows."""


def peak_mib(**run: Any) -> float:
    """Peak memory of `fewshot_bench.run(**run)` on one thread [MiB]."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTS)
    with ProcessPoolExecutor(1, context) as process:
        return process.submit(_run, run).result(timeout=100)


def _run(arguments: dict[str, Any]) -> float:
    with one_thread():
        record = fewshot_bench.run(**arguments)
    return float(record.content["cost"]["peak_mib"])
