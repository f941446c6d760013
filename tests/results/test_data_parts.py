"""Intervals over new images and new classes: against closed forms, a plain loop, and a world whose truth is known."""

from collections.abc import Callable
from functools import partial
from itertools import combinations

import numpy as np
import pytest
from gaussian_world import World, episodes_of

from fewshot_bench.results.data_parts import Drawn, NoDataInterval, class_parts, image_parts
from fewshot_bench.results.error_parts import episode_part, half_width
from fewshot_bench.results.pairs import compare_pair


def all_subsets(classes: int, ways: int) -> Drawn:
    """Every set of classes once; each class has an image of its own in each."""
    sets = np.array(list(combinations(range(classes), ways)))
    return Drawn(sets, np.arange(sets.size).reshape(sets.shape))


@pytest.mark.parametrize(("classes", "ways"), [(30, 1), (16, 2), (12, 3), (12, 5)])
def test_effects_of_classes_that_add_up_have_the_variance_of_their_mean(classes: int, ways: int) -> None:
    """Over all sets of N of U classes the score's mean is N times that of the effects a: its variance is N² var(a) / U."""
    effects = np.random.default_rng(classes).normal(size=classes)
    drawn = all_subsets(classes, ways)
    scores = effects[drawn.classes].sum(axis=1)
    by_chance, of_classes = class_parts(scores, drawn)
    assert by_chance == episode_part(scores)
    assert by_chance.variance + of_classes.variance == pytest.approx(ways**2 * effects.var(ddof=1) / classes, rel=1e-10)
    assert of_classes.freedom == classes - 1


def test_it_is_the_mean_product_over_pairs_without_a_common_class() -> None:
    """Written out pair by pair."""
    dice = np.random.default_rng(0)
    scores, drawn = episodes_of(dice, World.draw(dice, 14).images(dice, 20), 60)
    rest = scores - scores.mean()
    apart = [
        rest[i] * rest[j]
        for i in range(60)
        for j in range(60)
        if not set(drawn.classes[i].tolist()) & set(drawn.classes[j].tolist())
    ]
    by_chance, of_classes = class_parts(scores, drawn)
    assert by_chance.variance + of_classes.variance == pytest.approx(max(-np.mean(apart), by_chance.variance))


def test_too_few_classes_say_nothing_of_others() -> None:
    """Of nine classes no two sets of five are apart."""
    with pytest.raises(NoDataInterval, match=r"has 9 classes and an episode 5 of them"):
        class_parts(np.arange(126.0), all_subsets(9, 5))


@pytest.mark.parametrize("parts", [class_parts, image_parts])
def test_equal_scores_say_nothing_of_other_data(parts: Callable[..., object]) -> None:
    """A spread of zero is no certainty."""
    with pytest.raises(NoDataInterval, match="the same in every test episode"):
        parts(np.full(792, 0.8), all_subsets(12, 5))


def test_equal_runs_are_equal_on_new_classes_too() -> None:
    """And a difference that never varies cannot be told of."""
    dice = np.random.default_rng(5)
    scores, drawn = episodes_of(dice, World.draw(dice, 20).images(dice, 50), 200)
    assert compare_pair(scores, scores, data=partial(class_parts, drawn=drawn)).test == "same scores"
    with pytest.raises(NoDataInterval, match="the same in every test episode"):
        compare_pair(scores + 1.0, scores, data=partial(class_parts, drawn=drawn))


def test_images_that_come_with_their_class_cannot_be_told_from_it() -> None:
    """Every episode shows all images of its classes."""
    dice = np.random.default_rng(1)
    scores, drawn = episodes_of(dice, World.draw(dice, 20).images(dice, 6), 400)
    with pytest.raises(NoDataInterval, match="nearly always share images"):
        image_parts(scores, drawn)


def test_episodes_without_a_common_image_have_no_part_of_images() -> None:
    """What is drawn anew each time needs no correction."""
    drawn = all_subsets(12, 3)
    by_chance, of_images = image_parts(np.random.default_rng(2).normal(size=len(drawn.classes)), drawn)
    assert of_images.variance == 0
    assert by_chance.variance > 0


def test_the_order_of_episodes_changes_nothing() -> None:
    """Nor do the numbers that classes and images have."""
    dice = np.random.default_rng(3)
    scores, drawn = episodes_of(dice, World.draw(dice, 20).images(dice, 100), 600)
    order = dice.permutation(600)
    other = Drawn(19 - drawn.classes[order], 5000 - drawn.images[order])
    for parts in (class_parts, image_parts):
        assert [x.variance for x in parts(scores[order], other)] == pytest.approx(
            [x.variance for x in parts(scores, drawn)], rel=1e-8
        )


@pytest.mark.slow
def test_how_often_the_intervals_hold_what_new_data_give() -> None:
    """20 test classes of 100 images, 600 episodes: the table of docs/explanation/statistics.md.

    The truth over new images is the accuracy on fresh images of the same classes, that over new classes the accuracy on
    fresh classes. Of 400 repetitions an honest 95 % are 0.95 ± 0.021.
    """
    dice = np.random.default_rng(4)
    over_classes = float(np.mean([World.draw(dice, 200).accuracy(dice, 4000) for _ in range(100)]))
    held = {"episodes, of classes": 0, "classes": 0, "episodes, of images": 0, "images": 0}
    repetitions = 400
    for _ in range(repetitions):
        world = World.draw(dice, 20)
        scores, drawn = episodes_of(dice, world.images(dice, 100), 600)
        truth, mean, alone = world.accuracy(dice, 20_000), scores.mean(), [episode_part(scores)]
        held["episodes, of classes"] += abs(mean - over_classes) <= half_width(alone, 0.95)
        held["classes"] += abs(mean - over_classes) <= half_width(class_parts(scores, drawn), 0.95)
        held["episodes, of images"] += abs(mean - truth) <= half_width(alone, 0.95)
        held["images"] += abs(mean - truth) <= half_width(image_parts(scores, drawn), 0.95)
    shares = {name: count / repetitions for name, count in held.items()}
    assert 0.92 <= shares["classes"] <= 0.98
    assert 0.92 <= shares["images"] <= 0.98
    assert shares["episodes, of classes"] < 0.4
    assert shares["episodes, of images"] < 0.92
