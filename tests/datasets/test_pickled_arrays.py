"""Pickles of arrays: what is read, and that nothing in them is executed."""

import io
import os
import pickle
import struct
import subprocess
import sys
import tracemalloc
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_imagenet import dumps

from fewshot_bench.errors import DataError
from fewshot_datasets.sources.pickled_arrays import ADMITTED, read_pickle
from fewshot_datasets.sources.unpickling import INSTRUCTIONS

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
ARRAYS = [
    np.arange(24, dtype=np.uint8).reshape(2, 3, 4),
    np.arange(2000, dtype=np.int64),
    np.arange(6, dtype=">i4"),
    np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    np.array([True, False]),
    np.array(7, np.int16),
    np.array([b"n01532829"]),
    np.array(["Käfer", "b"]),
    np.zeros((0, 3), np.float32),
]


def global_(module: str, name: str) -> bytes:
    """The instruction that looks a global up."""
    return f"c{module}\n{name}\n".encode()


def call(function: bytes, *arguments: bytes) -> bytes:
    """The instructions that call it with some arguments."""
    return function + b"(" + b"".join(arguments) + b"tR"


def string(value: str) -> bytes:
    """The instruction that pushes text."""
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}{array.shape}")
def test_an_array_is_read_as_it_was_pickled(array: Any, protocol: int) -> None:
    """By every protocol; numpy itself reads byte orders into the machine's own."""
    read = read_pickle(pickle.dumps({"a": array}, protocol))["a"]
    theirs = pickle.loads(pickle.dumps(array, protocol))
    np.testing.assert_array_equal(read, theirs)
    assert (read.dtype, read.shape) == (theirs.dtype, theirs.shape)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_containers_text_bytes_and_numbers_are_read(protocol: int) -> None:
    """And numpy's numbers, as Python's."""
    content = {"t": ("ü", b"\xff\0", b""), "l": [1, 2.5, None, True, 2**70], 3: {"x": []}}
    assert read_pickle(pickle.dumps(content, protocol)) == content
    read = read_pickle(pickle.dumps([np.uint8(3), np.float64(0.1), np.bool_(True)], protocol))
    assert read == [3, 0.1, True] and [type(one) for one in read] == [int, float, bool]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_ordered_dictionary_becomes_a_plain_one_in_its_order(protocol: int) -> None:
    """Its type needs a name, and has no use here."""
    read = read_pickle(pickle.dumps(OrderedDict(b=1, a=2), protocol))
    assert type(read) is dict and list(read.items()) == [("b", 1), ("a", 2)]


def test_a_pickle_of_python_2_is_read() -> None:
    """Its text comes as bytes, its arrays as they were."""
    read = read_pickle(dumps({"data": np.arange(9, dtype=np.uint8), "name": "é"}, python2=True))
    np.testing.assert_array_equal(read[b"data"], np.arange(9))
    assert read[b"name"] == b"\xe9"


def test_an_array_can_be_sent_to_another_process() -> None:
    """There it is a plain one."""
    array = read_pickle(pickle.dumps(np.arange(5)))
    for protocol in PROTOCOLS:
        again = pickle.loads(pickle.dumps(array, protocol))
        np.testing.assert_array_equal(again, np.arange(5))
        assert type(again) is np.ndarray


def test_a_file_is_read_like_bytes() -> None:
    """From where it stands."""
    assert read_pickle(io.BytesIO(pickle.dumps([1, 2]))) == [1, 2]


REFUSED = [
    ("os", "system"),
    ("posix", "system"),
    ("nt", "system"),
    ("subprocess", "Popen"),
    ("builtins", "eval"),
    ("builtins", "exec"),
    ("builtins", "getattr"),
    ("__builtin__", "eval"),
    ("__builtin__", "bytearray"),
    ("numpy", "load"),
    ("numpy", "fromfile"),
    ("numpy", "memmap"),
    ("numpy.distutils.exec_command", "exec_command"),
    ("numpy.testing._private.utils", "runstring"),
    ("numpy.f2py.diagnose", "os.system"),
    ("numpy.core.multiarray", "frombuffer"),
    ("numpy._core.multiarray", "_reconstruct.__globals__"),
    ("numpy", "core.multiarray._reconstruct"),
    ("numpy", "dtype.__init__"),
    ("collections", "namedtuple"),
    ("_codecs", "decode"),
    ("codecs", "encode"),
    ("copyreg", "_reconstructor"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("fewshot_datasets.sources.pickled_arrays", "ADMITTED"),
]


@pytest.mark.parametrize(("module", "name"), REFUSED, ids=lambda part: part)
@pytest.mark.parametrize("protocol", [2, 4])
def test_every_other_name_is_refused_and_said(module: str, name: str, protocol: int, tmp_path: Path) -> None:
    """By either way to write it; its call, which would leave a file, is not made."""
    asked = global_(module, name) if protocol == 2 else b"\x80\x04" + string(module) + string(name) + b"\x93"
    with pytest.raises(DataError) as error:
        read_pickle(call(asked, string(f"touch {tmp_path / 'ran'}")) + b".", "some.pkl")
    assert str(error.value).startswith(f"some.pkl is not read: it asks for '{module}.{name}'")
    assert not list(tmp_path.iterdir())


class Touch:
    """Pickles as a call that writes a file."""

    def __init__(self, path: Path, how: Callable[..., Any]) -> None:
        self.path, self.how = path, how

    def __reduce__(self) -> Any:
        return self.how, (f"__import__('pathlib').Path({str(self.path)!r}).touch()",)


@pytest.mark.parametrize("how", [eval, exec])
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "hide",
    [
        lambda one: one,
        lambda one: {"image_data": np.zeros(3), "class_dict": {"n01532829": [0, one]}},
        lambda one: {one: 1},
        lambda one: np.array([one, None], object),
        lambda one: OrderedDict(a=one),
        lambda one: (1, [(2, [one])]),
    ],
    ids=["bare", "among the places", "a key", "in an array", "in an ordered dictionary", "nested"],
)
def test_a_program_is_not_executed_wherever_it_hides(
    tmp_path: Path, hide: Callable[[Touch], object], how: Callable[..., Any], protocol: int
) -> None:
    """The same pickle leaves a file behind when Python reads it."""
    content = pickle.dumps(hide(Touch(tmp_path / "ran", how)), protocol)
    with pytest.raises(DataError):
        read_pickle(content)
    assert not (tmp_path / "ran").exists()
    pickle.loads(content)
    assert (tmp_path / "ran").exists()


UINT8 = call(global_("numpy", "dtype"), string("u1"), b"I0\n", b"I1\n")
NDARRAY = global_("numpy", "ndarray")
RECONSTRUCT = global_("numpy.core.multiarray", "_reconstruct")
EMPTY = call(RECONSTRUCT, NDARRAY, b"(I0\nt", string("b"))


def array(shape: bytes, kind: bytes = UINT8, content: bytes = b"C\x03abc") -> bytes:
    """The instructions that make an array, of three bytes unless told."""
    return EMPTY + b"(I1\n" + shape + kind + b"I00\n" + content + b"tb."


def test_the_forged_arrays_below_would_be_read_if_they_were_true() -> None:
    """Three bytes for a shape of three."""
    np.testing.assert_array_equal(read_pickle(array(b"(I3\nt")), list(b"abc"))


OBJECTS = call(global_("numpy", "dtype"), string("O8"), b"I0\n", b"I1\n")
RECORD = UINT8 + b"(I3\n" + string("|") + b"N(" + string("f") + b"t}" + string("f") + b"(" + UINT8 + b"I0\ntsI8\nI1\nI0\ntb"
ENCODE = global_("_codecs", "encode")
FORGED = {
    "a huge shape": array(b"(I100000000000000\nt"),
    "an overflowing shape": array(b"(L9223372036854775807L\nL3L\nt"),
    "a negative shape": array(b"(I-1\nI-3\nt"),
    "a shape of text": array(b"(" + string("3") + b"t"),
    "no shape": array(b"N"),
    "many dimensions": array(b"(" + b"I1\n" * 40 + b"I3\nt"),
    "too few bytes": array(b"(I4\nt"),
    "objects as bytes": array(b"(I1\nt", OBJECTS, b"C\x08abcdefgh"),
    "objects as a list": array(b"(I1\nt", OBJECTS, b"(I1\nl"),
    "a list as numbers": array(b"(I3\nt", UINT8, b"(I1\nI2\nI3\nl"),
    "a record type": array(b"(I8\nt", RECORD, b"C\x08abcdefgh"),
    "a type of records by its text": call(global_("numpy", "dtype"), string("O,u1")) + b".",
    "a type made of a list": call(global_("numpy", "dtype"), b"(" + string("u1") + b"l") + b".",
    "a shape at first": call(RECONSTRUCT, NDARRAY, b"(I100000000000000\nt", string("b")) + b"I1\n.",
    "a class of its own": call(RECONSTRUCT, ENCODE, b"(I0\nt", string("b")) + b".",
    "an array by its class": call(NDARRAY, b"(I100000000000000\nt") + b".",
    "an array by new": b"\x80\x02" + NDARRAY + b"(I9\nt\x81.",
    "an object of a type": b"\x80\x02" + global_("numpy", "dtype") + b"(" + string("u1") + b"t\x81.",
    "many bytes": call(global_("__builtin__", "bytes"), b"L100000000000000L\n") + b".",
    "another codec": call(ENCODE, string("abc"), string("rot13")) + b".",
    "a codec's module": call(ENCODE, string("abc"), string("antigravity")) + b".",
    "a state for a function": ENCODE + b"}" + string("_function") + b"I1\nsb.",
    "a state for a class": NDARRAY + b"(N}" + string("__call__") + ENCODE + b"stb.",
    "a state of another length": EMPTY + b"(I1\ntb.",
    "a number of two bytes": call(global_("numpy.core.multiarray", "scalar"), UINT8, b"C\x02ab") + b".",
    "a buffer too short": call(global_("numpy._core.numeric", "_frombuffer"), b"C\x02ab", UINT8, b"(I3\nt", string("C"))
    + b".",
    "an extension": b"\x82\x01.",
    "a persistent object": b"P1\n.",
}


@pytest.mark.parametrize("content", FORGED.values(), ids=FORGED)
def test_a_forged_array_is_refused(content: bytes) -> None:
    """Before any memory is given to it, and without numpy's own reading."""
    with pytest.raises(DataError, match="truncated or not a pickle of arrays"):
        read_pickle(content)


def test_what_a_pickle_may_call_stays_as_it_is() -> None:
    """A refused pickle leaves nothing behind in the functions that it named."""
    before = {name: (id(one), one.function) for name, one in ADMITTED.items()}
    for content in FORGED.values():
        with pytest.raises(DataError):
            read_pickle(content)
    assert before == {name: (id(one), one.function) for name, one in ADMITTED.items()}


@pytest.mark.parametrize("content", [b"", b"\x80", b"PK\x03\x04", b"\x89HDF\r\n", b"hello", bytes(100)])
def test_what_is_no_pickle_is_refused(content: bytes) -> None:
    """Whatever else it is."""
    with pytest.raises(DataError, match="the pickle is truncated or not a pickle of arrays"):
        read_pickle(content)


@pytest.mark.parametrize("length", [2**60, 2**34, 2**31])
def test_a_forged_length_is_refused(length: int, tmp_path: Path) -> None:
    """Whether or not there is memory for it."""
    (tmp_path / "a.pkl").write_bytes(b"\x8e" + struct.pack("<Q", length))
    with (tmp_path / "a.pkl").open("rb") as file, pytest.raises(DataError, match=r"a\.pkl (is truncated|needs more memory)"):
        read_pickle(file, "a.pkl")


def bytearray8(content: bytes) -> bytes:
    """The instruction that makes a buffer which can be changed, by Python's own machine."""
    return b"\x96" + struct.pack("<Q", len(content)) + content


FROM_BUFFER = global_("numpy._core.numeric", "_frombuffer")
MANY = bytes(2000)
CHANGES = {
    "a buffer under an array is extended": bytearray8(MANY)
    + b"q\0"
    + b"("
    + call(FROM_BUFFER, b"h\0", UINT8, b"(I2000\nt")
    + b"h\0(I1\neI1\nt.",
    "a buffer is extended by one": bytearray8(MANY) + b"I1\na.",
    "a buffer is written to": bytearray8(MANY) + b"I0\nI1\ns.",
    "an array is written to": call(FROM_BUFFER, bytearray8(MANY), UINT8, b"(I2000\nt") + b"I0\nI1\ns.",
    "an array is extended": call(FROM_BUFFER, bytearray8(MANY), UINT8, b"(I2000\nt") + b"(I1\ne.",
    "an array gets another state": array(b"(I3\nt")[:-1] + b"(I1\n(I3\nt" + UINT8 + b"I00\nC\x03abctb.",
    "a text is written to": string("abc") + b"I0\n" + string("d") + b"s.",
    "a tuple is written to": b"(I1\nt(I1\ne.",
    "an array of no content": EMPTY + b".",
    "an array whose content never comes": b"(" + EMPTY + b"t.",
    "booleans of other values": call(FROM_BUFFER, b"C\x03\0\1\2", call(global_("numpy", "dtype"), string("b1")), b"(I3\nt")
    + b".",
    "text of no characters": call(
        FROM_BUFFER, b"C\x04\xff\xff\xff\x7f", call(global_("numpy", "dtype"), string("<U1")), b"(I1\nt"
    )
    + b".",
    "a lone surrogate": b"X\x03\0\0\0\xed\xa0\x80.",
    "an escaped surrogate": b"V\\ud800\n.",
    "a tuple as a key": b"}(I1\ntI1\ns.",
    "a deep tuple as a key": b"})" + b"\x85" * 100_000 + b"I1\ns.",
    "a deep tuple as a key of pairs": call(
        global_("collections", "OrderedDict"), b"((" + b")" + b"\x85" * 100_000 + b"I1\nttt"
    )
    + b".",
    "a number without end": b"L" + b"9" * 5000 + b"L\n.",
    "a number of many bytes": b"\x8b" + struct.pack("<i", 2**20) + b"\xff" * 2**20 + b".",
    "a negative length": b"T" + struct.pack("<i", -1) + b".",
    "marks in marks": b"(" * 100_000 + b".",
    "two values": b"I1\nI2\n.",
    "more behind the end": pickle.dumps([1]) + pickle.dumps([2]),
    "nothing remembered": b"h\5.",
}


@pytest.mark.parametrize("content", CHANGES.values(), ids=CHANGES)
def test_nothing_but_a_list_and_a_dictionary_can_be_changed(content: bytes) -> None:
    """Nor can what would need a stack or a memory without end be made."""
    with pytest.raises(DataError, match="truncated or not a pickle of arrays"):
        read_pickle(content)


def test_an_array_cannot_be_written_to() -> None:
    """It shows what the pickle held, in bytes that nothing else changes."""
    for protocol in PROTOCOLS:
        read = read_pickle(pickle.dumps(np.arange(2000), protocol))
        assert type(read) is np.ndarray
        with pytest.raises(ValueError, match="read-only"):
            read[0] = 1


KNOWN = {code for code in (getattr(pickle, name) for name in pickle.__all__ if name.isupper()) if isinstance(code, bytes)}


def test_instructions_that_data_do_not_need_are_unknown() -> None:
    """Each by itself is refused, whatever stands on the stack."""
    unknown = KNOWN - INSTRUCTIONS.keys() - {pickle.STOP}
    assert {pickle.PERSID, pickle.BINPERSID, pickle.EXT1, pickle.INST, pickle.OBJ, pickle.NEWOBJ} <= unknown
    assert {pickle.NEWOBJ_EX, pickle.NEXT_BUFFER, pickle.READONLY_BUFFER, pickle.DUP, pickle.POP} <= unknown
    for code in unknown:
        with pytest.raises(DataError, match="an instruction"):
            read_pickle(b"(I1\nI2\n" + code + b"\1\0\0\0\n.")


BOMBS = {
    "copies of text": string("x" * 50_000) + b"q\0(" + call(ENCODE, b"h\0") * 20_000 + b"t.",
    "copies of a dictionary": b"("
    + b"(I1\nI2\nt" * 5000
    + b"tq\0("
    + call(global_("collections", "OrderedDict"), b"h\0") * 20_000
    + b"t.",
    "copies of an array": b"C\xff"
    + bytes(255)
    + b"q\0("
    + call(global_("numpy", "dtype"), string(">u2"))
    + b"q\1"
    + (call(RECONSTRUCT, NDARRAY, b"(I0\nt", string("b")) + b"(I1\n(I127\ntq\1I00\nh\0tb")
    + b"t.",
    "a far place of the memo": b"I1\nr\xff\xff\xff\x7fr\xff\xff\xff\xffI1\n.",
}


@pytest.mark.parametrize("content", BOMBS.values(), ids=BOMBS)
def test_a_small_pickle_takes_little_memory(content: bytes) -> None:
    """What is copied again and again is soon refused."""
    tracemalloc.start()
    try:
        with pytest.raises(DataError):
            read_pickle(content)
        assert tracemalloc.get_traced_memory()[1] < 2**25
    finally:
        tracemalloc.stop()


FUZZ = """
import faulthandler, pickle, random, sys
faulthandler.enable()
import numpy as np
from fewshot_bench.errors import DataError
from fewshot_datasets.sources.pickled_arrays import read_pickle
from fewshot_datasets.sources.unpickling import INSTRUCTIONS

random = random.Random(int(sys.argv[1]))
held = {"a": np.arange(600), "b": [np.float32(1), ("x", b"y" * 300)], 3: np.array(["ab", "c"])}
held["d"] = {"e": np.ones((2, 3), ">f4")}
seeds = [pickle.dumps(held, protocol) for protocol in range(6)]
codes = [code for code in INSTRUCTIONS] + [bytes([i]) for i in range(256)]


def walked(value, depth=0):
    if isinstance(value, np.ndarray):
        value.tobytes(), value.astype("U") if value.dtype.kind in "SU" else value.sum()
    elif isinstance(value, dict) and depth < 5:
        [walked(one, depth + 1) for one in value.values()]
    elif isinstance(value, (list, tuple)) and depth < 5:
        [walked(one, depth + 1) for one in value[:50]]


read = 0
for _ in range(4000):
    content = bytearray(random.choice(seeds))
    for _ in range(random.randint(1, 4)):
        place = random.randrange(len(content))
        way = random.randrange(4)
        if way == 0:
            content[place] = random.randrange(256)
        elif way == 1:
            content[place:place] = random.choice(codes) * random.randint(1, 3)
        elif way == 2:
            del content[place : place + random.randint(1, 9)]
        else:
            other = random.choice(seeds)
            start = random.randrange(len(other))
            content[place:place] = other[start : start + random.randint(1, 200)]
    try:
        walked(read_pickle(bytes(content)))
        read += 1
    except DataError:
        pass
print(read)
"""


def test_altered_pickles_are_refused_or_read_and_harm_no_memory() -> None:
    """In a process whose memory is checked at each release."""
    environment = os.environ | {"PYTHONMALLOC": "debug"}
    run = subprocess.run([sys.executable, "-c", FUZZ, "0"], env=environment, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    assert 100 < int(run.stdout) < 4000


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_pickle_cut_anywhere_is_refused(protocol: int) -> None:
    """Each beginning of a small one."""
    content = pickle.dumps({"a": np.arange(3), "b": [np.int64(1), "x"]}, protocol)
    for length in range(len(content)):
        with pytest.raises(DataError):
            read_pickle(content[:length])
