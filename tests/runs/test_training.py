"""The trainer's own rules; interruptions are in test_resume.py."""

import json
import os
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from small_trainer import CPU, trainer
from tiny import SHAPE, build

from fewshot_bench.episodes.randomness import ForkedGenerator
from fewshot_bench.errors import FewshotError
from fewshot_bench.learning.base import Conditions
from fewshot_bench.runs.checkpoint import load_tensors, save_tensors
from fewshot_bench.runs.listener import Listener
from fewshot_bench.runs.testing import episode_scores
from fewshot_bench.runs.training import Interrupted, Trainer


def test_the_best_model_by_validation_is_the_one_that_is_left(tmp_path: Path) -> None:
    """After training the method scores on validation what the log's best line says."""
    run = trainer(tmp_path)
    run.train(Listener())
    lines = [json.loads(line) for line in run.log]
    assert [line["update"] for line in lines] == [2, 4, 6]
    best = max(lines, key=lambda line: line["validation"])
    assert (run.at.best_update, run.at.best_score) == (best["update"], best["validation"])
    assert run.validation is not None
    scores = [block.mean() for block in episode_scores(run.method, run.validation, Conditions("running"), 6, 6)]
    assert scores == [pytest.approx(best["validation"], abs=1e-12)]


def test_selection_last_leaves_the_last_model(tmp_path: Path) -> None:
    """Without validation the weights are those of the last update."""
    run = trainer(tmp_path, validate=False, selection="last", split="train+val")
    run.train(Listener())
    assert run.at.best_update == 6
    assert [json.loads(line)["validation"] for line in run.log] == [None]


@pytest.mark.parametrize("chunk", [1, 2])
def test_the_first_update_is_adams_on_the_mean_loss(tmp_path: Path, chunk: int) -> None:
    """One update equals torch's Adam on the mean loss of the same tasks, whatever the chunk."""
    run = trainer(tmp_path, chunk=chunk, updates=1, lr=0.01)
    reference = build("prototypical-networks").train()
    adam = torch.optim.Adam(reference.parameters(), lr=0.01)
    with reference.under(Conditions("joint")):
        reference.loss(run.source.tasks(0, 2)).mean().backward()
    adam.step()
    run.train(Listener())
    for got, wanted in zip(run.method.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-6, atol=1e-9)


def test_the_learning_rate_halves_as_often_as_asked(tmp_path: Path) -> None:
    """Update u runs at lr * 0.5 ** (u // lr_halve_every)."""
    seen: list[float] = []

    class Watch(Listener):
        def stopped(self) -> bool:
            seen.append(run.optimiser.lr)
            return False

    run = trainer(tmp_path, lr=0.008, lr_halve_every=2)
    run.train(Watch())
    assert seen == [0.008, 0.008, 0.004, 0.004, 0.002, 0.002]


def test_the_gradient_is_clipped_elementwise_where_asked(tmp_path: Path) -> None:
    """No element of the gradient passes the bound."""
    run = trainer(tmp_path, gradient_clip=1e-4, updates=1)
    run.train(Listener())
    largest = max(p.grad.abs().max().item() for p in run.method.parameters() if p.grad is not None)
    assert largest == pytest.approx(1e-4)


def test_a_loss_that_is_not_finite_stops_the_run_and_leaves_the_saved_state(tmp_path: Path) -> None:
    """The message says at which update, and what to do."""
    run = trainer(tmp_path)
    run.save()
    saved = run.state_path.read_bytes()
    with torch.no_grad():
        next(run.method.parameters()).fill_(float("nan"))
    with pytest.raises(FewshotError, match=r"nan at update 1.*diverged"):
        run.train(Listener())
    assert run.state_path.read_bytes() == saved


def test_a_request_to_stop_saves_and_the_next_trainer_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    """Stopped after update 3 and resumed, training ends bit for bit where it would have."""

    class Stop(Listener):
        def stopped(self) -> bool:
            return first.at.update == 3

    first = trainer(tmp_path)
    with pytest.raises(Interrupted):
        first.train(Stop())
    second, whole = trainer(tmp_path), trainer(tmp_path / "whole")
    second.resume()
    assert second.at.update == 3
    second.train(Listener())
    (tmp_path / "whole").mkdir()
    whole.train(Listener())
    for key, value in whole.method.state_dict().items():
        assert torch.equal(value, second.method.state_dict()[key]), key
    losses = [[json.loads(line)["loss"] for line in run.log] for run in (whole, second)]
    assert losses[0] == losses[1]


def test_the_processors_time_goes_on_with_the_training(tmp_path: Path) -> None:
    """Of a state that an earlier version saved, without that time, there is none, rather than a part of it."""
    run = trainer(tmp_path)
    run.at.train_cpu_s = 100.0
    run.save()
    run.resume()
    run.train(Listener())
    assert run.at.train_cpu_s is not None and 100 < run.at.train_cpu_s < 100 + 60 * (os.cpu_count() or 1)
    tensors, about = load_tensors(run.state_path)
    del about["at"]["train_cpu_s"]
    save_tensors(run.state_path, tensors, about | {"at": about["at"] | {"update": 0}})
    run.resume()
    run.train(Listener())
    assert run.at.train_cpu_s is None


def test_initial_weights_come_from_the_seed_and_leave_the_global_state_alone() -> None:
    """The forked generator repeats itself and torch's global stream does not move."""
    before = torch.get_rng_state()
    draws = []
    for _ in range(2):
        with ForkedGenerator(7, CPU).active():
            draws.append(torch.rand(SHAPE))
    assert torch.equal(draws[0], draws[1])
    assert torch.equal(before, torch.get_rng_state())


def test_draws_from_numpy_and_python_resume_as_torchs_do(tmp_path: Path) -> None:
    """A loss that draws from all three is the same in a training that was stopped, whatever was drawn meanwhile."""

    def noisy(folder: Path) -> Trainer:
        run = trainer(folder, validate=False, selection="last", split="train+val")
        loss = run.method.loss
        run.method.loss = lambda tasks: loss(tasks) * (torch.rand(()) + np.random.rand() + random.random())  # type: ignore # noqa: NPY002
        return run

    class Stop(Listener):
        def stopped(self) -> bool:
            return first.at.update == 3

    first = noisy(tmp_path)
    with pytest.raises(Interrupted):
        first.train(Stop())
    second, whole = noisy(tmp_path), noisy(tmp_path / "whole")
    second.resume()
    random.random(), np.random.rand()  # noqa: NPY002
    (tmp_path / "whole").mkdir()
    for run in (second, whole):
        run.train(Listener())
    for key, value in whole.method.state_dict().items():
        assert torch.equal(value, second.method.state_dict()[key]), key
    assert whole.log[-1].split('"train_s"')[0] == second.log[-1].split('"train_s"')[0]
