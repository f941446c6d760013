"""What stands below a table of results: how its intervals were computed, and what its reader should know of the rows."""

from collections import defaultdict
from collections.abc import Sequence

from fewshot_bench.metrics import METRICS
from fewshot_bench.results.look_alikes import remarks
from fewshot_bench.results.pooling import CLOSE, SHARED, Pooled
from fewshot_bench.results.recipe_share import recipe_share, recipe_text


def table_notes(protocol: str, results: Sequence[Pooled]) -> list[str]:
    """The notes of a table of results that share `protocol`."""
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
    return [
        f"Protocol {protocol}; {one if len(digests) == 1 else many}",
        *said,
        *_copies(results),
        *_cut_short(results),
        *remarks(results),
    ]


def _copies(results: Sequence[Pooled]) -> list[str]:
    """Notes on seeds whose weights or scores are another's, and on those whose scores are closely alike."""
    copies = [
        f"{pooled.train['method']}: seed {', '.join(map(str, pooled.repeated))} has the weights, or the scores in every "
        "episode, of another seed and does not count."
        for pooled in results
        if pooled.repeated
    ]
    close = [
        f"{pooled.train['method']}: the scores of seeds {_pairs(pooled.close)} {_how_close(pooled)}, as those of "
        "copies do, or of trainings that change little; the interval holds for seeds that were trained apart."
        for pooled in results
        if pooled.close
    ]
    return [*copies, *close]


def _how_close(pooled: Pooled) -> str:
    of_queries = METRICS[pooled.metric].of_queries
    return f"correlate at {CLOSE} or more" if of_queries else f"are equal in {SHARED:.0%} of the episodes or more"


def _cut_short(results: Sequence[Pooled]) -> list[str]:
    """A note on each training that had a part of its recipe's updates."""
    runs = [(pooled.train["method"], run) for pooled in results for run in pooled.runs]
    cut = [(method, run) for method, run in runs if recipe_share(run.record.content) is not None]
    return [f"{method} {run.run_id}: recipe {recipe_text(run.record.content)}." for method, run in cut]


def _pairs(pairs: Sequence[tuple[int, int]]) -> str:
    said = [f"{a} and {b}" for a, b in pairs[:3]]
    return "; ".join(said) + (f"; {len(pairs) - 3} more" if len(pairs) > 3 else "")
