"""Errors that a user can cause or meet: one to three lines of text and an exit code, never a traceback."""

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path

from fewshot_bench.cache import cache_folder
from fewshot_bench.text.printable import LONGEST, printable

NOT_WRITTEN = {errno.ENOSPC, errno.EROFS, getattr(errno, "EDQUOT", errno.ENOSPC)}
"""Reasons of the system that only writing has."""


MOST_LISTED = 30
"""Of more names none is listed where a command lists them."""


class FewshotError(Exception):
    """Base of every error this project raises on purpose; the run itself failed."""

    exit_code = 1

    def __str__(self) -> str:
        """Its lines, safe to print whatever the file names in them hold."""
        return "\n".join(printable(line, LONGEST) for line in super().__str__().split("\n"))


class UsageError(FewshotError):
    """The request cannot be met as it was put: unknown name, wrong type, impossible size."""

    exit_code = 2


class PluginError(FewshotError):
    """A plugin's code raised an exception, or returned something else than its interface says."""


class TooFewClasses(UsageError):
    """A split has fewer classes than an episode needs, or none."""


class DataError(FewshotError):
    """Data is missing, truncated, altered or unreadable; `damaged` names every file that is, `name (what is wrong)`."""

    exit_code = 3

    def __init__(self, text: str, damaged: Iterable[str] = ()) -> None:
        super().__init__(text)
        self.damaged = tuple(damaged)


def reason_of(error: OSError) -> str:
    """What the system says, in a few words on one line."""
    return " ".join((error.strerror or str(error) or type(error).__name__).split())


def of_system(error: OSError) -> FewshotError:
    """The error for what the system refused and no other code explains: the path and the reason.

    Code that writes files has messages of its own, so what comes here was mostly read.
    """
    paths = [os.fsdecode(path) for path in (error.filename, error.filename2) if isinstance(path, str | bytes | os.PathLike)]
    what = f"{' and '.join(paths) or 'a file'}: {reason_of(error)}."
    if any(Path(path).is_relative_to(cache_folder()) for path in paths):
        what += " Set FSBENCH_CACHE to another folder."
    return FewshotError(f"Cannot write {what}") if error.errno in NOT_WRITTEN else DataError(f"Cannot read {what}")


@contextmanager
def system_errors() -> Iterator[None]:
    """Raise whatever the system refuses in the block as a `FewshotError`; also a decorator."""
    try:
        yield
    except OSError as error:
        raise of_system(error) from error


def unknown(kind: str, given: str, valid: Iterable[str], see: str = "") -> UsageError:
    """The error for a name that does not exist: what was given, the nearest valid names, the command that lists them."""
    given, names = str(given), sorted(map(str, valid))
    near = _nearest(given, names)
    hint = f" Did you mean {' or '.join(repr(name) for name in near)}?" if near else ""
    known = "" if see and (near or len(names) > MOST_LISTED) else f"\nValid: {', '.join(names) or 'none'}."
    return UsageError(f"Unknown {kind} {given!r}.{hint}{known}" + (f"\nSee: {see}" if see else ""))


def _nearest(given: str, names: list[str]) -> list[str]:
    """The names that may be meant, at most three: those that differ only in case and hyphens, those that hold what was
    given, those that are spelt alike, those that it shortens (`protonet`)."""
    plain = {name: _plain(name) for name in names}
    wanted = _plain(given)
    if same := [name for name in names if plain[name] == wanted]:
        return same[:3]
    short = [name for name in names if len(wanted) > 3 and wanted[:3] == plain[name][:3] and _shortens(wanted, plain[name])]
    within = [name for name in names if plain[name] in wanted and not short]
    holding = [name for name in names if len(wanted) > 2 and (wanted in plain[name] or name in within)]
    holding.sort(key=lambda name: (not plain[name].startswith(wanted), len(name)))
    alike = get_close_matches(wanted, plain.values(), n=3, cutoff=0.75 if short else 0.6)
    spelt = sorted((name for name in names if plain[name] in alike), key=lambda name: alike.index(plain[name]))
    return list(dict.fromkeys([*holding, *spelt, *short]))[:3]


def _shortens(word: str, name: str) -> bool:
    """Whether the letters of a word stand in a name in this order."""
    letters = iter(name)
    return all(one in letters for one in word)


def _plain(name: str) -> str:
    return "".join(one for one in name.casefold() if one not in "-_ ")


def few(names: Iterable[str]) -> str:
    """The first three of some names, and how many more there are."""
    names = list(names)
    return ", ".join(map(printable, names[:3])) + (f" and {len(names) - 3:,} more" if len(names) > 3 else "")
