"""What a queue's tests run in the place of `fsbench`: it trains until there is a file `go`, or until it is asked to end.

`run --method NAME … --out WORK` makes the run of folder NAME, `test FOLDER --id ID` adds a result. NAME `wrong` fails.
What happened to a run is in its file `events`.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path


def train(folder: Path, go: Path) -> None:
    """Save a state, wait, and leave a record."""
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))
    folder.mkdir(exist_ok=True)
    (folder / "state.safetensors").write_bytes(b"")
    note(folder, f"begun {os.getpid()} nice {os.nice(0)} cores {len(os.sched_getaffinity(0))}")
    while not go.exists():
        if asked:
            note(folder, "saved")
            sys.exit(130)
        time.sleep(0.02)
    (folder / "record.json").write_text(json.dumps({"results": [{"id": "first"}]}))
    (folder / "state.safetensors").unlink()


def note(folder: Path, text: str) -> None:
    """Write down what happened."""
    with (folder / "events").open("a") as file:
        file.write(f"{text}\n")


def main(command: str, *words: str) -> None:
    """Do as `fsbench` is told."""
    if command == "test":
        record = Path(words[0]) / "record.json"
        content = json.loads(record.read_text())
        record.write_text(json.dumps({"results": [*content["results"], {"id": words[-1]}]}))
        return
    work, name = Path(words[-1]), words[words.index("--method") + 1]
    if name == "wrong":
        sys.exit("fsbench: Unknown method 'wrong'.")
    train(work / name, work / "go")


if __name__ == "__main__":
    main(*sys.argv[1:])
