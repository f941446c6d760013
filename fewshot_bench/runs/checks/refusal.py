"""The error for a method whose answers depend on what they must not depend on."""

from fewshot_bench.episodes.protocols import PROTOCOLS
from fewshot_bench.errors import FewshotError
from fewshot_bench.learning.base import Method
from fewshot_bench.plugins import registry
from fewshot_bench.runs.checks.rescoring import CAUSES


class NotInductive(FewshotError):
    """A query has another score where its support is the same.

    `cause` is a key of `rescoring.CAUSES`; `moved` says which query, and its two scores.
    """

    def __init__(self, text: str, cause: str, moved: str, mend: str) -> None:
        super().__init__(text)
        self.cause, self.moved, self.mend = cause, moved, mend


def not_inductive(
    method: Method, protocol: str, cause: str, episode: int, query: int, way: int, before: float, now: float
) -> NotInductive:
    """The error for a query that has one score in a test under a protocol and another one `now`."""
    when, mend = CAUSES[cause]
    classes = method.info.kind == "classification"
    other, way_of = ("standard-transductive", f" for way {way}") if classes else ("custom", "")
    free = PROTOCOLS[protocol].transductive is None
    counts = f"which it declares to be under protocol {protocol!r}" if free else f"and protocol {protocol!r} is"
    moved = f"Query {query} of episode {episode} has {before:.6g}{way_of} in the test, and {now:.6g} {when}."
    mend = mend.format(other="" if free else f" and add --protocol {other}")
    return NotInductive(
        f"{type(method).__name__} is not inductive, {counts}: no result is recorded, what was trained is kept.\n"
        f"{moved}\n{mend} Try: {_command(type(method))}",
        cause,
        moved,
        mend,
    )


def _command(method: type[Method]) -> str:
    """What shows the leak on synthetic tasks."""
    plugin = registry.find("methods", method)
    if plugin.reference.startswith(f"{registry.NOWHERE}:"):
        return f"fewshot_bench.testing.check_method({method.__name__})"
    return f"fsbench check {plugin.said}"
