"""`fsbench data`: from no files to a prepared, verified, seen data set; and what a user can get wrong on the way."""

import json
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import small_archive
import squares
from command_line import PIXELS, Said, call, environment, finished, snapshot
from PIL import Image
from squares import IMAGES, REFERENCE, TAKEN

from fewshot_bench.data.imports import find_import
from fewshot_bench.episodes.sampling import EpisodeSampler
from fewshot_bench.plugins import registry

FETCHED = REFERENCE.replace("Squares", "Fetched")
SMALL = f"{small_archive.__file__}:SmallArchive"
DATA = os.environ.get("FSBENCH_DATA")
COMMANDS = ("list", "get", "import", "verify", "preview")
EXAMPLES = {
    "list": "fsbench data list --data-root DATA",
    "get": "fsbench data get omniglot",
    "import": "fsbench data import mini-imagenet downloads/mini-imagenet",
    "verify": "fsbench data verify cifar-fs",
    "preview": "fsbench data preview omniglot --split test --shots 5 --out test.png",
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, an empty working folder, no data root."""
    monkeypatch.setenv("FSBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("FSBENCH_DATA", raising=False)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "cache"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data root with all squares."""
    return squares.write(tmp_path / "root")


def assert_refused(said: Said, code: int, *words: object) -> None:
    """The manners of every refusal."""
    assert said.code == code, said.err
    assert said.out == ""
    assert 1 <= len(said.complaint.splitlines()) <= 3, said.err
    assert "Traceback" not in said.err
    assert [word for word in words if str(word) not in said.complaint] == [], said.complaint


def pixels_of(root: Path) -> bytes:
    """All pixels of the squares in the order of the data set."""
    return b"".join(squares.file(root, name, number).read_bytes() for name in TAKEN for number in range(IMAGES))


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_and_fits_a_terminal_of_80_columns(command: str) -> None:
    """Every option has a text of its own."""
    text = finished("data", command, "--help").out
    assert max(map(len, text.splitlines())) <= 80
    assert EXAMPLES[command] in " ".join(text.split())
    options = re.findall(r"^  (--\S+.*(?:\n {10,}.*)*)", text, re.MULTILINE)
    assert [option for option in options if not re.search(r"\s{2,}\w[\w ,]+", option)] == []
    assert "--json" in text


def test_help_imports_nothing_heavy() -> None:
    """Neither of the group nor of its commands; a process of its own says which modules it holds at its end."""
    script = "import sys; from fewshot_bench.cli.main import _main\n"
    script += f"for command in {COMMANDS!r}: assert _main(['data', command, '--help']) == 0\n"
    script += "assert _main(['data', '--help']) == 0; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, env=environment())
    assert done.returncode == 0, done.stderr
    held = set(done.stdout.splitlines()[-1].split())
    assert "fewshot_bench.cli.data" in held
    assert sorted(held & {"torch", "numpy", "pandas", "PIL", "rich.progress", "fewshot_bench.specs"}) == []


def test_every_data_set_is_listed_with_its_state() -> None:
    """A line each in 80 columns, an object each in JSON, a row each in Markdown."""
    text, rows = finished("data", "list").out, json.loads(finished("data", "list", "--json").out)
    names = sorted(registry.registered("datasets"))
    assert [row["name"] for row in rows] == names
    assert max(map(len, text.splitlines())) <= 80
    for row in rows:
        assert re.search(rf"^{re.escape(row['name'])} +{row['state']} ", text, re.MULTILINE)
    markdown = finished("data", "list", "--markdown").out.splitlines()
    assert [line.split("`")[1] for line in markdown[2:]] == names


def test_a_list_has_one_form() -> None:
    """Exit 2 where two are asked for."""
    assert_refused(call("data", "list", "--markdown", "--json"), 2, "--markdown", "--json")


def test_a_list_looks_into_no_compressed_tar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are of gigabytes: what is named as a data set's archive is here."""
    archives = {
        "cub-200": "CUB_200_2011.tgz",
        "cifar-fs": "cifar-100-python.tar.gz",
        "mini-imagenet": "mini-imagenet.tar.gz",
        "tiered-imagenet": "tiered-imagenet.tar.bz2",
    }
    for name in archives.values():
        (tmp_path / name).write_bytes(b"no look at it")
    monkeypatch.setattr(tarfile, "open", lambda *given, **options: pytest.fail("a tar was opened"))
    rows = {row["name"]: row for row in json.loads(finished("data", "list", "--data-root", tmp_path, "--json").out)}
    found = {name: (rows[name]["state"], rows[name]["note"]) for name in archives}
    assert found == {name: ("here", str(tmp_path / archive)) for name, archive in archives.items()}


def test_a_data_root_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    """By every command that takes one."""
    for command in (["list"], *([command, "glyphs"] for command in ("get", "verify", "preview"))):
        assert_refused(call("data", *command, "--data-root", tmp_path / "none"), 3, tmp_path / "none", "--data-root")


def test_get_prepares_what_is_there_and_says_what_it_made(root: Path, cache: Path) -> None:
    """Text and JSON agree; the fingerprint is the sha256 of all pixels in order; progress is on stderr."""
    said = finished("data", "get", REFERENCE, "--data-root", root)
    told = json.loads(finished("data", "get", REFERENCE, "--data-root", root, "--json").out)
    fingerprint = sha256(pixels_of(root)).hexdigest()
    assert told["fingerprint"] == fingerprint
    assert told["downloaded"] == []
    assert {split: (one["classes"], one["images"]) for split, one in told["splits"].items()} == {
        "train": (3, 15),
        "val": (1, 5),
        "test": (2, 10),
    }
    assert Path(told["folder"]).parent == cache
    assert re.search(r"^train +3 classes +15 images$", said.out, re.MULTILINE)
    for word in (told["folder"], fingerprint[:12], "four bytes a file", "1×2×2"):
        assert word in said.out
    assert "preparing squares:Squares" in said.err


def test_get_downloads_what_is_nowhere_and_only_that(cache: Path, root: Path) -> None:
    """And finds it afterwards; what the data root has is not fetched."""
    there = json.loads(finished("data", "get", FETCHED, "--data-root", root, "--set", "scale=2", "--json").out)
    assert there["downloaded"] == []
    assert not (cache / "downloads").exists()
    told = json.loads(finished("data", "get", FETCHED, "--json").out)
    assert told["downloaded"] == [str(cache / "downloads" / "squares")]
    assert told["fingerprint"] == sha256(pixels_of(root)).hexdigest()


def test_get_prepares_what_is_built_in() -> None:
    """Where nothing is to be fetched."""
    told = json.loads(finished("data", "get", "glyphs", "--json").out)
    assert told["shape"] == [1, 28, 28]
    assert told["splits"]["test"]["images"] == 6480


def test_get_of_functions_has_nothing_to_do() -> None:
    """They are not prepared."""
    assert "sinusoid is a family of functions" in finished("data", "get", "sinusoid").out
    assert json.loads(finished("data", "get", "sinusoid", "--json").out) == {"name": "sinusoid"}


def test_get_of_what_no_program_may_download_says_how_to_import_it() -> None:
    """Exit 2."""
    assert_refused(call("data", "get", "mini-imagenet"), 2, "cannot be downloaded", "fsbench data import mini-imagenet")
    assert_refused(call("data", "get", REFERENCE), 2, "cannot be downloaded", f"fsbench data import {REFERENCE} PATH")


OWN = {
    "images of another type": ("arrays", "x.npz", {"images": np.zeros((4, 2, 2)), "labels": np.arange(4)}, "not uint8"),
    "arrays of other names": ("arrays", "x.npz", {"x": np.zeros(4)}, "has no array 'images'"),
    "no archive": ("folder", "x.txt", b"text", "neither a folder nor an archive"),
    "a damaged archive": ("folder", "x.zip", b"text", "is damaged or truncated"),
}


@pytest.mark.parametrize("case", OWN)
def test_get_of_files_that_cannot_be_used_says_what_is_wrong_with_them(case: str, tmp_path: Path) -> None:
    """Exit 3 with the data set's own words, as of any command; without files, how to name some."""
    name, file, content, word = OWN[case]
    path = tmp_path / file
    np.savez(path, **content) if isinstance(content, dict) else path.write_bytes(content)
    assert_refused(call("data", "get", name, "--data-root", path), 3, path, word)
    assert_refused(call("data", "get", name), 2, "cannot be downloaded", "--data-root")


def test_get_of_a_wrong_split_file_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    """Exit 3."""
    np.savez(tmp_path / "x.npz", images=np.zeros((4, 2, 2), np.uint8), labels=np.arange(4))
    (tmp_path / "split.csv").write_text("class;split\n0;train\n")
    assert_refused(call("data", "get", "arrays", "--data-root", tmp_path), 3, tmp_path / "split.csv", "semicolons")


def test_an_import_is_prepared_remembered_and_used_without_a_data_root(root: Path) -> None:
    """By its identity and variant; with another option it is read again, from where it was imported."""
    path = root / "squares"
    told = json.loads(finished("data", "import", REFERENCE, path, "--json").out)
    assert (told["path"], told["variant"]) == (str(path), "four bytes a file")
    assert told["fingerprint"] == sha256(pixels_of(root)).hexdigest()
    assert told["fingerprint_short"] == told["fingerprint"][:12]
    kept = find_import("squares")
    assert kept is not None
    assert (kept.path, kept.variant) == (path, "four bytes a file")
    assert kept.identity.startswith("squares-")  # and its source, for it is not installed
    larger = json.loads(finished("data", "get", REFERENCE, "--set", "data.scale=3", "--json").out)
    assert (larger["shape"], larger["options"]) == ([1, 6, 6], {"scale": 3})


def test_an_imported_data_set_is_trained_on_without_a_data_root(tmp_path: Path, root: Path) -> None:
    """As `fsbench run` finds it."""
    finished("data", "import", REFERENCE, root)
    size = ("--ways", 2, "--queries", 2, "--set", "backbone=null")
    assert call(*PIXELS, "--dataset", REFERENCE, *size, "--out", tmp_path / "runs").code == 0


def test_a_relative_path_is_remembered_as_an_absolute_one(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next command may run elsewhere."""
    monkeypatch.chdir(root)
    finished("data", "import", REFERENCE, "squares")
    kept = find_import("squares")
    assert kept is not None
    assert kept.path == root / "squares"


def test_an_import_is_forgotten_and_no_file_deleted(root: Path) -> None:
    """What was, is said; a second time there is nothing to forget."""
    finished("data", "import", REFERENCE, root / "squares")
    before = snapshot(root)
    assert str(root / "squares") in finished("data", "import", REFERENCE, "--forget").out
    assert find_import("squares") is None
    assert snapshot(root) == before
    assert "No import" in finished("data", "import", REFERENCE, "--forget").out
    assert json.loads(finished("data", "import", REFERENCE, "--forget", "--json").out)["forgotten"] is None


@pytest.mark.parametrize("scale", [1, 2])
def test_a_wrong_source_is_refused_and_nothing_stands_in_for_it(scale: int, tmp_path: Path, root: Path) -> None:
    """Exit 3 with the data set's own words: neither an earlier import nor, at scale 1, what was prepared of it. The
    earlier import stays."""
    finished("data", "import", REFERENCE, root / "squares")
    (tmp_path / "wrong").mkdir()
    said = call("data", "import", REFERENCE, tmp_path / "wrong", "--set", f"scale={scale}")
    assert_refused(said, 3, "Squares need their files")
    kept = find_import("squares")
    assert kept is not None
    assert kept.path == root / "squares"


def test_a_source_of_other_images_than_were_prepared_is_refused(root: Path) -> None:
    """Exit 3, and which folder to delete; whole, it may be imported again and again."""
    folder = json.loads(finished("data", "import", REFERENCE, root, "--json").out)["folder"]
    finished("data", "import", REFERENCE, root)
    squares.file(root, "c", 0).write_bytes(b"else")
    assert_refused(call("data", "import", REFERENCE, root), 3, "other images", folder)


def test_a_download_does_not_stand_in_for_a_wrong_source(tmp_path: Path, cache: Path) -> None:
    """Exit 3; where the files are that need no import."""
    finished("data", "get", FETCHED)
    (tmp_path / "wrong").mkdir()
    said = call("data", "import", FETCHED, tmp_path / "wrong")
    assert_refused(said, 3, tmp_path / "wrong", cache / "downloads" / "squares")
    assert find_import("squares") is None


IMPORTS = {
    "no such path": ((REFERENCE, "none"), 3, "No such file or folder: none"),
    "no path": ((REFERENCE,), 2, "PATH"),
    "a path to forget": ((REFERENCE, ".", "--forget"), 2, "--forget"),
    "built in": (("glyphs", "."), 2, "glyphs cannot be imported"),
    "functions": (("sinusoid", "."), 2, "sinusoid cannot be imported"),
}


@pytest.mark.parametrize("name", IMPORTS)
def test_an_import_that_cannot_be_is_refused(name: str, cache: Path) -> None:
    """And nothing is kept."""
    arguments, code, word = IMPORTS[name]
    assert_refused(call("data", "import", *arguments), code, word)
    assert snapshot(cache) == {}


@pytest.mark.parametrize("command", [["get"], ["import", "."], ["verify"], ["preview"]])
def test_unknown_names_are_refused_with_the_nearest_valid_ones(command: list[str]) -> None:
    """Data sets, options of a data set, and settings that are none; an option of another type."""
    verb, *path = command
    assert_refused(call("data", verb, "glyphz", *path), 2, "'glyphz'", "'glyphs'")
    assert_refused(call("data", verb, REFERENCE, *path, "--set", "data.scael=2"), 2, "'scael'", "'scale'")
    assert_refused(call("data", verb, REFERENCE, *path, "--set", "scale"), 2, "key=value", "'scale'")
    for value in ("2.5", "true", "large", "[2]", '""'):
        assert_refused(
            call("data", verb, REFERENCE, *path, "--set", f"scale={value}"), 2, "data.scale must be a whole number"
        )
    assert_refused(call("data", verb, "none.py:Plugin", *path), 2, "none.py")
    assert_refused(call("data", verb), 2, f"fsbench data {verb} --help")


def test_an_unknown_command_is_refused_with_the_nearest_valid_one() -> None:
    """Exit 2; none at all shows the help."""
    assert_refused(call("data", "verfy"), 2, "'verfy'", "verify")
    assert call("data").code == 2
    assert "preview" in call("data").err


def test_verify_says_of_a_whole_data_set_that_it_is_whole(root: Path) -> None:
    """Exit 0, before and after it is prepared; nothing is written."""
    before = finished("data", "verify", REFERENCE, "--data-root", root)
    assert "squares:Squares: whole" in before.out
    assert "not yet" in before.out
    assert "verifying squares:Squares" in before.err
    finished("data", "get", REFERENCE, "--data-root", root)
    told = json.loads(finished("data", "verify", REFERENCE, "--data-root", root, "--json").out)
    assert told["fingerprint"] == sha256(pixels_of(root)).hexdigest()
    assert (told["whole"], told["images"], told["cache"]["state"]) == (True, len(TAKEN) * IMAGES, "whole")


def test_verify_names_each_damaged_file_in_a_line(root: Path) -> None:
    """Exit 3; all of five, not the first few alone."""
    finished("data", "get", REFERENCE, "--data-root", root)
    for number in range(IMAGES):
        squares.file(root, "d", number).write_bytes(b"cut")
    said = call("data", "verify", REFERENCE, "--data-root", root)
    assert said.code == 3
    lines = said.out.splitlines()
    assert lines[0] == "squares:Squares: DAMAGED"
    assert [line.strip() for line in lines if ".bin" in line] == [f"d/{n}.bin (unreadable)" for n in range(IMAGES)]
    told = call("data", "verify", REFERENCE, "--data-root", root, "--json")
    assert told.code == 3
    assert json.loads(told.out)["damaged"] == [f"d/{n}.bin (unreadable)" for n in range(IMAGES)]


def test_verify_names_the_classes_whose_prepared_images_are_others(root: Path) -> None:
    """Exit 3, and which folder to delete."""
    folder = json.loads(finished("data", "get", REFERENCE, "--data-root", root, "--json").out)["folder"]
    squares.file(root, "c", 0).write_bytes(b"else")
    said = call("data", "verify", REFERENCE, "--data-root", root)
    assert said.code == 3
    assert "train c (other pixels than its source)" in said.out
    assert f"delete {folder}" in said.out


def test_verify_lists_the_duplicates_that_cross_splits(root: Path) -> None:
    """With names, and exit 0; those within a split are counted alone."""
    squares.file(root, "e", 1).write_bytes(squares.pixels("a", 3))
    squares.file(root, "b", 1).write_bytes(squares.pixels("b", 0))
    said = finished("data", "verify", REFERENCE, "--data-root", root)
    assert "2 groups of pixel-identical images, 1 of them across splits:" in said.out
    assert "train a/3 = test e/1" in said.out
    assert "b/0" not in said.out
    told = json.loads(finished("data", "verify", REFERENCE, "--data-root", root, "--json").out)["duplicates"]
    assert (told["groups"], told["across_splits"]) == (2, 1)
    assert told["images"][0] == [
        {"split": "train", "class_name": "a", "image_id": "3"},
        {"split": "test", "class_name": "e", "image_id": "1"},
    ]


def test_verify_of_what_is_not_there_is_refused() -> None:
    """Exit 3 with the data set's own words; functions and what is made on demand have nothing to verify."""
    assert_refused(call("data", "verify", REFERENCE), 3, "they are not there")
    assert "nothing is stored" in finished("data", "verify", "sinusoid").out


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """A data root with a small mini-ImageNet in an archive."""
    root = tmp_path / "photographs"
    root.mkdir()
    small_archive.pack(root)
    return root


def rewrite(archive: Path, change: Callable[[str, bytes], bytes | None]) -> None:
    """Write an archive anew with other contents; None leaves a file out."""
    with ZipFile(archive) as old:
        contents = {name: change(name, old.read(name)) for name in old.namelist()}
    with ZipFile(archive, "w") as new:
        for name, content in contents.items():
            if content is not None:
                new.writestr(name, content)


def test_each_damaged_photograph_of_an_archive_is_named(photographs: Path) -> None:
    """Cut, empty or no image: exit 3 and its name; all others are read."""
    archive = photographs / "mini-imagenet" / "images.zip"
    with ZipFile(archive) as held:
        taken = [name for name in held.namelist() if name.endswith("07.jpg")][:3]
    cuts = dict(zip(taken, (slice(0, 300), slice(0, 0), slice(300, None)), strict=True))
    rewrite(archive, lambda name, content: content[cuts[name]] if name in cuts else content)
    said = call("data", "verify", SMALL, "--data-root", photographs)
    assert said.code == 3
    assert [line.split()[0] for line in said.out.splitlines() if ".jpg (" in line] == taken
    assert_refused(call("data", "get", SMALL, "--data-root", photographs), 3, "3 of 900 images", taken[0])


def test_an_archive_that_was_cut_is_named(photographs: Path, cache: Path) -> None:
    """Exit 3 of every command that reads it; no half-made cache."""
    archive = photographs / "mini-imagenet" / "images.zip"
    archive.write_bytes(archive.read_bytes()[:5000])
    for command in (["get", SMALL], ["verify", SMALL], ["preview", SMALL]):
        assert_refused(call("data", *command, "--data-root", photographs), 3, archive, "damaged")
    assert_refused(call("data", "import", SMALL, photographs), 3, archive, "damaged")
    assert not list(cache.glob("small_archive*"))


def test_preview_writes_a_picture_of_the_first_episodes(root: Path, tmp_path: Path) -> None:
    """Its path on stdout; in JSON the classes of each episode too, which are those of the stream."""
    arguments = ("data", "preview", REFERENCE, "--data-root", root, "--ways", 3, "--queries", 2, "--episodes", 2)
    assert finished(*arguments).out == "squares-Squares-train.png\n"
    told = json.loads(finished(*arguments, "--out", tmp_path / "new" / "a.png", "--json").out)
    assert told["path"] == str(tmp_path / "new" / "a.png")
    with Image.open("squares-Squares-train.png") as one, Image.open(told["path"]) as other:
        assert one.format == "PNG"
        assert np.array_equal(np.asarray(one), np.asarray(other))
    from fewshot_bench.data.prepare import prepare

    bank = prepare("squares:Squares", squares.Squares({}, root)).bank("train")
    stream = EpisodeSampler(bank, 3, 1, 2, seed=0).block(0, 2)
    for classes, ids, labels in zip(told["classes"], stream.support, stream.support_y, strict=True):
        assert classes == [bank.class_names[image // IMAGES] for image in ids[np.argsort(labels)]]


PREVIEWS = {
    "split": (["--split", "tset"], 2, "'tset'", "train, val, test"),
    "ways": (["--ways", "9"], 2, "9 ways", "at most --ways 3"),
    "images": (["--ways", "2", "--shots", "4"], 2, "4 shots and 3 queries", "has 5"),
    "no number": (["--shots", "few"], 2, "'few'", "preview --help"),
    "no ways": (["--ways", "0"], 2, "--ways", "0"),
    "no shots": (["--shots", "0"], 2, "--shots", "0"),
    "no queries": (["--queries", "-1"], 2, "--queries", "-1"),
    "no episodes": (["--episodes", "0"], 2, "--episodes", "0"),
    "seed": (["--seed", "-1"], 2, "--seed", "-1"),
    "too large": (["--episodes", "1000000"], 2, "pixels", "--episodes"),
    "no PNG": (["--out", "a.jpg"], 2, "a.jpg", ".png"),
    "no folder": (["--ways", "3", "--queries", "2", "--out", "/dev/null/a.png"], 1, "/dev/null/a.png", "Cannot write"),
}


@pytest.mark.parametrize("name", PREVIEWS)
def test_a_preview_that_cannot_be_is_refused(name: str, root: Path) -> None:
    """No picture is left."""
    arguments, code, *words = PREVIEWS[name]
    assert_refused(call("data", "preview", REFERENCE, "--data-root", root, *arguments), code, *words)
    assert list(Path().iterdir()) == []


def test_functions_have_no_preview() -> None:
    """Exit 2."""
    assert_refused(call("data", "preview", "sinusoid"), 2, "sinusoid", "no images")


def test_a_character_of_no_font_is_said(root: Path, tmp_path: Path) -> None:
    """On stderr; the picture is written."""
    source = Path(squares.__file__).read_text().replace('("a", "b", "c")', '("\U00012000", "b", "c")')
    (tmp_path / "odd.py").write_text(source)
    squares.file(root, "a", 0).parent.rename(root / "squares" / "\U00012000")
    arguments = ("--data-root", root, "--ways", 3, "--queries", 2)
    said = finished("data", "preview", f"{tmp_path / 'odd.py'}:Squares", *arguments)
    assert "No font on this machine has \U00012000" in said.err
    assert said.out == "odd-Squares-train.png\n"


def test_a_cache_that_cannot_be_written_is_refused(root: Path, cache: Path) -> None:
    """Exit 1 with its path; verification, which writes nothing, does without."""
    cache.write_text("mine")
    for command in (["get", REFERENCE, "--data-root", root], ["import", REFERENCE, root], ["preview", "glyphs"]):
        assert_refused(call("data", *command), 1, cache, "FSBENCH_CACHE")
    finished("data", "verify", REFERENCE, "--data-root", root)
    finished("data", "list")
    assert cache.read_text() == "mine"


def test_an_import_that_cannot_be_kept_is_refused(root: Path, cache: Path) -> None:
    """Exit 1: what was prepared is there, and would not be found without a data root."""
    cache.mkdir()
    (cache / "imports").write_text("mine")
    assert_refused(call("data", "import", REFERENCE, root), 1, cache / "imports", "Cannot write")


@pytest.mark.skipif(not DATA, reason="FSBENCH_DATA is not set")
def test_the_real_data_sets_are_here() -> None:
    """As the list says it of the data root of this machine, in an empty cache."""
    rows = {row["name"]: row["state"] for row in json.loads(finished("data", "list", "--data-root", DATA, "--json").out)}
    assert rows["omniglot"] == rows["cifar-fs"] == "here"
