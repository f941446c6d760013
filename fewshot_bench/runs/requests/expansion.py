"""The sections of a request, recipe and settings merged, as complete specifications; each raises `UsageError`.

What fits what is said in `accepted`.
"""

from dataclasses import dataclass
from typing import Any

from fewshot_bench.data.choice import Data, kind_of
from fewshot_bench.data.dataset import Dataset
from fewshot_bench.episodes.protocols import PROTOCOLS, conditions, test_default
from fewshot_bench.episodes.size import MORE
from fewshot_bench.learning.base import Method
from fewshot_bench.plugins import registry
from fewshot_bench.recipes import Sections
from fewshot_bench.specs import TestSpec, TrainSpec, Validation


@dataclass(frozen=True)
class Learner:
    """A method with its hyper-parameters."""

    plugin: registry.Plugin
    method_class: type[Method]
    hparams: Any

    @property
    def name(self) -> str:
        """As a specification has it."""
        return self.plugin.name


@dataclass(frozen=True)
class Named:
    """A data set, the name that a specification has for it, and how it was asked for: by a name, or `file.py:Class`."""

    name: str
    reference: str
    data: Data


def expand_test(learner: Learner, on: Named, sections: Sections) -> TestSpec:
    """What section `test` asks of a data set, where training normalises as section `train` says."""
    wanted, method = sections["test"], learner.method_class
    asked = {key: wanted.get(key) for key in ("queries", "episodes", "seed")}
    rules = conditions(str(wanted["protocol"]), kind_of(on.data), on.name, wanted["shots"], **asked)
    protocol = PROTOCOLS[wanted["protocol"]]
    mode, steps = wanted.get("normalisation"), wanted.get("inner_steps")
    if mode is None:
        mode = test_default(sections["train"]["normalisation"], transductive=bool(protocol.transductive))
    return TestSpec.checked(
        {
            "protocol": protocol.name,
            "dataset": on.name,
            "data": {**on.data.stated, **(on.data.unlike if isinstance(on.data, Dataset) else {})},
            "ways": wanted["ways"],
            "shots": wanted["shots"],
            **{name: wanted[name] for name in (*MORE, "extra_metrics") if wanted.get(name) is not None},
            **rules,
            "normalisation": mode,
            "inner_steps": method.inner_steps(learner.hparams) if steps is None else steps,
        }
    )


def expand_train(learner: Learner, on: Named, sections: Sections, test: TestSpec, seed: int, device: str) -> TrainSpec:
    """What the sections `train` and `validation` ask of a data set; validation is under the conditions of `test`."""
    train, method = dict(sections["train"]), learner.method_class
    is_off, validation = "validation" in train, None
    if not method.trained:
        train |= {"updates": 0, "selection": "last"}
    elif train.get("split") != "train+val" and not is_off:
        same = test.model_dump(include={"normalisation", "inner_steps", "unlabelled", "distractors"})
        validation = Validation.checked(same | sections["validation"])
    if not method.needs_backbone:
        train["backbone"] = None
    if method.trains_on == "classes":
        train |= {"ways": None, "shots": None, "queries": None, "batch_size": train.get("batch_size", 128)}
    return TrainSpec.checked(
        train
        | {
            "method": learner.name,
            "hparams": vars(learner.hparams),
            "dataset": on.name,
            "data": on.data.stated,
            "validation": validation,
            "seed": seed,
            "device": device,
        }
    )
