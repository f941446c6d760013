"""How often a run has died, and why it has failed: kept in its folder, so that a sweep which is started again knows."""

from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from fewshot_bench.errors import DataError, FewshotError
from fewshot_bench.inputs.strict_json import read_json
from fewshot_bench.storage import write_json
from fewshot_bench.sweeps.claims import FOLDER

MOST_DEATHS = 3
"""After so many the run has failed."""
LARGEST = 2**20


@dataclass
class Attempts:
    """What became of the attempts at one result of a run."""

    deaths: list[str] = field(default_factory=list)
    """The signal of each attempt that was killed, in their order; ends of the sweep itself are none."""
    failed: str = ""
    """Why the run has failed; empty while it has not."""
    count: int = 0
    """Attempts that were begun."""

    @property
    def is_final(self) -> bool:
        """Whether it has died too often to be tried again."""
        return len(self.deaths) >= MOST_DEATHS

    @classmethod
    def read(cls, run: Path, result: str) -> "Attempts":
        """Those of a run's folder; none where nothing readable is kept."""
        with suppress(OSError, DataError, FewshotError, TypeError):
            content = read_json(_path(run, result), LARGEST)
            return cls(**content) if isinstance(content, dict) else cls()
        return cls()

    def write(self, run: Path, result: str) -> None:
        """Keep them; raises `FewshotError`."""
        write_json(_path(run, result), asdict(self))


def log_of(run: Path, result: str) -> Path:
    """Where what a run says is kept."""
    return run / FOLDER / f"{result}.log"


def _path(run: Path, result: str) -> Path:
    return run / FOLDER / f"{result}.json"
