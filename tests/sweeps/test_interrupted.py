"""A sweep whose processes are killed at seeded random moments ends as one that nobody disturbed."""

import random
import sys
import time
from pathlib import Path

import pytest
from command_line import finished
from interrupted_run import assert_same_run
from sweeping import children, kill, linear, start, until

from fewshot_bench.sweeps.attempts import Attempts

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="it looks into /proc"),
]


def test_three_kills_of_sweeps_and_workers_change_no_byte_of_the_table(tmp_path: Path) -> None:
    """Six runs by two sweeps at once; each round kills a worker, then a sweep, and starts that again."""
    draw = random.Random(16)
    (tmp_path / "grid.yaml").write_text(linear(6, "0-5"))
    whole = start(tmp_path / "grid.yaml", "--out", tmp_path / "whole", "--jobs", "2")
    assert (whole.communicate(), whole.returncode)[1] == 0
    out = tmp_path / "parts"
    sweeps = [start(tmp_path / "grid.yaml", "--out", out) for _ in range(2)]
    for _ in range(3):
        victim = draw.randrange(2)
        if found := until(lambda one=sweeps[victim]: children(one.pid) or [0] * (one.poll() is not None)):
            time.sleep(draw.uniform(0.0, 2.0))
            if found[0] and found[0] in children(sweeps[victim].pid):
                kill(found[0])
        time.sleep(draw.uniform(0.0, 2.0))
        sweeps[victim].kill()
        sweeps[victim].communicate()
        sweeps[victim] = start(tmp_path / "grid.yaml", "--out", out)
    said = [(*one.communicate(), one.returncode) for one in sweeps]
    assert [code for _, _, code in said] == [0, 0], said
    tables = [finished("table", tmp_path / name).out for name in ("whole", "parts")]
    assert tables[0] == tables[1]
    folders = sorted(path.parent for path in out.glob("*/record.json"))
    assert len(folders) == 6
    for folder in folders:
        assert_same_run(folder, tmp_path / "whole" / folder.name)
    attempts = [Attempts.read(path.parent.parent, path.stem) for path in out.glob("*/.sweep/*.json")]
    assert sum(one.count for one in attempts) > 6, "no kill met a run"
    assert all(len(one.deaths) < 3 and set(one.deaths) <= {"SIGKILL"} for one in attempts)
