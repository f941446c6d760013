"""The options of commands: those of a request as typer has them, and what several commands have besides."""

import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, fields
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from fewshot_bench import request
from fewshot_bench.cli.numbers import NUMBER
from fewshot_bench.cli.paths import PATH

ADVANCED = "Advanced"
"""The title under which the help shows what is seldom needed."""


def as_typer(annotated: Any) -> Any:
    """What typer is told of a field that is annotated with an `Option`."""
    kind, said = annotated.__origin__, annotated.__metadata__[0]
    types = (kind, *get_args(kind))
    more = NUMBER if int in types and not said.several else PATH if Path in types else {}
    if said.metavar is not None:
        more = {**more, "metavar": said.metavar}
    names = [f"--{said.flag}"] if said.flag else []
    panel = ADVANCED if said.advanced else None
    return typer.Option(*names, help=said.help, show_default=said.shown or True, rich_help_panel=panel, **more)


Out = Annotated[Path, typer.Option(help="Folder of the records.", **PATH)]
MethodHere = Annotated[str | None, typer.Option(help="The method, where it is not installed.", rich_help_panel=ADVANCED)]
BackboneHere = Annotated[str | None, typer.Option(help="The backbone, where it is not installed.", rich_help_panel=ADVANCED)]
DatasetHere = Annotated[str | None, typer.Option(help="The data set, where it is not installed.", rich_help_panel=ADVANCED)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
DataRoot = Annotated[Path | None, as_typer(request.DataRoot)]
TestDataRoot = Annotated[Path | None, as_typer(request.TestDataRoot)]
Device = Annotated[str, as_typer(request.Device)]


def asks(kind: type[request.Asked]) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """A command whose options are the fields of a request, which its function is handed whole, as `asked`; of a field of
    several values it is handed the text. Its own options come after those, its arguments before."""
    named = {one.name: one for one in fields(kind) if one.name in request.options(kind)}
    flags = {name: option.flag for name, option in request.options(kind).items() if option.several}

    def decorated(function: Callable[..., int]) -> Callable[..., int]:
        own = [one.replace(kind=one.KEYWORD_ONLY) for one in list(inspect.signature(function).parameters.values())[1:]]
        parameters = [one for one in own if one.default is one.empty and one.name not in flags.values()]
        parameters += [_parameter(flags.get(name, name), one) for name, one in named.items()]
        parameters += [one for one in own if one.default is not one.empty]

        @wraps(function)
        def command(**given: Any) -> int:
            said = {name: given.pop(name) for name in named if name not in flags}
            return function(request.checked(kind, said), **given)

        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {one.name: one.annotation for one in parameters}
        return command

    return decorated


def _parameter(name: str, one: Field[Any]) -> inspect.Parameter:
    """A field as a parameter of a command."""
    declared: Any = one.type
    kind, default = declared.__origin__, one.default
    if declared.__metadata__[0].several:
        kind, default = str, str(default)
    elif default == ():
        kind, default = list[str] | None, None
    annotation = Annotated[kind, as_typer(declared)]  # type: ignore[valid-type]
    default = inspect.Parameter.empty if default is MISSING else default
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
