"""learn2learn at the same work as ours: its task sets, networks and MAML, put together as its own code puts them together
(`vision/benchmarks/omniglot_benchmark.py`, `examples/vision/maml_omniglot.py`, `examples/vision/protonet_miniimagenet.py`).

Where its code leaves a choice, the faster one is taken for it: `FusedNWaysKShots` and not `NWays` with `KShots`, no
`DataLoader` around the task set, characters upright (no `RandomClassRotation`), no gradients in a test.

`serve` times it in a process of its own, as its users run it: what fewshot-bench sets for its whole process (how glibc
keeps freed memory) would otherwise speed it up too.

Legend: N ways, K shots, Q queries per class, D features, n = N * (K + Q) images of a task.
"""

import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import learn2learn as l2l
import numpy as np
import torch
import torch.nn.functional as F
from learn2learn.data import MetaDataset, Taskset
from learn2learn.data.transforms import ConsecutiveLabels, FusedNWaysKShots, LoadData, RemapLabels
from learn2learn.vision.models import CNN4, CNN4Backbone
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Dataset
from torchvision import transforms

Item = tuple[Tensor, int]
Batch = tuple[Tensor, Tensor]  # images [n, C, H, W] class by class, and labels [n]
Classes = Sequence[Sequence[Path]]  # the drawings of each class


@dataclass(frozen=True)
class Size:
    """Ways, shots, and queries of each class."""

    ways: int
    shots: int
    queries: int

    @property
    def images(self) -> int:
        """Images of a task."""
        return self.ways * (self.shots + self.queries)


@dataclass(frozen=True)
class Settings:
    """What both sides are told alike."""

    maml: Size
    prototypical: Size
    test: Size
    index_classes: int  # of the split whose episode indices are drawn, with `index_images` each
    index_images: int
    meta_batch_size: int  # MAML's
    inner_lr: float  # MAML's
    lr: float  # Adam's
    threads: int


class Drawings(Dataset[Item]):
    """PNG files as `FullOmniglot` under `omniglot_tasksets` reads them: decoded and resized whenever one is asked for."""

    def __init__(self, classes: Classes) -> None:
        self.items = [(path, label) for label, paths in enumerate(classes) for path in paths]
        resize = transforms.Resize(28, interpolation=transforms.InterpolationMode.LANCZOS)
        self.transform = transforms.Compose([resize, transforms.ToTensor(), lambda x: 1.0 - x])

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, item: int) -> Item:
        path, label = self.items[item]
        with Image.open(path) as image:
            return self.transform(image.convert("L")), label


class InMemory(Dataset[Item]):
    """The items of another data set, made once."""

    def __init__(self, dataset: Dataset[Item], size: int) -> None:
        self.items = [dataset[i] for i in range(size)]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, item: int) -> Item:
        return self.items[item]


class NoImages(Dataset[Item]):
    """Labels alone: every image is the same number."""

    def __init__(self, classes: int, images: int) -> None:
        self.classes, self.images, self.image = classes, images, torch.zeros(1)

    def __len__(self) -> int:
        return self.classes * self.images

    def __getitem__(self, item: int) -> Item:
        return self.image, item // self.images


def taskset(dataset: Dataset[Item], sizes: Sequence[int], size: Size) -> Taskset:
    """Tasks of a data set that holds class by class `sizes` images."""
    ends = np.cumsum([0, *sizes])
    members = {label: list(range(ends[label], ends[label + 1])) for label in range(len(sizes))}
    meta = MetaDataset(dataset, labels_to_indices=members)  # told, or it would decode every image to learn the labels
    choose = FusedNWaysKShots(meta, n=size.ways, k=size.shots + size.queries)
    return Taskset(meta, task_transforms=[choose, LoadData(meta), RemapLabels(meta), ConsecutiveLabels(meta)])


def classifier(ways: int) -> CNN4:
    """Conv4-64 for 28x28 images with a linear head."""
    return CNN4(ways, hidden_size=64, layers=4, channels=1, max_pool=True, embedding_size=64)


def embedding() -> CNN4Backbone:
    """Conv4-64 for 28x28 images: [n, 1, 28, 28] -> [n, 64]."""
    return CNN4Backbone(hidden_size=64, layers=4, channels=1, max_pool=True)


def split(images: Tensor, labels: Tensor, size: Size) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Support images and labels, query images and labels; of each class the first K are its support."""
    support = torch.from_numpy(np.arange(size.images) % (size.shots + size.queries) < size.shots)
    return images[support], labels[support], images[~support], labels[~support]


def maml_loss(maml: l2l.algorithms.MAML, batch: Batch, size: Size) -> Tensor:
    """Loss on the queries after one inner step, through which the gradient goes (`fast_adapt` of the example)."""
    learner = maml.clone()
    support_x, support_y, query_x, query_y = split(*batch, size)
    learner.adapt(F.cross_entropy(learner(support_x), support_y))
    return F.cross_entropy(learner(query_x), query_y)


def prototypical_scores(network: nn.Module, batch: Batch, size: Size) -> tuple[Tensor, Tensor]:
    """Scores [N*Q, N] and labels [N*Q] of the queries, all images embedded together (`fast_adapt` of the example)."""
    images, labels = batch
    support, support_y, query, query_y = split(network(images), labels, size)
    prototypes = support.reshape(size.ways, size.shots, -1).mean(1)  # [N, D] in the order of the classes
    scores = -((query[:, None] - prototypes) ** 2).sum(2)  # [N*Q, N]
    by_label = torch.empty_like(scores)
    by_label[:, support_y[:: size.shots]] = scores  # the example sorts the images by label first, to the same end
    return by_label, query_y


class MamlTraining:
    """Training as in `maml_omniglot.py`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.maml = l2l.algorithms.MAML(classifier(settings.maml.ways), lr=settings.inner_lr, first_order=False)
        self.optimiser = torch.optim.Adam(self.maml.parameters(), settings.lr)

    def run(self, tasks: Taskset, count: int) -> None:
        """Updates from `count` tasks in all."""
        size = self.settings.meta_batch_size
        for _ in range(count // size):
            self.optimiser.zero_grad()
            for _ in range(size):
                loss = maml_loss(self.maml, tasks.sample(), self.settings.maml)
                loss.backward()
                loss.item()
            for parameter in self.maml.parameters():
                parameter.grad.data.mul_(1.0 / size)
            self.optimiser.step()


class PrototypicalTraining:
    """Training as in `protonet_miniimagenet.py`, one episode an update; `test` is that of the example."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.network = settings, embedding()
        self.optimiser = torch.optim.Adam(self.network.parameters(), settings.lr)

    def run(self, tasks: Taskset, count: int) -> None:
        """`count` updates."""
        self.network.train()
        for _ in range(count):
            loss = F.cross_entropy(*prototypical_scores(self.network, tasks.sample(), self.settings.prototypical))
            self.optimiser.zero_grad()
            loss.backward()
            self.optimiser.step()
            loss.item()

    @torch.no_grad()
    def test(self, tasks: Taskset, count: int) -> None:
        """Accuracy of `count` episodes under running statistics."""
        self.network.eval()
        for _ in range(count):
            scores, labels = prototypical_scores(self.network, tasks.sample(), self.settings.test)
            (scores.argmax(1) == labels).double().mean().item()


def draw_indices(tasks: Taskset, count: int) -> None:
    """`count` episodes without images."""
    for _ in range(count):
        tasks.sample()


class Peer:
    """All work that is timed, by name: `run(work, source, count)` with source `files` or `memory`."""

    def __init__(self, settings: Settings, train: Classes, test: Classes) -> None:
        torch.set_num_threads(settings.threads)
        prototypical = PrototypicalTraining(settings)
        indices = NoImages(settings.index_classes, settings.index_images)
        sizes = [settings.index_images] * settings.index_classes
        self.work: dict[tuple[str, str], Callable[[int], None]] = {
            ("indices", "memory"): partial(draw_indices, taskset(indices, sizes, settings.test))
        }
        for source, (training, testing) in self._sources(train, test).items():
            maml_tasks = taskset(training, list(map(len, train)), settings.maml)
            episodes = taskset(training, list(map(len, train)), settings.prototypical)
            tests = taskset(testing, list(map(len, test)), settings.test)
            self.work["maml", source] = partial(MamlTraining(settings).run, maml_tasks)
            self.work["prototypical", source] = partial(prototypical.run, episodes)
            self.work["test", source] = partial(prototypical.test, tests)

    @staticmethod
    def _sources(train: Classes, test: Classes) -> dict[str, tuple[Dataset[Item], Dataset[Item]]]:
        training, testing = Drawings(train), Drawings(test)
        memory = InMemory(training, len(training)), InMemory(testing, len(testing))
        return {"files": (training, testing), "memory": memory}

    def seconds(self, work: str, source: str, count: int) -> float:
        """How long `count` tasks take."""
        started = time.perf_counter()
        self.work[work, source](count)
        return time.perf_counter() - started


def serve(connection: Connection, settings: Settings, train: Classes, test: Classes) -> None:
    """Body of the peer's process: answers (work, source, count) with seconds, or with the text of what went wrong."""
    try:
        peer = Peer(settings, train, test)
        connection.send("ready")
        while True:
            connection.send(peer.seconds(*connection.recv()))
    except Exception:
        connection.send(traceback.format_exc())
