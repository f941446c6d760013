"""`fsbench reproduce`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from fewshot_bench.cli.options import BackboneHere, DataRoot, DatasetHere, Json, MethodHere, Out
from fewshot_bench.cli.paths import PATH
from fewshot_bench.request import TestRequest


def reproduce(
    run: Annotated[str, typer.Argument(help="A run: its folder, its name, or the start of its id.")],
    out: Out = Path("runs"),
    into: Annotated[Path, typer.Option(help="Folder for the new run.", **PATH)] = Path("reproduced"),
    data_root: DataRoot = None,
    as_json: Json = False,
    method: MethodHere = None,
    backbone: BackboneHere = None,
    dataset: DatasetHere = None,
) -> int:
    """Train and test a run again from its record alone, and say whether it comes out the same.

    Ends with 4 where it does not.

    Example: fsbench reproduce 3f2a9c
    """
    from fewshot_bench.cli.progress import Bars
    from fewshot_bench.cli.test import find_run
    from fewshot_bench.runs.reproduce import reproduce_run
    from fewshot_bench.runs.training import Interrupted
    from fewshot_bench.runs.verification.findings import NotVerified

    folder = find_run(run, out)
    request = TestRequest(method=method, backbone=backbone, dataset=dataset, data_root=data_root)
    with Bars(folder.name) as bars:
        try:
            found = reproduce_run(folder, request, into, bars)
        except Interrupted as stopped:
            bars.note(f"Stopped after update {stopped.update:,}; saved. The same command goes on.")
            return 130
    if as_json:
        said = {"outcome": found.outcome, "difference": found.pair.difference, "unlike": found.unlike}
        folders = {"folder": str(found.record.folder), "again": str(found.again.folder)}
        print(json.dumps(folders | said | {"low": found.pair.low, "high": found.pair.high}, indent=1))
    else:
        print("\n".join([f"{found.again.folder}: {found.said}", *(f"  differs here: {one}" for one in found.unlike)]))
    if found.outcome == "not reproduced":
        raise NotVerified(f"{folder.name} was not reproduced: {found.said}.")
    return 0
