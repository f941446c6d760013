"""tiered-ImageNet with five classes of two to five pictures each, in every form in which people have the real one."""

import shutil
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image
from small_imagenet import Pixels, dumps

from fewshot_datasets.imagenet.tiered_imagenet import TieredImagenet

LISTS = {
    "train": "n10000000 n00000002 n00000005\nn20000000 n00000001",
    "val": "n30000000 n00000003",
    "test": "n40000000 n00000004",
}
COUNTS = {"n00000002": 3, "n00000005": 5, "n00000001": 4, "n00000003": 3, "n00000004": 2}
WORDS = {
    "n00000001": "crane",
    "n00000002": "ruddy turnstone, Arenaria interpres",
    "n00000003": "Käfer",
    "n00000004": "plane, carpenter's plane",
    "n00000005": "maillot",
    "n00000006": "crane",  # another one, of no split
}
Held = dict[str, dict[str, Any]]
Write = Callable[[Path], None]


class Tiny(TieredImagenet):
    """Three, one and one classes."""

    published: ClassVar = {"train": 12, "val": 3, "test": 2}

    def split_list(self, split: str) -> str:
        """Each after its node."""
        return LISTS[split]


def picture(wnid: str, image: int, side: int = 84) -> bytes:
    """A PNG of noise of its own."""
    random = np.random.default_rng([int(wnid[1:]), image])
    file = BytesIO()
    Image.fromarray(random.integers(0, 256, (side, side, 3), np.uint8)).save(file, "PNG")
    return file.getvalue()


def pixels(png: bytes) -> Pixels:
    """What it shows, [3, 84, 84]."""
    with Image.open(BytesIO(png)) as image:
        return np.asarray(image).transpose(2, 0, 1)


EXPECTED = np.stack([pixels(picture(wnid, image)) for wnid, count in COUNTS.items() for image in range(count)])


def archive() -> Held:
    """What the pickles of each split hold; the classes stand in another order than in the lists."""
    held: Held = {}
    for split, text in LISTS.items():
        wnids = [wnid for line in text.splitlines() for wnid in line.split()[1:]][::-1]
        pngs = [np.frombuffer(picture(wnid, image), np.uint8) for wnid in wnids for image in range(COUNTS[wnid])]
        numbers = [number for number, wnid in enumerate(wnids) for _ in range(COUNTS[wnid])]
        held[split] = {
            "images": [png.reshape(-1, 1) for png in pngs],
            "label_specific": np.array(numbers, np.int32),
            "label_general": np.zeros(len(numbers), np.int32),
            "label_specific_str": [WORDS[wnid] for wnid in wnids],
            "label_general_str": ["animal"],
        }
    return held


def write_archive(folder: Path, held: Held, prefix: str = "", **options: Any) -> None:
    """The files of the published archive."""
    folder.mkdir(parents=True)
    for split, content in held.items():
        labels = {key: value for key, value in content.items() if key != "images"}
        (folder / f"{prefix}{split}_images_png.pkl").write_bytes(dumps(content["images"], **options))
        (folder / f"{prefix}{split}_labels.pkl").write_bytes(dumps(labels, **options))
    (folder / f"{prefix}class_names.txt").write_text("\n".join(WORDS.values()) + "\n", "utf-8")
    (folder / f"{prefix}synsets.txt").write_text("\n".join(WORDS) + "\n", "utf-8")


def published(folder: Path) -> None:
    """As the authors published it."""
    write_archive(folder, archive())


def of_learn2learn(folder: Path) -> None:
    """As learn2learn keeps it."""
    write_archive(folder, archive(), "tiered-imagenet-", protocol=4)


def of_numbers(folder: Path) -> None:
    """With WordNet's numbers in the place of names, and bytes in that of arrays."""
    held = archive()
    numbers = {word: wnid for wnid, word in reversed(WORDS.items())}
    for one in held.values():
        one["label_specific_str"] = [numbers[word] for word in one["label_specific_str"]]
        one["images"] = [png.tobytes() for png in one["images"]]
    write_archive(folder, held)
    (folder / "class_names.txt").unlink()


def of_python2(folder: Path) -> None:
    """As Python 2 wrote it."""
    held = archive()
    held["val"]["label_specific_str"] = ["K\u00c3\u00a4fer"]  # bytes of UTF-8
    for one in held.values():
        one |= {key: one[key].tolist() for key in ("label_specific", "label_general")}
    write_archive(folder, held, python2=True)
    (folder / "class_names.txt").write_bytes("\n".join(WORDS.values()).encode())


def class_folders(folder: Path) -> None:
    """ILSVRC2012's class folders, with one that is in no split; the order of numbers is not that of text."""
    for wnid, count in {**COUNTS, "n00000006": 1}.items():
        (folder / wnid).mkdir(parents=True)
        for image in range(count):
            (folder / wnid / f"{wnid}_{2 + 4 * image}.JPEG").write_bytes(picture(wnid, image))


def ilsvrc(folder: Path) -> None:
    """The same, as it unpacks."""
    class_folders(folder / "ILSVRC" / "Data" / "CLS-LOC" / "train")


def by_split(folder: Path) -> None:
    """A folder for each split and class."""
    class_folders(folder / "all")
    for split, text in LISTS.items():
        for wnid in (wnid for line in text.splitlines() for wnid in line.split()[1:]):
            (folder / split).mkdir(exist_ok=True)
            (folder / "all" / wnid).rename(folder / split / wnid)
    shutil.rmtree(folder / "all")


PICKLED: list[Write] = [published, of_learn2learn, of_numbers]
FORMS: list[Write] = [*PICKLED, class_folders, ilsvrc, by_split]
