"""What every registered data set must hold."""

import pytest

from fewshot_bench import plugins

DATASETS = sorted(plugins.registered("datasets"))


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
