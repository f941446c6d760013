"""One update of large tasks in a process of its own, whose peak memory is then that of the update alone.

`python tests/support/large_task.py kernels MIB` prints what it took as JSON; MIB is the room of the plan for a chunk of
tasks.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from unittest import mock

WAYS, SHOTS, QUERIES, STEPS, TASKS = 20, 5, 15, 5, 8
SETTINGS = {
    "train.backbone": "conv4-64",
    "train.meta_batch_size": TASKS,
    "train.queries": QUERIES,
    "train.updates": 1,
    "train.split": "train+val",  # no validation
    "train.selection": "last",
    "method.inner_steps": STEPS,
    "method.inner_lr": 0.1,
}


@dataclass(frozen=True)
class Update:
    """What one update took."""

    kernels: bool
    chunk: int
    """Tasks at once, as the plan chose."""
    kept_mib: float
    """What a task keeps for its gradient by `kept_bytes`."""
    imported_mib: float
    """Peak memory before the session was opened."""
    peak_mib: float
    """Peak memory at the end."""
    seconds: float

    @property
    def planned_mib(self) -> float:
        """What the plan reckons with."""
        return self.chunk * self.kept_mib

    @property
    def used_mib(self) -> float:
        """What the session really took, everything included."""
        return self.peak_mib - self.imported_mib


def measured(kernels: bool, room_mib: int | None = None) -> Update:
    """One update in a process of its own, with our kernels or without, on one thread."""
    command = [sys.executable, __file__, str(int(kernels)), str(room_mib or 0)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=300)
    assert done.returncode == 0, done.stderr
    return Update(**json.loads(done.stdout))


def update(kernels: bool, room_mib: int) -> Update:
    """One update in this process, through what `fsbench run` stands on; a room of 0 is the plan's own."""
    from fewshot_bench.data.prepare import prepare
    from fewshot_bench.request import Request
    from fewshot_bench.runs import plan as plans
    from fewshot_bench.runs.listener import Listener
    from fewshot_bench.runs.provenance import peak_mib
    from fewshot_bench.runs.requests.resolve import resolve
    from fewshot_bench.runs.session import Session

    settings = tuple(f"{key}={value}" for key, value in SETTINGS.items())
    resolved = resolve(Request(method="maml", ways=WAYS, shots=SHOTS, device="cpu", settings=settings))
    spec = resolved.train
    assert (str(spec.backbone), spec.hparams["first_order"], spec.meta_batch_size) == ("conv4-64", False, TASKS)
    data = prepare(spec.dataset, resolved.dataset)
    imported = peak_mib()
    if room_mib:
        plans.ROOM_MIB["cpu"] = room_mib
    with mock.patch("os.sched_getaffinity", lambda pid: {0}, create=True):
        chosen = replace(plans.choose_plan("cpu", WAYS * (SHOTS + QUERIES)), kernels=kernels)
    session = Session.open(resolved, data, chosen)
    session.plan = session.plan.with_chunk_for(session.method, spec)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        session.trainer(Path(folder)).train(Listener())
    seconds, peak = time.perf_counter() - started, peak_mib()
    kept = plans.kept_bytes(session.method, spec, kernels=session.plan.kernels) / 2**20
    return Update(session.plan.kernels, session.plan.train_chunk, kept, imported, peak, seconds)


if __name__ == "__main__":
    print(json.dumps(asdict(update(bool(int(sys.argv[1])), int(sys.argv[2])))))
