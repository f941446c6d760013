"""The whole of `fsbench bench`: data, machine, both sides, every work."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fewshot_bench.bench.data import Say, image_files, open_data
from fewshot_bench.bench.machine import best, measure_machine
from fewshot_bench.bench.measure import Measured, measure
from fewshot_bench.bench.ours import Ours, OurWork
from fewshot_bench.bench.peer_process import PeerError, PeerProcess, installed, versions
from fewshot_bench.bench.report import Report, missing, number
from fewshot_bench.bench.works import Work
from fewshot_bench.runs.plan import resolve_device
from fewshot_bench.runs.provenance import environment, now


@dataclass(frozen=True)
class Wanted:
    """What a user asks of `bench`."""

    works: Sequence[Work]
    dataset: str | None = None
    root: Path | None = None
    device: str = "auto"
    short: bool = False
    with_peer: bool = True


@dataclass(frozen=True)
class Bench:
    """Both sides, ready to be timed."""

    ours: Ours
    peer: PeerProcess | None
    about_peer: dict[str, Any] | None
    no_peer: str


@contextmanager
def ready(wanted: Wanted, say: Say) -> Iterator[Bench]:
    """Open the data and both sides; raises `UsageError` or `DataError` before any work."""
    device = resolve_device(wanted.device)
    name, dataset, prepared = open_data(wanted.dataset, wanted.root, say)
    with TemporaryDirectory(prefix="fsbench-") as temporary:
        folder = Path(temporary)
        ours = Ours(name, prepared, device, wanted.root, folder / "ours")
        threads = ours.prototypical.plan.threads
        if not wanted.with_peer or not installed():
            reason = "left out (--no-peer)." if not wanted.with_peer else missing("it is not installed")
            yield Bench(ours, None, None, reason)
            return
        say("Making learn2learn ready.")
        files = {split: image_files(dataset, prepared, split, folder, say) for split in ("train", "test")}
        try:
            peer = PeerProcess(device, threads, files["train"][0], files["test"][0]).started()
        except PeerError as error:
            yield Bench(ours, None, None, missing(str(error)))
            return
        with peer:
            yield Bench(ours, peer, {**versions(), "files": files["test"][1]}, "")


def run_bench(wanted: Wanted, say: Say) -> Report:
    """Measure each work on both sides, and the machine before and after."""
    started = now()
    with ready(wanted, say) as bench:
        device, threads = bench.ours.device, bench.ours.prototypical.plan.threads
        say("Measuring this machine.")
        before = measure_machine(device, threads)
        timed: list[tuple[Measured, OurWork]] = []
        for work in wanted.works:
            say(f"{work.title}: {work.about}.")
            ours = bench.ours.work(work.name)
            timed.append((measure(work, work.counts(wanted.short), ours, bench.peer), ours))
            say(f"  {number(timed[-1][0].rate)} {work.unit}/s")
        machine = best(before, measure_machine(device, threads))
        return Report(
            machine=machine,
            dataset=bench.ours.dataset,
            short=wanted.short,
            works=[replace(one, limit=ours.limit(machine, one.counts.ours)) for one, ours in timed],
            peer=bench.about_peer,
            no_peer=bench.no_peer,
            plans=bench.ours.plans(),
            environment=environment(),
            started=started,
            finished=now(),
        )
