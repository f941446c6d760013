"""Where the time of an update goes, of MAML's `paper` recipe and of prototypical networks' on Omniglot.

`python tests/benchmarks/accelerator_profile.py FOLDER DEVICE` writes `profile-NAME.txt` (the profiler's table) and
`profile.json` there.
"""

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from fewshot_bench.bench.ours import Clock
from fewshot_bench.data.prepare import prepare
from fewshot_bench.request import Request
from fewshot_bench.runs.plan import kept_bytes
from fewshot_bench.runs.requests.resolve import resolve
from fewshot_bench.runs.session import Session
from fewshot_bench.runs.training import Interrupted, Trainer

WARM_UP, UPDATES = 5, 20
RECIPES = {"maml": ("maml", "paper"), "prototypical": ("prototypical-networks", None)}


def seconds(trainer: Trainer, updates: int) -> float:
    """How long so many updates take [s], the device waited for."""
    clock, before = Clock(updates), trainer.at.train_s
    try:
        trainer.train(clock)
    except Interrupted:
        return trainer.at.train_s - before
    raise AssertionError("trained to the end")


def measured(method: str, recipe: str | None, device: str, table: Path) -> dict[str, Any]:
    """Times of an update [ms] and its memory [MiB]; the profiler's table goes to `table`."""
    resolved = resolve(Request(method=method, dataset="omniglot", recipe=recipe, device=device))
    session = Session.open(resolved, prepare("omniglot", resolved.dataset), None)
    cuda = torch.device(device).type == "cuda"
    with TemporaryDirectory() as folder:
        trainer = session.trainer(Path(folder))
        seconds(trainer, WARM_UP)
        if cuda:
            torch.cuda.reset_peak_memory_stats()
        update_s = seconds(trainer, UPDATES) / UPDATES
        peak = torch.cuda.max_memory_allocated() / 2**20 if cuda else None
        with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]) as found:
            seconds(trainer, UPDATES)
    averages = found.key_averages()
    table.write_text(averages.table(sort_by="self_cuda_time_total" if cuda else "self_cpu_time_total", row_limit=60))
    launches = sum(event.count for event in averages if event.key.startswith(("cudaLaunchKernel", "cuLaunchKernel")))
    return {
        "update_ms": 1000 * update_s,
        "device_busy_ms": sum(getattr(event, "self_device_time_total", 0) for event in averages) / 1000 / UPDATES,
        "launches": launches / UPDATES,
        "peak_mib": peak,
        "planned_mib": session.plan.train_chunk * kept_bytes(session.method, resolved.train) / 2**20,
        "plan": session.plan.as_json(),
    }


if __name__ == "__main__":
    out, on = Path(sys.argv[1]), sys.argv[2]
    all_of_it = {name: measured(*recipe, on, out / f"profile-{name}.txt") for name, recipe in RECIPES.items()}
    (out / "profile.json").write_text(json.dumps(all_of_it, indent=1) + "\n")
    print(json.dumps(all_of_it))
