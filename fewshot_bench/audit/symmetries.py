"""What must change nothing, or rename the answers alone: other calls, other tasks, orders and names.

Legend: T tasks, S support images, Q query images in all, N ways.
"""

from dataclasses import replace

import torch
from torch import Tensor

from fewshot_bench.audit.subject import TASKS, Subject, compared, equal, finite
from fewshot_bench.audit.verdicts import Fault, Skip
from fewshot_bench.episodes.size import EpisodeSize
from fewshot_bench.episodes.tasks import Tasks
from fewshot_bench.learning.answers import checked_features, checked_scores

SIZES = {
    "one query a class": {"queries": 1},
    "one shot": {"shots": 1},
}
OTHER_WAYS, UNBALANCED = 3, {"shots": 1, "max_shots": 2, "imbalanced": True}


def shapes(subject: Subject) -> str:
    """That predict gives finite scores [T, Q, N] of tasks of each size that it declares to take, and loss a value a task."""
    cls, sizes = subject.method_class, dict(SIZES)
    if subject.kind == "classification":
        sizes |= {} if cls.fixed_ways else {f"{OTHER_WAYS} ways": {"ways": OTHER_WAYS}}
        sizes |= {} if cls.balanced_support else {"an unbalanced support": dict(UNBALANCED)}
    for name, size in {"the usual size": {}, **sizes}.items():
        one = EpisodeSize(**{**vars(subject.size), **size})
        tasks = subject.tasks(1 if one.varies else TASKS, **size)
        method = subject.build()
        try:
            finite(checked_scores(method, subject.said(method, tasks), tasks), tasks)
        except Fault as fault:
            raise Fault(f"{fault} ({name})") from None
    tasks = subject.tasks()
    method = subject.build()
    with subject.tested(method):
        checked_features(method, method.embed_images(tasks.support_x[0]), tasks.support_x.shape[1])
    parameters = sum(one.numel() for one in method.parameters())
    return f"scores {list(subject.said(method, tasks).shape)}; {', '.join(sizes)} too; {parameters:,} parameters here"


def determinism(subject: Subject) -> str:
    """That two methods of one seed are the same, and that one says the same twice."""
    tasks = subject.tasks()
    one, other = (subject.build() for _ in range(2))
    for (name, a), b in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        if not torch.equal(a, b):
            raise Fault(f"two methods built from one seed differ in {name}, by up to {float((a - b).abs().max()):.3g}")
    first = subject.said(one, tasks)
    equal(first, subject.said(other, tasks), "of two methods built from one seed")
    return equal(first, subject.said(one, tasks), "when the same is asked twice")


def state(subject: Subject) -> str:
    """That a test leaves nothing in a method: no value changes, and other tasks before change no answer."""
    tasks, earlier = subject.tasks(), subject.tasks(first=TASKS)
    fresh, used = (subject.build() for _ in range(2))
    before = {name: x.clone() for name, x in used.state_dict().items()}
    subject.said(used, earlier)
    for name, x in used.state_dict().items():
        if not torch.equal(x, before[name]):
            raise Fault(f"predict changes {name}, by up to {float((x - before[name]).abs().max()):.3g}: it learns at a test")
    return equal(subject.said(fresh, tasks), subject.said(used, tasks), "after other tasks")


def tasks_at_once(subject: Subject) -> str:
    """That tasks in one call are answered as they are one by one."""
    tasks = subject.tasks()
    apart = torch.cat([subject.said_anew(tasks.some(slice(i, i + 1))) for i in range(TASKS)])
    return compared(subject, subject.said_anew(tasks), apart, f"of {TASKS} tasks in one call and one by one")


def query_order(subject: Subject) -> str:
    """That queries in another order have the same answers, which holds of a transductive method too."""
    if subject.draws:
        raise Skip(f"it draws from {subject.draws}, whose numbers change with the place of a query")
    tasks = subject.tasks()
    turned = subject.said_anew(replace(tasks, query_x=tasks.query_x.flip(1), query_y=tasks.targets.flip(1)))
    return compared(subject, subject.said_anew(tasks), turned.flip(1), "with queries in the opposite order")


def support_order(subject: Subject) -> str:
    """That the order of the support changes no answer, where that is declared."""
    if not subject.method_class.support_order_invariant:
        raise Skip("it declares support_order_invariant = False")
    tasks = subject.tasks()
    said = ""
    for when, order in _orders(subject, tasks).items():
        turned = replace(tasks, support_x=_in(tasks.support_x, order), support_y=_in(tasks.support_y, order))
        said = compared(subject, subject.said_anew(tasks), subject.said_anew(turned), when)
    return said


def _orders(subject: Subject, tasks: Tasks) -> dict[str, Tensor]:
    backwards = torch.arange(tasks.support_x.shape[1]).flip(0).expand(len(tasks), -1)
    if subject.kind == "regression":
        return {"with the support in the opposite order": backwards}
    by_class = tasks.support_y.argsort(dim=1, stable=True)
    return {"with the support sorted by class": by_class, "with the support in the opposite order": backwards}


def _in(x: Tensor, order: Tensor) -> Tensor:
    """Images or labels [T, S, ...] in an order [T, S]."""
    return x[torch.arange(len(x))[:, None], order]


def renamed_ways(subject: Subject) -> str:
    """That other names of the ways rename the answers and change nothing else, where that is declared."""
    if subject.kind == "regression":
        raise Skip("functions have no ways")
    if not subject.method_class.way_equivariant:
        raise Skip("it declares way_equivariant = False")
    tasks = subject.tasks()
    names = torch.arange(tasks.ways).roll(2)
    renamed = subject.said_anew(replace(tasks, support_y=names[tasks.support_y]))
    return compared(subject, subject.said_anew(tasks), renamed[:, :, names], "with the ways renamed")
