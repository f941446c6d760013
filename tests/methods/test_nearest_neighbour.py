"""The nearest neighbour on pixels equals scikit-learn's, and the nearest class mean at one shot."""

from dataclasses import replace
from typing import TypeVar

import numpy as np
import pytest
import torch
from feature_tasks import feature_tasks
from sklearn.neighbors import KNeighborsClassifier

from fewshot_bench.episodes.tasks import Tasks
from fewshot_bench.learning.base import Method, MethodInfo, NoHparams
from fewshot_methods.nearest_centroid import NearestCentroid
from fewshot_methods.nearest_neighbour import NearestNeighbour, nearest_of_each

SHAPE = (2, 3, 4)
M = TypeVar("M", bound=Method)


def image_tasks(shots: int) -> Tasks:
    """20 tasks of 4 ways, of small images in float64."""
    tasks = feature_tasks(24, shots=shots, queries=30, count=20)
    return replace(tasks, support_x=tasks.support_x.unflatten(-1, SHAPE), query_x=tasks.query_x.unflatten(-1, SHAPE))


def pixels(cls: type[M]) -> M:
    """A method that needs neither hyper-parameters nor a backbone."""
    return cls(NoHparams(), MethodInfo("classification", 4, 4, SHAPE, 10), None)


@pytest.mark.parametrize("shots", [1, 2, 5])
def test_predictions_are_those_of_scikit_learn(shots: int) -> None:
    """The highest score is at the class that `KNeighborsClassifier` answers with one neighbour."""
    tasks = image_tasks(shots)
    for task, scores in enumerate(pixels(NearestNeighbour).predict(tasks)):
        peer = KNeighborsClassifier(1).fit(tasks.support_x[task].flatten(1), tasks.support_y[task])
        assert np.array_equal(scores.argmax(1), peer.predict(tasks.query_x[task].flatten(1)))


def test_at_one_shot_the_scores_are_those_of_the_nearest_class_mean() -> None:
    """A class mean of one image is the image."""
    tasks = image_tasks(1)
    torch.testing.assert_close(pixels(NearestNeighbour).predict(tasks), pixels(NearestCentroid).predict(tasks))


def test_at_five_shots_it_answers_otherwise_than_the_nearest_class_mean() -> None:
    """Some query is nearer to an image of another class than that of the nearest mean."""
    tasks = image_tasks(5)
    ours, means = (pixels(cls).predict(tasks).argmax(-1) for cls in (NearestNeighbour, NearestCentroid))
    assert 0 < (ours != means).double().mean() < 0.5


def test_each_class_has_its_most_similar_image() -> None:
    """By hand: two images of class 0 and one of class 1, in any order."""
    similarities = torch.tensor([[[0.1, 0.7, 0.5], [0.9, 0.2, 0.3]]])
    found = nearest_of_each(similarities, torch.tensor([[0, 1, 0]]), 2)
    assert torch.equal(found, torch.tensor([[[0.5, 0.7], [0.9, 0.2]]]))


def test_embedded_images_give_the_scores_of_images() -> None:
    """Images embedded apart from their task give the same scores."""
    tasks, method = image_tasks(2), pixels(NearestNeighbour)
    support, query = (method.embed_images(x.flatten(0, 1)).unflatten(0, (20, -1)) for x in (tasks.support_x, tasks.query_x))
    torch.testing.assert_close(method.predict(replace(tasks, support_x=support, query_x=query)), method.predict(tasks))


def test_nothing_is_learned() -> None:
    """There is no parameter, and the method says that it is not trained."""
    method = pixels(NearestNeighbour)
    assert not list(method.parameters())
    assert not method.trained
