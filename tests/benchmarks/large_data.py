"""Measures a data set of 60,000 photographs: `python tests/benchmarks/large_data.py [SIDE OF THE SOURCE FILES] [--folder]`.

A zip of JPEGs named as in Ravi & Larochelle's lists (or the folder) is made in a temporary folder and prepared as
mini-ImageNet with an empty cache; then a process of its own opens it and samples. Run it on an idle machine.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import numpy as np
from PIL import Image

from fewshot_bench.data.prepare import prepare
from fewshot_datasets.imagenet.mini_imagenet import MiniImagenet

DIFFERENT = 500
"""Photographs that are drawn; the others are copies of them."""
SAMPLED = """
import resource, sys, time
from pathlib import Path
import torch
from fewshot_bench.data.prepare import open_prepared
from fewshot_bench.episodes.sampling import EpisodeSampler
from fewshot_bench.episodes.sources import TaskSource
from fewshot_datasets.imagenet.mini_imagenet import MiniImagenet

def private_mib():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon:")).split()[1]) / 1024

before, started = private_mib(), time.perf_counter()
prepared = open_prepared("mini-imagenet", MiniImagenet(root=Path(sys.argv[1])))
bank = prepared.bank("train")
opened = time.perf_counter() - started
source = TaskSource(bank, EpisodeSampler(bank, 5, 5, 15, 0), torch.device("cpu"), torch.float32)
for first in range(0, 2000, 4):
    source.tasks(first, 4)
print(f"opened in {opened:.3f} s (its identity included); 2,000 episodes sampled; "
      f"private memory {before:.0f} -> {private_mib():.0f} MiB")
"""


def photograph(random: np.random.Generator, side: int) -> bytes:
    """A JPEG of smooth noise."""
    small = random.integers(0, 256, (side // 7, side // 7, 3), np.uint8)
    file = BytesIO()
    Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
    return file.getvalue()


def main() -> None:
    """Make, prepare, open and sample."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("side", type=int, nargs="?", default=84, help="of the source files, in pixels")
    parser.add_argument("--folder", action="store_true", help="a folder of files in place of a zip")
    given = parser.parse_args()
    random = np.random.default_rng(0)
    drawn = [photograph(random, given.side) for _ in range(DIFFERENT)]
    with tempfile.TemporaryDirectory() as below:
        os.environ["FSBENCH_CACHE"] = f"{below}/cache"
        root = Path(below) / "data" / "mini-imagenet"
        names = [
            f"{image}.jpg" for members in MiniImagenet().classes().values() for one in members for image in one.image_ids
        ]
        root.mkdir(parents=True)
        if given.folder:
            (root / "images").mkdir()
            for i, name in enumerate(names):
                (root / "images" / name).write_bytes(drawn[i % DIFFERENT])
        else:
            with ZipFile(root / "images.zip", "w") as archive:
                for i, name in enumerate(names):
                    archive.writestr(f"images/{name}", drawn[i % DIFFERENT])
        started = time.perf_counter()
        prepare("mini-imagenet", MiniImagenet(root=root.parent))
        print(f"{len(names):,} JPEGs of {given.side} x {given.side} prepared in {time.perf_counter() - started:.1f} s")
        for _ in range(2):
            subprocess.run([sys.executable, "-c", SAMPLED, str(root.parent)], check=True)


if __name__ == "__main__":
    main()
