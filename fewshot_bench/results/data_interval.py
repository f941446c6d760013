"""Intervals of a result on more episodes, on new images of the same classes, or on new classes."""

from typing import Literal

import numpy as np

from fewshot_bench.metrics import METRICS
from fewshot_bench.results.data_parts import Drawn, class_parts, image_parts
from fewshot_bench.results.error_parts import Part, Scores, half_width, seed_part
from fewshot_bench.results.pooling import Pooled
from fewshot_bench.results.statistics import Interval

Over = Literal["episodes", "images", "classes"]
"""What an interval speaks of: more episodes of these images, new images of these classes, or new classes."""
OVERS: tuple[Over, ...] = ("episodes", "images", "classes")
SAID = {
    "episodes": "more episodes of these images",
    "images": "new images of these classes",
    "classes": "new classes of this kind",
}


def data_parts(by_episode: Scores, drawn: Drawn, over: Over) -> list[Part]:
    """The parts of the variance of the mean of `by_episode` [E] over new images or classes, and new episodes of them."""
    return image_parts(by_episode, drawn) if over == "images" else class_parts(by_episode, drawn)


def drawn_in(pooled: Pooled) -> Drawn:
    """The classes and images of the test episodes of a result; raises `NoDataInterval` where they cannot be had."""
    from fewshot_bench.results.drawn_episodes import drawn_of  # with torch, which a table does without

    run = pooled.runs[0]
    return drawn_of(run.record, run.result)


def data_interval(pooled: Pooled, over: Over, level: float = 0.95, count: int | None = None) -> Interval:
    """The interval of a result's mean over new images or classes of this kind, and over its training seeds; `count`: of its
    first episodes alone.

    Raises `NoDataInterval` where its scores do not tell, with the reason.
    """
    table = np.stack([run.record.scores(run.result) for run in pooled.runs])[:, :count]  # [K, E]
    drawn = drawn_in(pooled).first(table.shape[1])
    seeds = [seed_part(table)] if len(table) > 1 else []
    half = half_width([*seeds, *data_parts(table.mean(axis=0), drawn, over)], level)
    mean, known = float(table.mean()), METRICS[pooled.metric]
    units = len(np.unique(drawn.classes if over == "classes" else drawn.images))
    who = "this checkpoint" if len(table) == 1 else f"the method over {len(table)} seeds"
    method = f"{level:.0%} interval over {SAID[over]}: {who}; {units:,} {over} in {table.shape[1]:,} episodes"
    return Interval(mean, max(mean - half, known.low), min(mean + half, known.high), method, level)


def shared_drawn(pooled: Pooled, over: Over, count: int) -> Drawn | None:
    """The classes and images of the first `count` episodes of a result; None where the question is of episodes."""
    return None if over == "episodes" else drawn_in(pooled).first(count)
