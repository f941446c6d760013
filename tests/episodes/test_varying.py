"""Episodes that differ in size hold what was asked for, are uniform, and are the same however they are reached.

Legend: B episodes, N ways, K shots of a class, Q queries per class, U unlabelled images per class, D distractors.
"""

import hashlib
import itertools
import json
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imageless_splits import PARTS, SIZES, UNLIKELY, classes_of, documented_draw, is_uniform, make_bank
from scipy import stats

from fewshot_bench.episodes import enough_images
from fewshot_bench.episodes.sampling import EpisodeIndices, EpisodeSampler
from fewshot_bench.episodes.size import EpisodeSize
from fewshot_bench.episodes.varying import VaryingSampler, sampler_of
from fewshot_bench.errors import UsageError

ALL_PARTS = (*PARTS, "unlabelled", "unlabelled_y")


@st.composite
def sizes(draw_from: st.DrawFn) -> EpisodeSize:
    """Any size of episodes: varying or not, balanced or not, with and without unlabelled images and distractors."""

    def bound(low: int) -> int | None:
        return draw_from(st.none() | st.integers(low, low + 3))

    ways, shots, queries = (draw_from(st.integers(1, 3)) for _ in range(3))
    unlabelled = draw_from(st.integers(0, 3))
    max_shots = bound(shots)
    return EpisodeSize(
        ways,
        shots,
        queries,
        max_ways=bound(ways),
        max_shots=max_shots,
        imbalanced=max_shots is not None and draw_from(st.booleans()),
        unlabelled=unlabelled,
        distractors=draw_from(st.integers(0, 2)) if unlabelled else 0,
    )


@st.composite
def samplers(draw_from: st.DrawFn) -> VaryingSampler:
    """A sampler of any size that its bank, of unequal classes, can give."""
    size = draw_from(sizes())
    smallest = size.largest_shots + size.queries + size.unlabelled
    classes = size.largest_ways + size.distractors
    images = draw_from(st.lists(st.integers(smallest, smallest + 9), min_size=classes, max_size=classes + 6))
    return VaryingSampler(make_bank(images), size, draw_from(st.integers(0, 2**32 - 1)))


episodes = given(sampler=samplers(), index=st.integers(0, 2**40))


@episodes
def test_no_image_stands_twice_in_an_episode(sampler: VaryingSampler, index: int) -> None:
    """Support, queries and unlabelled images share none, and none of them holds one twice."""
    images = sampler.block(index, 1).images[0]
    assert len(np.unique(images)) == len(images)
    assert images.min() >= 0
    assert images.max() < sampler.sizes.sum()


@episodes
def test_a_label_means_one_class_and_distractors_are_none_of_the_ways(sampler: VaryingSampler, index: int) -> None:
    """Labels and classes correspond one to one; those of the ways come first, the distractors' after them."""
    block = sampler.block(index, 1)
    classes = classes_of(sampler, block.images)[0]
    pairs = set(zip(block.labels[0].tolist(), classes.tolist(), strict=True))
    drawn = block.ways + sampler.size.distractors
    assert len(pairs) == len({label for label, _ in pairs}) == len({cls for _, cls in pairs}) == drawn
    assert {label for label, _ in pairs} == set(range(drawn))


@episodes
def test_ways_and_shots_lie_within_their_bounds(sampler: VaryingSampler, index: int) -> None:
    """Each way has at least `shots` and at most `max_shots` of its class, all the same unless the support is unbalanced."""
    size, block = sampler.size, sampler.block(index, 1)
    shots = np.bincount(block.support_y[0])
    assert size.ways <= len(shots) == block.ways <= size.largest_ways
    assert shots.min() >= size.shots
    assert shots.max() <= size.largest_shots
    assert size.imbalanced or len(set(shots.tolist())) == 1


@episodes
def test_queries_and_unlabelled_images_are_as_many_of_each_class(sampler: VaryingSampler, index: int) -> None:
    """Q queries of each way; U unlabelled images of each way and of each distractor; none where U is 0."""
    size, block = sampler.size, sampler.block(index, 1)
    assert np.bincount(block.query_y[0]).tolist() == [size.queries] * block.ways
    if not size.unlabelled:
        assert block.unlabelled is None
        assert block.unlabelled_y is None
        return
    assert block.unlabelled is not None
    assert block.unlabelled_y is not None
    assert np.bincount(block.unlabelled_y[0]).tolist() == [size.unlabelled] * (block.ways + size.distractors)
    assert block.unlabelled.shape == block.unlabelled_y.shape


@given(sampler=samplers(), first=st.integers(0, 1000), counts=st.lists(st.integers(1, 5), min_size=1, max_size=4))
def test_an_episode_is_the_same_wherever_the_stream_is_entered(
    sampler: VaryingSampler, first: int, counts: list[int]
) -> None:
    """Blocks entered anywhere and of any lengths hold what the episodes hold that are drawn alone."""
    for count in counts:
        rows = [row for block in sampler.blocks(first, count) for row in rows_of(block)]
        alone = [row for i in range(first, first + count) for row in rows_of(sampler.block(i, 1))]
        assert rows == alone
        first += count


def rows_of(block: EpisodeIndices) -> list[list[Any]]:
    """The episodes of a block, each as plain lists."""
    parts = [getattr(block, part) for part in ALL_PARTS]
    return [[None if part is None else part[row].tolist() for part in parts] for row in range(len(block))]


@given(sampler=samplers())
def test_a_sampler_built_again_gives_the_same_episodes(sampler: VaryingSampler) -> None:
    """Two samplers of equal arguments agree, whatever was drawn from one before."""
    bank = make_bank(sampler.sizes.tolist())
    used = VaryingSampler(bank, sampler.size, 3)
    list(used.blocks(0, 7))
    assert used.digest(5) == VaryingSampler(bank, sampler.size, 3).digest(5)


def test_episodes_of_one_size_with_unlabelled_images_make_blocks() -> None:
    """As long as nothing varies, many are drawn at once, and are those that are drawn alone."""
    sampler = VaryingSampler(make_bank(SIZES), EpisodeSize(5, 1, 3, unlabelled=4, distractors=2), 0)
    block = sampler.block(10, 6)
    assert block.images.shape == (6, 5 * (1 + 3 + 4) + 2 * 4)
    assert rows_of(block) == [row for i in range(10, 16) for row in rows_of(sampler.block(i, 1))]


def test_episodes_of_different_sizes_make_no_block() -> None:
    """They are asked for one at a time: tensors have one shape."""
    sampler = VaryingSampler(make_bank(SIZES), EpisodeSize(5, 1, 3, max_ways=6), 0)
    with pytest.raises(AssertionError, match="different sizes"):
        sampler.block(0, 2)


PLAIN = EpisodeSize(3, 1, 3)
VARIED = EpisodeSize(3, 1, 3, max_ways=6, max_shots=4, imbalanced=True, unlabelled=2, distractors=1)


@pytest.mark.parametrize(
    "change",
    [
        *({"ways": 2}, {"shots": 2}, {"queries": 4}, {"max_ways": 5}, {"max_ways": None}, {"max_shots": 5}),
        *({"imbalanced": False}, {"unlabelled": 3}, {"distractors": 2}, {"seed": 1}, {"bank": make_bank(SIZES, "other")}),
    ],
    ids=str,
)
def test_another_request_has_other_episodes(change: dict[str, Any]) -> None:
    """Structure, seed and everything that a size says key the stream: with any of it changed no task key is shared."""
    request = {"bank": make_bank(SIZES), "seed": 0, **vars(VARIED)}

    def keys(bank: Any, seed: int, **size: Any) -> set[int]:
        return {int(block.key[0]) for block in VaryingSampler(bank, EpisodeSize(**size), seed).blocks(0, 100)}

    assert not keys(**request) & keys(**{**request, **change})


@pytest.mark.parametrize("size", [PLAIN, VARIED, replace(PLAIN, unlabelled=1)], ids=str)
def test_the_streams_of_plain_episodes_are_not_touched(size: EpisodeSize) -> None:
    """Ways, shots and queries alone are drawn by `EpisodeSampler` as ever; whatever else is asked for has other keys."""
    bank = make_bank(SIZES)
    plain = EpisodeSampler(bank, 3, 1, 3, 0).block(0, 100)
    chosen = sampler_of(bank, size, 0)
    assert isinstance(chosen, EpisodeSampler) == (size == PLAIN)
    keys = {int(key) for block in chosen.blocks(0, 100) for key in block.key}
    assert keys == set(plain.key.tolist()) if size == PLAIN else not keys & set(plain.key.tolist())


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (
            EpisodeSize(5, 1, 10, max_ways=20, max_shots=8, imbalanced=True),
            "2675aaa1605fa67013820cfb639fcdaab81589a12d1aea596e3624419167a400",
        ),
        (
            EpisodeSize(5, 1, 5, unlabelled=5, distractors=5),
            "e2ebd642266a4521112df4a1f1cdfdc4a7ec5537bbb204c808a287ca34365e83",
        ),
    ],
    ids=["varying", "semi-supervised"],
)
def test_the_episodes_are_those_of_the_published_results(size: EpisodeSize, expected: str) -> None:
    """The digest of 2,000 episodes is the one that was stored: other episodes would make all records incomparable."""
    assert VaryingSampler(make_bank(SIZES), size, 0).digest(2000) == expected


@given(sampler=samplers(), index=st.integers(0, 2**40))
@settings(max_examples=50)
def test_an_episode_follows_the_documented_mapping(sampler: VaryingSampler, index: int) -> None:
    """Sizes, classes, images, orders and key are those that plain Python reads off the documented words of Philox."""
    size, images, seed = sampler.size, sampler.sizes.tolist(), 11
    starts = [0, *itertools.accumulate(images)]
    w, k = size.max_ways or size.ways, size.max_shots or size.shots
    q, u, d = size.queries, size.unlabelled, size.distractors
    bounds = [size.ways, size.max_ways, size.shots, size.max_shots, size.imbalanced]
    text = json.dumps(["varying", "synthetic", *bounds, q, u, d, seed], separators=(",", ":"))
    key = int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")
    lengths = [1, w, w + d, (w + d) * (k + q + u), w * k, w * q, (w + d) * u, 1]
    count = sum(lengths) + -sum(lengths) % 4
    words = iter(np.random.Philox(key=key, counter=index * count // 4).random_raw(count).tolist())
    parts = [list(itertools.islice(words, length)) for length in lengths]

    def between(low: int, high: int, word: int) -> int:
        return low + (((word >> 32) * (high - low + 1)) >> 32)

    ways = between(size.ways, w, parts[0][0])
    shots = [between(size.shots, k, parts[1][way if size.imbalanced else 0]) for way in range(ways)]
    classes = documented_draw(parts[2], len(images))[: ways + d]
    each = k + q + u
    rows = [
        [starts[c] + i for i in documented_draw(parts[3][each * place : each * (place + 1)], images[c])]
        for place, c in enumerate(classes)
    ]
    listed = [
        [(image, label) for label in range(ways) for image in rows[label][: shots[label]]],
        [(image, label) for label in range(ways) for image in rows[label][k : k + q]],
        [(image, label) for label in range(ways + d) for image in rows[label][k + q :]],
    ]
    expected: list[Any] = []
    for pairs, order in zip(listed, parts[4:7], strict=True):
        in_order = [pair for _, pair in sorted(zip(order, pairs, strict=False), key=lambda one: one[0])]
        expected += [[image for image, _ in in_order], [label for _, label in in_order]]
    (found,) = rows_of(VaryingSampler(make_bank(images), size, seed).block(index, 1))
    assert found[4] == parts[7][0]
    assert found[:4] == expected[:4]
    assert found[5:] == (expected[4:] if u else [None, None])


def counts_of(size: EpisodeSize, count: int = 6000) -> list[npt.NDArray[np.int64]]:
    """The shots of each way, for each of many episodes of a bank of ten classes."""
    sampler = VaryingSampler(make_bank([30] * 10), size, 0)
    return [np.bincount(block.support_y[0]) for block in sampler.blocks(0, count)]


def test_ways_are_uniform() -> None:
    """Each number from `ways` to `max_ways` is equally likely."""
    ways = [len(shots) for shots in counts_of(EpisodeSize(2, 1, 1, max_ways=8))]
    assert is_uniform(np.array(ways) - 2, 7)


def test_shots_of_a_balanced_support_are_uniform_and_independent_of_the_ways() -> None:
    """Each number from `shots` to `max_shots` is equally likely, whatever the number of ways."""
    drawn = counts_of(EpisodeSize(2, 3, 1, max_ways=4, max_shots=7))
    shots = np.array([each[0] for each in drawn]) - 3
    assert is_uniform(shots, 5)
    table = stats.contingency.crosstab(shots, np.array([len(each) for each in drawn])).count
    assert stats.chi2_contingency(table).pvalue > UNLIKELY


def test_shots_of_an_unbalanced_support_are_uniform_and_independent_of_each_other() -> None:
    """Of every class, each number is equally likely, and none tells another's."""
    drawn = np.array(counts_of(EpisodeSize(3, 2, 1, max_shots=6, imbalanced=True))) - 2  # [B, N]
    for way in range(3):
        assert is_uniform(drawn[:, way], 5)
    for one, other in itertools.combinations(range(3), 2):
        assert stats.chi2_contingency(stats.contingency.crosstab(drawn[:, one], drawn[:, other]).count).pvalue > UNLIKELY


@pytest.mark.parametrize("part", ["support", "query", "unlabelled"])
def test_images_are_uniform(part: str) -> None:
    """At the first place of the support, the queries and the unlabelled images, every image of the split is as likely."""
    size = EpisodeSize(2, 1, 1, max_ways=3, max_shots=3, imbalanced=True, unlabelled=2, distractors=1)
    sampler = VaryingSampler(make_bank([8] * 6), size, 0)
    assert is_uniform(np.array([getattr(block, part)[0, 0] for block in sampler.blocks(0, 20_000)]), 6 * 8)


def test_predictions_are_the_queries_of_all_episodes() -> None:
    """As many as the ways of each times the queries."""
    size = EpisodeSize(2, 1, 3, max_ways=8)
    sampler = VaryingSampler(make_bank([30] * 10), size, 0)
    assert sampler.predictions(500) == 3 * sum(map(len, counts_of(size, 500)))


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (
            EpisodeSize(2, 1, 1, max_ways=5),
            "5 ways are more than the 4 classes of this split: at most --set test.max_ways=4",
        ),
        (EpisodeSize(5, 1, 1), "5 ways are more than the 4 classes of this split: at most --ways 4"),
        (EpisodeSize(3, 1, 1, unlabelled=1, distractors=2), "3 ways and 2 distractors are more than the 4 classes"),
        (EpisodeSize(2, 1, 3, max_shots=5), "5 shots and 3 queries need 8 images of each class, but class 'class1' has 7"),
        (
            EpisodeSize(2, 1, 3, unlabelled=4),
            "need 8 images of each class, but class .* has 7: at most --set test.unlabelled=3",
        ),
        (
            EpisodeSize(2, 4, 4, unlabelled=1),
            "shots . queries = 7 at most.: for example --shots 3 --set test.unlabelled=0",
        ),
    ],
)
def test_an_impossible_size_names_what_fits(size: EpisodeSize, words: str) -> None:
    """The largest episode must have room in the smallest class, and every class may be a distractor."""
    with pytest.raises(UsageError, match=words):
        enough_images.check([make_bank([20, 7, 9, 20])], size)


@given(size=sizes(), images=st.integers(2, 20), classes=st.integers(1, 12))
def test_a_size_is_accepted_exactly_where_its_largest_episode_fits(size: EpisodeSize, images: int, classes: int) -> None:
    """Ways and distractors within the classes; shots, queries and unlabelled within the images of each."""
    fits = (size.max_ways or size.ways) + size.distractors <= classes
    fits &= (size.max_shots or size.shots) + size.queries + size.unlabelled <= images
    with nullcontext() if fits else pytest.raises(UsageError):
        enough_images.check([make_bank([images] * classes)], size)
