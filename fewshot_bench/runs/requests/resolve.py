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
from fewshot_bench.recipes import DEFAULTS, Sections, apply_settings, merge, recipe_sections
from fewshot_bench.request import Request, TestRequest
from fewshot_bench.runs.plan import resolve_device
from fewshot_bench.runs.requests.accepted import (
    check_named,
    check_numbers,
    check_said,
    check_sections,
    check_test_alone,
    check_tested,
    check_trained,
)
from fewshot_bench.runs.requests.backbone_choice import BackboneChoice
from fewshot_bench.runs.requests.budget import budget_text, within_budget
from fewshot_bench.runs.requests.expansion import Learner, Named, expand_test, expand_train
from fewshot_bench.runs.requests.initial_values import found_elsewhere
from fewshot_bench.runs.requests.trusted_names import Names
from fewshot_bench.source.source_hash import source_of
from fewshot_bench.specs import Kind, TestSpec, TrainSpec

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
    recipe_updates: int | None = None
    """Updates of the recipe, where the request asks for another number."""

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
    """Check a request and expand it: defaults <- recipe <- settings -> specifications -> accepted; raises `UsageError` or
    `DataError` before any work is done."""
    check_numbers(request)
    plugin = registry.find("methods", request.classes.get("method", request.method))
    choice = DataChoice.of(request.dataset, request.classes.get("dataset"))
    method_class: type[Method] = plugin.load()
    check_named(request, plugin.name, method_class, choice)
    other = _other(request, choice, request.test_dataset, request.classes.get("test_dataset"))

    size = {"ways": _ways(request, choice.kind), "shots": request.shots}
    recipe = recipe_sections(plugin, request.recipe, request.dataset, **size)
    named: Sections = {"train": {"backbone": {"name": request.backbone}}} if request.backbone is not None else {}
    sections = merge(DEFAULTS[choice.kind], {"train": size, "validation": size, "test": size}, recipe, named)
    keys = {"method": [f.name for f in fields(method_class.Hparams)], "data": list(choice.options), **_keys(other)}
    planned = sections["train"].get("updates")
    said = apply_settings(merge(), request.settings, keys)
    sections = apply_settings(
        sections, request.settings, keys, _options(request, "protocol", "queries", "episodes", "sampling")
    )
    sections["train"].setdefault("normalisation", method_class.default_mode)

    trained = Named(choice.name, choice.reference, choice.build(sections["data"], request.data_root))
    tested = _tested_on(other, trained, sections, request)
    device = resolve_device(request.device)
    weights = take_weights(sections["train"])
    learner = Learner(plugin, method_class, build_hparams(method_class.Hparams, sections["method"]))

    check_said(learner, said)
    check_sections(learner, sections)
    test = expand_test(learner, tested, sections)
    fixed = test, request.seed, device.split(":")[0]
    train, budget = expand_train(learner, trained, sections, *fixed), ""
    if request.images is not None:
        sections = within_budget(request.images, train, sections, said)
        train = expand_train(learner, trained, sections, *fixed)
        budget = budget_text(request.images, train, choice.kind)
    check_tested(learner, choice.kind, train, test)
    check_trained(learner, trained, train)

    backbone = BackboneChoice.of(train.backbone, weights)
    if backbone is not None and (reads := backbone.reads(trained.data.shape)):
        backbone = replace(backbone, spec=backbone.spec.model_copy(update={"reads": reads}))
        train = train.model_copy(update={"backbone": backbone.spec})
    source = source_of(method_class, *([backbone.factory] if backbone else []))
    return _with_reads(
        Resolved(
            method=plugin,
            method_class=method_class,
            backbone=backbone,
            dataset=trained.data,
            train=train,
            test=test,
            device=device,
            source_sha256=source.sha256,
            test_data=tested.data,
            test_reference=tested.reference,
            packages=source.packages,
            budget=budget,
            recipe_updates=planned if isinstance(planned, int) and planned not in (0, train.updates) else None,
        )
    )


def resolve_seeds(request: Request, seeds: Sequence[int]) -> list[Resolved]:
    """The request under each of `seeds`, resolved once: what is edited while one trains does not change the next."""
    first = resolve(replace(request, seed=seeds[0]))
    return [replace(first, train=first.train.model_copy(update={"seed": seed})) for seed in seeds]


def resolve_again(names: Names, train: TrainSpec, test: TestSpec, device: str, root: Path | None) -> Resolved:
    """The run of a record, resolved on this machine under the record's own specs; what `names` refers to is imported. It is
    tested on what it was trained on."""
    plugin = registry.find("methods", names.method)
    dataset = DataChoice.of(names.dataset).build(train.data, root)
    method_class, backbone = plugin.load(), BackboneChoice.of(train.backbone, reference=names.backbone)
    source = source_of(method_class, *([backbone.factory] if backbone else []))
    return _with_reads(
        Resolved(
            method=plugin,
            method_class=method_class,
            backbone=backbone,
            dataset=dataset,
            train=train,
            test=test,
            device=resolve_device(device),
            source_sha256=source.sha256,
            test_data=dataset,
            test_reference=names.dataset,
            packages=source.packages,
        )
    )


def another_test(run: Resolved, request: TestRequest, made: TestSpec, made_on: str | None = None) -> Resolved:
    """The run with another test: the path of `resolve`, from the test that was `made` in place of defaults and a recipe.

    It was made on the data set `made_on` (a reference; None: as trained), and stays there unless the request names another.
    """
    if made_on == run.test_reference and request.test_dataset is None and request.test_data_root is None:
        raise UsageError(
            f"The run was tested on {made_on} from another place, which a record does not name: say --test-data-root,\n"
            f"or --test-dataset {shlex.quote(made_on)} for the data that it was trained on."
        )
    trained = Named(run.train.dataset, run.test_reference, run.dataset)
    other = _other(request, DataChoice.of(run.test_reference), request.test_dataset or made_on)

    options = _options(request, "protocol", "ways", "shots", "queries", "episodes", "sampling")
    said = apply_settings(merge(), request.settings, _keys(other), options)
    check_test_alone(said)
    made_sections: Sections = {
        "train": {"normalisation": run.train.normalisation},
        "test": _kept(made, said["test"]),
        "test_data": made.data if other and request.test_dataset is None else {},
    }
    sections = merge(made_sections, said)

    tested = _tested_on(other, trained, sections, request)
    learner = Learner(run.method, run.method_class, build_hparams(run.method_class.Hparams, run.train.hparams))
    test = expand_test(learner, tested, sections)
    check_tested(learner, run.kind, run.train, test)
    return replace(run, test=test, test_data=tested.data, test_reference=tested.reference)


def _ways(request: Request, kind: Kind) -> int:
    """The ways of a request: 5 unless it says otherwise; 1, in place of none, for functions."""
    return 1 if kind == "regression" else 5 if request.ways is None else request.ways


def _options(request: Request | TestRequest, *names: str) -> dict[str, Any]:
    """What options say of the test."""
    return {name: getattr(request, name) for name in names}


def _keys(other: DataChoice | None) -> dict[str, list[str]]:
    """The keys of section `test_data`."""
    return {"test_data": list(other.options)} if other else {}


def _kept(made: TestSpec, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """What stays of the test that was made, where section `test` says more: another protocol has conditions of its own."""
    kept = {"protocol", "ways", "shots", "inner_steps", "extra_metrics"}
    if wanted.get("protocol", made.protocol) == made.protocol:
        kept |= {"queries", "episodes", "seed", "normalisation", *MORE}
    return made.model_dump(include=kept)


def _other(
    request: Request | TestRequest, trained: DataChoice, reference: str | None, given: type | None = None
) -> DataChoice | None:
    """What is tested on, where it is not what is trained on."""
    return other_data(reference, trained, elsewhere=request.test_data_root is not None, given=given)


def _tested_on(other: DataChoice | None, trained: Named, sections: Sections, request: Request | TestRequest) -> Named:
    """What is tested on, built."""
    if other is None:
        return trained
    roots = request.data_root, request.test_data_root
    return Named(other.name, other.reference, other.build_like(trained.data, sections["test_data"], *roots))


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
