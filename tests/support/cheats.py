"""Methods that compare pixels with class means, honest ones and ones that look where an inductive method must not.

Legend: T tasks, S support images, Q query images in all, N ways, D pixels.
"""

import array
import functools
import json
import os
import queue
import sqlite3
import sys
import threading
from collections.abc import Generator

import torch
import torch.nn.functional as F
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from fewshot_bench.episodes.tasks import Tasks
from fewshot_bench.learning.base import Method, MethodInfo, NoHparams


class Honest(Method):
    """Minus the squared distance to each class mean; images are embedded apart from their tasks."""

    needs_backbone = False
    trained = False

    def embed_images(self, images: Tensor) -> Tensor | None:
        """The pixels."""
        return images.flatten(1)

    def predict(self, tasks: Tasks) -> Tensor:
        """Scores [T, Q, N] of images or of their pixels in a row."""
        return self.compare(tasks.support_x.flatten(2), tasks.support_y, tasks.query_x.flatten(2), tasks.ways)

    def compare(self, support: Tensor, support_y: Tensor, query: Tensor, ways: int) -> Tensor:
        """Scores [T, Q, N] of pixels [T, Q, D], given the support's [T, S, D] and labels [T, S]."""
        return near(query, means(support, support_y, ways))


def means(support: Tensor, support_y: Tensor, ways: int) -> Tensor:
    """Class means [T, N, D]."""
    members = F.one_hot(support_y, ways).to(support.dtype)  # [T, S, N]
    return members.mT @ support / members.sum(1)[..., None]


def near(query: Tensor, prototypes: Tensor) -> Tensor:
    """Scores [T, Q, N]."""
    return -torch.cdist(query, prototypes).square() / query.shape[-1]


def moved(query: Tensor, prototypes: Tensor) -> Tensor:
    """Prototypes [T, N, D] moved half way to the queries that they attract."""
    weights = near(query, prototypes).mul(20).softmax(-1)  # [T, Q, N]
    return (prototypes + weights.mT @ query / weights.sum(1)[..., None].clamp(min=1e-6)) / 2


class ImagesInTasks(Honest):
    """The same, which embeds nothing apart."""

    def embed_images(self, images: Tensor) -> Tensor | None:
        """None."""
        return None


class CountsCalls(Honest):
    """It counts, which changes no answer."""

    calls = 0

    def predict(self, tasks: Tasks) -> Tensor:
        """As ever."""
        self.calls += 1
        return super().predict(tasks)


class RemembersSupports(Honest):
    """It keeps class means by the support that they are of."""

    def __init__(self, hparams: NoHparams, info: MethodInfo, backbone: None) -> None:
        super().__init__(hparams, info, backbone)
        self.known: dict[bytes, Tensor] = {}

    def compare(self, support: Tensor, support_y: Tensor, query: Tensor, ways: int) -> Tensor:
        """The same answers sooner."""
        key = support.numpy().tobytes()
        if key not in self.known:
            self.known[key] = self.prototypes(support, support_y, query, ways)
        return near(query, self.known[key])

    def prototypes(self, support: Tensor, support_y: Tensor, query: Tensor, ways: int) -> Tensor:
        """Class means."""
        return means(support, support_y, ways)


class RulesOut(Honest):
    """-inf for the way that is furthest."""

    def predict(self, tasks: Tasks) -> Tensor:
        """All others as ever."""
        scores = super().predict(tasks)
        return scores.masked_fill(scores == scores.amin(-1, keepdim=True), -torch.inf)


class DrawsFromKeys(Honest):
    """Noise of each task's own."""

    def predict(self, tasks: Tasks) -> Tensor:
        """As many draws as there are ways."""
        from fewshot_bench.episodes.randomness import task_uniforms

        noise = task_uniforms(tasks.key, (1, tasks.ways), "noise").to(tasks.query_x.dtype)
        return super().predict(tasks) + 0.1 * noise


class DrawsGlobally(Honest):
    """Noise from torch's, numpy's and Python's global generators."""

    def predict(self, tasks: Tasks) -> Tensor:
        """As many draws as there are scores."""
        import random

        import numpy as np

        scores = super().predict(tasks)
        more = np.random.rand() + random.random()  # noqa: NPY002
        return scores + 0.1 * (torch.rand(scores.shape) + more)


class Labelless(Honest):
    """Its class means are moved by the task's unlabelled images, which it may use."""

    def predict(self, tasks: Tasks) -> Tensor:
        """By soft k-means."""
        support, query = tasks.support_x.flatten(2), tasks.query_x.flatten(2)
        assert tasks.unlabelled_x is not None
        return near(query, moved(tasks.unlabelled_x.flatten(2), means(support, tasks.support_y, tasks.ways)))


class Jumps(ImagesInTasks):
    """Not continuous: what rounding leaves of the last bits decides; computed in the order in which queries stand."""

    def predict(self, tasks: Tasks) -> Tensor:
        """The scores of a task jump with the last digits of a sum."""
        support = tasks.support_x.flatten(2)
        scores = super().predict(tasks)
        total = (support.sum((1, 2)) if len(tasks) > 1 else support.flip(2).sum((1, 2))) / 3  # two orders of one sum
        return scores + (0.05 * scores.std() * (total * 2**18).frac())[:, None, None] * torch.arange(tasks.ways)


class MovedByQueries(Honest):
    """Soft k-means over the queries."""

    def compare(self, support: Tensor, support_y: Tensor, query: Tensor, ways: int) -> Tensor:
        """One step."""
        return near(query, moved(query, means(support, support_y, ways)))


class MovedInTasks(MovedByQueries, ImagesInTasks):
    """The same from images."""


class Balanced(Honest):
    """Sinkhorn: every way has as many queries as any other."""

    def compare(self, support: Tensor, support_y: Tensor, query: Tensor, ways: int) -> Tensor:
        """Twenty turns."""
        scores = 20 * super().compare(support, support_y, query, ways)
        for _ in range(20):
            scores = scores - scores.logsumexp(1, keepdim=True)
            scores = scores - scores.logsumexp(2, keepdim=True)
        return scores


class CentredOverCall(Honest):
    """The mean over all tasks of a call is subtracted."""

    def compare(self, support: Tensor, support_y: Tensor, query: Tensor, ways: int) -> Tensor:
        """And directions are compared."""
        centre = torch.cat([support, query], 1).mean((0, 1))
        directions = [F.normalize(x - centre, dim=-1) for x in (support, query)]
        return directions[1] @ means(directions[0], support_y, ways).mT


class CentredWhereMany(CentredOverCall):
    """Only in calls with more than 16 tasks."""

    def compare(self, support: Tensor, support_y: Tensor, query: Tensor, ways: int) -> Tensor:
        """Of fewer the plain directions."""
        if len(support) > 16:
            return super().compare(support, support_y, query, ways)
        return F.normalize(query, dim=-1) @ means(F.normalize(support, dim=-1), support_y, ways).mT


class Remembers(Honest):
    """The mean of all queries that it has seen, in an attribute."""

    seen: Tensor | float = 0.0

    def compare(self, support: Tensor, support_y: Tensor, query: Tensor, ways: int) -> Tensor:
        """Directions from that mean."""
        centre, self.seen = self.seen, 0.5 * self.seen + 0.5 * query.mean((0, 1))
        directions = [F.normalize(x - centre, dim=-1) for x in (support, query)]
        return directions[1] @ means(directions[0], support_y, ways).mT


class RemembersInBuffer(Honest):
    """The same in a buffer."""

    def __init__(self, hparams: NoHparams, info: MethodInfo, backbone: None) -> None:
        super().__init__(hparams, info, backbone)
        self.centre: Tensor
        self.register_buffer("centre", torch.zeros(()))

    def compare(self, support: Tensor, support_y: Tensor, query: Tensor, ways: int) -> Tensor:
        """Directions from that mean."""
        centre = self.centre
        self.centre = 0.5 * self.centre + 0.5 * query.mean((0, 1))
        directions = [F.normalize(x - centre, dim=-1) for x in (support, query)]
        return directions[1] @ means(directions[0], support_y, ways).mT


class CentredEmbeddings(Honest):
    """The mean over the images of a call is subtracted where there are a hundred or more."""

    def embed_images(self, images: Tensor) -> Tensor | None:
        """Directions from that mean."""
        pixels = images.flatten(1)
        return F.normalize(pixels - pixels.mean(0) if len(pixels) >= 100 else pixels, dim=-1)


class EmbedsInTurn(Honest):
    """Each image is embedded relative to those of the call before."""

    last: Tensor | float = 0.0

    def embed_images(self, images: Tensor) -> Tensor | None:
        """Directions from their mean."""
        pixels, centre = images.flatten(1), self.last
        self.last = pixels.mean(0)
        return F.normalize(pixels - centre, dim=-1)


class FitsEmbeddings(Honest):
    """The mean over the images of its first large call is subtracted ever after."""

    centre: Tensor | None = None

    def embed_images(self, images: Tensor) -> Tensor | None:
        """Directions from that mean."""
        pixels = images.flatten(1)
        if self.centre is None and len(pixels) >= 32:
            self.centre = pixels.mean(0)
        return F.normalize(pixels if self.centre is None else pixels - self.centre, dim=-1)


class FitsClass(Honest):
    """The mean of its first call, which its class keeps, is subtracted ever after."""

    kept: Tensor | None = None

    def centre(self, support: Tensor, query: Tensor) -> Tensor:
        """That mean."""
        if type(self).kept is None:
            type(self).kept = torch.cat([support, query], 1).mean((0, 1))
        assert self.kept is not None
        return self.kept

    def compare(self, support: Tensor, support_y: Tensor, query: Tensor, ways: int) -> Tensor:
        """And directions are compared."""
        centre = self.centre(support, query)
        directions = [F.normalize(x - centre, dim=-1) for x in (support, query)]
        return directions[1] @ means(directions[0], support_y, ways).mT


FITTED: list[Tensor] = []


class FitsGlobal(FitsClass):
    """The same in a list of its module."""

    def centre(self, support: Tensor, query: Tensor) -> Tensor:
        """The first of the list."""
        FITTED.append(torch.cat([support, query], 1).mean((0, 1)))
        return FITTED[0]


LATEST: dict[str, Tensor] = {}


@functools.cache
def first_centre() -> Tensor:
    """The latest, when it was asked for first."""
    return LATEST["centre"]


class FitsCache(FitsClass):
    """The same in a cache."""

    def centre(self, support: Tensor, query: Tensor) -> Tensor:
        """What was cached."""
        LATEST["centre"] = torch.cat([support, query], 1).mean((0, 1))
        return first_centre()


def plain(x: Tensor) -> Tensor:
    """Of itself, but for what is attached to it."""
    return x


class FitsFunction(FitsClass):
    """The same in an attribute of a function."""

    def centre(self, support: Tensor, query: Tensor) -> Tensor:
        """What was attached first."""
        return vars(plain).setdefault("centre", torch.cat([support, query], 1).mean((0, 1)))  # type: ignore[no-any-return]


class FitsBesideLock(FitsClass):
    """The same in the method itself, beside a lock that cannot be copied."""

    def __init__(self, hparams: NoHparams, info: MethodInfo, backbone: None) -> None:
        super().__init__(hparams, info, backbone)
        self.lock, self.own = threading.Lock(), list[Tensor]()

    def centre(self, support: Tensor, query: Tensor) -> Tensor:
        """The first of its own."""
        with self.lock:
            self.own.append(torch.cat([support, query], 1).mean((0, 1)))
            return self.own[0]


class FitsInClosure(FitsClass):
    """The same in a variable of a function that made a function."""

    def __init__(self, hparams: NoHparams, info: MethodInfo, backbone: None) -> None:
        super().__init__(hparams, info, backbone)
        first: Tensor | None = None

        def kept(now: Tensor) -> Tensor:
            nonlocal first
            first = now if first is None else first
            return first

        self.first = kept

    def centre(self, support: Tensor, query: Tensor) -> Tensor:
        """What that function says."""
        return self.first(torch.cat([support, query], 1).mean((0, 1)))


SCALER = StandardScaler()


class FitsScaler(FitsClass):
    """The same in an object of a library's."""

    scaler = SCALER

    def centre(self, support: Tensor, query: Tensor) -> Tensor:
        """Its mean, of which it was fitted once."""
        if not hasattr(self.scaler, "mean_"):
            self.scaler.fit(query.flatten(0, 1).double().numpy())
        return torch.from_numpy(self.scaler.mean_).to(query)


class FitsScalerOfClass(FitsScaler):
    """In its class."""

    scaler = StandardScaler()


NUMBERS = array.array("d")


class FitsArray(FitsClass):
    """The same in one of Python's arrays."""

    def centre(self, support: Tensor, query: Tensor) -> Tensor:
        """Its numbers."""
        if not NUMBERS:
            NUMBERS.extend(query.mean((0, 1)).tolist())
        return torch.tensor(list(NUMBERS)).to(query)


QUEUE: queue.Queue[Tensor] = queue.Queue()


class FitsQueue(FitsClass):
    """The same in a queue."""

    def centre(self, support: Tensor, query: Tensor) -> Tensor:
        """The first of the queue."""
        if QUEUE.empty():
            QUEUE.put(query.mean((0, 1)))
        return QUEUE.queue[0].to(query)


class FitsEnvironment(FitsClass):
    """The same in the environment."""

    def centre(self, support: Tensor, query: Tensor) -> Tensor:
        """What stands there."""
        os.environ.setdefault("FITTED_BY_A_CHEAT", json.dumps(query.mean((0, 1)).tolist()))
        return torch.tensor(json.loads(os.environ["FITTED_BY_A_CHEAT"])).to(query)


class FitsLibrary(FitsClass):
    """The same in a module of torch's."""

    def centre(self, support: Tensor, query: Tensor) -> Tensor:
        """What was attached there first."""
        return vars(F).setdefault("_fitted_by_a_cheat", query.mean((0, 1))).to(query)  # type: ignore[no-any-return]


def running() -> Generator[Tensor | None, Tensor, None]:
    """A generator that gives back what it was sent first."""
    first = None
    while True:
        now = yield first
        first = now if first is None else first


RUNNING = running()
next(RUNNING)


class FitsRunning(FitsClass):
    """The same in a variable of a running generator."""

    def centre(self, support: Tensor, query: Tensor) -> Tensor:
        """What it was sent first."""
        RUNNING.send(query.mean((0, 1)))
        found = RUNNING.send(query.mean((0, 1)))
        assert found is not None
        return found.to(query)


class FitsDatabase(FitsClass):
    """The same in a data base in memory."""

    held = sqlite3.connect(":memory:", check_same_thread=False)

    def centre(self, support: Tensor, query: Tensor) -> Tensor:
        """Its first row."""
        self.held.execute("create table if not exists fitted(mean)")
        if (row := self.held.execute("select mean from fitted").fetchone()) is None:
            row = (json.dumps(query.mean((0, 1)).tolist()),)
            self.held.execute("insert into fitted values(?)", row)
        return torch.tensor(json.loads(row[0])).to(query)


class FitsLarge(FitsClass):
    """The same in a tensor that is too large to be noted."""

    large = torch.zeros(2**24 + 2**20)

    def centre(self, support: Tensor, query: Tensor) -> Tensor:
        """Its first numbers."""
        width = query.shape[-1]
        if not self.large[0]:
            self.large[0] = 1
            self.large[1 : width + 1] = query.mean((0, 1))
        return self.large[1 : width + 1].to(query)


class Holds(Honest):
    """It has what cannot be copied: a lock, a generator, a function of its own, a tensor with its graph, a part that is its
    own copy."""

    def __init__(self, hparams: NoHparams, info: MethodInfo, backbone: None) -> None:
        super().__init__(hparams, info, backbone)
        self.lock, self.turns = threading.Lock(), (i for i in range(3))
        self.pixels = lambda x: x.flatten(2)
        self.rate = torch.nn.Parameter(torch.ones(1))
        self.twice, self.part = 2 * self.rate, KeepsItself()

    def predict(self, tasks: Tasks) -> Tensor:
        """As ever."""
        with self.lock:
            return self.compare(self.pixels(tasks.support_x), tasks.support_y, self.pixels(tasks.query_x), tasks.ways)

    def loss(self, tasks: Tasks) -> Tensor:
        """Of nothing."""
        return (self.rate * tasks.query_x.mean()).expand(len(tasks))


class KeepsItself(torch.nn.Linear):
    """A layer that says it is its own copy."""

    def __init__(self) -> None:
        super().__init__(2, 2)

    def __deepcopy__(self, memo: object) -> "KeepsItself":
        return self


MASKS: dict[int, Tensor] = {}


class CachesMasks(Honest):
    """What it keeps for all is made of sizes alone."""

    def compare(self, support: Tensor, support_y: Tensor, query: Tensor, ways: int) -> Tensor:
        """As ever."""
        mask = MASKS.setdefault(ways, torch.ones(ways))
        return super().compare(support, support_y, query, ways) * mask


class MovedBehindFirst(Honest):
    """Honest in calls of at most 16 tasks, and of the first 16 of any call."""

    def compare(self, support: Tensor, support_y: Tensor, query: Tensor, ways: int) -> Tensor:
        """Of the others the prototypes are moved."""
        prototypes = means(support, support_y, ways)
        honest = near(query, prototypes)
        return torch.cat([honest[:16], near(query[16:], moved(query[16:], prototypes[16:]))])


class MovedByMany(MovedByQueries):
    """Only where there are more than ten queries."""

    def compare(self, support: Tensor, support_y: Tensor, query: Tensor, ways: int) -> Tensor:
        """Of fewer the honest answer."""
        if query.shape[1] > 10:
            return super().compare(support, support_y, query, ways)
        return near(query, means(support, support_y, ways))


class MovedLater(MovedInTasks):
    """Only after its first twenty calls, wherever they came from."""

    calls = 0

    def predict(self, tasks: Tasks) -> Tensor:
        """Honest until then."""
        type(self).calls += 1
        return super().predict(tasks) if self.calls > 20 else Honest.compare(self, *parts(tasks))


class MovedBySome(MovedInTasks):
    """In every third episode or so."""

    def predict(self, tasks: Tasks) -> Tensor:
        """As the key says."""
        chosen = tasks.key % 3 == 0
        return torch.where(chosen[:, None, None], super().predict(tasks), Honest.compare(self, *parts(tasks)))


class MovedAndKept(RemembersSupports):
    """Class means are moved by the queries, and kept by the support that they are of."""

    def prototypes(self, support: Tensor, support_y: Tensor, query: Tensor, ways: int) -> Tensor:
        """Moved."""
        return moved(query, means(support, support_y, ways))


EVERYWHERE: dict[bytes, Tensor] = {}


class MovedAndKeptForAll(Honest):
    """The same, kept outside the method."""

    def compare(self, support: Tensor, support_y: Tensor, query: Tensor, ways: int) -> Tensor:
        """Of each task by itself."""
        for one, labels, queries in zip(support, support_y, query, strict=True):
            if one.numpy().tobytes() not in EVERYWHERE:
                EVERYWHERE[one.numpy().tobytes()] = moved(queries[None], means(one[None], labels[None], ways))
        return near(query, torch.cat([EVERYWHERE[one.numpy().tobytes()] for one in support]))


class CentresInPlace(ImagesInTasks):
    """It overwrites the queries that it is given."""

    def predict(self, tasks: Tasks) -> Tensor:
        """So that they have no mean when they are seen again."""
        tasks.query_x.sub_(tasks.query_x.mean(1, keepdim=True))
        tasks.support_x.sub_(tasks.support_x.mean(1, keepdim=True))
        return super().predict(tasks)


class BreaksTies(Honest):
    """Scores in coarse steps, and a millionth of what queries say of each other to tell equal ones apart."""

    def compare(self, support: Tensor, support_y: Tensor, query: Tensor, ways: int) -> Tensor:
        """Whole steps, of which all scores take few."""
        plain, step = super().compare(support, support_y, query, ways), 0.03
        told = near(query, moved(query, means(support, support_y, ways)))
        return (plain / step).round() + 1e-4 * (told - told.amin(-1, keepdim=True))


class HidesBehindOffset(MovedByQueries):
    """Beside a large number what moves is small."""

    def compare(self, support: Tensor, support_y: Tensor, query: Tensor, ways: int) -> Tensor:
        """A thousand more."""
        return super().compare(support, support_y, query, ways) + 1e3


class HidesBehindOneQuery(MovedByQueries):
    """The scores of one query are large."""

    def compare(self, support: Tensor, support_y: Tensor, query: Tensor, ways: int) -> Tensor:
        """A million times."""
        scores = super().compare(support, support_y, query, ways)
        return torch.cat([scores[:, :1] * 1e6, scores[:, 1:]], 1)


class SeesOrder(Honest):
    """The way of the query before is a little more likely."""

    def compare(self, support: Tensor, support_y: Tensor, query: Tensor, ways: int) -> Tensor:
        """As if queries came class by class."""
        scores = super().compare(support, support_y, query, ways)
        return scores + 0.1 * scores.roll(1, 1)


class CountsQueries(Honest):
    """A temperature that falls with the number of queries."""

    def compare(self, support: Tensor, support_y: Tensor, query: Tensor, ways: int) -> Tensor:
        """Which tells nothing of them."""
        return super().compare(support, support_y, query, ways) / query.shape[1]


class FavoursPlaces(Honest):
    """A way for every place."""

    def compare(self, support: Tensor, support_y: Tensor, query: Tensor, ways: int) -> Tensor:
        """In turn."""
        place = F.one_hot(torch.arange(query.shape[1]) % ways, ways)
        return super().compare(support, support_y, query, ways) + 0.1 * place


class NormalisesBatch(Honest):
    """torch's batch normalisation in training mode: all images of a call share statistics."""

    def compare(self, support: Tensor, support_y: Tensor, query: Tensor, ways: int) -> Tensor:
        """Of pixels."""
        images = torch.cat([support, query], 1)
        normal = F.batch_norm(images.flatten(0, 1), None, None, training=True).view_as(images)
        return super().compare(normal[:, : support.shape[1]], support_y, normal[:, support.shape[1] :], ways)


class SplitsByDtype(MovedInTasks):
    """Honest in float64."""

    def predict(self, tasks: Tasks) -> Tensor:
        """Where rounding is looked at."""
        exact = tasks.query_x.dtype == torch.float64
        return Honest.compare(self, *parts(tasks)) if exact else super().predict(tasks)


def parts(tasks: Tasks) -> tuple[Tensor, Tensor, Tensor, int]:
    """What `compare` takes."""
    return tasks.support_x.flatten(2), tasks.support_y, tasks.query_x.flatten(2), tasks.ways


def precision(x: Tensor) -> float:
    """A hundred thousand roundings: 0.01 in float32, nothing in float64."""
    return 1e5 * torch.finfo(x.dtype).eps


class CountsByPrecision(Honest):
    """A temperature that falls with the number of queries, as far as the dtype rounds."""

    def compare(self, support: Tensor, support_y: Tensor, query: Tensor, ways: int) -> Tensor:
        """Gone in float64."""
        return super().compare(support, support_y, query, ways) * (1 + precision(query) * query.shape[1])


class PlacesByPrecision(Honest):
    """A way for every place, as far as the dtype rounds."""

    def compare(self, support: Tensor, support_y: Tensor, query: Tensor, ways: int) -> Tensor:
        """Gone in float64."""
        place = F.one_hot(torch.arange(query.shape[1]) % ways, ways)
        return super().compare(support, support_y, query, ways) + precision(query) * place


class CentredByPrecision(Honest):
    """Some of the mean over the images of a call is subtracted, as far as the dtype rounds."""

    def embed_images(self, images: Tensor) -> Tensor | None:
        """Gone in float64."""
        pixels = images.flatten(1)
        return pixels - 10 * precision(pixels) * pixels.mean(0)


class MovedSomeByPrecision(MovedInTasks):
    """In every third episode or so, as far as the dtype rounds."""

    def predict(self, tasks: Tasks) -> Tensor:
        """Gone in float64."""
        honest = Honest.compare(self, *parts(tasks))
        some = (tasks.key % 3 == 0)[:, None, None] * 10 * precision(tasks.query_x)
        return honest + some * (super().predict(tasks) - honest)


class CountsInFloat32(ImagesInTasks):
    """It cannot compute in float64."""

    def predict(self, tasks: Tasks) -> Tensor:
        """A temperature that falls with the number of queries."""
        if tasks.query_x.dtype == torch.float64:
            raise RuntimeError("expected scalar type Float but found Double")
        return super().predict(tasks) / tasks.query_x.shape[1]


HONEST = (
    Honest,
    ImagesInTasks,
    CountsCalls,
    RemembersSupports,
    RulesOut,
    DrawsFromKeys,
    DrawsGlobally,
    Holds,
    CachesMasks,
)

FITS_UNSEEN = (FitsEnvironment, FitsLibrary, FitsRunning, FitsDatabase, FitsLarge) if sys.platform == "linux" else ()
"""What a twin of the process alone finds."""

CHEATS: dict[type[Method], str] = {
    MovedByQueries: "queries",
    MovedInTasks: "queries",
    Balanced: "queries",
    CentredOverCall: "tasks",
    CentredWhereMany: "tasks",
    Remembers: "earlier",
    RemembersInBuffer: "earlier",
    CentredEmbeddings: "embedding",
    EmbedsInTurn: "embedding",
    FitsEmbeddings: "embedding",
    MovedByMany: "queries",
    MovedLater: "earlier",
    MovedBySome: "queries",
    MovedAndKept: "queries",
    MovedAndKeptForAll: "queries",
    FitsClass: "tasks",
    FitsGlobal: "tasks",
    FitsCache: "tasks",
    FitsFunction: "tasks",
    FitsBesideLock: "tasks",
    FitsInClosure: "tasks",
    FitsScaler: "tasks",
    FitsScalerOfClass: "tasks",
    FitsArray: "tasks",
    FitsQueue: "tasks",
    **dict.fromkeys(FITS_UNSEEN, "left"),
    MovedBehindFirst: "tasks",
    CentresInPlace: "queries",
    BreaksTies: "queries",
    HidesBehindOffset: "queries",
    HidesBehindOneQuery: "queries",
    SeesOrder: "queries",
    CountsQueries: "alone",
    FavoursPlaces: "order",
    NormalisesBatch: "tasks",
    SplitsByDtype: "queries",
    CountsByPrecision: "alone",
    PlacesByPrecision: "order",
    CentredByPrecision: "embedding",
    MovedSomeByPrecision: "queries",
    CountsInFloat32: "alone",
}
"""Each with what it is refused for."""
