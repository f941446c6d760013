"""A method under audit: built small, asked as a test asks it, and what it says compared.

Legend: T tasks, Q query images in all, N ways.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import partial
from itertools import product
from typing import Any

import torch
from torch import Tensor

from fewshot_bench.audit.synthetic import CLASSES, CPU, source
from fewshot_bench.audit.verdicts import Fault
from fewshot_bench.episodes.own_generators import generators_of
from fewshot_bench.episodes.protocols import test_default
from fewshot_bench.episodes.randomness import seeded
from fewshot_bench.episodes.size import EpisodeSize
from fewshot_bench.episodes.tasks import Tasks
from fewshot_bench.learning.answers import checked_backbone, checked_method, checked_scores
from fewshot_bench.learning.backbone import Backbone
from fewshot_bench.learning.base import Conditions, Method, MethodInfo
from fewshot_bench.learning.few_steps import few_steps
from fewshot_bench.learning.hparams import build_hparams
from fewshot_bench.plugins.faults import plugin_faults_told
from fewshot_bench.runs.checks.rescoring import BOUND, BOUND_64, copied, differing
from fewshot_bench.runs.checks.small_network import small_network
from fewshot_bench.runs.scores import answered
from fewshot_bench.runs.testing import answers, evaluated
from fewshot_bench.specs import Kind, Normalisation

SIZE = EpisodeSize(ways=5, shots=2, queries=3)
"""Of the tasks of an audit, unless a check says otherwise."""
TASKS = 3
STEPS = 2
"""Inner steps at test."""
INPUTS: Mapping[Kind, tuple[tuple[int, ...], ...]] = {
    "classification": ((1, 16, 16), (1, 28, 28), (3, 32, 32), (3, 84, 84)),
    "regression": ((1,),),
}
"""The inputs with which a method is tried, until it answers."""


@dataclass(frozen=True)
class Subject:
    """A method class with hyper-parameters, the network that it is built on, and the kind and shape of its tasks."""

    method_class: type[Method]
    hparams: Mapping[str, Any]
    network: Callable[[tuple[int, ...]], Any] | None
    """What makes its backbone; None: a small one of the audit's own."""
    kind: Kind
    shape: tuple[int, ...] = (1, 16, 16)
    size: EpisodeSize = SIZE
    dtype: torch.dtype = torch.float64
    """float64, in which roundings hide nothing; float32 of a method that cannot compute in it."""
    draws: str = ""
    """Whose numbers `predict` draws, where not those of the tasks' keys."""
    chosen: Normalisation | None = None
    """A mode in place of that of an inductive test."""

    @property
    def transductive(self) -> bool:
        """Whether it declares that queries see each other in any mode."""
        return self.method_class.transductive

    @property
    def mode(self) -> Normalisation:
        """The mode of an inductive test, or the one that is `chosen`."""
        if self.chosen is not None:
            return self.chosen
        if self.kind == "regression":
            return "none"
        return test_default(self.method_class.default_mode, transductive=False)

    @property
    def conditions(self) -> Conditions:
        """Those of a test in its mode, with few inner steps."""
        hparams = build_hparams(self.method_class.Hparams, self.hparams)
        return Conditions(self.mode, None if self.method_class.inner_steps(hparams) is None else STEPS)

    def in_mode(self, mode: Normalisation) -> "Subject":
        """The same, tested in a mode."""
        return replace(self, chosen=mode)

    def backbone(self) -> Backbone:
        """The network alone; one of the audit's own normalises unless the mode is `none`."""
        make = self.network or partial(small_network, normalised=self.mode != "none")
        return checked_backbone(getattr(make, "__name__", "of the audit"), make(self.shape))

    def build(self, dtype: torch.dtype | None = None, seed: int = 0) -> Method:
        """A fresh method for tests, whose initial values a seed decides."""
        cls = self.method_class
        ways = 0 if cls.trains_on == "classes" else self.size.ways if self.kind == "classification" else 1
        classes = CLASSES if self.kind == "classification" else 0
        info = MethodInfo(self.kind, ways, ways * self.size.shots, self.shape, classes)
        with seeded(seed, CPU):
            network = self.backbone() if cls.needs_backbone else None
            method = checked_method(cls(build_hparams(cls.Hparams, self.hparams), info, network), trained=cls.trained)
        return method.to(dtype or self.dtype)

    def tasks(self, count: int = TASKS, first: int = 0, **size: Any) -> Tasks:
        """Tasks of patterns under noise, or of waves, with their query labels."""
        return source(self.kind, self.shape, replace(self.size, **size), self.dtype).tasks(first, count)

    @contextmanager
    def tested(self, method: Method) -> Iterator[None]:
        """Ask the method inside as a test does."""
        with evaluated(method, self.conditions), few_steps(method):
            yield

    def said(self, method: Method, tasks: Tasks) -> Tensor:
        """What a method says of tasks, as a test asks it: outputs [T, Q, N or D]."""
        with self.tested(method):
            outputs = answers(method, copied(tasks))
        assert outputs is not None, "predict returns outputs"
        return outputs

    def said_anew(self, tasks: Tasks) -> Tensor:
        """What a fresh method says."""
        return self.said(self.build(), tasks)


def fitted(subject: Subject) -> Subject:
    """The subject with inputs of a shape, and of a dtype, in which it is built and answers; raises what it raised at the
    first."""
    errors: list[Exception] = []
    for shape, dtype in product(INPUTS[subject.kind], (torch.float64, torch.float32)):
        one = replace(subject, shape=shape, dtype=dtype)
        try:
            with plugin_faults_told():
                checked_scores(one.build(), one.said_anew(one.tasks(1)), one.tasks(1))
            return replace(one, draws=drawn(one))
        except Exception as error:  # whatever a plugin raises at inputs that it does not take
            errors.append(error)
    raise errors[0]


def without_inputs(subject: Subject) -> str:
    """Why a backbone that was given takes no inputs of the kind; "" where it takes some or none was given."""
    if subject.network is None or not subject.method_class.needs_backbone:
        return ""
    reasons: list[str] = []
    for shape in INPUTS[subject.kind]:
        try:
            replace(subject, shape=shape).backbone()
        except Exception as error:  # whatever a plugin raises at inputs that it does not take
            reasons.append(f"{type(error).__name__}: {str(error).partition(chr(10))[0]}")
        else:
            return ""
    return reasons[0]


def drawn(subject: Subject) -> str:
    """Whose numbers `predict` draws beside those of the tasks' keys; "" where it draws none."""
    tasks, method = subject.tasks().without_query_labels(), subject.build()
    own = generators_of(method)
    with subject.tested(method), seeded(0, CPU, own) as drew:
        states = [one.state for one in own]
        method.predict(copied(tasks))
        mine = [one.name for one, state in zip(own, states, strict=True) if one.drew_since(state)]
        if not drew():
            return ""
    return f"a generator that it keeps ({', '.join(mine)})" if mine else "a global generator"


def compared(subject: Subject, before: Tensor, after: Tensor, when: str) -> str:
    """By how much outputs [T, Q, n] moved at most; raises `Fault` where that is more than rounding: of a query's spread of
    scores a millionth in float64, a thousandth in float32."""
    before, after = before.flatten(2), after.flatten(2)
    everything = torch.ones(before.shape[:2], dtype=torch.bool, device=before.device)
    bound = BOUND_64 if before.dtype == torch.float64 else BOUND
    unlike = differing(before, after, everything, subject.kind, torch.finfo(before.dtype).eps, bound)
    gap = torch.where(before == after, 0, (before - after).abs().nan_to_num(torch.inf))
    if not unlike.any():
        return f"scores differ by at most {float(gap.max()):.2g} {when}"
    gap = gap.masked_fill(~unlike[..., None], -1)
    at = int(gap.argmax())
    task, query, way = at // gap[0].numel(), at // gap.shape[2] % gap.shape[1], at % gap.shape[2]
    moved = f"{float(before[task, query, way]):.6g} becomes {float(after[task, query, way]):.6g}"
    raise Fault(f"{moved} (query {query} of task {task}; {int(unlike.sum())} of {unlike.numel()} queries move) {when}")


def equal(before: Tensor, after: Tensor, when: str) -> str:
    """That outputs are equal bit for bit; raises `Fault` with the largest difference."""
    if before.shape == after.shape and torch.equal(before.nan_to_num(), after.nan_to_num()):
        return f"scores are equal bit for bit {when}"
    gap = (before - after).abs().flatten()
    at = int(gap.argmax())
    moved = f"{float(before.flatten()[at]):.6g} becomes {float(after.flatten()[at]):.6g}"
    raise Fault(f"{moved} ({int((gap > 0).sum())} of {gap.numel()} scores change) {when}")


def finite(outputs: Tensor, tasks: Tasks) -> Tensor:
    """Outputs that are numbers; raises `Fault`."""
    if not answered(outputs, tasks.kind).all():
        raise Fault("predict gives NaN or infinity for tasks of patterns under noise")
    return outputs


def moved_to(tasks: Tasks, device: torch.device) -> Tasks:
    """The same tasks on a device."""
    held = {one.name: getattr(tasks, one.name) for one in fields(tasks)}
    found: dict[str, Any] = {name: x.to(device) for name, x in held.items() if isinstance(x, Tensor)}
    return replace(tasks, **found)
