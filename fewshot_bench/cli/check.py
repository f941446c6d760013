"""`fsbench check`."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fewshot_bench.cli.options import DataRoot, Json
from fewshot_bench.errors import UsageError, unknown
from fewshot_bench.plugins import registry

if TYPE_CHECKING:
    from fewshot_bench.audit.verdicts import Audit

GROUPS: dict[str, registry.Group] = {"method": "methods", "dataset": "datasets", "backbone": "backbones"}
"""In the order in which a name is looked for."""


def check(
    name: Annotated[str, typer.Argument(help="A method, a data set or a backbone: its name, or file.py:Class.")],
    kind: Annotated[str | None, typer.Option(help="method, dataset or backbone, where a name is of several.")] = None,
    backbone: Annotated[
        str | None, typer.Option(help="The network that a method is tried on (else a small one of the audit's).")
    ] = None,
    data_root: DataRoot = None,
    as_json: Json = False,
) -> int:
    """Try a method, a data set or a backbone: what its interface promises, and leaks.

    Methods and backbones are tried on synthetic tasks, in seconds; of a data
    set the whole source is read. Lists what passed, failed and was skipped,
    and why. Ends with 1 where a check failed.

    Example: fsbench check maml
    """
    kind, plugin = _found(name, kind)
    if backbone is not None and kind != "method":
        raise UsageError(f"--backbone is for a method; {name} is a {kind}: leave it out.")
    if data_root is not None and kind != "dataset":
        raise UsageError(f"--data-root is for a data set; {name} is a {kind}: leave it out.")
    audit = _audited(kind, plugin, backbone, data_root)
    checks: list[dict[str, Any]] = [asdict(one) for one in audit.checks]
    about = {"name": audit.subject, "kind": audit.kind, "passed": audit.passed}
    print(json.dumps({**about, "checks": checks}, indent=1) if as_json else audit)
    return 0 if audit.passed else 1


def _found(name: str, kind: str | None) -> tuple[str, registry.Plugin]:
    """The plugin of a name and its kind; what is not installed is imported to find out. Raises `UsageError`."""
    if kind is not None and kind not in GROUPS:
        raise unknown("kind", kind, GROUPS)
    kinds = [kind] if kind else list(GROUPS)
    if not registry.is_uninstalled(name):
        for one in kinds:
            if name in registry.registered(GROUPS[one]):
                return one, registry.find(GROUPS[one], name)
        known = [other for one in kinds for other in registry.registered(GROUPS[one])]
        raise unknown(" or ".join(kinds), name, known)
    refusals = []
    for one in kinds:
        plugin = registry.find(GROUPS[one], name)
        try:
            plugin.load()
        except UsageError as error:
            refusals.append(error)
        else:
            return one, plugin
    if all(error.__cause__ for error in refusals) or len({str(error) for error in refusals}) == 1:  # it cannot be imported
        raise refusals[0]
    raise UsageError(f"{name} is neither a method nor a data set nor a backbone: say which it is to be with --kind.")


def _audited(kind: str, plugin: registry.Plugin, backbone: str | None, data_root: Path | None) -> "Audit":
    if kind == "dataset":
        from fewshot_bench.audit.dataset import audit_dataset
        from fewshot_bench.cli.progress import Bars

        with Bars(plugin.name) as bars:
            return audit_dataset(plugin, root=data_root, progress=bars.preparing(plugin.name, "reading"))
    if kind == "backbone":
        from fewshot_bench.audit.backbone import audit_backbone

        return audit_backbone(plugin)
    from fewshot_bench.audit.method import audit_method

    network = registry.find("backbones", backbone).load() if backbone is not None else None
    return audit_method(plugin, network)
