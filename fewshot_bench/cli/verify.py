"""`fsbench verify`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fewshot_bench.cli.options import BackboneHere, DataRoot, DatasetHere, Json, MethodHere, Out
from fewshot_bench.request import TestRequest

if TYPE_CHECKING:
    from fewshot_bench.runs.verification.findings import Verification


def verify(
    runs: Annotated[list[str], typer.Argument(help="Runs: folders, names or starts of ids; or folders of runs.")],
    out: Out = Path("runs"),
    data_root: DataRoot = None,
    as_json: Json = False,
    method: MethodHere = None,
    backbone: BackboneHere = None,
    dataset: DatasetHere = None,
) -> None:
    """Check records: what can be computed again here, what is only consistent, what rests on the record's word.

    Ends with 4 where a record does not hold.

    Example: fsbench verify runs
    """
    from fewshot_bench.cli.compare import folders_of
    from fewshot_bench.cli.progress import Bars
    from fewshot_bench.runs.verification.findings import NotVerified
    from fewshot_bench.runs.verification.verify import verify_run

    request = TestRequest(method=method, backbone=backbone, dataset=dataset, data_root=data_root)
    found = []
    for folder in folders_of(runs, out):
        with Bars(folder.name) as bars:
            found.append(verify_run(folder, request, bars))
        if not as_json:
            print(_said(found[-1]))
    if as_json:
        print(json.dumps([_as_json(one) for one in found], indent=1))
    failed = [one for one in found if one.first_difference]
    if failed:
        first = failed[0].first_difference
        assert first is not None
        count = "It does not hold" if len(found) == 1 else f"{len(failed)} of {len(found)} records do not hold"
        raise NotVerified(f"{count}. {failed[0].record.folder.name}, {first.field}: {first.said}")


def _said(found: "Verification") -> str:
    """The record's verdict, and a line for each field."""
    width = max(len(check.field) for check in found.checks)
    lines = [f"{check.standing:<10}  {check.field:<{width}}  {check.said}" for check in found.checks]
    return "\n".join([f"{found.record.folder.name}: {found.verdict}", *(f"  {one}" for one in lines)])


def _as_json(found: "Verification") -> dict[str, Any]:
    checks = [{"field": check.field, "standing": check.standing, "said": check.said} for check in found.checks]
    return {"folder": str(found.record.folder), "run_id": found.record.run_id, "verdict": found.verdict, "checks": checks}
