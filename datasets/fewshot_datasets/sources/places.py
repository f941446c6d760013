"""Where the files of a data set may lie below a data root, and the error if they do not."""

from collections.abc import Iterable
from pathlib import Path

from fewshot_bench.data.dataset import absent, data_root, not_there
from fewshot_bench.errors import DataError


def check_root(root: Path | None) -> None:
    """Raises `DataError` where a data root does not exist or cannot be read. If FSBENCH_DATA names one that does not exist,
    it counts as a root without files: the data set may lie elsewhere, or be prepared."""
    if root is None or (wrong := not_there(root)) is None:
        return
    if root != data_root(None):
        raise DataError(
            f"The data root {root} does not exist or cannot be read ({wrong.strerror}).\nIt was given by --data-root."
        )
    if not isinstance(wrong, FileNotFoundError | NotADirectoryError):
        raise absent(root, "")


def below(root: Path | None, folders: Iterable[str]) -> list[Path]:
    """A data set's folders below a data root, and the root; none without one."""
    return [*(root / folder for folder in folders), root] if root else []


def not_found(title: str, root: Path | None, places: Iterable[Path], wanted: str) -> DataError:
    """The error for a data set whose files are in none of its places; `wanted` says what they are and how to get them."""
    looked = f"No {title} in {' or '.join(map(str, places))}" if root else f"{title} is not here"
    return absent(root, f"{looked}: {wanted}")
