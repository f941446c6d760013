"""The cache folder, for what can be made again: prepared data sets, downloads, compiled kernels."""

import os
from pathlib import Path

NOWHERE = Path(os.devnull) / "this user has no home folder"
"""The cache of a user who has no place for one: it is empty, and writing to it fails as in any folder that cannot be
written."""


def cache_folder() -> Path:
    """`FSBENCH_CACHE`, or the user's cache folder; `NOWHERE` for a user without a home."""
    if given := os.environ.get("FSBENCH_CACHE"):
        return Path(given)
    import pooch

    try:
        folder = Path(pooch.os_cache("fewshot-bench"))
    except RuntimeError:  # what platformdirs raises; older ones leave `~` as it is
        return NOWHERE
    return folder if folder.is_absolute() else NOWHERE
