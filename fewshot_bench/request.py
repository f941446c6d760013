"""What a user asks for, declared once.

The options of `fsbench run` and `fsbench test`, their help and defaults, the arguments of `fewshot_bench.run`, what a record
keeps of a request, and the command that asks for a result again are all made of these fields. Nothing here is slow to
import: pydantic reads the declaration where a request is `checked`, and a command that only prints its help checks none.
"""

import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar, get_args

from fewshot_bench import arguments
from fewshot_bench.text.printable import printable

WRITTEN = (
    *("method", "dataset", "backbone", "test_dataset", "test_data_root", "ways", "shots", "protocol", "queries", "episodes"),
    *("sampling", "recipe", "images", "seed", "device", "threads", "shard", "keep", "settings", "data_root"),
)
"""The fields in the order in which a command is written: what is asked for, under which conditions, where the data lie."""
AUTO = "auto"
"""The device that is chosen where none is named."""

Asked = TypeVar("Asked", "Request", "TestRequest")


@dataclass(frozen=True)
class Option:
    """A field of a request as a user meets it: an option of a command, an argument of a function."""

    help: str
    read: Callable[[str, Any], Any] = arguments.word
    """Makes the field's value of the argument's name and what a caller gave; raises `UsageError`."""
    advanced: bool = False
    """Whether the help shows it below, with what is seldom needed."""
    flag: str = ""
    """What the command calls it, where that is not the field's name."""
    metavar: str | None = None
    shown: str | None = None
    """How the help shows the default, where the field has None."""
    several: bool = False
    """Whether a command takes several values as one text, a request for each."""
    kept: bool = False
    """Whether a record keeps it: it stands in no specification."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        """How pydantic checks a field that is annotated with this: by `read`, where a value is given."""
        from pydantic_core import core_schema

        optional = type(None) in get_args(source)

        def read(value: Any, info: Any) -> Any:
            return None if value is None and optional else self.read(info.field_name, value)

        return core_schema.with_info_plain_validator_function(read)


_Text = str | None
_Number = int | None
_Folder = Path | None

Protocol = Annotated[
    _Text, Option("Test conditions: standard, standard-transductive, standard-regression, snell, finn, ravi, custom.")
]
Settings = Annotated[
    tuple[str, ...],
    Option(
        "Set one key (repeatable).", lambda _, value: arguments.settings(value), flag="set", metavar="KEY=VALUE", kept=True
    ),
]
DataRoot = Annotated[_Folder, Option("Folder or archive of the data (else FSBENCH_DATA).", arguments.path)]
TestDataset = Annotated[
    _Text, Option("Test on another data set than it trains on.", arguments.reference("datasets"), advanced=True)
]
TestDataRoot = Annotated[
    _Folder, Option("Folder or archive of the test's data, if elsewhere.", arguments.path, advanced=True)
]
Device = Annotated[str, Option("auto, cpu, cuda, cuda:0, mps …", arguments.device, advanced=True)]
Threads = Annotated[
    _Number, Option("Threads (else OMP_NUM_THREADS, else the cores).", arguments.whole, advanced=True, kept=True)
]
Keep = Annotated[
    _Text,
    Option(
        "predictions: keep each answer too, for `fsbench explain`.",
        arguments.one_of("predictions"),
        advanced=True,
        metavar="WHAT",
        kept=True,
    ),
]
Queries = Annotated[_Number, Option("Test queries a class (protocol custom).", arguments.whole, advanced=True)]
Episodes = Annotated[_Number, Option("Test episodes (protocol custom).", arguments.whole, advanced=True)]
Sampling = Annotated[
    _Text, Option("disjoint: no two test episodes share an image (protocol custom).", advanced=True, shown="independent")
]


@dataclass(frozen=True)
class Request:
    """What a user asks of `run`: a training, and a test of it."""

    command: ClassVar = "run"

    method: Annotated[str, Option("A name of `fsbench list methods`, or file.py:Class.", arguments.reference("methods"))]
    dataset: Annotated[
        str, Option("A name of `fsbench list datasets`; a+b trains on both.", arguments.reference("datasets"))
    ] = "glyphs"
    ways: Annotated[_Number, Option("Classes in a test episode; functions have none.", arguments.whole, shown="5")] = None
    shots: Annotated[int, Option("Support images a class.", arguments.whole)] = 1
    seed: Annotated[
        int,
        Option("Training seeds, a run each: 0, 0-4 or 0,2,5.", arguments.whole, flag="seeds", several=True),
    ] = 0
    recipe: Annotated[
        _Text,
        Option(
            "A recipe of the method's card (or NAME@DATASET), or my.yaml.",
            lambda name, value: str(arguments.path(name, value)),
            kept=True,
        ),
    ] = None
    backbone: Annotated[_Text, Option("The embedding network (else the recipe's).", advanced=True)] = None
    settings: Settings = ()
    protocol: Protocol = None
    data_root: DataRoot = None
    test_dataset: TestDataset = None
    test_data_root: TestDataRoot = None
    device: Device = AUTO
    threads: Threads = None
    queries: Queries = None
    episodes: Episodes = None
    sampling: Sampling = None
    images: Annotated[
        _Number,
        Option("Budget of training images, which decides the updates.", arguments.whole, advanced=True, kept=True),
    ] = None
    keep: Keep = None
    classes: Mapping[str, type] = field(default_factory=dict)
    """Those of `method`, `dataset` and `test_dataset` that were given as classes, not by name."""


@dataclass(frozen=True)
class TestRequest:
    """What a user asks of `test`: another test of the same checkpoint. None keeps what the run's own test had.

    The file or module of the run's method, backbone and data set must be named again where it is not installed.
    """

    __test__ = False  # not a test class of pytest's
    command: ClassVar = "test"

    protocol: Protocol = None
    ways: Annotated[_Number, Option("Classes in a test episode.", arguments.whole)] = None
    shots: Annotated[_Number, Option("Support images a class.", arguments.whole)] = None
    settings: Settings = ()
    shard: Annotated[_Text, Option("One part of K, in any order; the last merges.", metavar="I/K")] = None
    data_root: DataRoot = None
    test_dataset: TestDataset = None
    test_data_root: TestDataRoot = None
    device: Device = AUTO
    threads: Threads = None
    queries: Queries = None
    episodes: Episodes = None
    sampling: Sampling = None
    keep: Keep = None
    method: Annotated[_Text, Option("The run's method, if a file or module.", advanced=True)] = None
    backbone: Annotated[_Text, Option("Its backbone, if a file or module.", advanced=True)] = None
    dataset: Annotated[_Text, Option("What it trained on, if a file or module.", advanced=True)] = None


def options(kind: type[Request] | type[TestRequest]) -> dict[str, Option]:
    """The options of a request, by field, in the order in which its help shows them."""
    annotated = {one.name: getattr(one.type, "__metadata__", ()) for one in fields(kind)}
    return {name: said[0] for name, said in annotated.items() if said}


def checked(kind: type[Asked], given: Mapping[str, Any]) -> Asked:
    """A request of arguments as a caller gives them; raises `UsageError` that names the argument."""
    from pydantic import TypeAdapter

    return TypeAdapter(kind).validate_python(dict(given))


def words(request: Request | TestRequest, run: Iterable[str] = (), **more: Any) -> list[str]:
    """The words of the command that asks for this, of a `run` where it is tested. What is None or left to this machine is
    not said. `more` are further options, or stand in the place of the request's own."""
    said = options(type(request))
    given = {said[name].flag or name: getattr(request, name) for name in sorted(said, key=WRITTEN.index)} | more
    if request.device == AUTO:
        del given["device"]
    pairs = [(name, one) for name, value in given.items() for one in (value if isinstance(value, tuple) else [value])]
    options_ = [word for name, one in pairs if one is not None for word in (f"--{name.replace('_', '-')}", str(one))]
    return ["fsbench", request.command, *run, *options_]


def line(command: Iterable[str]) -> str:
    """The words of a command as one line, quoted."""
    return shlex.join(printable(word, 1000) for word in command)
