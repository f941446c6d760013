"""A request is declared once: commands, the Python function, records and written commands are made of its fields."""

import inspect
import shlex
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import call
from typer.main import get_command

import fewshot_bench
from fewshot_bench import UsageError
from fewshot_bench.cli.app import app
from fewshot_bench.request import WRITTEN, Request, TestRequest, checked, line, options, words
from fewshot_bench.results.stored_request import StoredRequest

KINDS: tuple[type[Request] | type[TestRequest], ...] = (Request, TestRequest)
OWN = {"expect", "out", "dry_run", "as_json", "on_existing", "run", "help"}
"""What the commands have beside a request."""
FULL = Request(
    method="maml",
    dataset="omniglot",
    ways=20,
    shots=5,
    seed=3,
    recipe="short",
    backbone="conv4-32",
    settings=("lr=0.1", "data.split=a b"),
    protocol="custom",
    data_root=Path("a b"),
    test_dataset="glyphs",
    test_data_root=Path("c"),
    device="cpu",
    threads=2,
    queries=3,
    episodes=8,
    images=100,
)


def defaults(kind: type) -> dict[str, Any]:
    """The default of each field that is an option; `empty` where one must be given."""
    named = {one.name: one.default for one in fields(kind) if one.name in options(kind)}
    return {name: inspect.Parameter.empty if default is MISSING else default for name, default in named.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_a_command_has_an_option_for_each_field(kind: type[Request] | type[TestRequest]) -> None:
    """Under its flag, with its help and its default, and none beside but its own."""
    command = get_command(app).commands[kind.command]  # type: ignore[attr-defined]
    shown = {one.name: one for one in command.params if one.name not in OWN}
    declared = {"seeds" if option.several else name: option for name, option in options(kind).items()}
    assert list(shown) == list(declared)
    for name, option in declared.items():
        assert shown[name].opts == [f"--{(option.flag or name).replace('_', '-')}"]
        assert shown[name].help == option.help
        default = defaults(kind)["seed" if option.several else name]
        assert shown[name].required == (default is inspect.Parameter.empty)
        assert shown[name].required or shown[name].default == (str(default) if option.several else default or None)


def test_the_python_function_has_the_arguments_and_defaults_of_a_request() -> None:
    """Beside the folder of records and what becomes of a finished run; `settings` None is no setting."""
    signature = inspect.signature(fewshot_bench.run)
    given = {name: one.default for name, one in signature.parameters.items() if name not in OWN}
    assert given == defaults(Request) | {"settings": None}


def test_a_record_keeps_what_is_marked() -> None:
    """And nothing else but which command asked; values of settings and folders are not kept."""
    kept = {name for name, option in options(Request).items() if option.kept}
    assert set(StoredRequest.model_fields) == {"by", *kept}
    stored = StoredRequest.of(FULL).as_json()
    settings = ["lr", "data.split"]
    assert stored == {"by": "run", "recipe": "short", "settings": settings, "threads": 2, "images": 100}
    assert StoredRequest.in_result({"request": stored}).as_json() == stored
    assert StoredRequest.of(TestRequest(settings=("test.seed=1",))).as_json() == {"by": "test", "settings": ["test.seed"]}


def test_a_result_without_a_request_has_no_settings_known() -> None:
    """As older records are."""
    assert StoredRequest.in_result({"command": "fsbench run --recipe x --set lr=1"}) == StoredRequest()


def test_a_request_is_written_as_the_command_that_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every field of it: the command line makes of the words the request that they were made of."""
    seen: list[Request] = []

    def refuse(request: Request, seeds: list[int]) -> None:
        seen.append(request)
        raise UsageError("Seen.")

    monkeypatch.setattr("fewshot_bench.runs.requests.resolve.resolve_seeds", refuse)
    command = line(words(FULL))
    assert "Seen." in call(*shlex.split(command)[1:]).complaint
    (request,) = seen
    assert {name: getattr(request, name) for name in options(Request) if name != "seed"} == {
        name: getattr(FULL, name) for name in options(Request) if name != "seed"
    }
    assert "--seeds 3" in command


def test_what_is_not_asked_is_not_written() -> None:
    """Nor the device that is left to the machine; further options stand last, or in the place of the request's own."""
    assert words(Request("maml"), seeds="0-2", out="r")[-6:] == ["--shots", "1", "--seeds", "0-2", "--out", "r"]
    assert words(TestRequest(shots=5), ["3f2a"]) == ["fsbench", "test", "3f2a", "--shots", "5"]


def test_every_field_has_its_place_in_a_command() -> None:
    """Once."""
    assert {name for kind in KINDS for name in options(kind)} == set(WRITTEN)
    assert len(set(WRITTEN)) == len(WRITTEN)


def test_a_request_is_checked_field_by_field() -> None:
    """The argument is named; a field with a default of its own takes no None."""
    assert checked(TestRequest, {"shots": np.int64(1), "settings": {"test": {"seed": 1}}}).settings == ("test.seed=1",)
    for wrong in ({"method": "maml", "shots": None}, {"method": "maml", "shots": 1.5}):
        with pytest.raises(UsageError, match="shots must be a whole number"):
            checked(Request, wrong)
