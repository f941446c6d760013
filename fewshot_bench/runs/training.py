"""Training: episodes to updates, validation on fixed episodes, and a state from which an interrupted run goes on.

The whole state (parameters, best parameters, optimiser, random state, counters) is one file, written atomically, so that
a run killed at any moment goes on from the last one and ends as an uninterrupted run would.
"""

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from fewshot_bench.episodes.batches import BatchSource
from fewshot_bench.episodes.own_generators import generators_of
from fewshot_bench.episodes.randomness import ForkedGenerator, host_generators
from fewshot_bench.episodes.seeds import derive_seed
from fewshot_bench.episodes.sources import Source
from fewshot_bench.errors import FewshotError
from fewshot_bench.learning.answers import checked_loss
from fewshot_bench.learning.base import Conditions, Method
from fewshot_bench.metrics import main_metric
from fewshot_bench.runs.checkpoint import load_tensors, prefixed, save_tensors, under
from fewshot_bench.runs.optimisers import learning_rate, optimiser_of
from fewshot_bench.runs.plan import Plan
from fewshot_bench.runs.scores import check_finite
from fewshot_bench.runs.testing import episode_scores
from fewshot_bench.specs import TrainSpec
from fewshot_bench.storage import atomic

STATE = "state.safetensors"
"""The state's file, in the folder of a run until it is finished."""
LOG = "log.jsonl"
"""The learning curve's file: a line for each point, written as training goes on."""
SAVE_EVERY_S = 30.0
"""The most work that an interruption can lose, beside one update and one validation."""
LOG_EVERY = 250
"""Updates between two points of the learning curve where there is no validation."""

LOSSES_KEPT = 1024
"""Chunks of an update whose losses are kept to be added up later: so that memory does not grow with their number."""


@dataclass
class Progressed:
    """Where a training stands."""

    update: int = 0
    best_update: int = 0
    best_score: float = 0.0
    last_score: float | None = None
    loss_sum: float = 0.0
    """Of the updates since the last point of the learning curve."""
    losses: int = 0
    train_s: float = 0.0
    train_cpu_s: float | None = 0.0
    """Of all threads of the process, which other work on the machine hardly changes; None where a part was not measured."""


class Watcher(Protocol):
    """Who is told how training goes, and may ask it to stop."""

    def trained(self, at: Progressed, loss: float) -> None:
        """After each update."""

    def stopped(self) -> bool:
        """Whether to stop after the present update."""
        ...


class Interrupted(Exception):
    """Training stopped on request after `update`; its state is saved."""

    def __init__(self, update: int) -> None:
        super().__init__(f"stopped after update {update}")
        self.update = update


class Trainer:
    """Trains one method under one spec and plan, in one folder (`state.safetensors`, `log.jsonl`)."""

    def __init__(
        self,
        spec: TrainSpec,
        method: Method,
        plan: Plan,
        generator: ForkedGenerator,
        source: Source | BatchSource,
        validation: Source | None,
        folder: Path,
        run_id: str = "",
    ) -> None:
        self.spec, self.method, self.plan, self.generator = spec, method, plan, generator
        self.source, self.validation, self.folder = source, validation, folder
        self.run_id = run_id
        self.at = Progressed()
        self.optimiser = optimiser_of(spec, [one for one in method.parameters() if one.requires_grad])
        self.best = self._weights()
        self.log: list[str] = []

    @property
    def state_path(self) -> Path:
        """Where the state lies."""
        return self.folder / STATE

    def resume(self) -> None:
        """Go back to the saved state; log lines written after it are dropped."""
        tensors, about = load_tensors(self.state_path)
        self.method.load_state_dict(under("model", tensors))
        self.best = under("best", tensors)
        self.optimiser.restore(under("optimiser", tensors))
        self.generator.states = [tensors[f"random.{i}"] for i in range(len(self.generator.states))]
        self.at = Progressed(**{"train_cpu_s": None} | about["at"])
        self.log = about["log"]

    def save(self) -> None:
        """Save the state and the learning curve."""
        tensors = prefixed("model", self._weights()) | prefixed("best", self.best)
        tensors |= prefixed("optimiser", self.optimiser.tensors())
        tensors |= {f"random.{i}": state for i, state in enumerate(self.generator.states)}
        about: dict[str, Any] = {"run_id": self.run_id, "at": asdict(self.at), "updates": self.spec.updates}
        about |= {"log": self.log, "plan": self.plan.as_json()}
        save_tensors(self.state_path, tensors, about)

    def train(self, watcher: Watcher) -> None:
        """Train to the end; raises `Interrupted` where the watcher asks to stop, `FewshotError` where the loss is not
        finite (the last saved state stays)."""
        self._write_log()  # without what an interrupted run has written after its last state
        with host_generators(generators_of(self.method)) as seed_host:
            self._train(watcher, seed_host)
        if self.spec.selection == "last":
            self.best, self.at.best_update = self._weights(), self.spec.updates
        self.save()
        self.method.load_state_dict(self.best)

    def _train(self, watcher: Watcher, seed_host: Callable[[int], None]) -> None:
        """All updates that are left; all generators but torch's, whose state is not saved, start anew in each."""
        spec = self.spec
        every = spec.validation.every if spec.validation else LOG_EVERY
        started = saved = time.perf_counter()
        before, cpu_before, cpu_started = self.at.train_s, self.at.train_cpu_s, time.process_time()
        while self.at.update < spec.updates:
            with self.generator.active():
                seed_host(derive_seed(spec.seed, f"host, update {self.at.update}"))
                loss = self._update()
            self.at.update += 1
            self.at.loss_sum, self.at.losses = self.at.loss_sum + loss, self.at.losses + 1
            self.at.train_s = before + time.perf_counter() - started
            if cpu_before is not None:
                self.at.train_cpu_s = cpu_before + time.process_time() - cpu_started
            if self.at.update % every == 0 or self.at.update == spec.updates:
                self._log(self._validate() if spec.validation else None)
            watcher.trained(self.at, loss)
            stop = watcher.stopped()
            if stop or time.perf_counter() - saved > SAVE_EVERY_S:
                self.save()
                saved = time.perf_counter()
            if stop:
                raise Interrupted(self.at.update)

    def _update(self) -> float:
        """One update from `meta_batch_size` tasks or from a batch; returns their mean loss."""
        spec = self.spec
        self.method.train()
        self.optimiser.lr = learning_rate(spec, self.at.update)
        self.method.zero_grad()
        losses: list[Tensor] = []
        total = 0.0
        with self.method.under(Conditions(spec.normalisation, precision=spec.precision, kernels=self.plan.kernels)):
            for loss in self._losses():
                loss.backward()
                losses.append(loss.detach())
                if len(losses) == LOSSES_KEPT:
                    total, losses = _added(total, losses), []
            if spec.gradient_clip is not None:
                torch.nn.utils.clip_grad_value_(self.method.parameters(), spec.gradient_clip)
            if spec.gradient_norm_clip is not None:
                torch.nn.utils.clip_grad_norm_(self.method.parameters(), spec.gradient_norm_clip)
            self.optimiser.step()
            self.method.after_update()
        total = _added(total, losses)  # waits for an accelerator: not before it has all of the update to do
        if not math.isfinite(total):
            raise _diverged("loss", total, self.at.update + 1)
        return total

    def _losses(self) -> Iterator[Tensor]:
        """What adds up to the present update's mean loss: those of chunks of tasks, or of its batch, never divided."""
        if isinstance(self.source, BatchSource):
            images, labels = self.source.batch(self.at.update)
            yield checked_loss(self.method, self.method.batch_loss(images, labels), len(labels)).mean()
            return
        size = self.spec.meta_batch_size
        for start in range(0, size, self.plan.train_chunk):
            tasks = self.source.tasks(self.at.update * size + start, min(self.plan.train_chunk, size - start))
            yield checked_loss(self.method, self.method.loss(tasks), len(tasks)).sum() / size

    def _validate(self) -> float:
        """Mean score on the validation episodes; keeps the best weights, the earlier of two equal ones."""
        rules = self.spec.validation
        assert rules is not None and self.validation is not None
        conditions = Conditions(rules.normalisation, rules.inner_steps, kernels=self.plan.kernels)
        blocks = episode_scores(self.method, self.validation, conditions, rules.episodes, self.plan.test_chunk)
        scores = np.concatenate(list(blocks))
        check_finite(scores, f"validation episodes after update {self.at.update:,}")
        score = self.at.last_score = float(scores.mean())
        metric = main_metric(self.method.info.kind)
        if not self.at.best_update or metric.better(score, than=self.at.best_score):
            self.at.best_score, self.at.best_update, self.best = score, self.at.update, self._weights()
        return score

    def _log(self, score: float | None) -> None:
        """A point of the learning curve: the mean loss since the last one, and the validation score."""
        loss = self.at.loss_sum / self.at.losses
        line = {"update": self.at.update, "loss": loss, "validation": score, "train_s": round(self.at.train_s, 3)}
        self.log.append(json.dumps(line))
        self.at.loss_sum, self.at.losses = 0.0, 0
        self._write_log()

    def _write_log(self) -> None:
        """The whole learning curve so far, for whoever looks on; each update stands once in it.

        That of a finished run, which is being made anew, stays until its record is replaced. Where it cannot be written,
        training goes on: the state holds it, too.
        """
        if (self.folder / "record.json").is_file():
            return
        with suppress(FewshotError), atomic(self.folder / LOG) as temporary:
            temporary.write_text("".join(line + "\n" for line in self.log), encoding="utf-8")

    def _weights(self) -> dict[str, Tensor]:
        return {name: tensor.detach().clone() for name, tensor in self.method.state_dict().items()}


def _added(total: float, losses: list[Tensor]) -> float:
    """A total and some losses, added one after another."""
    for loss in losses:
        total += loss.item()
    return total


def _diverged(what: str, value: float, update: int) -> FewshotError:
    return FewshotError(
        f"The {what} is {value} at update {update}: training has diverged.\n"
        "Lower the learning rates (--set lr=..., for gradient-based methods --set inner_lr=...)."
    )
