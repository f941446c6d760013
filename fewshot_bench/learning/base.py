"""What a method is to the engine.

Legend: T tasks, S support images, Q query images in all, N ways, D outputs, B images of a batch, n images.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from fewshot_bench import kernels
from fewshot_bench.episodes.tasks import Tasks
from fewshot_bench.learning.backbone import Backbone
from fewshot_bench.learning.precision import products_in
from fewshot_bench.specs import Kind, Normalisation, Precision


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
    """What decides a computation beside the weights and the tasks. `Method.under` states it, `method.conditions` reads
    it."""

    normalisation: Normalisation = "none"
    inner_steps: int | None = None  # at test; None: as many as the hyper-parameters say
    precision: Precision = "highest"  # of products
    kernels: bool = False  # whether our kernels serve, which they do on a CPU alone


@dataclass(frozen=True)
class NoHparams:
    """No hyper-parameters."""


class Method(nn.Module, ABC):
    """A few-shot learner. A plugin subclasses it, names its hyper-parameters in `Hparams`, and declares what it is."""

    Hparams: ClassVar[type] = NoHparams
    """A frozen dataclass; its defaults are the method's."""
    trained: ClassVar[bool] = True
    """False if it has nothing to learn: it is tested as it is built."""
    trains_on: ClassVar[Literal["episodes", "classes"]] = "episodes"
    """What an update sees: episodes (`loss`), or a batch of images of all training classes (`batch_loss`)."""
    needs_backbone: ClassVar[bool] = True
    fixed_ways: ClassVar[bool] = False
    """True if the number of ways is built in, so that training and test must agree."""
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
        self._conditions = Conditions()

    @property
    def conditions(self) -> Conditions:
        """The present conditions."""
        return self._conditions

    @contextmanager
    def under(self, conditions: Conditions) -> Iterator[None]:
        """Compute under `conditions` inside the block: this method reads them, products have their precision, and kernels
        are used or not. After it everything is as before. Raises `Unavailable` where the kernels cannot be had."""
        earlier = self._conditions
        with products_in(conditions.precision), kernels.serving(conditions.kernels):
            self._conditions = conditions
            try:
                yield
            finally:
                self._conditions = earlier

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
        """What `predict` would return after each inner step, [steps, T, Q, N or D]; the last is what it returns. None for a
        method without inner steps. A test of regression reports each."""
        return None

    def after_update(self) -> None:
        """Called after each update of the parameters."""

    def embed_images(self, images: Tensor) -> Tensor | None:
        """Embeddings [n, D] of images [n, C, H, W] if they do not depend on the task under the present conditions, else
        None. With embeddings, a test embeds each image once and hands `predict` tasks of embeddings."""
        return None
