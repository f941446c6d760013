"""Output whose failure ends no run: a reader that has gone, a full disk, a closed stream, a code page without a
character."""

import codecs
import io
import os
import select
import sys
from dataclasses import dataclass
from typing import Any, TextIO

PLAIN = {
    "±": "+/-",
    "→": "->",
    "–": "-",
    "—": "-",
    "×": "x",
    "…": "...",
    "‘": "'",
    "’": "'",
    "\N{REPLACEMENT CHARACTER}": "?",
}
"""Characters in our output that a code page may lack, and their replacements."""
SHOWN = "fewshot_bench.shown"
"""The name under which `_shown` is known to codecs."""


class Patient(io.RawIOBase):
    """A raw stream that takes everything. Once the system refuses to write, `failed` says why and the rest is dropped."""

    def __init__(self, raw: Any) -> None:
        self.raw = raw
        self.failed: OSError | None = None

    def writable(self) -> bool:
        """True: it is for output."""
        return True

    def fileno(self) -> int:
        """The file number of the stream that it writes to."""
        return int(self.raw.fileno())

    def isatty(self) -> bool:
        """Whether that is a terminal."""
        return bool(self.raw.isatty())

    def write(self, data: Any) -> int:
        """Write what the system takes at once; all counts as written where it takes no more."""
        try:
            while self.failed is None:
                if (written := self.raw.write(data)) is not None:
                    return int(written)
                select.select([], [self.raw], [])  # a pipe or a terminal that does not wait by itself, and is full
        except OSError as error:
            self.failed = error
        return memoryview(data).nbytes


@dataclass(frozen=True)
class Output:
    """What stdout has become."""

    stream: TextIO
    raw: Patient | None

    def end(self) -> str | None:
        """Write what is left. Returns why output was lost, or None; a reader that has gone does not count."""
        self.stream.flush()
        failed = self.raw.failed if self.raw else None
        return None if failed is None or isinstance(failed, BrokenPipeError) else failed.strerror or str(failed)


def guard() -> Output:
    """Guard stdout and stderr from now on."""
    _hold_standard_files()
    codecs.register_error(SHOWN, _shown)
    sys.stderr, _ = _guarded(sys.stderr)
    sys.stdout, raw = _guarded(sys.stdout)
    return Output(sys.stdout, raw)


def _hold_standard_files() -> None:
    """Open the null device where a standard stream was closed. Otherwise output would go to the next file that is opened."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free, which is this one


def _guarded(stream: TextIO | None) -> tuple[TextIO, Patient | None]:
    if stream is None:  # it was closed when Python started
        return open(os.devnull, "w", encoding="utf-8"), None  # noqa: PTH123 (for as long as the process lives)
    buffer = getattr(stream, "buffer", None)
    if buffer is None:  # a notebook's or a test's
        return stream, None
    stream.flush()
    raw = Patient(getattr(buffer, "raw", buffer))
    lines = bool(getattr(stream, "line_buffering", False)) or raw.isatty()
    return io.TextIOWrapper(io.BufferedWriter(raw), stream.encoding, SHOWN, line_buffering=lines), raw


def _shown(error: UnicodeError) -> tuple[str, int]:
    """The replacement of characters that cannot be encoded: an equivalent in ASCII, else their number."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    part = error.object[error.start : error.end]
    return "".join(PLAIN.get(one) or one.encode("ascii", "backslashreplace").decode() for one in part), error.end
