"""`fsbench test`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from fewshot_bench.cli.run import NUMBER, DataRoot, Device, Episodes, Json, Out, Protocol, Queries, Settings
from fewshot_bench.errors import UsageError


def test(
    run: Annotated[str, typer.Argument(help="A run: its folder, its name, or the start of its id.")],
    protocol: Protocol = None,
    ways: Annotated[int | None, typer.Option(help="Classes in a test episode.", **NUMBER)] = None,
    shots: Annotated[int | None, typer.Option(help="Support images a class.", **NUMBER)] = None,
    settings: Settings = None,
    data_root: DataRoot = None,
    out: Out = Path("runs"),
    as_json: Json = False,
    device: Device = "auto",
    queries: Queries = None,
    episodes: Episodes = None,
) -> int:
    """Test a finished run under other conditions and add the result to its record.

    Example: fsbench test 3f2a9c --protocol standard-transductive
    """
    folder = find_run(run, out)
    from fewshot_bench.cli.progress import Bars
    from fewshot_bench.cli.summary import summary
    from fewshot_bench.execution import test_run
    from fewshot_bench.resolve import TestRequest

    request = TestRequest(protocol, ways, shots, queries, episodes, tuple(settings or ()))
    with Bars(folder.name) as bars:
        record, result = test_run(folder, request, device, data_root, bars)
    if as_json:
        print(json.dumps(record.content, indent=1))
    else:
        print(summary([record], [result]))
    return 0


def find_run(name: str, out: Path) -> Path:
    """The folder of the run `name`: a folder, a folder's name below `out`, or the start of one run id.

    Raises `UsageError` where there is none or more than one.
    """
    if (Path(name) / "record.json").is_file():
        return Path(name)
    folders = [path.parent for path in sorted(out.rglob("record.json"))] if out.is_dir() else []
    matches = [folder for folder in folders if folder.name == name or folder.name.rpartition("-")[2].startswith(name)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise UsageError(f"{name!r} names {len(matches)} runs: {', '.join(folder.name for folder in matches[:4])}.")
    raise UsageError(f"No finished run {name!r} in {out}.\nSee: fsbench list runs --out {out}")
