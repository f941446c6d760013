"""A copy of a data set's files whose images are inverted."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from fewshot_bench.audit.verdicts import Skip
from fewshot_bench.data.dataset import Dataset

MOST_BYTES, MOST_FILES = 200_000_000, 20_000
"""Of what is copied: an audit takes seconds."""


@contextmanager
def other_pixels(dataset: Dataset) -> Iterator[Path]:
    """The root of a changed copy, while the block lasts; raises `Skip` where there are no files that can be changed."""
    root = dataset.root
    source = root if dataset.own_root else dataset.found()
    if root is None or source is None or not source.exists():
        raise Skip("it reads no files from a folder that could be changed")
    files = [path for path in sorted(source.rglob("*")) if path.is_file()] if source.is_dir() else [source]
    if len(files) > MOST_FILES or sum(path.stat().st_size for path in files) > MOST_BYTES:
        raise Skip(f"its files are more than {MOST_FILES:,}, or larger than {MOST_BYTES / 1e6:,.0f} MB: not copied")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / (source.relative_to(root) if source.is_relative_to(root) and source != root else "root")
        if source.is_file() and source == root:
            copy = Path(folder) / source.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, copy)
        copies = [copy / path.relative_to(source) for path in files] if source.is_dir() else [copy]
        if not sum(map(_inverted, copies)):
            raise Skip("none of its files is an image or an array that could be changed")
        yield copy if source == root else Path(folder)


def _inverted(path: Path) -> bool:
    """Whether a file's pixels could be inverted, which is done."""
    if path.suffix == ".npy":
        return _inverted_array(path)
    try:
        with Image.open(path) as image:
            kind, pixels = image.format, image.convert("L" if image.mode in ("1", "L") else "RGB")
        ImageOps.invert(pixels).save(path, format=kind)
    except (UnidentifiedImageError, OSError, ValueError):
        return False
    return True


def _inverted_array(path: Path) -> bool:
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError):
        return False
    if array.dtype != np.uint8 or array.ndim < 3:  # of labels, or of values of another meaning
        return False
    np.save(path, 255 - array)
    return True
