"""The built wheel holds everything that an installed fewshot-bench needs, and nothing else."""

import subprocess
import sys
import tomllib
from collections.abc import Iterator
from configparser import ConfigParser
from email.message import Message
from email.parser import Parser
from pathlib import Path, PurePosixPath
from zipfile import ZipFile

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
FOLDERS = [
    "fewshot_bench",
    "methods/fewshot_methods",
    "datasets/fewshot_datasets",
    "leaderboard/fewshot_leaderboard",
]
INFO = f"fewshot_bench-{PROJECT['version']}.dist-info"
MODULES = {
    name: reference.partition(":")[0].replace(".", "/")
    for group in ("methods", "datasets")
    for name, reference in PROJECT["entry-points"][f"fewshot_bench.{group}"].items()
}
IMAGES = {".png", ".jpg", ".jpeg", ".gif", ".bmp", ".npy", ".npz", ".zip", ".safetensors", ".parquet", ".pkl", ".pt"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZipFile]:
    """The wheel, built from this source tree without a network."""
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with ZipFile(next(folder.glob("*.whl"))) as archive:
        yield archive


@pytest.fixture(scope="module")
def metadata(wheel: ZipFile) -> Message:
    """The wheel's METADATA."""
    return Parser().parsestr(wheel.read(f"{INFO}/METADATA").decode())


def test_it_holds_each_file_of_the_four_packages_and_no_other(wheel: ZipFile) -> None:
    """What lies in the source folders is in the wheel; what lies elsewhere (tests, results) is not."""
    source = {
        path.relative_to((ROOT / folder).parent).as_posix()
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in wheel.namelist() if not name.startswith(INFO)} == source


@pytest.mark.parametrize("name", MODULES)
def test_every_method_and_data_set_has_its_card(wheel: ZipFile, name: str) -> None:
    """A card lies beside the module and has a title and a summary."""
    card = yaml.safe_load(wheel.read(f"{MODULES[name]}.yaml"))
    assert card["title"]
    assert card["summary"]


@pytest.mark.parametrize("name", ["maml", "prototypical-networks"])
@pytest.mark.parametrize("dataset", ["glyphs", "omniglot"])
def test_a_trained_method_s_recipes_are_in_its_card(wheel: ZipFile, name: str, dataset: str) -> None:
    """The default recipe has an entry for either data set."""
    recipes = yaml.safe_load(wheel.read(f"{MODULES[name]}.yaml"))["recipes"]
    assert dataset in [entry["for"]["dataset"] for entry in recipes["default"] if "for" in entry]


@pytest.mark.parametrize(("split", "classes"), [("train", 4112), ("val", 688), ("test", 1692)])
def test_vinyals_split_is_there(wheel: ZipFile, split: str, classes: int) -> None:
    """The lists of the Omniglot classes ship with the package."""
    assert len(wheel.read(f"fewshot_datasets/splits/omniglot-vinyals/{split}.txt").split()) == classes


def test_every_folder_of_splits_has_its_licence(wheel: ZipFile) -> None:
    """Lists that others made carry their notice."""
    folders = {PurePosixPath(name).parent for name in wheel.namelist() if name.startswith("fewshot_datasets/splits/")}
    assert folders
    assert [folder for folder in folders if not wheel.read(f"{folder}/LICENSE").strip()] == []


def test_omniglot_s_manifest_and_its_licence_are_there(wheel: ZipFile) -> None:
    """Source images are checked against a list of 1,623 characters that ships with its notice."""
    assert len(wheel.read("fewshot_datasets/manifests/omniglot.txt").splitlines()) >= 1623
    assert wheel.read("fewshot_datasets/manifests/omniglot-LICENSE").strip()


@pytest.mark.parametrize(
    "name",
    [
        *("templates/page.html", "templates/style.css", "templates/sort.js", "published_results.csv", "explanations.yaml"),
        *("templates/reproduction.html", "templates/reproduction.css", "templates/curves.css"),
    ],
)
def test_what_the_leaderboard_is_made_of_is_there(wheel: ZipFile, name: str) -> None:
    """Pages are built from templates and published numbers that are installed."""
    assert wheel.read(f"fewshot_leaderboard/{name}").strip()


def test_the_schema_of_a_record_is_there(wheel: ZipFile) -> None:
    """For programs that read records."""
    assert b"json-schema.org" in wheel.read("fewshot_bench/results/record.schema.json")


@pytest.mark.parametrize("folder", FOLDERS)
def test_each_package_says_that_it_is_typed(wheel: ZipFile, folder: str) -> None:
    """`py.typed` lets a type checker follow an installed package."""
    assert f"{PurePosixPath(folder).name}/py.typed" in wheel.namelist()


def test_no_image_weight_or_archive_is_in_it(wheel: ZipFile) -> None:
    """Data sets' images are never shipped."""
    assert [name for name in wheel.namelist() if PurePosixPath(name).suffix.lower() in IMAGES] == []


def test_no_test_and_no_record_is_in_it(wheel: ZipFile) -> None:
    """Neither tests nor the published records of `leaderboard/results` are shipped."""
    others = [name for name in wheel.namelist() if not name.startswith("fewshot_bench/results/")]  # the code of records
    inside = [part for name in others for part in PurePosixPath(name).parts]
    assert {"tests", "results", "conftest.py", "record.json"}.isdisjoint(inside)


def test_the_licence_is_in_it(wheel: ZipFile) -> None:
    """The LICENSE file ships word for word."""
    assert wheel.read(f"{INFO}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()


def test_its_entry_points_are_those_of_the_project(wheel: ZipFile) -> None:
    """Methods, data sets, backbones, commands and `fsbench` itself are registered."""
    parser = ConfigParser(delimiters="=")
    parser.optionxform = str  # type: ignore[method-assign,assignment]  # names keep their case
    parser.read_string(wheel.read(f"{INFO}/entry_points.txt").decode())
    groups = {group: dict(parser[group]) for group in parser.sections()}
    assert groups == PROJECT["entry-points"] | {"console_scripts": PROJECT["scripts"]}


def test_every_entry_point_s_module_is_in_it(wheel: ZipFile) -> None:
    """No name is registered whose code was left out."""
    references = [value for points in PROJECT["entry-points"].values() for value in points.values()]
    files = {f"{reference.partition(':')[0].replace('.', '/')}.py" for reference in references}
    assert files - set(wheel.namelist()) == set()


def test_its_metadata_names_the_project_its_python_and_its_licence(metadata: Message) -> None:
    """Name, version, Python and licence are the project's."""
    keys = ("Name", "Version", "Requires-Python", "License-Expression")
    assert [metadata[key] for key in keys] == ["fewshot-bench", PROJECT["version"], ">=3.11", "MIT"]


def test_the_peer_is_no_dependency(metadata: Message) -> None:
    """An install needs no compiler: learn2learn is left to those who compare with it."""
    required = metadata.get_all("Requires-Dist") or []
    assert required
    assert [line for line in required if "learn2learn" in line] == []
