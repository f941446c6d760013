"""Where Omniglot's drawings come from: its two archives, the folders they extract to, or its authors' repository."""

from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from itertools import product
from pathlib import Path

from PIL import Image

from fewshot_bench.data.files.source_files import Files
from fewshot_bench.errors import DataError
from fewshot_datasets.sources.downloads import Download

URL = "https://github.com/brendenlake/omniglot/raw/master/python/{part}.zip"
# The authors' own archives, with the hashes that torchvision pins. The hashes serve only to fetch a broken download again:
# mirrors pack other archives of the same drawings, so only the manifest of decoded pixels is trusted in the end.
MD5 = {
    "images_background": "68d2efa1b9178cc56df9314c21c6e718",
    "images_evaluation": "6b91aef0f799c5bb55b94e3f2daec811",
}
ARCHIVES = {part: Download("omniglot", f"{part}.zip", URL.format(part=part), md5) for part, md5 in MD5.items()}
SIDE = 105


@dataclass(frozen=True)
class Halves:
    """Both halves of Omniglot, each an archive or a folder. They can be sent to other processes."""

    paths: dict[str, Path]

    def names(self) -> list[str]:
        """Every file: `images_background/Greek/character01/0394_01.png`; raises `DataError` naming a damaged archive."""
        listed = [(part, path.is_dir(), Files(path).names()) for part, path in self.paths.items()]
        return [f"{part}/{name}" if is_dir else name for part, is_dir, names in listed for name in names]

    def read(self, png: str) -> bytes:
        """A drawing's file; raises as `Files.read` does, and `DataError` naming a damaged archive."""
        part, _, inside = png.partition("/")
        path = self.paths[part]
        return Files(path).read(inside if path.is_dir() else png)

    def __str__(self) -> str:
        return " and ".join(map(str, self.paths.values()))


def folders_of(given: Path) -> list[Path]:
    """The folders to search for what was given: a data root, a folder of Omniglot alone, or one of the two archives."""
    return [given.parent] if given.is_file() and given.stem in MD5 else [given / "omniglot", given]


def find_halves(folders: Iterable[Path]) -> dict[str, Path]:
    """The archive, or else the folder, of each half that one of the folders has; the first that has it counts."""
    found: dict[str, Path] = {}
    for folder, part in product(folders, MD5):
        for path in (folder / f"{part}.zip", folder / part):
            if path.exists():
                found.setdefault(part, path)
    return found


def both_halves(found: dict[str, Path], folders: Iterable[Path]) -> Halves:
    """The source; raises `DataError` where a half is missing: which, where it was looked for, how to get it."""
    if not (missing := [part for part in MD5 if part not in found]):
        return Halves({part: found[part] for part in MD5})
    has = f"There is only half of Omniglot ({next(iter(found.values())).name})" if found else "No Omniglot"
    wanted = " and ".join(f"{part}.zip (or the folder {part})" for part in missing)
    raise DataError(
        f"{has} in {', '.join(map(str, folders))}.\nLooked for {wanted}.\n"
        f"Get it with `fsbench data get omniglot`, or from {ARCHIVES[missing[0]].url}"
    )


def load_grey(png: bytes) -> Image.Image:
    """A drawing decoded, 105 x 105, paper 255 and ink 0; raises what Pillow raises, or ValueError for another size."""
    with Image.open(BytesIO(png), formats=["PNG"]) as image:
        if image.size != (SIDE, SIDE):  # before decoding: a forged header must not fill the memory
            raise ValueError(f"{image.size} pixels")
        return image.convert("L")
