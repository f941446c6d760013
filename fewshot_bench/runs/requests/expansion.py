"""The sections of a request, recipe and settings merged, as complete specifications; each raises `UsageError`."""

from typing import Any

from fewshot_bench.data.choice import Data, kind_of
from fewshot_bench.data.dataset import Dataset
from fewshot_bench.episodes.augmentation import augmentations, check_augmentation
from fewshot_bench.episodes.protocols import PROTOCOLS, check_episodes, check_test_mode, conditions, test_default
from fewshot_bench.episodes.size import MORE, EpisodeSize
from fewshot_bench.errors import UsageError
from fewshot_bench.learning.base import Method
from fewshot_bench.learning.normalisation import TRAIN_MODES
from fewshot_bench.metrics import METRICS
from fewshot_bench.plugins import registry
from fewshot_bench.recipes import Sections
from fewshot_bench.runs.requests.accepted import check_accepted
from fewshot_bench.specs import Normalisation, TestSpec, TrainSpec, Validation


def train_mode(method_class: type[Method], sections: Sections) -> Normalisation:
    """Whose statistics normalise in training, the method's default unless given."""
    mode: Normalisation = sections["train"].setdefault("normalisation", method_class.default_mode)
    allowed = [m for m in ("none", *TRAIN_MODES) if m in method_class.modes]
    if mode not in allowed:
        raise UsageError(f"train.normalisation must be one of {', '.join(allowed)} here, got {mode!r}.")
    return mode


def expand_test(
    method_class: type[Method],
    hparams: Any,
    name: str,
    dataset: Data,
    sections: Sections,
    trained: Normalisation,
) -> TestSpec:
    """What section `test` asks of a data set `name`, where training normalises by mode `trained`."""
    wanted = sections["test"]
    if kind_of(dataset) == "classification" and wanted["ways"] == 1:
        raise UsageError("A test of 1 way has nothing to tell apart: at least --ways 2.")
    asked = {key: wanted.get(key) for key in ("queries", "episodes", "seed")}
    rules = conditions(str(wanted["protocol"]), kind_of(dataset), name, wanted["shots"], **asked)
    protocol = PROTOCOLS[wanted["protocol"]]
    mode = wanted.get("normalisation")
    if mode is None:
        mode = test_default(trained, transductive=bool(protocol.transductive))
    spec = TestSpec.checked(
        {
            "protocol": protocol.name,
            "dataset": name,
            "data": {**dataset.stated, **(dataset.unlike if isinstance(dataset, Dataset) else {})},
            "ways": wanted["ways"],
            "shots": wanted["shots"],
            **{name: wanted[name] for name in (*MORE, "extra_metrics") if wanted.get(name) is not None},
            **rules,
            "normalisation": mode,
            "inner_steps": method_class.inner_steps(hparams) if wanted.get("inner_steps") is None else wanted["inner_steps"],
        }
    )
    check_episodes(protocol.name, EpisodeSize.of(spec))
    if unfit := [one for one in spec.extra_metrics if METRICS[one].kind != kind_of(dataset)]:
        raise UsageError(f"test.extra_metrics: {', '.join(unfit)} cannot be had of {name}, which is {kind_of(dataset)}.")
    if mode not in method_class.modes:
        allowed = ", ".join(sorted(method_class.modes))
        raise UsageError(f"test.normalisation must be one of {allowed} for this method, got {mode!r}.")
    if spec.inner_steps is not None and method_class.inner_steps(hparams) is None:
        raise UsageError("test.inner_steps is for methods that take inner steps; this one takes none: leave it out.")
    check_test_mode(spec.normalisation, protocol.name, protocol.transductive is not False, method_class.modes)
    if method_class.transductive and protocol.transductive is False:
        raise UsageError(f"The method is transductive; protocol {protocol.name!r} is not: --protocol standard-transductive.")
    return spec


def expand_train(
    plugin: registry.Plugin,
    method_class: type[Method],
    hparams: Any,
    seed: int,
    sections: Sections,
    test: TestSpec,
    device: str,
    name: str,
    dataset: Data,
) -> TrainSpec:
    """What the sections `train` and `validation` ask of a data set `name`; its tests are those of `test`."""
    train = dict(sections["train"])
    is_off, validation = "validation" in train, None
    if not method_class.trained:
        train |= {"updates": 0, "selection": "last"}
    elif train.get("split") != "train+val" and not is_off:
        same = test.model_dump(include={"normalisation", "inner_steps", "unlabelled", "distractors"})
        validation = Validation.checked(same | sections["validation"])
    if not method_class.needs_backbone:
        train["backbone"] = None
    if method_class.trains_on == "episodes" and train.get("batch_size") is not None:
        raise UsageError(f"{plugin.name} trains on episodes, meta_batch_size of them an update: leave batch_size out.")
    if method_class.trains_on == "classes":
        train |= {"ways": None, "shots": None, "queries": None, "batch_size": train.get("batch_size", 128)}
    spec = TrainSpec.checked(
        train
        | {
            "method": plugin.name,
            "hparams": vars(hparams),
            "dataset": name,
            "data": dataset.stated,
            "validation": validation,
            "seed": seed,
            "device": device,
        }
    )
    if method_class.needs_backbone and spec.backbone is None:
        valid = ", ".join(registry.registered("backbones"))
        raise UsageError(f"{plugin.name} needs a backbone: --backbone NAME, one of {valid}.")
    check_augmentation(augmentations(dataset, spec.augment), dataset.shape)
    check_accepted(plugin.name, method_class, kind_of(dataset), spec, test)
    return spec
