"""Training on one data set and testing on another, or on several at once."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import call, content, finished, only_run
from PIL import Image
from scipy.stats import binomtest

from fewshot_bench.data.bank import MemmapBank
from fewshot_bench.data.choice import DataChoice
from fewshot_bench.data.prepare import prepare
from fewshot_bench.data.several import JoinedBank, SeveralPrepared
from fewshot_bench.episodes.sampling import EpisodeSampler
from fewshot_bench.episodes.sources import MixedSource, TaskSource
from fewshot_bench.plugins import registry
from fewshot_bench.results.pooling import pool
from fewshot_bench.results.records import load_record
from fewshot_bench.results.rerun_command import request_of
from fewshot_bench.results.tables import results_tables

OTHER = """
import numpy as np
from fewshot_bench import Dataset, ImageClass

class Other(Dataset):
    defaults = {"side": 20, "kinds": 6}
    shape = property(lambda self: (1, self.options["side"], self.options["side"]))

    def identity(self):
        return f"other-{self.options}"

    def member(self, name):
        return ImageClass(name, tuple(f"{name}/{i}" for i in range(20)))

    def classes(self):
        return {
            split: [self.member(f"{split}{c}") for c in range(self.options["kinds"])]
            for split in ("train", "val", "test")
        }

    def images(self, progress):
        for split in range(3):
            for c in range(self.options["kinds"]):
                yield np.full((20, *self.shape), 40 * c, np.uint8)
"""
SMALL = ("--set", "updates=4", "--set", "validation.every=4", "--set", "validation.episodes=4")
PROTONET = ("run", "--method", "prototypical-networks", "--recipe", "default@glyphs", "--set", "train.ways=5", *SMALL)
FEW = ("--protocol", "custom", "--episodes", "8", "--queries", "5")


@pytest.fixture
def other(tmp_path: Path) -> str:
    """A data set of six flat classes a split: nearest-centroid is always right."""
    (tmp_path / "other.py").write_text(OTHER)
    return f"{tmp_path / 'other.py'}:Other"


def test_a_method_trained_on_one_data_set_is_tested_on_another_of_its_shape(other: str, tmp_path: Path) -> None:
    """The images of the other take the side that training had; the record names both and the command that does it again."""
    out = tmp_path / "runs"
    finished(*PROTONET, "--test-dataset", other, *FEW, "--out", out)
    held = content(only_run(out))
    (result,) = held["results"]
    assert held["train"]["dataset"] == held["data"]["name"] == "glyphs"
    assert (result["test"]["dataset"], result["test"]["data"]) == ("other:Other", {"side": 28})
    assert result["data"]["splits"]["test"]["classes"] == 6
    assert sorted(held["data"]["splits"]) == ["train", "val"]
    assert f"--test-dataset {other}" in result["command"]
    assert result["mean"] == 1.0


def test_a_finished_run_is_tested_on_another_data_set(other: str, tmp_path: Path) -> None:
    """Beside its own test, with the options that are set, and twice is once."""
    out = tmp_path / "runs"
    finished(*PROTONET, *FEW, "--out", out)
    again = ("test", only_run(out), "--test-dataset", other, "--set", "test_data.kinds=5")
    finished(*again)
    finished(*again)
    own, added = content(only_run(out))["results"]
    assert "data" not in own
    assert (added["test"]["dataset"], added["test"]["data"]["kinds"], added["mean"]) == ("other:Other", 5, 1.0)
    assert added["digest"] != own["digest"]


def test_another_test_of_a_run_stays_on_the_data_set_that_it_was_tested_on(other: str, tmp_path: Path) -> None:
    """Unless one is named."""
    out = tmp_path / "runs"
    finished(*PROTONET, "--test-dataset", other, "--set", "test_data.kinds=5", *FEW, "--out", out)
    assert "--test-dataset" in call("test", only_run(out), "--episodes", "9").complaint  # a file, to be named again
    finished("test", only_run(out), "--episodes", "9", "--test-dataset", other)
    finished("test", only_run(out), "--episodes", "9", "--test-dataset", "glyphs")
    tests = [result["test"] for result in content(only_run(out))["results"]]
    assert [(test["dataset"], test["data"]) for test in tests[:2]] == [("other:Other", {"side": 28, "kinds": 5})] * 2
    assert (tests[2]["dataset"], tests[2]["data"]) == ("glyphs", content(only_run(out))["train"]["data"])


def test_results_on_another_data_set_stand_in_a_table_of_their_own(other: str, tmp_path: Path) -> None:
    """Which says what was trained on; pixels, which learn nothing, stand with what they were tested on."""
    out = tmp_path / "runs"
    finished(*PROTONET, *FEW, "--out", out)
    run = only_run(out)
    finished("test", run, "--test-dataset", other)
    titles = [table.title for table in results_tables([load_record(run)])]
    other_title = "glyphs → other:Other (side=28), 5-way 1-shot, protocol custom"
    assert titles == ["glyphs, 5-way 1-shot, protocol custom", other_title]
    finished("run", "--method", "nearest-centroid", "--test-dataset", other, *FEW, "--out", tmp_path / "pixels")
    (table,) = results_tables([load_record(only_run(tmp_path / "pixels"))])
    assert table.about["dataset"] == "other:Other (side=28)"


REFUSED = {
    "another shape": (["--set", "test_data.side=20"], "1×28×28", "1×20×20", "test_data"),
    "too many ways": (["--set", "test_data.kinds=4"], "5 ways", "4 classes"),
    "an unknown option": (["--set", "test_data.size=28"], "'test_data.size'", "test_data.side"),
    "an option of both without a section": (["--set", "sides=28"], "'sides'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_data_set_that_does_not_fit_is_refused(name: str, other: str, tmp_path: Path) -> None:
    """Exit 2, before any work."""
    arguments, *words = REFUSED[name]
    said = call(*PROTONET, "--test-dataset", other, *arguments, "--out", tmp_path / "runs")
    assert said.code == 2
    assert [word for word in words if word not in said.complaint] == [], said.complaint
    assert not list(tmp_path.rglob("record.json"))


@pytest.mark.parametrize(
    ("dataset", "more", "words"),
    [
        ("glyphs", ["--test-dataset", "sinusoid"], ["glyphs is classification", "sinusoid is regression"]),
        ("glyphs+glyphs", ["--test-dataset", "omniglot"], ["twice"]),
        ("glyphs+sinusoid", ["--test-dataset", "glyphs"], ["functions"]),
        ("glyphs+glyph", [], ["'glyph'", "'glyphs'"]),
        ("glyphs+omniglot", [], ["A test uses one of the data sets glyphs+omniglot", "--test-dataset glyphs"]),
        ("glyphs+cifar-fs", ["--test-dataset", "glyphs"], ["1×28×28", "3×32×32"]),
        ("glyphs+omniglot", ["--test-dataset", "glyphs+omniglot"], ["A test uses one of the data sets glyphs+omniglot"]),
    ],
)
def test_several_data_sets_that_do_not_go_together_are_refused(dataset: str, more: list[str], words: list[str]) -> None:
    """Exit 2, saying why."""
    said = call(*PROTONET, "--dataset", dataset, *more)
    assert said.code == 2
    assert [word for word in words if word not in said.complaint] == [], said.complaint


def test_classes_that_are_trained_on_are_not_tested(other: str, tmp_path: Path) -> None:
    """Exit 2 with their names: data sets may share classes, as CIFAR-FS and FC100 do."""
    names = "dict(train='a', val='b', test='train')[split]"
    changed = OTHER.replace('f"{split}{c}"', f'f"{{{names}}}{{c}}"').replace("other-", "again-")
    (tmp_path / "again.py").write_text(changed)
    again = f"{tmp_path / 'again.py'}:Other"
    common = ("--dataset", other, "--set", "data.side=28", "--test-dataset", again, *FEW, "--out", tmp_path / "runs")
    said = call(*PROTONET, *common)
    assert said.code == 2
    assert (
        "6 test classes of again:Other are trained or selected on in other:Other: train0, train1, train2" in said.complaint
    )
    assert not list(tmp_path.rglob("record.json"))
    finished("run", "--method", "nearest-centroid", *common)  # which learns nothing


@pytest.mark.parametrize("name", ["f'same{c}'", "f'{split} same{c}'[len(split):] if split == 'test' else f'SAME{c}'"])
def test_a_data_set_of_ones_own_whose_splits_share_classes_is_refused(name: str, tmp_path: Path) -> None:
    """Exit 3, though its plugin promised otherwise; a method that learns nothing is tested."""
    (tmp_path / "shares.py").write_text(OTHER.replace('f"{split}{c}"', name).replace("other-", f"shares-{len(name)}-"))
    common = ("--dataset", f"{tmp_path / 'shares.py'}:Other", *FEW, "--out", tmp_path / "runs", "--set", "data.side=28")
    said = call(*PROTONET, *common)
    assert said.code == 3
    assert "6 test classes of shares:Other are trained or selected on in shares:Other" in said.complaint
    finished("run", "--method", "nearest-centroid", *common)


WITHOUT, IMAGENETS = 'f"{split}-{c}"', 'f"n{sum(map(ord, split)):07}{c}"'
"""How classes are called whose source does not name them, and how ImageNet's are."""


@pytest.mark.parametrize(
    ("trained", "tested", "nameless"), [(WITHOUT, IMAGENETS, "one"), (IMAGENETS, WITHOUT, "two"), (WITHOUT, WITHOUT, "two")]
)
def test_classes_without_names_are_not_tested_where_they_may_be_the_same(
    trained: str, tested: str, nameless: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 2, and whose they are; a method that learns nothing is tested."""
    monkeypatch.setenv("FSBENCH_CACHE", str(tmp_path / "cache"))
    for name, called in (("one", trained), ("two", tested)):
        (tmp_path / f"{name}.py").write_text(OTHER.replace('f"{split}{c}"', called).replace("other-", f"{name}-"))
    one, two = (f"{tmp_path / name}.py:Other" for name in ("one", "two"))
    common = ("--dataset", one, "--set", "data.side=28", "--test-dataset", two, *FEW, "--out", tmp_path / "runs")
    said = call(*PROTONET, *common)
    assert said.code == 2
    assert "It cannot be told whether test classes of two:Other are trained or selected on in one:Other" in said.complaint
    assert f"the files of {nameless}:Other do not name its classes" in said.complaint
    finished("run", "--method", "nearest-centroid", *common)


def test_a_finished_run_is_not_tested_on_functions(tmp_path: Path) -> None:
    """Exit 2: it learned to classify."""
    finished("run", "--method", "nearest-centroid", *FEW, "--out", tmp_path)
    said = call("test", only_run(tmp_path), "--test-dataset", "sinusoid")
    assert said.code == 2
    assert "glyphs is classification, sinusoid is regression" in said.complaint


def test_a_data_set_of_a_file_is_the_one_that_was_trained_on(other: str, tmp_path: Path) -> None:
    """Named again by its file it is no other: the result is the run's own."""
    finished("run", "--method", "nearest-centroid", "--dataset", other, *FEW, "--out", tmp_path / "runs")
    run = only_run(tmp_path / "runs")
    assert "Already done" in finished("test", run, "--test-dataset", other).err
    assert len(content(run)["results"]) == 1


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    """Two folders of images with equal names: `shades`, a class a shade, and `flat`, all alike."""
    roots = {name: tmp_path / name for name in ("shades", "flat")}
    for name, root in roots.items():
        for c in range(5):
            (root / "test" / f"class{c}").mkdir(parents=True)
            for i in range(8):
                shade = 50 * c if name == "shades" else 100
                Image.new("L", (8, 8), shade).save(root / "test" / f"class{c}" / f"{i}.png")
    return roots


PIXELS_ELSEWHERE = ("run", "--method", "nearest-centroid", "--dataset", "glyphs", "--test-dataset", "folder", *FEW)


def test_results_on_two_folders_are_two_results(folders: dict[str, Path], tmp_path: Path) -> None:
    """Though their classes and files are named alike: each with its own identity, and its split beside the record."""
    out = tmp_path / "runs"
    finished(*PIXELS_ELSEWHERE, "--data-root", folders["shades"], "--out", out)
    run = only_run(out)
    for root in (folders["flat"], folders["shades"]):
        finished("test", run, "--test-dataset", "folder", "--data-root", root)
    shades, flat = content(run)["results"]
    assert (shades["mean"], flat["mean"]) == (1.0, 0.2)
    assert shades["id"] != flat["id"] and shades["data"]["identity"] != flat["data"]["identity"]
    for result in (shades, flat):
        assert (run / f"split-{result['id']}.csv").read_text().startswith("class,split\nclass0,test\n")
    assert len(pool([load_record(run)])) == 2


def test_a_run_is_not_tested_on_data_that_have_changed_since(folders: dict[str, Path], tmp_path: Path) -> None:
    """Exit 3: a class that is tested now might have been trained on then."""
    command = ("run", "--method", "nearest-centroid", "--dataset", "folder", "--data-root", folders["shades"], *FEW)
    finished(*command, "--out", tmp_path / "runs")
    run = only_run(tmp_path / "runs")
    finished("test", run, "--episodes", "9", "--data-root", folders["shades"])
    (folders["shades"] / "test" / "class0" / "new.png").write_bytes(
        (folders["flat"] / "test" / "class0" / "0.png").read_bytes()
    )
    said = call("test", run, "--episodes", "10", "--data-root", folders["shades"])
    assert said.code == 3
    assert "folder has other classes or images in test than when" in said.complaint
    assert len(content(run)["results"]) == 2


def bank(name: str, classes: int, shade: int) -> MemmapBank:
    """Classes of 4 images, image i of shade `shade` + i."""
    images = np.arange(shade, shade + 4 * classes, dtype=np.uint8).reshape(-1, 1, 1, 1)
    return MemmapBank(images, tuple(f"{name}{i}" for i in range(classes)), np.arange(classes + 1) * 4, name)


def test_joined_banks_gather_from_each_what_is_its_own() -> None:
    """In the order that is asked for; classes and ids go on from one to the next."""
    joined = JoinedBank({"a": bank("a", 3, 0), "b": bank("b", 2, 100)})
    assert list(joined.class_names) == ["a/a0", "a/a1", "a/a2", "b/b0", "b/b1"]
    assert joined.starts.tolist() == [0, 4, 8, 12, 16, 20]
    assert joined.gather(np.array([19, 0, 12, 11, 0]))[:, 0, 0, 0].tolist() == [107, 0, 100, 11, 0]
    assert joined.gather(np.array([2]))[:, 0, 0, 0].tolist() == [2]


def mixed(seed: int = 0) -> MixedSource:
    """Tasks of two banks whose shades tell them apart."""
    banks = (bank("a", 3, 0), bank("b", 2, 100))
    sources = [TaskSource(one, EpisodeSampler(one, 2, 1, 1, 0), torch.device("cpu"), torch.float64) for one in banks]
    return MixedSource(sources, seed)


def owner(source: MixedSource, task: int) -> int:
    """Which bank the images of a task are of; all of them of one."""
    tasks = source.tasks(task, 1)
    (found,) = {int(shade > 50) for shade in (torch.cat([tasks.support_x, tasks.query_x], 1) * 255).flatten().tolist()}
    return found


def test_each_task_is_of_one_of_the_data_sets_each_as_often() -> None:
    """An exact binomial test of 400 tasks, at one in ten thousand."""
    counts = Counter(owner(mixed(), task) for task in range(400))
    assert binomtest(counts[0], 400, 0.5).pvalue > 1e-4


def test_a_task_is_a_function_of_its_number_and_the_seed() -> None:
    """Whatever it is asked for together with."""
    together = mixed().tasks(3, 5)
    for i in range(5):
        alone = mixed().tasks(3 + i, 1)
        assert torch.equal(together.support_x[i], alone.support_x[0])
        assert torch.equal(together.targets[i], alone.targets[0])
    assert [owner(mixed(0), i) for i in range(40)] != [owner(mixed(1), i) for i in range(40)]


@pytest.fixture
def installed(other: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other data set under the name `other`, its images of 28 x 28."""
    source = Path(other.rpartition(":")[0])
    source.write_text(OTHER.replace('"side": 20', '"side": 28'))
    before, added = registry.registered, {"other": registry.Plugin("other", "datasets", other, "test")}
    monkeypatch.setattr(registry, "registered", lambda group: before(group) | (added if group == "datasets" else {}))


BATCHES = ("run", "--method", "baseline", "--recipe", "default@glyphs", "--set", "batch_size=64", *SMALL)


@pytest.mark.parametrize("command", [PROTONET, BATCHES], ids=["episodes", "classes"])
def test_several_data_sets_train_one_model(command: tuple[str, ...], installed: None, tmp_path: Path) -> None:
    """By episodes and by batches of all classes; options go to those that know them, and the record has the command."""
    several = ("--dataset", "glyphs+other", "--test-dataset", "other", "--set", "data.kinds=7")
    finished(*command, *several, *FEW, "--out", tmp_path / "runs")
    held = content(only_run(tmp_path / "runs"))
    assert (held["train"]["dataset"], held["train"]["data"]) == ("glyphs+other", {"kinds": 7})
    assert held["data"]["splits"]["train"]["classes"] == 810 + 7
    assert held["results"][0]["mean"] == 1.0 or command is BATCHES  # four batches teach nothing
    request = request_of(held)
    assert (request.dataset, request.test_dataset) == ("glyphs+other", "other")
    (table,) = results_tables([load_record(only_run(tmp_path / "runs"))])
    assert table.title.startswith("glyphs+other (kinds=7) → other (kinds=7), ")
    finished("test", only_run(tmp_path / "runs"), "--test-dataset", "glyphs")
    assert len(content(only_run(tmp_path / "runs"))["results"]) == 2


def test_the_classes_of_several_data_sets_are_one_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a method that trains on batches of classes: `training_classes` is their sum."""
    from fewshot_datasets.glyphs.glyphs import Glyphs

    monkeypatch.setenv("FSBENCH_CACHE", str(tmp_path))
    glyphs = prepare("glyphs", Glyphs())
    both = SeveralPrepared(Path(), {}, {"a": glyphs, "b": glyphs})
    assert both.training_classes("train") == 2 * 810
    assert both.shape == (1, 28, 28)
    assert json.dumps(both.describe("train"))


def test_an_edited_data_set_of_a_file_is_another_one(tmp_path: Path) -> None:
    """Whatever its `identity` says: it is prepared anew, and its runs have other ids; a comment changes nothing."""
    text = (Path(__file__).parents[1] / "support" / "squares.py").read_text(encoding="utf-8")
    identities = []
    for source in (text, text + "# words\n", text.replace("5  # of a class", "4")):
        (tmp_path / "squares.py").write_text(source, encoding="utf-8")
        choice = DataChoice.of(f"{tmp_path / 'squares.py'}:Squares")
        identities.append(choice.build({}, None).identity())
    assert identities[0] == identities[1] != identities[2]
