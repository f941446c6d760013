"""A data set that is a few pickles, in a folder or an archive."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fewshot_bench.data.files.source_files import BROKEN, Files
from fewshot_bench.errors import DataError
from fewshot_datasets.sources.content_hash import content_hash
from fewshot_datasets.sources.pickled_arrays import read_pickle


@dataclass(frozen=True)
class StoredPickles:
    """Some files, each under a key."""

    files: Files
    place: Path
    """Where the user has them."""
    names: Mapping[str, str]
    """The name of each file, by its key. Their order counts for the identity."""

    def identity(self) -> str:
        """A hash of their content."""
        return f"pickles-{content_hash(self.files, self.place, self.names.values())}"

    def read(self, key: str) -> Any:
        """What a pickle holds; raises `DataError` where it is damaged, or asks for anything but data."""
        try:
            with self.files.stream(self.names[key]) as file:
                return read_pickle(file, self.called(key))
        except BROKEN as error:
            raise DataError(f"{self.called(key)} cannot be read ({error}). Copy or download it again.") from error

    def called(self, key: str) -> str:
        """The name of a file in an error."""
        return str(self.place / self.names[key]) if self.place.is_dir() else f"{self.names[key]} in {self.place}"
