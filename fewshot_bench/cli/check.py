"""`fsbench check`."""

import json
from dataclasses import asdict
from typing import Annotated, Any

import typer

from fewshot_bench.cli.options import Json
from fewshot_bench.plugins import registry

Backbone = Annotated[str | None, typer.Option(help="The network it is tried on (else a small one of the audit's).")]


def check(
    method: Annotated[str, typer.Argument(help="A name of `fsbench list methods`, or file.py:Class.")],
    backbone: Backbone = None,
    as_json: Json = False,
) -> int:
    """Try a method on synthetic tasks: what its interface promises, and leaks.

    Lists what passed, failed and was skipped, and why. Ends with 1 where a
    check failed.

    Example: fsbench check maml
    """
    from fewshot_bench.audit.method import audit_method

    plugin = registry.find("methods", method)
    network = registry.find("backbones", backbone).load() if backbone is not None else None
    audit = audit_method(plugin, network)
    checks: list[dict[str, Any]] = [asdict(one) for one in audit.checks]
    print(json.dumps({"name": audit.subject, "passed": audit.passed, "checks": checks}, indent=1) if as_json else audit)
    return 0 if audit.passed else 1
