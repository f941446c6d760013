"""What the catalogue says of each data set, and that one that fails hides no other."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import squares
from command_line import environment

from fewshot_bench.data import catalogue
from fewshot_bench.data.catalogue import Entry, entries, list_table, markdown, standing
from fewshot_bench.data.dataset import Dataset, data_root
from fewshot_bench.data.functions import FunctionFamily
from fewshot_bench.data.imports import Import, remember
from fewshot_bench.data.prepare import prepare
from fewshot_bench.errors import DataError
from fewshot_bench.plugins import registry
from fewshot_bench.plugins.registry import Plugin

README = Path(__file__).parents[2] / "datasets" / "README.md"
OURS = {name: plugin for name, plugin in registry.registered("datasets").items() if "fewshot-bench " in plugin.distribution}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("FSBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def plugin_of(name: str, source: str = "", card: str | None = None, folder: Path | None = None) -> Plugin:
    """A plugin as if it were registered: of `squares`, or with a module and a card of its own in a folder."""
    if folder is None:
        return Plugin(name, "datasets", f"{squares.__file__}:{name}", "somebody 1.0")
    (folder / f"{name}.py").write_text(source)
    path = folder / f"{name}.yaml"
    if card is not None:
        path.write_text(card)
    return Plugin(name, "datasets", f"{folder / name}.py:Plugin", "somebody 1.0", path if card is not None else None)


def registered(monkeypatch: pytest.MonkeyPatch, *found: Plugin) -> None:
    """Let these be all the data sets that are installed."""
    monkeypatch.setattr(registry, "registered", lambda group: {plugin.name: plugin for plugin in found})


def state(name: str, root: Path | None) -> tuple[str, str]:
    """The state of a data set of `squares`."""
    dataset: type[Dataset] = getattr(squares, name)
    return standing(plugin_of(name), dataset({}, root))


def test_files_below_the_data_root_are_here_until_they_are_prepared(tmp_path: Path) -> None:
    """And then ready, even when they are gone."""
    root = squares.write(tmp_path)
    assert state("Squares", root) == ("here", str(root / "squares"))
    prepare("Squares", squares.Squares({}, root))
    assert state("Squares", root) == state("Squares", None) == ("ready", "")


def test_an_import_that_is_still_there_is_here(tmp_path: Path) -> None:
    """One that is gone is not."""
    root = squares.write(tmp_path)
    remember("squares", Import(root / "squares", "", ""))
    assert state("Squares", None) == ("here", str(root / "squares"))
    (root / "squares").rename(root / "gone")
    assert state("Squares", None)[0] == "to import"


def test_what_is_nowhere_is_to_be_downloaded_or_imported(tmp_path: Path) -> None:
    """With the command; an empty data root is nowhere."""
    assert state("Fetched", tmp_path) == ("to download", "fsbench data get Fetched")
    assert state("Squares", tmp_path) == ("to import", "fsbench data import Squares PATH")


GLYPHS = "from fewshot_datasets.glyphs.glyphs import Glyphs as Plugin"
BROKEN = {
    "an import that fails": ("import nothing_of_this_name", None, "nothing_of_this_name"),
    "a constructor that fails": (
        "from squares import Squares\nclass Plugin(Squares):\n    def __init__(self, *given): raise KeyError('lost')",
        None,
        "KeyError: 'lost'",
    ),
    "a card that is no mapping": (GLYPHS, "- 1", "must hold a mapping"),
    "damaged files": (
        "from squares import *\nclass Plugin(Squares):\n    def found(self): raise DataError('images.zip is cut')",
        "title: Cut",
        "images.zip is cut",
    ),
    "another kind of class": ("class Plugin: ...", None, "is not a Dataset"),
    "a module that is missing": (GLYPHS, "needs: {module: nothing_of_this_name, install: pip}", "nothing_of_this_name"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_one_that_fails_is_named_with_its_reason_and_hides_no_other(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it raises, in the list and in the table of cards."""
    source, card, reason = BROKEN[name]
    registered(monkeypatch, plugin_of("broken", source, card, tmp_path), plugin_of("Squares"))
    broken, whole = entries(None)
    assert (broken.state, whole.state) == ("broken", "to import")
    assert reason in broken.note
    text = list_table([broken, whole]).text()
    assert reason.split()[-1] in text
    assert "Squares" in text
    assert len(markdown(registry.registered("datasets").values()).splitlines()) == 4


CARDS = {
    "none": None,
    "a title alone": "title: A guess",
    "texts in place of numbers": "{classes: many, splits: by hand, shape: any, images: [1], license: 3}",
    "null": "{classes: null, splits: null, shape: null, images: null, get: null}",
}


@pytest.mark.parametrize("name", CARDS)
def test_a_card_need_not_say_anything(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A third party's data set without a card, or with a short or odd one, has its line and its row."""
    registered(monkeypatch, plugin_of("guess", GLYPHS, CARDS[name], tmp_path))
    (entry,) = entries(None)
    assert (entry.state, entry.note) == ("built in", "")
    assert re.search(r"^guess +built in", list_table([entry]).text(), re.MULTILINE)
    assert markdown([entry.plugin]).splitlines()[-1].startswith("| `guess` | ")
    assert entry.json()["name"] == "guess"


def test_a_form_for_a_users_own_images_is_not_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its card counts no classes and says how to give them; a data root of other data sets is not read for it."""
    source = "class Plugin:\n    def __init__(self): raise AssertionError"
    registered(monkeypatch, plugin_of("folder", source, 'classes: yours\nget: "`--data-root photos/`"', tmp_path))
    (entry,) = entries(tmp_path)
    assert (entry.state, entry.note) == ("your own", "--data-root photos/")


def test_all_that_are_installed_are_listed_in_80_columns() -> None:
    """Each with its state, whatever the data root of this machine holds."""
    found = entries(data_root(None))
    assert [entry.plugin.name for entry in found] == sorted(registry.registered("datasets"))
    assert {entry.state for entry in found} <= set(catalogue.STATES) - {"broken"}, [entry.note for entry in found]
    text = list_table(found).text()
    assert max(map(len, text.splitlines())) <= 80
    for entry in found:
        assert re.search(rf"^{re.escape(entry.plugin.name)} +{entry.state} ", text, re.MULTILINE)


def test_glyphs_is_built_in_and_functions_are() -> None:
    """Neither needs a file."""
    states = {entry.plugin.name: entry.state for entry in entries(None)}
    assert states["glyphs"] == states["sinusoid"] == "built in"


LIST = "import sys; from fewshot_bench.cli.main import _main; _main(['data', 'list']); print(*sys.modules)"


def test_a_list_imports_no_torch(cache: Path) -> None:
    """A process of its own says which modules it holds at its end."""
    command = [sys.executable, "-c", LIST]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(FSBENCH_CACHE=str(cache)), timeout=60)
    assert done.returncode == 0, done.stderr
    held = set(done.stdout.splitlines()[-1].split())
    assert "fewshot_datasets.glyphs.glyphs" in held
    assert sorted(held & {"torch", "pandas", "pyarrow", "scipy", "sklearn"}) == []


def test_the_readme_holds_the_table_that_the_cards_make() -> None:
    """Made by `fsbench data list --markdown`."""
    assert markdown(OURS.values()) in README.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", OURS)
def test_a_row_says_what_the_card_says(name: str) -> None:
    """Classes by split, images and size, with thousands apart; what there is none of is a dash."""
    card = OURS[name].card()
    row = markdown([OURS[name]]).splitlines()[-1]
    cells = [cell.strip() for cell in row.strip("|").split(" | ")]
    assert cells[0] == f"`{name}`"
    if card.get("kind") == "regression":
        assert cells[1:4] == ["–", "–", "–"]
        return
    if isinstance(card["classes"], int):
        counts = [int(count.replace(",", "")) for count in cells[1].split(" / ")]
        assert (len(counts), sum(counts)) == (3, card["classes"])
        images = card["images"] if "images" in card else card["classes"] * card["images_per_class"]
        assert cells[2] == (f"{images:,}" if isinstance(images, int) else images)
        assert cells[3] == "{}×{}×{}".format(*card["shape"])
    assert cells[5] == card["license"]


def test_a_cell_neither_ends_a_row_nor_begins_another(tmp_path: Path) -> None:
    """Bars and line breaks in a card's text."""
    card = 'license: |\n  a | b\n  c\nget: "`x|y`"'
    row = markdown([plugin_of("guess", GLYPHS, card, tmp_path)]).splitlines()[2:]
    assert row == [r"| `guess` | – | – | – | – | a \| b c | `x\|y` |"]


@pytest.mark.parametrize("name", OURS)
def test_the_card_names_the_command_that_downloads_it_where_there_is_one(name: str) -> None:
    """`fsbench data get` fetches those, and no others."""
    loaded = OURS[name].load()
    able = not issubclass(loaded, FunctionFamily) and loaded.download is not Dataset.download
    assert (f"`fsbench data get {name}`" in OURS[name].card().get("get", "")) == able


def test_an_entry_is_told_in_json_with_its_card() -> None:
    """So that a program needs no table."""
    plugin = replace(plugin_of("Squares"), card_path=None)
    told = Entry(plugin, {"title": "T", "splits": {"train": 3}}, "here", "/data").json()
    assert (told["name"], told["distribution"], told["state"], told["note"]) == ("Squares", "somebody 1.0", "here", "/data")
    assert (told["title"], told["splits"], told["license"]) == ("T", {"train": 3}, None)


def test_files_that_are_there_but_damaged_are_no_reason_to_download() -> None:
    """The error goes on."""

    class Damaged(squares.Fetched):
        """Its identity needs its files."""

        def identity(self) -> str:
            """Never."""
            raise DataError("images.zip is cut")

        def found(self) -> Path:
            """Where they lie."""
            return Path("images.zip")

    with pytest.raises(DataError, match="is cut"):
        standing(plugin_of("Squares"), Damaged())
