"""The forms in which people have mini-ImageNet's photographs, told apart by the names of the files.

In this order, where several could be meant:
1. images named as in Ravi & Larochelle's lists, wherever they lie (`n0153282900000005.jpg`);
2. pickled arrays (`mini_imagenet_pickles`);
3. a folder for each class, with as many images as the list has (600), of any names: in the order of their names;
4. ILSVRC2012's own class folders.

The number in a name of the lists counts the images of the class in ILSVRC2012's training set: they are 1 to 1,300, and no
class has more images. Ravi & Larochelle do not say in which order. The public generators (Liu's mini-imagenet-tools and
others) count by the number in ILSVRC2012's file names (`n01532829_62.JPEG`), from 1, and so do we. The first of them
(Berenguel, 2017) notes that the order of the names as text might be meant; no answer of the authors was found (issue 2 of
twitter-research/meta-learning-lstm). A photograph that is missing from such a folder shifts all that follow, so each class
must have as many images as in ILSVRC2012.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from fewshot_bench.data.files.source_files import Files
from fewshot_bench.data.images.decoding import is_image
from fewshot_bench.errors import few
from fewshot_datasets.imagenet.class_folders import Listing, Sizes, differences, list_files, numbered, own_name
from fewshot_datasets.imagenet.forms import Classes, ImageFiles, Source, another, class_folders, key_of, short_of
from fewshot_datasets.imagenet.mini_imagenet_pickles import find_pickles

TITLE = "mini-ImageNet"
MOST = 1300
"""The number of training images in ILSVRC2012 of most classes."""
RAVI = re.compile(r"(n\d{8})(\d{8})")
"""A name of the lists: the class and the image's number in it."""


def recognise(files: Files, place: Path, listed: Classes, fewer: Mapping[str, int], *, pickles: bool) -> Source | None:
    """The first form that a folder or an archive has, or its pickles; raises `DataError` for damage or another data set.

    `fewer`: the number of images in ILSVRC2012 of the classes that have fewer than `MOST`.
    """
    wanted = {one.name for members in listed.values() for one in members}
    listing = list_files(files, wanted, all_of_it=not place.is_dir())
    if pickles:
        return find_pickles(files, place, listing.sizes, listed)
    return (
        _named(files, place, listing.sizes, listed)
        or find_pickles(files, place, listing.sizes, listed)
        or _folders(files, place, listing, listed, fewer)
    )


def _named(files: Files, place: Path, sizes: Sizes, listed: Classes) -> ImageFiles | None:
    """Images named as in the lists, including those that are missing."""
    stems = {own_name(name).rpartition(".")[0]: name for name in sorted(filter(is_image, sizes), reverse=True)}
    wanted = [image for members in listed.values() for one in members for image in one.image_ids]
    names = [stems.get(image, f"{image}.jpg") for image in wanted]
    there = {own_name(name): sizes[name] for name in names if name in sizes}
    if not there:
        return None
    classes = {match[1]: 0 for stem in stems if (match := RAVI.fullmatch(stem))}
    published = {one.name for members in listed.values() for one in members}
    if published - classes.keys() and classes.keys() - published:
        raise another(place, TITLE, differences(listed, {"": classes}, counted=False))
    form = f"{len(wanted):,} images named as in Ravi & Larochelle's lists"
    return ImageFiles(files, place, form, listed, names, short_of(there))


def _folders(files: Files, place: Path, listing: Listing, listed: Classes, fewer: Mapping[str, int]) -> ImageFiles | None:
    """A folder for each class; raises `DataError` for other classes, or another number of images."""
    each = {one.name: len(one.image_ids) for members in listed.values() for one in members}
    if not any(each.keys() & members.keys() for members in listing.folders.values()):
        return None
    ilsvrc = {
        name: own
        for split in ("", "train")
        for name, names in listing.folders.get(split, {}).items()
        if name in each and (own := numbered(name, names))
    }
    if any(len(own) > each[name] for name, own in ilsvrc.items()):
        _check_whole(place, ilsvrc, listed, fewer)
        return _ilsvrc(files, place, ilsvrc, listing, listed)
    return _of_each_class(files, place, listing, listed)


def _of_each_class(files: Files, place: Path, listing: Listing, listed: Classes) -> ImageFiles:
    """As many images of each class as the list has, in the order of their names."""
    found = {split: {name: len(names) for name, names in members.items()} for split, members in listing.folders.items()}
    if faults := differences(listed, found):
        raise another(place, TITLE, faults)
    names = {name: own for members in listing.folders.values() for name, own in members.items()}
    form = (
        f"a folder for each of {len(names)} classes; the classes are those of Ravi & Larochelle's lists, but the names of "
        "the images are not, so it cannot be checked which photographs these are"
    )
    return class_folders(files, place, form, "folders", listed, names, listing.sizes)


def _check_whole(place: Path, ilsvrc: Mapping[str, Sequence[str]], listed: Classes, fewer: Mapping[str, int]) -> None:
    """Raises `DataError` unless every class is there with all its images in ILSVRC2012."""
    found = {name: len(names) for name, names in ilsvrc.items()}
    official = {name: fewer.get(name, MOST) for name in found}
    wrong = [f"{name}: {n:,} of {official[name]:,}" for name, n in found.items() if n != official[name]]
    if faults := [
        *differences(listed, {"": found}, counted=False),
        *([f"{len(wrong)} classes have another number of images than in ILSVRC2012 ({few(wrong)})"] if wrong else []),
    ]:
        raise another(place, TITLE, faults)


def _ilsvrc(files: Files, place: Path, ilsvrc: Mapping[str, Sequence[str]], listing: Listing, listed: Classes) -> ImageFiles:
    """The images of the lists among ILSVRC2012's own."""
    ordered = [
        ilsvrc[one.name][_number(image) - 1] for members in listed.values() for one in members for image in one.image_ids
    ]
    form = "ILSVRC2012's own class folders; a number in Ravi & Larochelle's lists counts a class's images, sorted by number"
    return ImageFiles(files, place, form, listed, ordered, f"ilsvrc-{key_of(listed, ordered, listing.sizes)}")


def _number(image: str) -> int:
    """The number in a name of the lists, from 1."""
    return int(image[-8:])
