"""Splits of a user's own classes: drawn by a documented rule, or read from a file that is refused where it is wrong."""

import hashlib
import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fewshot_bench.errors import DataError
from fewshot_datasets.own.own_split import (
    SPLITS,
    check_apart,
    check_split,
    draw_split,
    read_split,
    renamed,
    split_text,
    to_splits,
)

GOLDEN = {  # a golden draw, to show a change of rule or platform
    "val": ["class04", "class07", "class15", "class16", "class17"],
    "test": ["class00", "class01", "class09", "class13", "class14"],
}
ODD = ["cats, dogs", 'a "b"', " edge ", "née", "日本", "x" * 200, "=1+1", "line\nbreak"]


def names(n: int) -> list[str]:
    """Some class names."""
    return [f"class{i:02}" for i in range(n)]


def by_split(split: dict[str, str]) -> dict[str, list[str]]:
    """The classes of each split, sorted."""
    return {one: sorted(name for name, of in split.items() if of == one) for one in SPLITS}


SIZES = {1: (1, 0, 0), 2: (2, 0, 0), 3: (1, 1, 1), 4: (2, 1, 1), 10: (6, 2, 2), 14: (9, 2, 3), 15: (5, 5, 5), 25: (15, 5, 5)}
LARGER = {27: (17, 5, 5), 28: (17, 5, 6), 50: (32, 8, 10), 81: (52, 13, 16), 100: (64, 16, 20), 1000: (640, 160, 200)}


@pytest.mark.parametrize(("n", "sizes"), (SIZES | LARGER).items())
def test_a_drawn_split_has_mini_imagenets_proportions(n: int, sizes: tuple[int, ...]) -> None:
    """64, 16 and 20 %, and 5 classes of each where there are 15."""
    drawn = Counter(draw_split(names(n), 0).values())
    assert tuple(drawn[split] for split in SPLITS) == sizes


@given(st.integers(15, 400), st.integers(0, 5))
def test_fifteen_classes_are_enough_for_five_ways_in_every_split(n: int, seed: int) -> None:
    """And every class stands in one split."""
    drawn = draw_split(names(n), seed)
    assert sorted(drawn) == sorted(names(n))
    assert min(Counter(drawn.values()).values()) >= 5 and set(drawn.values()) == set(SPLITS)


def test_a_split_is_drawn_as_documented() -> None:
    """What plain Python reads off the words of Philox."""
    key = hashlib.sha256(json.dumps([names(20), 3], separators=(",", ":")).encode()).digest()[:16]
    words = np.random.Philox(key=int.from_bytes(key, "little")).random_raw(20).tolist()
    order = [name for _, name in sorted(zip(words, names(20), strict=True))]
    assert by_split(draw_split(names(20), 3)) == {
        "train": sorted(order[:10]),
        "val": sorted(order[10:15]),
        "test": sorted(order[15:]),
    }


def test_a_drawn_split_is_the_same_on_every_platform() -> None:
    """The golden draw of 20 classes with seed 0."""
    assert {split: found for split, found in by_split(draw_split(names(20), 0)).items() if split != "train"} == GOLDEN


def test_a_drawn_split_depends_on_names_and_seed_alone() -> None:
    """Not on the order of the classes."""
    assert draw_split(reversed(names(20)), 0) == draw_split(names(20), 0)
    assert draw_split(names(20), 1) != draw_split(names(20), 0)
    assert set(by_split(draw_split(names(21), 0))["test"]) - {"class20"} != set(GOLDEN["test"])


def test_every_class_is_as_likely_in_each_split() -> None:
    """Over 2,000 seeds a class of 20 is a test class 500 times, give or take five standard deviations of 19.4."""
    counts = Counter(name for seed in range(2000) for name in by_split(draw_split(names(20), seed))["test"])
    assert len(counts) == 20 and all(abs(count - 500) < 97 for count in counts.values())


def test_what_is_written_is_read_again() -> None:
    """Commas, quotes, spaces, Unicode, line breaks and long names."""
    splits = {"train": ODD[:3], "val": ODD[3:5], "test": ODD[5:]}
    text = split_text(splits)
    assert text.startswith("class,split\n")
    assert read_split(text.encode(), "split.csv") == {name: split for split, members in splits.items() for name in members}


READ = {
    "plain": "class,split\ncat,train\ndog,test\n",
    "with a BOM": "\ufeffclass,split\ncat,train\ndog,test\n",
    "Windows' line ends": "class,split\r\ncat,train\r\ndog,test\r\n",
    "blank lines": "class,split\n\ncat,train\n,\ndog,test\n\n",
    "columns in another order": "split,note,Class\ntrain,mine,cat\ntest,,dog",
    "other spellings": "class,split\ncat, TRAIN\ndog,Test \n",
    "quotes": '"class","split"\n"cat","train"\n"dog","test"\n',
}


@pytest.mark.parametrize("text", READ.values(), ids=READ)
def test_a_split_file_is_read(text: str) -> None:
    """As spreadsheets and people write them."""
    assert read_split(text.encode(), "split.csv") == {"cat": "train", "dog": "test"}


SPELLINGS = {
    "train": ["train", "Training", "BASE", "meta-train", "metatrain", "meta_train"],
    "val": ["val", "valid", "validation", "Valid", "dev", "Dev", "meta-val"],
    "test": ["test", "TEST", "testing", "novel", "Novel", "meta_test"],
}


@pytest.mark.parametrize(("split", "word"), [(split, word) for split, words in SPELLINGS.items() for word in words])
def test_a_split_has_several_spellings(split: str, word: str) -> None:
    """Those that people and the papers use, in any case."""
    assert read_split(f"class,split\ncat,{word}\n".encode(), "split.csv") == {"cat": split}


def test_an_accent_may_be_encoded_apart() -> None:
    """macOS decomposes the names of folders."""
    assert read_split("class,split\nne\u0301e,train\n".encode(), "split.csv") == {"n\xe9e": "train"}


REFUSED = {
    "twice": (b"class,split\ncat,train\ncat,train\n", "names classes more than once: 'cat: train, train'"),
    "in two splits": (b"class,split\ncat,train\ndog,val\ncat,test\n", "'cat: train, test'"),
    "in two encodings": ("class,split\nn\xe9,val\nne\u0301,val\n".encode(), "'n\xe9: val, val'"),
    "unknown split": (b"class,split\ncat,holdout\ndog,test\n", "do not exist: 'cat: holdout'.\nSplits: train, val, test."),
    "no split": (b"class,split\ncat,\n", "do not exist: 'cat: '"),
    "no header": (b"cat,train\ndog,test\n", "must begin with the line class,split; it begins with 'cat,train'"),
    "other columns": (b"name,fold\ncat,train\n", "it begins with 'name,fold'"),
    "semicolons": (b"class;split\ncat;train\n", "it begins with 'class;split'.\nPut commas between the cells"),
    "empty": (b"", "it begins with 'nothing'"),
    "a cell too many": (b"class,split\ncat,train\ncats, dogs,train\n", "row 3: 2 cells expected, not 3: 'cats, dogs,train'"),
    "a cell too few": (b"class,split\ncat\n", "row 2: 2 cells expected, not 1: 'cat'"),
    "another encoding": ("class,split\nn\xe9e,train\n".encode("latin-1"), "is not a CSV file in UTF-8"),
    "UTF-16": ("class,split\ncat,train\n".encode("utf-16"), "is not a CSV file in UTF-8"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_wrong_split_file_is_refused(name: str) -> None:
    """By its name, with what is wrong in it, in one to three lines."""
    content, wanted = REFUSED[name]
    with pytest.raises(DataError) as error:
        read_split(content, "my/split.csv")
    assert str(error.value).startswith("my/split.csv") and wanted in str(error.value)
    assert len(str(error.value).splitlines()) <= 3


def test_the_first_few_of_many_are_named() -> None:
    """And how many more there are."""
    with pytest.raises(DataError, match="more than once: 'a: val, val', 'b: val, val', 'c: val, val' and 2 more"):
        to_splits({name: ["val", "val"] for name in "abcde"}, "split.csv")


def test_a_split_names_just_the_classes_that_there_are() -> None:
    """No more and no fewer."""
    check_split({"cat": "train", "dog": "test"}, ["cat", "dog"], "split.csv")
    with pytest.raises(DataError, match=r"split.csv names classes that have no images: 'emu'.\nThere are 'cat', 'dog'."):
        check_split({"cat": "train", "dog": "test", "emu": "val"}, ["cat", "dog"], "split.csv")
    with pytest.raises(DataError, match=r"split.csv does not name all of the 2 classes. It lacks 'dog'."):
        check_split({"cat": "train"}, ["cat", "dog"], "split.csv")


def test_classes_that_look_alike_stand_in_one_split() -> None:
    """In several they are refused, with the splits; in one they are let be."""
    check_apart({"Cat": "train", "cat": "train", "dog": "test"}, "split.csv")
    with pytest.raises(
        DataError, match=r"(?s)'Cat' \(train\) and 'cat ' \(test\). The split: split.csv.*merge them"
    ) as error:
        check_apart({"Cat": "train", "cat ": "test", "dog": "test"}, "split.csv")
    assert len(str(error.value).splitlines()) <= 3


def test_a_split_file_may_write_a_name_otherwise_where_one_class_is_meant() -> None:
    """An exact name comes first; where two may be meant, neither is."""
    assert renamed({"CAT ": "train", "dog": "test"}, ["cat", "dog"], "split.csv") == {"cat": "train", "dog": "test"}
    assert renamed({"Cat": "val", "cat": "val"}, ["cat", "Cat"], "split.csv") == {"Cat": "val", "cat": "val"}
    assert renamed({"CAT": "val"}, ["cat", "Cat"], "split.csv") == {"CAT": "val"}
    with pytest.raises(DataError, match=r"names classes more than once: 'cat: train, test'"):
        renamed({"Cat": "train", "cat": "test"}, ["cat", "dog"], "split.csv")
