"""Who makes a run: one owner at a time, also where processes of several machines share the folder.

A claim is a folder `claim-N` in the run's folder `.sweep`. To make a folder is exclusive on every file system; a lock is
not, as some network file systems grant it to everybody. The owner writes a new heartbeat every `BEAT_S`. Whoever has seen
the same heartbeat for `TAKE_OVER_S`, by its own clock, or knows that the owner's process has ended, makes `claim-N+1`. The
former owner, should it come back, finds that and writes nothing more (`fewshot_bench.fence`).
"""

import json
import os
import platform
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fewshot_bench import fence
from fewshot_bench.storage import lives, not_written

FOLDER = ".sweep"
"""What sweeps keep in a run's folder, and in the folder of the records."""
BEAT_S = 15.0
TAKE_OVER_S = 180.0
"""Network file systems may show a file as it was up to a minute ago."""
RELEASED = "released"
BEAT = "beat"


@dataclass
class Claim:
    """A run that this process may make."""

    folder: Path
    token: str
    beaten: float
    """When its last heartbeat was, by this process's clock."""

    @property
    def variable(self) -> str:
        """The value of `fence.VARIABLE` for the process that makes the run."""
        return f"{self.token}@{self.folder.absolute()}"

    def is_held(self) -> bool:
        """Whether nobody has taken it over."""
        return fence.is_held(self.folder, self.token)

    def beat(self) -> bool:
        """Show that the owner lives, where it is time to; False where it is found that the claim is lost."""
        if time.monotonic() - self.beaten < BEAT_S:
            return True
        self.beaten = time.monotonic()
        with suppress(OSError):  # a full disk: others may take over, which is noticed
            (self.folder / BEAT).write_text(os.urandom(8).hex(), encoding="utf-8")
        return self.is_held()

    def release(self) -> None:
        """Let others have it at once; does nothing where it is lost."""
        if self.is_held():
            with suppress(OSError):
                (self.folder / RELEASED).touch()
            for number in fence.numbers(self.folder.parent)[:-1]:  # of nobody any more
                shutil.rmtree(self.folder.with_name(f"claim-{number}"), ignore_errors=True)


@dataclass
class Claims:
    """The claims of this process, and what it has seen of others'."""

    take_over_s: float = TAKE_OVER_S
    seen: dict[Path, tuple[str, float]] = field(default_factory=dict)
    """A claim's last heartbeat, and since when it is the same."""

    def take(self, run: Path) -> Claim | None:
        """The claim of a run's folder, or None where another process has it. Raises `FewshotError` where it cannot be
        written."""
        folder = run / FOLDER
        try:
            folder.mkdir(parents=True, exist_ok=True)
            held = fence.numbers(folder)
            if held and not self._is_free(folder / f"claim-{held[-1]}"):
                return None
            claim = Claim(folder / f"claim-{(held or [0])[-1] + 1}", os.urandom(8).hex(), time.monotonic())
            try:
                claim.folder.mkdir()
            except FileExistsError:  # another was faster
                return None
            owner = {"token": claim.token, "process": os.getpid(), **_here(os.getpid())}
            (claim.folder / BEAT).write_text(claim.token, encoding="utf-8")
            (claim.folder / fence.OWNER).write_text(json.dumps(owner), encoding="utf-8")
        except OSError as error:
            raise not_written(Path(error.filename or folder), error) from error
        return claim if claim.is_held() else None

    def _is_free(self, claim: Path) -> bool:
        """Whether the latest claim of a run binds nobody any more."""
        if (claim / RELEASED).exists() or _has_ended(claim):
            return True
        beat = _text(claim / BEAT)
        before, since = self.seen.get(claim, (None, 0.0))
        if before != beat:
            self.seen[claim] = beat, time.monotonic()
            return False
        return time.monotonic() - since >= self.take_over_s


def _text(path: Path) -> str:
    with suppress(OSError, UnicodeDecodeError):
        return path.read_text(encoding="utf-8")
    return ""


def _has_ended(claim: Path) -> bool:
    """Whether the owner was a process of this machine that has ended."""
    try:
        owner = json.loads(_text(claim / fence.OWNER))
        process = owner["process"]
        here = _here(process)
        return owner["machine"] == here["machine"] and (not lives(process) or owner["began"] != here["began"])
    except (ValueError, LookupError, TypeError):  # it is being written, or never was
        return False


def _here(process: int) -> dict[str, Any]:
    """This machine since it was started and within this container, and when a process of it began: numbers of processes are
    used again."""
    machine = [platform.node()]
    with suppress(OSError):
        machine += [_text(Path("/proc/sys/kernel/random/boot_id")).strip(), str(Path("/proc/self/ns/pid").readlink())]
    fields = _text(Path(f"/proc/{process}/stat")).rpartition(")")[2].split()
    return {"machine": " ".join(machine), "began": fields[19] if len(fields) > 19 else ""}
