"""Whether the splits of a data set have room for episodes, and if not, which settings would fit."""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fewshot_bench.data.bank import ImageBank
from fewshot_bench.episodes.size import EpisodeSize
from fewshot_bench.errors import TooFewClasses, UsageError

OPTIONS = ("ways", "shots", "queries")
"""The keys of a test's episodes that have an option of the command."""


@dataclass(frozen=True)
class Place:
    """Whose episodes they are, and so which settings set their size."""

    title: str = ""
    section: Literal["train", "validation", "test"] = "test"
    queries: Literal["free", "fixed", "shots"] = "free"
    """What the protocol says of a test's queries: how many, as many as shots, or nothing."""
    together: int | None = None
    """Where training, validation and test must have one number of ways: the largest that fits all their splits."""

    def says(self, **values: int) -> str:
        """The options that set the size of an episode."""
        return " ".join(self._option(key, value) for key, value in values.items())

    def _option(self, key: str, value: int) -> str:
        if key in OPTIONS and (self.section == "test" or (key == "ways" and self.together)):
            return f"--{key} {value}"
        return f"--set {self.section}.{key}={value}"


def check(banks: Sequence[ImageBank], size: EpisodeSize, place: Place | None = None) -> None:
    """Refuse episodes that one of some splits cannot give; raises `UsageError` with what would fit, in one line, or
    `TooFewClasses` where classes are missing."""
    place = place or Place()
    ways, images = _lack_of_classes(banks, size, place), _lack_of_images(banks, size, place)
    if lacks := [lack for lack in (ways, images) if lack]:
        title = f"{place.title}: " if place.title else ""
        raise (TooFewClasses if ways else UsageError)(f"{title}{'; '.join(lacks)}.")


def classes_of(banks: Iterable[ImageBank]) -> int:
    """Classes of the split that has the fewest; more than any split can have where there is none."""
    return min((len(bank.starts) - 1 for bank in banks), default=sys.maxsize)


def _lack_of_classes(banks: Sequence[ImageBank], size: EpisodeSize, place: Place) -> str:
    classes, ways = classes_of(banks), size.largest_ways
    if ways + size.distractors <= classes:
        return ""
    needed = f"{ways} ways" + (f" and {size.distractors} distractors" if size.distractors else "")
    if classes == 1:
        return f"{needed} are more than the one class of this split, and one class leaves nothing to tell apart"
    fitting = min(classes, place.together or classes)
    most = {"max_ways" if size.max_ways else "ways": fitting} if ways > fitting else {}
    if size.max_ways and size.ways > fitting:
        most = {"ways": fitting} | most
    if size.distractors:
        most |= {"distractors": classes - min(ways, fitting)}
    return f"{needed} are more than the {classes} classes of this split: at most {place.says(**most)}"


def _lack_of_images(banks: Sequence[ImageBank], size: EpisodeSize, place: Place) -> str:
    room, name = min((int(each), bank.class_names[i]) for bank in banks for i, each in enumerate(np.diff(bank.starts)))
    shots, queries, unlabelled = size.largest_shots, size.queries, size.unlabelled
    if shots + queries + unlabelled <= room:
        return ""
    parts = [_count(shots, "shot"), _count(queries, "query"), *([f"{unlabelled} unlabelled"] if unlabelled else [])]
    needed = f"{', '.join(parts[:-1])} and {parts[-1]} need {shots + queries + unlabelled} images of each class"
    lack = f"{needed}, but class {name!r} has {room}"
    if room < 2:
        return f"{lack}; one shot and one query need two: leave that class out"
    if unlabelled and shots + queries < room:
        return f"{lack}: at most {place.says(**_unlabelled(room - shots - queries, size))}"
    return f"{lack} (shots + queries = {room} at most): for example {_fitting(room, size, place)}"


def _fitting(room: int, size: EpisodeSize, place: Place) -> str:
    """Options of shots and queries for which a class of `room` images is large enough."""
    shots, queries, custom = size.largest_shots, size.queries, ""
    if place.queries == "shots":
        shots = queries = room // 2
    elif queries < room and (place.section == "test" or shots >= room):
        shots = room - queries
    else:
        shots = min(shots, room - 1)
        queries = room - shots
        custom = "--protocol custom " if place.queries == "fixed" else ""
    changed = {}
    if shots < size.shots or (custom and not size.max_shots):
        changed["shots"] = shots
    if size.max_shots and shots < size.max_shots:
        changed["max_shots"] = shots
    if queries != size.queries and place.queries != "shots":
        changed["queries"] = queries
    none = _unlabelled(0, size) if size.unlabelled else {}
    return custom + place.says(**changed, **none)


def _unlabelled(most: int, size: EpisodeSize) -> dict[str, int]:
    """Settings for at most so many unlabelled images. Distractors mean nothing without them."""
    return {"unlabelled": most} | ({"distractors": 0} if size.distractors and not most else {})


def _count(number: int, name: str) -> str:
    many = {"query": "queries"}.get(name, f"{name}s")
    return f"{number} {name if number == 1 else many}"
