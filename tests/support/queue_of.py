"""`python queue_of.py WORK NAME …`: a queue of runs of these names, as `make.py --queue` runs one, of `fake_fsbench.py`."""

import sys
from pathlib import Path

from training_queue import trainings
from training_queue.give_way import pause_reason
from training_queue.loop import Places, Queue
from training_queue.plan import Planned


def job(name: str, *tests: str, missing: str = "") -> Planned:
    """A job whose run's folder has that name, with further tests of these ids."""
    options = tuple(("--id", one) for one in tests)
    return Planned(name, ("--method", name), options, name, 100, ("first", *tests), missing=missing)


def places(work: Path) -> Places:
    """Where the runs of a queue below `work` lie, its records and states."""
    return Places(work, work / "results", work / "kept")


if __name__ == "__main__":
    here, *names = sys.argv[1:]
    fake = str(Path(__file__).with_name("fake_fsbench.py"))
    trainings.fsbench = lambda: (sys.executable, "-S", fake)
    pause = pause_reason(Path(here) / "LOCK", None)
    jobs = [job(name, "second") for name in names]
    sys.exit(Queue(jobs, places(Path(here)), nice=1, pause=pause, poll_s=0.05).run())
