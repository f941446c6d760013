"""`fsbench`: its commands."""

import sys
from typing import Annotated

import typer

from fewshot_bench.cli.bench import bench
from fewshot_bench.cli.bundle import pack, unpack
from fewshot_bench.cli.check import check
from fewshot_bench.cli.compare import compare
from fewshot_bench.cli.data import data_app
from fewshot_bench.cli.explain import explain
from fewshot_bench.cli.help import Command
from fewshot_bench.cli.listing import list_app, show
from fewshot_bench.cli.power import power
from fewshot_bench.cli.reproduce import reproduce
from fewshot_bench.cli.run import run
from fewshot_bench.cli.sweep import sweep
from fewshot_bench.cli.table import table
from fewshot_bench.cli.test import test
from fewshot_bench.cli.verify import verify
from fewshot_bench.cli.watch import watch
from fewshot_bench.errors import FewshotError, UsageError
from fewshot_bench.plugins import registry

HELP = """A benchmark harness for few-shot learning: every method sees the same episodes, every number can be traced.

Examples:

  fsbench run --method maml --ways 5 --shots 1

  fsbench run --method prototypical-networks --dataset omniglot --data-root DATA --seeds 0-4

  fsbench table runs

  fsbench list methods
"""

BadUse = typer.BadParameter.__bases__[0]  # click's UsageError, whether typer depends on click or carries it
BadCommandLine: type[Exception] = BadUse.__bases__[0]  # click's ClickException

app = typer.Typer(help=HELP, no_args_is_help=True, add_completion=False, rich_markup_mode=None)
app.command(cls=Command)(run)
app.command(cls=Command)(sweep)
app.command(cls=Command)(watch)
app.command(cls=Command)(test)
app.add_typer(list_app, name="list")
app.add_typer(data_app, name="data")
app.command(cls=Command)(show)
app.command(cls=Command)(table)
app.command(cls=Command)(compare)
app.command(cls=Command)(explain)
app.command(cls=Command)(power)
app.command(cls=Command)(check)
app.command(cls=Command)(verify)
app.command(cls=Command)(reproduce)
app.command(cls=Command)(pack)
app.command(cls=Command)(unpack)
app.command(cls=Command)(bench)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"fewshot-bench {registry.version()}")
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
]


@app.callback()
def _options(version: Version = False) -> None: ...


def call(arguments: list[str]) -> int:
    """Run one command and return its exit code; raises `FewshotError`, `KeyboardInterrupt` and `OSError`."""
    try:
        _add_commands()
        result = app(arguments, prog_name="fsbench", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except BadCommandLine as error:
        context = getattr(error, "ctx", None)
        if type(error).__name__ == "NoArgsIsHelpError" and context is not None:
            print(context.get_help(), file=sys.stderr)
            return 2
        path = context.command_path if context else "fsbench"
        raise UsageError(f"{error.format_message()}\nSee: {path} --help") from None  # type: ignore[attr-defined]
    except typer.Abort:
        raise KeyboardInterrupt from None


def _add_commands() -> None:
    for plugin in registry.registered("commands").values():
        if plugin.name not in {group.name for group in app.registered_groups}:
            try:
                app.add_typer(plugin.load(), name=plugin.name)
            except FewshotError as error:  # a broken plugin is reported and breaks nothing else
                print(f"fsbench: {error}", file=sys.stderr)
