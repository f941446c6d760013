"""A request, checked as a whole before any work: which classes, which specs, which run."""

import hashlib
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from fewshot_bench.backbone_section import take_weights
from fewshot_bench.data.answers import checked_classes
from fewshot_bench.data.choice import DataChoice, kind_of, other_data
from fewshot_bench.data.dataset import Dataset
from fewshot_bench.data.functions import FunctionFamily
from fewshot_bench.episodes.size import MORE
from fewshot_bench.errors import UsageError
from fewshot_bench.identity import run_id
from fewshot_bench.learning.answers import checked_backbone, checked_method
from fewshot_bench.learning.base import Method, MethodInfo
from fewshot_bench.learning.hparams import build_hparams
from fewshot_bench.plugins import registry
from fewshot_bench.recipes import DEFAULTS, apply_settings, merge, recipe_sections
from fewshot_bench.runs.plan import resolve_device
from fewshot_bench.runs.requests.accepted import check_accepted
from fewshot_bench.runs.requests.backbone_choice import BackboneChoice
from fewshot_bench.runs.requests.budget import budget_text, within_budget
from fewshot_bench.runs.requests.expansion import expand_test, expand_train, train_mode
from fewshot_bench.runs.requests.initial_values import found_elsewhere
from fewshot_bench.runs.requests.request import Request, TestRequest
from fewshot_bench.source.source_hash import source_of
from fewshot_bench.specs import Kind, TestSpec, TrainSpec
from fewshot_bench.threads import told

SOME_CLASSES = 64
"""So many training classes has a method that is built to hear what it reads."""
UNHEARD = frozenset({"safetensors", "h5py", "pyarrow", "opencv-python", "opencv-python-headless"})
"""Distributions that open files without Python's knowledge: where a method uses one, its initial values are compared."""


@dataclass(frozen=True)
class Resolved:
    """A request that can be carried out."""

    method: registry.Plugin
    method_class: type[Method]
    backbone: BackboneChoice | None
    dataset: Dataset | FunctionFamily
    train: TrainSpec
    test: TestSpec
    device: str
    source_sha256: str
    """Hash of the source of the method and its backbone, as it was imported."""
    test_data: Dataset | FunctionFamily
    """What is tested on: `dataset` itself, or another."""
    test_reference: str
    """As it was asked for: a name, or `file.py:Class`."""
    packages: Mapping[str, str] = field(default_factory=dict)
    """Distributions that the method uses beside those that every record names, and their versions."""
    budget: str = ""
    """What became of a budget of training images, in a line; "" where none was given."""

    @cached_property
    def run_id(self) -> str:
        """The run's identity."""
        return run_id(self.train, self.source_sha256, self.dataset.identity())

    @property
    def folder_name(self) -> str:
        """The name of the run's folder: readable, and unique through the run id."""
        return f"{self.method.name}-{self.train.dataset}-{self.run_id}".replace(":", "-")

    @property
    def kind(self) -> Kind:
        """What its tasks are."""
        return kind_of(self.dataset)

    def build(self, input_shape: tuple[int, ...], training_classes: int) -> Method:
        """The method with fresh parameters, drawn from torch's present generator; raises `UsageError` for a backbone that
        does not fit the data or the normalisation."""
        ways = self.train.max_ways or self.train.ways or 0
        info = MethodInfo(self.kind, ways, ways * self.train.largest_shots, input_shape, training_classes)
        name = self.train.backbone.name if self.train.backbone else None
        try:
            backbone = checked_backbone(str(name), self.backbone.build(input_shape)) if self.backbone else None
        except ValueError as error:  # how a backbone refuses its inputs
            reason = "it takes images, not points" if self.kind == "regression" else error
            raise UsageError(f"Backbone {name!r} with data set {self.train.dataset!r}: {reason}.") from None
        if backbone is not None and backbone.channels and self.train.normalisation == "none":
            raise UsageError(f"Backbone {name!r} normalises its layers: train.normalisation must say how, not 'none'.")
        method = self.method_class(build_hparams(self.method_class.Hparams, self.train.hparams), info, backbone)
        if self.train.backbone is not None and self.train.backbone.frozen and self.train.updates:
            _check_trains(self.method.name, method)
        return checked_method(method, trained=self.method_class.trained and self.train.updates > 0)

    def training_classes(self) -> int:
        """How many classes it trains on, as the data set says; no image is read."""
        lists = {} if isinstance(self.dataset, FunctionFamily) else checked_classes(self.dataset)
        return sum(len(lists.get(split, ())) for split in self.train.split.split("+"))

    def build_meta(self, input_shape: tuple[int, ...], training_classes: int | None = None) -> Method:
        """The method without storage or initial values, to count its parameters; None: of as many classes as there are."""
        classes = self.training_classes() if training_classes is None else training_classes
        with torch.device("meta"):
            return self.build(input_shape, classes)


def resolve(request: Request) -> Resolved:
    """Check a request and expand it; raises `UsageError` or `DataError` before any work is done."""
    for name, given in (("ways", request.ways), ("shots", request.shots)):
        if (given is not None or name == "shots") and (not isinstance(given, int) or given < 1):
            raise UsageError(f"--{name} must be a whole number of at least 1, got {given!r}.")
    told(request.threads)  # refused here where it is no number of them
    plugin = registry.find("methods", request.classes.get("method", request.method))
    data = DataChoice.of(request.dataset, request.classes.get("dataset"))
    method_class: type[Method] = plugin.load()
    kind = data.kind
    target = {"ways": _ways(request, kind), "shots": request.shots}
    _check_kind(plugin, method_class, data.name, kind)
    tested_class = request.classes.get("test_dataset")
    other = other_data(request.test_dataset, data, elsewhere=request.test_data_root is not None, given=tested_class)
    recipe = recipe_sections(plugin, request.recipe, request.dataset, **target)
    sections = merge(DEFAULTS[kind], {"train": target, "validation": target, "test": target}, recipe)
    own = {"method": [f.name for f in fields(method_class.Hparams)], "data": list(data.options)}
    own |= {"test_data": list(other.options)} if other else {}
    options = {key: getattr(request, key) for key in ("protocol", "queries", "episodes")}
    _take_backbone(request, method_class, plugin.name, sections["train"])
    sections = apply_settings(sections, request.settings, own, options)
    dataset, test_root = data.build(sections["data"], request.data_root), request.test_data_root
    tested = other.build_like(dataset, sections["test_data"], request.data_root, test_root) if other else dataset
    device = resolve_device(request.device)
    weights = take_weights(sections["train"])
    hparams = build_hparams(method_class.Hparams, sections["method"])
    tested_name = other.name if other else data.name
    test = expand_test(method_class, hparams, tested_name, tested, sections, train_mode(method_class, sections))
    type_of_device = device.split(":")[0]
    about = (test, type_of_device, data.name, dataset)
    train, budget = expand_train(plugin, method_class, hparams, request.seed, sections, *about), ""
    if request.images is not None:
        sections = within_budget(request.images, train, sections, apply_settings(merge(), request.settings, own))
        train = expand_train(plugin, method_class, hparams, request.seed, sections, *about)
        budget = budget_text(request.images, train, kind)
    backbone = BackboneChoice.of(train.backbone, weights)
    if backbone is not None and (reads := backbone.reads(dataset.shape)):
        backbone = replace(backbone, spec=backbone.spec.model_copy(update={"reads": reads}))
        train = train.model_copy(update={"backbone": backbone.spec})
    source = source_of(method_class, *([backbone.factory] if backbone else []))
    reference = other.reference if other else data.reference
    code = source.sha256, tested, reference, source.packages, budget
    return _with_reads(Resolved(plugin, method_class, backbone, dataset, train, test, device, *code))


def resolve_seeds(request: Request, seeds: Sequence[int]) -> list[Resolved]:
    """The request under each of `seeds`, resolved once: what is edited while one trains does not change the next."""
    first = resolve(replace(request, seed=seeds[0]))
    return [replace(first, train=first.train.model_copy(update={"seed": seed})) for seed in seeds]


def resolve_again(
    method: str, backbone: str | None, data: str, train: TrainSpec, test: TestSpec, device: str, root: Path | None
) -> Resolved:
    """The run of a record, resolved on this machine under the record's own specs; `method`, `backbone` and `data` are
    references, each imported. It is tested on what it was trained on."""
    plugin = registry.find("methods", method)
    dataset = DataChoice.of(data).build(train.data, root)
    method_class, network = plugin.load(), BackboneChoice.of(train.backbone, reference=backbone)
    source = source_of(method_class, *([network.factory] if network else []))
    code = source.sha256, dataset, data, source.packages
    return _with_reads(Resolved(plugin, method_class, network, dataset, train, test, resolve_device(device), *code))


def another_test(run: Resolved, request: TestRequest, made: TestSpec, made_on: str | None = None) -> Resolved:
    """The run with another test, where its own was `made`, on the data set `made_on` (a reference; None: as trained)."""
    if made_on == run.test_reference and request.dataset is None and request.test_data_root is None:
        raise UsageError(
            f"The run was tested on {made_on} from another place, which a record does not name: say --test-data-root,\n"
            f"or --test-dataset {shlex.quote(made_on)} for the data that it was trained on."
        )
    trained = DataChoice.of(run.test_reference)
    other = other_data(request.dataset or made_on, trained, elsewhere=request.test_data_root is not None)
    options = {key: getattr(request, key) for key in ("protocol", "ways", "shots", "queries", "episodes")}
    sections = apply_settings(merge(), request.settings, {"test_data": other.options} if other else {}, options)
    if others := [name for name in sections if sections[name] and not name.startswith("test")]:
        raise UsageError(f"The run is trained already: --set takes keys of section 'test' here, not of {others[0]!r}.")
    if other and request.dataset is None:
        sections["test_data"] = {**made.data, **sections["test_data"]}
    roots = request.data_root, request.test_data_root
    tested = other.build_like(run.dataset, sections["test_data"], *roots) if other else run.dataset
    wanted = sections["test"]
    kept = {"protocol", "ways", "shots", "inner_steps", "extra_metrics"}
    if wanted.get("protocol", made.protocol) == made.protocol:  # another has conditions of its own
        kept |= {"queries", "episodes", "seed", "normalisation", *MORE}
    sections["test"] = made.model_dump(include=kept) | wanted
    hparams = build_hparams(run.method_class.Hparams, run.train.hparams)
    name, reference = (other.name, other.reference) if other else (run.train.dataset, run.test_reference)
    test = expand_test(run.method_class, hparams, name, tested, sections, run.train.normalisation)
    check_accepted(run.method.name, run.method_class, run.kind, run.train, test)
    return replace(run, test=test, test_data=tested, test_reference=reference)


def _ways(request: Request, kind: Kind) -> int:
    """The ways of a request: 5 unless it says otherwise; 1, in place of none, for functions."""
    if kind == "classification":
        return 5 if request.ways is None else request.ways
    if request.ways not in (None, 1):
        raise UsageError(f"{request.dataset} is a family of functions, which have no ways: leave --ways out.")
    return 1


def _check_kind(plugin: registry.Plugin, method_class: type[Method], dataset: str, kind: Kind) -> None:
    """Refuse tasks that the method cannot learn, naming those that can."""
    if kind in method_class.kinds:
        return
    able = []
    for name, other in registry.registered("methods").items():
        with suppress(UsageError):  # one that cannot be imported here
            if kind in other.load().kinds:
                able.append(name)
    raise UsageError(f"{plugin.name} does not support {kind}, which {dataset} needs.\nThose that do: {', '.join(able)}.")


def _take_backbone(request: Request, method_class: type[Method], name: str, train: dict[str, Any]) -> None:
    """Put the backbone that is asked for into section `train`; raises `UsageError` where it can have none, or is named
    twice."""
    pairs = [setting.partition("=") for setting in request.settings]
    settings = {key.strip().removeprefix("train."): value.strip() for key, _, value in pairs}
    set_here = any(key.partition(".")[0] == "backbone" and value != "null" for key, value in settings.items())
    if not method_class.needs_backbone and (request.backbone is not None or set_here):
        raise UsageError(f"{name} takes no backbone: leave --backbone and --set backbone out.")
    if request.backbone is not None:
        if settings.keys() & {"backbone", "backbone.name"}:
            raise UsageError("The backbone is named twice: leave --set backbone out, or --backbone.")
        train["backbone"] = {"name": request.backbone}


def _check_trains(name: str, method: Method) -> None:
    """Refuse a training of which a frozen backbone leaves nothing; raises `UsageError`."""
    if not any(one.requires_grad for one in method.parameters()):
        raise UsageError(f"{name} has nothing to train with its backbone frozen: --set updates=0 tests it as it is.")


def _with_reads(resolved: Resolved) -> Resolved:
    """The same, its source with what the method reads from files as it is built. What else is wrong with it is said where
    it is built to be used."""

    def make() -> Method:
        return resolved.build(resolved.dataset.shape, SOME_CLASSES)

    reads = None
    with suppress(Exception):
        reads = found_elsewhere(make, values=bool(resolved.packages.keys() & UNHEARD))
    return replace(resolved, source_sha256=_joined(resolved.source_sha256, reads)) if reads else resolved


def _joined(*hashes: str) -> str:
    return hashlib.sha256(repr(hashes).encode()).hexdigest()
