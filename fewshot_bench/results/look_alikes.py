"""Names in records that a reader may take for others, and tables whose titles would look the same.

A record's names are a stranger's text: a Cyrillic letter, a trailing space or a capital makes another method, data set or
protocol of the same look. What is installed here has a known name; what is not is said to be so.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from fewshot_bench.episodes.protocols import PROTOCOLS
from fewshot_bench.plugins import registry
from fewshot_bench.results.pooling import Pooled
from fewshot_bench.table import Table


def look(text: str) -> str:
    """What a reader sees of a text: two of one look have the same."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return " ".join("".join(one for one in plain if one.isprintable()).split())


def remarks(results: Iterable[Pooled]) -> list[str]:
    """A note on each method, data set and protocol that is none of those installed here."""
    known: dict[str, Collection[str]] = {
        "method": registry.registered("methods"),
        "data set": registry.registered("datasets"),
        "protocol": PROTOCOLS,
    }
    said: dict[str, None] = {}
    for pooled in results:
        names = [("method", pooled.train["method"]), ("protocol", pooled.test["protocol"])]
        for data in {pooled.train["dataset"], pooled.test["dataset"]}:
            names += [("data set", data)] if registry.is_uninstalled(data) else [("data set", x) for x in data.split("+")]
        said |= {_remark(kind, name): None for kind, name in names if name not in known[kind] and _telling(name)}
    return sorted(said)


def _telling(name: str) -> bool:
    """Whether it is not plainly the name of a file."""
    return not registry.is_uninstalled(name) or bool(_odd(name))


def _remark(kind: str, name: str) -> str:
    odd = _odd(name)
    letters = f" It has {', '.join(odd)}, which may look like something else." if odd else ""
    return f"{kind.capitalize()} {name!a} is not installed here.{letters}"


def _odd(name: str) -> list[str]:
    """The characters of a name that are not plain, by code, and spaces at its ends."""
    odd = [f"U+{ord(one):04X}" for one in dict.fromkeys(name) if not (one.isascii() and one.isprintable())]
    return odd + (["a space at an end"] if name != name.strip() else [])


def titled_apart(tables: Sequence[Table], results: Sequence[Sequence[Pooled]]) -> list[Table]:
    """The tables, of which no two have titles of one look: those that would get the digest of their episodes, and a number
    where that is the same too."""
    found = list(tables)
    for places in _alike(found):
        for place in places:
            found[place] = replace(found[place], title=f"{found[place].title}, episodes {results[place][0].digest[:8]}")
    for places in _alike(found):
        for number, place in enumerate(places, 1):
            found[place] = replace(found[place], title=f"{found[place].title} ({number})")
    return found


def _alike(tables: Sequence[Table]) -> list[list[int]]:
    places: dict[str, list[int]] = defaultdict(list)
    for place, table in enumerate(tables):
        places[look(table.title)].append(place)
    return [one for one in places.values() if len(one) > 1]
