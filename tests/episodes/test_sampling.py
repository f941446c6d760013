"""Episodes hold what was asked for, are uniform, and are the same however they are reached.

Legend: B episodes, N ways, K shots, Q queries per class, C classes of the split.
"""

import hashlib
import itertools
import json
import os
import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imageless_splits import PARTS, SIZES, UNLIKELY, classes_of, documented_draw, is_uniform, make_bank
from scipy import stats

from fewshot_bench.data.prepare import structure_id
from fewshot_bench.episodes import enough_images
from fewshot_bench.episodes.sampling import EpisodeIndices, EpisodeSampler, draw
from fewshot_bench.episodes.size import EpisodeSize
from fewshot_bench.errors import UsageError
from fewshot_bench.kernels import Unavailable
from fewshot_datasets.glyphs.glyphs import Glyphs


def glyphs_bank() -> Any:
    """The same of the test split of `glyphs`, of which no image is drawn."""
    classes = Glyphs().classes()["test"]
    return make_bank([len(each.image_ids) for each in classes], structure_id(classes))


def as_bytes(episodes: EpisodeIndices) -> list[bytes]:
    """All that an `EpisodeIndices` holds, to be compared."""
    return [getattr(episodes, part).tobytes() for part in PARTS]


@st.composite
def samplers(draw_from: st.DrawFn) -> EpisodeSampler:
    """A sampler of any size that its bank, of unequal classes, can give."""
    shots, queries = draw_from(st.integers(1, 6)), draw_from(st.integers(1, 6))
    sizes = draw_from(st.lists(st.integers(shots + queries, 30), min_size=1, max_size=12))
    ways = draw_from(st.integers(1, len(sizes)))
    return EpisodeSampler(make_bank(sizes), ways, shots, queries, draw_from(st.integers(0, 2**32 - 1)))


blocks = given(sampler=samplers(), first=st.integers(0, 2**40))


@blocks
def test_no_image_stands_twice_in_an_episode(sampler: EpisodeSampler, first: int) -> None:
    """Support and query of an episode share no image, and neither holds one twice."""
    block = sampler.block(first, 3)
    for support, query in zip(block.support, block.query, strict=True):
        images = np.concatenate([support, query])
        assert len(np.unique(images)) == len(images)


@blocks
def test_a_label_means_one_class_and_a_class_has_one_label(sampler: EpisodeSampler, first: int) -> None:
    """In each episode the labels and the classes of the images, support and query alike, correspond one to one."""
    block = sampler.block(first, 3)
    labels = np.concatenate([block.support_y, block.query_y], axis=1)
    classes = classes_of(sampler, np.concatenate([block.support, block.query], axis=1))
    for label_row, class_row in zip(labels, classes, strict=True):
        pairs = set(zip(label_row.tolist(), class_row.tolist(), strict=True))
        assert len(pairs) == len({label for label, _ in pairs}) == len({cls for _, cls in pairs}) == sampler.ways


@blocks
def test_each_label_has_exactly_its_shots_and_queries(sampler: EpisodeSampler, first: int) -> None:
    """Labels 0 to N - 1 stand K times each in the support and Q times each in the queries."""
    block = sampler.block(first, 3)
    for support_y, query_y in zip(block.support_y, block.query_y, strict=True):
        assert np.bincount(support_y).tolist() == [sampler.shots] * sampler.ways
        assert np.bincount(query_y).tolist() == [sampler.queries] * sampler.ways


@blocks
def test_images_lie_within_the_bank(sampler: EpisodeSampler, first: int) -> None:
    """Every id is one of the bank's images."""
    block = sampler.block(first, 3)
    ids = np.concatenate([block.support, block.query], axis=1)
    assert ids.min() >= 0
    assert ids.max() < sampler.sizes.sum()


@given(sampler=samplers(), first=st.integers(0, 1000), counts=st.lists(st.integers(1, 5), min_size=1, max_size=4))
def test_an_episode_is_the_same_in_any_batch(sampler: EpisodeSampler, first: int, counts: list[int]) -> None:
    """Blocks of any lengths, entered anywhere, hold what the episodes hold that are drawn alone."""
    for count in counts:
        block = sampler.block(first, count)
        for place in range(count):
            alone = sampler.block(first + place, 1)
            for part in PARTS:
                assert np.array_equal(getattr(block, part)[place], getattr(alone, part)[0])
        first += count


@given(sampler=samplers())
def test_a_sampler_built_again_gives_the_same_episodes(sampler: EpisodeSampler) -> None:
    """Two samplers of equal arguments agree, whatever was drawn from one before."""
    seed = 3
    size = (sampler.ways, sampler.shots, sampler.queries, seed)
    bank = make_bank(sampler.sizes.tolist())
    used = EpisodeSampler(bank, *size)
    used.block(0, 7)
    assert as_bytes(used.block(5, 2)) == as_bytes(EpisodeSampler(bank, *size).block(5, 2))


@pytest.mark.parametrize(
    "changed",
    [{"ways": 4}, {"shots": 2}, {"queries": 4}, {"seed": 1}, {"bank": make_bank([30] * 10, "another structure")}],
    ids=lambda changed: next(iter(changed)),
)
def test_another_request_has_other_episodes(changed: dict[str, Any]) -> None:
    """Structure, ways, shots, queries and seed each key the stream: with any of them changed no task key is shared."""
    request = {"bank": make_bank([30] * 10), "ways": 5, "shots": 1, "queries": 3, "seed": 0}
    one, other = EpisodeSampler(**request), EpisodeSampler(**{**request, **changed})
    assert not set(one.block(0, 100).key.tolist()) & set(other.block(0, 100).key.tolist())


def test_no_two_episodes_share_a_key() -> None:
    """The task keys of 10,000 episodes are distinct."""
    keys = EpisodeSampler(make_bank([30] * 10), 5, 1, 3, seed=0).block(0, 10_000).key
    assert len(set(keys.tolist())) == 10_000


@pytest.mark.parametrize("hash_seed", ["0", "12345"])
def test_episodes_do_not_depend_on_the_hash_seed(hash_seed: str) -> None:
    """A process with another PYTHONHASHSEED draws the same episodes."""
    code = (
        "import numpy as np, sys\n"
        "from types import SimpleNamespace\n"
        "from fewshot_bench.episodes.sampling import EpisodeSampler\n"
        f"sizes = {SIZES}\n"
        "bank = SimpleNamespace(class_names=tuple(map(str, sizes)), structure_id='synthetic',\n"
        "                       starts=np.cumsum([0, *sizes], dtype=np.int64))\n"
        "print(EpisodeSampler(bank, 5, 1, 15, seed=0).digest(300))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == EpisodeSampler(make_bank(SIZES), 5, 1, 15, seed=0).digest(300)


@pytest.mark.parametrize(
    ("bank", "size", "expected"),
    [
        (make_bank(SIZES), (5, 1, 15, 0), "626dd0f84e91be9b35941d0e4338742725d2ba6d07b6ddd87f3655f3dd109afd"),
        (make_bank(SIZES), (20, 5, 5, 7), "cddf4fbb4053846da576caac5c8875f21e0edfa58c3a17e0603805ec8b70bef5"),
        (glyphs_bank(), (5, 1, 15, 0), "7454ab9e8c7c7c207c67a84baddf15f312cd7071f59b58516beccd950db32664"),
    ],
    ids=["5-way 1-shot", "20-way 5-shot", "glyphs"],
)
def test_the_episodes_are_those_of_the_published_results(bank: Any, size: tuple[int, int, int, int], expected: str) -> None:
    """The digest of 2,000 episodes is the one that was stored: other episodes would make all records incomparable."""
    assert EpisodeSampler(bank, *size).digest(2000) == expected


@pytest.mark.parametrize("count", [1, 255, 256, 257, 600])
def test_the_digest_covers_exactly_the_episodes_asked_for(count: int) -> None:
    """It is the sha256 of the parts of blocks of at most 256 episodes, little-endian, one block after another."""
    sampler = EpisodeSampler(make_bank(SIZES), 5, 1, 2, seed=0)
    sha = hashlib.sha256()
    for first in range(0, count, 256):
        for part in PARTS:
            rows = [getattr(sampler.block(i, 1), part)[0] for i in range(first, min(first + 256, count))]
            sha.update(np.stack(rows).astype("<u8" if part == "key" else "<i8").tobytes())
    assert sampler.digest(count) == sha.hexdigest()


@given(
    rows=st.integers(1, 8).flatmap(
        lambda k: st.lists(
            st.tuples(st.lists(st.integers(0, 2**64 - 1), min_size=k, max_size=k), st.integers(k, 40)), min_size=1
        )
    )
)
def test_a_draw_is_a_stopped_fisher_yates_shuffle(rows: list[tuple[list[int], int]]) -> None:
    """Row by row it equals the same shuffle of a plain list, for any words and population."""
    words, sizes = zip(*rows, strict=True)
    drawn = draw(np.array(words, np.uint64), np.array(sizes, np.int64))
    assert drawn.tolist() == [documented_draw(*row) for row in rows]


@pytest.mark.parametrize("word", [0, 2**32 - 1, 2**63, 2**64 - 1])
def test_a_draw_of_everything_is_a_permutation_whatever_the_words(word: int) -> None:
    """Extreme words, all equal, still draw each of the population once."""
    drawn = draw(np.full((1, 50), word, np.uint64), np.array([50]))
    assert sorted(drawn[0].tolist()) == list(range(50))


@given(sampler=samplers(), index=st.integers(0, 2**40))
@settings(max_examples=50)
def test_an_episode_follows_the_documented_mapping(sampler: EpisodeSampler, index: int) -> None:
    """Classes, images, orders and key are those that plain Python reads off the documented words of Philox."""
    n, k, q, seed = sampler.ways, sampler.shots, sampler.queries, 11
    sizes = sampler.sizes.tolist()
    starts = [0, *itertools.accumulate(sizes)]
    text = json.dumps(["synthetic", n, k, q, seed], separators=(",", ":"))
    key = int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")
    count = n + 2 * n * (k + q) + 1
    count += -count % 4
    words = iter(np.random.Philox(key=key, counter=index * count // 4).random_raw(count).tolist())

    def take(number: int) -> list[int]:
        return list(itertools.islice(words, number))

    classes = documented_draw(take(n), len(sizes))
    images = [[starts[c] + i for i in documented_draw(take(k + q), sizes[c])] for c in classes]
    expected = []
    for part in (slice(0, k), slice(k, None)):
        listed = [(image, label) for label, row in enumerate(images) for image in row[part]]
        in_order = sorted(zip(take(len(listed)), listed, strict=True), key=lambda pair: pair[0])
        expected += [[image for _, (image, _) in in_order], [label for _, (_, label) in in_order]]
    block = EpisodeSampler(make_bank(sizes), n, k, q, seed).block(index, 1)
    assert [getattr(block, part)[0].tolist() for part in PARTS[:4]] == expected
    assert block.key[0] == next(words)


@pytest.fixture(scope="module")
def sampler() -> EpisodeSampler:
    """A sampler of 3-way 2-shot episodes, 2 queries a class, from 6 classes of 8 images."""
    return EpisodeSampler(make_bank([8] * 6), 3, 2, 2, seed=0)


@pytest.fixture(scope="module")
def many(sampler: EpisodeSampler) -> EpisodeIndices:
    """20,000 of its episodes."""
    return sampler.block(0, 20_000)


def test_classes_are_uniform_in_every_order(sampler: EpisodeSampler, many: EpisodeIndices) -> None:
    """Each of the 6 * 5 * 4 ordered choices of classes for labels 0, 1 and 2 is equally likely."""
    rows = np.arange(len(many))
    columns = [np.argmax(many.support_y == label, axis=1) for label in range(3)]
    classes = np.stack([classes_of(sampler, many.support[rows, column]) for column in columns], axis=1)
    orders = {order: cell for cell, order in enumerate(itertools.permutations(range(6), 3))}
    assert is_uniform(np.array([orders[tuple(row)] for row in classes.tolist()]), len(orders))


@pytest.mark.parametrize("part", ["support", "query"])
@pytest.mark.parametrize("place", [0, 3, 5])
def test_images_are_uniform(many: EpisodeIndices, part: str, place: int) -> None:
    """At each place of the support and of the queries every image of the split is equally likely."""
    assert is_uniform(getattr(many, part)[:, place], 6 * 8)


def test_images_of_a_class_are_uniform_in_every_order(many: EpisodeIndices) -> None:
    """The two images of a label in the support are each ordered pair of the 8 images of its class equally often."""
    ones = many.support[many.support_y == 1].reshape(-1, 2) % 8
    pairs = {pair: cell for cell, pair in enumerate(itertools.permutations(range(8), 2))}
    assert is_uniform(np.array([pairs[tuple(row)] for row in ones.tolist()]), len(pairs))


@pytest.mark.parametrize("part", ["support_y", "query_y"])
def test_labels_are_uniform_in_every_order(many: EpisodeIndices, part: str) -> None:
    """Each of the 90 orders of the labels 0, 0, 1, 1, 2, 2 is equally likely: no place tells a label."""
    orders = {order: cell for cell, order in enumerate(sorted(set(itertools.permutations([0, 0, 1, 1, 2, 2]))))}
    assert is_uniform(np.array([orders[tuple(row)] for row in getattr(many, part).tolist()]), len(orders))


def test_the_order_of_the_queries_tells_nothing_of_the_supports(many: EpisodeIndices) -> None:
    """The labels at two places, one of each, are independent."""
    table = stats.contingency.crosstab(many.support_y[:, 0], many.query_y[:, 0]).count
    assert stats.chi2_contingency(table).pvalue > UNLIKELY


def test_unequal_classes_are_equally_likely() -> None:
    """A class of many images is drawn no more often than one of few, and its images are uniform."""
    sampler = EpisodeSampler(make_bank([4, 64, 8, 16]), 1, 1, 1, seed=0)
    images = sampler.block(0, 20_000).support[:, 0]
    classes = classes_of(sampler, images)
    assert is_uniform(classes, 4)
    assert is_uniform(images[classes == 1] - 4, 64)


@pytest.mark.parametrize(
    ("size", "largest"),
    [
        ((5, 1, 1), "at most --ways 4"),
        ((4, 1, 7), "for example --queries 6"),
        ((4, 5, 4), "for example --shots 3"),
        ((1, 30, 15), "for example --shots 6 --queries 1"),
    ],
)
def test_an_impossible_request_names_the_largest_that_fits(size: tuple[int, int, int], largest: str) -> None:
    """More ways than classes, or more images than the smallest class has, raise `UsageError` with what would fit."""
    with pytest.raises(UsageError, match=largest):
        EpisodeSampler(make_bank([20, 7, 9, 20]), *size, seed=0)


@given(sizes=st.lists(st.integers(2, 30), min_size=1, max_size=5), shots=st.integers(1, 40), queries=st.integers(1, 40))
def test_the_size_that_a_refusal_proposes_fits_and_is_the_largest(sizes: list[int], shots: int, queries: int) -> None:
    """The shots and queries named in the message use up the smallest class, and are accepted."""
    bank = make_bank(sizes)
    if shots + queries <= min(sizes):
        enough_images.check([bank], EpisodeSize(1, shots, queries))
        return
    with pytest.raises(UsageError) as refused:
        enough_images.check([bank], EpisodeSize(1, shots, queries))
    proposed = str(refused.value).rsplit("for example ", 1)[1].rstrip(".")
    options = {"shots": shots, "queries": queries}
    options |= {name: int(value) for name, value in re.findall(r"--(\w+) (\d+)", proposed)}
    assert sum(options.values()) == min(sizes)
    assert min(options.values()) >= 1
    enough_images.check([bank], EpisodeSize(1, **options))


@pytest.mark.parametrize(
    ("ways", "shots", "queries", "sizes"),
    [
        (5, 1, 15, [20] * 1692),
        (20, 5, 15, [20] * 30),
        (1, 1, 1, [2, 3]),
        (2, 1, 2, [3, 9, 4]),
        (60, 1, 5, [20] * 100),
        (2, 100, 300, [600, 500, 400]),
        (3, 10, 40, [63, 64, 65, 66]),
    ],
)
@pytest.mark.parametrize("first", [0, 1, 12_345_678_901])
def test_the_kernel_draws_the_episodes_of_numpy(ways: int, shots: int, queries: int, sizes: list[int], first: int) -> None:
    """Word for word: numpy's Philox and argsort against our own."""
    sampler = EpisodeSampler(make_bank(sizes), ways, shots, queries, seed=3)
    try:
        block = sampler._kernel_block(first, 7)
    except Unavailable as error:
        pytest.skip(str(error))
    assert as_bytes(block) == as_bytes(sampler._numpy_block(first, 7))
