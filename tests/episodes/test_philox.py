"""Keys, words and integers are those that plain Python computes; the words also those of numpy's own Philox.

The golden digests of episodes, in the tests of the samplers, hold all of it in place.
"""

import hashlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fewshot_bench.episodes.philox import below, key_of, one_below, whole_steps, word_rows, words

MASK = 2**64 - 1

keys, counters = st.integers(0, 2**128 - 1), st.integers(0, 2**256 - 1)
raw = st.lists(st.integers(0, MASK), min_size=1, max_size=20)


def philox_4x64(counter: int, key: int) -> list[int]:
    """The four words of a counter: ten rounds of Philox-4x64 (Salmon, Moraes, Dror & Shaw 2011)."""
    x = [counter >> shift & MASK for shift in (0, 64, 128, 192)]
    low, high = key & MASK, key >> 64
    for _ in range(10):
        first, second = 0xD2E7470EE14C6C93 * x[0], 0xCA5A826395121157 * x[2]
        x = [second >> 64 ^ x[1] ^ low, second & MASK, first >> 64 ^ x[3] ^ high, first & MASK]
        low, high = (low + 0x9E3779B97F4A7C15) & MASK, (high + 0xBB67AE8584CAA73B) & MASK
    return x


def expected_words(key: int, count: int, counter: int) -> list[int]:
    """The words of a stream; numpy adds 1 to the counter before it draws."""
    steps = [philox_4x64((counter + step) % 2**256, key) for step in range(1, count // 4 + 2)]
    return [word for step in steps for word in step][:count]


def test_the_plain_philox_gives_the_known_answer_of_its_authors() -> None:
    """Of random123's file of known answers, with the digits of pi as counter and key."""
    pi = [0x243F6A8885A308D3, 0x13198A2E03707344, 0xA4093822299F31D0, 0x082EFA98EC4E6C89]
    counter = sum(word << 64 * place for place, word in enumerate(pi))
    key = 0x452821E638D01377 + (0xBE5466CF34E90C6C << 64)
    known = [0xA528F45403E61D95, 0x38C72DBD566E9788, 0xA5A1610E72FD18B5, 0x57BD43B5E52B7FE6]
    assert philox_4x64(counter, key) == known


@given(key=keys, count=st.integers(0, 20), counter=counters)
def test_words_are_those_of_philox(key: int, count: int, counter: int) -> None:
    """As plain Python computes them and as numpy does, from any counter on."""
    drawn = words(key, count, counter)
    assert drawn.dtype == np.uint64
    assert drawn.tolist() == expected_words(key, count, counter)
    assert drawn.tolist() == np.random.Philox(key=key, counter=counter).random_raw(count).tolist()


def test_a_counter_may_be_given_by_its_four_words() -> None:
    """The lowest first."""
    assert words(5, 8, [1, 2, 3, 4]).tolist() == words(5, 8, 1 + (2 << 64) + (3 << 128) + (4 << 192)).tolist()


@pytest.mark.parametrize(("count", "expected"), [(0, 0), (1, 4), (4, 4), (5, 8), (8, 8)])
def test_whole_steps_are_the_next_multiple_of_four(count: int, expected: int) -> None:
    """A step of the counter gives four words."""
    assert whole_steps(count) == expected


@given(key=keys, first=st.integers(0, 2**40), count=st.integers(1, 4), steps=st.integers(1, 5))
def test_rows_are_the_stream_cut_at_equal_lengths(key: int, first: int, count: int, steps: int) -> None:
    """Row i begins where i rows end, wherever the stream is entered."""
    each = 4 * steps
    expected = [expected_words(key, each, (first + i) * steps) for i in range(count)]
    assert word_rows(key, first, count, each).tolist() == expected


@given(drawn=raw, limit=st.integers(1, 2**32 - 1))
def test_an_integer_below_a_limit_is_the_documented_product(drawn: list[int], limit: int) -> None:
    """The upper half of the word times the limit, of which the upper half is kept, exactly."""
    numbers = below(np.array(drawn, np.uint64), limit)
    assert numbers.dtype == np.int64
    assert numbers.tolist() == [(word >> 32) * limit >> 32 for word in drawn]


@given(drawn=st.lists(st.tuples(st.integers(0, MASK), st.integers(1, 2**32 - 1)), min_size=1))
def test_each_word_may_have_a_limit_of_its_own(drawn: list[tuple[int, int]]) -> None:
    """Given as integers with a sign."""
    given_words, limits = zip(*drawn, strict=True)
    numbers = below(np.array(given_words, np.uint64), np.array(limits, np.int64))
    assert numbers.tolist() == [(word >> 32) * limit >> 32 for word, limit in drawn]


@given(key=keys, counter=counters, limit=st.integers(1, 1000))
def test_one_integer_is_that_of_the_first_word_at_its_counter(key: int, counter: int, limit: int) -> None:
    """And no other word's."""
    assert one_below(limit, key, counter) == (expected_words(key, 1, counter)[0] >> 32) * limit >> 32


def test_a_key_is_the_first_half_of_a_hash_of_its_parts() -> None:
    """128 bits of the sha256 of their JSON without spaces, little-endian, whatever the parts hold."""
    parts = ["é", 5, None, True, ["b", "a"]]
    text = json.dumps(parts, separators=(",", ":")).encode()
    assert key_of(*parts) == sum(byte << 8 * i for i, byte in enumerate(hashlib.sha256(text).digest()[:16]))
