"""How many times faster a method trains than its plain loop over tasks: `python tests/benchmarks/plain_loops.py [NAME ...]`.

Both sides make the loss and the gradient of the same tasks of the recipe `controlled` for CIFAR-FS, 5-way 1-shot (random
images in their place): ours in the chunks of the execution plan and with the kernels, the plain loop task by task as torch
computes it. They take turns in one run; the ratio is that of the medians. Prints a Markdown table.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median

import torch

from fewshot_bench.episodes.tasks import Tasks
from fewshot_bench.errors import UsageError
from fewshot_bench.learning.base import Conditions, Method
from fewshot_bench.plugins import registry
from fewshot_bench.request import Request
from fewshot_bench.runs.plan import Plan, choose_plan, resolve_device
from fewshot_bench.runs.requests.resolve import resolve
from fewshot_bench.specs import TrainSpec

ROUNDS = 5
TASKS = 4
"""Of an update at least: a recipe with fewer is measured with these, so that there is a loop to compare with."""


def main() -> None:
    """Measure the named methods, or all that train on episodes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", help="methods; all without")
    names = parser.parse_args().names or list(trained_on_episodes())
    print("| method | tasks an update | at once | ms an update | plain loop, ms | times faster |")
    print("| :--- | ---: | ---: | ---: | ---: | ---: |")
    for name in names:
        spec, method, plan = made(name)
        tasks = random_tasks(method, spec)
        fast, slow = (Conditions(spec.normalisation, kernels=kernels) for kernels in (True, False))
        ours, plain = compared(
            partial(update, method, fast, tasks, plan.train_chunk),
            partial(update, method, slow, tasks, 1),
        )
        row = (name, len(tasks), plan.train_chunk, f"{1000 * ours:.0f}", f"{1000 * plain:.0f}", f"{plain / ours:.1f}×")
        print(f"| {' | '.join(map(str, row))} |", flush=True)


def trained_on_episodes() -> Iterator[str]:
    """Every method of ours that trains on episodes; the peer's own are plain loops."""
    for name, plugin in registry.registered("methods").items():
        try:
            method = plugin.load()
        except UsageError:
            continue
        if method.trained and method.trains_on == "episodes" and not name.startswith("l2l-"):
            yield name


def made(name: str) -> tuple[TrainSpec, Method, Plan]:
    """A method with fresh parameters under its recipe, and the plan of its training."""
    resolved = resolve(Request(name, "cifar-fs", 5, 1, recipe="controlled", device=resolve_device("cpu")))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        method = resolved.build(resolved.dataset.shape, 64).train()
    spec = resolved.train.model_copy(update={"meta_batch_size": max(TASKS, resolved.train.meta_batch_size)})
    plan = choose_plan("cpu", 80)
    plan.apply()
    return spec, method, plan.with_chunk_for(method, spec)


def random_tasks(method: Method, spec: TrainSpec) -> Tasks:
    """An update's tasks, with the most shots that are drawn, of noise."""
    assert spec.ways and spec.queries
    generator = torch.Generator().manual_seed(0)
    shots, count = spec.largest_shots, spec.meta_batch_size

    def images(each: int) -> torch.Tensor:
        return torch.rand(count, spec.ways * each, *method.info.input_shape, generator=generator)  # type: ignore[operator]

    def labels(each: int) -> torch.Tensor:
        return torch.arange(spec.ways or 0).repeat(count, each)

    key = torch.arange(count)
    return Tasks(images(shots), labels(shots), images(spec.queries), labels(spec.queries), spec.ways, key)


def update(method: Method, conditions: Conditions, tasks: Tasks, chunk: int) -> None:
    """Loss and gradient of all tasks, `chunk` at once."""
    with method.under(conditions):
        method.zero_grad()
        for first in range(0, len(tasks), chunk):
            (method.loss(tasks.some(slice(first, first + chunk))).sum() / len(tasks)).backward()
        method.after_update()


def compared(ours: Callable[[], None], plain: Callable[[], None]) -> tuple[float, float]:
    """Median seconds of each, in turns, after one of each that does not count."""
    times: dict[Callable[[], None], list[float]] = {ours: [], plain: []}
    for turn in range(ROUNDS + 1):
        for work in (ours, plain):
            started = time.perf_counter()
            work()
            if turn:
                times[work].append(time.perf_counter() - started)
    return median(times[ours]), median(times[plain])


if __name__ == "__main__":
    main()
