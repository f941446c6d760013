"""Plugins: methods, data sets, backbones and commands, found through entry points; ours exactly as a third party's.

A card (`<module>.yaml` beside the code) is found through the distribution's list of files, without importing anything.
`path/to/file.py:Class` and `package.module:Class` name a plugin that is not installed.
"""

import hashlib
import importlib.util
import inspect
import sys
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import Distribution, EntryPoint, PackageNotFoundError, entry_points
from pathlib import Path
from typing import Any, Literal

import yaml

from fewshot_bench.errors import UsageError, unknown

Group = Literal["methods", "datasets", "backbones", "commands"]


@dataclass(frozen=True)
class Plugin:
    """One registered or named plugin; nothing of it is imported until `load()`."""

    name: str
    group: Group
    reference: str
    """`package.module:Class` or `path/to/file.py:Class`."""
    distribution: str
    """Name and version of the distribution that brings it, or where else it comes from."""
    card_path: Path | None = field(compare=False, default=None)

    def card(self) -> dict[str, Any]:
        """The card's content, {} where there is none; raises `UsageError` where it is not a YAML mapping."""
        return read_yaml(self.card_path) if self.card_path else {}

    def load(self) -> Any:
        """Import it; raises `UsageError` with the reason where that fails."""
        module, _, attribute = self.reference.partition(":")
        try:
            loaded = _import_file(module) if module.endswith(".py") else importlib.import_module(module)
            return getattr(loaded, attribute)
        except Exception as error:  # whatever a plugin raises is its reason, and no fault of the user's
            raise UsageError(
                f"The {self.group[:-1]} {self.name!r} ({self.distribution}) cannot be imported: "
                f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            ) from error


def registered(group: Group) -> dict[str, Plugin]:
    """Every installed plugin of a group, by name, sorted."""
    found = sorted(entry_points(group=f"fewshot_bench.{group}"), key=lambda point: point.name)
    return {point.name: _from_entry_point(point, group) for point in found}


def find(group: Group, name: str) -> Plugin:
    """The plugin of that name, or the one at `file.py:Class` or `package.module:Class`; raises `UsageError`."""
    if ":" in name:
        module, _, attribute = name.partition(":")
        path = Path(module)
        if module.endswith(".py"):
            if not path.is_file():
                raise UsageError(f"No such file: {module} (from {name!r}).")
            card = path.with_suffix(".yaml")
            return Plugin(f"{path.stem}:{attribute}", group, name, f"file {path.name}", card if card.is_file() else None)
        return Plugin(name, group, name, f"module {module}")
    plugins = registered(group)
    if name not in plugins:
        see = f"fsbench list {group}" if group in ("methods", "datasets") else ""
        raise unknown(group[:-1], name, plugins, see=see)
    return plugins[name]


def source_sha256(*objects: Any) -> str:
    """Hash of the source files that define the given classes, so that an edited method is another method."""
    sha = hashlib.sha256()
    for one in objects:
        path = inspect.getsourcefile(one if inspect.isclass(one) else type(one))
        assert path is not None
        sha.update(Path(path).read_bytes().replace(b"\r\n", b"\n"))
    return sha.hexdigest()


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file that holds a mapping; raises `UsageError` that says what it is instead."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"Cannot read {path}: {getattr(error, 'strerror', None) or error}.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        raise UsageError(f"{path} is not YAML{where}: {getattr(error, 'problem', error)}.") from None
    if not isinstance(content, dict):
        raise UsageError(f"{path} must hold a mapping of keys to values, not {type(content).__name__}.")
    return content


def _from_entry_point(point: EntryPoint, group: Group) -> Plugin:
    distribution = point.dist
    label = f"{distribution.name} {distribution.version}" if distribution else "unknown distribution"
    card = _card_path(distribution, point.module) if distribution else None
    return Plugin(point.name, group, point.value, label, card)


def _card_path(distribution: Distribution, module: str) -> Path | None:
    """Where the distribution keeps `<module>.yaml`: among its files, or below a folder of an editable install."""
    wanted = module.replace(".", "/") + ".yaml"
    for folder in _roots(distribution):
        if (path := folder / wanted).is_file():
            return path
    return None


@cache
def _roots(distribution: Distribution) -> tuple[Path, ...]:
    files = distribution.files or []
    site = Path(str(distribution.locate_file("")))
    editable = [
        Path(line.strip())
        for file in files
        if file.suffix == ".pth"
        for line in Path(str(file.locate())).read_text(encoding="utf-8").splitlines()
        if line.strip() and not line.startswith("import")
    ]
    return (site, *editable)


def _import_file(path: str) -> Any:
    name = f"fewshot_plugin_{Path(path).stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module


def version() -> str:
    """This package's version."""
    from importlib.metadata import version as installed

    try:
        return installed("fewshot-bench")
    except PackageNotFoundError:
        return "0 (not installed)"
