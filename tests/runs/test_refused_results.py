"""A test whose result may not be filed ends with exit code 1 and a reason, and what was trained stays."""

import json
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import TINY, call, finished, one_thread, only_run

from fewshot_bench import load_record, run
from fewshot_bench.results.score_files import read_scores
from fewshot_bench.storage import write_json

ODD = Path(__file__).parents[1] / "support" / "odd_methods.py"
UNVALIDATED = (
    *("--protocol", "custom", "--episodes", "8", "--queries", "5", "--set", "updates=6", "--set", "meta_batch_size=2"),
    *("--set", "train.split=train+val", "--set", "selection=last"),
)
REFUSED = {
    "Leaks": "Leaks is not inductive, which it declares to be under protocol 'custom': no result",
    "HalfNaN": "In 8 of 8 test episodes the method's outputs are NaN or infinite",
    "AllInfinite": "In 8 of 8 test episodes the method's outputs are NaN or infinite",
}


@pytest.mark.parametrize(("name", "reason"), REFUSED.items())
def test_a_refused_test_leaves_the_training_and_no_record(name: str, reason: str, tmp_path: Path) -> None:
    """It goes on from there the next time, without training anew, under whatever protocol is asked."""
    command = ("run", "--method", f"{ODD}:{name}", *UNVALIDATED, "--out", tmp_path)
    said = call(*command)
    assert said.code == 1
    assert reason in said.complaint
    assert len(said.complaint.splitlines()) <= 3
    (state,) = tmp_path.rglob("state.safetensors")
    assert not list(tmp_path.rglob("record.json"))
    kept = state.read_bytes()
    assert call(*command).code == 1
    assert state.read_bytes() == kept
    if name == "Leaks":
        assert "or declare transductive = True in the class. Try: fsbench check " in said.complaint  # custom takes both
        transductive = [{"custom": "finn"}.get(word, word) for word in map(str, command)]
        for option in ("--episodes", "--queries"):
            del transductive[transductive.index(option) : transductive.index(option) + 2]
        record = json.loads(finished(*transductive, "--json").out)[0]
        assert Path(state).parent.name.endswith(record["run_id"])


def test_what_a_rehearsal_leaves_hides_no_leak(tmp_path: Path) -> None:
    """A library's object that is fitted at the first call is fitted by the test."""
    cheats = Path(__file__).parents[1] / "support" / "cheats.py"
    said = call("run", "--method", f"{cheats}:FitsScaler", "--episodes", "8", "--protocol", "custom", "--out", tmp_path)
    assert said.code == 1
    assert "FitsScaler is not inductive" in said.complaint


def test_another_test_of_a_finished_run_is_checked_and_the_record_stays(tmp_path: Path) -> None:
    """A transductive result is there; an inductive one is refused, whole and in shards."""
    finished("run", "--method", f"{ODD}:Leaks", "--protocol", "finn", *UNVALIDATED[6:], "--out", tmp_path)
    folder = only_run(tmp_path)
    before = (folder / "record.json").read_bytes()
    for more in ((), ("--shard", "1/1"), ("--shard", "1/2"), ("--shard", "2/2")):
        said = call("test", folder, "--method", f"{ODD}:Leaks", "--protocol", "standard", *more)
        assert said.code == 1
        assert "not inductive" in said.complaint
    assert (folder / "record.json").read_bytes() == before
    assert not list(folder.glob("shard-*"))


def test_a_validation_with_outputs_that_are_no_numbers_stops_the_training(tmp_path: Path) -> None:
    """With the number of episodes and the update."""
    said = call("run", "--method", f"{ODD}:HalfNaN", *TINY[3:], "--out", tmp_path)
    assert said.code == 1
    assert "In 4 of 4 validation episodes after update 2 the method's outputs are NaN or infinite" in said.complaint


def test_a_method_that_draws_from_global_generators_has_the_same_score_each_time(tmp_path: Path) -> None:
    """In one process after other draws, from another chunk, and in shards; no global generator moves."""
    for name, seed in (("one", 1), ("other", 2)):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
        finished("run", "--method", f"{ODD}:Noisy", *TINY[3:], "--out", tmp_path / name)
        after = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
        assert torch.equal(before[0], after[0])
        assert before[1:] == after[1:]
    one, other = (only_run(tmp_path / name) for name in ("one", "other"))
    assert (one / "log.jsonl").read_text().splitlines()[0].split('"train_s"')[0] in (other / "log.jsonl").read_text()
    chunks = {one: 3, other: 8}
    for folder, chunk in chunks.items():
        content = load_record(folder).content
        write_json(folder / "record.json", content | {"plan": content["plan"] | {"test_chunk": chunk}})
    for shard in ("2/2", "1/2"):
        finished("test", one, "--method", f"{ODD}:Noisy", "--shots", "2", "--shard", shard)
    finished("test", other, "--method", f"{ODD}:Noisy", "--shots", "2")
    scores = [read_scores(folder) for folder in (one, other)]
    assert all(np.array_equal(scores[0][key], scores[1][key]) for key in scores[1])
    assert len(scores[0]) == 2


def test_runs_in_threads_are_those_that_run_alone(tmp_path: Path) -> None:
    """Four seeds at once, and one of them twice: torch's generator is the process's."""
    settings = {"updates": 6, "meta_batch_size": 2, "validation.every": 2, "validation.episodes": 4}

    def scores_of(seed: int, out: str) -> list[float]:
        method = f"{ODD.with_name('linear_method.py')}:Linear"
        record = run(
            method, seed=seed, protocol="custom", episodes=8, queries=5, settings=settings, device="cpu", out=tmp_path / out
        )
        return list(record.scores(record.results[0]["id"]))

    with one_thread():
        alone = [scores_of(seed, "alone") for seed in range(4)]
        with ThreadPoolExecutor(5) as pool:
            together = list(pool.map(lambda seed: scores_of(seed, "together"), [0, 1, 2, 3, 0]))
    assert together == [*alone, alone[0]]
