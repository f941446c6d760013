"""learn2learn at the same work as ours: its task sets, networks and MAML, put together as its own code puts them together
(`vision/benchmarks/omniglot_benchmark.py`, `examples/vision/maml_omniglot.py`, `examples/vision/protonet_miniimagenet.py`).

Where its code leaves a choice, the faster one is taken: `FusedNWaysKShots` and not `NWays` with `KShots`, no `DataLoader`
around the task set, characters upright (no `RandomClassRotation`), and in a test only the gradients that adapt, of first
order.

Only this module imports learn2learn. It is imported only in the peer's own process (`peer_process`).

Legend: N ways, K shots, Q queries per class, D features, n = N * (K + Q) images of a task.
"""

import time
from collections.abc import Callable, Sequence
from functools import cache, cached_property, partial
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

from fewshot_bench.bench.works import (
    EPISODE,
    INDEX_CLASSES,
    INDEX_IMAGES,
    INNER_LR,
    LR,
    META_BATCH,
    SIDE,
    TEST_STEPS,
    TRAINING,
    Size,
)

Item = tuple[Tensor, int]
Batch = tuple[Tensor, Tensor]  # images [n, C, H, W] class by class, and labels [n]
Classes = Sequence[Sequence[Path]]  # the drawings of each class


class Drawings(Dataset[Item]):
    """PNG files as `FullOmniglot` under `omniglot_tasksets` reads them: decoded and resized whenever one is asked for."""

    def __init__(self, classes: Classes) -> None:
        self.items = [(path, label) for label, paths in enumerate(classes) for path in paths]
        resize = transforms.Resize(SIDE, interpolation=transforms.InterpolationMode.LANCZOS)
        self.transform = transforms.Compose([resize, transforms.ToTensor(), lambda x: 1.0 - x])

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, item: int) -> Item:
        path, label = self.items[item]
        with Image.open(path) as image:
            return self.transform(image.convert("L")), label


class InMemory(Dataset[Item]):
    """Items that are made once."""

    def __init__(self, items: Sequence[Item]) -> None:
        self.items = items

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
    meta = MetaDataset(dataset, labels_to_indices=members)  # given, or it would decode every image to learn the labels
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


def maml_scores(maml: l2l.algorithms.MAML, batch: Batch, size: Size) -> tuple[Tensor, Tensor]:
    """Scores [N*Q, N] and labels [N*Q] of the queries after the inner steps of a test."""
    learner = maml.clone(first_order=True)
    support_x, support_y, query_x, query_y = split(*batch, size)
    for _ in range(TEST_STEPS):
        learner.adapt(F.cross_entropy(learner(support_x), support_y))
    with torch.no_grad():
        return learner(query_x), query_y


def prototypical_scores(network: nn.Module, batch: Batch, size: Size) -> tuple[Tensor, Tensor]:
    """Scores [N*Q, N] and labels [N*Q] of the queries, all images embedded together (`fast_adapt` of the example)."""
    images, labels = batch
    support, support_y, query, query_y = split(network(images), labels, size)
    prototypes = support.reshape(size.ways, size.shots, -1).mean(1)  # [N, D] in the order of the classes
    scores = -((query[:, None] - prototypes) ** 2).sum(2)  # [N*Q, N]
    by_label = torch.empty_like(scores)
    by_label[:, support_y[:: size.shots]] = scores  # the example sorts the images by label first, to the same end
    return by_label, query_y


def draw(tasks: Taskset, device: torch.device) -> Batch:
    """A task on the device."""
    images, labels = tasks.sample()
    return images.to(device), labels.to(device)


class Maml:
    """Training and test as in `maml_omniglot.py`."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.maml = l2l.algorithms.MAML(classifier(EPISODE.ways), lr=INNER_LR, first_order=False).to(device)
        self.optimiser = torch.optim.Adam(self.maml.parameters(), LR)

    def train(self, tasks: Taskset, count: int) -> None:
        """Updates from `count` tasks in all."""
        for _ in range(count // META_BATCH):
            self.optimiser.zero_grad()
            for _ in range(META_BATCH):
                loss = maml_loss(self.maml, draw(tasks, self.device), EPISODE)
                loss.backward()
                loss.item()
            for parameter in self.maml.parameters():
                parameter.grad.data.mul_(1.0 / META_BATCH)
            self.optimiser.step()

    def test(self, tasks: Taskset, count: int) -> None:
        """Accuracy of `count` episodes, each normalised by its own images as the example's network is."""
        for _ in range(count):
            accuracy(*maml_scores(self.maml, draw(tasks, self.device), EPISODE))


class Prototypical:
    """Training as in `protonet_miniimagenet.py`, one episode an update; `test` is that of the example."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.network = device, embedding().to(device)
        self.optimiser = torch.optim.Adam(self.network.parameters(), LR)

    def train(self, tasks: Taskset, count: int) -> None:
        """`count` updates."""
        self.network.train()
        for _ in range(count):
            loss = F.cross_entropy(*prototypical_scores(self.network, draw(tasks, self.device), TRAINING))
            self.optimiser.zero_grad()
            loss.backward()
            self.optimiser.step()
            loss.item()

    @torch.no_grad()
    def test(self, tasks: Taskset, count: int) -> None:
        """Accuracy of `count` episodes under running statistics."""
        self.network.eval()
        for _ in range(count):
            accuracy(*prototypical_scores(self.network, draw(tasks, self.device), EPISODE))

    @torch.no_grad()
    def score(self, tasks: Taskset, count: int) -> None:
        """Accuracy of `count` episodes of ready embeddings."""
        for _ in range(count):
            accuracy(*prototypical_scores(nn.Identity(), draw(tasks, self.device), EPISODE))

    @torch.no_grad()
    def embedded(self, items: Sequence[Item]) -> list[Item]:
        """The items with embeddings [D] in place of images."""
        self.network.eval()
        images, labels = zip(*items, strict=True)
        blocks = torch.stack(images).split(256)
        rows = torch.cat([self.network(block.to(self.device)).cpu() for block in blocks])  # [n, D]
        return list(zip(rows, labels, strict=True))


def accuracy(scores: Tensor, labels: Tensor) -> float:
    """Share of queries whose highest score is that of their label."""
    return (scores.argmax(1) == labels).double().mean().item()


def draw_indices(tasks: Taskset, count: int) -> None:
    """`count` episodes without images."""
    for _ in range(count):
        tasks.sample()


def draw_descriptions(tasks: Taskset, count: int) -> None:
    """`count` descriptions of tasks: which items, and what would be done to them."""
    for _ in range(count):
        tasks.sample_task_description()


class Peer:
    """All works by name and source; data and networks are made when they are first asked for."""

    def __init__(self, device: str, threads: int, train: Classes, test: Classes) -> None:
        torch.set_num_threads(threads)
        self.device, self.classes = torch.device(device), {"train": train, "test": test}
        self.work, self.memory = cache(self._work), cache(self._memory)

    @cached_property
    def maml(self) -> Maml:
        """Its MAML."""
        return Maml(self.device)

    @cached_property
    def prototypical(self) -> Prototypical:
        """Its prototypical network."""
        return Prototypical(self.device)

    def seconds(self, work: str, source: str, count: int) -> float:
        """How long `count` units take [s], once everything is made."""
        run = self.work(work, source)
        started = time.perf_counter()
        run(count)
        return time.perf_counter() - started

    def _work(self, work: str, source: str) -> Callable[[int], None]:
        match work, source:
            case "maml-training", _:
                return partial(self.maml.train, self._tasks(source, "train", EPISODE))
            case "maml-test", _:
                return partial(self.maml.test, self._tasks(source, "test", EPISODE))
            case "prototypical-training", _:
                return partial(self.prototypical.train, self._tasks(source, "train", TRAINING))
            case "prototypical-test", _:
                return partial(self.prototypical.test, self._tasks(source, "test", EPISODE))
            case "scoring", "memory":
                rows = self.prototypical.embedded(self.memory("test").items)
                return partial(self.prototypical.score, taskset(InMemory(rows), self._sizes("test"), EPISODE))
            case "indices", "memory":
                return partial(draw_indices, label_tasks())
            case "indices", "descriptions":
                return partial(draw_descriptions, label_tasks())
        raise ValueError(f"no work {work!r} from {source!r}")

    def _tasks(self, source: str, split: str, size: Size) -> Taskset:
        images = self.memory(split) if source == "memory" else Drawings(self.classes[split])
        return taskset(images, self._sizes(split), size)

    def _sizes(self, split: str) -> list[int]:
        return [len(paths) for paths in self.classes[split]]

    def _memory(self, split: str) -> InMemory:
        drawings = Drawings(self.classes[split])
        return InMemory([drawings[i] for i in range(len(drawings))])


def label_tasks() -> Taskset:
    """Tasks without images."""
    return taskset(NoImages(INDEX_CLASSES, INDEX_IMAGES), [INDEX_IMAGES] * INDEX_CLASSES, EPISODE)
