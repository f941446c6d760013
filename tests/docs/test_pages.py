"""Every code block of README and docs is run, page by page, in the order in which a reader meets them.

What a page shows as it takes minutes is made small here, in one place: `doc_blocks.tiny` says how.
"""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import call
from command_line_help import COMMANDS, END, PAGE, START, help_of_all
from doc_blocks import PAGES, ROOT, Block, Reader, blocks_of, reading_in, tiny
from picture_files import encoded, noise, write
from tiny import blobs, tasks_of

from fewshot_bench import Tasks, find_records
from fewshot_bench.cli.data import data_app
from fewshot_bench.cli.listing import list_app

MOST_NOT_RUN = 10
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]
ANIMALS = ("ant", "bee", "cat", "dog", "elk", "fox", "gnu", "hen", "ibis", "jay", "koi", "lynx", "mole", "newt", "owl")


def photos(folder: Path) -> None:
    """Fifteen classes of twenty small images each."""
    names = [f"photos/{animal}/{i}.png" for animal in ANIMALS for i in range(1, 21)]
    write(folder, {name: encoded(noise(seed)) for seed, name in enumerate(names)})


def a_record_of_the_installed_plugin(reader: Reader) -> None:
    """The page's own package made a record under its title, of its card's recipe, of the distribution that pip installed."""
    records = [record.content for record in find_records(["runs"])]
    assert {"Cosine prototypes", "learned_rates:LearnedRates"} <= {
        one["method"].get("title") or one["method"]["name"] for one in records
    }
    [installed] = [one for one in records if one["method"]["plugin"] == "cosine-prototypes 1.0"]
    assert installed["train"]["ways"] == 20
    assert installed["training"]["updates"] == 2
    assert 0.2 < installed["results"][0]["mean"] <= 1
    assert "Cosine prototypes" in reader.printed("fsbench list methods")
    assert "Cosine prototypes" in reader.printed("fsbench show cosine-prototypes")


def the_leaky_method_is_refused(reader: Reader) -> None:
    """The block that the page leaves out fails, as the page says."""
    said = call(*tiny(["run", "--method", "leaky.py:Leaky"]))
    assert said.code == 1
    assert "quer" in said.complaint


def the_draws_of_a_task_are_its_own(reader: Reader) -> None:
    """The example draws alike for a task alone and among others, and otherwise for each."""
    draws: Callable[[Tasks], Any] = reader.names["draws"]
    tasks = tasks_of(blobs())
    for together, alone in zip(draws(tasks), draws(tasks.some(slice(2, 3))), strict=True):
        assert together.shape[2] == 8
        assert torch.equal(together[2:3], alone)
        assert not torch.equal(together[1:2], alone)


def the_split_decides(reader: Reader) -> None:
    """The page's split file is that of the last run on the whole folder."""
    records = [record for record in find_records(["runs"]) if record.content["train"]["dataset"] == "folder"]
    assert any((record.folder / "split.csv").read_text().count("koi,test") for record in records)


BEFORE: dict[str, Callable[[Path], None]] = {"docs/how-to/own-images.md": photos}
"""What a reader of a page has already."""
AFTER: dict[str, Callable[[Reader], None]] = {
    "docs/how-to/own-images.md": the_split_decides,
    "docs/how-to/own-method.md": a_record_of_the_installed_plugin,
    "docs/reference/tasks.md": the_draws_of_a_task_are_its_own,
    "docs/tutorial.md": the_leaky_method_is_refused,
}
"""What must hold when a page's blocks have run."""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache of prepared data for all pages."""
    folder: Path = tmp_path_factory.mktemp("cache")
    return folder


@pytest.fixture
def reader(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    """A reader with an empty folder, and no data but what comes with the package."""
    monkeypatch.setenv("FSBENCH_CACHE", str(cache))
    monkeypatch.delenv("FSBENCH_DATA", raising=False)
    with reading_in(tmp_path) as found:
        yield found


def run_blocks() -> list[Block]:
    """All blocks of all pages."""
    return [block for page in PAGES for block in blocks_of(page)]


@pytest.mark.parametrize("page", [name for name, path in zip(NAMES, PAGES, strict=True) if blocks_of(path)])
def test_the_blocks_of_a_page_run_in_order(page: str, reader: Reader) -> None:
    """Files are written, commands given, Python run; each must end well, and what the page promises must hold."""
    BEFORE.get(page, lambda folder: None)(reader.folder)
    for block in blocks_of(ROOT / page):
        if block.not_run is None:
            reader.follow(block)
    AFTER.get(page, lambda reader: None)(reader)


def test_few_blocks_are_not_run_and_each_says_why() -> None:
    """Ten at most, and a reason is more than a word."""
    left_out = [block for block in run_blocks() if block.not_run is not None]
    assert len(left_out) <= MOST_NOT_RUN, [str(block) for block in left_out]
    assert all(len(str(block.not_run).split()) > 1 for block in left_out)


def test_no_fence_is_missed() -> None:
    """Each page has as many fences as were read as the two ends of a block, so none is left out by a slip."""
    for path in PAGES:
        fences = re.findall(r"^ *```", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert len(fences) == 2 * len(blocks_of(path)), path


@pytest.mark.parametrize(
    ("shown", "run"),
    [
        ("run --method maml", "run --method maml --protocol custom --episodes 8 --set=updates=2"),
        ("run --method maml --set updates=300 --ways 3", "run --method maml --ways 3 --protocol custom --episodes 8"),
        ("run --method maml --set train.updates=9 --set lr=1", "run --method maml --set lr=1 --protocol custom"),
        ("run --method maml --protocol finn", "run --method maml --protocol finn --dry-run"),
        ("list methods --check", "list methods"),
        ("table runs", "table runs"),
    ],
)
def test_a_long_command_is_made_short(shown: str, run: str) -> None:
    """The command of the page and what is given in its place."""
    assert " ".join(tiny(shown.split())).startswith(run)


def test_every_page_of_the_site_is_in_its_navigation_and_exists() -> None:
    """`zensical.toml` names just the pages that there are."""
    import tomllib

    listed: list[str] = []

    def collect(entries: Any) -> None:
        for entry in entries:
            for value in entry.values():
                collect(value) if isinstance(value, list) else listed.append(value)

    collect(tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]["nav"])
    assert sorted(listed) == sorted(path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md"))


def test_every_public_name_has_its_entry_among_the_api_pages() -> None:
    """Once each, so that a link to it is not ambiguous."""
    import fewshot_bench

    text = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs/reference/api").glob("*.md")))
    assert sorted(re.findall(r"^::: fewshot_bench\.(\w+)$", text, re.MULTILINE)) == sorted(fewshot_bench.__all__)


def test_the_records_page_names_every_key_of_a_record(reader: Reader) -> None:
    """A record that is made now has no key, and no key of a result, that the page does not explain."""
    call("run", "--method", "nearest-centroid", "--protocol", "custom", "--episodes", "8")
    [record] = find_records(["runs"])
    content = json.loads((record.folder / "record.json").read_text())
    text = (ROOT / "docs/reference/records.md").read_text(encoding="utf-8")
    keys = [*content, *content["results"][0]]
    assert [key for key in keys if f"`{key}`" not in text] == []


def test_the_help_of_every_command_stands_in_its_page() -> None:
    """`python tests/support/command_line_help.py` writes it, and no command is left out."""
    text = PAGE.read_text(encoding="utf-8").partition(START)[2].partition(END)[0]
    assert text == help_of_all(), "run: python tests/support/command_line_help.py"
    groups = {"list": list_app, "data": data_app}
    named = {command.split()[1] for command in COMMANDS if command.startswith(tuple(groups))}
    assert named == {
        str(one.name or one.callback.__name__) for app in groups.values() for one in app.registered_commands if one.callback
    }


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "methods/README.md", "datasets/README.md"])
def test_no_link_of_the_repository_leads_nowhere(name: str) -> None:
    """A link to a file of the repository leads to one that is there; those of docs are checked in the site."""
    page = ROOT / name
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []
