"""A small machine for pickles. All its instructions are here. They make only Python's own lists, tuples, dictionaries, text,
bytes and numbers, and what admitted functions return.

Python's own machine has instructions that data do not need, and that call, alter or extend what they find. They are unknown
here (persistent and extension objects, INST, OBJ, NEWOBJ, out-of-band buffers, sets, DUP, POP). For the others:

- a pickle can change only lists and dictionaries that it made itself: BYTEARRAY8 makes bytes;
- a dictionary's key is text, bytes or a number: the hash of a tuple in a tuple in a tuple ... needs a stack without end;
- memory stays in proportion to the file: the memo grows only with what was put there, whatever its number; nesting and the
  number of instructions are bounded; functions may not make more than twice what was read.
"""

import codecs
import pickle
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import IO, Any, ClassVar

LARGEST = 2**34
"""The most bytes of a pickle."""
LONGEST_LINE = 2**30
"""The most bytes of a line: Python 2 wrote a whole array in one."""
MOST_STEPS = 2**27
"""The most instructions. tiered-ImageNet's half million images take a tenth of them."""
MOST_NESTED = 256
LONGEST_NUMBER = 1000
"""Bytes."""
SLACK = 2**20
"""The bytes that functions may always make."""
KEYS = (str, bytes, int, float, type(None))


@dataclass(frozen=True)
class Admitted:
    """A function that a pickle may call by its name; it returns the value, and how many bytes it made for it."""

    function: Callable[..., tuple[Any, int]]


class Buildable:
    """A value that a pickle may make in two steps. `build` returns the value that takes its place, and how many bytes it
    took."""

    needed: ClassVar[bool] = False
    """True if it is incomplete before the second step: a pickle that ends earlier is refused."""

    def build(self, state: tuple[Any, ...]) -> tuple[Any, int]:
        """The value with its state."""
        raise NotImplementedError


class Machine:
    """Runs one pickle; `find` returns what a module's name stands for, or raises."""

    def __init__(self, file: IO[bytes], find: Callable[[str, str], Admitted]) -> None:
        self.file, self.find = file, find
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []  # the stacks under each mark
        self.memo: dict[int, Any] = {}
        self.places: dict[int, list[int]] = {}  # places of the memo that hold a value which may still be built, by its id
        self.taken = self.made = self.unbuilt = 0

    def run(self) -> Any:
        """What the pickle holds; raises `pickle.UnpicklingError`, and other errors for parts that do not fit together."""
        for _ in range(MOST_STEPS):
            code = self.file.read(1)
            if code == b".":
                return self._result()
            if (instruction := INSTRUCTIONS.get(code)) is None:
                raise pickle.UnpicklingError(f"an instruction {code!r}" if code else "it ends too soon")
            instruction(self)
        raise pickle.UnpicklingError(f"more than {MOST_STEPS:,} instructions")

    def _result(self) -> Any:
        if len(self.stack) != 1 or self.below or self.unbuilt:
            raise pickle.UnpicklingError("it ends with something unfinished")
        if self.file.read(1):
            raise pickle.UnpicklingError("it goes on after its end")
        return self.stack[0]

    def take(self, size: int) -> bytes:
        """The next bytes."""
        self.taken += size
        if not 0 <= size <= LARGEST or self.taken > LARGEST:
            raise pickle.UnpicklingError(f"{size:,} bytes at once")
        content = self.file.read(size)
        if len(content) < size:
            raise pickle.UnpicklingError("it ends too soon")
        return content

    def line(self) -> bytes:
        """The rest of a line."""
        content = self.file.readline(LONGEST_LINE)
        self.taken += len(content)
        if not content.endswith(b"\n"):
            raise pickle.UnpicklingError("it ends too soon")
        return content[:-1]

    def push(self, value: Any) -> None:
        """Put a value on the stack."""
        self.stack.append(value)

    def number(self, form: str) -> Any:
        """The next number, stored as `struct` says."""
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def since_mark(self) -> list[Any]:
        """What was put on the stack since the last mark."""
        values, self.stack = self.stack, self.below.pop()
        return values

    def mark(self) -> None:
        """Begin what `since_mark` ends."""
        if len(self.below) == MOST_NESTED:
            raise pickle.UnpicklingError(f"values nested more than {MOST_NESTED} deep")
        self.below.append(self.stack)
        self.stack = []

    def popped(self, size: int) -> tuple[Any, ...]:
        """The last `size` values of the stack."""
        if len(self.stack) < size:
            raise pickle.UnpicklingError("an instruction without its values")
        values = tuple(self.stack[len(self.stack) - size :])
        del self.stack[len(self.stack) - size :]
        return values

    def put(self, place: int) -> None:
        """Remember the last value."""
        value = self.memo[place] = self.stack[-1]
        if isinstance(value, Buildable):
            self.places.setdefault(id(value), []).append(place)

    def extend(self, values: list[Any]) -> None:
        """Add values to the list that is last on the stack."""
        if type(self.stack[-1]) is not list:
            raise pickle.UnpicklingError(f"values added to a {type(self.stack[-1]).__name__}")
        self.stack[-1].extend(values)

    def update(self, values: list[Any]) -> None:
        """Add keys and values to the dictionary that is last on the stack."""
        if type(self.stack[-1]) is not dict or len(values) % 2:
            raise pickle.UnpicklingError(f"keys added to a {type(self.stack[-1]).__name__}")
        keys = values[::2]
        if wrong := [type(key).__name__ for key in keys if not isinstance(key, KEYS)]:
            raise pickle.UnpicklingError(f"a {wrong[0]} as a key")
        self.stack[-1].update(zip(keys, values[1::2], strict=True))

    def named(self, module: str, name: str) -> None:
        """Put what a name stands for on the stack."""
        self.push(self.find(module, name))

    def call(self) -> None:
        """Call an admitted function."""
        function, values = self.popped(2)
        if not isinstance(function, Admitted) or type(values) is not tuple:
            raise pickle.UnpicklingError("a call of something that is not a function")
        value = self._counted(function.function(*values))
        self.unbuilt += isinstance(value, Buildable) and value.needed
        self.push(value)

    def build(self) -> None:
        """Give a value its state."""
        value, state = self.popped(2)
        if not isinstance(value, Buildable) or type(state) is not tuple:
            raise pickle.UnpicklingError(f"a state for a {type(value).__name__}")
        built = self._counted(value.build(state))
        self.unbuilt -= value.needed
        for place in self.places.pop(id(value), ()):
            self.memo[place] = built
        self.push(built)

    def _counted(self, result: tuple[Any, int]) -> Any:
        value, size = result
        self.made += size
        if self.made > 2 * self.taken + SLACK:
            raise pickle.UnpicklingError("it makes far more than it holds")
        return value


def _text(content: bytes) -> str:
    return content.decode("utf-8")  # no lone surrogates


def _escaped_text(content: bytes) -> str:
    text = content.decode("raw-unicode-escape")
    text.encode("utf-8")
    return text


def _quoted(content: bytes) -> bytes:
    if len(content) < 2 or content[:1] != content[-1:] or content[:1] not in (b"'", b'"'):
        raise pickle.UnpicklingError("text without its quotes")
    decoded: bytes = codecs.escape_decode(content[1:-1])[0]
    return decoded


def _whole(content: bytes) -> int:
    if len(content) > LONGEST_NUMBER:
        raise pickle.UnpicklingError("a number without end")
    return content == b"01" if content in (b"00", b"01") else int(content.rstrip(b"L"))


def _long(content: bytes) -> int:
    if len(content) > LONGEST_NUMBER:
        raise pickle.UnpicklingError("a number without end")
    return int.from_bytes(content, "little", signed=True)


def _protocol(machine: Machine) -> None:
    if (protocol := machine.number("B")) > pickle.HIGHEST_PROTOCOL:
        raise pickle.UnpicklingError(f"protocol {protocol}")


def _dictionary(machine: Machine) -> None:
    values = machine.since_mark()
    machine.push({})
    machine.update(values)


def _stack_name(machine: Machine) -> None:
    module, name = machine.popped(2)
    if type(module) is not str or type(name) is not str:
        raise pickle.UnpicklingError("a name that is not text")
    machine.named(module, name)


def _appended(machine: Machine) -> None:
    machine.extend(list(machine.popped(1)))


def _item(machine: Machine) -> None:
    machine.update(list(machine.popped(2)))


Instruction = Callable[[Machine], None]


def _sized(form: str, made: Callable[[bytes], Any] = bytes) -> Instruction:
    """Push what is made of a content whose size stands before it."""
    return lambda machine: machine.push(made(machine.take(machine.number(form))))


def _line(made: Callable[[bytes], Any]) -> Instruction:
    return lambda machine: machine.push(made(machine.line()))


def _number(form: str) -> Instruction:
    return lambda machine: machine.push(machine.number(form))


def _constant(value: Any) -> Instruction:
    return lambda machine: machine.push(value)


INSTRUCTIONS: Mapping[bytes, Instruction] = {
    pickle.PROTO: _protocol,
    pickle.FRAME: lambda machine: machine.number("<Q"),
    pickle.MARK: Machine.mark,
    pickle.NONE: _constant(None),
    pickle.NEWTRUE: _constant(True),
    pickle.NEWFALSE: _constant(False),
    pickle.INT: _line(_whole),
    pickle.LONG: _line(_whole),
    pickle.FLOAT: _line(float),
    pickle.BININT: _number("<i"),
    pickle.BININT1: _number("<B"),
    pickle.BININT2: _number("<H"),
    pickle.BINFLOAT: _number(">d"),
    pickle.LONG1: _sized("<B", _long),
    pickle.LONG4: _sized("<i", _long),
    pickle.STRING: _line(_quoted),
    pickle.BINSTRING: _sized("<i"),
    pickle.SHORT_BINSTRING: _sized("<B"),
    pickle.BINBYTES: _sized("<I"),
    pickle.SHORT_BINBYTES: _sized("<B"),
    pickle.BINBYTES8: _sized("<Q"),
    pickle.BYTEARRAY8: _sized("<Q"),
    pickle.UNICODE: _line(_escaped_text),
    pickle.BINUNICODE: _sized("<I", _text),
    pickle.SHORT_BINUNICODE: _sized("<B", _text),
    pickle.BINUNICODE8: _sized("<Q", _text),
    pickle.EMPTY_LIST: lambda machine: machine.push([]),
    pickle.EMPTY_DICT: lambda machine: machine.push({}),
    pickle.EMPTY_TUPLE: _constant(()),
    pickle.LIST: lambda machine: machine.push(machine.since_mark()),
    pickle.TUPLE: lambda machine: machine.push(tuple(machine.since_mark())),
    pickle.DICT: _dictionary,
    pickle.TUPLE1: lambda machine: machine.push(machine.popped(1)),
    pickle.TUPLE2: lambda machine: machine.push(machine.popped(2)),
    pickle.TUPLE3: lambda machine: machine.push(machine.popped(3)),
    pickle.APPEND: _appended,
    pickle.APPENDS: lambda machine: machine.extend(machine.since_mark()),
    pickle.SETITEM: _item,
    pickle.SETITEMS: lambda machine: machine.update(machine.since_mark()),
    pickle.PUT: lambda machine: machine.put(_whole(machine.line())),
    pickle.BINPUT: lambda machine: machine.put(machine.number("<B")),
    pickle.LONG_BINPUT: lambda machine: machine.put(machine.number("<I")),
    pickle.MEMOIZE: lambda machine: machine.put(len(machine.memo)),
    pickle.GET: lambda machine: machine.push(machine.memo[_whole(machine.line())]),
    pickle.BINGET: lambda machine: machine.push(machine.memo[machine.number("<B")]),
    pickle.LONG_BINGET: lambda machine: machine.push(machine.memo[machine.number("<I")]),
    pickle.GLOBAL: lambda machine: machine.named(_text(machine.line()), _text(machine.line())),
    pickle.STACK_GLOBAL: _stack_name,
    pickle.REDUCE: Machine.call,
    pickle.BUILD: Machine.build,
}
"""All instructions of this machine, by their codes; STOP ends a run."""
