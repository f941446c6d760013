"""What a run says at its end."""

from typing import Any

from fewshot_bench.episode_size import EpisodeSize
from fewshot_bench.records import Record
from fewshot_bench.results import data_text, interval_text
from fewshot_bench.statistics import Interval, score_interval, trials_of

BY_STEP_A_LINE = 3


def summary(records: list[Record], results: list[dict[str, Any]], here: str = "") -> str:
    """The closing summary of one request's records (a seed each) and the result of each that was asked for; `here` is what
    their commands lack on this machine, since records name no folder of it."""
    first, result = records[0], results[0]
    test = result["test"]
    scores = [record.scores(made["id"]) for record, made in zip(records, results, strict=True)]
    interval = score_interval(scores, trials=trials_of(result), metric=result["metric"])
    train_s = sum(record.content["cost"]["train_s"] for record in records)
    test_s = sum(made["cost"]["test_s"] for made in results)
    commands = [
        made.get("command", record.content["provenance"]["command"]) for record, made in zip(records, results, strict=True)
    ]
    regression = result["metric"] == "mse"
    unit = "" if regression else " %"
    task = f"{test['shots']} points" if regression else EpisodeSize.of(test).text
    queries = f"functions, {test['queries']} query points" if regression else f"episodes, {test['queries']} queries a class"
    seeds = ", ".join(str(record.content["train"]["seed"]) for record in records)
    lines = {
        result["metric"]: f"{interval_text(interval, result['metric'])}{unit} ({interval.method})",
        "method": f"{first.content['method']['title']} on {data_text(test)}, {task}",
        "protocol": f"{test['protocol']}, {test['episodes']:,} {queries}, normalisation {test['normalisation']}",
        **_by_step(results),
        "seeds": seeds,
        "time": f"{train_s:.0f} s training, {test_s:.1f} s testing",
        "record": "\n".join(str(record.folder) for record in records),
        "again": "\n".join(command + here for command in commands),
    }
    width = max(map(len, lines)) + 2
    indent = "\n" + " " * width
    return "\n".join(f"{name:<{width}}{text.replace(chr(10), indent)}" for name, text in lines.items())


def _by_step(results: list[dict[str, Any]]) -> dict[str, str]:
    """The error after each inner step, where a test of regression gives it: of the first seed where there are several."""
    rows = results[0].get("by_step") or []
    texts = [
        f"{row['inner_steps']}: {interval_text(Interval(row['mean'], row['low'], row['high'], ''), 'mse')}" for row in rows
    ]
    lines = ["  ".join(texts[first : first + BY_STEP_A_LINE]) for first in range(0, len(texts), BY_STEP_A_LINE)]
    if len(results) > 1:
        lines.append("of the first seed")
    return {"by step": "\n".join(lines)} if texts else {}
