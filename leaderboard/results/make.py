"""Makes the published records again: `FSBENCH_DATA=... python leaderboard/results/make.py`.

Resumable: a finished run is not run again, an interrupted one goes on. Takes about an hour on 2 cores.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

RUNS: list[tuple[list[str], list[str]]] = [
    (["--method", "nearest-centroid"], ["standard-transductive"]),
    (["--method", "prototypical-networks"], ["standard-transductive"]),
    (["--method", "maml"], ["standard-transductive"]),
    (["--method", "maml", "--recipe", "transductive"], ["standard"]),
]
"""Arguments of each run on Omniglot, 5-way 1-shot, and the protocols that its checkpoint is tested under besides."""


def main() -> None:
    """Run and test everything."""
    if not os.environ.get("FSBENCH_DATA"):
        sys.exit("Set FSBENCH_DATA to a folder with Omniglot's archives.")
    out = Path(__file__).parent
    for arguments, protocols in RUNS:
        run = ["fsbench", "run", "--dataset", "omniglot", "--out", str(out), *arguments]
        subprocess.run(run, check=True)
        asked = subprocess.run([*run, "--dry-run", "--json"], check=True, capture_output=True, text=True)
        folder = json.loads(asked.stdout)[0]["folder"]
        for protocol in protocols:
            subprocess.run(["fsbench", "test", folder, "--protocol", protocol], check=True)


if __name__ == "__main__":
    main()
