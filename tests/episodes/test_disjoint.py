"""Disjoint episodes: no image twice, as many as there can be, and nothing that tells a label.

Legend: N ways, K shots, Q queries per class.
"""

import hashlib
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imageless_splits import PARTS, is_uniform, make_bank
from networkx import DiGraph, maximum_flow_value

from fewshot_bench.episodes.disjoint import DisjointSampler, most_disjoint
from fewshot_bench.episodes.size import EpisodeSize
from fewshot_bench.errors import UsageError

SMALL = st.lists(st.integers(2, 12), min_size=2, max_size=7)


def size(ways: int = 5, shots: int = 1, queries: int = 15) -> EpisodeSize:
    """The size of disjoint episodes."""
    return EpisodeSize(ways, shots, queries, sampling="disjoint")


@given(sizes=SMALL, seed=st.integers(0, 99))
@settings(max_examples=50)
def test_no_image_stands_twice_in_all_episodes(sizes: list[int], seed: int) -> None:
    """Two ways, one shot and one query; each label is a class of its own."""
    sampler = DisjointSampler(make_bank(sizes), size(2, 1, 1), seed)
    every = sampler.block(0, sampler.most)
    images = every.images.ravel()
    assert len(np.unique(images)) == len(images)
    owners = np.repeat(np.arange(len(sizes)), sizes)
    for support, support_y, query, query_y in zip(every.support, every.support_y, every.query, every.query_y, strict=True):
        of_label = dict(zip(support_y.tolist(), owners[support].tolist(), strict=True))
        assert len(set(of_label.values())) == 2
        assert [of_label[label] for label in query_y.tolist()] == owners[query].tolist()


@given(sizes=SMALL, ways=st.integers(1, 3))
@settings(max_examples=30, deadline=None)
def test_there_are_as_many_as_a_flow_allows(sizes: list[int], ways: int) -> None:
    """Classes send at most one unit to each episode, and as many in all as they have images for; each episode takes N."""

    def fits(episodes: int) -> bool:
        graph = DiGraph()
        for one, images in enumerate(sizes):
            graph.add_edge("from", ("class", one), capacity=images // 2)
            for episode in range(episodes):
                graph.add_edge(("class", one), episode, capacity=1)
        for episode in range(episodes):
            graph.add_edge(episode, "to", capacity=ways)
        return episodes == 0 or maximum_flow_value(graph, "from", "to") == ways * episodes

    most = most_disjoint(np.array(sizes), size(ways, 1, 1))
    assert fits(most)
    assert not fits(most + 1)


@pytest.mark.parametrize(("classes", "each", "shots", "most"), [(20, 600, 1, 148), (20, 600, 5, 120), (423 * 4, 20, 1, 338)])
def test_known_numbers(classes: int, each: int, shots: int, most: int) -> None:
    """CIFAR-FS's test split (Lafargue et al. 2024 have 148 for 1 shot), and Omniglot's."""
    assert most_disjoint(np.full(classes, each), size(shots=shots)) == most


def test_it_is_a_pure_function_that_can_be_entered_anywhere() -> None:
    """A block is a part of the whole, whatever was drawn before; another seed gives other episodes."""
    bank = make_bank([30] * 9)
    whole = DisjointSampler(bank, size(3, 1, 4), 7).block(0, 18)
    part = DisjointSampler(bank, size(3, 1, 4), 7).block(5, 4)
    assert [getattr(part, name).tolist() for name in PARTS] == [getattr(whole, name)[5:9].tolist() for name in PARTS]
    assert DisjointSampler(bank, size(3, 1, 4), 8).digest(18) != DisjointSampler(bank, size(3, 1, 4), 7).digest(18)


def test_it_follows_its_documentation() -> None:
    """Drawn again word by word, as the module says."""
    sizes, ways, shots, queries = [7, 9, 8, 6], 2, 1, 2
    said = json.dumps(["disjoint", "synthetic", ways, shots, queries, 3], separators=(",", ":"))
    key = int.from_bytes(hashlib.sha256(said.encode()).digest()[:16], "little")
    rows = np.random.Philox(key=key).random_raw(4 * 12).reshape(4, 12)  # 9 images at most: 12 words
    images = [
        int(start) + np.argsort(row[:many], kind="stable")
        for start, many, row in zip([0, 7, 16, 24], sizes, rows, strict=True)
    ]
    sampler = DisjointSampler(make_bank(sizes), size(ways, shots, queries), 3)
    assert sampler.most == 4  # 2 + 3 + 2 + 2 places, two an episode
    each = 16  # 4 + 2 + 2 + 4 + 1 words
    drawn = np.random.Philox(key=key, counter=12).random_raw(4 * each).reshape(4, each)
    left = [2, 3, 2, 2]
    every = sampler.block(0, 4)
    for episode, words in enumerate(drawn):
        ranked = sorted(range(4), key=lambda one: (-left[one], words[one]))[:2]
        chosen = [ranked[i] for i in sorted(range(2), key=lambda i: words[4 + i])]
        support, query = [], []
        for label, one in enumerate(chosen):
            left[one] -= 1
            three = images[one][3 * left[one] : 3 * left[one] + 3].tolist()
            support.append((three[0], label))
            query += [(three[1], label), (three[2], label)]
        support = [support[i] for i in sorted(range(2), key=lambda i: words[6 + i])]
        query = [query[i] for i in sorted(range(4), key=lambda i: words[8 + i])]
        assert list(zip(every.support[episode].tolist(), every.support_y[episode].tolist(), strict=True)) == support
        assert list(zip(every.query[episode].tolist(), every.query_y[episode].tolist(), strict=True)) == query
        assert every.key[episode] == words[12]


def test_classes_of_equal_size_are_equally_likely_and_labels_tell_nothing() -> None:
    """Over many seeds: the classes of the first episode, and those that have label 0."""
    first: list[Any] = []
    for seed in range(400):
        sampler = DisjointSampler(make_bank([12] * 10), size(2, 1, 2), seed)
        block = sampler.block(0, 1)
        first.append(block.support[0][np.argsort(block.support_y[0])] // 12)
    assert is_uniform(np.concatenate(first), 10)
    assert is_uniform(np.array(first)[:, 0], 10)


def test_more_episodes_than_there_are_are_refused() -> None:
    """With the largest number."""
    sampler = DisjointSampler(make_bank([20] * 8), size(4, 1, 4), 0)
    with pytest.raises(
        UsageError, match=r"at most 8 disjoint episodes, 4-way 1-shot with 4 queries a class, not 9: --episodes 8"
    ):
        sampler.block(0, 9)
