"""An explanation as tables."""

from collections.abc import Sequence

from fewshot_bench.episodes.size import EpisodeSize
from fewshot_bench.results.calibration import Bin, Calibration
from fewshot_bench.results.class_tables import METRIC, short_names
from fewshot_bench.results.explanation import ClassAccuracy, Confusion, Explanation, HardEpisode
from fewshot_bench.results.tables import data_text, interval_text
from fewshot_bench.table import Cell, Column, Table


def explanation_tables(found: Explanation, *, classes: int | None, episodes: int | None) -> list[Table]:
    """What can be told; of classes and pairs, and of episodes, only so many, None for all."""
    tables = [_hardest_classes(found.classes, classes)] if found.classes else []
    tables += [_confusions(found.confusions, classes)] if found.predictions is not None and found.drawn is not None else []
    tables += [_calibration(found.calibration)] if found.calibration else []
    return [*tables, _hardest_episodes(found.hardest, episodes)]


def title_of(found: Explanation) -> str:
    """Which result is explained."""
    test, result = found.result["test"], found.result
    size = EpisodeSize.of(test).text
    mean = f"{100 * result['mean']:.2f} ({100 * result['low']:.2f}–{100 * result['high']:.2f}) %"
    return (
        f"{found.record.content['train']['method']} {found.record.run_id[:6]} on {data_text(test)}, {size}, "
        f"protocol {test['protocol']}: {mean} of {test['episodes']:,} episodes, one seed"
    )


def _hardest_classes(classes: Sequence[ClassAccuracy], most: int | None) -> Table:
    columns = [
        Column("class", "class", "True class of the queries.", leads=True),
        Column("accuracy", "accuracy %", "Share of its queries answered right, with its interval.", "right", leads=True),
        Column("queries", "queries", "Its queries in all test episodes.", "right"),
        Column("episodes", "episodes", "Test episodes that show it.", "right"),
        Column("low", "low", "Lower end of the interval.", shown=False),
        Column("high", "high", "Upper end of the interval.", shown=False),
    ]
    shown = classes[:most]
    rows = []
    for one, name in zip(shown, short_names([one.name for one in shown], 36), strict=True):
        text = f"{100 * one.accuracy:.2f}" if one.interval is None else interval_text(one.interval, METRIC)
        rows.append(
            {
                "class": Cell(one.name, name),
                "accuracy": Cell(one.accuracy, text),
                "queries": Cell.of(one.queries),
                "episodes": Cell.of(one.episodes),
                "low": Cell.of(one.interval and one.interval.low),
                "high": Cell.of(one.interval and one.interval.high),
            }
        )
    notes = ["Picked as the lowest of many, they look harder than they are: in other episodes they will do better."]
    return Table("Hardest classes", columns, rows, notes + _left_out(len(shown), len(classes)), {"part": "classes"})


def _confusions(pairs: Sequence[Confusion], most: int | None) -> Table:
    columns = [
        Column("true", "true class", "Class of the queries.", leads=True),
        Column("said", "was taken for", "Class that was answered.", leads=True),
        Column("times", "times", "Queries of the one that were answered by the other.", "right", leads=True),
        Column("chances", "of", "Queries of the true class in the episodes that show both.", "right"),
        Column("episodes", "episodes", "Test episodes that show both.", "right"),
    ]
    shown = pairs[:most]
    distinct = list(dict.fromkeys(name for one in shown for name in (one.true, one.said)))
    short = dict(zip(distinct, short_names(distinct), strict=True))
    rows = [
        {
            "true": Cell(one.true, short[one.true]),
            "said": Cell(one.said, short[one.said]),
            "times": Cell.of(one.times),
            "chances": Cell.of(one.chances),
            "episodes": Cell.of(one.episodes),
        }
        for one in shown
    ]
    notes = ["Counts of this test's answers, by how often a pair was confused.", *_left_out(len(shown), len(pairs))]
    return Table("Most confused classes", columns, rows, notes, {"part": "confusions"})


def _calibration(found: Calibration) -> Table:
    columns = [
        Column("bin", "confidence", "Softmax probability of the answer, above the first and up to the second.", leads=True),
        Column("answers", "answers", "Answers of such a confidence.", "right", leads=True),
        Column("mean", "mean %", "Their mean confidence.", "right", leads=True),
        Column("accuracy", "right %", "Share of them that is right, with its interval over episodes.", "right", leads=True),
        Column("gap", "too sure by", "Mean confidence less the share that is right, in points.", "right"),
        Column("low", "low", "Lower end of that interval.", shown=False),
        Column("high", "high", "Upper end of that interval.", shown=False),
    ]
    interval = interval_text(found.by_episode, "ece")
    way = "too sure" if found.surplus > 0 else "not sure enough"
    notes = [
        f"Expected calibration error {100 * found.error:.2f} % over all answers; {interval} % as the mean of the errors of "
        "single episodes, which the metric ece measures and which is above zero even for calibrated answers.",
        f"On the whole the answers are {way} by {abs(100 * found.surplus):.2f} points. Scores are taken as logits.",
    ]
    about = {"part": "calibration", "ece": found.error, "ece_by_episode": found.by_episode.mean, "surplus": found.surplus}
    return Table("Calibration", columns, [_bin_row(one) for one in found.bins], notes, about)


def _bin_row(one: Bin) -> dict[str, Cell]:
    interval = one.interval
    share = f"{100 * one.accuracy:.2f}" if interval is None else interval_text(interval, "accuracy")
    return {
        "bin": Cell([one.low, one.high], f"{one.low:.2f}–{one.high:.2f}"),
        "answers": Cell(one.answers, f"{one.answers:,}"),
        "mean": Cell(one.confidence, f"{100 * one.confidence:.2f}"),
        "accuracy": Cell(one.accuracy, share),
        "gap": Cell(one.confidence - one.accuracy, f"{100 * (one.confidence - one.accuracy):+.2f}"),
        "low": Cell.of(interval and interval.low),
        "high": Cell.of(interval and interval.high),
    }


def _hardest_episodes(hardest: Sequence[HardEpisode], most: int | None) -> Table:
    columns = [
        Column("episode", "episode", "Number in the test's stream.", "right", leads=True),
        Column("right", "right", "Queries answered right.", "right", leads=True),
        Column("queries", "of", "Queries.", "right", leads=True),
        Column("classes", "classes", "Its classes, in the order of their labels."),
    ]
    shown = hardest[:most]
    rows = [
        {
            "episode": Cell.of(one.number),
            "right": Cell.of(one.right),
            "queries": Cell.of(one.queries),
            "classes": Cell(list(one.classes), ", ".join(one.classes)),
        }
        for one in shown
    ]
    left_out = len(shown) < len(hardest)
    notes = [f"The {len(shown):,} lowest of {len(hardest):,}: --episodes N shows more."] if left_out else []
    return Table("Hardest episodes", columns, rows, notes, {"part": "episodes"})


def _left_out(shown: int, there: int) -> list[str]:
    return [f"{shown:,} of {there:,}: --classes 0 shows all, as JSON and CSV do."] if shown < there else []
