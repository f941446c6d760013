"""What a run says at its end."""

from typing import Any

from fewshot_bench.episodes.size import EpisodeSize
from fewshot_bench.metrics import METRICS, is_regression
from fewshot_bench.results.records import Record, measured
from fewshot_bench.results.rerun_command import Places, again
from fewshot_bench.results.statistics import Interval, is_disjoint, score_interval, trials_of
from fewshot_bench.results.tables import data_text, interval_text
from fewshot_bench.text.printable import printable

BY_STEP_A_LINE = 3


def summary(made: list[tuple[Record, dict[str, Any]]], places: Places | None = None) -> str:
    """The closing summary of one request's records (a seed each), each with the result that was asked for; with `places` the
    commands, which name no folder of this machine, are for it."""
    records, results = [record for record, _ in made], [result for _, result in made]
    first, result = made[0]
    test = result["test"]
    train_s = sum(record.content.get("cost", {}).get("train_s", 0) for record in records)
    test_s = sum(result.get("cost", {}).get("test_s", 0) for result in results)
    commands = [again(record.content, result, places) for record, result in made]
    regression = is_regression(result["metric"])
    task = f"{test['shots']} points" if regression else EpisodeSize.of(test).text
    each = "functions, {} query point{}" if regression else "episodes, {} quer{} a class"
    endings = ("", "s") if regression else ("y", "ies")
    queries = each.format(test["queries"], endings[test["queries"] != 1])
    seeds = ", ".join(str(record.content["train"]["seed"]) for record in records)
    lines = {
        **{name: _score(made, name) for name in measured(result)},
        "method": printable(f"{_title(first)} on {data_text(test)}, {task}"),
        "protocol": f"{printable(test['protocol'])}, {test['episodes']:,} {queries}, normalisation {test['normalisation']}",
        **_by_step(results),
        "seeds": seeds,
        "time": f"{train_s:.0f} s training, {test_s:.1f} s testing",
        "record": "\n".join(str(record.folder) for record in records),
        "again": "\n".join(commands),
    }
    width = max(map(len, lines)) + 2
    indent = "\n" + " " * width
    return "\n".join(f"{name:<{width}}{text.replace(chr(10), indent)}" for name, text in lines.items())


def _score(made: list[tuple[Record, dict[str, Any]]], metric: str) -> str:
    """The mean of a metric over all seeds and its interval."""
    scores = [record.scores(result["id"], metric) for record, result in made]
    interval = score_interval(scores, trials=trials_of(made[0][1]), metric=metric, disjoint=is_disjoint(made[0][1]))
    unit = f" {METRICS[metric].unit}".rstrip()
    return f"{interval_text(interval, metric)}{unit} ({interval.method})"


def _title(record: Record) -> str:
    method = record.content["method"]
    return str(method.get("title") or method["name"])


def _by_step(results: list[dict[str, Any]]) -> dict[str, str]:
    """The error after each inner step, where a test of regression gives it: of the first seed where there are several."""
    result = results[0]
    intervals = [
        (row["inner_steps"], Interval(row["mean"], row["low"], row["high"], "")) for row in result.get("by_step") or []
    ]
    texts = [f"{steps}: {interval_text(interval, result['metric'])}" for steps, interval in intervals]
    lines = ["  ".join(texts[first : first + BY_STEP_A_LINE]) for first in range(0, len(texts), BY_STEP_A_LINE)]
    if len(results) > 1:
        lines.append("of the first seed")
    return {"by step": "\n".join(lines)} if texts else {}
