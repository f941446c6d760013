"""A rehearsal before any work: the method is built and answers one small task of noise in training and one in a test, and
its backbone is asked whether its normalisation is the one that is declared. What does not fit its interface is refused here.

It has a network, a random state and tasks of its own, and what it leaves in the method's classes and modules is put back, so
that nothing of the run depends on it.

Legend: T tasks, n images a task, D features, G groups that share statistics, C channels.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from fewshot_bench.episodes.randomness import seeded
from fewshot_bench.episodes.size import EpisodeSize
from fewshot_bench.episodes.tasks import Tasks
from fewshot_bench.errors import PluginError, UsageError
from fewshot_bench.learning.answers import OPEN, check_layers, checked_features, checked_loss, checked_scores
from fewshot_bench.learning.backbone import Backbone
from fewshot_bench.learning.base import Conditions, Method
from fewshot_bench.learning.few_steps import few_steps
from fewshot_bench.learning.normalisation import Statistics
from fewshot_bench.runs.checks.hidden_state import Surroundings
from fewshot_bench.runs.checks.memory_need import check_kept, check_memory
from fewshot_bench.runs.plan import blank_task
from fewshot_bench.runs.requests.resolve import Resolved
from fewshot_bench.runs.scores import answered
from fewshot_bench.runs.testing import evaluated

SHOTS, QUERIES = 5, 2
"""The most shots and queries a class of the small tasks."""
BATCH = 4
"""The most images of the small batch."""
SAME = 1e-3
"""By so much of the largest feature two embeddings of one image may differ, whose sums have another order."""


@dataclass(frozen=True)
class Rehearsed:
    """The built method, and the seconds that it takes: for a task in a test (with one inner step), and for a task or a batch
    in training."""

    method: Method
    test_s: float
    update_s: float


def rehearse(resolved: Resolved, training_classes: int) -> Rehearsed:
    """Let the method answer, on the CPU; raises `UsageError` or `PluginError` for an answer that is none, for a
    normalisation that is not the declared one, and where the run cannot fit in memory."""
    check_memory(resolved, training_classes)
    with seeded(0, torch.device("cpu")):
        method = resolved.build(resolved.dataset.shape, training_classes)
        method = method.to(getattr(torch, resolved.train.dtype)).train()
        check_layers(method)
        for network in (one for one in method.modules() if isinstance(one, Backbone)):
            check_normalisation(str(resolved.train.backbone), network, resolved.dataset.shape)
        with few_steps(method) as times:
            with Surroundings(method).present():  # what is kept outside the method is kept of noise
                started = time.perf_counter()
                _rehearse_test(method, resolved)
                tested = time.perf_counter()
                if method.trained and resolved.train.updates:
                    _rehearse_update(method, resolved)
                updated = time.perf_counter()
            check_kept(resolved, method)
    return Rehearsed(method, times * (tested - started), times * (updated - tested))


def _rehearse_test(method: Method, resolved: Resolved) -> None:
    spec = resolved.test
    task = _small(method, EpisodeSize.of(spec), resolved)
    with evaluated(method, Conditions(spec.normalisation, 1 if spec.inner_steps else None)):
        support, query = (
            checked_features(method, method.embed_images(x[0]), x.shape[1]) for x in (task.support_x, task.query_x)
        )
        if support is not None and query is not None:
            task = replace(task, support_x=support[None], query_x=query[None], unlabelled_x=_features(method, task))
        _check_answers(method, method.predict(task.without_query_labels()), task, "predict")
        if task.kind == "regression" and (steps := method.predict_steps(task.without_query_labels())) is not None:
            for outputs in steps:
                _check_answers(method, outputs, task, "predict_steps")


def _check_answers(method: Method, given: Any, task: Tasks, name: str) -> None:
    if not answered(checked_scores(method, given, task, name), task.kind).all():
        raise PluginError(
            f"{type(method).__name__}.{name} gave NaN or infinity for a small task of noise, before any training.\n"
            "It divides by zero or takes the log of zero, or its steps are too long: lower its learning rates."
        )


def _features(method: Method, task: Tasks) -> Tensor | None:
    return None if task.unlabelled_x is None else method.embed_images(task.unlabelled_x[0])[None]  # type: ignore[index]


def _rehearse_update(method: Method, resolved: Resolved) -> None:
    spec = resolved.train
    with method.train().under(Conditions(spec.normalisation)):
        if spec.batch_size is None:
            losses, size = method.loss(_small(method, EpisodeSize.of(spec), resolved)), 1
        else:
            size = min(spec.batch_size, BATCH)
            labels = torch.arange(size) % max(1, method.info.training_classes)
            losses = method.batch_loss(_noise((size, *resolved.dataset.shape), next(method.parameters())), labels)
        checked_loss(method, losses, size).mean().backward()
        if all(parameter.grad is None for parameter in method.parameters()):
            raise PluginError(
                f"{type(method).__name__}: the loss reaches none of its parameters, so that nothing would be learned.\n"
                "A network must be an attribute that is an nn.Module, not in a plain list or dict."
            )
        method.after_update()


def _small(method: Method, size: EpisodeSize, resolved: Resolved) -> Tasks:
    """One task of a size, with few queries and not too many shots."""
    like = torch.empty(0, dtype=getattr(torch, resolved.train.dtype))
    shots = min(size.largest_shots, SHOTS)
    small = replace(size, shots=shots, max_shots=None, imbalanced=False, queries=min(size.queries, QUERIES))
    return blank_task(method.info, small, like)


def check_normalisation(name: str, network: Backbone, shape: tuple[int, ...]) -> None:
    """Refuse a backbone that normalises otherwise than it declares: whose buffers change with the images that pass, whose
    embeddings of a task depend on another, or of an image on its companions where the statistics are given (or there are
    none). Raises `UsageError`, and `PluginError` where `embed` does not answer as it should."""
    like = next(network.parameters(), torch.empty(0))
    x = _noise((2, 2, *shape), like)  # [T, n, ...]
    other = _noise(x.shape, like, seed=1)
    before = {key: buffer.clone() for key, buffer in network.named_buffers()}
    network.train()
    features, used = embedded(name, network, x)
    another_task, _ = embedded(name, network, torch.stack([x[0], other[1]]))
    if _differ(features[0], another_task[0]):
        raise _mixes(name, "of a task depends on the other tasks that are computed with it")
    given = {key: (mean.mean(0, keepdim=True), variance.mean(0, keepdim=True)) for key, (mean, variance) in used.items()}
    companions = torch.stack([x[:, 0], other[:, 1]], 1)
    for training in (True, False):
        network.train(training)
        alone, beside = (embedded(name, network, images, given or None)[0][:, 0] for images in (x, companions))
        if _differ(alone, beside):
            where = "under given statistics" if network.channels else "though it declares no normalised layer"
            raise _mixes(name, f"of an image depends on its companions {where}")
    network.train()
    if changed := [key for key, buffer in network.named_buffers() if not _equal(before.get(key), buffer)]:
        raise UsageError(
            f"Backbone {name!r} changes its buffer {changed[0]} with the images that pass, which the declared normalisation "
            f"does not reach.\n{OPEN}"
        )


def embedded(name: str, network: Backbone, x: Tensor, given: Statistics | None = None) -> tuple[Tensor, Statistics]:
    """What a backbone makes of x [T, n, ...], always by the same random numbers; raises `PluginError` where that is not
    embeddings [T, n, D] and the statistics of its layers."""
    with torch.no_grad(), seeded(0, x.device):  # the same dropout
        answer: Any = network.embed(x, dict(network.named_parameters()), given)
    if not (isinstance(answer, tuple) and len(answer) == 2 and isinstance(answer[0], Tensor)):
        raise PluginError(
            f"Backbone {name!r}: embed must give (embeddings [T, n, D], statistics), got {type(answer).__name__}."
        )
    features, used = answer
    expected = [*x.shape[:2], network.features]
    if list(features.shape) != expected:
        raise PluginError(
            f"Backbone {name!r}: embed gave shape {list(features.shape)}, where {expected} was expected: "
            f"embeddings [T, n, D] of D = features = {network.features}."
        )
    if not isinstance(used, Mapping) or set(used) != set(network.channels) or not all(map(_is_moments, used.values())):
        layers = ", ".join(network.channels) or "no layer"
        raise PluginError(
            f"Backbone {name!r}: embed must give the mean and variance [T, C] of each layer in `channels` ({layers})\n"
            "beside the embeddings."
        )
    return features, used


def _mixes(name: str, what: str) -> UsageError:
    return UsageError(f"Backbone {name!r}: the embedding {what}: a normalisation that its record would not tell.\n{OPEN}")


def _is_moments(given: Any) -> bool:
    return isinstance(given, tuple) and len(given) == 2 and all(isinstance(one, Tensor) and one.dim() == 2 for one in given)


def _differ(one: Tensor, other: Tensor) -> bool:
    """Whether two embeddings differ by more than rounding; what is no number says nothing."""
    return bool(((one - other).abs() > SAME * one.abs().max()).any())


def _equal(one: Tensor | None, other: Tensor) -> bool:
    return one is not None and one.shape == other.shape and bool(torch.equal(one, other))


def _noise(shape: tuple[int, ...] | torch.Size, like: Tensor, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)).to(like)
