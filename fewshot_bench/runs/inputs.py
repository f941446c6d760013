"""The data of a run: what it trains on and what it is tested on, prepared, checked, their splits kept beside the record."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from fewshot_bench.data.bank import ImageBank
from fewshot_bench.data.class_names import have_names, may_hide_shared, seen_as
from fewshot_bench.data.dataset import Dataset
from fewshot_bench.data.functions import FunctionData, FunctionFamily
from fewshot_bench.data.overlaps import check_images
from fewshot_bench.data.prepare import Note, OnDemand, Prepared, open_prepared, own_split_told, prepare
from fewshot_bench.data.several import SeveralDatasets, SeveralPrepared, banks_of
from fewshot_bench.episodes import enough_images
from fewshot_bench.episodes.batches import check_batch
from fewshot_bench.episodes.disjoint import check_most, most_disjoint
from fewshot_bench.episodes.protocols import PROTOCOLS
from fewshot_bench.episodes.size import EpisodeSize
from fewshot_bench.errors import DataError, TooFewClasses, UsageError, few
from fewshot_bench.kernels import Unavailable, library
from fewshot_bench.runs.listener import Listener
from fewshot_bench.runs.requests.resolve import Resolved
from fewshot_bench.runs.session import result_id
from fewshot_bench.specs import TestSpec, TrainSpec
from fewshot_bench.storage import atomic
from fewshot_bench.text.printable import printable

Data = Prepared | FunctionData
WITHOUT = {
    "val": "To train without validation: --set validation=none, for the last weights; else state classes of val.",
    "test": "A test needs classes of its own: state some of test, or name other data (--test-data-root, --test-dataset).",
}
"""What to do where a split has no classes, or one."""


def ready_data(resolved: Resolved) -> tuple[Data, Data] | None:
    """What a run trains on and what it is tested on, where nothing has to be prepared first, else None."""
    if (prepared := _ready(resolved.train.dataset, resolved.dataset)) is None:
        return None
    if resolved.test_data is resolved.dataset:
        return prepared, prepared
    tested = _ready(resolved.test.dataset, resolved.test_data)
    return None if tested is None else (prepared, tested)


def open_data(resolved: Resolved, listener: Listener) -> tuple[Data, Data]:
    """The same, prepared where that is needed; raises `DataError`, or `FewshotError` where the cache cannot be written."""
    if (ready := ready_data(resolved)) is not None:
        return ready
    with suppress(Unavailable):
        library()  # built now, so that a run on prepared data trains at once; a run that needs it says why it cannot be had
    for name, dataset in ((resolved.train.dataset, resolved.dataset), (resolved.test.dataset, resolved.test_data)):
        if _ready(name, dataset) is None:
            for one, member in _members(name, dataset).items():
                assert isinstance(member, Dataset), "functions are always ready"
                prepare(one, member, listener.preparing(one), listener.note)
    made = ready_data(resolved)
    assert made is not None, "all of it was prepared"
    return made


def tell_unread(resolved: Resolved, data_root: Path | None, test_data_root: Path | None, note: Note) -> None:
    """Say so where a place was named that nothing is read from: the images are prepared, from elsewhere."""
    said = [("--data-root", data_root, resolved.train.dataset, resolved.dataset)]
    if resolved.test_data is not resolved.dataset:
        said.append(("--test-data-root", test_data_root, resolved.test.dataset, resolved.test_data))
    for option, given, name, dataset in said:
        for one, member in _members(name, dataset).items() if given is not None else ():
            if isinstance(member, FunctionFamily):
                note(f"{option} {given} is not read: {one} has no files.")
            elif not member.own_root and (ready := open_prepared(one, member)) and not _is_of(ready, member):
                note(f"{option} {given} is not read: the images of {one} are in the cache, prepared before.")


def _is_of(ready: Prepared, dataset: Dataset) -> bool:
    """Whether images were prepared from the root that is named now, or may have been."""
    source = ready.meta.get("source", ...)
    return source is ... or (source and Path(source).resolve()) == (dataset.root and dataset.root.resolve())


def check_data(
    prepared: Data,
    train: TrainSpec,
    test: TestSpec,
    tested: Data | None = None,
    note: Note = lambda text: None,
    *,
    fixed_ways: bool = False,
) -> None:
    """Refuse, before any work, episodes that a split cannot give, and a test on classes or images that are trained or
    selected on; raises `UsageError` or `DataError`. `tested` None: tests are of `prepared`, whose splits share no class.
    `note` hears what they share that is not refused, and which part of another data set of the user's own is tested. Under
    `fixed_ways` the method has the same ways in training and test."""
    if isinstance(prepared, FunctionData) or isinstance(tested, FunctionData):  # any size can be drawn
        return
    tested = tested or prepared
    _check_room(prepared, train, test, tested, fixed_ways=fixed_ways)
    if train.updates and not (tested is prepared and isinstance(prepared, OnDemand)):  # which may have millions of classes
        _check_apart(prepared, train, test, tested)
    check_images(prepared, train, tested, test.dataset, note)
    if tested is not prepared:
        _check_depth(prepared, tested, test.dataset)
        _tell_part(test.dataset, tested, note)


def _check_room(prepared: Prepared, train: TrainSpec, test: TestSpec, tested: Prepared, *, fixed_ways: bool) -> None:
    """Refuse episodes and batches that a split cannot give; raises `UsageError` that names all that is wrong, and settings
    that fit."""
    sizes = {"test": EpisodeSize.of(test)}
    if (rules := train.validation) is not None:
        sizes = {"val": EpisodeSize.of(rules), **sizes}
    if train.updates and train.ways is not None:
        sizes = {train.split: EpisodeSize.of(train), **sizes}
    data = {split: tested if split == "test" else prepared for split in sizes}
    lacks = [lack for split, size in sizes.items() if (lack := _lack(data[split], split, size, _place(split, test)))]
    if lacks and fixed_ways:
        most = min(enough_images.classes_of(_banks(data[split], split)) for split in sizes)
        places = {split: replace(_place(split, test), together=most) for split in sizes}
        lacks = [lack for split, size in sizes.items() if (lack := _lack(data[split], split, size, places[split]))]
    if lacks:
        lines = list(dict.fromkeys(line for lack in lacks for line in str(lack).splitlines()))
        raise type(lacks[0])("\n".join([" ".join(lines[:-2]), *lines[-2:]] if len(lines) > 3 else lines))
    if test.sampling == "disjoint":
        (bank,) = _banks(tested, "test")
        check_most(test.episodes, most_disjoint(np.diff(bank.starts), sizes["test"]), sizes["test"])
    if train.updates and train.batch_size is not None:
        check_batch(prepared.bank(train.split), train.batch_size)


def _place(split: str, test: TestSpec) -> enough_images.Place:
    """Whose episodes are of a split."""
    if split == "val":
        return enough_images.Place("Validation", "validation")
    if split != "test":
        return enough_images.Place("Training", "train")
    queries = PROTOCOLS[test.protocol].queries
    return enough_images.Place("Test", "test", "shots" if queries == "shots" else "free" if queries is None else "fixed")


def _banks(data: Prepared, split: str) -> list[ImageBank]:
    """The banks of a split, none where there is no such split."""
    with suppress(TooFewClasses):
        return banks_of(data.bank(split))
    return []


def _lack(data: Prepared, split: str, size: EpisodeSize, place: enough_images.Place) -> UsageError | None:
    """The error where a split cannot give episodes of a size."""
    try:
        with own_split_told(data):
            enough_images.check(banks_of(data.bank(split)), size, place)
    except UsageError as error:
        banks = _banks(data, split)
        hint = WITHOUT.get(split) if not banks or enough_images.classes_of(banks) < 2 else None
        return type(error)(f"{error}\n{hint}") if hint else error
    return None


def write_splits(folder: Path, resolved: Resolved) -> None:
    """Keep each split that was drawn, or is the user's own, beside the record: `split.csv` of what is trained on, with the
    name of the data set where that is several, and with the result's id that of another data set which is tested on."""
    kept = _members("", resolved.dataset)
    if resolved.test_data is not resolved.dataset:
        kept[result_id(resolved)] = resolved.test_data
    for name, dataset in kept.items():
        split = dataset.split_csv() if isinstance(dataset, Dataset) else None
        if split is not None:
            with atomic(folder / (f"split-{name}.csv" if name else "split.csv")) as temporary:
                temporary.write_text(split, encoding="utf-8")


def _ready(name: str, dataset: Dataset | FunctionFamily) -> Data | None:
    if isinstance(dataset, FunctionFamily):
        return FunctionData(dataset)
    if not isinstance(dataset, SeveralDatasets):
        return open_prepared(name, dataset)
    parts = {one: open_prepared(one, member) for one, member in dataset.members.items()}
    whole = {one: part for one, part in parts.items() if part is not None}
    return SeveralPrepared(Path(), {}, whole) if len(whole) == len(parts) else None


def _members(name: str, dataset: Dataset | FunctionFamily) -> dict[str, Dataset | FunctionFamily]:
    """Data sets by name: those that one joins, or one under `name`."""
    return dict(dataset.members) if isinstance(dataset, SeveralDatasets) else {name: dataset}


def _check_apart(prepared: Prepared, train: TrainSpec, test: TestSpec, tested: Prepared) -> None:
    """Data sets may share classes: CIFAR-FS trains on some that FC100 tests, mini-ImageNet on some of tiered-ImageNet's. A
    plugin's splits may do so against what it promises."""
    splits = [train.split, *(["val"] if train.validation else [])]
    trained = [bank.class_names for split in splits for bank in banks_of(prepared.bank(split))]
    seen = {seen_as(name): name for names in trained for name in names}
    asked = tested.bank("test").class_names
    both = {name: seen[seen_as(name)] for name in asked if seen_as(name) in seen}
    if both:
        said = few(printable(name if name == other else f"{name} (there {other})") for name, other in both.items())
        told = (
            f"{len(both)} test classes of {test.dataset} are trained or selected on in {train.dataset}: {said}.\n"
            "A test is of classes that were never seen."
        )
        raise DataError(told) if tested is prepared else UsageError(told + _hint(prepared, tested, list(both)))
    if tested is not prepared and any(may_hide_shared(names, asked) for names in trained):
        nameless = train.dataset if have_names(asked) else test.dataset
        raise UsageError(
            f"It cannot be told whether test classes of {test.dataset} are trained or selected on in {train.dataset}: "
            f"the files of {nameless} do not name its classes.\n"
            "A test is of classes that were never seen: get files that name them."
        )


def _hint(prepared: Prepared, tested: Prepared, both: list[str]) -> str:
    """What may be meant instead of a test on classes that were seen."""
    roots = [one.dataset.root.resolve() for one in (prepared, tested) if one.dataset and one.dataset.root]
    if len(roots) == 2 and roots[0] == roots[1]:
        return "\nBoth lie in one place: without --test-data-root the test is on its own test classes."
    numbers = all(name.isdecimal() for name in both)
    return "\nNumbers may be other classes there: give them names (an array `names`, or folders)." if numbers else ""


def _check_depth(prepared: Prepared, tested: Prepared, name: str) -> None:
    """Refuse images of 16 bits which training and test would read with depths of their own: one grey would be two."""
    if tested.depth is None or tested.dataset is None or tested.dataset.options.get("depth") != 0:  # 0: nobody stated it
        return
    parts = prepared.parts.values() if isinstance(prepared, SeveralPrepared) else [prepared]
    depths = {part.depth for part in parts if part.depth is not None}
    if depths - {tested.depth}:
        trained = max(depths)
        raise UsageError(
            f"Images of 16 bits are read as of {trained} in training, as of {tested.depth} in {name}: the same values would "
            f"differ in brightness.\nState one depth for both: --set data.depth={max(trained, tested.depth)}. "
            f"To keep that of a training: --set test_data.depth={trained}."
        )


def _tell_part(name: str, tested: Prepared, note: Note) -> None:
    """Say where a user's own images are tested in part, because they state a split."""
    sizes = {split: len(one["classes"]) for split, one in tested.meta["splits"].items()} if tested.own else {}
    if sizes and sizes["test"] != (total := sum(sizes.values())):
        note(f"Tested on the {sizes['test']:,} test classes of {total:,} in {name}: {tested.own}.")
