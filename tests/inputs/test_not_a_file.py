"""What is no file (a pipe, a device, a socket) is refused at once wherever a path can be given: nothing waits for it."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import call
from picture_files import plain, write

from fewshot_bench.errors import DataError, FewshotError
from fewshot_bench.plugins.registry import read_yaml
from fewshot_bench.runs.checkpoint import load_tensors
from fewshot_datasets.cub_200.cub_200 import Cub200
from fewshot_datasets.imagenet.mini_imagenet import MiniImagenet
from fewshot_datasets.omniglot.omniglot import Omniglot
from fewshot_datasets.own.arrays import Arrays
from fewshot_datasets.own.folder import Folder

PHOTOS = {f"{name}/{i}.png": plain(i) for name in "abcdef" for i in range(3)}
WAYS: dict[str, Callable[[Path], object]] = {
    "a pipe": os.mkfifo,
    "a link to an endless device": lambda path: path.symlink_to("/dev/zero"),
}


def split_of(root: Path) -> object:
    """The split of a folder of photographs."""
    return Folder(root=write(root, PHOTOS)).classes()


READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "a folder": ("photos", lambda path: Folder(root=path).identity()),
    "a zip": ("photos.zip", lambda path: Folder(root=path).identity()),
    "a tar": ("photos.tar", lambda path: Folder(root=path).identity()),
    "a compressed tar": ("photos.tar.gz", lambda path: Folder(root=path).identity()),
    "an archive in a folder": ("p/photos.tar", lambda path: Folder(root=path.parent).identity()),
    "a split beside the images": ("p/split.csv", lambda path: split_of(path.parent)),
    "a split that is named": (
        "mine.csv",
        lambda path: Folder({"split": str(path)}, write(path.parent / "p", PHOTOS)).classes(),
    ),
    "arrays": ("images.npz", lambda path: Arrays(root=path).identity()),
    "arrays in a folder": ("p/images.npz", lambda path: Arrays(root=path.parent).identity()),
    "half of Omniglot": ("p/images_background.zip", lambda path: Omniglot(root=path.parent).halves().names()),
    "CUB-200": ("cub.tgz", lambda path: Cub200(root=path).classes()),
    "mini-ImageNet": ("mini-imagenet.tar", lambda path: MiniImagenet(root=path).classes()),
    "mini-ImageNet in a folder": ("p/mini-imagenet.tar", lambda path: next(MiniImagenet(root=path.parent).images(print))),
    "a recipe": ("mine.yaml", read_yaml),
    "weights": ("checkpoint.safetensors", load_tensors),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", READERS)
def test_every_reader_refuses_what_is_no_file(name: str, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one to three lines; the test would never end if one waited."""
    monkeypatch.setenv("FSBENCH_CACHE", str(tmp_path / "cache"))
    inside, read = READERS[name]
    path = tmp_path / inside
    path.parent.mkdir(exist_ok=True)
    WAYS[way](path)
    with pytest.raises(FewshotError) as error:
        read(path)
    assert len(str(error.value).splitlines()) <= 3


def test_a_member_of_a_class_that_is_no_file_is_named(tmp_path: Path) -> None:
    """A pipe and a link to a device, and a file too large for an image, which is not read."""
    root = write(tmp_path / "photos", PHOTOS)
    os.mkfifo(root / "a" / "pipe.png")
    (root / "a" / "zero.png").symlink_to("/dev/zero")
    with pytest.raises(DataError, match=r"2 where images or folders should be.*pipe\.png.*zero\.png"):
        _ = Folder(root=root).members
    (root / "a" / "pipe.png").unlink()
    (root / "a" / "zero.png").unlink()
    with (root / "a" / "giant.png").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(
        DataError, match=r"1 of 19 images are missing or damaged: a/giant.png \(more than 268,435,456 bytes\)"
    ):
        list(Folder({"side": 8}, root).images(lambda done, total: None))


COMMANDS = {
    "a data root": ["--dataset", "folder", "--data-root", "PIPE"],
    "a data root of another data set": ["--dataset", "omniglot", "--data-root", "PIPE"],
    "a test data root": ["--dataset", "glyphs", "--test-dataset", "folder", "--test-data-root", "PIPE"],
    "a recipe": ["--recipe", "PIPE"],
    "a method": ["--method", "PIPE:Mine"],
    "a device": ["--dataset", "folder", "--data-root", "/dev/zero"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_command_line_refuses_what_is_no_file(name: str, tmp_path: Path) -> None:
    """Before any work, naming it."""
    pipe = (
        tmp_path / "pipe.yaml" if name == "a recipe" else tmp_path / "pipe.py" if name == "a method" else tmp_path / "pipe"
    )
    os.mkfifo(pipe)
    given = [word.replace("PIPE", str(pipe)) for word in COMMANDS[name]]
    command = ["run", *([] if name == "a method" else ["--method", "nearest-centroid"]), *given, "--out", tmp_path / "runs"]
    said = call(*command)
    assert said.code in (2, 3), said.err
    assert given[-1].partition(":")[0] in said.err and "Traceback" not in said.err
    assert 1 <= len(said.complaint.splitlines()) <= 3


PLACES = {
    "a method": ["run", "--method", "PLACE.py:Mine"],
    "a data set": ["run", "--method", "maml", "--dataset", "PLACE.py:Mine"],
    "a backbone": ["run", "--method", "maml", "--backbone", "PLACE.py:mine"],
    "a method without its suffix": ["show", "PLACE:Mine"],
    "a table": ["table", "PLACE"],
    "a list of runs": ["list", "runs", "--out", "PLACE"],
    "a run that is tested": ["test", "123abc", "--out", "PLACE"],
}
KINDS_OF_PLACE: dict[str, Callable[[Path], object]] = {
    "a pipe": os.mkfifo,
    "a device": lambda path: path.symlink_to("/dev/zero"),
}


@pytest.mark.parametrize("kind", ["a pipe", "a device"])
@pytest.mark.parametrize("name", PLACES)
def test_a_command_says_what_lies_where_code_or_records_are_sought(name: str, kind: str, tmp_path: Path) -> None:
    """Exit 2: it is there, and something else."""
    place = tmp_path / ("place.py" if any(".py" in word for word in PLACES[name]) else "place")
    KINDS_OF_PLACE[kind](place)
    said = call(*(word.replace("PLACE", str(tmp_path / "place")) for word in PLACES[name]))
    assert said.code == 2, said.err
    assert kind in said.complaint and str(place) in said.complaint.replace("\n", " ")


@pytest.mark.parametrize("name", ["a table", "a list of runs"])
def test_a_file_is_no_folder_of_records(name: str, tmp_path: Path) -> None:
    """It is not one without records."""
    (tmp_path / "place").touch()
    said = call(*(word.replace("PLACE", str(tmp_path / "place")) for word in PLACES[name]))
    assert said.code == 2 and "place is a file, not a folder of records." in said.complaint


@pytest.mark.parametrize(
    "command",
    [
        ["run", "--method", "nearest-centroid", "--out", ""],
        ["run", "--method", "nearest-centroid", "--out="],
        ["run", "--method", "nearest-centroid", "--dataset", "folder", "--data-root", ""],
        ["run", "--method", "nearest-centroid", "--dataset", "folder", "--test-data-root", ""],
        ["test", "123abc", "--out", ""],
        ["list", "runs", "--out", ""],
        ["table", ""],
        ["data", "import", "omniglot", ""],
        ["data", "preview", "glyphs", "--out", ""],
    ],
    ids=" ".join,
)
def test_an_empty_path_is_not_the_current_folder(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a variable that is not set: exit 2, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    said = call(*command)
    assert said.code == 2 and "it is empty" in said.complaint
    assert not list(tmp_path.iterdir())
