"""Where what can be made again is kept: prepared data sets, downloads, compiled kernels."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """`FSBENCH_CACHE`, or the user's cache folder."""
    if given := os.environ.get("FSBENCH_CACHE"):
        return Path(given)
    import pooch

    return Path(pooch.os_cache("fewshot-bench"))
