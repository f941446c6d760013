"""A comparison as tables: who is tied with the best, every pair, and the matrix of wins, ties and losses."""

from collections.abc import Sequence

from fewshot_bench.results.comparison import Comparison
from fewshot_bench.results.data_interval import SAID, data_interval
from fewshot_bench.results.error_parts import SMALLEST_P
from fewshot_bench.results.families import Judged
from fewshot_bench.results.pooling import Pooled
from fewshot_bench.results.row_settings import differing
from fewshot_bench.results.statistics import Interval, is_disjoint, score_interval, trials_of
from fewshot_bench.results.tables import interval_text
from fewshot_bench.table import Cell, Column, Table

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def comparison_tables(comparison: Comparison) -> list[Table]:
    """The ranks, the pairs and, from three members on, the matrix."""
    matrix = [_matrix(comparison)] if len(comparison.members) > 2 and comparison.paired else []
    return [_ranks(comparison), _pairs(comparison), *matrix]


def _ranks(comparison: Comparison) -> Table:
    family, members = comparison.family, comparison.members
    columns = [
        Column("rank", "#", "Rank: all that are not separated from the first of a rank share it.", "right", leads=True),
        Column("member", "result", "Method, and the run's id where two have one method.", leads=True),
        Column("mean", "mean", "Mean over the compared episodes and the seeds, with its interval.", "right", leads=True),
        Column("seeds", "seeds", "Training seeds.", "right"),
        Column("tied", "best", "Tied with the best: not separated from the best itself."),
        Column("groups", "groups", "Results that share a letter are not separated, all of a group from each other."),
        Column("settings", "differs in", "Settings in which results of one method differ."),
        Column("runs", "runs", "Run ids.", shown=False),
        Column("protocol", "protocol", "Protocol of the test.", shown=False),
    ]
    letters = {i: "".join(_letter(g) for g, (a, b) in enumerate(family.groups) if a <= i <= b) for i in range(len(members))}
    tied = set(family.tied_with_best)
    settings = differing([member.pooled for member in members])
    rows = []
    for i, member in enumerate(members):
        ids = [run.run_id for run in member.pooled.runs]
        rows.append(
            {
                "rank": Cell.of(family.ranks[i]),
                "member": Cell.of(member.label),
                "mean": Cell(member.mean, interval_text(_interval(comparison, i), comparison.metric)),
                "seeds": Cell.of(len(ids)),
                "tied": Cell(i in tied, ("best" if i == 0 else "tied") if i in tied else ""),
                "groups": Cell(letters[i], letters[i] or "–"),
                "settings": Cell.of(settings[i] or None),
                "runs": Cell.of(ids),
                "protocol": Cell.of(member.pooled.test["protocol"]),
            }
        )
    return Table(comparison.title, columns, rows, _rank_notes(comparison), {"part": "ranks"})


def _interval(comparison: Comparison, i: int) -> Interval:
    """The mean of a member over the compared episodes."""
    member = comparison.members[i]
    if comparison.over != "episodes":
        return data_interval(member.pooled, comparison.over, comparison.level, member.scores.shape[1])
    trials = trials_of(member.pooled.runs[0].result)
    disjoint = is_disjoint(member.pooled.runs[0].result)
    return score_interval(
        list(member.scores), trials=trials, metric=comparison.metric, level=comparison.level, disjoint=disjoint
    )


def _pairs(comparison: Comparison) -> Table:
    level = f"{comparison.level:.0%}"
    columns = [
        Column("first", "first", "The one with the better mean.", leads=True),
        Column("second", "second", "The other.", leads=True),
        Column(
            "difference", "first − second", f"Difference of the means and its own {level} interval.", "right", leads=True
        ),
        Column("p_holm", "p (Holm)", "p-value after Holm's correction over all pairs.", "right", leads=True),
        Column("record", "won–tied–lost", "Episodes that the first won, tied and lost.", "right"),
        Column("narrower", "pairing", "How many times narrower pairs made the interval.", "right"),
        Column("verdict", "verdict", "What the pair shows after the correction."),
        *(
            Column(key, key, said, "right", shown=False)
            for key, said in (
                ("low", "Lower end of the pair's own interval."),
                ("high", "Upper end of the pair's own interval."),
                ("level", "Its confidence level."),
                ("p", "Two-sided p-value before the correction."),
                ("t", "Student's t, where there is one."),
                ("df", "Its degrees of freedom."),
                ("test", "The test that gave p."),
                ("episodes", "Episodes compared."),
                ("seeds", "Training seeds of the first and of the second."),
                ("wins", "Episodes that the first won."),
                ("ties", "Episodes in which both scored the same."),
                ("losses", "Episodes that the first lost."),
                ("estimand", "What difference and p-value speak of."),
                ("smallest", "The smallest difference that this pair could have shown at its step of the correction."),
            )
        ),
    ]
    rows = [_pair_row(comparison, key) for key in sorted(comparison.family.judged)]
    return Table("Pairs", columns, rows, _pair_notes(comparison), {"part": "pairs"})


def _pair_row(comparison: Comparison, key: tuple[int, int]) -> dict[str, Cell]:
    judged, metric = comparison.family.judged[key], comparison.metric
    pair, (first, second) = judged.pair, (comparison.members[i].label for i in key)
    counts = f"{pair.wins}–{pair.ties}–{pair.losses}" if comparison.paired else "–"
    return {
        "first": Cell.of(first),
        "second": Cell.of(second),
        "difference": Cell(pair.difference, _difference_text(judged, metric)),
        "p_holm": Cell(judged.p_holm, ("< " if pair.p <= SMALLEST_P else "") + f"{judged.p_holm:.2g}"),
        "record": Cell([pair.wins, pair.ties, pair.losses], counts),
        "narrower": Cell(pair.narrower, f"{pair.narrower:.1f} ×" if pair.narrower else "–"),
        "verdict": Cell(judged.verdict, _verdict_text(comparison, key)),
        "low": Cell.of(pair.low),
        "high": Cell.of(pair.high),
        "level": Cell.of(pair.level),
        "p": Cell(pair.p, p_text(pair.p)),
        "t": Cell.of(pair.t),
        "df": Cell.of(pair.parts[0].freedom if len(pair.parts) == 1 and pair.low is not None else None),
        "test": Cell.of(pair.test),
        "episodes": Cell.of(pair.episodes),
        "seeds": Cell.of(list(pair.seeds)),
        "wins": Cell.of(pair.wins),
        "ties": Cell.of(pair.ties),
        "losses": Cell.of(pair.losses),
        "estimand": Cell.of(comparison.estimand(pair)),
        "smallest": Cell.of(judged.smallest),
    }


def _matrix(comparison: Comparison) -> Table:
    labels = [member.label for member in comparison.members]
    columns = [
        Column("member", "", "The result whose episodes are counted.", leads=True),
        *(Column(f"against-{j}", label, f"Won, tied and lost against {label}.", "right") for j, label in enumerate(labels)),
    ]
    rows = []
    for label in labels:
        cells = {"member": Cell.of(label)}
        for j, other in enumerate(labels):
            pair = None if label == other else comparison.pair(label, other).pair
            counts = None if pair is None else [pair.wins, pair.ties, pair.losses]
            cells[f"against-{j}"] = Cell(counts, "·" if counts is None else "–".join(map(str, counts)))
        rows.append(cells)
    return Table("Won–tied–lost, each row against each column", columns, rows, (), {"part": "matrix"})


def p_text(p: float) -> str:
    """A p-value in two digits; never 0."""
    return f"< {SMALLEST_P:.0e}" if p <= SMALLEST_P else f"{p:.2g}"


def _difference_text(judged: Judged, metric: str) -> str:
    pair = judged.pair
    if pair.low is None or pair.high is None:
        return interval_text(Interval(pair.difference, pair.difference, pair.difference, ""), metric)
    text = interval_text(Interval(pair.difference, pair.low, pair.high, ""), metric)
    return text if text.startswith("-") else f"+{text}"


def _verdict_text(comparison: Comparison, key: tuple[int, int]) -> str:
    judged, metric = comparison.family.judged[key], comparison.metric
    match judged.verdict:
        case "separated":
            return "separated"
        case "same scores":
            return f"the same scores in all {judged.pair.episodes} episodes"
        case "not testable":
            return f"not testable: p cannot go below {p_text(judged.pair.least_p)} here"
        case _:
            smallest = judged.smallest or 0.0
            shown = interval_text(Interval(smallest, smallest, smallest, ""), metric).partition(" ")[0]
            return f"not separated; {shown} would be"


def _rank_notes(comparison: Comparison) -> list[str]:
    on = SAID[comparison.over]
    if comparison.of_methods == {True}:
        said = [f"Speaks of the methods, over their training seeds, on {on}."]
    elif comparison.of_methods == {False}:
        said = [f"Speaks of these checkpoints alone, on {on} (the methods need several seeds of each)."]
    else:
        said = [
            f"Pairs of results with several seeds each speak of the methods, over their training seeds, on {on}; "
            "all others of these checkpoints alone."
        ]
    if comparison.paired and comparison.longest > comparison.episodes:
        said.append(f"Paired over the first {comparison.episodes} episodes, which all of them have.")
    protocols = {member.pooled.test["protocol"] for member in comparison.members}
    if len(protocols) > 1:
        said.append("The protocols differ: the difference includes what they allow.")
    return said


def _pair_notes(comparison: Comparison) -> list[str]:
    judged = comparison.family.judged
    alpha = f"{1 - comparison.level:.2g}"
    over = f"Holm's correction over {len(judged)} pairs" if len(judged) > 1 else "One pair, so nothing to correct for"
    said = [f"{over}; separated where p is at most {alpha}."]
    for (i, j), one in sorted(judged.items()):
        pair = f"{comparison.members[i].label} and {comparison.members[j].label}"
        if one.verdict == "same scores":
            said.append(_same_scores(pair, comparison.members[i].pooled, comparison.members[j].pooled))
        if one.contradicts:
            said.append(
                f"{pair}: the pair's own interval leaves zero out (p = {p_text(one.pair.p)}), "
                f"but Holm's correction does not separate them (p = {p_text(one.p_holm)})."
            )
        if one.pair.test == "exact sign test":
            said.append(
                f"{pair} differ by the same in every episode: no spread, so no t; the exact sign test took its place."
            )
    if _equal_by_holm(list(judged.values())):
        said.append("Equal adjusted p-values of different pairs come from Holm's rule, which keeps their order.")
    return said


def _same_scores(pair: str, one: Pooled, other: Pooled) -> str:
    """A note on two results that agree in every episode."""
    if {run.run_id for run in one.runs} & {run.run_id for run in other.runs}:
        return f"{pair} are results of one run."
    if not (one.train["updates"] and other.train["updates"]):  # as of a nearest neighbour and centroid at one shot
        return f"{pair} have the same scores."
    return f"{pair} have the same scores: two trainings rarely agree so. Are they one run under two names?"


def _equal_by_holm(judged: Sequence[Judged]) -> bool:
    """Whether two pairs of different p have the same p after the correction, below 1."""
    seen: dict[float, float] = {}
    return any(seen.setdefault(one.p_holm, one.pair.p) != one.pair.p for one in judged if one.p_holm < 1)


def _letter(number: int) -> str:
    return LETTERS[number] if number < len(LETTERS) else f"[{number + 1}]"
