"""learn2learn in a process of its own, as its users run it. Otherwise the settings that fewshot-bench makes for its whole
process (how glibc keeps freed memory) would speed it up too.
"""

import io
import multiprocessing
import signal
import sys
import traceback
import warnings
from collections.abc import Sequence
from contextlib import redirect_stderr, suppress
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fewshot_bench.errors import FewshotError

PEER = "learn2learn"
INSTALL = (
    "pip install gym requests torchvision tqdm && "
    "pip install --no-deps -C--build-option=build_ext learn2learn==0.2.0 (needs a C compiler)"
)


class PeerError(FewshotError):
    """learn2learn's process failed."""


def installed() -> bool:
    """Whether learn2learn is there to be imported."""
    return find_spec(PEER) is not None


def versions() -> dict[str, str | None]:
    """The versions of the peer and of what it reads images with."""
    return {name: _version(name) for name in (PEER, "torchvision")}


class PeerProcess:
    """learn2learn, seen from here; as a context it ends with it. Raises `PeerError` where it fails."""

    def __init__(self, device: str, threads: int, train: Sequence[Sequence[Path]], test: Sequence[Sequence[Path]]) -> None:
        self.connection, there = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        self.process = context.Process(target=serve, args=(there, device, threads, train, test), daemon=True)
        self.process.start()
        there.close()  # so that the end of the process is the end of the connection

    def started(self) -> Self:
        """Itself, once it is ready to be asked."""
        try:
            self._answer()
        except BaseException:
            self.close()
            raise
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the process, which has nothing to put away."""
        self.process.kill()
        self.process.join()

    def rate(self, work: str, source: str, count: int) -> float:
        """Units per second, measured now."""
        with suppress(BrokenPipeError):  # it has ended: its last answer can be read, or the end of the stream
            self.connection.send((work, source, count))
        return count / float(self._answer())

    def _answer(self) -> Any:
        try:
            answer = self.connection.recv()
        except (EOFError, ConnectionError):
            raise PeerError("learn2learn's process has ended.") from None
        if isinstance(answer, str):
            raise PeerError(f"learn2learn's process failed: {answer}")
        return answer


def serve(
    connection: Connection, device: str, threads: int, train: Sequence[Sequence[Path]], test: Sequence[Sequence[Path]]
) -> None:
    """Body of the process: answers (work, source, count) with seconds, or with the text of what went wrong."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this process
    sys.stdout = sys.stderr  # where learn2learn prints its warnings
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):  # it and what it imports warn meanwhile
            warnings.simplefilter("ignore")
            from fewshot_bench.bench.peer import Peer
        peer = Peer(device, threads, train, test)
        connection.send(True)
        while True:
            connection.send(peer.seconds(*connection.recv()))
    except EOFError:  # the parent has gone
        return
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        connection.send(f"{type(error).__name__}: {error} ({Path(where.filename).name}, line {where.lineno})")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
