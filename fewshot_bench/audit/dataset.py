"""The audit of a data set: its splits, its images, and an identity that changes where pixels do."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from fewshot_bench.audit import paper
from fewshot_bench.audit.functions import FAMILY_CHECKS
from fewshot_bench.audit.other_pixels import other_pixels
from fewshot_bench.audit.verdicts import Audit, Fault, Skip, all_judged, excused, judged
from fewshot_bench.data.answers import check_dataset
from fewshot_bench.data.bank_answers import checked_bank
from fewshot_bench.data.choice import load_dataset
from fewshot_bench.data.dataset import Dataset, Images, root_of
from fewshot_bench.data.functions import FunctionFamily
from fewshot_bench.data.overlaps import SHARE
from fewshot_bench.data.verification import Listing, Verification, equal_rows, image_hashes, verify
from fewshot_bench.errors import DataError, FewshotError, UsageError, few
from fewshot_bench.plugins.registry import Plugin

SAMPLE = 200
"""Classes of a split of which an image is looked at, where images are made on demand."""
LEAST = 2
"""Images of a class: one is support, one is a query."""
UNKNOWN = "no-such-option"


@dataclass
class Data:
    """A data set under audit."""

    plugin: Plugin
    options: Mapping[str, Any]
    root: Path | None
    progress: Callable[[int, int], None] = field(repr=False)

    def build(self, root: Path | None = None) -> Any:
        """A fresh one, at its root or another."""
        loaded = load_dataset(self.plugin)
        return loaded(dict(self.options), root if root is not None else root_of(loaded, self.root))

    @cached_property
    def dataset(self) -> Dataset:
        """One that is kept."""
        made: Dataset = self.build()
        return made

    @cached_property
    def listing(self) -> Listing:
        """Its classes."""
        return Listing(self.dataset)

    @cached_property
    def verification(self) -> Verification:
        """Its whole source, read once."""
        return verify(self.plugin.name, self.dataset, self.progress)


def audit_dataset(
    plugin: Plugin,
    options: Mapping[str, Any] | None = None,
    root: Path | None = None,
    expected: Mapping[str, str] | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Audit:
    """Every check of a data set or a family of functions, whose files lie at `root` (else `FSBENCH_DATA`).

    The whole source is read twice; nothing is written. Raises `DataError` where its files are not there.
    """
    data = Data(plugin, options or {}, root, progress)
    checks = [judged("import", lambda: paper.imports(plugin))]
    if checks[0].standing == "passed":
        family = issubclass(plugin.load(), FunctionFamily)
        if not family:
            _find_files(data)
        every: Mapping[str, Callable[[Any], str]] = FAMILY_CHECKS if family else CHECKS
        of = {name: (lambda check=check: check(data)) for name, check in every.items()}
        checks += all_judged(of, needed=("options", "splits", "images"))
    return Audit(plugin.said, "dataset", excused(checks, expected, ()))


def _find_files(data: Data) -> None:
    """Raises `DataError` where its files are not there, which no check is to blame for."""
    try:
        if not data.dataset.on_demand:
            _ = data.listing
            next(data.build().images(data.progress), None)
    except DataError:
        raise
    except Exception:  # whatever a plugin raises is told by the checks
        return


def options(data: Data) -> str:
    """That it is built of its options, refuses others, and has images of a shape."""
    check_dataset(data.dataset)
    try:
        type(data.dataset)({UNKNOWN: 1}, data.dataset.root)
    except UsageError:
        named = ", ".join(f"{key}={value}" for key, value in data.dataset.options.items()) or "none"
        return f"images of {'x'.join(map(str, data.dataset.shape))}; options {named}"
    raise Fault(f"it takes an option that it does not have ({UNKNOWN}): call super().__init__(options, root)")


def splits(data: Data) -> str:
    """That each class stands in one split, with images enough for support and query, in the same order each time."""
    found = data.listing.splits
    owners: dict[str, str] = {}
    for split, members in found.items():
        for name, count in Counter(one.name for one in members).items():
            if count > 1:
                raise Fault(f"class {name} stands {count} times in {split}")
            if name in owners:
                raise Fault(f"class {name} stands in {owners[name]} and in {split}")
            owners[name] = split
    if not owners:
        raise Fault("it has no classes")
    if small := [one for members in found.values() for one in members if len(one.image_ids) < LEAST]:
        raise Fault(f"{len(small)} classes have fewer than {LEAST} images: {few(one.name for one in small)}")
    again = Listing(data.build()).splits
    if again != found:
        raise Fault("classes() is not the same twice")
    sizes = {split: sum(len(one.image_ids) for one in members) for split, members in found.items()}
    return "; ".join(f"{len(found[split]):,} classes and {size:,} images of {split}" for split, size in sizes.items())


def related(data: Data) -> str:
    """That classes which are made of one source stand together, and in one split."""
    each = data.dataset.related
    if each == 1:
        return "each class is of a source of its own"
    if not (type(each) is int and each > 1):
        raise Fault(f"related must be a whole number of at least 1, got {each!r}")
    for split, members in data.listing.splits.items():
        if len(members) % each:
            raise Fault(f"related is {each}, but {split} has {len(members):,} classes, which is no multiple of it")
    return f"{each} classes that follow each other are of one source, and stand in one split"


def identity(data: Data) -> str:
    """That it is a text of its own, the same each time, and says nothing of this machine."""
    said, again = data.dataset.identity(), data.build().identity()
    if not (isinstance(said, str) and said.strip()):
        raise Fault(f"identity must be a text, got {said!r}")
    if said != again:
        raise Fault(f"identity is {said!r}, and {again!r} of the same data set built again")
    for place in filter(None, (data.dataset.root, Path.home())):
        if len(str(place)) > 1 and str(place) in said:
            raise Fault(f"identity names a path of this machine: {said!r}")
    return said


def images(data: Data) -> str:
    """That all images are uint8 [n, C, H, W] as the classes say, and the prepared ones those of the source."""
    if data.dataset.on_demand:
        sampled = sum(len(_sample(data, split)) for split in data.dataset.splits)
        return f"{sampled:,} images that were made on demand are as they should be"
    found = data.verification
    if found.error:
        raise Fault(found.error)
    if found.cached.state == "damaged":
        raise Fault(f"what was prepared of it is damaged: {found.cached.folder}")
    if found.differing:
        raise Fault(f"the images of {few(found.differing)} are not those that were prepared of an equal identity")
    return f"{found.images:,} images, fingerprint {str(found.fingerprint)[:12]}"


def same_twice(data: Data) -> str:
    """That a second reading gives the same pixels."""
    if data.dataset.on_demand:
        for split in data.dataset.splits:
            if not np.array_equal(_sample(data, split), _sample(data, split)):
                raise Fault(f"images of {split} are others when they are made again")
        return "images are the same when they are made again"
    again = verify(data.plugin.name, data.build(), data.progress).fingerprint
    if again != data.verification.fingerprint:
        raise Fault("a second reading gives other pixels under the same identity: draw from a seed that the options state")
    return "a second reading gives the same pixels"


def duplicates(data: Data) -> str:
    """That no considerable part of a class is known from another split."""
    if data.dataset.on_demand:
        return _duplicates_on_demand(data)
    across = data.verification.across_splits
    sizes = {(split, one.name): len(one.image_ids) for split, one in data.listing.classes}
    held = Counter((image.split, image.class_name) for group in across for image in group)
    if many := [key for key, count in held.items() if count >= SHARE * sizes[key]]:
        said = few(f"{name} of {split} ({held[split, name]:,} of {sizes[split, name]:,})" for split, name in many)
        raise Fault(f"{len(many):,} classes hold images of another split: {said}")
    within = len(data.verification.duplicates) - len(across)
    said = "no equal images in two splits"
    if across:
        first = f"(as {across[0][0]} and {across[0][1]})"
        said = f"{len(across):,} groups of equal images in two splits, a small part of their classes {first}"
    return f"{said}; {within:,} within a split"


def _duplicates_on_demand(data: Data) -> str:
    rows = [(split, image) for split in data.dataset.splits for image in _sample(data, split)]
    for group in equal_rows(image_hashes(np.stack([image for _, image in rows]))):
        if len(where := {rows[row][0] for row in group}) > 1:
            raise Fault(f"an image stands in {' and in '.join(sorted(where))}")
    return f"no two splits share one of {len(rows):,} images, one a class"


def _sample(data: Data, split: str) -> Images:
    """The first image of each of the first classes of a split, made anew [n, C, H, W]."""
    dataset: Dataset = data.build()
    bank = checked_bank(type(dataset).__name__, dataset.bank(split), dataset.shape)
    images: Images = bank.gather(np.asarray(bank.starts[:-1][:SAMPLE], np.int64)).numpy()
    return images


def pixels_in_identity(data: Data) -> str:
    """That other pixels have another identity, tried on a copy whose images are inverted."""
    if data.dataset.on_demand:
        raise Skip("its images are made on demand")
    with other_pixels(data.dataset) as root:
        changed: Dataset = data.build(root)
        try:
            found, said = verify(data.plugin.name, changed, data.progress), changed.identity()
        except FewshotError as error:
            raise Skip(f"it refuses a changed copy: {str(error).partition(chr(10))[0]}") from None
    if found.error:
        raise Skip(f"it refuses a changed copy: {found.error.partition(chr(10))[0]}")
    if found.fingerprint == data.verification.fingerprint:
        raise Skip("inverted files give the same images: it does not read those")
    if said == data.dataset.identity():
        raise Fault(f"other pixels have the same identity, {said!r}: old images would be taken from the cache")
    return f"a copy with inverted images is {said!r}"


CHECKS: Mapping[str, Callable[[Data], str]] = {
    "options": options,
    "splits": splits,
    "related classes": related,
    "identity": identity,
    "images": images,
    "same twice": same_twice,
    "duplicates across splits": duplicates,
    "identity of other pixels": pixels_in_identity,
}
