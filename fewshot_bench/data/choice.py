"""Which data set a request names, and how it is built: one, several joined by `+`, or another for the test alone."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fewshot_bench.data.answers import check_dataset, check_family
from fewshot_bench.data.dataset import Dataset, root_of
from fewshot_bench.data.functions import FunctionFamily
from fewshot_bench.data.several import SeveralDatasets, is_several
from fewshot_bench.errors import UsageError
from fewshot_bench.plugins import registry
from fewshot_bench.source.source_hash import source_sha256
from fewshot_bench.specs import Kind

Data = Dataset | FunctionFamily
READING = ("resize", "depth", "background")
"""Options that say how an image is read, beside its shape. A test's images are read as those of its training."""


@dataclass(frozen=True)
class DataChoice:
    """A data set by the name that a spec has for it."""

    name: str
    reference: str
    """As it was asked for: a name, `file.py:Class`, or names joined by `+`."""
    types: tuple[type[Data], ...]

    @classmethod
    def of(cls, reference: str, given: type | None = None) -> "DataChoice":
        """The choice that a reference names, or that is the class `given`; raises `UsageError`."""
        parts = [given] if given else reference.split("+") if is_several(reference) else [reference]
        found = [registry.find("datasets", part) for part in parts]
        types = tuple(load_dataset(one) for one in found)
        return cls("+".join(one.name for one in found), reference, types)

    @property
    def kind(self) -> Kind:
        """What its tasks are."""
        return "regression" if issubclass(self.types[0], FunctionFamily) else "classification"

    @property
    def options(self) -> Mapping[str, Any]:
        """The keys of its section, with defaults."""
        return {key: value for one in self.types for key, value in one.defaults.items()}

    def build(self, options: Mapping[str, Any], given: Path | None, option: str = "--data-root") -> Data:
        """The data set, looked for where `option` (`given`) or FSBENCH_DATA says; raises `UsageError` or `DataError`."""
        if len(self.types) > 1:
            return SeveralDatasets(self.name, options, given)
        data = self.types[0](options, root_of(self.types[0], given, option))
        if isinstance(data, FunctionFamily):
            check_family(data)
        else:
            check_dataset(data)
        return data

    def build_like(self, trained: Data, options: Mapping[str, Any], given: Path | None, elsewhere: Path | None) -> Data:
        """The data set to test on after training on another one; its images have the same shape. It lies `elsewhere`
        (--test-data-root), else where the training's does (`given`).

        Its images are read as those of training, in shape and in all that `READING` names, unless `options` say otherwise.
        Raises `UsageError` if the shapes still differ.
        """
        if len(self.types) > 1:
            raise UsageError(f"A test uses one data set, not {self.name}: name one of them with --test-dataset.")
        wanted: dict[str, Any] = {}
        if len(trained.shape) == 3:
            wanted = {"channels": trained.shape[0], "side": trained.shape[1]}
        part = trained.members.get(self.name) if isinstance(trained, SeveralDatasets) else None
        root, option = (elsewhere, "--test-data-root") if elsewhere is not None else (given, "--data-root")
        is_part = part is not None and root_of(self.types[0], root, option) == part.root
        wanted |= self._read_as(part or trained)
        like = {key: value for key, value in wanted.items() if key in self.options}
        if is_part and part is not None:  # the very data set, of which training has a part
            like |= part.stated
        dataset = self.build({**like, **options}, root, option)
        if isinstance(dataset, Dataset):
            dataset.tests_alone = not is_part
            dataset.unlike = {key: value for key, value in options.items() if like.get(key, value) != value}
        if dataset.shape != trained.shape:
            shapes = ["×".join(map(str, one.shape)) for one in (trained, dataset)]
            own = ", ".join(self.options) or "none"
            raise UsageError(
                f"The training images are {shapes[0]}, those of {self.name} are {shapes[1]}: a network takes one shape.\n"
                f"Options of {self.name} that --set test_data.KEY=VALUE can set: {own}."
            )
        return dataset

    def _read_as(self, trained: Data) -> dict[str, Any]:
        """How the images of training are read, in options that mean the same here."""
        members = list(trained.members.values()) if isinstance(trained, SeveralDatasets) else [trained]
        found: dict[str, Any] = {}
        for one in members:
            for key in READING:
                if key in one.defaults and key in self.options and one.defaults[key] == self.options[key]:
                    found.setdefault(key, one.options[key])
        return found


def load_dataset(plugin: registry.Plugin) -> type[Data]:
    """The class of a data set. If it is not installed (`file.py:Class`), its identity also names its source: an edited file
    is another data set, which is prepared anew and gives another run."""
    found: type[Data] = plugin.load()
    if ":" in plugin.name and "written_identity" not in vars(found):
        holder: Any = next(one for one in found.__mro__ if "identity" in vars(one))
        written = vars(holder).get("written_identity", holder.identity)  # a base that was loaded has its own source in it
        source = source_sha256(found)[:12]
        vars_of: Any = found
        vars_of.written_identity = written
        vars_of.identity = lambda self: f"{written(self)}-{source}"
    return found


def other_data(
    reference: str | None, trained: DataChoice, *, elsewhere: bool = False, given: type | None = None
) -> DataChoice | None:
    """The data set to test on, if it is not the training's; one of the same name that lies `elsewhere` counts as another.
    None if it is the training's. Raises `UsageError` where it does not fit."""
    if reference is None or reference == trained.reference:
        if elsewhere and len(trained.types) == 1:
            return trained
        if len(trained.types) > 1:
            first = shlex.quote(trained.reference.split("+")[0])
            raise UsageError(f"A test uses one of the data sets {trained.name}. Add --test-dataset {first}")
        return None
    other = DataChoice.of(reference, given)
    if other.kind != trained.kind:
        raise UsageError(
            f"{trained.name} is {trained.kind}, {other.name} is {other.kind}: a run learns one kind only.\n"
            "Leave --test-dataset out."
        )
    return other


def kind_of(dataset: Data) -> Kind:
    """What the tasks of a data set are."""
    return "regression" if isinstance(dataset, FunctionFamily) else "classification"
