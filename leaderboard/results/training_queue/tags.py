"""A queue in a git worktree of its own, which moves to a newer tag while nothing trains there."""

import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

RECORDS, STATES = "leaderboard/results/", "leaderboard/queue/"
"""What a queue itself changes in its worktree: it copies records there, and deletes states."""


class Worktree:
    """The checkout at `root` that a queue runs from. `pattern` names the tags that it follows, `work` is where runs lie, and
    `install` installs the checkout again."""

    def __init__(self, root: Path, pattern: str, work: Path, install: Callable[[Path], None] | None = None) -> None:
        self.root, self.pattern, self.work = root, pattern, work
        self.install = install or reinstall

    @property
    def lock(self) -> Path:
        """Held, shared, by each training from this checkout: none moves it meanwhile."""
        return Path(self._git("rev-parse", "--absolute-git-dir").strip()) / "training-queue.lock"

    def check(self) -> None:
        """Refuse a worktree with changes that are not the queue's own; raises `SystemExit`."""
        if other := [path for path in self._changed() if not self._is_ours(path)]:
            more = f" and {len(other) - 1} more" if len(other) > 1 else ""
            raise SystemExit(
                f"--follow-tag: {other[0]}{more} in {self.root}: changes that are not committed would be lost.\n"
                "Commit them, or start the queue in a worktree of its own: git worktree add --detach ../queue TAG"
            )

    def newer(self) -> str | None:
        """The newest tag of the pattern that builds on the checkout; None where there is none."""
        later = ("--contains", "HEAD", "--no-merged", "HEAD")
        tags = self._git("tag", "--list", self.pattern, *later, "--sort=-creatordate").split()
        return tags[0] if tags else None

    def move(self, tag: str) -> None:
        """Check a tag out, and install anew what its `pyproject.toml` says otherwise; raises `SystemExit` where it cannot,
        with the checkout as it was."""
        self.check()
        before = self._git("rev-parse", "HEAD").strip()
        held = set(self._git("ls-tree", "-r", "-z", "--name-only", tag, "--", RECORDS).split("\0"))
        for path in (path for path in self._changed() if path in held):
            (self.root / path).unlink(missing_ok=True)  # a copy: the run is below `work`
        self._git("reset", "--quiet", "--hard")  # states that were deleted; what else has changed was refused above
        self._git("checkout", "--quiet", "--detach", tag)
        try:
            if self._git("diff", "--name-only", before, "HEAD", "--", "pyproject.toml"):
                self.install(self.root)
        except (OSError, subprocess.CalledProcessError) as error:
            self._git("checkout", "--quiet", "--detach", before)
            raise SystemExit(f"--follow-tag: {tag} cannot be installed ({error}); the worktree is where it was.") from None

    def _changed(self) -> list[str]:
        lines = self._git("status", "--porcelain", "-z", "--untracked-files=all").split("\0")
        return [line[3:] for line in lines if line[2:3] == " "]

    def _is_ours(self, path: str) -> bool:
        """Whether a changed file is a state's, or of a record that was copied from a run below `work`."""
        folder = path.removeprefix(RECORDS).partition("/")[0]
        copied = path.startswith(RECORDS) and (self.work / folder / "record.json").is_file()
        return copied or path.startswith(STATES)

    def _git(self, *arguments: str) -> str:
        asked = ["git", "-C", str(self.root), *arguments]
        done = subprocess.run(asked, check=False, capture_output=True, text=True)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise SystemExit(f"--follow-tag: git {arguments[0]} failed in {self.root}: {last}")
        return done.stdout


def reinstall(root: Path) -> None:
    """Install the worktree again into the environment that runs this: entry points and requirements may have changed."""
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--editable", str(root)], check=True)


def root_of(folder: Path) -> Path:
    """The checkout that a folder lies in; raises `SystemExit` where it lies in none."""
    with suppress(OSError):
        asked = ["git", "-C", str(folder), "rev-parse", "--show-toplevel"]
        done = subprocess.run(asked, check=False, capture_output=True, text=True)
        if done.returncode == 0:
            return Path(done.stdout.strip())
    raise SystemExit(f"--follow-tag: {folder} is in no git checkout.")
