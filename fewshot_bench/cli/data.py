"""`fsbench data`: which data sets there are, how to get them, whether they are whole, what they look like."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from fewshot_bench.cli.help import Command
from fewshot_bench.cli.numbers import NUMBER
from fewshot_bench.cli.options import DataRoot, Json
from fewshot_bench.cli.paths import PATH
from fewshot_bench.errors import DataError, UsageError
from fewshot_bench.plugins import registry

data_app = typer.Typer(
    help="List, get, import, verify and preview data sets.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Name = Annotated[str, typer.Argument(help="A name of `fsbench data list`, or file.py:Class.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set an option of the data set (repeatable).")
]
Markdown = Annotated[bool, typer.Option("--markdown", help="Print the table of datasets/README.md.")]


@data_app.command("list", cls=Command)
def list_data(data_root: DataRoot = None, markdown: Markdown = False, as_json: Json = False) -> int:
    """List the data sets: which are ready, and how to get the others.

    Example: fsbench data list --data-root DATA
    """
    from fewshot_bench.data import catalogue
    from fewshot_bench.data.dataset import data_root as root_of
    from fewshot_bench.data.dataset import stale_environment

    if markdown and as_json:
        raise UsageError("--markdown and --json are two forms of the list: give one of them.")
    if markdown:
        print(catalogue.markdown(registry.registered("datasets").values()))
        return 0
    stale = stale_environment() if data_root is None else None
    if stale:
        print(f"{stale}: the list shows only what lies elsewhere.", file=sys.stderr)
    entries = catalogue.entries(None if stale else root_of(data_root))
    print(json.dumps([e.json() for e in entries], indent=1) if as_json else catalogue.list_table(entries).text().rstrip())
    return 0


@data_app.command(cls=Command)
def get(name: Name, settings: Settings = None, data_root: DataRoot = None, as_json: Json = False) -> int:
    """Download a data set, if it is not there, and prepare it.

    Example: fsbench data get omniglot
    """
    from fewshot_bench.cli.data_steps import asked_for, prepared, refuse_stale
    from fewshot_bench.cli.data_texts import prepared_json, prepared_text
    from fewshot_bench.data.catalogue import refuse_download, standing
    from fewshot_bench.data.dataset import Dataset

    plugin, dataset = asked_for(name, settings, data_root)
    if not isinstance(dataset, Dataset):
        return _say(f"{plugin.name} is a family of functions: there is nothing to get.", {"name": plugin.name}, as_json)
    state, _ = standing(plugin, dataset)
    if state.startswith("to ") and dataset.folder:
        refuse_stale(data_root)  # the files may be where it should lead
    if state == "to import" and (dataset.folder or dataset.root is None):  # it reports itself what is wrong
        raise refuse_download(plugin)
    downloaded = dataset.download() if state == "to download" else []
    if downloaded:
        dataset = type(dataset)(dataset.options, dataset.root)  # what it knew of its files has changed
    content = prepared_json(plugin.name, dataset, prepared(plugin, dataset)) | {"downloaded": list(map(str, downloaded))}
    return _say(prepared_text(content), content, as_json)


@data_app.command("import", cls=Command)
def import_data(
    name: Name,
    path: Annotated[
        Path | None, typer.Argument(help="The folder or file that you have.", show_default=False, **PATH)
    ] = None,
    forget: Annotated[bool, typer.Option("--forget", help="Forget the import; delete no file.")] = False,
    settings: Settings = None,
    as_json: Json = False,
) -> int:
    """Take a data set from files that you have, and remember where they are.

    The files are checked and prepared. The command says which variant of the
    data set they are, and prints a fingerprint to compare with others'.

    Example: fsbench data import mini-imagenet downloads/mini-imagenet
    """
    from fewshot_bench.cli.data_steps import options, prepared_from
    from fewshot_bench.cli.data_texts import prepared_json, prepared_text
    from fewshot_bench.data.catalogue import how_to_import
    from fewshot_bench.data.choice import load_dataset
    from fewshot_bench.data.dataset import Dataset
    from fewshot_bench.data.imports import Import, find_import, remember
    from fewshot_bench.data.imports import forget as forget_import

    plugin = registry.find("datasets", name)
    loaded = load_dataset(plugin)
    if not issubclass(loaded, Dataset) or not loaded.folder:
        raise UsageError(f"{plugin.name} cannot be imported. How to get it:\n{how_to_import(plugin)}")
    if forget == (path is not None):
        raise UsageError(f"Give a path, or --forget: fsbench data import {plugin.said} PATH")
    if path is None:
        kept = find_import(loaded.folder)
        forget_import(loaded.folder)
        text = f"Forgotten: {plugin.name} from {kept.path}." if kept else f"No import of {plugin.name} was kept."
        return _say(text, {"name": plugin.name, "forgotten": str(kept.path) if kept else None}, as_json)
    if not path.exists():
        raise DataError(f"No such file or folder: {path}.")
    dataset = loaded(options(settings), path)
    made = prepared_from(path, plugin, dataset)
    remember(loaded.folder, Import(path, dataset.variant(), dataset.identity()))
    content = prepared_json(plugin.name, dataset, made) | {"path": str(path.absolute())}
    return _say(prepared_text(content), content, as_json)


@data_app.command(cls=Command)
def verify(name: Name, settings: Settings = None, data_root: DataRoot = None, as_json: Json = False) -> int:
    """Read a data set again: name damaged files and duplicate images.

    The prepared images are compared with their source pixel by pixel. Ends with
    code 3 if anything is damaged; duplicates do not count as damage.

    Example: fsbench data verify cifar-fs
    """
    from fewshot_bench.cli.data_steps import asked_for, refuse_stale, verified
    from fewshot_bench.cli.data_texts import verification_json, verification_text
    from fewshot_bench.data.dataset import Dataset

    plugin, dataset = asked_for(name, settings, data_root)
    if not isinstance(dataset, Dataset) or dataset.on_demand:
        content: dict[str, Any] = {"name": plugin.name, "whole": True, "images": 0}
        return _say(f"{plugin.name} is made when it is asked for: nothing is stored.", content, as_json)
    if dataset.found() is None and type(dataset).download is not Dataset.download:  # reading it would fetch it
        refuse_stale(data_root)
        raise DataError(
            f"The files of {plugin.name} are not here, so the prepared images cannot be compared with them.\n"
            f"Say where they are: --data-root DIR; or fetch them: fsbench data get {plugin.said}"
        )
    found = verified(plugin, dataset)
    _say(verification_text(plugin.name, found), verification_json(plugin.name, found), as_json)
    return 0 if found.whole else DataError.exit_code


@data_app.command(cls=Command)
def preview(
    name: Name,
    split: Annotated[str | None, typer.Option(help="train, val or test.", show_default="the first that it has")] = None,
    ways: Annotated[int, typer.Option(help="Classes in an episode.", **NUMBER)] = 5,
    shots: Annotated[int, typer.Option(help="Support images a class.", **NUMBER)] = 1,
    queries: Annotated[int, typer.Option(help="Queries a class.", **NUMBER)] = 3,
    episodes: Annotated[int, typer.Option(help="How many episodes.", **NUMBER)] = 3,
    seed: Annotated[int, typer.Option(help="Seed of the episodes.", **NUMBER)] = 0,
    out: Annotated[Path | None, typer.Option(help="The PNG.", show_default="NAME-SPLIT.png", **PATH)] = None,
    settings: Settings = None,
    data_root: DataRoot = None,
    as_json: Json = False,
) -> int:
    """Write a PNG of a few episodes: support above queries.

    A class is a column. The episodes are the first that a training or test of
    the same split, ways, shots, queries and seed sees.

    Example: fsbench data preview omniglot --split test --shots 5 --out test.png
    """
    for option, given in (("ways", ways), ("shots", shots), ("queries", queries), ("episodes", episodes)):
        if given < 1:
            raise UsageError(f"--{option} must be a whole number of at least 1, got {given}.")
    if not 0 <= seed < 2**32:
        raise UsageError(f"--seed must be a whole number from 0 to 2^32 - 1, got {seed}.")
    if out is not None and out.suffix.lower() != ".png":
        raise UsageError(f"--out must name a .png, got {str(out)!r}.")
    from fewshot_bench.cli.data_steps import asked_for, prepared
    from fewshot_bench.data.dataset import Dataset

    plugin, dataset = asked_for(name, settings, data_root)
    if not isinstance(dataset, Dataset):
        raise UsageError(f"{plugin.name} is a family of functions: it has no images to preview.")
    from fewshot_bench.data.prepare import own_split_told
    from fewshot_bench.episodes.preview import Layout, lacking, picture, shown_episodes, text_font, write_png
    from fewshot_bench.episodes.sampling import EpisodeSampler

    split = split or dataset.splits[0]
    layout = Layout(dataset.shape, ways, shots, queries, episodes)
    made = prepared(plugin, dataset)
    with own_split_told(made):
        bank = made.bank(split)
        sampler = EpisodeSampler(bank, ways, shots, queries, seed)
    shown = list(shown_episodes(sampler, bank, episodes))
    path = out or Path(f"{plugin.name}-{split}.png".replace(":", "-").replace("/", "-"))
    write_png(picture(f"{plugin.name}, {split}: {ways}-way {shots}-shot, seed {seed}", layout, shown), path)
    names = "".join(name for episode in shown for name in episode.classes)
    if absent := lacking(names, text_font(names)):
        print(f"No font on this machine has {' '.join(sorted(absent)[:20])}: they are drawn as boxes.", file=sys.stderr)
    classes = [list(episode.classes) for episode in shown]
    return _say(str(path), {"name": plugin.name, "split": split, "path": str(path), "classes": classes}, as_json)


def _say(text: str, content: dict[str, Any], as_json: bool) -> int:
    print(json.dumps(content, indent=1) if as_json else text)
    return 0
