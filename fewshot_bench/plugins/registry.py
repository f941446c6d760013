"""Plugins: methods, data sets, backbones and commands, found through entry points, the built-in ones in the same way as a
third party's.

A card (`<module>.yaml` beside the code) is found where Python would find the code, without importing anything.
`path/to/file.py:Class` and `package.module:Class` name a plugin that is not installed.
"""

import hashlib
import importlib.util
import os
import shlex
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import cache, reduce
from importlib.metadata import Distribution, EntryPoint, distributions, entry_points
from pathlib import Path
from typing import Any, Literal

from fewshot_bench.errors import UsageError, few, unknown
from fewshot_bench.inputs import plain_yaml
from fewshot_bench.inputs.plain_files import kind_at, read_regular
from fewshot_bench.plugins.declarations import check_backbone, check_card, check_command, check_method
from fewshot_bench.source.files_read import watch
from fewshot_bench.text.printable import printable

Group = Literal["methods", "datasets", "backbones", "commands"]

LARGEST_YAML = 2**20
"""The most bytes of a card or a recipe. A longer file is something else, and takes minutes to read."""
NOWHERE = "__main__"
"""The module of what is defined in a notebook, in a session or in the script that is run."""
PREFIX = "fewshot_plugin_"
"""How the names of modules begin that are imported from files."""

BASES = {
    "methods": ("fewshot_bench.learning.base:Method",),
    "datasets": ("fewshot_bench.data.dataset:Dataset", "fewshot_bench.data.functions:FunctionFamily"),
}
"""The classes of a group: a plugin must subclass one of them."""
IMPORTED: set[str] = set()
"""Top-level modules that plugins were imported from in this process, to tell their code from ours."""


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
    ambiguous: bool = False
    """Whether several distributions register this name."""
    given: type | None = field(compare=False, default=None)
    """The class itself, where it was given in place of its name."""

    @property
    def said(self) -> str:
        """Its name as the command line takes it, quoted."""
        return shlex.quote(self.reference if ":" in self.name else self.name)

    def card(self) -> dict[str, Any]:
        """The card's content, {} where there is none; raises `UsageError` where it is not a card."""
        content = read_yaml(self.card_path) if self.card_path else {}
        check_card(self.name, content)
        return content

    def needs(self) -> tuple[str, str] | None:
        """The module that it needs beside this package's dependencies and the command that installs it, where its card has
        `needs: {module: NAME, install: COMMAND}`."""
        needs = self.card().get("needs")
        return None if needs is None else (needs["module"], needs["install"])

    def missing(self) -> str | None:
        """What it needs that is not installed, and how to install it, in a line; None where nothing is. Imports nothing."""
        needs = self.needs()
        if needs is None or importlib.util.find_spec(needs[0].partition(".")[0]):
            return None
        return f"needs {needs[0]}, which is not installed: {needs[1]}"

    def load(self) -> Any:
        """Import it; raises `UsageError` with the reason where that fails or finds something else than such a plugin."""
        if self.ambiguous:
            raise UsageError(
                f"The {self.group[:-1]} {self.name!r} is registered by {self.distribution}.\n"
                "Uninstall all but one, or name the one you mean as package.module:Class."
            )
        if missing := self.missing():
            raise UsageError(f"The {self.group[:-1]} {self.name!r} ({self.distribution}) {missing}")
        found = self.given or self._import()
        self._check(found)
        return found

    def _import(self) -> Any:
        """The object itself. Files that were edited since they were imported are imported again."""
        from fewshot_bench.source.edits import forget_edited

        module = module_name(self.reference)
        forget_edited(module)
        found = self._resolved()
        hashed = self.group in ("methods", "backbones")
        return self._resolved() if hashed and forget_edited(module) else found

    def _resolved(self) -> Any:
        """The object itself; raises `UsageError` with the reason where importing it fails."""
        try:
            return _resolve(self.reference)
        except _NoSuchName as error:
            if is_uninstalled(self.name):  # what a person typed
                raise
            raise UsageError(
                f"The {self.group[:-1]} {self.name!r} ({self.distribution}) cannot be imported: {error}"
            ) from None
        except (Exception, SystemExit) as error:  # whatever a plugin raises is the reason, and not the user's mistake
            if os.environ.get("FSBENCH_TRACEBACK"):
                traceback.print_exception(error, file=sys.stderr)
            reason = ": ".join(filter(None, [type(error).__name__, *str(error).splitlines()[:1]]))
            hint = f"\nIt needs {needs[0]}: {needs[1]}" if (needs := self.needs()) else ""
            raise UsageError(
                f"The {self.group[:-1]} {self.name!r} ({self.distribution}) cannot be imported: {reason}{hint}"
            ) from error

    def _check(self, found: Any) -> None:
        if self.group not in BASES:
            (check_backbone if self.group == "backbones" else check_command)(self.reference, found)
            return
        bases = BASES[self.group]
        names = [base.rpartition(":")[2] for base in bases]
        # One base at a time: that of functions imports torch, which a list of data sets does not need.
        if not (isinstance(found, type) and any(issubclass(found, _resolve(base)) for base in bases)):
            wanted = " or ".join(f"fewshot_bench.{name}" for name in names)
            raise UsageError(f"{self.reference} is not a {names[0]}: a {self.group[:-1]} subclasses {wanted}.")
        if missing := ", ".join(sorted(getattr(found, "__abstractmethods__", ()))):
            raise UsageError(f"{self.reference} is not a complete {names[0]}: it must define {missing}.")
        if self.group == "methods":
            check_method(self.reference, found)


def registered(group: Group) -> dict[str, Plugin]:
    """Every installed plugin of a group, by name, sorted."""
    found: dict[str, Plugin] = {}
    label = cache(_label)  # it parses a distribution's metadata, and a distribution may bring many plugins
    for point in sorted(_entry_points(f"fewshot_bench.{group}"), key=lambda point: point.name):
        plugin = _from_entry_point(point, group, label(point.dist))
        if rival := found.get(plugin.name):
            plugin = replace(rival, distribution=f"{rival.distribution} and {plugin.distribution}", ambiguous=True)
        found[plugin.name] = plugin
    return found


class NotInstalled(UsageError):
    """A record names a file or a module, which is imported only where a person names it."""


class _NoSuchName(UsageError):
    """A module has been imported, and lacks the class that is named."""


_ONLY_INSTALLED: ContextVar[bool] = ContextVar("only_installed", default=False)


@contextmanager
def only_installed() -> Iterator[None]:
    """Within the block only installed plugins are found, by name, and no file or module: the names come from a stranger."""
    token = _ONLY_INSTALLED.set(True)
    try:
        yield
    finally:
        _ONLY_INSTALLED.reset(token)


def is_uninstalled(name: str) -> bool:
    """Whether a name is that of a file or a module."""
    return ":" in name or name.endswith(".py")


def name_of(reference: str) -> str:
    """The name that a spec has for what a reference finds; `file:Class` for a file, wherever it lies."""
    module, _, attribute = reference.rpartition(":")
    return f"{Path(module).stem}:{attribute}" if module.endswith(".py") else reference


def find(group: Group, name: str | type) -> Plugin:
    """The plugin of that name, the one at `file.py:Class` or `package.module:Class`, or that of a class; raises
    `UsageError`."""
    if isinstance(name, type):
        return _of_class(group, name)
    _refuse_nowhere(group, name)
    if _ONLY_INSTALLED.get() and is_uninstalled(name):
        raise NotInstalled(f"{printable(name)} is not installed. What a record names is imported only if you name it too.")
    if ":" in name:
        return _uninstalled(group, name)
    if name.endswith(".py"):
        raise UsageError(f"{name} needs the name of a class: {shlex.quote(f'{name}:Class')}.")
    plugins = registered(group)
    if name not in plugins:
        see = f"fsbench list {group}" if group != "commands" else ""
        raise unknown(group[:-1], name, plugins, see=see)
    return plugins[name]


def read_yaml(path: Path) -> dict[str, Any]:
    """The content of a YAML file that holds a mapping; raises `UsageError` that says what else it holds."""
    try:
        text = read_regular(path, LARGEST_YAML).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"Cannot read {path}: {getattr(error, 'strerror', None) or error}.") from None
    content = plain_yaml.read(text, str(path))
    if not isinstance(content, dict):
        raise UsageError(f"{path} must hold a mapping of keys to values, not {type(content).__name__}.")
    return content


def _entry_points(group: str) -> list[EntryPoint]:
    """The entry points of a group. A damaged installation hides only its own."""
    try:
        return list(entry_points(group=group))
    except Exception:  # of whatever parses the files of all that is installed
        found: dict[tuple[str, str], EntryPoint] = {}
        for distribution in distributions():
            with suppress(Exception):
                found |= {(point.name, point.value): point for point in distribution.entry_points if point.group == group}
        return list(found.values())


def _label(distribution: Distribution | None) -> str:
    if distribution is None:
        return "unknown distribution"
    try:
        metadata = distribution.metadata  # parsed anew each time
        return f"{metadata['Name']} {metadata['Version']}"
    except Exception:  # it is damaged, and only says where a plugin comes from
        return "unknown distribution"


def _from_entry_point(point: EntryPoint, group: Group, distribution: str) -> Plugin:
    reference = point.value.partition("[")[0].strip()  # without extras
    return Plugin(point.name, group, reference, distribution, _card_path(reference.partition(":")[0]))


def _of_class(group: Group, given: type) -> Plugin:
    """The plugin for a class: a registered one, or one at the reference by which a command would find it."""
    module, name = given.__module__, given.__qualname__
    for plugin in registered(group).values():
        if plugin.reference == f"{module}:{name}" and not plugin.ambiguous:
            return replace(plugin, given=given)
    home = sys.modules.get(module)
    file = str(getattr(home, "__file__", None) or "")
    held: Any = reduce(lambda one, part: getattr(one, part, None), name.split("."), home)
    is_held = held is given
    if is_held and module != NOWHERE and not module.startswith(PREFIX):
        return replace(_uninstalled(group, f"{module}:{name}"), given=given)
    if is_held and file.endswith(".py") and _codes_file(given) in (None, file) and Path(file).is_file():
        place = Path(file)
        shown = place.relative_to(Path.cwd()) if place.is_relative_to(Path.cwd()) else place
        return replace(_uninstalled(group, f"{shown}:{name}"), given=given)
    reference = f"{NOWHERE}:{given.__name__}"
    return Plugin(reference, group, reference, "a class of a session, which no command can name", given=given)


def _codes_file(given: type) -> str | None:
    """Where the functions of a class were compiled; None for a class without any."""
    codes = (getattr(one, "__code__", None) for one in vars(given).values())
    return next((code.co_filename for code in codes if code is not None), None)


def _refuse_nowhere(group: Group, reference: str) -> None:
    """Raises `UsageError` for a reference to a class of a notebook."""
    module, _, name = reference.rpartition(":")
    if module == NOWHERE:
        raise UsageError(
            f"The {group[:-1]} {printable(name)!r} was a class of a notebook or session, which no command can find.\n"
            f"Save it in a file and name that: FILE.py:{printable(name)}."
        )


def _uninstalled(group: Group, reference: str) -> Plugin:
    module = reference.rpartition(":")[0]
    if not module.endswith(".py"):
        if "/" in module and (kind := kind_at(Path(module))) is not None:
            raise UsageError(f"{printable(module)} is {kind}: name a file of a {group[:-1]} that ends in .py.")
        return Plugin(reference, group, reference, f"module {module}", _card_path(module))
    path = Path(module)
    if (kind := kind_at(path)) != "a file":
        wrong = f"Not a file but {kind}" if kind else "No such file"
        raise UsageError(f"{wrong}: {module} (from {reference!r}).")
    card = path.with_suffix(".yaml")
    return Plugin(name_of(reference), group, reference, f"file {path.name}", card if card.is_file() else None)


def _card_path(module: str) -> Path | None:
    """`<module>.yaml` beside the module's code, however that is installed; None where there is none."""
    try:
        spec = importlib.util.find_spec(module.partition(".")[0])  # a top-level name: nothing is imported
    except ValueError:  # not the name of a module
        return None
    if spec is None:
        return None
    packages = [Path(folder).parent for folder in spec.submodule_search_locations or []]
    folders = packages or [Path(spec.origin or "").parent]
    wanted = module.replace(".", "/") + ".yaml"
    return next((path for folder in folders if (path := folder / wanted).is_file()), None)


def _resolve(reference: str) -> Any:
    """The object at `package.module:attribute` or `file.py:attribute`, imported."""
    watch()
    module, _, attributes = reference.rpartition(":")
    loaded = _import_file(module) if module.endswith(".py") else importlib.import_module(module)
    if (top := loaded.__name__.partition(".")[0]) != __package__.partition(".")[0]:
        IMPORTED.add(top)
    if attributes and not hasattr(loaded, first := attributes.partition(".")[0]):
        own = [name for name, one in vars(loaded).items() if getattr(one, "__module__", None) == loaded.__name__]
        has = f"it has {few(sorted(own))}" if own else "it defines none"
        raise _NoSuchName(f"{module} has no {printable(first)}; {has}.")
    return reduce(getattr, attributes.split("."), loaded)


def module_name(reference: str) -> str:
    """The name under which the module of `package.module:attribute` or `file.py:attribute` is imported."""
    module = reference.rpartition(":")[0]
    if not module.endswith(".py"):
        return module
    place = hashlib.sha256(str(Path(module).resolve()).encode()).hexdigest()[:12]
    return f"{PREFIX}{place}_{Path(module).stem}"  # two files of one name are two modules


def _import_file(path: str) -> Any:
    name = module_name(f"{path}:")
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
        return str(installed("fewshot-bench"))
    except Exception:  # it is not installed, or that is damaged
        return "0 (not installed)"
