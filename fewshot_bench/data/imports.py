"""What `fsbench data import` was given: where a data set's files lie, kept in the cache beside the prepared images."""

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from fewshot_bench.cache import cache_folder
from fewshot_bench.errors import FewshotError
from fewshot_bench.storage import atomic


@dataclass(frozen=True)
class Import:
    """One import: its source, which `variant` of the data set that is, and the identity that it was given."""

    path: Path
    variant: str
    identity: str


def find_import(name: str) -> Import | None:
    """The import of data set `name`, if there is one."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        held = json.loads(_file(name).read_text(encoding="utf-8"))
        return Import(Path(held["path"]), str(held["variant"]), str(held["identity"]))
    return None


def remember(name: str, made: Import) -> None:
    """Keep an import for later runs; raises `FewshotError` where the cache cannot be written."""
    with atomic(_file(name)) as temporary:
        temporary.write_text(json.dumps(asdict(made) | {"path": str(made.path.absolute())}, indent=1), encoding="utf-8")


def forget(name: str) -> None:
    """Forget an import; raises `FewshotError` where the cache cannot be written."""
    try:
        _file(name).unlink(missing_ok=True)
    except OSError as error:
        raise FewshotError(f"Cannot delete {_file(name)}: {error.strerror}.") from error


def _file(name: str) -> Path:
    return cache_folder() / "imports" / f"{name.replace(':', '-').replace('/', '-')}.json"
