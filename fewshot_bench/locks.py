"""One process at a time makes a folder (prepared images, or a run), and one thread of a process computes."""

import errno
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def only_one(folder: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Keep other processes from making the same folder meanwhile; `waiting` is called where another is at it.

    The lock ends with its process, however that ends; a file system without locks keeps nobody away. Raises `OSError` where
    the folder's parent cannot be written.
    """
    from filelock import FileLock, Timeout

    locks = folder.parent / ".locks"  # empty files, which stay: to delete one that another waits for would be a race
    locks.mkdir(parents=True, exist_ok=True)
    lock = FileLock(locks / folder.name)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        waiting()
        lock.acquire()
    except NotImplementedError:  # what filelock makes of ENOSYS
        pass
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP):
            raise
    try:
        yield
    finally:
        lock.release()


_turn = threading.RLock()


def _renewed() -> None:
    """In a forked process, where the thread that holds the lock is none of its threads."""
    global _turn
    _turn = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renewed)


@contextmanager
def one_thread_at_a_time() -> Iterator[None]:
    """Let no other thread of this process compute meanwhile: torch's generator, its number of threads, its precision and the
    choice of kernels are the process's. A thread may enter twice. Locks of folders are taken inside, never around it."""
    with _turn:
        yield
