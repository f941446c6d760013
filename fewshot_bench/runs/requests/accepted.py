"""What fits what: every rule of what a method, its data and a protocol accept, said before any work.

Each function raises `UsageError`: of a request as it was given, of its sections, of the specifications that they come to.
"""

from contextlib import suppress
from typing import TYPE_CHECKING

from fewshot_bench.data.choice import kind_of
from fewshot_bench.episodes.augmentation import augmentations, check_augmentation
from fewshot_bench.episodes.protocols import PROTOCOLS, check_episodes, check_test_mode
from fewshot_bench.episodes.size import EpisodeSize
from fewshot_bench.episodes.standardisation import check_standardise
from fewshot_bench.errors import UsageError
from fewshot_bench.learning.normalisation import TRAIN_MODES
from fewshot_bench.metrics import METRICS
from fewshot_bench.plugins import registry
from fewshot_bench.threads import told

if TYPE_CHECKING:
    from fewshot_bench.data.choice import DataChoice
    from fewshot_bench.learning.base import Method
    from fewshot_bench.recipes import Sections
    from fewshot_bench.request import Request
    from fewshot_bench.runs.requests.expansion import Learner, Named
    from fewshot_bench.specs import Kind, TestSpec, TrainSpec

OF_TRAINING = frozenset(
    {"queries", "batch_size", "meta_batch_size", "updates", "augment", "precision", "selection", "optimiser", "momentum"}
    | {"nesterov", "weight_decay", "lr", "lr_halve_every", "lr_steps", "lr_linear", "gradient_clip", "gradient_norm_clip"}
)
"""Keys of section `train` that reach no method that trains nothing; its ways and shots, split, `standardise`, `dtype` and
normalisation do."""
NOTHING = {"updates": 0, "selection": "last"}
"""What is so of such a method, whether it is said or not."""


def check_numbers(request: "Request") -> None:
    """Ways and shots are numbers from 1 up, threads as many as a machine may have."""
    for name, given in (("ways", request.ways), ("shots", request.shots)):
        if (given is not None or name == "shots") and (not isinstance(given, int) or given < 1):
            raise UsageError(f"--{name} must be a whole number of at least 1, got {given!r}.")
    told(request.threads)


def check_named(request: "Request", name: str, method: "type[Method]", data: "DataChoice") -> None:
    """Functions have no ways; the method learns such tasks; it takes the backbone that is named, which is named once."""
    if data.kind == "regression" and request.ways not in (None, 1):
        raise UsageError(f"{request.dataset} is a family of functions, which have no ways: leave --ways out.")
    if data.kind not in method.kinds:
        able = ", ".join(_able(data.kind))
        raise UsageError(f"{name} does not support {data.kind}, which {data.name} needs.\nThose that do: {able}.")
    pairs = [setting.partition("=") for setting in request.settings]
    settings = {key.strip().removeprefix("train."): value.strip() for key, _, value in pairs}
    set_here = any(key.partition(".")[0] == "backbone" and value != "null" for key, value in settings.items())
    if not method.needs_backbone and (request.backbone is not None or set_here):
        raise UsageError(f"{name} takes no backbone: leave --backbone and --set backbone out.")
    if request.backbone is not None and settings.keys() & {"backbone", "backbone.name"}:
        raise UsageError("The backbone is named twice: leave --set backbone out, or --backbone.")


def check_said(learner: "Learner", said: "Sections") -> None:
    """A method that trains nothing is asked for no training: such a setting would decide nothing and yet make another id."""
    if learner.method_class.trained:
        return
    asked = [
        f"{section}.{key}"
        for section in ("train", "validation")
        for key, value in said[section].items()
        if (section == "validation" or key in OF_TRAINING) and NOTHING.get(key, ...) != value
    ]
    if asked:
        raise UsageError(f"{learner.name} trains nothing: leave --set {' and '.join(asked[:3])} out.")


def check_sections(learner: "Learner", sections: "Sections") -> None:
    """Training normalises as the method can, and an update sees what the method trains on."""
    mode, modes = sections["train"]["normalisation"], learner.method_class.modes
    allowed = [one for one in ("none", *TRAIN_MODES) if one in modes]
    if mode not in allowed:
        raise UsageError(f"train.normalisation must be one of {', '.join(allowed)} here, got {mode!r}.")
    if learner.method_class.trains_on == "episodes" and sections["train"].get("batch_size") is not None:
        raise UsageError(f"{learner.name} trains on episodes, meta_batch_size of them an update: leave batch_size out.")


def check_trained(learner: "Learner", on: "Named", train: "TrainSpec") -> None:
    """A training has the backbone, the augmentation and the validation that it needs."""
    if learner.method_class.needs_backbone and train.backbone is None:
        valid = ", ".join(registry.registered("backbones"))
        raise UsageError(f"{learner.name} needs a backbone: --backbone NAME, one of {valid}.")
    check_augmentation(augmentations(on.data, train.augment), on.data.shape)
    check_standardise(train.standardise, on.data.shape)
    if kind_of(on.data) == "classification" and train.validation is not None and train.validation.ways == 1:
        raise UsageError("A validation of 1 way has nothing to tell apart: at least --set validation.ways=2.")


def check_tested(learner: "Learner", kind: "Kind", train: "TrainSpec", test: "TestSpec") -> None:
    """A test is one of its protocol, and one that the method, trained like this, can take."""
    if kind == "classification" and test.ways == 1:
        raise UsageError("A test of 1 way has nothing to tell apart: at least --ways 2.")
    method, protocol, mode = learner.method_class, PROTOCOLS[test.protocol], test.normalisation
    check_episodes(protocol.name, EpisodeSize.of(test))
    if unfit := [name for name in test.extra_metrics if METRICS[name].kind != kind]:
        raise UsageError(
            f"{', '.join(unfit)} cannot measure {kind}, which {test.dataset} needs: leave test.extra_metrics out."
        )
    if mode not in method.modes:
        allowed = ", ".join(sorted(method.modes))
        raise UsageError(f"test.normalisation must be one of {allowed} for this method, got {mode!r}.")
    if test.inner_steps is not None and method.inner_steps(learner.hparams) is None:
        raise UsageError("test.inner_steps is for methods that take inner steps; this one takes none: leave it out.")
    check_test_mode(mode, protocol.name, protocol.transductive is not False, method.modes)
    if method.transductive and protocol.transductive is False:
        raise UsageError(f"The method is transductive; protocol {protocol.name!r} is not: --protocol standard-transductive.")
    if kind == "regression":
        _check_functions(train, test)
    _check_sizes(learner.name, method, train, test)


def check_test_alone(said: "Sections") -> None:
    """A test of a finished run changes nothing of its training."""
    if others := [name for name in said if said[name] and not name.startswith("test")]:
        raise UsageError(f"The run is trained already: --set takes keys of section 'test' here, not of {others[0]!r}.")


def _able(kind: "Kind") -> list[str]:
    """Names of the methods that learn such tasks, but for those that cannot be imported here."""
    found = []
    for name, other in registry.registered("methods").items():
        with suppress(UsageError):
            if kind in other.load().kinds:
                found.append(name)
    return found


def _check_functions(train: "TrainSpec", test: "TestSpec") -> None:
    sections = {"train": train, "validation": train.validation, "test": test}
    asked = [f"{name}.{key}" for name, spec in sections.items() if spec for key in EpisodeSize.of(spec).more]
    if refused := [key for key in asked if key != "train.max_shots"]:
        raise UsageError(
            f"Functions have no classes, and a test on them has one number of shots: leave {', '.join(refused)} out."
        )


def _check_sizes(name: str, method: "type[Method]", train: "TrainSpec", test: "TestSpec") -> None:
    """The method can learn on episodes of such sizes, and be tested on such others."""
    tested = EpisodeSize.of(test)
    trained = EpisodeSize.of(train) if train.ways is not None else None
    if method.balanced_support and any(size.imbalanced for size in (tested, trained) if size):
        raise UsageError(f"{name} needs equally many support images of each class: leave imbalanced out.")
    if trained is None:
        return
    if method.fixed_ways and (varying := trained.max_ways or tested.max_ways):
        raise UsageError(
            f"{name} has one output for each way: its episodes cannot have {train.ways} to {varying} ways. "
            "Leave max_ways out."
        )
    if method.fixed_ways and trained.ways != tested.ways:
        raise UsageError(
            f"{name} has one output for each way: trained {train.ways}-way, it cannot be tested {test.ways}-way.\n"
            f"Set both with --ways {train.ways}, or leave train.ways out."
        )
    if method.fixed_support and tested.largest_shots > trained.largest_shots:
        raise UsageError(
            f"{name} is built for its largest support: trained with up to {trained.largest_shots} shots, it cannot be "
            f"tested with {tested.largest_shots}. Train it with --set train.max_shots={tested.largest_shots}."
        )
    if method.fixed_support and tested.largest_support > trained.largest_support:
        raise UsageError(
            f"{name} is built for its largest support: trained on up to {trained.largest_support} support images, it cannot "
            f"be tested on {tested.largest_support}. Train it with --set train.max_ways={tested.largest_ways}."
        )
