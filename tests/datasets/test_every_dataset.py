"""What every registered data set must hold. The classes of some stand in their files, and in their card."""

from collections.abc import Mapping, Sequence

import pytest
import torch

from fewshot_bench.data.dataset import Dataset, ImageClass
from fewshot_bench.data.functions import FunctionFamily
from fewshot_bench.episodes.function_tasks import FunctionSampler, FunctionSource
from fewshot_bench.errors import DataError
from fewshot_bench.plugins import registry

REGISTERED = registry.registered("datasets")
FUNCTIONS = sorted(name for name, plugin in REGISTERED.items() if plugin.card().get("kind") == "regression")
OWN = sorted(name for name, plugin in REGISTERED.items() if plugin.card().get("classes") == "yours")
DATASETS = sorted(REGISTERED.keys() - {*FUNCTIONS, *OWN})
NEED_FILES = {"cub-200", "tiered-imagenet"}
"""Those whose images' names are no list of ours: without files there are none."""

each = pytest.mark.parametrize("name", DATASETS)


def built(name: str) -> Dataset:
    """The data set with its default options and no files."""
    dataset: Dataset = REGISTERED[name].load()()
    return dataset


def classes(name: str) -> Mapping[str, Sequence[ImageClass]]:
    """Its classes; skips one that needs files to know them."""
    if name in NEED_FILES:
        with pytest.raises(DataError):
            built(name).classes()
        pytest.skip("its images' names stand in its files")
    return built(name).classes()


def test_only_a_users_own_images_have_no_split_of_their_own() -> None:
    """All others have a card that counts."""
    assert OWN == ["arrays", "folder"]
    assert len(DATASETS) >= 8


@each
def test_no_class_stands_in_two_splits(name: str) -> None:
    """Training, validation and test classes are disjoint, and so are their images."""
    splits = classes(name)
    assert tuple(splits) == built(name).splits
    names = [one.name for members in splits.values() for one in members]
    images = [image for members in splits.values() for one in members for image in one.image_ids]
    assert len(set(names)) == len(names)
    assert len(set(images)) == len(images)


@each
def test_the_card_says_what_the_data_set_is(name: str) -> None:
    """Counts and shape on the card are those of the data set."""
    card, dataset = REGISTERED[name].card(), built(name)
    assert tuple(card["shape"]) == dataset.shape
    assert card["classes"] == sum(card["splits"].values())
    assert card["license"] and card["get"] and card["split"]
    splits = classes(name)
    assert {split: count for split, count in card["splits"].items() if count} == {s: len(m) for s, m in splits.items()}
    sizes = [len(one.image_ids) for members in splits.values() for one in members]
    assert card["images"] == sum(sizes)
    assert "images_per_class" not in card or {card["images_per_class"]} == set(sizes)


@each
def test_an_identity_is_a_short_text_that_stays(name: str) -> None:
    """Asked for twice, and of a data set built again; options are part of it or of the cache's key."""
    assert built(name).identity() == built(name).identity()
    assert 0 < len(built(name).identity()) < 100


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_say_so_and_are_finite(name: str) -> None:
    """A family of functions is one by its class and by its card."""
    family = registry.find("datasets", name).load()()
    assert isinstance(family, FunctionFamily)
    tasks = FunctionSource(FunctionSampler(family, "test", 5, 100, 0), torch.device("cpu"), torch.float32).tasks(0, 50)
    assert tasks.targets.shape == (50, 100, 1)
    assert torch.isfinite(tasks.targets).all()
