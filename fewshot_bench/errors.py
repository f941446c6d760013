"""Errors that a user can cause or meet: one to three lines of text and an exit code, never a traceback."""

from collections.abc import Iterable
from difflib import get_close_matches

from fewshot_bench.printable import LONGEST, printable


class FewshotError(Exception):
    """Base of every error this project raises on purpose; the run itself failed."""

    exit_code = 1

    def __str__(self) -> str:
        """Its lines, whatever the names of files in them hold."""
        return "\n".join(printable(line, LONGEST) for line in super().__str__().split("\n"))


class UsageError(FewshotError):
    """The request cannot be met as it was put: unknown name, wrong type, impossible size."""

    exit_code = 2


class PluginError(FewshotError):
    """A plugin's code raised an exception, or answered with something else than its interface says."""


class TooFewClasses(UsageError):
    """A split has fewer classes than an episode needs, or none."""


class DataError(FewshotError):
    """Data is missing, truncated, altered or unreadable; `damaged` names every file that is, `name (what is wrong)`."""

    exit_code = 3

    def __init__(self, text: str, damaged: Iterable[str] = ()) -> None:
        super().__init__(text)
        self.damaged = tuple(damaged)


def unknown(kind: str, given: str, valid: Iterable[str], see: str = "") -> UsageError:
    """The error for a name that does not exist: what was given, the nearest valid names, the command that lists them."""
    names = sorted(valid)
    near = get_close_matches(given, names, n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(repr(name) for name in near)}?" if near else ""
    known = "" if near and see else f"\nValid: {', '.join(names) or 'none'}."
    return UsageError(f"Unknown {kind} {given!r}.{hint}{known}" + (f"\nSee: {see}" if see else ""))


def few(names: Iterable[str]) -> str:
    """The first three of some names, and how many more there are."""
    names = list(names)
    return ", ".join(map(printable, names[:3])) + (f" and {len(names) - 3:,} more" if len(names) > 3 else "")
