"""A run has one owner: whoever makes the folder of its claim."""

import subprocess
import sys
from pathlib import Path

import pytest

from fewshot_bench import fence
from fewshot_bench.errors import FewshotError
from fewshot_bench.storage import atomic
from fewshot_bench.sweeps.claims import BEAT, FOLDER, Claims

TAKER = """
import sys, time
from pathlib import Path
from fewshot_bench.sweeps.claims import Claims
claims, won = Claims(), 0
print("ready", flush=True)
while not Path(sys.argv[1], "go").exists():
    time.sleep(0.001)
for i in range(200):
    won += claims.take(Path(sys.argv[1], f"run{i}")) is not None
print(won, flush=True)
sys.stdin.read()
"""


def test_of_two_processes_one_gets_each_run(tmp_path: Path) -> None:
    """Two hundred runs, claimed by both at once, while both live."""
    takers = [
        subprocess.Popen([sys.executable, "-c", TAKER, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert [taker.stdout.readline() for taker in takers if taker.stdout] == ["ready\n"] * 2
    (tmp_path / "go").touch()
    won = [int(taker.stdout.readline()) for taker in takers if taker.stdout]
    for taker in takers:
        taker.communicate()
    assert sum(won) == 200
    assert len(list(tmp_path.glob("run*/.sweep/claim-1/owner.json"))) == 200
    assert list(tmp_path.glob("run*/.sweep/claim-2")) == []


def test_a_claim_is_had_again_when_it_is_released_and_when_its_process_has_ended(tmp_path: Path) -> None:
    """At once: the time of a takeover is for other machines."""
    claim = Claims().take(tmp_path)
    assert claim is not None
    assert Claims().take(tmp_path) is None
    claim.release()
    lines = "from pathlib import Path", "from fewshot_bench.sweeps.claims import Claims", "import sys"
    code = "; ".join([*lines, "assert Claims().take(Path(sys.argv[1]))"])
    subprocess.run([sys.executable, "-c", code, tmp_path], check=True)
    assert fence.numbers(tmp_path / FOLDER) == [1, 2]
    assert Claims().take(tmp_path) is not None


def test_a_silent_owner_loses_the_run_and_overwrites_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the stated time of an unchanged heartbeat; one that beats keeps it."""
    clock = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    first, others = Claims().take(tmp_path), Claims(take_over_s=60)
    assert first is not None
    assert others.take(tmp_path) is None
    clock[0] += 59
    first.beat()
    assert others.take(tmp_path) is None  # its heartbeat is another
    clock[0] += 59
    assert others.take(tmp_path) is None
    clock[0] += 2
    second = others.take(tmp_path)
    assert second is not None
    assert second.is_held()
    assert not first.is_held()
    path = tmp_path / "record.json"
    monkeypatch.setenv(fence.VARIABLE, second.variable)
    with atomic(path) as temporary:
        temporary.write_text("of the second")
    monkeypatch.setenv(fence.VARIABLE, first.variable)
    with pytest.raises(FewshotError, match="taken over"), atomic(path) as temporary:
        temporary.write_text("of the first")
    first.release()
    assert path.read_text() == "of the second"
    assert second.is_held()
    assert sorted(path.name for path in tmp_path.iterdir()) == [FOLDER, "record.json"]


def test_a_claim_without_an_owner_is_taken_over_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its process died between the folder and what stands in it."""
    clock = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    (tmp_path / FOLDER / "claim-1").mkdir(parents=True)
    claims = Claims(take_over_s=60)
    assert claims.take(tmp_path) is None
    clock[0] += 61
    assert claims.take(tmp_path) is not None
    assert not (tmp_path / FOLDER / "claim-1" / BEAT).exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """Here a file stands in its place."""
    (tmp_path / "run").write_text("")
    with pytest.raises(FewshotError, match="Cannot write"):
        Claims().take(tmp_path / "run")
