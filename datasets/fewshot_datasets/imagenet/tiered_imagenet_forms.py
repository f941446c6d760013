"""The forms in which people have tiered-ImageNet, told apart by the names of the files.

In this order, where several could be meant: the pickles of the published archive (`tiered_imagenet_pickles`); a folder for
each class, of a split or of ILSVRC2012, its images in the order of the numbers in ILSVRC2012's names (`n01530575_62.JPEG`),
or of other names. All images of a class belong to it, so the published numbers of images are compared too.
"""

from collections.abc import Mapping
from pathlib import Path

from fewshot_bench.data.files.source_files import Files
from fewshot_datasets.imagenet.class_folders import Listing, differences, list_files, numbered
from fewshot_datasets.imagenet.forms import Classes, ImageFiles, Source, another, class_folders
from fewshot_datasets.imagenet.tiered_imagenet_pickles import different_totals, find_pickles

TITLE = "tiered-ImageNet"


def recognise(files: Files, place: Path, listed: Classes, published: Mapping[str, int], *, pickles: bool) -> Source | None:
    """The first form that a folder or an archive has, or its pickles; raises `DataError` for damage or another data set."""
    wanted = {one.name for members in listed.values() for one in members}
    listing = list_files(files, wanted, all_of_it=not place.is_dir())
    found = find_pickles(files, place, listing.sizes, listed, published)
    return found or (None if pickles else _folders(files, place, listing, listed, published))


def _folders(
    files: Files, place: Path, listing: Listing, listed: Classes, published: Mapping[str, int]
) -> ImageFiles | None:
    """A folder for each class; raises `DataError` where classes or images are missing."""
    wanted = {one.name for members in listed.values() for one in members}
    held = {
        split: {name: numbered(name, names) or list(names) for name, names in members.items() if name in wanted}
        for split, members in listing.folders.items()
    }
    if not any(held.values()):
        return None
    whole = next((held[split] for split in ("", "train") if held.get(split, {}).keys() == wanted), None)
    found = {"": whole} if whole is not None else held
    names = {name: own for members in found.values() for name, own in members.items()}
    if faults := differences(listed, {k: dict.fromkeys(v, 0) for k, v in found.items()}, counted=False) or different_totals(
        {split: sum(len(names[one.name]) for one in members) for split, members in listed.items()}, published
    ):
        raise another(place, TITLE, faults)
    form = f"a folder for each of {len(names)} classes, as of ILSVRC2012"
    return class_folders(files, place, form, "folders", listed, names, listing.sizes)
