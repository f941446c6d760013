"""The smallest run of the Python interface, for tests."""

from pathlib import Path

from command_line import TINY, one_thread

import fewshot_bench

SETTINGS = {"updates": 6, "meta_batch_size": 2, "validation.every": 2, "validation.episodes": 4}


def tiny(out: Path, **changes: object) -> fewshot_bench.Record:
    """The run of the command `TINY`."""
    options = {
        "method": TINY[2],
        "protocol": "custom",
        "episodes": 8,
        "queries": 5,
        "settings": SETTINGS,
        "out": out,
        **changes,
    }
    with one_thread():
        return fewshot_bench.run(**options)  # type: ignore[arg-type]
