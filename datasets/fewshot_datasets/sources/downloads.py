"""Archives at their authors' addresses, which `fsbench data get` fetches into the cache.

Only Omniglot is also fetched by a run itself, if there is no data root and it was not imported.
"""

from dataclasses import dataclass
from pathlib import Path

from fewshot_bench.cache import cache_folder
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
        """Its path. It is fetched unless it is there whole; raises `DataError` where that fails."""
        import pooch  # here, because it takes a moment and every run imports this module

        place = self.place().absolute()  # pooch would take a path that begins with `~` for a home
        try:
            kept = pooch.retrieve(self.url, f"md5:{self.md5}", self.name, place, progressbar=True)
        except (OSError, ValueError) as error:  # no network, a full disk; another file than expected
            reason = " ".join(str(error).split())[:160]
            raise DataError(
                f"{self.name} could not be downloaded: {self.url}\n{type(error).__name__}: {reason}\n"
                f"Try again, or download it yourself and put it into {self.place()}."
            ) from error
        return Path(kept)
