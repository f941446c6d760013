"""Speed beside learn2learn doing the same work from the same drawings in the same run: ratios, never times, are asserted.

First that both sides do the same (the same weights and images give the same losses and scores), then how fast. Each
round times learn2learn, with its images from files and then in memory, and us directly after; rates are of the median round,
and the first is a warm-up. learn2learn runs in a process of its own (see `learn2learn_work`), with as many threads.

Not timed on either side: unpacking the archives, our preparation of the cache (once, 30 s at most), and learn2learn's
decoding of what it holds in memory.
"""

import importlib
import multiprocessing
import os
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from benchmarks.speeds import Speed
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor, nn

from fewshot_bench.method import Conditions
from fewshot_bench.prepare import Prepared, prepare
from fewshot_bench.resolve import Request, resolve
from fewshot_bench.sampling import EpisodeSampler
from fewshot_bench.session import Listener, Session
from fewshot_bench.tasks import Tasks
from fewshot_bench.training import Trainer
from fewshot_datasets.omniglot import Omniglot, split_rotation
from fewshot_datasets.omniglot_manifest import parse_manifest
from fewshot_datasets.omniglot_source import find_parts, open_part

META_BATCH, INNER_LR, LR = 8, 0.5, 1e-3
SAME_AS_LEARN2LEARN = (
    "train.backbone=conv4-64",
    "train.normalisation=separate",  # a pass in torch's training mode
    "train.queries=15",
    f"train.meta_batch_size={META_BATCH}",
    f"train.lr={LR}",
    f"method.inner_lr={INNER_LR}",
    "method.adapt_shift=true",  # learn2learn adapts every parameter
)
BLOCK = 256  # episodes drawn at once, as in a test
UNPACKED = 200  # classes of each split; a task costs the same from more
CONV_BIASES = 4 * 64  # learn2learn's convolutions have them; the normalisation after them subtracts them again

Classes = list[list[Path]]


@dataclass(frozen=True)
class Work:
    """What is timed in a round: `ours` and `peer` units (tasks, episodes) on the two sides."""

    title: str
    name: str
    ours: int
    peer: int
    rounds: int
    floor: float | None  # of the ratio to learn2learn from files
    sources: tuple[str, ...] = ("files", "memory")
    note: str = ""


INDICES = Work(
    "episode indices",
    "indices",
    ours=16 * BLOCK,
    peer=200,
    rounds=7,
    floor=None,
    sources=("memory",),
    note=f"5-way 1-shot 15 queries of 1,692 classes; ours in blocks of {BLOCK}; learn2learn's images are one shared number",
)
MAML = Work(
    "MAML training, tasks",
    "maml",
    ours=2 * META_BATCH,
    peer=META_BATCH,
    rounds=5,
    floor=2,
    note=f"Conv4-64, 5-way 1-shot 15 queries, 1 inner step, second order, updates of {META_BATCH} tasks",
)
PROTOTYPICAL = Work(
    "prototypical training, episodes",
    "prototypical",
    ours=4,
    peer=3,
    rounds=5,
    floor=2,
    note="Conv4-64, 60-way 1-shot 5 queries, an update an episode",
)
TEST = Work(
    "prototypical `standard` test, episodes",
    "test",
    ours=2000,
    peer=40,
    rounds=3,
    floor=10,
    note="ours the whole 2,000 episodes, embedding included; learn2learn's rate is that of 40 episodes, all alike in cost",
)


@pytest.fixture(scope="module")
def threads() -> Iterator[int]:
    """The threads that both sides use: all cores that this process may have."""
    before = torch.get_num_threads()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(cores)
    yield cores
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def data_root() -> Path:
    """The folder of the real data sets; what is missing in it fails the benchmarks."""
    if not os.environ.get("FSBENCH_DATA"):
        pytest.skip("FSBENCH_DATA is not set")
    return Path(os.environ["FSBENCH_DATA"])


@pytest.fixture(scope="module")
def prepared(l2l: ModuleType, data_root: Path) -> Prepared:
    """Omniglot, prepared. Asks for the peer first: without it nothing is made ready."""
    return prepare("omniglot", Omniglot(root=data_root))


@pytest.fixture(scope="module")
def drawings(l2l: ModuleType, data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Classes]]:
    """The unpacked drawings of the first upright classes of each split, in our order."""
    folder, omniglot = tmp_path_factory.mktemp("omniglot"), Omniglot(root=data_root)
    files = {c.name: [f"{c.folder}/{stem}.png" for stem in c.stems] for c in parse_manifest(omniglot.manifest())}
    unpacked: dict[str, Classes] = {}
    for split in ("train", "test"):
        upright = [character for character, turn in map(split_rotation, omniglot.class_names(split)) if turn == 0]
        unpacked[split] = [[folder / file for file in files[character]] for character in upright[:UNPACKED]]
    wanted = {str(path.relative_to(folder)) for classes in unpacked.values() for paths in classes for path in paths}
    for part, archive in find_parts(data_root).items():
        with open_part(archive) as source:
            for name in sorted(name for name in wanted if name.startswith(part)):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(source.read(name))
    yield unpacked
    shutil.rmtree(folder)  # pytest keeps the folders of three runs, and these are 8,000 files


@pytest.fixture(scope="module")
def peer_work(l2l: ModuleType) -> ModuleType:
    """The module that does learn2learn's side, which cannot be imported without it."""
    with warnings.catch_warnings():  # learn2learn's models warn while they are imported
        warnings.simplefilter("ignore")
        return importlib.import_module("benchmarks.learn2learn_work")


class Peer:
    """learn2learn's process, seen from here."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def answer(self) -> Any:
        """What it says next; fails with its traceback where it failed."""
        answer = self.connection.recv()
        if isinstance(answer, str) and answer != "ready":
            pytest.fail(f"learn2learn's process failed:\n{answer}")
        return answer

    def rate(self, work: Work, source: str) -> float:
        """Units per second, measured now."""
        self.connection.send((work.name, source, work.peer))
        return work.peer / float(self.answer())


@pytest.fixture(scope="module")
def peer(peer_work: ModuleType, threads: int, prepared: Prepared, drawings: dict[str, Classes]) -> Iterator[Peer]:
    """learn2learn, ready to be timed."""
    here, there = multiprocessing.Pipe()
    split = prepared.bank("test")
    settings = peer_work.Settings(
        maml=peer_work.Size(5, 1, 15),
        prototypical=peer_work.Size(60, 1, 5),
        test=peer_work.Size(5, 1, 15),
        index_classes=len(split.class_names),
        index_images=int(split.starts[1]),
        meta_batch_size=META_BATCH,
        inner_lr=INNER_LR,
        lr=LR,
        threads=threads,
    )
    process = multiprocessing.get_context("spawn").Process(
        target=peer_work.serve, args=(there, settings, drawings["train"], drawings["test"]), daemon=True
    )
    process.start()
    there.close()  # so that the end of the process is the end of the connection
    started = Peer(here)
    started.answer()
    yield started
    process.kill()  # it has nothing to put away
    process.join()


def session_of(method: str, prepared: Prepared, data_root: Path, threads: int, settings: tuple[str, ...] = ()) -> Session:
    """A run of `method` on Omniglot, 5-way 1-shot, as `fsbench run` opens it."""
    request = Request(method, "omniglot", settings=settings, device="cpu", data_root=data_root)
    session = Session.open(resolve(request), prepared, plan=None)
    assert session.plan.threads == threads
    return session


@pytest.fixture
def maml(prepared: Prepared, data_root: Path, threads: int) -> Session:
    """MAML as learn2learn's."""
    return session_of("maml", prepared, data_root, threads, SAME_AS_LEARN2LEARN)


@pytest.fixture
def prototypical(prepared: Prepared, data_root: Path, threads: int) -> Session:
    """Prototypical networks under their recipe."""
    return session_of("prototypical-networks", prepared, data_root, threads)


def update(trainer: Trainer) -> float:
    """One update, as `Trainer.train` makes it."""
    with trainer.generator.active():
        loss = trainer._update()
    trainer.at.update += 1
    return loss


def peer_batch(tasks: Tasks) -> tuple[Tensor, Tensor]:
    """The only task of a batch in learn2learn's order: images [n, C, H, W] and labels [n], class by class, support first."""
    labels = torch.cat([tasks.support_y[0], tasks.targets[0]])
    order = labels.argsort(stable=True)
    return torch.cat([tasks.support_x[0], tasks.query_x[0]])[order], labels[order]


def copy_backbone(session: Session, network: nn.Module) -> None:
    """Give learn2learn's Conv4 our weights and running statistics; its convolutions' biases become 0."""
    ours = session.method.state_dict()
    for number, block in enumerate(network, 1):
        for target, name in (
            (block.conv.weight, f"network.block{number}_weight"),
            (block.normalize.weight, f"network.block{number}_scale"),
            (block.normalize.bias, f"network.block{number}_shift"),
            (block.normalize.running_mean, f"running.block{number}_mean"),
            (block.normalize.running_var, f"running.block{number}_variance"),
        ):
            target.data.copy_(ours[name])
        block.conv.bias.data.zero_()


def parameters(module: nn.Module) -> int:
    """Number of values that learn."""
    return sum(parameter.numel() for parameter in module.parameters())


def first_tasks(session: Session, split: str, ways: int, queries: int) -> Tasks:
    """The first 1-shot task of a split."""
    return session.source(split, ways, 1, queries, seed=0).tasks(0, 1)


def test_learn2learn_reads_the_images_that_we_prepared(
    peer_work: ModuleType, prepared: Prepared, drawings: dict[str, Classes]
) -> None:
    """A drawing decoded by learn2learn's side equals our prepared one, and there are as many of them in each class."""
    for split, classes in drawings.items():
        bank = prepared.bank(split)
        upright = [row for row, name in enumerate(bank.class_names) if name.endswith("/rot000")][:UNPACKED]
        assert [len(paths) for paths in classes] == [bank.starts[row + 1] - bank.starts[row] for row in upright]
        theirs = torch.stack([image for image, _ in peer_work.Drawings(classes[7:8])])
        ours = bank.gather(bank.starts[upright[7]] + np.arange(len(theirs))).float() / 255
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


def test_learn2learn_draws_tasks_of_our_sizes(peer_work: ModuleType, drawings: dict[str, Classes]) -> None:
    """Its task set gives ways times (shots + queries) images of distinct drawings, class by class, as `split` expects."""
    size = peer_work.Size(5, 1, 15)
    images, labels = peer_work.taskset(peer_work.Drawings(drawings["test"]), [20] * len(drawings["test"]), size).sample()
    assert images.shape == (80, 1, 28, 28)
    assert len(images.flatten(1).unique(dim=0)) == 80
    _, support_y, _, query_y = peer_work.split(images, labels, size)
    assert sorted(support_y.tolist()) == list(range(5))
    assert query_y.bincount().tolist() == [15] * 5


def test_both_sides_have_the_same_maml(l2l: ModuleType, peer_work: ModuleType, maml: Session) -> None:
    """The same weights and images give the same loss after the inner step, and the same gradient of every convolution."""
    twin = peer_work.classifier(5)
    copy_backbone(maml, twin.features)
    twin.classifier.weight.data.copy_(maml.method.head_weight)
    twin.classifier.bias.data.copy_(maml.method.head_bias)
    assert parameters(twin) == parameters(maml.method) + CONV_BIASES
    tasks, spec = first_tasks(maml, "train", 5, 15), maml.resolved.train
    assert (spec.ways, spec.shots, spec.queries, spec.meta_batch_size) == (5, 1, 15, META_BATCH)
    assert (spec.hparams["inner_steps"], spec.hparams["first_order"]) == (1, False)
    maml.method.conditions = Conditions(spec.normalisation)
    ours = maml.method.loss(tasks).sum()
    theirs = peer_work.maml_loss(l2l.algorithms.MAML(twin, lr=INNER_LR), peer_batch(tasks), peer_work.Size(5, 1, 15))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=0)
    ours.backward()
    theirs.backward()
    for number, block in enumerate(twin.features, 1):
        gradient = maml.method.get_parameter(f"network.block{number}_weight").grad
        assert gradient is not None
        error = (gradient - block.conv.weight.grad).norm() / gradient.norm()
        assert error < 1e-2, f"block {number}"


def test_both_sides_have_the_same_prototypical_training(peer_work: ModuleType, prototypical: Session) -> None:
    """The same weights and images give the same loss of a 60-way episode whose images are normalised together."""
    twin, spec = peer_work.embedding(), prototypical.resolved.train
    copy_backbone(prototypical, twin)
    assert parameters(twin) == parameters(prototypical.method) + CONV_BIASES
    assert (spec.ways, spec.shots, spec.queries, spec.meta_batch_size) == (60, 1, 5, 1)
    tasks = first_tasks(prototypical, "train", 60, 5)
    prototypical.method.conditions = Conditions(spec.normalisation)
    ours = prototypical.method.loss(tasks).sum()
    theirs = F.cross_entropy(*peer_work.prototypical_scores(twin, peer_batch(tasks), peer_work.Size(60, 1, 5)))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=0)


def test_both_sides_have_the_same_prototypical_test(peer_work: ModuleType, prototypical: Session, tmp_path: Path) -> None:
    """After an update the same weights and running statistics give the same scores, and as many images embedded."""
    update(prototypical.trainer(tmp_path))
    twin, spec = peer_work.embedding().eval(), prototypical.resolved.test
    copy_backbone(prototypical, twin)
    assert (spec.protocol, spec.ways, spec.shots, spec.queries, spec.episodes) == ("standard", 5, 1, 15, TEST.ours)
    tasks = first_tasks(prototypical, "test", 5, 15)
    prototypical.method.eval()
    prototypical.method.conditions = Conditions(spec.normalisation)
    images, labels = peer_batch(tasks)
    with torch.no_grad():
        ours = prototypical.method.predict(tasks.without_query_labels())[0]  # [Q, N]
        theirs, _ = peer_work.prototypical_scores(twin, (images, labels), peer_work.Size(5, 1, 15))
    by_class = tasks.targets[0].argsort(stable=True)
    torch.testing.assert_close(ours[by_class], theirs, rtol=1e-3, atol=1e-2)


def compare(benchmark: BenchmarkFixture, peer: Peer, speeds: list[Speed], work: Work, ours: Callable[[], object]) -> None:
    """Time `work` on both sides in turn, add it to the table, and assert its floor."""
    theirs: dict[str, list[float]] = {source: [] for source in work.sources}
    rates: list[float] = []

    def time_peer() -> None:
        for source, measured in theirs.items():
            measured.append(peer.rate(work, source))

    def time_ours() -> None:
        started = time.perf_counter()
        ours()
        rates.append(work.ours / (time.perf_counter() - started))

    benchmark.pedantic(time_ours, setup=time_peer, rounds=work.rounds, warmup_rounds=1)
    if benchmark.disabled:  # --benchmark-disable: it ran once, and that was the warm-up
        return
    speed = Speed(work.title, median(rates[1:]), {s: median(all_[1:]) for s, all_ in theirs.items()}, work.note)
    speeds.append(speed)
    benchmark.extra_info |= {"per_second": speed.ours, "learn2learn_per_second": speed.peer, "ratio": speed.ratios}
    assert work.floor is None or speed.ratios["files"] >= work.floor


def test_speed_of_episode_indices(benchmark: BenchmarkFixture, peer: Peer, speeds: list[Speed], prepared: Prepared) -> None:
    """Episodes without images of the test split; no floor yet."""
    sampler = EpisodeSampler(prepared.bank("test"), 5, 1, 15, seed=0)
    assert len(sampler.sizes) == 1692

    def draw() -> None:
        for first in range(0, INDICES.ours, BLOCK):
            sampler.block(first, BLOCK)

    compare(benchmark, peer, speeds, INDICES, draw)


def test_speed_of_maml_training(
    benchmark: BenchmarkFixture, peer: Peer, speeds: list[Speed], maml: Session, tmp_path: Path
) -> None:
    """From image files to update, at least twice learn2learn's tasks per second."""
    trainer = maml.trainer(tmp_path)
    compare(benchmark, peer, speeds, MAML, lambda: [update(trainer) for _ in range(MAML.ours // META_BATCH)])


def test_speed_of_prototypical_training(
    benchmark: BenchmarkFixture, peer: Peer, speeds: list[Speed], prototypical: Session, tmp_path: Path
) -> None:
    """From image files to update, at least twice learn2learn's episodes per second."""
    trainer = prototypical.trainer(tmp_path)
    compare(benchmark, peer, speeds, PROTOTYPICAL, lambda: [update(trainer) for _ in range(PROTOTYPICAL.ours)])


def test_speed_of_a_standard_test(
    benchmark: BenchmarkFixture, peer: Peer, speeds: list[Speed], prototypical: Session, tmp_path: Path
) -> None:
    """From image files to score, at least ten times learn2learn's episodes per second."""
    update(prototypical.trainer(tmp_path))  # running statistics of real images
    compare(benchmark, peer, speeds, TEST, lambda: prototypical.test(prototypical.resolved.test, Listener()))
