"""What a method's answers depend on beside the support: the engine's own check of a test, made of synthetic episodes, which
goes on after each finding; and what nobody can know.

Legend: T tasks, Q query images in all.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fewshot_bench.audit import symmetries
from fewshot_bench.audit.modes import inductive_modes
from fewshot_bench.audit.subject import Subject
from fewshot_bench.audit.synthetic import source
from fewshot_bench.audit.verdicts import Fault, Skip
from fewshot_bench.episodes.size import EpisodeSize
from fewshot_bench.episodes.sources import Source
from fewshot_bench.episodes.tasks import Tasks
from fewshot_bench.learning.base import Conditions
from fewshot_bench.learning.few_steps import few_steps
from fewshot_bench.runs.checks.inductive import InductiveCheck
from fewshot_bench.runs.checks.inductive_block import Block
from fewshot_bench.runs.checks.refusal import NotInductive
from fewshot_bench.runs.checks.rescoring import Again
from fewshot_bench.runs.testing import batch_size, episode_scores
from fewshot_bench.specs import Normalisation, TestSpec

EPISODES, CHUNK, MANY = 40, 8, 280
"""Episodes of the check and tasks at once; `MANY` where images are embedded once, so that there are several chunks."""
BLIND = EpisodeSize(ways=5, shots=1, queries=5)
BLIND_EPISODES = 80
SIGMAS = 5
"""So many standard errors may a score be away from what nothing but chance gives."""

FINDINGS = {
    "state between tasks": ("earlier", "left"),
    "tasks at once": ("tasks",),
    "query independence": ("queries", "together", "kept"),
    "query order": ("order", "sorted"),
    "number of queries": ("alone", "fewer"),
    "class balance of queries": ("balance",),
    "embeddings of images": ("embedding",),
}
"""The checks of which the engine's check of a test is a part, and the causes that each names."""
DIRECT: Mapping[str, Callable[[Subject], str]] = {
    "state between tasks": symmetries.state,
    "tasks at once": symmetries.tasks_at_once,
    "query order": symmetries.query_order,
}
"""What is asked first, of a transductive method too."""


@dataclass
class Findings:
    """The first thing that moved, for each cause and mode; and whether images are embedded once."""

    moved: dict[str, tuple[Normalisation, NotInductive]]
    modes: tuple[Normalisation, ...]
    episodes: int
    embeds: bool

    def verdict(self, name: str) -> str:
        """Of one of `FINDINGS`; raises `Fault` or `Skip`."""
        for cause in FINDINGS[name]:
            if cause in self.moved:
                mode, error = self.moved[cause]
                under = f" Normalisation {mode!r}." if mode != "none" else ""
                raise Fault(f"{error.moved}{under} {error.mend}")
        if name == "embeddings of images" and not self.embeds:
            raise Skip("it embeds no image apart from its task in these modes")
        several = f" in each of {len(self.modes)} modes" if len(self.modes) > 1 else ""
        return f"no score moves in {self.episodes // len(self.modes)} episodes{several}"


class GoesOn(InductiveCheck):
    """The engine's check, which notes each cause once and asks three things more of the first tasks."""

    found: dict[str, NotInductive]

    def __call__(self, source: Source, first: int, tasks: Tasks, outputs: Tensor) -> None:
        """Check a block of the test."""
        self.found = {} if not self.chunk else self.found
        super().__call__(source, first, tasks, outputs)
        if first == 0:
            anew = source.tasks(first, len(tasks))
            with self.surroundings.present():
                block = Block(self, source, first, anew.without_query_labels(), outputs)
                for cause, again in more(anew.some(block.rows)).items():
                    block.ask(cause, again)

    def refuse(self, error: NotInductive) -> None:
        """Note it."""
        self.found.setdefault(error.cause, error)


def more(tasks: Tasks) -> dict[str, Again]:
    """Half of the queries; and of classes all queries sorted, and all but one replaced by one of a single class."""
    asked, labels = tasks.without_query_labels(), tasks.targets
    size = labels.shape[1]
    half = torch.zeros(labels.shape[:2], dtype=torch.bool)
    half[:, : (size + 1) // 2] = True

    def padded(outputs: Tensor) -> Tensor:
        return torch.cat([outputs, outputs.new_zeros(len(outputs), size - outputs.shape[1], *outputs.shape[2:])], 1)

    fewer = replace(asked, query_x=asked.query_x[:, : (size + 1) // 2])
    found = {"fewer": Again(fewer, half, padded, in_place=False)}
    if tasks.kind == "regression":
        return found
    order = labels.argsort(dim=1, stable=True)  # [T, Q]
    ordered = replace(asked, query_x=_chosen(asked.query_x, order))
    found["sorted"] = Again(
        ordered, torch.ones_like(half), lambda outputs: _chosen(outputs, order.argsort(1)), in_place=False
    )
    one = (labels == 0).long().argmax(1)  # a query of way 0 in each task
    same = _chosen(asked.query_x, one[:, None].expand(-1, size)).clone()
    same[:, 0] = asked.query_x[:, 0]
    first = torch.zeros_like(half)
    first[:, 0] = True
    found["balance"] = Again(replace(asked, query_x=same), first)
    return found


def _chosen(x: Tensor, numbers: Tensor) -> Tensor:
    """Of each task the queries of some numbers: x [T, Q, ...], numbers [T, q] -> [T, q, ...]."""
    return x[torch.arange(len(x))[:, None], numbers]


def findings(subject: Subject, modes: tuple[Normalisation, ...], few: int = EPISODES) -> Findings:
    """Score tests of synthetic episodes again, `few` where no image is embedded apart from its task, in each of some
    modes."""
    moved: dict[str, tuple[Normalisation, NotInductive]] = {}
    episodes, embeds = 0, False
    for one in map(subject.in_mode, modes):
        method, conditions = one.build(torch.float32), one.conditions
        images = source(subject.kind, subject.shape, subject.size, torch.float32)
        with few_steps(method):
            embeds_here = batch_size(method, images, conditions, CHUNK) > CHUNK
            check = GoesOn(method, _spec(subject, conditions, MANY if embeds_here else few), conditions, images)
            for _ in episode_scores(method, images, conditions, check.spec.episodes, CHUNK, watch=check):
                pass
        moved = {cause: (one.mode, error) for cause, error in check.found.items()} | moved
        episodes, embeds = episodes + check.spec.episodes, embeds or embeds_here
    return Findings(moved, modes, episodes, embeds)


def _spec(subject: Subject, conditions: Conditions, episodes: int) -> TestSpec:
    size = {name: value for name, value in vars(subject.size).items() if value is not None}
    protocol = "standard" if subject.kind == "classification" else "standard-regression"
    about: dict[str, Any] = {"protocol": protocol, "dataset": "synthetic", "data": {}, "inner_steps": conditions.inner_steps}
    ways = {"ways": subject.size.ways if subject.kind == "classification" else 1}
    rest = {"episodes": episodes, "seed": 0, "normalisation": conditions.normalisation}
    return TestSpec.checked({**about, **size, **ways, **rest})


def query_checks(subject: Subject) -> dict[str, Callable[[], str]]:
    """The checks of `FINDINGS`, whose test is made once, when the first asks for it."""
    made: list[Findings] = []

    def check(name: str) -> str:
        said = DIRECT[name](subject) if name in DIRECT else ""
        if subject.transductive:
            if said:
                return said
            raise Skip("it declares transductive = True, and is tested under transductive protocols alone")
        if subject.draws and name == "number of queries":
            raise Skip(f"it draws from {subject.draws}, whose numbers change with the number of queries")
        if subject.kind == "regression" and name == "class balance of queries":
            raise Skip("functions have no classes")
        if not (made or (modes := inductive_modes(subject))):
            raise Skip("it can be asked in no inductive mode here: see its modes of normalisation")
        if not made:
            made.append(findings(subject, modes))
        return "; ".join(filter(None, [said, made[0].verdict(name)]))

    return {name: partial(check, name) for name in FINDINGS}


def random_numbers(subject: Subject) -> str:
    """That what it draws at a test comes from the tasks' keys. From a generator the scores are still the same each time, as
    the engine seeds it and asks about one task at a time: but slowly, and a query's draw depends on the others' number and
    place, which therefore cannot be checked. So it is a fault."""
    if not subject.draws:
        return "predict draws from no generator"
    raise Fault(
        f"predict draws from {subject.draws}: the engine seeds it and asks about one task at a time, which is slow, and a "
        "query's draw depends on the number and place of the others. Draw from tasks.key (fewshot_bench.task_uniforms)."
    )


def hidden_labels(subject: Subject) -> str:
    """That a test whose images are noise is answered by chance: labels are then known only to who reads them elsewhere, in a
    global, in the bank, in the order or the number of the queries."""
    method, conditions = subject.build(torch.float32), subject.conditions
    size = replace(BLIND, ways=subject.size.ways)
    images = source(subject.kind, subject.shape, size, torch.float32, told=False)
    with few_steps(method):
        scores = np.concatenate(list(episode_scores(method, images, conditions, BLIND_EPISODES, CHUNK)))
    queries = BLIND_EPISODES * size.queries * (size.ways if subject.kind == "classification" else 1)
    mean = float(scores.mean())
    if subject.kind == "regression":
        return _unlearnable(mean, queries)
    chance = 1 / size.ways
    room = SIGMAS * (chance * (1 - chance) / queries) ** 0.5
    said = f"accuracy on {queries} queries of noise is {mean:.3f}, where chance is {chance:.3f} ± {room:.3f}"
    if abs(mean - chance) > room:
        raise Fault(f"{said}: it finds query labels elsewhere than in the support")
    return said


def _unlearnable(mean: float, queries: int) -> str:
    lowest = 1 / 3 - SIGMAS * (4 / 45 / queries) ** 0.5  # of squares of uniform numbers: mean 1/3, variance 4/45
    said = f"squared error on {queries} points that nothing tells is {mean:.3f}, at best {lowest:.3f} by chance"
    if mean < lowest:
        raise Fault(f"{said}: it finds targets elsewhere than in the support")
    return said
