"""Scores and answers that were computed again, compared with a record's.

On the same kind of processor and the same torch they must be the same bit for bit; elsewhere they may differ within `SHARE`
and `SHIFT`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from fewshot_bench.errors import DataError
from fewshot_bench.results.answers import Answers
from fewshot_bench.results.records import Record
from fewshot_bench.results.score_files import Scores
from fewshot_bench.runs.provenance import environment
from fewshot_bench.runs.verification.findings import Verification

SHARE, SHIFT = 0.05, 0.001
"""On another processor or torch: the most episodes whose score may differ, and the most that the mean may move, in accuracy
or as a share of the mean error."""


def compare_scores(found: Verification, result: Mapping[str, Any], scores: Mapping[str, Scores]) -> None:
    """The score of each episode by each metric."""
    name, bitwise = result["id"], unlike_here(found.record) is None
    for metric, here in scores.items():
        label = f"{name} scores" if metric == result["metric"] else f"{name} {metric} scores"
        try:
            stated = found.record.scores(result, metric)
        except DataError as error:
            found.add(label, "differs", str(error))
            continue
        moved = int((here != stated).sum())
        if not moved:
            found.add(label, "recomputed", f"all {len(here):,} are the same, bit for bit")
            continue
        at = int(np.flatnonzero(here != stated)[0])
        first = f"{moved:,} of {len(here):,} differ, the first at episode {at}: {stated[at]:.6g}, here {here[at]:.6g}"
        shift = abs(float(here.mean() - stated.mean()))
        within = moved <= SHARE * len(here) and shift <= SHIFT * max(1.0, abs(float(here.mean())))
        if bitwise or not within:
            found.add(label, "differs", first)
        else:
            found.add(label, "recomputed", f"{first}; within the bound for {unlike_here(found.record)}")


def compare_answers(found: Verification, result: Mapping[str, Any], here: Answers | None) -> None:
    """Each query, where the record says which were answered right."""
    try:
        stated = found.record.answers(result)
    except DataError:  # which was said before
        return
    if stated is None or here is None:
        return
    _compare_predictions(found, result, here)
    label, moved = f"{result['id']} queries", np.flatnonzero(here.right != stated.right)
    if not len(moved):
        found.add(label, "recomputed", f"all {len(here.right):,} are right or wrong as the record says")
        return
    at = int(moved[0])
    episode = int(here.episodes[at])
    first = f"{len(moved):,} of {len(here.right):,} differ, the first query {at - here.starts[episode]} of episode {episode}"
    if unlike_here(found.record) is None or len(moved) > SHARE * len(here.right):
        found.add(label, "differs", first)
    else:
        found.add(label, "recomputed", f"{first}; within the bound for {unlike_here(found.record)}")


def _compare_predictions(found: Verification, result: Mapping[str, Any], here: Answers) -> None:
    try:
        stated, mine = found.record.predictions(result), here.predictions
    except DataError:  # which was said before
        return
    if stated is None or mine is None:
        return
    moved = int(((mine.labels != stated.labels) | (mine.confidence != stated.confidence)).sum())
    labels = int((mine.labels != stated.labels).sum())
    unlike, count = unlike_here(found.record), len(mine.labels)
    said = f"{moved:,} of {count:,} differ, {labels:,} in the label" if moved else f"all {count:,} are the same, bit for bit"
    holds = not moved or (unlike is not None and labels <= SHARE * count)
    more = f"; within the bound for {unlike}" if moved and holds else ""
    found.add(f"{result['id']} predictions", "recomputed" if holds else "differs", said + more)


def unlike_here(record: Record) -> str | None:
    """In what this machine differs from the record's, so that numbers may differ in their last bits; None: in nothing."""
    theirs, ours = record.content["provenance"], environment()
    if (theirs.get("versions") or {}).get("torch") != ours["versions"]["torch"]:
        return "another torch"
    for key, what in (("processor", "another processor"), ("cpu_capability", "another capability of the processor")):
        if key in theirs and theirs[key] != ours[key]:
            return what
    return None if theirs.get("processor") else "a machine that the record does not name"
