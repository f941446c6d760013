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
from fewshot_bench.results.families import Family, all_pairs
from fewshot_bench.results.look_alikes import remarks, titled_apart
from fewshot_bench.results.pairs import compare_pair
from fewshot_bench.results.pooling import Conflict, Pooled, pool
from fewshot_bench.results.recipe_share import recipe_share, recipe_text
from fewshot_bench.results.records import Record
from fewshot_bench.results.statistics import Interval
from fewshot_bench.specs import BackboneSpec, TrainSpec
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

_PLAIN_IN_THE_ROW = {
    *("method", "backbone", "batch_size", "split"),
    *("ways", "max_ways", "shots", "max_shots", "imbalanced", "unlabelled", "distractors"),
}
"""Training settings that have a column of their own."""


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
    options = ", ".join(f"{key}={_option(value)}" for key, value in sorted(spec["data"].items()))
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
    ranks = _ranks(protocol)
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
        columns=[replace(_RANK, shown=ranks), _METHOD, score, _BEST, *_extra_columns(results), *_columns(results)],
        rows=[
            _row(*one) | _extra_cells(one[0], _extras(results))
            for one in zip(results, places, best, _differences(results), strict=True)
        ],
        notes=[*_notes(protocol, results), *_cut_short(results), *remarks(results)],
        about=about,
    )


def _extra_columns(results: Sequence[Pooled]) -> list[Column]:
    """The columns of each extra metric that a row has."""
    columns = []
    for name in _extras(results):
        metric = METRICS[name]
        columns.append(Column(name, metric.title, metric.definition, "right"))
        ends = (("low", "Lower"), ("high", "Upper"))
        columns += [
            Column(f"{name}-{end}", f"{metric.label or name} {end}", f"{said} end of its interval.", "right", shown=False)
            for end, said in ends
        ]
    return columns


def _extras(results: Sequence[Pooled]) -> list[str]:
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
    scores = [np.stack([run.record.scores(run.result) for run in pooled.runs]) for pooled in results]
    direction = results[0].direction
    pairs = {(i, j): compare_pair(scores[i], scores[j], direction=direction) for i, j in all_pairs(len(results))}
    tied = Family.of(pairs, len(results), 0.95).tied_with_best
    return ["best" if i == 0 else "tied" if i in tied else None for i in range(len(results))]


def _row(pooled: Pooled, rank: int | None, best: str | None, differences: Mapping[str, Any]) -> dict[str, Cell]:
    train, test, interval = pooled.train, pooled.test, pooled.interval
    ids = [run.run_id for run in pooled.runs]
    more = f" +{len(ids) - 1}" if len(ids) > 1 else ""
    return {
        "rank": Cell.of(rank),
        "method": Cell.of(train["method"]),
        "mean": Cell(interval.mean, interval_text(interval, pooled.metric)),
        "best": Cell(best, best or ""),
        "settings": Cell(dict(differences), ", ".join(f"{name}={_option(value)}" for name, value in differences.items())),
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


def backbone_text(backbone: Mapping[str, Any] | None) -> str | None:
    """The network of a training in words: `conv4-64`, or `conv4-64 (frozen)`."""
    return str(BackboneSpec.model_construct(**backbone)) if backbone else None


def _option(value: Any) -> str:
    """A setting's value as it is written after `--set`."""
    return value if isinstance(value, str) else canonical_json(value)


def _ranked(results: Sequence[Pooled]) -> list[int]:
    """1 for the best, which comes first; equal means share a rank."""
    ranks: list[int] = []
    for place, pooled in enumerate(results):
        tied = place and results[place - 1].order[0] == pooled.order[0]
        ranks.append(ranks[-1] if tied else place + 1)
    return ranks


def _differences(results: Sequence[Pooled]) -> list[dict[str, Any]]:
    """The settings in which each result differs from rows that would otherwise look the same."""
    settings = [_settings(pooled) for pooled in results]
    looks = [_looks(pooled) for pooled in results]
    alike: dict[str, list[dict[str, str]]] = defaultdict(list)
    for look, one in zip(looks, settings, strict=True):
        alike[look].append({name: canonical_json(value) for name, value in one.items()})
    varying: dict[str, set[str]] = {}
    for look, group in alike.items():
        names = {name for one in group for name in one}
        varying[look] = {name for name in names if len({one.get(name) for one in group}) > 1}
    return [
        {name: value for name, value in one.items() if name in varying[look]}
        for look, one in zip(looks, settings, strict=True)
    ]


def differing(results: Sequence[Pooled]) -> list[str]:
    """The settings in which each result differs from the others of its method, as `--set` has them; their code and data
    where nothing else differs."""
    plain = ("code", "source", "engine", "test source", "test engine", "data", "digest")
    flat = [{**_shown(pooled), **_settings(pooled)} for pooled in results]
    texts = [{name: _option(value) for name, value in one.items()} for one in flat]
    said = []
    for pooled, own in zip(results, texts, strict=True):
        same = [t for other, t in zip(results, texts, strict=True) if other.train["method"] == pooled.train["method"]]
        varying = [name for name in own if len({one.get(name) for one in same}) > 1]
        named = [name for name in varying if name not in plain] or varying
        said.append(", ".join(f"{name}={own[name]}" for name in named))
    return said


def _shown(pooled: Pooled) -> dict[str, Any]:
    """The settings that have a column in the tables, but for the method."""
    train = {name: pooled.train.get(name) for name in sorted(_PLAIN_IN_THE_ROW - {"method", "backbone"})}
    named = {"backbone": backbone_text(pooled.train["backbone"]), "test.normalisation": pooled.test["normalisation"]}
    return {**named, **_flat(train, "train.")}


def _looks(pooled: Pooled) -> str:
    """What the table's own columns say of a row's settings."""
    shown = [pooled.train.get(name) for name in sorted(_PLAIN_IN_THE_ROW)]
    return canonical_json([*shown, pooled.test["normalisation"]])


def _settings(pooled: Pooled) -> dict[str, Any]:
    """Everything that a row stands for and that has no column, flat, the method's hyper-parameters first."""
    train = {name: value for name, value in pooled.train.items() if name not in _PLAIN_IN_THE_ROW}
    test = {name: value for name, value in pooled.test.items() if name not in ("normalisation", "episodes")}
    flat = {**train.pop("hparams"), **_flat(train, "train."), **_flat(test, "test.")}
    source, _, engine = pooled.scored_by.partition("-")
    code = {"source": pooled.source[:8], "engine": pooled.engine, "test source": source[:8], "test engine": engine}
    return {**flat, **code, "data": pooled.data, "digest": pooled.digest[:8]}


def _flat(values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat


def _cut_short(results: Sequence[Pooled]) -> list[str]:
    """A note on each training that had a part of its recipe's updates."""
    runs = [(pooled.train["method"], run) for pooled in results for run in pooled.runs]
    cut = [(method, run) for method, run in runs if recipe_share(run.record.content) is not None]
    return [f"{method} {run.run_id}: recipe {recipe_text(run.record.content)}." for method, run in cut]


def _notes(protocol: str, results: Sequence[Pooled]) -> list[str]:
    methods: dict[str, list[str]] = defaultdict(list)
    for pooled in results:
        methods[pooled.interval.method].append(pooled.train["method"])
    said = [
        f"Interval: {method}" + (f" ({', '.join(names)})." if len(methods) > 1 else ".") for method, names in methods.items()
    ]
    digests = sorted({pooled.digest for pooled in results})
    one = f"test episodes of digest {digests[0][:12]}, the same for every row."
    many = (
        f"{len(digests)} different sets of test episodes (digests {', '.join(d[:12] for d in digests)}), "
        "whose results are neither pooled nor comparable in pairs."
    )
    copies = [
        f"{pooled.train['method']}: seed {', '.join(map(str, pooled.repeated))} has the scores of another seed in every "
        "episode and does not count."
        for pooled in results
        if pooled.repeated
    ]
    return [f"Protocol {protocol}; {one if len(digests) == 1 else many}", *said, *copies]
