"""Rounds in turn, the fastest after the warm-up, and what a report says of them."""

from dataclasses import dataclass, field, replace
from typing import cast

import pytest

from fewshot_bench.bench import health, report
from fewshot_bench.bench.limits import CONV4_64, LayerSeconds, Peaks
from fewshot_bench.bench.machine import Machine, best
from fewshot_bench.bench.measure import Measured, measure
from fewshot_bench.bench.peer_process import PeerProcess
from fewshot_bench.bench.works import WORKS, Counts, Work, chosen
from fewshot_bench.errors import UsageError

MACHINE = Machine(
    device="cpu",
    device_name="cpu",
    capability="AVX512",
    cores=2,
    threads=2,
    matmul_gflops=300.0,
    matmul_one_thread_gflops=150.0,
    conv_gflops=290.0,
    bandwidth_gbs=20.0,
    layers=tuple(LayerSeconds(1e-5, 3e-5) for _ in CONV4_64),
)
TEST = WORKS["prototypical-test"]


@dataclass
class Fake:
    """Both sides: ours takes the given seconds a unit, round by round; the peer one unit a second from files, two from
    memory."""

    seconds_a_unit: list[float] = field(default_factory=lambda: [0.01, 0.4, 0.2, 0.8])
    calls: list[tuple[str, int]] = field(default_factory=list)

    def seconds(self, count: int) -> float:
        """Ours."""
        self.calls.append(("ours", count))
        return count * self.seconds_a_unit.pop(0)

    def limit(self, peaks: Peaks, count: int) -> float:
        """Not asked while it is timed."""
        raise AssertionError

    def rate(self, work: str, source: str, count: int) -> float:
        """The peer's."""
        self.calls.append((source, count))
        return {"files": 1.0, "memory": 2.0}[source]


def measured(work: Work = TEST, rounds: int = 3, with_peer: bool = True) -> tuple[Measured, Fake]:
    """A work measured on the fakes."""
    fake = Fake()
    peer = cast(PeerProcess, fake) if with_peer else None
    return replace(measure(work, Counts(ours=50, peer=4, rounds=rounds, warm_up=5), fake, peer), limit=10.0), fake


def test_rounds_go_in_turn_and_the_first_is_a_warm_up() -> None:
    """learn2learn from files, from memory, then we; we warm up on fewer where the work says so."""
    _, fake = measured(rounds=2)
    one = [("files", 4), ("memory", 4), ("ours", 50)]
    assert fake.calls == [("files", 4), ("memory", 4), ("ours", 5), *one, *one]


def test_a_rate_is_that_of_the_fastest_round_after_the_warm_up() -> None:
    """2.5, 5 and 1.25 a second after a warm-up at 100."""
    found, _ = measured()
    assert found.ours == pytest.approx((100, 2.5, 5, 1.25))
    assert found.rate == pytest.approx(5)
    assert found.ratios == pytest.approx({"files": 5.0, "memory": 2.5})
    assert found.share == pytest.approx(0.5)


def test_further_rounds_count_on_both_sides() -> None:
    """Without their warm-up; what was the fastest stays it."""
    first = Measured(TEST, TEST.short, (9.0, 2.0, 3.0), {"files": (9.0, 1.0, 2.0)})
    second = Measured(TEST, TEST.short, (9.0, 4.0, 1.0), {"files": (9.0, 1.5, 1.0)})
    both = first.with_rounds_of(second)
    assert (both.ours, both.peer) == ((9.0, 2.0, 3.0, 4.0, 1.0), {"files": (9.0, 1.0, 2.0, 1.5, 1.0)})
    assert both.ratios == {"files": 2.0}


def test_without_the_peer_the_rest_is_measured() -> None:
    """There are dashes in its columns."""
    found, fake = measured(with_peer=False)
    assert {who for who, _ in fake.calls} == {"ours"}
    cells = {key: cell.text for key, cell in report.row(found).items()}
    assert [cells[key] for key in ("files", "memory", "ratio_files", "ratio_memory")] == ["–"] * 4
    assert (cells["ours"], cells["limit"], cells["share"]) == ("5.0", "10.0", "50%")


def test_the_floor_of_scoring_speaks_of_the_test_that_embeds() -> None:
    """Its own row compares ready embeddings with ready embeddings."""
    test, scoring = measured()[0], measured(WORKS["scoring"])[0]
    assert scoring.ratios == pytest.approx({"memory": 2.5})
    assert health.floor_ratio(scoring, [test, scoring]) == pytest.approx(5.0)
    assert health.floor_ratio(scoring, [scoring]) is None


def test_the_better_of_two_measurements_counts() -> None:
    """Figure by figure."""
    other = replace(MACHINE, conv_gflops=310.0, bandwidth_gbs=15.0, layers=(LayerSeconds(2e-5, 2e-5),) * 4)
    found = best(MACHINE, other)
    assert (found.conv_gflops, found.bandwidth_gbs, found.matmul_gflops) == (310.0, 20.0, 300.0)
    assert found.layers == (LayerSeconds(1e-5, 2e-5),) * 4


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"threads": 1, "cores": 16, "matmul_one_thread_gflops": None}, "1 thread on a machine of 16 cores"),
        ({"capability": "DEFAULT"}, "vector instructions"),
        ({"matmul_one_thread_gflops": 290.0}, "2 threads are 1.0 times as fast as one"),
        ({"conv_gflops": 30.0}, "convolutions run at 10%"),
    ],
)
def test_what_makes_an_installation_slow_is_named(changes: dict[str, object], words: str) -> None:
    """Each alone is enough for the verdict."""
    assert health.troubles(MACHINE, []) == []
    (found,) = health.troubles(replace(MACHINE, **changes), [])  # type: ignore[arg-type]
    assert words in found
    assert found in health.verdict([found])


def test_a_torch_without_onednn_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU alone."""
    monkeypatch.setattr("torch.backends.mkldnn.is_available", lambda: False)
    assert "oneDNN" in health.troubles(MACHINE, [])[0]
    assert health.troubles(replace(MACHINE, device="cuda"), []) == []


def test_a_ratio_below_its_floor_is_named() -> None:
    """5 times where 10 is the least."""
    (found,) = health.troubles(MACHINE, [measured()[0]])
    assert found == "protonet test at 5.0 times learn2learn's speed, not 10"


def test_the_works_keep_their_order_and_an_unknown_one_is_refused() -> None:
    """With the nearest name."""
    assert [work.name for work in chosen(None)] == list(WORKS)
    assert [work.name for work in chosen(["scoring", "maml-training"])] == ["maml-training", "scoring"]
    with pytest.raises(UsageError, match="maml-test"):
        chosen(["maml-tset"])
