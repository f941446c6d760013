"""Measures 1,000 classes beside 100,000, of 100 images each: `python tests/benchmarks/many_classes.py`. On an idle machine.

`glyphs` draws them on demand. `map` is a prepared memory map of so many images (7.8 GB for 100,000 classes), simulated: a
sparse file without pixels, whose pages the system makes of zeros when they are first read; no disk is read. Each line is a
process of its own. Times are of one thread's processor: a busy machine changes them less than the wall's.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

DRAWINGS, EPISODES = 100, 200


def private_mib() -> float:
    """Memory of this process that no file backs."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon:")).split()[1]) / 1024


def thread_ms(work: Callable[[], object]) -> float:
    """Processor time of this thread."""
    started = time.thread_time()
    work()
    return (time.thread_time() - started) * 1000


def simulate(folder: Path, classes: int) -> None:
    """A prepared data set whose images are holes of a file."""
    shape = (classes * DRAWINGS, 1, 28, 28)
    with (folder / "images.npy").open("wb") as store:
        np.lib.format.write_array_header_1_0(store, {"descr": "|u1", "fortran_order": False, "shape": shape})
        store.truncate(store.tell() + int(np.prod(shape)))
    names = [f"Alphabet{number // 27:02}/character{number % 27:02}" for number in range(classes)]
    train = {"first": 0, "classes": names, "sizes": [DRAWINGS] * classes, "structure_id": str(classes)}
    (folder / "meta.json").write_text(json.dumps({"splits": {"train": train}}), encoding="utf-8")


def measure(kind: str, classes: int, folder: Path) -> str:
    """A line on one number of classes: opening, then 5-way 1-shot episodes of 15 queries, each image gathered."""
    import torch

    from fewshot_bench.data.prepare import Prepared, prepare
    from fewshot_bench.episodes.sampling import EpisodeSampler
    from fewshot_bench.kernels import library
    from fewshot_datasets.glyphs.glyphs import Glyphs

    library()
    torch.zeros(1)
    before, started = private_mib(), time.perf_counter()
    if kind == "map":
        prepared = Prepared(folder, json.loads((folder / "meta.json").read_text(encoding="utf-8")))
    else:
        prepared = prepare("glyphs", Glyphs({"classes": classes, "drawings": DRAWINGS}))
    bank = prepared.bank("train")
    sampler = EpisodeSampler(bank, 5, 1, 15, 0)
    opened_s, opened_mib = time.perf_counter() - started, private_mib()
    drawn, gathered = [], []
    for number in range(2 * EPISODES):
        drawn.append(thread_ms(lambda: sampler.block(number, 1)))  # noqa: B023 (called at once)
        block = sampler.block(number % EPISODES, 1)
        gathered.append(thread_ms(lambda: bank.gather(np.concatenate([block.support[0], block.query[0]]))))  # noqa: B023
    return (
        f"{kind:6} {classes:7,} classes: open {opened_s * 1000:6.1f} ms; private {before:.0f} -> {opened_mib:.0f} -> "
        f"{private_mib():.0f} MiB; draw an episode {median(drawn) * 1000:.0f} us; gather its 80 images "
        f"{median(gathered[:EPISODES]):.2f} ms, a second time {median(gathered[EPISODES:]):.2f} ms"
    )


def main() -> None:
    """Each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--one", nargs=3, metavar=("KIND", "CLASSES", "FOLDER"), help="measure this one alone, here")
    if one := parser.parse_args().one:
        print(measure(one[0], int(one[1]), Path(one[2])), flush=True)
        return
    for kind in ("glyphs", "map"):
        for classes in (1_000, 100_000):
            with tempfile.TemporaryDirectory() as folder:
                if kind == "map":
                    simulate(Path(folder), classes)
                subprocess.run([sys.executable, __file__, "--one", kind, str(classes), folder], check=True)


if __name__ == "__main__":
    main()
