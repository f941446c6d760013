"""What the test data add to the error of a mean: other images of these classes, or other classes, would have given another.

Episodes reuse the classes and images of one test split, so their scores are not independent, and their spread alone says
nothing of other data. The mean score is an incomplete U-statistic of the classes, whose variance is the mean of the
covariances of all pairs of episodes. Two episodes without a class in common are independent under a new draw of the classes.
So with r the score of an episode less the mean,

    Var(mean) = mean over all pairs of Cov(r, r') = - mean over pairs without a common class of r r',

because the sum of r over all pairs is zero. The estimate is unbiased whatever the effects of classes are, also those of two
classes that are hard to tell apart (Wang & Lindsay 2014, Statistica Sinica 24; Lafargue et al. 2024, TMLR, for what is at
stake here). For new images of the same classes, each pair that shares an image is compared with the pairs that share as many
classes but no image; where nearly all of those share an image, with a straight line through the others.

Legend: E test episodes, N classes of an episode, I images of an episode (of support and queries).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fewshot_bench.errors import UsageError
from fewshot_bench.results.error_parts import Part, Scores, episode_part

if TYPE_CHECKING:
    from scipy import sparse

Numbers = npt.NDArray[np.int64]
PAIRS = 2**20
"""Pairs of episodes that are held at once."""
FEWEST = 100
"""Pairs from which a mean product is taken."""


class NoDataInterval(UsageError):
    """The scores do not tell what new data would do; the text says why."""


@dataclass(frozen=True)
class Drawn:
    """Which classes and images stand in each test episode."""

    classes: Numbers  # [E, N]; classes made of one source (turned copies of one character) have one number
    images: Numbers  # [E, I]

    def first(self, count: int) -> "Drawn":
        """Those of the first episodes."""
        return Drawn(self.classes[:count], self.images[:count])


def class_parts(by_episode: Scores, drawn: Drawn) -> list[Part]:
    """The parts of the variance of the mean of `by_episode` [E] over new classes and new episodes.

    Raises `NoDataInterval` where too few pairs of episodes have no class in common.
    """
    _check_spread(by_episode)
    residuals = by_episode - by_episode.mean()
    total, pairs = 0.0, 0
    for rows, shared in _shared(drawn.classes):
        apart = shared == 0
        total += float((residuals[rows] @ apart) @ residuals)
        pairs += int(apart.sum())
    known = len(np.unique(drawn.classes))
    if pairs < FEWEST or known < 2 * drawn.classes.shape[1]:
        raise NoDataInterval(
            f"The test split has {known} classes and an episode {drawn.classes.shape[1]} of them: "
            "too few to say what others would give."
        )
    by_chance = episode_part(by_episode)
    return [by_chance, Part(max(-total / pairs - by_chance.variance, 0.0), known - 1)]


def image_parts(by_episode: Scores, drawn: Drawn) -> list[Part]:
    """The parts of the variance of the mean of `by_episode` [E] over new images of the same classes and new episodes.

    Raises `NoDataInterval` where episodes that share a class nearly always share an image, so that the two cannot be told
    apart.
    """
    _check_spread(by_episode)
    residuals = _beyond_classes(by_episode, drawn.classes)
    most = drawn.classes.shape[1] + 1
    products, counts = np.zeros((most, 2)), np.zeros((most, 2))  # by shared classes, and by whether an image is shared
    for (rows, classes), (_, images) in zip(_shared(drawn.classes), _shared(drawn.images), strict=True):
        held = np.minimum(classes, most - 1) * 2 + (images > 0)
        held[np.arange(len(held)), np.arange(rows.start, rows.stop)] = 2 * most  # an episode and itself
        product = np.multiply.outer(residuals[rows], residuals)
        products += np.bincount(held.ravel(), product.ravel(), 2 * most + 1)[:-1].reshape(most, 2)
        counts += np.bincount(held.ravel(), minlength=2 * most + 1)[:-1].reshape(most, 2)
    enough = np.flatnonzero(counts[:, 0] >= FEWEST)
    if len(enough) < 2:
        raise NoDataInterval(
            "Two test episodes that share a class nearly always share images, so the images' part cannot be told from the "
            "classes'."
        )
    apart = products[enough, 0] / counts[enough, 0]
    slope, start = np.polyfit(enough, apart, 1, w=np.sqrt(counts[enough, 0]))
    alike = start + slope * np.arange(most)  # pairs of classes add to a straight line: the rest is a little too wide
    alike[enough] = apart
    excess = float((products[:, 1] - counts[:, 1] * alike).sum())
    by_chance = episode_part(by_episode)
    freedom = len(np.unique(drawn.images)) - len(np.unique(drawn.classes))
    return [by_chance, Part(max(excess / len(by_episode) ** 2, 0.0), max(freedom, 1))]


def _check_spread(by_episode: Scores) -> None:
    """Where all are equal there is nothing to estimate a variance from; it is not zero for that."""
    if np.ptp(by_episode) < 1e-12:
        raise NoDataInterval(
            "The score, or the difference, is the same in every test episode, which says nothing of other data."
        )


def _beyond_classes(by_episode: Scores, classes: Numbers) -> Scores:
    """The scores less what each class adds to those of its episodes (least squares) [E]. It is much, and would drown the
    rest; pairs that share an image and those that do not lose the same."""
    from scipy.sparse.linalg import lsmr

    table, centred = _table(classes).astype(np.float64), by_episode - by_episode.mean()
    rest: Scores = centred - table @ lsmr(table, centred, atol=1e-10, btol=1e-10)[0]
    return rest


def _table(members: Numbers) -> "sparse.csr_array":
    """Whether a member is in an episode [E, members], 0 or 1."""
    from scipy import sparse

    episodes, each = members.shape
    _, numbers = np.unique(members, return_inverse=True)
    place = np.repeat(np.arange(episodes), each), numbers.ravel()
    table = sparse.csr_array((np.ones(members.size, np.int64), place), shape=(episodes, int(numbers.max()) + 1))
    table.data[:] = 1  # a class that stands twice in an episode is one
    return table


def _shared(members: Numbers) -> Iterator[tuple[slice, npt.NDArray[np.int64]]]:
    """How many members each of some episodes shares with every episode [rows, E], some rows at a time."""
    table, at_once = _table(members), max(1, PAIRS // len(members))
    for start in range(0, len(members), at_once):
        rows = slice(start, min(start + at_once, len(members)))
        yield rows, (table[rows] @ table.T).toarray()
