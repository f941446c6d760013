"""`fsbench pack` and `fsbench unpack`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from fewshot_bench.cli.options import Json, Out
from fewshot_bench.cli.paths import PATH
from fewshot_bench.text.printable import printable


def pack(
    run: Annotated[str, typer.Argument(help="A run: its folder, its name, or the start of its id.")],
    file: Annotated[Path, typer.Argument(help="The file to write, such as maml.zip.", **PATH)],
    out: Out = Path("runs"),
) -> None:
    """Put a run into one file: record, scores, learning curve and weights.

    Example: fsbench pack 3f2a9c maml.zip
    """
    from fewshot_bench.cli.test import find_run
    from fewshot_bench.results.bundle import pack as write

    names = write(find_run(run, out), file)
    print(f"{printable(str(file))}: {', '.join(names)}")


def unpack(
    file: Annotated[Path, typer.Argument(help="What `fsbench pack` wrote.", **PATH)],
    out: Out = Path("runs"),
    as_json: Json = False,
) -> None:
    """Take a run out of a file that `fsbench pack` wrote. Nothing in it is executed.

    Example: fsbench unpack maml.zip
    """
    from fewshot_bench.results.bundle import unpack as read

    record = read(file, out)
    if as_json:
        print(json.dumps(record.content, indent=1))
    else:
        print(f"{printable(str(record.folder))}\nCheck it: fsbench verify {printable(str(record.folder))}")
