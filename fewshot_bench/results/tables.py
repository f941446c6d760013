"""Results as tables: one for each protocol, data set, size of episodes and metric; a row an experiment, its seeds pooled."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fewshot_bench.episodes.protocols import PROTOCOLS
from fewshot_bench.episodes.size import EpisodeSize, span
from fewshot_bench.hashing import canonical_json
from fewshot_bench.metrics import METRICS, extra_metrics, is_regression
from fewshot_bench.results.data_columns import with_data_intervals
from fewshot_bench.results.data_interval import Over
from fewshot_bench.results.look_alikes import titled_apart
from fewshot_bench.results.pooling import Conflict, Pooled, pool
from fewshot_bench.results.records import Record
from fewshot_bench.results.row_settings import backbone_text, option_text, row_differences
from fewshot_bench.results.statistics import Interval
from fewshot_bench.results.table_notes import table_notes
from fewshot_bench.results.ties import tied_with_best
from fewshot_bench.specs import TrainSpec
from fewshot_bench.table import Cell, Column, Table

_RANKS = "Rank by the mean; only the protocols standard and standard-regression rank."
_BEST = Column(
    "best",
    "best",
    "The best, and what is tied with it: not separated from it in pairs, after Holm's correction over all pairs.",
)
_RANK = Column("rank", "#", _RANKS, "right", leads=True)
_METHOD = Column("method", "method", "Name of the method's plugin.", leads=True)
_REST = (
    Column("settings", "differs in", "Settings in which rows that look alike differ."),
    Column("backbone", "backbone", "The network that embeds the images."),
    Column("trained", "trained", "Ways and shots of the training episodes, and the classes where not those of train alone."),
    Column("images", "images", "Training images processed.", "right", shown=False),
    Column("normalisation", "norm", "Batch normalisation at test: whose statistics normalise support and queries."),
    Column("episodes", "episodes", "Test episodes.", "right"),
    Column("seeds", "seeds", "Training seeds, all tested on the same episodes.", "right"),
    Column("runs", "runs", "Run ids, one a training seed."),
    Column("low", "low", "Lower end of the confidence interval.", "right", shown=False),
    Column("high", "high", "Upper end of the confidence interval.", "right", shown=False),
    Column("level", "level", "Confidence level of the interval.", "right", shown=False),
    Column("interval", "interval", "How the interval was computed.", shown=False),
    Column("estimand", "estimand", "What the interval speaks of.", shown=False),
    Column("queries", "queries", "Query images a class in a test episode.", "right", shown=False),
    Column("digest", "digest", "Digest of the test episodes.", shown=False),
    Column("hparams", "hyper-parameters", "Hyper-parameters of the method.", shown=False),
    Column("commands", "commands", "Commands that reproduce the runs.", shown=False),
)


@dataclass(frozen=True)
class Board:
    """A table, and what each of its rows stands for."""

    table: Table
    rows: Sequence[Pooled]


def results_tables(records: Iterable[Record]) -> list[Table]:
    """The tables of `boards`."""
    return [board.table for board in boards(records)[0]]


def boards(
    records: Iterable[Record], over: Collection[Over] = (), *, bootstrap: bool = False
) -> tuple[list[Board], list[Conflict]]:
    """The results of `records`, best first, in tables sorted by data set, size of episodes, protocol and metric; and the
    records that contradict each other, which stand in none.

    `over`: of what else than more episodes a column shows the interval. `bootstrap`: intervals of one seed are BCa. The
    order of `records` and the folders they lie in change nothing. Raises `DataError` where scores are damaged.
    """
    groups: dict[tuple[Any, ...], list[Pooled]] = defaultdict(list)
    results, conflicts = pool(records, bootstrap=bootstrap)
    for pooled in results:
        test = pooled.test
        size = (test["ways"], test["shots"], canonical_json(EpisodeSize.of(test).more))
        ranks = _ranks(test["protocol"])
        key = (_data(pooled), *size, test["protocol"], pooled.metric, pooled.direction, _episodes(pooled) if ranks else ())
        groups[key].append(pooled)
    alike = Counter(key[:-1] for key in groups)  # other images under one name: ranks are of the same episodes
    each = [groups[key] for key in sorted(groups)]
    tables = [_table(groups[key], named=alike[key[:-1]] > 1) for key in sorted(groups)]
    apart = titled_apart(tables, each)
    found = [with_data_intervals(table, one, over) if over else table for table, one in zip(apart, each, strict=True)]
    return [Board(table, one) for table, one in zip(found, each, strict=True)], conflicts


def _episodes(pooled: Pooled) -> tuple[str, int]:
    """Ranks are of the same episodes."""
    return pooled.digest, int(pooled.test["episodes"])


def _data(pooled: Pooled) -> str:
    """What was tested on, with its options; `glyphs → omniglot` where that is not what was trained on."""
    tested = data_text(pooled.test)
    if pooled.train["dataset"] == pooled.test["dataset"] or not pooled.train["updates"]:
        return tested
    return f"{data_text(pooled.train)} → {tested}"


def data_text(spec: Mapping[str, Any]) -> str:
    """The data set of a spec: `omniglot`, or `omniglot (split=lake)`."""
    options = ", ".join(f"{key}={option_text(value)}" for key, value in sorted(spec["data"].items()))
    return f"{spec['dataset']} ({options})" if options else str(spec["dataset"])


def _ranks(protocol: str) -> bool:
    return protocol in PROTOCOLS and PROTOCOLS[protocol].ranks


def interval_text(interval: Interval, metric: str) -> str:
    """`95.34 ± 0.15` in the metric's unit of print; `100.000 (99.998–100.000)` where the interval is not symmetric.

    Two decimals, or as many as its half-width needs not to be shown as zero.
    """
    mean, low, high = (value * METRICS[metric].scale for value in (interval.mean, interval.low, interval.high))
    half = (high - low) / 2
    if half <= 0:
        return f"{mean:.2f} (no interval)"
    digits = max(2, -int(f"{half:.0e}".partition("e")[2]))
    if abs((high - mean) - (mean - low)) < 0.1**digits / 2:
        return f"{mean:.{digits}f} ± {half:.{digits}f}"
    return f"{mean:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


def _table(results: Sequence[Pooled], *, named: bool) -> Table:
    """The table of results that share protocol, data set, size of episodes and metric; `named`: with the data's identity."""
    test, metric, direction = results[0].test, results[0].metric, results[0].direction
    protocol, dataset, size = test["protocol"], _data(results[0]), EpisodeSize.of(test)
    dataset += f" [{results[0].data.rpartition(' ')[2]}]" if named else ""
    score = Column("mean", METRICS[metric].title, METRICS[metric].definition, "right", leads=True)
    ranks, extras = _ranks(protocol), _extras(results)
    places = _ranked(results) if ranks else [None] * len(results)
    best = _with_best(results) if ranks else [None] * len(results)
    about = {
        "protocol": protocol,
        "dataset": dataset,
        "ways": size.ways,
        "shots": size.shots,
        **size.more,
        "metric": metric,
        "direction": direction,
    }
    task = f"{size.shots} points" if is_regression(metric) else size.text
    return Table(
        title=f"{dataset}, {task}, protocol {protocol}",
        columns=[replace(_RANK, shown=ranks), _METHOD, score, _BEST, *_extra_columns(extras), *_columns(results)],
        rows=[
            _row(*one) | _extra_cells(one[0], extras)
            for one in zip(results, places, best, row_differences(results), strict=True)
        ],
        notes=table_notes(protocol, results),
        about=about,
    )


def _extra_columns(names: Iterable[str]) -> list[Column]:
    """The columns of extra metrics."""
    columns = []
    for name in names:
        metric = METRICS[name]
        columns.append(Column(name, metric.title, metric.definition, "right"))
        ends = (("low", "Lower"), ("high", "Upper"))
        columns += [
            Column(f"{name}-{end}", f"{metric.label or name} {end}", f"{said} end of its interval.", "right", shown=False)
            for end, said in ends
        ]
    return columns


def _extras(results: Sequence[Pooled]) -> list[str]:
    """The extra metrics that a row has."""
    return [name for name in extra_metrics() if any(name in pooled.extra for pooled in results)]


def _extra_cells(pooled: Pooled, names: Iterable[str]) -> dict[str, Cell]:
    cells: dict[str, Cell] = {}
    for name in names:
        found = pooled.extra.get(name)
        cells[name] = Cell(found.mean, interval_text(found, name)) if found else Cell.of(None)
        cells |= {f"{name}-{end}": Cell.of(getattr(found, end, None)) for end in ("low", "high")}
    return cells


def _columns(results: Sequence[Pooled]) -> list[Column]:
    """The columns after the score: with that of the training images where the trained rows differ in them."""
    differ = len({seen for pooled in results if (seen := _images(pooled.train))}) > 1
    return [replace(column, shown=differ) if column.key == "images" else column for column in _REST]


def _with_best(results: Sequence[Pooled]) -> list[str | None]:
    """`best`, `tied` or None for each result, of those on the same episodes, best first."""
    if len(results) == 1:
        return [None]
    each = [[run.record.scores(run.result) for run in pooled.runs] for pooled in results]
    scores = [np.stack(one) if len(one) > 1 else one[0][None] for one in each]  # [K, E]
    tied = {*tied_with_best(scores, direction=results[0].direction)}
    return ["best" if i == 0 else "tied" if i in tied else None for i in range(len(results))]


def _row(pooled: Pooled, rank: int | None, best: str | None, differences: Mapping[str, Any]) -> dict[str, Cell]:
    train, test, interval = pooled.train, pooled.test, pooled.interval
    ids = [run.run_id for run in pooled.runs]
    apart = ", ".join(f"{name}={option_text(value)}" for name, value in differences.items())
    more = f" +{len(ids) - 1}" if len(ids) > 1 else ""
    return {
        "rank": Cell.of(rank),
        "method": Cell.of(train["method"]),
        "mean": Cell(interval.mean, interval_text(interval, pooled.metric)),
        "best": Cell(best, best or ""),
        "settings": Cell(dict(differences), apart),
        "backbone": Cell.of(backbone_text(train["backbone"])),
        "trained": Cell.of(_trained(train, pooled.metric)),
        "images": Cell(_images(train), f"{_images(train):,}" if _images(train) else "–"),
        "normalisation": Cell.of(test["normalisation"]),
        "episodes": Cell.of(test["episodes"]),
        "seeds": Cell.of(len(pooled.runs)),
        "runs": Cell(ids, ids[0] + more),
        "low": Cell.of(interval.low),
        "high": Cell.of(interval.high),
        "level": Cell.of(interval.level),
        "interval": Cell.of(interval.method),
        "estimand": Cell.of(pooled.estimand),
        "queries": Cell.of(test["queries"]),
        "digest": Cell.of(pooled.digest),
        "hparams": Cell.of(train["hparams"]),
        "commands": Cell.of([run.command for run in pooled.runs]),
    }


def _trained(train: Mapping[str, Any], metric: str) -> str | None:
    """What an update saw, in words, and from which splits where not from `train` alone; None where nothing was trained."""
    if not train["updates"]:
        return None
    splits = f" of {train['split']}" if train["split"] != "train" else ""
    if train["batch_size"] is not None:
        return f"all classes{splits}, batches of {train['batch_size']}"
    size = EpisodeSize.of(train)
    return (f"{span(size.shots, size.max_shots)} points" if is_regression(metric) else size.text) + splits


def _images(train: Mapping[str, Any]) -> int:
    return TrainSpec.model_construct(**train).images


def _ranked(results: Sequence[Pooled]) -> list[int]:
    """1 for the best, which comes first; equal means share a rank."""
    ranks: list[int] = []
    for place, pooled in enumerate(results):
        tied = place and results[place - 1].order[0] == pooled.order[0]
        ranks.append(ranks[-1] if tied else place + 1)
    return ranks
