"""Makes the published records: `FSBENCH_DATA=... python leaderboard/results/make.py [--only TEXT] [--jobs N]`.

Each run is trained below `--work` (weights stay there) on one core, as many at once as `--jobs` says; its record, episode
scores and learning curve are copied here. What is finished is not run again, what was stopped or killed goes on.

`--papers` makes those of the papers' own recipes in their place, at full length under the papers' own protocols: hours of an
accelerator (`--device cuda`), days without one. `--queue` does so beside other work: in the order of value
(`training_queue/order.py`), at the lowest priority, without what is published already. It gives way while `--lock FILE` is
there or while `--pause-while COMMAND` succeeds: its trainings save their states and end, and go on later. They are not
stopped where they are (SIGSTOP), because a stopped process keeps its memory and its clock runs on into the record's training
time. Ctrl-C and SIGTERM end them in the same way. `--follow-tag PATTERN` moves to newer tags between two jobs.

`--status` prints what is done, running and to come, and the time left. `--save-states` keeps the states of unfinished jobs
in `leaderboard/queue/`, to be committed, from where a new machine goes on. `--cut-short` ends the unfinished jobs of
`--only` early, each as a run of its own that tables call "n % of its updates".
"""

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from training_queue.give_way import pause_reason
from training_queue.loop import Places, Queue
from training_queue.plan import Planned, asked_for, planned, printed
from training_queue.states import save
from training_queue.status import queues, report
from training_queue.tags import Worktree, root_of

if TYPE_CHECKING:
    from training_queue.jobs import Job
    from training_queue.order import Line

HERE = Path(__file__).resolve().parent
KEPT = HERE.parent / "queue"
LOWEST = 19
"""The lowest priority that `nice` has."""


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="jobs whose words hold this text, such as 'maml omniglot'")
    parser.add_argument("--jobs", type=int, default=1, help="trainings at once, each on a core of its own")
    parser.add_argument("--work", type=Path, default=Path("runs/published"), help="where runs and their weights lie")
    parser.add_argument("--papers", action="store_true", help="the papers' own recipes in place of the short ones")
    parser.add_argument("--device", default="cpu", help="what to train on")
    parser.add_argument("--list", action="store_true", help="print the jobs; run nothing")
    parser.add_argument("--queue", action="store_true", help="the papers' recipes by value, beside other work")
    parser.add_argument("--lock", type=Path, metavar="FILE", help="give way while this file is there")
    parser.add_argument("--pause-while", metavar="COMMAND", help="give way while this shell command ends with 0")
    parser.add_argument("--follow-tag", metavar="PATTERN", help="move to newer tags like this between jobs: 'queue-*'")
    parser.add_argument("--status", action="store_true", help="print where the queue stands; run nothing")
    parser.add_argument("--save-states", action="store_true", help="keep small states in leaderboard/queue/; run nothing")
    parser.add_argument("--cut-short", action="store_true", help="end the unfinished jobs of --only early")
    parser.add_argument("--print-plan", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.papers |= given.queue or given.status or given.save_states or given.cut_short
    if given.jobs < 1:
        parser.error("--jobs must be at least 1")
    if given.cut_short and not given.only:
        parser.error("--cut-short ends trainings early: say which with --only")
    return given


def plan(given: argparse.Namespace) -> list[Planned]:
    """The jobs that were asked for, resolved."""
    return [planned(job, given.device, line.tier, line.hours) for job, line in wanted(given)]


def wanted(given: argparse.Namespace) -> "list[tuple[Job, Line]]":
    """The jobs that were asked for: the short ones in any order, the papers' by value."""
    from training_queue.jobs import papers, short
    from training_queue.order import REST, by_value

    jobs = by_value(papers()) if given.papers else [(job, REST) for job in short()]
    return [(job, line) for job, line in jobs if given.only in job.name]


def main() -> int:
    """Do what was asked for."""
    given = arguments()
    if given.print_plan:
        print(printed(plan(given)))
        return 0
    if given.list:
        print("\n".join(job.name for job, _ in wanted(given)))
        return 0
    places = Places(given.work, HERE, KEPT)
    if given.status and (running := queues(given.work)):
        every = {one["folder"] or one["training"]: Planned.read(one) for queue in running for one in queue["jobs"]}
        print(report(list(every.values()), places, running))
        return 0
    if not os.environ.get("FSBENCH_DATA"):
        sys.exit("Set FSBENCH_DATA to a folder with Omniglot's and CIFAR-FS's archives.")
    pause = pause_reason(given.lock, given.pause_while)
    worktree = Worktree(root_of(HERE), given.follow_tag, given.work) if given.follow_tag else None
    if worktree:
        worktree.check()
    jobs = asked_for(__file__, sys.argv[1:])
    if given.status:
        print(report(jobs, places, []))
        return 0
    if given.save_states:
        print("\n".join(save(jobs, given.work, KEPT, HERE)) or "There is no state to save.")
        return 0
    if given.cut_short:
        from training_queue.cut_short import cut_short

        jobs, said = cut_short(jobs, given.work, given.device)
        print("\n".join(said) or f"No unfinished training of {given.only!r} is in {given.work}.")
    nice = LOWEST if given.queue or given.cut_short else 0
    queue = Queue(jobs, places, given.jobs, nice, ("--device", given.device), not given.queue, pause, worktree)
    return queue.run()


if __name__ == "__main__":
    sys.exit(main())
