"""Whether a run takes more than a day, by what its own work takes when it is tried: said before it starts.

What is tried has its own network and its own noise, so that nothing of the run depends on it.

Legend: T tasks computed at once.
"""

import time
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from fewshot_bench.episodes.randomness import seeded
from fewshot_bench.episodes.size import EpisodeSize
from fewshot_bench.episodes.tasks import Tasks
from fewshot_bench.learning.base import Conditions, Method
from fewshot_bench.learning.copies import copy_of
from fewshot_bench.learning.few_steps import FEW, few_steps
from fewshot_bench.runs.checks.rehearsal import BATCH, QUERIES, SHOTS, Rehearsed
from fewshot_bench.runs.plan import Plan, blank_task
from fewshot_bench.runs.testing import evaluated
from fewshot_bench.specs import TestSpec, TrainSpec, Validation

DAY_S = 86_400.0
LONG_S = 2.0
"""What took so long is not tried a second time."""
TRIED = 4
"""The most tasks that are tried at once: more take as long each, about."""


def long_work(rehearsed: Rehearsed, train: TrainSpec, test: TestSpec, method: Method, plan: Plan) -> str | None:
    """A line that says how long a run takes, where that is more than a day; else None. The rehearsal, of small tasks,
    decides whether it is tried at full size."""
    if _guess(rehearsed, train, test) < DAY_S:
        return None
    parts = tried_s(method, train, test, plan)
    total = sum(parts.values())
    if total < DAY_S:
        return None
    each = ", ".join(f"{name} {_duration(seconds)}" for name, seconds in parts.items() if seconds)
    hints = {"training": _fewer_updates(train), "validation": "a larger --set validation.every", "test": "fewer --episodes"}
    return f"This takes about {_duration(total)} here ({each}).\nShorter: {hints[max(parts, key=lambda name: parts[name])]}."


def tried_s(method: Method, train: TrainSpec, test: TestSpec, plan: Plan) -> dict[str, float]:
    """Seconds of each part of a run, by its own work tried at full size."""
    trial = copy_of(method)
    return {"training": _training_s(trial, train, plan), **_tests_s(trial, train, test, plan)}


def _fewer_updates(train: TrainSpec) -> str:
    """What shortens a training: fewer updates, or tasks of an update where one is all that there is."""
    size = "meta_batch_size" if train.batch_size is None else "batch_size"
    if getattr(train, size) > train.updates:
        return f"a smaller --set {size}"
    return "fewer --set updates (or --images in its place)"


def long_test(test: TestSpec, method: Method, plan: Plan) -> str | None:
    """The same of a test alone."""
    seconds = test.episodes * _task_s(copy_of(method), test, plan)
    return None if seconds < DAY_S else f"This takes about {_duration(seconds)} here. Shorter: fewer --episodes."


def _guess(rehearsed: Rehearsed, train: TrainSpec, test: TestSpec) -> float:
    """Seconds of a run whose tasks take as long as the small ones for each image."""
    rules = train.validation
    a_task = rehearsed.test_s * _ratio(EpisodeSize.of(test))
    tests = test.episodes * (test.inner_steps or 1)
    if rules:
        tests += rules.episodes * (train.updates // rules.every + 1) * (rules.inner_steps or 1)
    if train.batch_size is not None:
        an_update = rehearsed.update_s * max(1.0, train.batch_size / BATCH)
    else:
        an_update = rehearsed.update_s * train.meta_batch_size * _ratio(EpisodeSize.of(train))
    return tests * a_task + train.updates * an_update


def _ratio(size: EpisodeSize) -> float:
    """How many times as many images of a class a task has as the small one of the rehearsal."""
    return (size.largest_shots + size.queries) / (min(size.largest_shots, SHOTS) + min(size.queries, QUERIES))


def _training_s(method: Method, train: TrainSpec, plan: Plan) -> float:
    """Seconds of all updates, by one chunk of tasks or one batch."""
    if not (method.trained and train.updates):
        return 0.0
    like = next(method.parameters())
    under = method.train().under(Conditions(train.normalisation, precision=train.precision, kernels=plan.kernels))
    if train.batch_size is not None:
        x = torch.rand(train.batch_size, *method.info.input_shape, generator=torch.Generator().manual_seed(0)).to(like)
        y = (torch.arange(train.batch_size) % max(1, method.info.training_classes)).to(like.device)
        with under, few_steps(method) as times:
            return train.updates * times * _timed(like.device, lambda: method.batch_loss(x, y).mean().backward())
    count = 1 if train.sizes_differ else min(plan.train_chunk, train.meta_batch_size, TRIED)
    tasks = _many(blank_task(method.info, EpisodeSize.of(train), like), count)
    with under, few_steps(method) as times:
        seconds = times * _timed(like.device, lambda: method.loss(tasks).sum().backward())
    return train.updates * train.meta_batch_size * seconds / count


def _tests_s(method: Method, train: TrainSpec, test: TestSpec, plan: Plan) -> dict[str, float]:
    rules = train.validation
    times = {"test": test.episodes * _task_s(method, test, plan)}
    if rules is not None and train.updates:
        times["validation"] = rules.episodes * -(-train.updates // rules.every) * _task_s(method, rules, plan)
    return times


def _task_s(method: Method, spec: TestSpec | Validation, plan: Plan) -> float:
    """Seconds of one task of a test, by as many at once as the plan says."""
    steps = spec.inner_steps and min(spec.inner_steps, FEW)
    conditions = Conditions(spec.normalisation, steps, kernels=plan.kernels)
    like = next(method.parameters(), torch.empty(0))
    size = EpisodeSize.of(spec)
    with evaluated(method, conditions), few_steps(method) as times:
        times = spec.inner_steps / steps if spec.inner_steps and steps else times
        task = blank_task(method.info, size, like)
        support, query = (method.embed_images(x[0]) for x in (task.support_x, task.query_x))
        if support is not None and query is not None:  # embedded once for all episodes: not counted
            task = replace(task, support_x=support[None], query_x=query[None])
        count = 1 if size.varies else min(plan.test_chunk, TRIED)
        tasks = _many(task, count).without_query_labels()
        return _timed(like.device, lambda: method.predict(tasks)) * times / count


def _timed(device: torch.device, work: Callable[[], object]) -> float:
    """Seconds of a piece of work that was done once before, so that what is made at first use does not count."""
    seconds = LONG_S
    for _ in range(2):
        with seeded(0, device):
            started = time.perf_counter()
            work()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            seconds = time.perf_counter() - started
        if seconds > LONG_S:
            break
    return seconds


def _many(task: Tasks, count: int) -> Tasks:
    """The same task `count` times."""
    held = {one.name: getattr(task, one.name) for one in fields(task)}
    many: dict[str, Any] = {name: x.repeat(count, *[1] * (x.dim() - 1)) for name, x in held.items() if isinstance(x, Tensor)}
    return replace(task, **many)


def _duration(seconds: float) -> str:
    """About how long: `3.2 days`, `12 hours`, `2,000 years`."""
    for name, length in (("year", 365.25 * DAY_S), ("day", DAY_S), ("hour", 3600.0), ("minute", 60.0)):
        if (count := seconds / length) >= 1.95:
            return f"{count:,.0f} {name}s" if count >= 10 else f"{count:.1f} {name}s"
    return f"{seconds:.0f} seconds"
