"""A test in shards is the test of the whole, bit for bit: whatever their number, their order, and what befalls them."""

import itertools
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import content, environment, finished, one_thread, only_run
from heard import Heard
from tiny import blobs, build
from torch import Tensor

from fewshot_bench.episodes.sampling import EpisodeSampler
from fewshot_bench.episodes.sources import TaskSource
from fewshot_bench.episodes.tasks import Tasks
from fewshot_bench.errors import FewshotError, UsageError
from fewshot_bench.identity import identify_result
from fewshot_bench.learning.base import Conditions, Method
from fewshot_bench.request import TestRequest
from fewshot_bench.results.records import add_result, load_record, locked, part_files
from fewshot_bench.results.score_files import read_scores
from fewshot_bench.runs import shards, testing
from fewshot_bench.runs.checkpoint import load_tensors, save_tensors, weights_sha256
from fewshot_bench.runs.listener import Listener
from fewshot_bench.runs.retest import test_run as run_whole
from fewshot_bench.runs.session import Session
from fewshot_bench.runs.shards import Parts, Shard, Standing
from fewshot_bench.runs.shards import test_shard as run_shard
from fewshot_bench.runs.testing import batch_size, episode_scores
from fewshot_bench.specs import Normalisation, TestSpec
from fewshot_bench.storage import atomic, write_json

DRIVER = Path(__file__).parents[1] / "support" / "kill_at.py"
FSBENCH = ("-c", "from fewshot_bench.cli.main import main; main()")
SMALL = "updates=2 train.ways=5 train.queries=1 meta_batch_size=2 validation.every=2 validation.episodes=2 backbone=conv4-32"
RUN = ("--protocol", "custom", "--episodes", "4", "--queries", "2", *(f"--set={setting}" for setting in SMALL.split()))
EPISODES, CHUNK = 13, 2
REQUESTS = {
    "prototypical-networks": TestRequest(device="cpu", episodes=EPISODES),
    "maml": TestRequest(device="cpu", episodes=EPISODES),
    "maml, transductive": TestRequest(device="cpu", episodes=EPISODES, settings=("test.normalisation=separate",)),
    "nearest-centroid": TestRequest(device="cpu", episodes=EPISODES),
}
"""Another test of a finished run: of what embeds each image once, of what adapts to each episode, of what learns nothing."""


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Few episodes make many batches, and few images many blocks."""
    monkeypatch.setattr(testing, "EMBED_AT_ONCE", 7)
    monkeypatch.setattr(testing, "COMPARE_AT_ONCE", 3)
    with one_thread():
        yield


@pytest.fixture(scope="module")
def finished_runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folder of a finished run of each method, whose plan is to test two episodes at once."""
    folders = {}
    for method in ("prototypical-networks", "maml", "nearest-centroid"):
        out = tmp_path_factory.mktemp(method)
        finished("run", "--method", method, *(RUN if method != "nearest-centroid" else RUN[:6]), "--out", out)
        folder = folders[method] = only_run(out)
        record = load_record(folder).content
        write_json(folder / "record.json", record | {"plan": record["plan"] | {"test_chunk": CHUNK}})
    return folders


@pytest.fixture(scope="module")
def wholes(finished_runs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folder of a copy of each run to which the test was added unsharded, by its name; filled as it is asked for."""

    class Made(dict[str, Path]):
        def __missing__(self, name: str) -> Path:
            folder = self[name] = copied(finished_runs, name, tmp_path_factory.mktemp("whole"))
            run_whole(folder, REQUESTS[name], Listener())
            return folder

    return Made()


def copied(finished_runs: dict[str, Path], name: str, target: Path) -> Path:
    """A copy of the run that the named test is of."""
    folder = finished_runs[name.partition(",")[0]]
    return Path(shutil.copytree(folder, target / folder.name))


@pytest.fixture
def folder(finished_runs: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of the run of prototypical networks."""
    return copied(finished_runs, "prototypical-networks", tmp_path)


def compute(folder: Path, shard: str, name: str = "prototypical-networks") -> tuple[Standing, list[str]]:
    """Compute one shard; what stands then, and the notes."""
    heard = Heard()
    return run_shard(folder, replace(REQUESTS[name], shard=shard), heard), heard.notes


def assert_as_whole(folder: Path, whole: Path) -> None:
    """Equal records and scores, and no file more."""
    assert content(folder) == content(whole)
    scores, wanted = read_scores(folder), read_scores(whole)
    assert scores.keys() == wanted.keys()
    assert all(np.array_equal(scores[key], wanted[key]) for key in wanted)
    assert {path.name for path in folder.iterdir()} == {path.name for path in whole.iterdir()}
    answers = [path / "queries.safetensors" for path in (folder, whole)]
    assert not answers[1].exists() or answers[0].read_bytes() == answers[1].read_bytes()


def result_of(whole: Path) -> str:
    """The id of the result that was added."""
    return str(load_record(whole).results[-1]["id"])


@pytest.mark.parametrize(
    "text", ["0/4", "5/4", "a/b", "1", "", "/", "1/", "1/0", "1/2/3", "-1/4", "1.0/4", " 1/4", "²/4", "9" * 5000]
)
def test_what_names_no_shard_is_refused(text: str) -> None:
    """With what was given and what would do."""
    with pytest.raises(UsageError, match=r"i/k with i from 1 to k, such as 1/4; got"):
        Shard.parse(text)


@pytest.mark.parametrize(("episodes", "batch"), [(2, 1), (17, 4), (16, 4), (2000, 64), (2000, 12), (5, 64)])
def test_shards_are_whole_batches_that_follow_one_another(episodes: int, batch: int) -> None:
    """Together every episode once; each begins with a batch; their numbers of batches differ by one at most."""
    batches = -(-episodes // batch)
    for count in range(1, min(batches, 40) + 1):
        parts = [Shard(i, count).part(episodes, batch) for i in range(1, count + 1)]
        assert list(itertools.chain(*parts)) == list(range(episodes))
        assert all(part.start % batch == 0 for part in parts)
        sizes = {-(-len(part) // batch) for part in parts}
        assert max(sizes) - min(sizes) <= 1


def test_more_shards_than_batches_are_refused() -> None:
    """With the largest number that there can be."""
    with pytest.raises(UsageError, match="in 3 batches of up to 64: at most --shard 1/3, got 2/4"):
        Shard(2, 4).part(130, 64)


class Spy:
    """A method's images as they are embedded, and what it is shown and answers, batch by batch."""

    def __init__(self, method: Method, patch: pytest.MonkeyPatch) -> None:
        self.embedded: list[Tensor] = []
        self.answers: list[Tensor] = []
        predict, embed = method.predict, method.embed_images

        def spied_predict(tasks: Tasks) -> Tensor:
            self.answers += [tasks.support_x, tasks.query_x, scores := predict(tasks)]
            return scores

        def spied_embed(images: Tensor) -> Tensor | None:
            self.embedded.append(images)
            return embed(images)

        patch.setattr(method, "predict", spied_predict)
        patch.setattr(method, "embed_images", spied_embed)


def spied(name: str, mode: Normalisation, shard: Shard, episodes: int = 9) -> Spy:
    """What a method does in one shard of a 5-way 1-shot test, in float32, two or three episodes at once."""
    bank, conditions = blobs(), Conditions(mode)
    source = TaskSource(bank, EpisodeSampler(bank, 5, 1, 1, seed=0), torch.device("cpu"), torch.float32)
    method = build(name, backbone="conv4-32").float()
    part = shard.part(episodes, batch_size(method, source, conditions, CHUNK))
    with pytest.MonkeyPatch.context() as patch:
        spy = Spy(method, patch)
        for _ in episode_scores(method, source, conditions, episodes, CHUNK, part):
            pass
    return spy


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize(
    ("name", "mode"), [("prototypical-networks", "running"), ("prototypical-networks", "joint"), ("maml", "support")]
)
def test_every_batch_is_that_of_the_whole_to_the_last_bit(name: str, mode: Normalisation, count: int) -> None:
    """The images or embeddings that a method is shown, and its answers: scores alone would hide small differences."""
    whole = spied(name, mode, Shard(1, 1)).answers
    parts = [answer for i in range(1, count + 1) for answer in spied(name, mode, Shard(i, count)).answers]
    assert len(parts) == len(whole) >= 3 * count
    assert all(torch.equal(one, other) for one, other in zip(parts, whole, strict=True))


def test_a_shard_embeds_blocks_of_the_whole_and_only_those_that_it_needs() -> None:
    """The last shard has a batch of one episode, whose ten images lie in fewer blocks than there are."""
    shards = (Shard(1, 1), Shard(4, 4))
    whole, part = (spied("prototypical-networks", "running", shard, episodes=10).embedded[1:] for shard in shards)
    assert 0 < len(part) < len(whole)
    assert all(any(torch.equal(block, one) for one in whole) for block in part)


ORDERS = [("2/2", "1/2"), ("1/5", "2/5", "5/5", "4/5", "3/5")]
CASES = [("prototypical-networks", ("1/1",)), *itertools.product(("prototypical-networks", "maml"), ORDERS)]
CASES += [(name, ("3/4", "1/4", "4/4", "2/4")) for name in ("maml, transductive", "nearest-centroid")]


@pytest.mark.parametrize(("name", "order"), CASES, ids=[f"{name}, {len(order)}" for name, order in CASES])
def test_the_merged_record_is_that_of_the_whole_test(
    name: str, order: tuple[str, ...], finished_runs: dict[str, Path], wholes: dict[str, Path], tmp_path: Path
) -> None:
    """Equal results, commands and scores, whatever the number of parts and their order; no part stays behind."""
    folder = copied(finished_runs, name, tmp_path)
    missing = [len(compute(folder, shard, name)[0].missing) for shard in order]
    assert missing == list(reversed(range(len(order))))
    assert_as_whole(folder, wholes[name])
    assert np.std(read_scores(folder)[result_of(folder)]) > 0


def test_the_cost_is_that_of_all_parts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of the merged test is the sum of the parts', here a second an episode."""
    score = Session.score
    monkeypatch.setattr(Session, "score", lambda *given, **more: replace(score(*given, **more), test_s=len(given[2])))
    for shard in ("1/3", "2/3", "3/3"):
        compute(folder, shard)
    assert load_record(folder).results[-1]["cost"] == {"test_s": EPISODES}


def test_a_part_that_is_there_is_not_computed_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same shard a second time scores nothing and says so."""
    compute(folder, "2/3")
    monkeypatch.setattr(Session, "score", None)
    standing, notes = compute(folder, "2/3")
    assert standing.missing == [1, 3]
    assert notes == ["Already there: part 2/3."]


def test_a_result_that_is_in_the_record_is_not_computed_again(folder: Path) -> None:
    """As by the unsharded command; parts of it that lie about are deleted."""
    compute(folder, "1/2")
    run_whole(folder, REQUESTS["prototypical-networks"], Listener())
    assert part_files(folder, result_of(folder)) == []
    (folder / f"shard-{result_of(folder)}-1-of-2.parquet").touch()
    before = (folder / "record.json").read_bytes()
    standing, notes = compute(folder, "1/2")
    assert standing.missing == []
    assert notes == [f"Already done: {folder} holds this result."]
    assert (folder / "record.json").read_bytes() == before
    assert part_files(folder, result_of(folder)) == []


def other_weights(folder: Path, part: Path) -> None:
    """The run was trained again to other weights."""
    tensors, about = load_tensors(folder / "checkpoint.safetensors")
    other = {name: tensor * 1.01 for name, tensor in tensors.items()}
    save_tensors(folder / "checkpoint.safetensors", other, about)
    write_json(folder / "record.json", load_record(folder).content | {"weights_sha256": weights_sha256(other)})


def other_plan(folder: Path, part: Path) -> None:
    """The run was made again under another plan."""
    record = load_record(folder).content
    write_json(folder / "record.json", record | {"plan": record["plan"] | {"train_chunk": 99}})


def other_part(folder: Path, part: Path) -> None:
    """The part is that of another shard, renamed."""
    compute(folder, "3/3")
    (folder / part.name.replace("-1-of-3", "-3-of-3")).replace(part)


STALE: dict[str, tuple[Callable[[Path, Path], object], str]] = {
    "other weights": (other_weights, "was computed from something else (weights "),
    "another plan": (other_plan, "was computed from something else (plan "),
    "another part": (other_part, "was computed from something else (shard 3/3, here 1/3)"),
    "truncated": (lambda folder, part: part.write_bytes(part.read_bytes()[:100]), "cannot be read ("),
    "no metadata": (lambda folder, part: shutil.copy(folder / "episodes.parquet", part), "cannot be read ("),
}


@pytest.mark.parametrize("name", STALE)
def test_a_part_of_anything_else_is_never_merged(name: str, folder: Path) -> None:
    """It counts as missing, with the reason, until its shard is computed again."""
    arrange, reason = STALE[name]
    compute(folder, "1/3")
    (part,) = folder.glob("shard-*-1-of-3.parquet")
    arrange(folder, part)
    standing, notes = compute(folder, "2/3")
    assert standing.missing == [1, 3]
    assert [note for note in notes if note.startswith(f"Ignored: {part.name} {reason}")]
    standing, notes = compute(folder, "1/3")
    assert standing.missing == [3]
    assert [note for note in notes if note.startswith(f"Computed again: {part.name} {reason}")]


def test_parts_of_another_number_are_not_used_and_are_named(folder: Path, wholes: dict[str, Path]) -> None:
    """Thirds and halves of one test lie side by side; the first that are complete make the result."""
    compute(folder, "1/3")
    _, notes = compute(folder, "2/2")
    assert notes == [
        f"Not used, as they are no parts of 2: shard-{result_of(wholes['prototypical-networks'])}-1-of-3.parquet."
    ]
    compute(folder, "1/2")
    assert_as_whole(folder, wholes["prototypical-networks"])


def test_two_that_merge_at_once_leave_the_record_of_one(
    folder: Path, wholes: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have read all the parts; the second finds the result in the record."""
    turns = iter([lambda: compute(folder, "1/2")])
    compute(folder, "1/2")

    def after_another(*arguments: Any) -> Any:
        if turn := next(turns, None):
            assert turn()[0].missing == []
        return add_result(*arguments)

    monkeypatch.setattr(shards, "add_result", after_another)
    assert compute(folder, "2/2")[0].missing == []
    assert list(turns) == []
    assert_as_whole(folder, wholes["prototypical-networks"])


def test_parts_that_another_merges_meanwhile_are_not_missing(
    folder: Path, wholes: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are deleted while this process reads them, and the record has the result."""
    compute(folder, "1/3")
    compute(folder, "2/3")
    read, turns = Parts.read, iter([lambda: compute(folder, "1/3")])

    def after_another(parts: Parts, index: int) -> Any:
        if parts.path(3).exists() and index == 2 and (turn := next(turns, None)):
            assert turn()[0].missing == []
        return read(parts, index)

    monkeypatch.setattr(Parts, "read", after_another)
    assert compute(folder, "3/3")[0].missing == []
    assert list(turns) == []
    assert_as_whole(folder, wholes["prototypical-networks"])


def another(result: dict[str, Any], engine: int) -> dict[str, Any]:
    """The same result of another engine, under the id that it has then."""
    test = TestSpec.model_validate(result["test"])
    return result | {"engine": engine, "id": identify_result(test, None, result["source_sha256"], engine)}


def test_results_that_many_add_at_once_are_all_kept(folder: Path) -> None:
    """Each was computed from the record as it stood before."""
    record = load_record(folder)
    first = record.results[0]
    others = [another(first, engine) for engine in range(100, 116)]
    names = [one["id"] for one in others]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda one: add_result(record, one, {"accuracy": record.scores(first["id"])}), others))
    assert sorted(result["id"] for result in load_record(folder).results[1:]) == sorted(names)
    assert sorted(read_scores(folder)) == sorted([record.results[0]["id"], *names])


def test_who_waited_for_a_record_that_was_replaced_waits_for_the_new_one(folder: Path) -> None:
    """The lock is on a file that is no longer the record's, so it keeps nobody away from that."""
    record = load_record(folder)
    new = another(record.results[0], 99)
    with ThreadPoolExecutor(1) as pool, ExitStack() as second:
        with locked(folder):
            waiting = pool.submit(add_result, record, new, {"accuracy": record.scores(record.results[0]["id"])})
            time.sleep(0.1)
            write_json(folder / "record.json", record.content)
            second.enter_context(locked(folder))
        time.sleep(0.1)
        assert not waiting.done()
        second.close()
        assert waiting.result(100).find(new["id"])


def test_machines_with_equal_process_numbers_write_files_of_their_own(tmp_path: Path) -> None:
    """Two that write one file at once do not write into each other's."""
    with atomic(tmp_path / "file") as one, atomic(tmp_path / "file") as other:
        one.write_text("one")
        other.write_text("other")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["one"]


def test_a_result_of_weights_that_are_gone_is_not_added(folder: Path) -> None:
    """The run was overwritten while its old checkpoint was tested: the new record stays as it is."""
    record = load_record(folder)
    again = record.content | {"provenance": record.content["provenance"] | {"started": "later"}}
    write_json(folder / "record.json", again)
    with pytest.raises(FewshotError, match="was made again meanwhile"):
        add_result(record, {"id": "new"}, {"accuracy": np.ones(3)})
    assert load_record(folder).content == again


@pytest.mark.parametrize("at", ["shard", "episodes.parquet", "record.json"])
def test_a_disk_that_fills_up_at_any_file_loses_no_part(
    at: str, folder: Path, wholes: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The complaint names the file; the same command ends the test once there is room again."""
    rename = Path.replace
    compute(folder, "2/2")
    before = content(folder)

    def full(source: Path, target: Path) -> Path:
        if target.name.startswith(at):
            raise OSError(28, "No space left on device")
        return rename(source, target)

    with monkeypatch.context() as disk:
        disk.setattr(Path, "replace", full)
        with pytest.raises(FewshotError, match=rf"{at}.*No space left on device"):
            compute(folder, "1/2")
    assert content(folder) == before
    assert len(part_files(folder, result_of(wholes["prototypical-networks"]))) == (1 if at == "shard" else 2)
    compute(folder, "1/2")
    assert_as_whole(folder, wholes["prototypical-networks"])


def test_processes_that_run_side_by_side_or_are_killed_leave_the_record_of_the_whole(tmp_path: Path) -> None:
    """Two shards at once, one of them killed with -9 before its part is in its place; then that one again."""
    finished("run", "--method", "nearest-centroid", *RUN[:6], "--out", tmp_path / "runs")
    folder = only_run(tmp_path / "runs")
    whole = Path(shutil.copytree(folder, tmp_path / "whole" / folder.name))
    finished("test", whole, "--episodes", "257")
    part = f"shard-{result_of(whole)}-1-of-2.parquet"
    command = ("test", str(folder), "--episodes", "257", "--json", "--shard")
    programs = ((str(DRIVER), f"before {part}", "SIGKILL", *command, "1/2"), (*FSBENCH, *command, "2/2"))

    def run(arguments: tuple[str, ...]) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([sys.executable, *arguments], capture_output=True, env=environment(), timeout=100)

    with ThreadPoolExecutor(2) as pool:
        killed, other = pool.map(run, programs)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (folder / part).exists()
    assert json.loads(other.stdout)["missing"] == [1]
    again = run((*FSBENCH, *command, "1/2"))
    assert again.returncode == 0, again.stderr
    for left in folder.glob(".*.tmp"):  # what a process killed with -9 cannot take away
        left.unlink()
    assert_as_whole(folder, whole)
