"""`fsbench power`."""

import json
import math
import sys
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import typer

from fewshot_bench.cli.options import Json, Out
from fewshot_bench.errors import UsageError


def power(
    runs: Annotated[list[str], typer.Argument(help="Runs: folders, names or starts of ids; or folders of runs.")],
    margin: Annotated[float, typer.Option(help="The difference to be found, in points of percent (or the metric's unit).")],
    out: Out = Path("runs"),
    chance: Annotated[float, typer.Option("--power", help="The chance with which it is to be found.")] = 0.8,
    level: Annotated[float, typer.Option(help="Confidence level.")] = 0.95,
    protocol: Annotated[str | None, typer.Option(help="Only results under this protocol.")] = None,
    as_json: Json = False,
) -> None:
    """How many episodes or seeds would tell two runs apart that differ by a margin, from the spread of their records.

    Example: fsbench power 3f2a9c 90de6c --margin 0.5
    """
    from fewshot_bench.cli.compare import records_of
    from fewshot_bench.metrics import METRICS
    from fewshot_bench.results.comparison import compare_records
    from fewshot_bench.results.power import needed

    if not (math.isfinite(margin) and margin > 0):
        raise UsageError(f"--margin must be above 0, got {margin:g}: write --margin 1.0 for one point.")
    reading = records_of(runs, out)
    rows = []
    for comparison in compare_records(reading.records, level=level, protocol=protocol):
        known = METRICS[comparison.metric]
        if margin >= (known.high - known.low) * known.scale:
            raise UsageError(f"--margin {margin:g} is no difference of two results in {known.title}.")
        for (i, j), judged in sorted(comparison.family.judged.items()):
            if judged.pair.low is None:
                labels = " and ".join(comparison.members[k].label for k in (i, j))
                print(f"fsbench: {labels} differ by the same in every episode: nothing to plan.", file=sys.stderr)
                continue
            found = needed(judged.pair, margin / known.scale, level=level, power=chance)
            row: dict[str, Any] = {
                "compared": comparison.title,
                "first": comparison.members[i].label,
                "second": comparison.members[j].label,
                "margin": margin,
            }
            row |= {"power": chance, "level": level, "episodes": found.episodes, "seeds": found.seeds}
            row |= {"episodes_now": judged.pair.episodes, "seeds_now": list(judged.pair.seeds), "power_now": found.power_now}
            rows.append(row)
    if as_json:
        print(json.dumps(rows, indent=1))
    else:
        for title, group in groupby(rows, key=lambda row: row["compared"]):
            print("\n".join([title, *map(_said, group)]))
    reading.end()


def _said(row: Mapping[str, Any]) -> str:
    need = f"{row['episodes']:,} test episodes" if row["episodes"] else "more test episodes than can be made"
    lines = [
        f"{row['first']} and {row['second']}, if they are {row['margin']:g} apart:",
        f"  these checkpoints: {need} tell them apart in {row['power']:.0%} of cases",
    ]
    first, second = row["seeds_now"]
    if min(first, second) < 2:
        return "\n".join([*lines, f"    now, with {row['episodes_now']:,} episodes: in {row['power_now']:.0%}"])
    seeds = f"{row['seeds']} training seeds of each" if row["seeds"] else "no number of training seeds"
    lines += [
        f"  the methods: {seeds} on {row['episodes_now']:,} episodes",
        f"    now, with {first} and {second} seeds: in {row['power_now']:.0%}",
    ]
    return "\n".join(lines)
