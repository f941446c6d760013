"""`make.py --status` says what is done, running and to come, and which times are measured."""

import json
from dataclasses import replace
from pathlib import Path

from queue_of import job, places

from training_queue.plan import Planned
from training_queue.status import report

RUNNING = {
    "process": 1,
    "paused": "",
    "cores": 2,
    "move_to": None,
    "running": {"half": 1},
    "failed": {"bad": "No such recipe."},
}


def state(work: Path, name: str, update: int, train_s: float) -> None:
    """The state of a training, as far as the status reads it."""
    about = json.dumps({"at": {"update": update, "train_s": train_s}})
    header = json.dumps({"__metadata__": {"about": about}}).encode()
    (work / name).mkdir(parents=True)
    (work / name / "state.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)


def jobs(work: Path) -> list[Planned]:
    """One of each kind: half of `half`'s 100 updates took two hours."""
    state(work, "half", 50, 7200.0)
    (work / "results" / "whole").mkdir(parents=True)
    (work / "results" / "whole" / "record.json").write_text(json.dumps({"results": [{"id": "first"}]}))
    names = ("half", "whole", "bad")
    return [
        *(job(name) for name in names),
        replace(job("later"), training="prototypical-networks omniglot paper 5 1 seed 2", hours=0.75, tier=3),
        replace(job("unknown"), tier=5),
        job("nowhere", missing="its data are to import, " + "so much longer than a line that it has to be cut"),
    ]


def test_every_job_is_in_its_place(tmp_path: Path) -> None:
    """With the pace so far where there is one, the estimate of the order of value else."""
    text = report(jobs(tmp_path), places(tmp_path), [RUNNING])
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert lines[:2] == ["1 done, 1 running, 2 to come, 1 failed, 1 cannot run here", "queue 1, 2 cores, trains"]
    assert "core 1 half 50 % 2.0 h" in lines
    assert "tier 3 prototypical-networks omniglot paper 5 1 seed 2 ~45 min" in lines
    assert "tier 5 unknown ?" in lines
    assert lines[lines.index("failed") + 1 :][:2] == ["bad", "No such recipe."]
    assert "time left: 2.8 h of one core, 1.4 h on 2; tests not counted" in lines
    assert "of 1 jobs measured (updates a second so far), of 1 estimated (~, ± 30 %)" in lines
    assert "1 jobs more, of which nobody knows how long they take (?)" in lines


def test_it_is_read_in_80_columns(tmp_path: Path) -> None:
    """Whatever stands in it."""
    paused = RUNNING | {"paused": "'pgrep -x a-program-with-a-name-that-is-really-much-too-long-for-a-line' says so"}
    for running in ([], [RUNNING], [paused]):
        text = report(jobs(tmp_path / str(len(running)) / str(running == [paused])), places(tmp_path), running)
        assert max(map(len, text.splitlines())) <= 80


def test_a_queue_that_is_still_giving_way_says_so(tmp_path: Path) -> None:
    """So that a measurement waits for it."""
    text = report(jobs(tmp_path), places(tmp_path), [RUNNING | {"paused": "LOCK is there"}])
    assert "paused: LOCK is there, still ending its trainings" in text
    text = report([], places(tmp_path), [RUNNING | {"paused": "LOCK is there", "running": {}}])
    assert text.splitlines()[1] == "queue 1, 2 cores, paused: LOCK is there"
