"""`fsbench list` and `fsbench show`."""

import json
import shlex
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fewshot_bench.cli.options import Json, Out
from fewshot_bench.cli.paths import is_folder
from fewshot_bench.errors import FewshotError, UsageError, unknown
from fewshot_bench.plugins import registry
from fewshot_bench.plugins.meanings import meanings
from fewshot_bench.text.durations import duration
from fewshot_bench.text.printable import cleaned, printable

if TYPE_CHECKING:
    from fewshot_bench.results.records import Record

list_app = typer.Typer(help="List methods, data sets, backbones or runs.", no_args_is_help=True)

HYPER = "hyper-parameters"

Check = Annotated[bool, typer.Option("--check", help="Import each, try out methods, and say which fail.")]


@list_app.command()
def methods(check: Check = False, as_json: Json = False) -> int:
    """List the methods that are installed."""
    return _list("methods", check, as_json)


@list_app.command()
def datasets(check: Check = False, as_json: Json = False) -> int:
    """List the data sets that are installed."""
    return _list("datasets", check, as_json)


@list_app.command()
def backbones(as_json: Json = False) -> int:
    """List the backbones that are installed, with their options and features."""
    rows = [_backbone(plugin) for plugin in registry.registered("backbones").values()]
    _print_rows(rows, as_json)
    return 1 if any("error" in row for row in rows) else 0


@list_app.command()
def runs(out: Out = Path("runs"), as_json: Json = False) -> int:
    """List the runs below a folder: their results, how far those are that are not finished, their age and size."""
    if not is_folder(out):
        print(json.dumps([]) if as_json else f"No runs in {out}.")
        return 0
    from fewshot_bench.cli.watch import row_of
    from fewshot_bench.results.pooling import conflicts_of
    from fewshot_bench.results.record_folders import Reading
    from fewshot_bench.runs.standings import standings

    found = standings(out)
    records = [one.record for one in found if one.record is not None]
    reading = Reading(records, [one.reason for one in found if one.state == "damaged"])
    conflicts = conflicts_of(records)
    disputed = {(run.record.folder, run.result["id"]) for conflict in conflicts for run in conflict.runs}
    rows: list[dict[str, Any]] = []
    for one in found:
        row = row_of(one)
        if one.record is not None:
            row["seed"] = one.record.content["train"]["seed"]
            results = one.record.results
            row["results"] = [_result_text(one.record, r, disputed=(one.folder, r["id"]) in disputed) for r in results]
        rows.append(row)
    if as_json:
        print(json.dumps(rows, indent=1))
    elif not rows:
        print(f"No runs in {out}.")
    for row in rows if not as_json else []:
        print("\n  ".join([_run_text(row), *row.get("results", [])]))
    reading.end(conflicts)
    return 0


def _run_text(row: dict[str, Any]) -> str:
    """A run in one line: its name, its seed or how far it is, its age and size."""
    if row["state"] == "finished":
        how = f"seed {row['seed']}"
    elif row["state"] == "damaged":
        how = "damaged"
    else:
        of = f" of {row['updates']:,}" if row["updates"] is not None else ""
        how = f"{row['state']} at update {row['update']:,}{of}"
    return f"{row['run']}  {how}  {duration(row['age_s'])} old, {row['bytes'] / 1024:,.0f} KiB"


def show(
    name: Annotated[str, typer.Argument(help="A method, a data set, or a run.")],
    recipe: Annotated[str | None, typer.Option(help="Show this recipe of a method in full.")] = None,
    out: Out = Path("runs"),
    as_json: Json = False,
) -> int:
    """Show a method, a data set or a run: what it is, what it declares, its recipes or results."""
    is_dataset = _is_dataset(name)
    is_method = not is_dataset and (registry.is_uninstalled(name) or name in registry.registered("methods"))
    if recipe is not None:
        if not is_method:
            raise UsageError(f"Only methods have recipes; {name!r} is not a method.")
        content = _one_recipe(registry.find("methods", name), recipe)
    elif is_method and (missing := registry.find("methods", name).missing()):
        content = _about(registry.find("methods", name)) | {"missing": missing}
    elif is_dataset:
        content = _about(registry.find("datasets", name))
    elif is_method:
        content = _about_method(registry.find("methods", name), whole=as_json)
    else:
        content = _about_run(name, out, whole=as_json)
    print(json.dumps(content, indent=1) if as_json else _as_text(content))
    if not as_json and recipe is None and content.get("recipes"):
        print(f"# A recipe, whole: fsbench show {shlex.quote(name)} --recipe NAME")
    return 0


def _is_dataset(name: str) -> bool:
    """Whether a name is that of a data set; what is not installed is imported to find out."""
    if not registry.is_uninstalled(name):
        return name in registry.registered("datasets") and name not in registry.registered("methods")
    try:
        registry.find("datasets", name).load()
    except FewshotError:
        return False
    return True


def _as_text(content: dict[str, Any]) -> str:
    """YAML, in which what each hyper-parameter means and which values it takes is a comment behind it."""
    means, kinds = content.get("meanings", {}), content.get("types", {})
    block = _as_yaml({HYPER: content.get(HYPER, {})}).splitlines()
    width = max(map(len, block)) + 2

    def explained(line: str) -> str:
        name = line.split(":")[0].strip()
        comment = " ".join([*([means[name]] if name in means else []), *([f"({kinds[name]})"] if name in kinds else [])])
        return f"{line:<{width}}# {comment}" if comment else line

    text = _as_yaml({key: value for key, value in content.items() if key not in ("meanings", "types")})
    return text.replace("\n".join(block), "\n".join(map(explained, block)))


def _as_yaml(content: Any) -> str:
    """YAML that repeats in place of pointing back."""
    import yaml

    class Plain(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

    return yaml.dump(content, Dumper=Plain, sort_keys=False, width=78, allow_unicode=True).rstrip()


def _list(group: registry.Group, check: bool, as_json: bool) -> int:
    rows: list[dict[str, Any]] = []
    for plugin in registry.registered(group).values():
        row: dict[str, Any] = {"name": plugin.name, "distribution": plugin.distribution}
        try:
            row["title"] = plugin.card().get("title", "")
            if missing := plugin.missing():
                row["missing"] = missing
            elif check:
                from fewshot_bench.audit.trial import try_out  # slow to import

                if untried := try_out(plugin):
                    row["untried"] = untried
        except FewshotError as error:
            row["error"] = str(error)
        rows.append(row)
    _print_rows(rows, as_json)
    return 1 if any("error" in row for row in rows) else 0


def _backbone(plugin: registry.Plugin) -> dict[str, Any]:
    """A backbone, which is built for what it says of itself; or why it cannot be."""
    row: dict[str, Any] = {"name": plugin.name, "distribution": plugin.distribution}
    try:
        from fewshot_bench.cli.backbone_rows import backbone_row  # slow to import

        return row | backbone_row(plugin.card().get("title", ""), plugin.load())
    except FewshotError as error:
        return row | {"error": str(error)}


def _print_rows(rows: list[dict[str, Any]], as_json: bool) -> None:
    """A line for each row; below it, indented, what is missing, what is wrong, and what a backbone can do."""
    if as_json:
        print(json.dumps(rows, indent=1, default=str))
        return
    width = max((len(row["name"]) for row in rows), default=0) + 2
    for row in rows:
        print(f"{row['name']:<{width}}{row.get('title') or row['distribution']}")
        for line in (row[key] for key in ("missing", "untried", "error") if key in row):
            print(f"{'':<{width}}{line}")
        if "features" in row:
            from fewshot_bench.cli.backbone_rows import backbone_lines

            for line in backbone_lines(row):
                print(f"{'':<{width}}{line}")


def _result_text(record: "Record", result: dict[str, Any], *, disputed: bool) -> str:
    """The mean of its episodes' scores, and of what; none where another record says another."""
    from fewshot_bench.episodes.size import EpisodeSize
    from fewshot_bench.metrics import METRICS

    test, metric = result["test"], METRICS[result["metric"]]
    number = metric.text(float(record.scores(result["id"]).mean()))
    size = f"{test['shots']} points" if metric.kind == "regression" else EpisodeSize.of(test).text
    return printable(f"{'not counted' if disputed else number} {test['dataset']} {test['protocol']} {size}")


def _about(plugin: registry.Plugin) -> dict[str, Any]:
    card = {key: value for key, value in plugin.card().items() if key != "recipes"}
    return {"name": plugin.name, "from": plugin.distribution, "code": plugin.reference, **card}


def _one_recipe(plugin: registry.Plugin, name: str) -> dict[str, Any]:
    recipes = plugin.card().get("recipes", {})
    if name not in recipes:
        raise unknown(f"recipe of {plugin.name}", name, recipes, see=f"fsbench show {plugin.said}")
    return {"name": plugin.name, "recipe": name, "entries": recipes[name]}


def _about_method(plugin: registry.Plugin, *, whole: bool) -> dict[str, Any]:
    """What a method is; its recipes `whole`, or what each is for."""
    from fewshot_bench.plugins.hparam_types import described, types_of  # slow to import
    from fewshot_bench.recipes import describe_for

    method = plugin.load()
    defaults = {f.name: None if f.default is MISSING else f.default for f in fields(method.Hparams)}
    declares = {
        "trained": method.trained,
        "trains on": method.trains_on if method.trained else "nothing",
        "transductive": method.transductive,
        "fixed ways": method.fixed_ways,
        "fixed support": method.fixed_support,
        "balanced support": method.balanced_support,
        "way-equivariant": method.way_equivariant,
        "support-order-invariant": method.support_order_invariant,
        "kinds": sorted(method.kinds),
        "normalisation": sorted(method.modes),
    }
    recipes = plugin.card().get("recipes", {})
    if not whole:
        recipes = {name: [describe_for(entry) for entry in entries] for name, entries in recipes.items()}
    kinds = {name: described(hint) for name, hint in types_of(method.Hparams).items()}
    explained = {"meanings": meanings(method.Hparams), "types": kinds}
    return _about(plugin) | {"declares": declares, HYPER: defaults, **explained, "recipes": recipes}


SEE = "fsbench list methods, fsbench list datasets, fsbench list runs"


def _about_run(name: str, out: Path, *, whole: bool) -> dict[str, Any]:
    """What a record holds; before it, unless it is the `whole` record as such, that the training was cut short."""
    from fewshot_bench.cli.test import Unfinished, find_run
    from fewshot_bench.results.recipe_share import recipe_share, recipe_text
    from fewshot_bench.results.records import load_record

    try:
        content: dict[str, Any] = cleaned(load_record(find_run(name, out)).content)
        return content if whole or recipe_share(content) is None else {"recipe": recipe_text(content)} | content
    except Unfinished:
        raise
    except UsageError:
        valid = [*registry.registered("methods"), *registry.registered("datasets")]
        raise unknown(f"method, data set or run (in {out})", name, valid, see=SEE) from None
