"""Where the archives of data sets lie: below a data root, or in the cache, where `fsbench data get` fetches them.

No run fetches one by itself but Omniglot's, which does where there is no data root and it was not imported.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fewshot_bench.cache import cache_folder
from fewshot_bench.dataset import absent, data_root, not_there
from fewshot_bench.errors import DataError


@dataclass(frozen=True)
class Download:
    """An archive at its authors' address. Data sets made of the same archive share it."""

    folder: str
    """Its folder in the cache, below `downloads`."""
    name: str
    url: str
    md5: str

    def place(self) -> Path:
        """The folder where it lies once it was fetched."""
        return cache_folder() / "downloads" / self.folder

    def fetch(self) -> Path:
        """Its path, after it was fetched unless it is there whole; raises `DataError` where that fails."""
        import pooch  # here, because it takes a moment and every run imports this module

        place = self.place().absolute()  # in one that begins with `~` pooch would read a home
        try:
            kept = pooch.retrieve(self.url, f"md5:{self.md5}", self.name, place, progressbar=True)
        except (OSError, ValueError) as error:  # no network, a full disk; another file than expected
            reason = " ".join(str(error).split())[:160]
            raise DataError(
                f"{self.name} could not be downloaded: {self.url}\n{type(error).__name__}: {reason}\n"
                f"Try again, or fetch it by other means and put it into {self.place()}."
            ) from error
        return Path(kept)


def check_root(root: Path | None) -> None:
    """Raises `DataError` where a data root does not exist, or cannot be read. One of FSBENCH_DATA that does not exist is one
    without files: the data set may lie elsewhere, or be prepared."""
    if root is None or (wrong := not_there(root)) is None:
        return
    if root != data_root(None):
        raise DataError(f"The data root {root} cannot be read ({wrong.strerror}).\nIt was given by --data-root.")
    if not isinstance(wrong, FileNotFoundError | NotADirectoryError):
        raise absent(root, "")


def below(root: Path | None, folders: Iterable[str]) -> list[Path]:
    """A data set's folders below a data root, and the root; none without one."""
    return [*(root / folder for folder in folders), root] if root else []
