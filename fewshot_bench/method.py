"""What a method is to the engine, and the base of those that compare embeddings.

Legend: T tasks, S support images, Q query images in all, N ways, D features.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Any, ClassVar, Literal, get_type_hints

import torch
from torch import Tensor, nn

from fewshot_bench.backbone import Backbone
from fewshot_bench.errors import UsageError, unknown
from fewshot_bench.few_steps import most_of
from fewshot_bench.losses import task_losses
from fewshot_bench.normalisation import RunningStatistics, Statistics
from fewshot_bench.specs import Kind, Normalisation
from fewshot_bench.tasks import Tasks


@dataclass(frozen=True)
class MethodInfo:
    """What a method may know of its tasks when it is built."""

    kind: Kind
    ways: int  # of the training tasks, the most where they vary; 1 for regression, 0 for a method that trains on classes
    largest_support: int  # images, or points
    input_shape: tuple[int, ...]  # (C, H, W), or (D,) of a point
    training_classes: int

    @property
    def outputs(self) -> int:
        """How many outputs a head for these tasks has: one a way, or one value."""
        return self.ways


@dataclass(frozen=True)
class Conditions:
    """What differs between training and testing; the engine sets `method.conditions`, never the method itself."""

    normalisation: Normalisation = "none"
    inner_steps: int | None = None


@dataclass(frozen=True)
class NoHparams:
    """No hyper-parameters."""


class Method(nn.Module, ABC):
    """A few-shot learner. A plugin subclasses it, names its hyper-parameters in `Hparams`, and declares what it is."""

    Hparams: ClassVar[type] = NoHparams
    """A frozen dataclass; its defaults are the method's."""
    trained: ClassVar[bool] = True
    """False for what has nothing to learn: it is tested as it is built."""
    trains_on: ClassVar[Literal["episodes", "classes"]] = "episodes"
    """What an update sees: episodes (`loss`), or a batch of images of all training classes (`batch_loss`)."""
    needs_backbone: ClassVar[bool] = True
    fixed_ways: ClassVar[bool] = False
    """True where the number of ways is built in, so that training and test must agree."""
    fixed_support: ClassVar[bool] = False
    """True where the method is built for at most `info.largest_support` support images."""
    balanced_support: ClassVar[bool] = False
    """True where every class must have as many support images as any other."""
    transductive: ClassVar[bool] = False
    """True where the queries of a task see each other in any normalisation mode."""
    way_equivariant: ClassVar[bool] = True
    support_order_invariant: ClassVar[bool] = True
    kinds: ClassVar[frozenset[Kind]] = frozenset({"classification"})
    modes: ClassVar[frozenset[Normalisation]] = frozenset({"none"})
    """The normalisation modes that it implements."""
    default_mode: ClassVar[Normalisation] = "none"
    """The mode it trains with where no recipe says otherwise."""

    def __init__(self, hparams: Any, info: MethodInfo, backbone: Backbone | None) -> None:
        super().__init__()
        self.hparams, self.info = hparams, info
        self.conditions = Conditions()

    @classmethod
    def inner_steps(cls, hparams: Any) -> int | None:
        """Inner steps at test under `hparams`; None for a method that takes none."""
        return None

    def loss(self, tasks: Tasks) -> Tensor:
        """Meta-training loss of each task [T]; the engine averages it. Needed where `trained`."""
        raise NotImplementedError(f"{type(self).__name__} has no loss: declare trained = False")

    def batch_loss(self, x: Tensor, y: Tensor) -> Tensor:
        """Loss of each image [B] of a batch x [B, C, H, W] of training classes y [B]; where `trains_on` is "classes"."""
        raise NotImplementedError(f"{type(self).__name__} has no batch_loss: declare trains_on = 'episodes'")

    @abstractmethod
    def predict(self, tasks: Tasks) -> Tensor:
        """Scores [T, Q, N] of tasks whose query labels have been removed, the highest is the answer; outputs [T, Q, D] for
        regression."""

    def predict_steps(self, tasks: Tasks) -> Tensor | None:
        """What `predict` says after each inner step, [steps, T, Q, N or D], the last as `predict` itself; None for a method
        without inner steps. A test of regression reports each."""
        return None

    def after_update(self) -> None:
        """Called after each update of the parameters."""

    def embed_images(self, images: Tensor) -> Tensor | None:
        """Embeddings [n, D] of images [n, C, H, W] where they do not depend on the task under the present conditions,
        so that a test embeds each image once and hands `predict` tasks of embeddings; None where they do."""
        return None


def build_hparams(cls: type, given: Mapping[str, Any]) -> Any:
    """An instance of the hyper-parameter dataclass `cls`; raises `UsageError` for an unknown key or a wrong type."""
    if not is_dataclass(cls):
        raise UsageError(f"{cls.__name__} must be a dataclass of hyper-parameters.")
    types, most = get_type_hints(cls), {one.name: most_of(one) for one in fields(cls)}
    for key, value in given.items():
        if key not in types:
            raise unknown("hyper-parameter", key, types)
        expected = types[key]
        whole_number = expected is float and type(value) is int
        if not whole_number and (not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool)):
            raise UsageError(f"{key} must be {getattr(expected, '__name__', expected)}, got {value!r}.")
        if isinstance(value, float) and not math.isfinite(value):
            raise UsageError(f"{key} must be a finite number, got {value!r}.")
        if type(value) is int and (bound := most.get(key)) is not None and value > bound:
            raise UsageError(f"{key} must be at most {bound:,}, got {value:,}.")
    missing = [f.name for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING and f.name not in given]
    if missing:
        raise UsageError(f"{cls.__name__} needs a value for: {', '.join(missing)}.")
    try:
        return cls(**{key: types[key](value) if types[key] in (int, float) else value for key, value in given.items()})
    except ValueError as error:
        raise UsageError(str(error)) from None


class Embedder(Method):
    """A method with a backbone whose embeddings of images do not depend on a task's labels."""

    modes = frozenset({"running", "support", "separate", "joint"})
    default_mode = "joint"

    def __init__(self, hparams: Any, info: MethodInfo, backbone: Backbone) -> None:
        super().__init__(hparams, info, backbone)
        self.network = backbone
        self.running = RunningStatistics(backbone.channels)

    def embedded(self, tasks: Tasks) -> tuple[Tensor, Tensor]:
        """Embeddings of a task's support [T, S, D] and queries [T, Q, D]; those that it holds already pass unchanged."""
        support, query = tasks.support_x, tasks.query_x
        return self.embed_task(support, query) if support.dim() > 3 else (support, query)

    def embed_task(self, support: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings [T, S, D] and [T, Q, D] under the normalisation mode of the present conditions."""
        match self.conditions.normalisation:
            case "running":
                given = self.running.statistics()
                return self._embed(support, given)[0], self._embed(query, given)[0]
            case "joint":
                features, used = self._embed(torch.cat([support, query], 1))  # [T, S+Q, D]
                self._collect(used)
                return features[:, : support.shape[1]], features[:, support.shape[1] :]
            case mode:
                support_f, used = self._embed(support)
                query_f, _ = self._embed(query, used if mode == "support" else None)
                self._collect(used)
                return support_f, query_f

    def embed_images(self, images: Tensor) -> Tensor | None:
        """Embeddings [n, D], under running statistics alone."""
        if self.conditions.normalisation != "running":
            return None
        return self._embed(images[None], self.running.statistics())[0][0]

    def after_update(self) -> None:
        """Let the update's statistics enter the running ones."""
        self.running.commit()

    def _embed(self, x: Tensor, given: Statistics | None = None) -> tuple[Tensor, Statistics]:
        return self.network.embed(x, dict(self.network.named_parameters()), given)

    def _collect(self, used: Statistics) -> None:
        if self.training:
            self.running.collect(used)


class EmbeddingMethod(Embedder):
    """A method that embeds images and compares embeddings; a subclass says how (`compare`)."""

    @abstractmethod
    def compare(self, support: Tensor, support_y: Tensor, query: Tensor, ways: int) -> Tensor:
        """Scores [T, Q, N] of query embeddings [T, Q, D], given the support's [T, S, D] and labels [T, S]."""

    def loss(self, tasks: Tasks) -> Tensor:
        """Mean cross-entropy over the queries of each task [T]."""
        return task_losses(self.predict(tasks), tasks.targets, tasks.kind)

    def predict(self, tasks: Tasks) -> Tensor:
        """Scores [T, Q, N] of images or of ready embeddings."""
        support, query = self.embedded(tasks)
        return self.compare(support, tasks.support_y, query, tasks.ways)
