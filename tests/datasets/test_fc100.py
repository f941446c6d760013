"""FC100: CIFAR-100 split by superclass, as published."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from tiny_cifar_100 import Tiny, picture, write_pngs

from fewshot_datasets.cifar_100.cifar_fs import CifarFs
from fewshot_datasets.cifar_100.fc100 import Fc100

# CIFAR-100's superclasses in the order of their numbers, as its author's page lists them.
SUPERCLASSES = {
    "aquatic_mammals": "beaver dolphin otter seal whale",
    "fish": "aquarium_fish flatfish ray shark trout",
    "flowers": "orchid poppy rose sunflower tulip",
    "food_containers": "bottle bowl can cup plate",
    "fruit_and_vegetables": "apple mushroom orange pear sweet_pepper",
    "household_electrical_devices": "clock keyboard lamp telephone television",
    "household_furniture": "bed chair couch table wardrobe",
    "insects": "bee beetle butterfly caterpillar cockroach",
    "large_carnivores": "bear leopard lion tiger wolf",
    "large_man-made_outdoor_things": "bridge castle house road skyscraper",
    "large_natural_outdoor_scenes": "cloud forest mountain plain sea",
    "large_omnivores_and_herbivores": "camel cattle chimpanzee elephant kangaroo",
    "medium_mammals": "fox porcupine possum raccoon skunk",
    "non-insect_invertebrates": "crab lobster snail spider worm",
    "people": "baby boy girl man woman",
    "reptiles": "crocodile dinosaur lizard snake turtle",
    "small_mammals": "hamster mouse rabbit shrew squirrel",
    "trees": "maple_tree oak_tree palm_tree pine_tree willow_tree",
    "vehicles_1": "bicycle bus motorcycle pickup_truck train",
    "vehicles_2": "lawn_mower rocket streetcar tank tractor",
}
# Oreshkin et al.'s split by those numbers, as their code has it (datasets/create_dataset_cifar100.py).
NUMBERS = {"train": [1, 2, 3, 4, 5, 6, 9, 10, 15, 17, 18, 19], "val": [8, 11, 13, 16], "test": [0, 7, 12, 14]}


@pytest.mark.parametrize("split", NUMBERS)
def test_a_split_has_the_classes_of_its_published_superclasses(split: str) -> None:
    """Superclass by superclass, sorted in each: 60, 20 and 20 classes."""
    kin = list(SUPERCLASSES.values())
    assert Fc100().class_names(split) == [name for number in NUMBERS[split] for name in kin[number].split()]


def test_it_has_the_images_of_cifar_fs_in_another_order() -> None:
    """The same 100 classes of 600 images, under the same ids; another structure, another identity."""
    own, other = ([one for members in dataset.classes().values() for one in members] for dataset in (Fc100(), CifarFs()))
    assert own != other
    assert sorted(own, key=lambda one: one.name) == sorted(other, key=lambda one: one.name)
    assert Fc100().identity() != CifarFs().identity()


def test_it_reads_the_images_of_its_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Class by class, in the order of the split."""
    monkeypatch.setenv("FSBENCH_CACHE", str(tmp_path / "cache"))
    text = write_pngs(tmp_path / "data" / "cifar-fs")

    class Small(Fc100):
        """The artificial images in an order of their own."""

        manifest = Tiny.manifest
        text = ""

        def class_names(self, split: str) -> list[str]:
            """Two classes train."""
            return {"train": ["sea", "apple"], "val": ["wolf"], "test": ["road"]}[split]

    monkeypatch.setattr(Small, "text", text)
    blocks = list(Small(root=tmp_path / "data").images(lambda done, total: None))
    first = np.stack([block[0].transpose(1, 2, 0) for block in blocks])
    np.testing.assert_array_equal(first, [picture(name, "manual-green011") for name in ("sea", "apple", "wolf", "road")])


@pytest.mark.parametrize("split", NUMBERS)
def test_the_committed_lists_are_the_published_ones(split: str) -> None:
    """Name for name."""
    if not os.environ.get("FSBENCH_DATA"):
        pytest.skip("FSBENCH_DATA is not set")
    published = Path(os.environ["FSBENCH_DATA"]) / "splits" / "fc100" / f"{split}.json"
    assert Fc100().superclasses(split) == json.loads(published.read_text())
