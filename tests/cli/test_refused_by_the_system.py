"""Paths that the system refuses to look at: `exists` itself raises there. One line with the path, the right exit code."""

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import PIXELS, assert_refused, call, environment

import fewshot_bench
from fewshot_bench.errors import DataError, FewshotError, of_system, system_errors

LONG = "x" * 300
READ: dict[str, tuple[str, ...]] = {
    "table": ("table", LONG),
    "list runs": ("list", "runs", "--out", LONG),
    "show": ("show", LONG),
    "test": ("test", LONG),
    "a data root": (*PIXELS, "--dataset", "folder", "--data-root", LONG),
    "a list of data": ("data", "list", "--data-root", LONG),
    "an import": ("data", "import", "mini-imagenet", LONG),
    "a method": ("run", "--method", f"{LONG}.py:Method"),
    "a data set": (*PIXELS, "--dataset", f"{LONG}.py:Data"),
    "a recipe": ("run", "--method", "maml", "--recipe", f"{LONG}.yaml"),
    "a page": ("leaderboard", "build", LONG),
}
WRITTEN: dict[str, tuple[str, ...]] = {
    "a run": (*PIXELS, "--out", LONG),
    "a picture": ("data", "preview", "glyphs", "--out", f"{LONG}.png"),
}
FUNCTIONS = (
    *("run", "--method", "maml", "--dataset", "sinusoid", "--protocol", "custom"),
    *("--episodes", "4", "--queries", "5", "--set", "updates=2"),
)
EACH = """
import json, sys
from command_line import call
said = [call(*command) for command in json.loads(sys.argv[1])]
print(json.dumps([[one.code, one.out, one.err] for one in said]))
"""
AS_ROOT = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if os.name == "posix" and os.geteuid() == 0 else []
"""Takes from root what lets it enter every folder."""


@pytest.mark.parametrize("name", READ)
def test_a_name_that_is_too_long_to_be_looked_at_is_refused(name: str) -> None:
    """Exit 3 (2 for a recipe or a plugin's file, which is no data)."""
    said = call(*READ[name])
    assert_refused(said, said.code, "x" * 50, "File name too long")
    assert said.code in (2, 3)


@pytest.mark.parametrize("name", WRITTEN)
def test_a_name_that_is_too_long_to_be_written_is_refused(name: str) -> None:
    """Exit 1."""
    assert_refused(call(*WRITTEN[name]), 1, "Cannot write", LONG, "File name too long")


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Path]:
    """A folder that nobody may enter."""
    folder = tmp_path / "closed"
    folder.mkdir(mode=0)
    yield folder
    folder.chmod(0o700)


@pytest.mark.skipif(bool(AS_ROOT) and not shutil.which("setpriv"), reason="root enters every folder")
def test_a_folder_that_may_not_be_entered_is_refused(closed: Path, tmp_path: Path) -> None:
    """As in a container with another user and the home of root: the path, the reason, what mends it; nothing that needs no
    such folder fails."""
    own = tmp_path / "own"
    own.mkdir()
    asked: dict[str, tuple[list[str], int, str]] = {
        "table": (["table", f"{closed}/runs"], 3, f"Cannot read {closed}/runs: Permission denied"),
        "test": (["test", f"{closed}/run"], 3, f"Cannot read {closed}/run"),
        "data": ([*PIXELS, "--dataset", "folder", "--data-root", f"{closed}/photos"], 3, f"Cannot read {closed}/photos"),
        "out": ([*PIXELS, "--out", f"{closed}/runs"], 1, f"Cannot write {closed}/runs/"),
        "cache": ([*PIXELS, "--out", f"{own}/runs"], 1, "Set FSBENCH_CACHE"),
        "verify": (["data", "verify", "glyphs"], 3, "Set FSBENCH_CACHE"),
        "no cache needed": (["data", "list"], 0, ""),
        "none either": (
            [*FUNCTIONS, "--out", f"{own}/runs"],
            0,
            "kernels cannot be had",
        ),
    }
    variables = environment(
        FSBENCH_CACHE=f"{closed}/cache", PYTHONPATH=str(Path(__file__).parents[1] / "support"), HOME=str(closed)
    )
    command = [*AS_ROOT, sys.executable, "-c", EACH, json.dumps([words for words, _, _ in asked.values()])]
    done = subprocess.run(command, capture_output=True, text=True, env=variables, cwd=own, check=False)
    assert done.returncode == 0, done.stderr
    for (name, (_, code, words)), (got, _, err) in zip(asked.items(), json.loads(done.stdout), strict=True):
        assert (name, got) == (name, code), err
        assert words in err, name
        assert "Traceback" not in err


@pytest.mark.parametrize(
    ("number", "kind", "code"),
    [
        (errno.ENOSPC, FewshotError, 1),
        (errno.EROFS, FewshotError, 1),
        (errno.EACCES, DataError, 3),
        (errno.ENAMETOOLONG, DataError, 3),
        (errno.ELOOP, DataError, 3),
        (errno.EIO, DataError, 3),
        (errno.ESTALE, DataError, 3),
    ],
)
def test_an_error_of_the_system_becomes_one_of_ours(number: int, kind: type[FewshotError], code: int) -> None:
    """One line: the path, and what the system says."""
    with pytest.raises(FewshotError) as caught, system_errors():
        raise OSError(number, os.strerror(number), "a/path")
    assert type(caught.value) is kind
    assert caught.value.exit_code == code
    assert f"a/path: {os.strerror(number)}." in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError("odd\nand long"), "odd and long"),
        (OSError(), "OSError"),
        (OSError(5, "broken", b"one", None, "other"), "one and other: broken"),
        (OSError(5, "broken", 7), "a file: broken"),
    ],
)
def test_any_error_of_the_system_has_words(error: OSError, words: str) -> None:
    """Also where it says next to nothing."""
    assert words in str(of_system(error))


def test_in_python_too_an_error_of_the_system_is_one_of_ours(tmp_path: Path) -> None:
    """Records and runs at a path that cannot be looked at."""
    with pytest.raises(DataError, match="File name too long"):
        fewshot_bench.find_records([Path(LONG)])
    with pytest.raises(DataError, match="File name too long"):
        fewshot_bench.load_record(Path(LONG))
    with pytest.raises(FewshotError, match="File name too long"):
        fewshot_bench.run("nearest-centroid", out=tmp_path / LONG)
    with pytest.raises(FewshotError, match="File name too long"):
        fewshot_bench.run("nearest-centroid", dataset="folder", data_root=tmp_path / LONG)
