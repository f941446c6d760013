"""What was measured as a table for people and as JSON."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fewshot_bench.bench.health import floor_ratio, troubles, verdict
from fewshot_bench.bench.machine import Machine
from fewshot_bench.bench.measure import Measured
from fewshot_bench.bench.peer_process import INSTALL, PEER
from fewshot_bench.table import Cell, Column, Table

SCHEMA = 1
COLUMNS = (
    Column("work", "work", "What was timed.", leads=True),
    Column("ours", "per s", "Tasks (MAML training) or episodes per second, the fastest round.", "right", leads=True),
    Column("limit", "limit", "What the measured peaks of the machine would allow.", "right", leads=True),
    Column("share", "of it", "Share of the limit that is reached.", "right", leads=True),
    Column("files", "l2l", "learn2learn's rate, from image files.", "right", leads=True),
    Column("memory", "l2l mem", "learn2learn's rate, with its images in memory.", "right", leads=True),
    Column("ratio_files", "ratio", "Our rate over learn2learn's from files.", "right", leads=True),
    Column("ratio_memory", "mem", "Our rate over learn2learn's from memory.", "right", leads=True),
)


@dataclass(frozen=True)
class Report:
    """One run of `fsbench bench`."""

    machine: Machine
    dataset: str
    short: bool
    works: Sequence[Measured]
    peer: dict[str, Any] | None
    """The versions of the peer and what its files were; None without a peer."""
    no_peer: str
    """Why the peer is missing; "" if it is there."""
    plans: dict[str, dict[str, Any]]
    """The execution plan of each method."""
    environment: dict[str, Any]
    started: str
    finished: str

    def table(self) -> Table:
        """A row for each work."""
        form = "short form" if self.short else "full form"
        title = f"Speed on {self.dataset}, {self.machine.device}, {threads(self.machine)} ({form})"
        return Table(title, COLUMNS, [row(measured) for measured in self.works], list(self._notes()))

    def header(self) -> str:
        """The machine and its peaks."""
        m, versions = self.machine, self.environment["versions"]
        device = "" if m.device == "cpu" else f", {m.device_name}"
        return (
            f"machine   {self.environment['processor'] or 'processor unknown'}{device}\n"
            f"          {threads(m)} on {m.cores} cores, torch {versions['torch']} ({m.capability})\n"
            f"peaks     matrix product {m.matmul_gflops:,.0f} GFLOP/s, convolution {m.conv_gflops:,.0f} GFLOP/s, "
            f"memory {m.bandwidth_gbs:,.0f} GB/s\n"
        )

    def text(self) -> str:
        """For a terminal."""
        return f"{self.header()}\n{self.table().text()}"

    def as_json(self) -> dict[str, Any]:
        """Everything."""
        found = troubles(self.machine, self.works)
        return {
            "schema": SCHEMA,
            "form": "short" if self.short else "full",
            "dataset": self.dataset,
            "machine": self.machine.as_json(),
            "plans": self.plans,
            PEER: self.peer,
            "works": [measured.as_json() for measured in self.works],
            "healthy": not found,
            "troubles": found,
            "provenance": {"started": self.started, "finished": self.finished, **self.environment},
        }

    def _notes(self) -> Iterator[str]:
        yield "per s: tasks (MAML training) or episodes. limit: what the peaks above would allow."
        if self.peer is None:
            yield f"No learn2learn to compare with: {self.no_peer}"
        else:
            about = f"{self.peer[PEER]}, from image files ({self.peer['files']})"
            yield f"l2l: learn2learn {about}; mem: with its images in memory."
        for measured in self.works:
            yield from beside(measured, self.works)
        yield verdict(troubles(self.machine, self.works))


def row(measured: Measured) -> dict[str, Cell]:
    """The cells of one work."""
    cells = {"work": Cell(measured.work.name, measured.work.title), "ours": Cell(measured.rate, number(measured.rate))}
    cells["limit"] = Cell(measured.limit, number(measured.limit))
    cells["share"] = Cell(measured.share, "–" if measured.share is None else f"{measured.share:.0%}")
    for source in ("files", "memory"):
        rate, ratio = measured.peer_rates.get(source), measured.ratios.get(source)
        cells[source] = Cell(rate, number(rate))
        cells[f"ratio_{source}"] = Cell(ratio, number(ratio, "×"))
    return cells


def beside(measured: Measured, works: Sequence[Measured]) -> Iterator[str]:
    """Notes on a work beside its row."""
    ratio = floor_ratio(measured, works)
    if measured.work.beside and ratio is not None:
        yield f"{measured.work.title}: {number(ratio, '×')} learn2learn's test from files, which embeds for each episode."
    for source in measured.work.extras:
        if source in measured.ratios:
            rate, times = number(measured.peer_rates[source]), number(measured.ratios[source], "×")
            yield f"{measured.work.title}: learn2learn's bare {source}, without data, {rate} per s ({times})."


def threads(machine: Machine) -> str:
    """How many."""
    return "1 thread" if machine.threads == 1 else f"{machine.threads} threads"


def number(value: float | None, unit: str = "") -> str:
    """Three digits or more; a dash for none."""
    if value is None:
        return "–"
    return f"{value:,.{0 if value >= 99.95 else 1}f}{unit}"


def missing(reason: str) -> str:
    """The line on a peer that is not there."""
    return f"{reason}. To install it: {INSTALL}"
