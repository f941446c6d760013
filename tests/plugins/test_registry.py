"""A third party's method and data set are found, shown and run as ours are; one that is broken is named with its reason.

`tests/support/plugin` is really installed by pip. Elsewhere a distribution is pretended: a module and a `*.dist-info` in a
folder on
`sys.path`, which is all that Python's own discovery looks at.
"""

import importlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from fewshot_bench.cli.main import _main
from fewshot_bench.plugins import registry
from fewshot_bench.request import Request
from fewshot_bench.runs.requests.resolve import resolve

PLUGIN = Path(__file__).parents[1] / "support" / "plugin"
PACKAGE = PLUGIN / "fewshot_example"
SETTINGS = ("updates=3", "validation.every=2", "validation.episodes=4")
TINY = ["--dataset", "stripes", "--protocol", "custom", "--episodes", "8", *(f"--set={s}" for s in SETTINGS)]
FILE = f"{PACKAGE / 'weighted_pixels.py'}:WeightedPixels"

GOOD = """
from fewshot_bench import Method

class Guess(Method):
    trained = False
    needs_backbone = False

    def predict(self, tasks):
        return tasks.query_x.flatten(2)[..., :tasks.ways]
"""
CARD = "title: A guess\n"


@dataclass
class Answer:
    """What a command left behind."""

    code: int
    out: str
    err: str


Ask = Callable[..., Answer]
Pretend = Callable[..., None]


@pytest.fixture(scope="module")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def fsbench(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, _cache: Path) -> Ask:
    """Run the command line in this process, in an empty folder, with a cache of this module's own."""
    monkeypatch.setenv("FSBENCH_CACHE", str(_cache))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")

    def ask(*arguments: str) -> Answer:
        capsys.readouterr()
        code = _main(list(arguments))
        return Answer(code, *capsys.readouterr())

    return ask


def pip(*arguments: str) -> None:
    """Run pip in the test environment, without a network."""
    command = [sys.executable, "-m", "pip", *arguments, "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    importlib.invalidate_caches()


@pytest.fixture(scope="module")
def _installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The third party's package, installed by pip where this process alone finds it: others test beside it."""
    site = tmp_path_factory.mktemp("site")
    pip("install", "--no-deps", "--no-build-isolation", "--no-index", "--target", str(site), str(PLUGIN))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(site)
        patch.setenv("PYTHONPATH", str(site))
        yield


installed = pytest.mark.usefixtures("_installed")


@pytest.fixture
def pretend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pretend:
    """Pretend that a distribution is installed: `pretend("name", {group: {name: reference}}, {file: text})`."""

    def install(name: str, points: dict[str, dict[str, str]], files: dict[str, str]) -> None:
        site = tmp_path / f"site-{name}"
        info = site / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
        lines = [
            line
            for group, named in points.items()
            for line in [f"[fewshot_bench.{group}]", *(f"{name} = {reference}" for name, reference in named.items())]
        ]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        for file, text in files.items():
            (site / file).parent.mkdir(exist_ok=True)
            (site / file).write_text(text, encoding="utf-8")
        monkeypatch.syspath_prepend(site)

    return install


def run(fsbench: Ask, method: str, *more: str) -> dict[str, Any]:
    """The record of a tiny run on stripes."""
    answer = fsbench("run", "--method", method, *TINY, *more, "--json")
    assert answer.code == 0, answer.err
    [record] = json.loads(answer.out)
    assert isinstance(record, dict)
    return record


def run_id(fsbench: Ask, method: str, *more: str) -> str:
    """The identity that a run would have."""
    answer = fsbench("run", "--method", method, "--dry-run", "--json", *more)
    assert answer.code == 0, answer.err
    return str(json.loads(answer.out)[0]["run_id"])


def assert_refused(answer: Answer, *reasons: str) -> None:
    """One to three lines on stderr that give the reasons, exit code 2, no traceback."""
    assert answer.code == 2, answer.err
    assert 1 <= len(answer.err.strip().splitlines()) <= 3
    assert "Traceback" not in answer.err
    assert [reason for reason in reasons if reason not in answer.err] == [], answer.err


# An installed package


@installed
def test_the_command_lists_an_installed_method_in_a_process_of_its_own(tmp_path: Path) -> None:
    """A fresh `fsbench` finds the package without being told of it."""
    code = "import sys; from fewshot_bench.cli.main import main; sys.argv = ['fsbench', 'list', 'methods']; main()"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ["weighted-pixels", "Weighted pixels"] in [line.split(maxsplit=1) for line in done.stdout.splitlines()]


@installed
@pytest.mark.parametrize(
    ("group", "row"),
    [
        ("methods", {"name": "weighted-pixels", "distribution": "fewshot-example 1.0", "title": "Weighted pixels"}),
        ("datasets", {"name": "stripes", "distribution": "fewshot-example 1.0", "title": "Stripes"}),
    ],
)
def test_an_installed_plugin_is_listed_with_its_title_and_distribution(
    fsbench: Ask, group: str, row: dict[str, str]
) -> None:
    """`list --check` imports it and finds nothing wrong."""
    answer = fsbench("list", group, "--check", "--json")
    assert row in json.loads(answer.out)
    assert answer.code == 0


@installed
def test_an_installed_method_is_shown(fsbench: Ask) -> None:
    """`show` says where it comes from, its hyper-parameters with their defaults, and its recipes."""
    about = json.loads(fsbench("show", "weighted-pixels", "--json").out)
    assert about["from"] == "fewshot-example 1.0"
    assert about["hyper-parameters"] == {"initial_weight": 0.1}
    assert set(about["recipes"]) == {"default", "slow"}


@installed
def test_an_installed_data_set_is_shown(fsbench: Ask) -> None:
    """`show` prints its card."""
    about = json.loads(fsbench("show", "stripes", "--json").out)
    assert (about["title"], about["license"]) == ("Stripes", "MIT")


@installed
def test_an_installed_method_is_trained_and_tested_on_an_installed_data_set(fsbench: Ask) -> None:
    """`run` leaves a record that names the plugin, and a checkpoint whose weights were learned."""
    record = run(fsbench, "weighted-pixels")
    assert record["method"]["plugin"] == "fewshot-example 1.0"
    assert record["data"]["splits"]["test"] == record["data"]["splits"]["test"] | {"classes": 16, "images": 320}
    assert record["results"][0]["mean"] > 0.5, "of 5 ways"
    [checkpoint] = Path("runs").glob("*/checkpoint.safetensors")
    assert load_file(checkpoint)["log_weight"].std() > 0, "pixels started equal"


@installed
def test_a_recipe_of_an_installed_card_is_applied(fsbench: Ask) -> None:
    """`run` takes the card's `default`, and another by its name."""
    recipes = [(), ("--recipe", "slow")]
    plans = [fsbench("run", "--method", "weighted-pixels", *TINY[:2], "--dry-run", "--json", *more) for more in recipes]
    specs = [json.loads(plan.out)[0]["train"] for plan in plans]
    assert [(spec["updates"], spec["hparams"]["initial_weight"]) for spec in specs] == [(20, 0.2), (200, 0.1)]


@installed
def test_an_option_of_an_installed_data_set_makes_another_data_set(fsbench: Ask) -> None:
    """`--set data.noise` reaches the plugin and changes the run's identity."""
    loud, quiet = (run_id(fsbench, "weighted-pixels", *TINY, "--set", f"noise={noise}") for noise in (200, 10))
    assert loud == run_id(fsbench, "weighted-pixels", *TINY)
    assert loud != quiet


@installed
def test_a_misspelt_name_is_answered_with_the_installed_one(fsbench: Ask) -> None:
    """A plugin's name is among the nearest valid ones."""
    assert_refused(fsbench("run", "--method", "weighted-pixel"), "'weighted-pixel'", "'weighted-pixels'")
    assert_refused(fsbench("run", "--method", "maml", "--dataset", "stripe"), "'stripe'", "'stripes'")


# Named by its place, not installed


@installed
@pytest.mark.parametrize("reference", [FILE, "copied_example.weighted_pixels:WeightedPixels"])
def test_a_method_named_by_its_place_gives_the_same_numbers(
    fsbench: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reference: str
) -> None:
    """`file.py:Class` and `package.module:Class` need no installation: same recipe, weights, episodes and scores."""
    shutil.copytree(PACKAGE, tmp_path / "site" / "copied_example")
    monkeypatch.syspath_prepend(tmp_path / "site")
    there, here = run(fsbench, "weighted-pixels"), run(fsbench, reference)
    assert there["train"] | {"method": here["train"]["method"]} == here["train"]
    assert [here["results"][0][key] for key in ("mean", "digest")] == [
        there["results"][0][key] for key in ("mean", "digest")
    ]
    assert here["method"]["title"] == "Weighted pixels"


@pytest.mark.parametrize("reference", [FILE, "copied_example.weighted_pixels:WeightedPixels"])
def test_a_method_named_by_its_place_is_shown(
    fsbench: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reference: str
) -> None:
    """`show` finds the card beside the code."""
    shutil.copytree(PACKAGE, tmp_path / "site" / "copied_example")
    monkeypatch.syspath_prepend(tmp_path / "site")
    about = json.loads(fsbench("show", reference, "--json").out)
    assert (about["title"], about["hyper-parameters"]) == ("Weighted pixels", {"initial_weight": 0.1})


def test_an_edited_method_is_another_run(fsbench: Ask) -> None:
    """A run's identity changes with the method's code, and only with it: a comment is none."""
    Path("mine.py").write_text(GOOD, encoding="utf-8")
    first, again = (run_id(fsbench, "mine.py:Guess") for _ in range(2))
    Path("mine.py").write_text(GOOD + "# edited\n", encoding="utf-8")
    assert first == again == run_id(fsbench, "mine.py:Guess")
    Path("mine.py").write_text(GOOD.replace("flatten(2)", "flatten(2).neg()"), encoding="utf-8")
    assert first != run_id(fsbench, "mine.py:Guess")


def test_an_edited_helper_of_a_module_is_another_run(fsbench: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """`module:Class`, whose neighbour is edited in one process: the new code has a new id."""
    monkeypatch.syspath_prepend(str(Path.cwd()))
    helped = GOOD.replace("tasks.query_x", "own_helper_of_guess.turned(tasks.query_x)")
    Path("helped_guess.py").write_text("import own_helper_of_guess\n" + helped, encoding="utf-8")
    ids = []
    for sign in ("", "-", ""):
        Path("own_helper_of_guess.py").write_text(f"def turned(x):\n    return {sign}x\n", encoding="utf-8")
        ids.append(run_id(fsbench, "helped_guess:Guess"))
    assert ids[0] == ids[2] != ids[1]


def test_two_files_of_one_name_are_two_methods(fsbench: Ask) -> None:
    """`a/mine.py` and `b/mine.py` are told apart by their source, even when one is loaded before the other is hashed."""
    sources = {"a": GOOD, "b": GOOD.replace("[..., :tasks.ways]", "[..., -tasks.ways:]")}
    for folder, source in sources.items():
        Path(folder).mkdir()
        Path(folder, "mine.py").write_text(source, encoding="utf-8")
    apart = [run_id(fsbench, f"{folder}/mine.py:Guess") for folder in sources]
    together = [resolve(Request(f"{folder}/mine.py:Guess")) for folder in sources]
    assert [resolved.run_id for resolved in together] == apart
    assert apart[0] != apart[1]


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("nowhere.py:Guess", "No such file: nowhere.py"),
        ("guess.py", "guess.py needs the name of a class"),
        ("mine.py:Gues", "mine.py has no Gues; it has Guess"),
        ("mine.py:", "cannot be imported"),
        ("no_such_module:Guess", "No module named 'no_such_module'"),
        (":Guess", "cannot be imported"),
    ],
)
def test_a_place_where_nothing_is_is_refused(fsbench: Ask, reference: str, reason: str) -> None:
    """The reason says which part of `place:Class` is wrong."""
    Path("mine.py").write_text(GOOD, encoding="utf-8")
    for arguments in (("run", "--method", reference), ("show", reference)):
        assert_refused(fsbench(*arguments), reason)


# Not a plugin


@pytest.mark.parametrize(
    ("source", "reasons"),
    [
        ("class Guess:\n    pass\n", ["is not a Method", "subclasses fewshot_bench.Method"]),
        ("def Guess(*given):\n    pass\n", ["is not a Method"]),
        ("from fewshot_bench import Dataset\nclass Guess(Dataset):\n    pass\n", ["is not a Method"]),
        ("from fewshot_bench import Method\nclass Guess(Method):\n    pass\n", ["must define predict"]),
        ("from fewshot_bench import EmbeddingMethod\nclass Guess(EmbeddingMethod):\n    pass\n", ["define compare"]),
    ],
    ids=["a class of its own", "a function", "a data set", "no predict", "no compare"],
)
@pytest.mark.parametrize("command", [("run", "--method"), ("run", "--dry-run", "--method"), ("show",)])
def test_what_is_no_complete_method_is_refused(
    fsbench: Ask, source: str, reasons: list[str], command: tuple[str, ...]
) -> None:
    """The refusal says what a method is, or what this one lacks."""
    Path("mine.py").write_text(source, encoding="utf-8")
    assert_refused(fsbench(*command, "mine.py:Guess"), *reasons)


def test_what_is_no_complete_data_set_is_refused(fsbench: Ask) -> None:
    """A data set that leaves out what the core calls is told so by name."""
    source = "from fewshot_bench import Dataset\nclass Mine(Dataset):\n    def identity(self):\n        return 'mine'\n"
    Path("mine.py").write_text(source, encoding="utf-8")
    answer = fsbench("run", "--method", "nearest-centroid", "--dataset", "mine.py:Mine")
    assert_refused(answer, "must define classes, images, shape")


# A pretended distribution


def test_the_metadata_of_a_distribution_is_read_once(pretend: Pretend, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many plugins it brings: parsing it takes longer than all else that finds a plugin."""
    pretend("many", {"methods": {f"guess{i}": "many_module:Guess" for i in range(5)}}, {"many_module.py": GOOD})
    read: list[str] = []

    def metadata(distribution: Distribution) -> dict[str, str]:
        read.append(str(distribution.locate_file("")))
        return {"Name": "many", "Version": "1.0"}

    monkeypatch.setattr(Distribution, "metadata", property(metadata))
    found = registry.registered("methods")
    assert [found[f"guess{i}"].distribution for i in range(5)] == ["many 1.0"] * 5
    assert sum(place.endswith("site-many") for place in read) == 1


def test_a_plugin_without_a_card_is_listed_by_name_and_distribution(fsbench: Ask, pretend: Pretend) -> None:
    """There is no title to print, and nothing is wrong."""
    pretend("plain", {"methods": {"guess": "plain_module:Guess"}}, {"plain_module.py": GOOD})
    answer = fsbench("list", "methods", "--check")
    assert ["guess", "plain 1.0"] in [line.split(maxsplit=1) for line in answer.out.splitlines()]
    assert answer.code == 0


@pytest.mark.parametrize("module", ["carded", "carded_package.inner", "carded_package.deep.inner"])
def test_a_card_is_found_without_an_import(fsbench: Ask, pretend: Pretend, module: str) -> None:
    """`list` prints the title of a plugin, however deep in its package, that could not be imported."""
    path = module.replace(".", "/")
    inner = {f"{path}.py": "raise RuntimeError('imported')", f"{path}.yaml": CARD}
    files = {f"{module.partition('.')[0]}/__init__.py": "raise RuntimeError('imported')"} if "." in module else {}
    pretend("carded", {"methods": {"guess": f"{module}:Guess"}}, files | inner)
    answer = fsbench("list", "methods")
    assert ["guess", "A guess"] in [line.split(maxsplit=1) for line in answer.out.splitlines()]
    assert answer.code == 0


def test_a_card_is_found_beside_code_that_lies_apart_from_its_metadata(
    fsbench: Ask, pretend: Pretend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An editable install of any build tool: metadata in one folder, code in another that Python finds."""
    pretend("apart", {"methods": {"guess": "apart_module:Guess"}}, {})
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "apart_module.py").write_text(GOOD, encoding="utf-8")
    (tmp_path / "source" / "apart_module.yaml").write_text(CARD, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path / "source")
    assert json.loads(fsbench("show", "guess", "--json").out)["title"] == "A guess"


BROKEN = [
    ("broken_module:Guess", "raise RuntimeError('no such sensor\\nmore')", "RuntimeError: no such sensor"),
    ("broken_module:Guess", "def broken(:\n", "SyntaxError"),
    ("broken_module:Guess", "import no_such_package", "ModuleNotFoundError: No module named 'no_such_package'"),
    ("broken_module:Guess", "import sys; sys.exit(0)", "SystemExit: 0"),
    ("broken_module:Guess", "assert False", "AssertionError"),
    ("absent_module:Guess", "", "ModuleNotFoundError: No module named 'absent_module'"),
    ("broken_module:Other", GOOD, "has no Other; it has Guess"),
    ("broken_module", GOOD, "cannot be imported"),
    ("not a reference!", GOOD, "cannot be imported"),
]
broken = pytest.mark.parametrize(("reference", "source", "reason"), BROKEN, ids=[reason for *_, reason in BROKEN])


@pytest.fixture
def _forget() -> Iterator[None]:
    """Forget modules that tests of a broken plugin have imported."""
    yield
    for name in ("broken_module", "plain_module", "factory_module"):
        sys.modules.pop(name, None)


forget = pytest.mark.usefixtures("_forget")


@forget
@broken
def test_a_broken_plugin_is_listed_and_checked_with_its_reason(
    fsbench: Ask, pretend: Pretend, reference: str, source: str, reason: str
) -> None:
    """`list` names it and does not fail; `list --check` gives the reason, exits 1, and finds the others in order."""
    pretend("broken", {"methods": {"guess": reference}}, {"broken_module.py": source})
    listed, checked = fsbench("list", "methods", "--json"), fsbench("list", "methods", "--check", "--json")
    assert {"name": "guess", "distribution": "broken 1.0", "title": ""} in json.loads(listed.out)
    errors = {row["name"]: row["error"] for row in json.loads(checked.out) if "error" in row}
    assert set(errors) == {"guess"}
    assert reason in errors["guess"]
    assert (listed.code, checked.code) == (0, 1)


@forget
@broken
def test_a_broken_method_is_refused_with_its_reason(
    fsbench: Ask, pretend: Pretend, reference: str, source: str, reason: str
) -> None:
    """`run` and `show` say which distribution brings it and why it fails."""
    pretend("broken", {"methods": {"guess": reference}}, {"broken_module.py": source})
    for arguments in (("run", "--method", "guess"), ("show", "guess")):
        assert_refused(fsbench(*arguments), "method 'guess' (broken 1.0)", reason)


@forget
@broken
def test_a_broken_data_set_is_refused_with_its_reason(
    fsbench: Ask, pretend: Pretend, reference: str, source: str, reason: str
) -> None:
    """A data set's failure reads as a method's."""
    pretend("broken", {"datasets": {"guess": reference}}, {"broken_module.py": source})
    answer = fsbench("run", "--method", "nearest-centroid", "--dataset", "guess")
    assert_refused(answer, "dataset 'guess' (broken 1.0)", reason)


@forget
def test_a_broken_command_breaks_no_other(fsbench: Ask, pretend: Pretend) -> None:
    """Its reason goes to stderr, and the command that was asked for answers."""
    pretend("broken", {"commands": {"guess": "broken_module:app"}}, {"broken_module.py": "raise RuntimeError('why')"})
    answer = fsbench("list", "datasets")
    assert "RuntimeError: why" in answer.err
    assert "glyphs" in answer.out
    assert answer.code == 0


NEEDS = "title: A guess\nneeds: {{module: {}, install: pip install sensors}}\n"


@forget
def test_a_plugin_whose_needs_are_missing_is_listed_with_the_way_to_install_them(fsbench: Ask, pretend: Pretend) -> None:
    """Nothing of it is imported, and `list --check` does not fail; `run` says it in one line."""
    files = {
        "broken_module.py": "raise RuntimeError('imported')",
        "broken_module.yaml": NEEDS.format("no_such_sensors.deep"),
    }
    pretend("needy", {"methods": {"guess": "broken_module:Guess"}}, files)
    hint = "needs no_such_sensors.deep, which is not installed: pip install sensors"
    listed, checked = fsbench("list", "methods"), fsbench("list", "methods", "--check", "--json")
    assert ["guess", "A guess"] in [line.split(maxsplit=1) for line in listed.out.splitlines()]
    assert hint in [line.strip() for line in listed.out.splitlines()]
    assert {"name": "guess", "distribution": "needy 1.0", "title": "A guess", "missing": hint} in json.loads(checked.out)
    assert (listed.code, checked.code) == (0, 0)
    answer = fsbench("run", "--method", "guess")
    assert_refused(answer, f"method 'guess' (needy 1.0) {hint}")
    assert len(answer.err.strip().splitlines()) == 1


@forget
def test_a_plugin_whose_needs_are_there_is_imported(fsbench: Ask, pretend: Pretend) -> None:
    """Where that fails all the same, the reason comes with the way to install them."""
    files = {"plain_module.py": GOOD, "plain_module.yaml": NEEDS.format("json")}
    pretend("needy", {"methods": {"guess": "plain_module:Guess"}}, files)
    assert fsbench("show", "guess").code == 0
    files = {"broken_module.py": "raise RuntimeError('why')", "broken_module.yaml": NEEDS.format("json")}
    pretend("worse", {"methods": {"worse": "broken_module:Guess"}}, files)
    assert_refused(fsbench("show", "worse"), "RuntimeError: why", "It needs json: pip install sensors")


@forget
@pytest.mark.parametrize("needs", ["sensors", "[sensors]", "{module: sensors}", "{module: 1, install: x}"])
def test_ill_written_needs_are_refused(fsbench: Ask, pretend: Pretend, needs: str) -> None:
    """By `list`, which goes on, and by whatever would import the plugin."""
    files = {"plain_module.py": GOOD, "plain_module.yaml": f"needs: {needs}\n"}
    pretend("needy", {"methods": {"guess": "plain_module:Guess"}}, files)
    assert fsbench("list", "methods").code == 1
    assert_refused(fsbench("show", "guess"), "card of 'guess'", "'needs' must map 'module' and 'install' to texts")


@pytest.mark.parametrize("card", ["title: [", "- a list", "\x00"])
def test_a_broken_card_is_named(fsbench: Ask, pretend: Pretend, card: str) -> None:
    """`list` gives the card's path and exits 1, and the other methods keep their titles."""
    pretend("carded", {"methods": {"guess": "plain_module:Guess"}}, {"plain_module.py": GOOD, "plain_module.yaml": card})
    answer = fsbench("list", "methods")
    assert "plain_module.yaml" in answer.out
    assert "Prototypical networks" in answer.out
    assert answer.code == 1


def test_a_name_that_two_distributions_register_is_refused(fsbench: Ask, pretend: Pretend) -> None:
    """Nobody's method silently takes the place of another's: both distributions are named."""
    pretend("rival", {"methods": {"maml": "rival_module:Guess"}}, {"rival_module.py": GOOD})
    assert_refused(fsbench("run", "--method", "maml", "--dry-run"), "'maml'", "fewshot-bench", "rival 1.0")
    assert fsbench("list", "methods", "--check").code == 1


@forget
def test_an_entry_point_may_name_extras(fsbench: Ask, pretend: Pretend) -> None:
    """`module:Class [extra]`, which packaging tools may write, is the class."""
    pretend("extra", {"methods": {"guess": "plain_module:Guess [gpu]"}}, {"plain_module.py": GOOD})
    assert fsbench("show", "guess").code == 0


@forget
def test_a_backbone_may_be_a_function(fsbench: Ask, pretend: Pretend) -> None:
    """A third party's backbone is any callable of the input's shape, and its source is part of the run's identity."""
    factory = "from fewshot_methods.backbones.conv4 import conv4_32\ndef tiny(shape):\n    return conv4_32(shape)\n"
    pretend("factory", {"backbones": {"tiny": "factory_module:tiny"}}, {"factory_module.py": factory})
    tiny = run_id(fsbench, "prototypical-networks", "--set", "backbone=tiny")
    path = Path(registry.find("backbones", "tiny").load().__code__.co_filename)
    path.write_text(factory.replace("conv4_32", "conv4_64"), encoding="utf-8")
    assert tiny != run_id(fsbench, "prototypical-networks", "--set", "backbone=tiny")
