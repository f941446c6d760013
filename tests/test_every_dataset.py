"""What every registered data set must hold."""

import pytest
import torch

from fewshot_bench import plugins
from fewshot_bench.functions import FunctionFamily, FunctionSampler, FunctionSource

REGISTERED = plugins.registered("datasets")
FUNCTIONS = sorted(name for name, plugin in REGISTERED.items() if plugin.card().get("kind") == "regression")
DATASETS = sorted(REGISTERED.keys() - set(FUNCTIONS))


@pytest.mark.parametrize("name", DATASETS)
def test_no_class_stands_in_two_splits(name: str) -> None:
    """Training, validation and test classes are disjoint, and so are their images."""
    classes = plugins.find("datasets", name).load()().classes()
    assert list(classes) == ["train", "val", "test"]
    names = [one.name for members in classes.values() for one in members]
    images = [image for members in classes.values() for one in members for image in one.image_ids]
    assert len(set(names)) == len(names)
    assert len(set(images)) == len(images)


@pytest.mark.parametrize("name", DATASETS)
def test_the_card_says_what_the_data_set_is(name: str) -> None:
    """Counts and shape on the card are those of the data set."""
    plugin = plugins.find("datasets", name)
    card, dataset = plugin.card(), plugin.load()()
    classes = dataset.classes()
    assert card["splits"] == {split: len(members) for split, members in classes.items()}
    assert card["classes"] == sum(card["splits"].values())
    assert {len(one.image_ids) for members in classes.values() for one in members} == {card["images_per_class"]}
    assert tuple(card["shape"]) == dataset.shape
    assert card["license"]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_say_so_and_are_finite(name: str) -> None:
    """A family of functions is one by its class and by its card."""
    family = plugins.find("datasets", name).load()()
    assert isinstance(family, FunctionFamily)
    tasks = FunctionSource(FunctionSampler(family, "test", 5, 100, 0), torch.device("cpu"), torch.float32).tasks(0, 50)
    assert tasks.targets.shape == (50, 100, 1)
    assert torch.isfinite(tasks.targets).all()
