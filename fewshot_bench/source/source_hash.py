"""The hash of a method's source: an edited method is another method, but not if only a comment or its place changed.

Version 2. It covers what the computation reaches outside the core: classes, their bases, functions and constants, followed
by name from module to module, whoever wrote them. Each is one unit: its syntax tree without imports, comments and
docstrings, and for each name in it the number of the unit, or the name of the foreign object, for which it stands. Files,
the names of a method's own modules and the version of Python are not part of it.

Where a name is computed (`eval`, `globals()[...]`, a module handed about), the whole module is hashed.
"""

import abc
import ast
import builtins
import hashlib
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FunctionType, MethodType, ModuleType
from typing import Any

from fewshot_bench.source.distributions import NOT_HASHED, is_own, package_of
from fewshot_bench.source.edits import loaded_by_hand
from fewshot_bench.source.files_read import read_by
from fewshot_bench.source.functions import cell_statement, code_text, is_filled, names_in, written_functions
from fewshot_bench.source.live_values import live_attributes, live_name, plain_value
from fewshot_bench.source.modules import (
    Imported,
    Module,
    file_of,
    functions_of,
    imports_of,
    module_of,
    own_module,
    unwrapped,
)
from fewshot_bench.source.syntax import LOOKUPS, Chain, called_import, canonical, chains
from fewshot_bench.source.values import PLAIN, children, plain_text

VERSION = 2
WHOLE, EFFECTS = "*", "="
"""These stand in place of a name: for the whole module, and for its top-level statements that have side effects."""

Key = tuple[str, Any]
"""A module's name and a name in it, or `~` and the id of an object that has no module to be found in."""


@dataclass(frozen=True)
class Source:
    """The source of a method and its backbone."""

    sha256: str
    packages: Mapping[str, str] = field(default_factory=dict)
    """The distributions that it uses, and their versions. Their code is not hashed."""


def source_of(*objects: Any) -> Source:
    """The source of classes, functions and partial functions, as it was imported."""
    walk = _Walk()
    roots = [walk.value(one) for one in objects]
    walk.finish()
    text = repr([VERSION, roots, walk.texts])
    return Source(hashlib.sha256(text.encode()).hexdigest(), dict(sorted(walk.packages.items())))


def source_sha256(*objects: Any) -> str:
    """The hash of `source_of`."""
    return source_of(*objects).sha256


class _Walk:
    """Gives units numbers in the order in which they are met, and writes the text of each once."""

    def __init__(self) -> None:
        self.numbers: dict[Key, int] = {}
        self.texts: list[str] = []
        self.waiting: deque[tuple[int, Any]] = deque()
        self.packages: dict[str, str] = {}
        self.alive: list[Any] = []
        """Objects whose ids stand in `numbers`."""
        self.held: list[Any] = []
        """Objects at module level that may hold more code."""

    def finish(self) -> None:
        """Write all units that are reached. The contents of containers come last, so that a cache changes nothing."""
        self._write()
        while self.held:
            held = [one for value in self.held for one in _code_in(value) if is_own(one.__module__ or "builtins")]
            self.held = []
            for one in sorted(held, key=lambda one: one.__qualname__):
                self.value(one)
            self._write()

    def _write(self) -> None:
        while self.waiting:
            number, write = self.waiting.popleft()
            self.texts[number] = write()

    def _unit(self, key: Key, write: Any) -> str:
        if key not in self.numbers:
            self.numbers[key] = len(self.texts)
            self.texts.append("")
            self.waiting.append((self.numbers[key], write))
        return f"#{self.numbers[key]}"

    # What a value stands for

    def value(self, one: Any, depth: int = 0) -> str:
        """A text of a value; code in it becomes units."""
        if isinstance(one, partial):
            return f"partial({self.value(one.func)}, {self.value(one.args)}, {self.value(one.keywords)})"
        if isinstance(one, MethodType):
            return f"method({self.value(one.__func__)}, {self.value(one.__self__, depth + 1)})"
        if isinstance(one, ModuleType):
            return self._by_hand(one, ()) or self._module(one.__name__)
        if isinstance(unwrapped(one), type | FunctionType):
            return self._code(one)
        if isinstance(one, PLAIN) or depth > 8:
            return plain_text(one)
        if (inner := children(one)) is not None:
            return f"{type(one).__name__}({', '.join(self.value(each, depth + 1) for each in inner)})"
        return f"{self.value(type(one))}({self.value(dict(getattr(one, '__dict__', {})), depth + 1)})"

    def _module(self, name: str) -> str:
        module = own_module(name)
        return self._symbol(module, WHOLE) if module else self._foreign(name)

    def _by_hand(self, value: Any, chain: tuple[str, ...]) -> str:
        """What stands for a module that was loaded from a file by hand, or for what is taken from it; "" for another."""
        module = loaded_by_hand(value) if isinstance(value, ModuleType) else None
        return self._symbol(module, chain[0] if chain and chain[0] in module.binds else WHOLE) if module else ""

    def _code(self, one: Any) -> str:
        """A class or function: the unit of its module where that holds it under its name, else a unit of its own."""
        below = unwrapped(one)
        if not is_own(below.__module__ or "builtins") and not _is_nowhere(below):
            return self._foreign(f"{below.__module__}.{below.__qualname__}")
        by_hand = loaded_by_hand(below)
        live = by_hand.live if by_hand else sys.modules.get(below.__module__)
        module = module_of(live) if live else None
        root, *inner = below.__qualname__.split(".")
        if module is None or root not in module.binds or not _is_held(below, live, root):
            self.alive.append(below)
            return self._unit(("~", id(below)), partial(self._write_alone, below))
        text = self._symbol(module, root)
        return text + self._made_by_a_call(below) if "<locals>" in inner else text

    def _made_by_a_call(self, one: Any) -> str:
        """What distinguishes a function or class from others that the same function made."""
        own = {name: value for name, value in vars(one).items() if isinstance(value, PLAIN) and not name.startswith("__")}
        cells = [
            (name, self.value(cell.cell_contents, 4))
            for function in functions_of(one)
            for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
            if name != "__class__" and is_filled(cell) and cell.cell_contents is not one
        ]
        return f"{plain_text(own if isinstance(one, type) else {})}{sorted(set(cells))}{self._given_to_it(one) or ''}"

    def _given_to_it(self, one: Any) -> list[str]:
        """What a call may have given to its result, beside plain values: containers, bases, defaults."""
        held = sorted(vars(one).items()) if isinstance(one, type) else []
        others = [
            (name, plain_value(value)) for name, value in held if not name.startswith("_") and not isinstance(value, PLAIN)
        ]
        found = [f"{name} {text}" for name, text in others if text]
        bases = one.__mro__[1:] if isinstance(one, type) else ()
        found += [self._code(base) for base in bases if is_own(base.__module__)]
        for function in written_functions(one):
            given = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
            found += [self.value(value, 4) for value in given if value is not one]
        return found

    def _foreign(self, dotted: str) -> str:
        """The name of an object whose code a record names by a version. Modules of the core may move."""
        top, _, rest = dotted.partition(".")
        if top == "fewshot_bench":
            return f"{top}:{rest.rpartition('.')[2]}"
        if top not in NOT_HASHED and (found := package_of(top)):
            self.packages[found.metadata["Name"]] = found.version
        return dotted

    # What a name stands for

    def _symbol(self, module: Module, name: str) -> str:
        """What a module binds to a name."""
        if name == EFFECTS and not module.effects:
            return ""
        if name in (WHOLE, EFFECTS) or name in module.binds:
            where = module.name if sys.modules.get(module.name) is module.live else f"{module.name} {id(module.live)}"
            return self._unit((where, name), partial(self._write_symbol, module, name))
        if name in module.imported:
            return "|".join(self._imported(where, attribute, ()) for where, attribute in module.imported[name])
        if found := self._starred(module, name):
            return found
        if f"{module.name}.{name}" in sys.modules:
            return self._module(f"{module.name}.{name}")
        return self._symbol(module, WHOLE)  # made by the module's `__getattr__`, or put there by others

    def _starred(self, module: Module, name: str) -> str:
        for star in module.stars:
            live = sys.modules.get(star)
            if live is not None and hasattr(live, name):
                return self._imported(star, name, ())
        return ""

    def _imported(self, where: str, attribute: str | None, chain: tuple[str, ...]) -> str:
        """What an import binds, and `chain` of it, where that is a module's."""
        dotted = where if attribute is None else f"{where}.{attribute}"
        if not is_own(where):
            return self._foreign(dotted)
        module = own_module(where)
        if module is None:
            return self._without_text(where, (attribute, *chain) if attribute else chain)
        if attribute is not None and attribute not in module.binds and attribute not in module.imported:
            if (inner := own_module(dotted)) is None:
                return self._symbol(module, attribute)
            module, attribute = inner, None
        if attribute is not None:
            return self._symbol(module, attribute)
        while chain and chain[0] not in module.binds and chain[0] not in module.imported:
            inner = own_module(f"{module.name}.{chain[0]}")
            if inner is None:
                break
            module, chain = inner, chain[1:]
        return self._symbol(module, chain[0] if chain else WHOLE)

    def _without_text(self, where: str, chain: tuple[str, ...]) -> str:
        """What stands for a chain of attributes of a package without a file of its own, or of what is compiled."""
        if chain and (own_module(inner := f"{where}.{chain[0]}") or inner in sys.modules):
            return self._imported(inner, None, chain[1:])
        live = sys.modules.get(where)
        if live is None:
            return f"missing {chain[0] if chain else where.rpartition('.')[2]}"
        file = file_of(live)
        inner_modules = [self._module(name) for name in sorted(sys.modules) if name.startswith(f"{where}.") and not chain]
        compiled = hashlib.sha256(file.read_bytes()).hexdigest() if file is not None and file.is_file() else ""
        return f"{chain}{compiled}{inner_modules}"

    def _name(self, module: Module, name: str, chain: tuple[str, ...], local: Imported) -> str | None:
        """What a name stands for in a statement of a module; None for what is Python's own."""
        live = vars(module.live).get(name)
        found = []
        for where, attribute in (*local.get(name, ()), *module.imported.get(name, ())):
            found.append(self._imported(where, attribute, chain))
        if name in module.binds:
            found.append(self._symbol(module, name))
        if not found and (star := self._starred(module, name)):
            found.append(star)
        if isinstance(live, ModuleType) and name not in module.imported and name not in local:
            found.append(self._by_hand(live, chain) or self._imported(live.__name__, None, chain))
        elif not found and name in vars(module.live) and not hasattr(builtins, name) and not name.startswith("__"):
            found.append(self.value(live))  # others put it there
        return "|".join(found) if found else None

    # What is written of a unit

    def _write_symbol(self, module: Module, name: str) -> str:
        if name == EFFECTS:
            return self._written(module, module.effects)
        statements = module.statements if name == WHOLE else module.binds[name]
        text = self._written(module, statements)
        if not module.as_imported:
            held = vars(module.live) if name == WHOLE else {name: vars(module.live).get(name)}
            text += repr([code_text(one.__code__) for value in held.values() for one in functions_of(value)])
        if name != WHOLE:
            text += self._live(module, name)
        read = sorted(set(read_by(module.live).values()))
        return text + self._symbol(module, EFFECTS) + self._run_by_imports(module) + (f"read{read}" if read else "")

    def _run_by_imports(self, module: Module) -> str:
        """What the modules that are imported do beside binding names."""
        inner = [own_module(name) for name in sorted(module.needed) if name in sys.modules]
        written = [self._symbol(one, EFFECTS) for one in inner if one and one is not module and self._does_more(one)]
        return repr(written) if written else ""

    def _does_more(self, module: Module) -> bool:
        """Whether importing a module does more than to bind names, in it or in what it imports."""
        waiting, seen = [module.name], {module.name}
        while waiting:
            live = sys.modules.get(waiting.pop())
            one = module_of(live) if live is not None and is_own(live.__name__) else None
            if one is not None:
                if one.effects:
                    return True
                waiting += one.needed - seen
                seen |= one.needed
        return False

    def _written(self, module: Module, statements: Iterable[ast.stmt]) -> str:
        """Statements, and what each name in them stands for."""
        lines = []
        for statement in statements:
            text, used, outer, local = module.read(statement)
            refs = [
                (name, found)
                for name, chain in sorted(outer)
                if (found := self._name(module, name, chain, local)) is not None
            ]
            calls = [self._module(name) for one in ast.walk(statement) if (name := called_import(one))]
            lines.append(f"{text}{sorted(set(refs))}{calls or ''}{self._lookups(module, used)}")
        return "\n".join(lines)

    def _lookups(self, module: Module, used: set[Chain]) -> str:
        """Where a statement may find code by a computed name: the whole of its module and of those beside it."""
        words = {word for name, chain in used for word in (name, *chain)}
        taken = {source for one in words for source in module.imported.get(one, ())}
        if (
            not words & LOOKUPS
            and ("sys", "modules") not in taken
            and ("sys", ("modules",)) not in {(name, chain[:1]) for name, chain in used}
        ):
            return ""
        found = [self._symbol(module, WHOLE)]
        found += [self._module(name) for name in sorted(module.needed) if name in sys.modules and is_own(name)]
        if words & {"import_module", "__import__"}:
            found += sorted(canonical(ast.parse(path.read_bytes())) for path in _beside(module))
        return repr(found)

    def _live(self, module: Module, name: str) -> str:
        """What a name stands for beyond what its statements say: bases and functions that were set from elsewhere."""
        live = vars(module.live).get(name)
        below = unwrapped(live)
        texts = []
        if isinstance(below, type | FunctionType) and is_own(below.__module__ or "builtins"):
            home = (below.__module__, below.__qualname__.partition(".")[0])
            if home != (module.name, name):
                texts.append(self._code(below))
        if isinstance(live, type):
            texts += [self._code(base) for base in live.__mro__[1:] if is_own(base.__module__)]
            for one in written_functions(live):
                if not one.__qualname__.startswith(f"{live.__qualname__}.") and is_own(one.__module__ or "builtins"):
                    texts.append(self._code(one))
            if attributes := live_attributes(module, name, live):
                texts.append(attributes)
        elif text := live_name(module, name, live):
            texts.append(text)
        elif live is not None and not isinstance(live, ModuleType | FunctionType):
            self.held.append(live)
        return repr(texts) if texts else ""

    def _write_alone(self, one: Any) -> str:
        """A class or function that its module does not hold: of a notebook, or of a module that was imported again."""
        functions = written_functions(one)
        bases = [self._code(base) for base in one.__mro__[1:] if is_own(base.__module__)] if isinstance(one, type) else []
        held = (
            {
                name: self.value(value, 4)
                for name, value in vars(one).items()
                if (not name.startswith("__") or name == "__annotations__") and not list(functions_of(value))
            }
            if isinstance(one, type)
            else {}
        )
        written = []
        for function in functions:
            node = cell_statement(function)
            names: set[Chain] = {(name, ()) for name in names_in(function.__code__)} if node is None else chains(node)
            local = {} if node is None else imports_of(node, "")
            written.append(code_text(function.__code__) if node is None else canonical(node))
            written.append(repr(sorted(self._globals(function, names, local))))
        return repr([one.__qualname__, bases, held, written, self._made_by_a_call(one)])

    def _globals(self, function: FunctionType, used: set[Chain], local: Imported) -> Iterator[tuple[str, str]]:
        """What the names of a function stand for, which has no module's text around it."""
        for name, chain in used:
            if name in local:
                yield from ((name, self._imported(where, attribute, chain)) for where, attribute in local[name])
            elif name in function.__globals__ and not name.startswith("__"):
                value = function.__globals__[name]
                is_module = isinstance(value, ModuleType)
                yield name, self._imported(value.__name__, None, chain) if is_module else self.value(value)


def _is_nowhere(below: Any) -> bool:
    """Whether a class names one of Python's modules although it is not from there: its metaclass's, or a namespace's without
    a name."""
    place = sys.modules.get(below.__module__ or "builtins")
    return place in (abc, builtins) and not hasattr(place, below.__qualname__.partition(".")[0])


def _is_held(below: Any, live: ModuleType | None, root: str) -> bool:
    """Whether a module holds a class or function under its name; one made by a call is not held itself."""
    if "<locals>" in below.__qualname__ or "<lambda>" in below.__qualname__:
        return True
    found: Any = live
    for part in below.__qualname__.split("."):
        found = vars(found).get(part) if hasattr(found, "__dict__") else None
    found = unwrapped(found)
    if isinstance(below, FunctionType):
        return any(below is one for one in functions_of(found)) or not isinstance(found, FunctionType)
    return found is below or not isinstance(found, type)


def _code_in(value: Any, depth: int = 0) -> Iterator[Any]:
    """Classes and functions that an object at module level holds."""
    below = unwrapped(value)
    if isinstance(below, type | FunctionType):
        yield below
    elif isinstance(value, partial):
        yield from _code_in([value.func, *value.args, *value.keywords.values()], depth)
    elif isinstance(value, MethodType):
        yield value.__func__
    elif depth < 4 and not isinstance(value, PLAIN) and not isinstance(value, ModuleType):
        yield type(value)
        inner = children(value)
        for one in list(getattr(value, "__dict__", {}).values()) if inner is None else inner:
            yield from _code_in(one, depth + 1)


def _beside(module: Module) -> list[Path]:
    """The files of the package that a module is in, or those beside it."""
    file = file_of(module.live)
    if file is None:
        return []
    depth = module.package.count(".")
    pattern = "**/*.py" if module.package else "*.py"
    return sorted((file.parents[depth] if module.package else file.parent).glob(pattern))
