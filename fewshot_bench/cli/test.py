"""`fsbench test`."""

import json
import shlex
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fewshot_bench.cli.options import ADVANCED, Json, Out, asks
from fewshot_bench.cli.paths import is_folder
from fewshot_bench.errors import UsageError
from fewshot_bench.request import TestRequest

if TYPE_CHECKING:
    from fewshot_bench.results.records import Record
    from fewshot_bench.runs.shards import Shard, Standing


@asks(TestRequest)
def test(
    asked: TestRequest,
    run: Annotated[str, typer.Argument(help="A run: its folder, its name, or the start of its id.")],
    out: Out = Path("runs"),
    as_json: Json = False,
    on_existing: Annotated[
        str, typer.Option(help="A result that is there: reuse, error or overwrite.", rich_help_panel=ADVANCED)
    ] = "reuse",
) -> int:
    """Test a finished run under other conditions and add the result to its record.

    Example: fsbench test 3f2a9c --protocol standard-transductive

    One part of four: fsbench test 3f2a9c --shots 5 --shard 1/4
    """
    folder = find_run(run, out)
    from fewshot_bench.cli.progress import Bars
    from fewshot_bench.runs.retest import test_run

    if asked.shard is not None:
        if on_existing != "reuse":
            raise UsageError(
                "--on-existing applies only to a whole test: parts of one that exists already are never merged."
            )
        return _test_shard(folder, asked, as_json)
    with Bars(folder.name) as bars:
        record, result = test_run(folder, asked, bars, on_existing)  # type: ignore[arg-type]
    if as_json:
        print(json.dumps({"asked": result["id"], **record.content}, indent=1))
    else:
        print(_summary(record, result, asked))
    return 0


def _test_shard(folder: Path, asked: TestRequest, as_json: bool) -> int:
    from fewshot_bench.cli.progress import Bars
    from fewshot_bench.runs.shards import Shard, test_shard

    shard = Shard.parse(str(asked.shard))
    with Bars(folder.name) as bars:
        standing = test_shard(folder, asked, bars)
    if as_json:
        print(json.dumps(_standing_json(shard, standing), indent=1))
    elif (result := standing.record.find(standing.result_id)) is not None:
        print(_summary(standing.record, result, asked))
    else:
        print(_standing_text(shard, standing))
    return 0


def _summary(record: "Record", result: dict[str, Any], asked: TestRequest) -> str:
    from fewshot_bench.cli.summary import summary
    from fewshot_bench.results.rerun_command import Places

    return summary([(record, result)], Places(asked.data_root, asked.test_data_root))


def _standing_json(shard: "Shard", standing: "Standing") -> dict[str, Any]:
    done = [i for i in range(1, shard.count + 1) if i not in standing.missing]
    about = {"shard": str(shard), "result": standing.result_id, "done": done, "missing": standing.missing}
    return about | {"record": None if standing.missing else standing.record.content}


def _standing_text(shard: "Shard", standing: "Standing") -> str:
    done, parts = shard.count - len(standing.missing), spans(standing.missing)
    return f"{done} of {shard.count} parts are there; missing: {parts}.\nThe last of them merges all into the record."


def spans(numbers: list[int]) -> str:
    """Ascending whole numbers in short: `1, 3-5`."""
    ends = [pair for pair in pairwise(numbers) if pair[1] > pair[0] + 1]
    firsts, lasts = [*numbers[:1], *(b for _, b in ends)], [*(a for a, _ in ends), *numbers[-1:]]
    return ", ".join(f"{a}-{b}" if b > a else f"{a}" for a, b in zip(firsts, lasts, strict=True))


def _is_there(path: Path) -> bool:
    """Whether something is there, a link to nothing too; raises `OSError` where the system does not tell."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    return True


class Unfinished(UsageError):
    """A run that was named has begun and has no record yet."""


def _unfinished(name: str, out: Path) -> Path | None:
    """The folder of an unfinished run of that name, if there is one."""
    from fewshot_bench.runs.training import STATE

    if _is_there(Path(name) / STATE):
        return Path(name)
    folders = [path.parent for path in sorted(out.rglob(STATE))] if is_folder(out) else []
    found = [one for one in folders if one.name == name or (name and one.name.rpartition("-")[2].startswith(name))]
    return found[0] if len(found) == 1 else None


def find_run(name: str, out: Path) -> Path:
    """The folder of the run `name`: a folder, a folder's name below `out`, or the start of one run id.

    Raises `UsageError` where there is none or more than one.
    """
    if not name:
        raise UsageError("The name of a run is empty. Name its folder, or the start of its id: fsbench list runs")
    if _is_there(Path(name) / "record.json"):  # whatever is wrong with it, its reader says
        return Path(name)
    folders = [path.parent for path in sorted(out.rglob("record.json"))] if is_folder(out) else []
    matches = [folder for folder in folders if folder.name == name or folder.name.rpartition("-")[2].startswith(name)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        more = f" and {len(matches) - 4} more" if matches[4:] else ""
        raise UsageError(f"{name!r} names {len(matches)} runs: {', '.join(folder.name for folder in matches[:4])}{more}.")
    if unfinished := _unfinished(name, out):
        raise Unfinished(
            f"{unfinished} holds an unfinished run. The fsbench run command that began it goes on where it was saved;\n"
            "it can be shown and tested once it is finished."
        )
    raise UsageError(f"No finished run {name!r} in {out}.\nSee: fsbench list runs --out {shlex.quote(str(out))}")
