"""A method's own modules: their text as imported, the names that they bind, and whether they were edited since."""

import ast
import contextlib
import importlib
import importlib.util
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.machinery import PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from fewshot_bench.source.distributions import is_own
from fewshot_bench.source.syntax import (
    Chain,
    bound_names,
    called_import,
    canonical,
    chains,
    imports,
    is_wordless,
    outer_names,
)

Imported = dict[str, list[tuple[str, str | None]]]


@dataclass
class Module:
    """One module's text, taken apart."""

    live: ModuleType
    text: str
    as_imported: bool
    """False if the imported functions are not those of the text: the file was edited before it was read."""
    binds: dict[str, list[ast.stmt]] = field(default_factory=lambda: defaultdict(list))
    """By name, the top-level statements that bind it."""
    effects: list[ast.stmt] = field(default_factory=list)
    """Top-level statements that do something beside binding names: they may change what any name stands for."""
    statements: list[ast.stmt] = field(default_factory=list)
    imported: "Imported" = field(default_factory=lambda: defaultdict(list))
    """By name, each module and the attribute of it that an import binds to it; None: the module itself."""
    stars: list[str] = field(default_factory=list)
    needed: set[str] = field(default_factory=set)
    """Every module that it imports anywhere."""

    _read: dict[ast.stmt, tuple[str, set[Chain], set[Chain], "Imported"]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name under which it was imported."""
        return self.live.__name__

    def take_apart(self) -> None:
        """Fill the fields from the text."""
        tree = ast.parse(self.text)
        self._note_places(tree)
        for node, alias in imports([tree]):
            self.needed |= set(_modules_of(node, alias, self.package))
        self.needed |= {name for node in ast.walk(tree) if (name := called_import(node))}
        for statement in tree.body:
            if _is_for_others(statement):
                continue
            if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                self._take_imports(statement)
            if is_wordless(statement) or _only_imports(statement):
                continue
            self.statements.append(statement)
            names = bound_names(statement)
            for name in names:
                self.binds[name].append(statement)
        self.effects = [one for one in self.statements if self._does_more(one)]

    def _note_places(self, tree: ast.Module) -> None:
        if any(isinstance(one, ast.Attribute) and ast.unparse(one) == "sys.path" for one in ast.walk(tree)):
            said = [one.value for one in ast.walk(tree) if isinstance(one, ast.Constant) and isinstance(one.value, str)]
            file = file_of(self.live)
            bases = [Path(), *([file.parent] if file else [])]
            with contextlib.suppress(OSError, ValueError):
                found = [
                    str((base / one).resolve())
                    for one in said
                    if 0 < len(one) < 200
                    for base in bases
                    if (base / one).is_dir()
                ]
                _PLACES.extend(one for one in dict.fromkeys(found) if one not in _PLACES)

    def _take_imports(self, statement: ast.stmt) -> None:
        for name, sources in imports_of(statement, self.package).items():
            for module, attribute in sources:
                if attribute == "*":
                    self.stars.append(module)
                else:
                    self.imported[name].append((module, attribute))

    def _does_more(self, statement: ast.stmt) -> bool:
        """Whether a statement has side effects beyond binding its own names."""
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            made = vars(self.live).get(statement.name)
            registers = isinstance(made, type) and _tells_others(made)
            return registers or not all(map(self._is_foreign, statement.decorator_list))
        inner = [one for one in ast.walk(statement) if isinstance(one, ast.Attribute | ast.Subscript)]
        stores = any(isinstance(one.ctx, ast.Store | ast.Del) for one in inner)
        return stores or not isinstance(statement, ast.Assign | ast.AnnAssign) or not bound_names(statement)

    def _is_foreign(self, decorator: ast.expr) -> bool:
        """Whether a decorator comes from elsewhere, so that it can register nothing with a method's own code."""
        roots = {name for name, _ in chains(decorator.func if isinstance(decorator, ast.Call) else decorator)}
        places = [module for name in roots for module, _ in self.imported.get(name, ())]
        return not any(map(is_own, places)) and not roots & self.binds.keys()

    def read(self, statement: ast.stmt) -> tuple[str, set[Chain], set[Chain], Imported]:
        """A statement of this module: its code, the names in it, those that it takes from the module, what it imports."""
        if statement not in self._read:
            used, local = chains(statement), imports_of(statement, self.package)
            outer = outer_names(statement, used) | local.keys()
            self._read[statement] = canonical(statement), used, {one for one in used if one[0] in outer}, local
        return self._read[statement]

    @property
    def package(self) -> str:
        """The package to which its relative imports refer."""
        return self.live.__package__ or ""


_PLACES: list[str] = []
"""Folders named by those of a method's own modules that change `sys.path`."""
_MODULES: "WeakKeyDictionary[ModuleType, Module]" = WeakKeyDictionary()


def module_of(live: ModuleType) -> Module | None:
    """A module taken apart, as it was at the first call; None if it has no text."""
    if live not in _MODULES:
        text = text_of(live)
        if text is None:
            return None
        found = Module(live, text, _is_as_imported(live, text))
        try:
            found.take_apart()
        except (SyntaxError, ValueError):  # an edit since the import made it invalid
            found = Module(live, text, as_imported=False)
        _MODULES[live] = found
    return _MODULES[live]


def own_module(name: str) -> Module | None:
    """One of a method's own modules, imported if need be; None if it cannot be imported or is not the method's."""
    if not is_own(name):
        return None
    live = sys.modules.get(name)
    if live is None:
        try:
            live = _import(name)
        except (Exception, SystemExit):  # an optional import that fails in the method too, or a script
            return None
    return module_of(live)


def _import(name: str) -> ModuleType:
    """Import a module, if need be from a folder that a method puts into `sys.path` only when it runs."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name.partition(".")[0] or not PathFinder.find_spec(error.name, _PLACES):
            raise
    added = list(_PLACES)
    sys.path += added
    try:
        return importlib.import_module(name)
    finally:
        for one in added:
            sys.path.reverse()
            sys.path.remove(one)
            sys.path.reverse()


def file_of(live: ModuleType) -> Path | None:
    """The file that a module came from."""
    file = getattr(live, "__file__", None)
    return Path(file) if file else None


def text_of(live: ModuleType) -> str | None:
    """The text that a module's file holds now; None if there is none."""
    file = file_of(live)
    if file is None or file.suffix != ".py":
        return None
    try:
        loader: Any = live.__loader__
        if not file.exists() and hasattr(loader, "get_source"):  # in an archive
            return str(loader.get_source(live.__name__))
        return importlib.util.decode_source(file.read_bytes())  # in the encoding that it states
    except (OSError, ValueError, SyntaxError, ImportError):
        return None


def _is_as_imported(live: ModuleType, text: str) -> bool:
    """Whether the functions that a module holds are those of a text, as far as its own loader compiled them."""
    if type(getattr(live.__spec__, "loader", None)) is not SourceFileLoader:  # pytest's, for example, changes them
        return True
    try:
        code = compile(text, str(live.__file__), "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return False
    written: dict[str, list[CodeType]] = defaultdict(list)
    for one in _codes(code):
        written[one.co_qualname].append(one)
    return all(
        any(equal_code(held, one) for one in written[held.co_qualname])
        for held in _held(live)
        if Path(held.co_filename) == Path(str(live.__file__))
    )


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for one in code.co_consts:
        if isinstance(one, CodeType):
            yield from _codes(one)


def _held(live: ModuleType) -> Iterator[CodeType]:
    for value in list(vars(live).values()):
        if getattr(value, "__module__", None) == live.__name__:
            yield from (one.__code__ for one in functions_of(value))


def functions_of(value: Any) -> Iterator[FunctionType]:
    """A function, below its decorators, or those of a class."""
    if isinstance(value, type):
        for one in list(vars(value).values()):
            if not isinstance(one, type):
                yield from functions_of(one)
        return
    for one in (value, *(getattr(value, name, None) for name in ("fget", "fset", "func", "__func__"))):
        one = unwrapped(one)
        if isinstance(one, FunctionType):
            yield one


def unwrapped(value: Any) -> Any:
    """A function below its decorators."""
    for _ in range(20):
        below = vars(value).get("__wrapped__") if hasattr(value, "__dict__") else None
        if below is None:
            break
        value = below
    return value


def equal_code(a: CodeType, b: CodeType) -> bool:
    """Whether two functions compute the same, whatever their places."""
    if (a.co_code, a.co_names, a.co_varnames, a.co_freevars) != (b.co_code, b.co_names, b.co_varnames, b.co_freevars):
        return False
    pairs = zip(a.co_consts, b.co_consts, strict=False)
    return len(a.co_consts) == len(b.co_consts) and all(
        equal_code(x, y) if isinstance(x, CodeType) and isinstance(y, CodeType) else (type(x), x) == (type(y), y)
        for x, y in pairs
    )


def imports_of(node: ast.AST, package: str) -> Imported:
    """What the imports within a syntax tree bind; a star binds `*`."""
    found: Imported = defaultdict(list)
    for one, alias in imports([node]):
        if isinstance(one, ast.Import):
            name = alias.name if alias.asname else alias.name.partition(".")[0]
            found[alias.asname or name].append((name, None))
        else:
            found[alias.asname or alias.name].append((_absolute(one, package), alias.name))
    return found


def _absolute(node: ast.ImportFrom, package: str) -> str:
    name = "." * node.level + (node.module or "")
    try:
        return importlib.util.resolve_name(name, package) if node.level else name
    except ImportError:
        return name.lstrip(".")


def _modules_of(node: ast.Import | ast.ImportFrom, alias: ast.alias, package: str) -> Iterator[str]:
    """The modules that an import may load: packages run, too."""
    name = alias.name if isinstance(node, ast.Import) else _absolute(node, package)
    parts = name.split(".")
    yield from (".".join(parts[:end]) for end in range(1, len(parts) + 1))
    if isinstance(node, ast.ImportFrom) and alias.name != "*":
        yield f"{name}.{alias.name}"


def _is_for_others(statement: ast.stmt) -> bool:
    """Whether it is `if TYPE_CHECKING:` or `if __name__ == "__main__":`, which never run in a method."""
    if not isinstance(statement, ast.If) or statement.orelse:
        return False
    used = {name for name, _ in chains(statement.test)}
    attributes = {attribute for _, chain in chains(statement.test) for attribute in chain}
    script = used == {"__name__"} and "__main__" in ast.unparse(statement.test)
    return "TYPE_CHECKING" in used | attributes or script


def _only_imports(statement: ast.stmt) -> bool:
    """Whether a compound statement does nothing but import."""
    if not isinstance(statement, ast.If | ast.Try | ast.With):
        return False
    bodies = [one for one in ast.walk(statement) if isinstance(one, ast.stmt) and one is not statement]
    return all(is_wordless(one) for one in bodies)


def _tells_others(made: type) -> bool:
    """Whether the definition of a class makes it known to others, by its metaclass or a base's `__init_subclass__`."""
    hooks = [base for base in made.__mro__[1:] if "__init_subclass__" in vars(base)]
    return any(is_own(one.__module__) for one in (type(made), *hooks))
