"""A script that has SLURM carry out a sweep as an array of tasks, without any process that waits for them."""

import re
import shlex
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

from fewshot_bench.sweeps.claims import FOLDER

MOST_TASKS = 1001
"""SLURM's own `MaxArraySize`: an index is below it. Used where `scontrol` does not say another."""


def max_array_size() -> int:
    """`MaxArraySize` of this cluster, or SLURM's own default where no `scontrol` tells."""
    with suppress(OSError, subprocess.SubprocessError):
        if program := shutil.which("scontrol"):
            said = subprocess.run([program, "show", "config"], capture_output=True, text=True, timeout=20, check=True).stdout
            if (found := re.search(r"^MaxArraySize\s*=\s*([1-9][0-9]*)\s*$", said, re.MULTILINE)) and int(found[1]) > 1:
                return int(found[1])
    return MOST_TASKS


def script(command: list[str], runs: int, out: Path, cores: int, most: int) -> str:
    """A bash script that prepares a plan and its data, and then gives `sbatch` an array of at most `most` tasks; it ends as
    `sbatch` does.

    `command` is that of the sweep, without a shard; `cores` are those of a task.
    """
    tasks = min(runs, most)
    asked = shlex.join(command)
    logs = shlex.quote(str(out / FOLDER / "slurm-%A-%a.log"))
    return f"""#!/bin/bash
# {runs:,} runs in {tasks:,} tasks. Give this to bash, not to sbatch: `bash THIS_FILE --partition=NAME --time=4:00:00`;
# the options go to sbatch. Given again it does what is missing.
set -euo pipefail
cd {shlex.quote(str(Path.cwd()))}

{asked} --prepare

sbatch --job-name=fsbench-sweep --array=0-{tasks - 1} --cpus-per-task={cores} --requeue --signal=B:TERM@60 \\
    --output={logs} "$@" <<'END'
#!/bin/bash
exec {asked} --shard "$SLURM_ARRAY_TASK_ID/{tasks}"
END
"""
