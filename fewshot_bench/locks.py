"""One process at a time makes a folder: prepared images, or a run."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def only_one(folder: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Keep other processes from making the same folder meanwhile; `waiting` is called where another is at it.

    The lock ends with its process, however that ends. Raises `OSError` where the folder's parent cannot be written.
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
    try:
        yield
    finally:
        lock.release()
