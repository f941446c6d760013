"""A queue's worktree moves to newer tags, and never loses what is not its own."""

import subprocess
from pathlib import Path

import pytest

from training_queue.give_way import take_lock
from training_queue.tags import Worktree, root_of

RECORD = "leaderboard/results/maml-omniglot-1/record.json"
KEPT = "leaderboard/queue/maml-omniglot-1.safetensors.xz"


def git(root: Path, *arguments: str) -> str:
    """What git says."""
    who = ("-c", "user.name=A", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false", "-c", "tag.gpgsign=false")
    return subprocess.run(
        ["git", "-C", str(root), *who, *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


def put(root: Path, path: str, text: str) -> None:
    """Write a file."""
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def commit(root: Path, tag: str) -> None:
    """Commit everything under a tag."""
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", tag)
    git(root, "tag", tag)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A worktree at tag `queue-1`, with a newer tag `queue-2` that holds a record, and a run whose record was copied."""
    root = tmp_path / "main"
    root.mkdir()
    git(root, "init", "--quiet")
    put(root, "pyproject.toml", "one")
    put(root, KEPT, "state")
    commit(root, "queue-1")
    git(root, "worktree", "add", "--quiet", "--detach", str(tmp_path / "tree"), "queue-1")
    put(root, RECORD, "record")
    (root / KEPT).unlink()
    commit(root, "queue-2")
    put(tmp_path, "work/maml-omniglot-1/record.json", "record")
    return tmp_path / "tree"


def worktree(tree: Path, installed: list[Path] | None = None) -> Worktree:
    """It, following `queue-*`; installing it writes down where."""
    return Worktree(tree, "queue-*", tree.parent / "work", ([] if installed is None else installed).append)


def test_a_worktree_moves_to_the_newest_tag(tree: Path) -> None:
    """Over its own copies of records and deleted states; it is installed again only where that says something new."""
    put(tree, RECORD, "record")
    (tree / KEPT).unlink()
    installed: list[Path] = []
    mine = worktree(tree, installed)
    mine.check()
    assert mine.newer() == "queue-2"
    mine.move("queue-2")
    assert git(tree, "describe", "--tags") == "queue-2"
    assert git(tree, "status", "--porcelain") == ""
    assert installed == []
    assert mine.newer() is None
    put(tree.parent / "main", "pyproject.toml", "two")
    commit(tree.parent / "main", "queue-3")
    mine.move("queue-3")
    assert installed == [tree]


def test_a_copied_record_that_no_tag_holds_stays(tree: Path) -> None:
    """It was not committed yet."""
    other = RECORD.replace("-1", "-2")
    put(tree, other, "record")
    put(tree.parent, "work/maml-omniglot-2/record.json", "record")
    worktree(tree).move("queue-2")
    assert (tree / other).read_text() == "record"


@pytest.mark.parametrize("path", ["pyproject.toml", "notes.txt", "leaderboard/results/mine/record.json"])
def test_a_worktree_with_other_changes_is_refused(tree: Path, path: str) -> None:
    """They would be lost."""
    put(tree, path, "mine")
    with pytest.raises(SystemExit, match=f"--follow-tag: {path} in .*not committed"):
        worktree(tree).check()
    with pytest.raises(SystemExit):
        worktree(tree).move("queue-2")
    assert (tree / path).read_text() == "mine"


def test_a_tag_that_cannot_be_installed_is_left_again(tree: Path) -> None:
    """The trainings go on with what was there."""
    put(tree.parent / "main", "pyproject.toml", "two")
    commit(tree.parent / "main", "queue-3")

    def fails(root: Path) -> None:
        raise subprocess.CalledProcessError(1, "pip")

    with pytest.raises(SystemExit, match="queue-3 cannot be installed"):
        Worktree(tree, "queue-*", tree.parent / "work", fails).move("queue-3")
    assert git(tree, "describe", "--tags") == "queue-1"


def test_older_tags_and_others_are_not_followed(tree: Path) -> None:
    """Only those of the pattern that the checkout does not hold already."""
    git(tree, "checkout", "--quiet", "--detach", "queue-2")
    git(tree.parent / "main", "tag", "v9", "queue-2")
    assert worktree(tree).newer() is None


def test_a_training_keeps_the_checkout_where_it_is(tree: Path) -> None:
    """Trainings share a lock that moving needs for itself; each worktree has its own."""
    one, two = take_lock(worktree(tree).lock, shared=True), take_lock(worktree(tree).lock, shared=True)
    assert one and two
    assert take_lock(worktree(tree).lock) is None
    other = take_lock(worktree(tree.parent / "main").lock)
    assert other
    for lock in (one, two, other):
        lock.close()


def test_a_folder_outside_any_checkout_is_refused(tmp_path: Path) -> None:
    """There is nothing that could move."""
    with pytest.raises(SystemExit, match="in no git checkout"):
        root_of(tmp_path)
