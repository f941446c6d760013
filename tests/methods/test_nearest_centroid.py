"""The nearest class mean on pixels equals scikit-learn's.

Legend: T tasks, N ways, K shots, Q query images in all.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestCentroid as SklearnNearestCentroid
from torch import Tensor

from fewshot_bench.episodes.tasks import Tasks
from fewshot_bench.learning.base import MethodInfo, NoHparams
from fewshot_methods.nearest_centroid import NearestCentroid

T, N, Q = 20, 5, 30
SHAPE = (2, 6, 6)


def make_tasks(shots: int) -> Tasks:
    """T tasks of random images in float64, labels shuffled."""
    generator = torch.Generator().manual_seed(shots)

    def images(count: int) -> Tensor:
        return torch.rand(T, count, *SHAPE, dtype=torch.float64, generator=generator)

    labels = torch.arange(N * shots) % N
    support_y = torch.stack([labels[torch.randperm(len(labels), generator=generator)] for _ in range(T)])
    return Tasks(images(N * shots), support_y, images(Q), None, N, torch.arange(T))


@pytest.fixture
def method() -> NearestCentroid:
    """The method: it has neither hyper-parameters nor a backbone."""
    return NearestCentroid(NoHparams(), MethodInfo("classification", N, N, SHAPE, 10), None)


@pytest.mark.filterwarnings("ignore:invalid value encountered in divide:RuntimeWarning:sklearn")  # its spread, at 1 shot
@pytest.mark.parametrize("shots", [1, 2, 5])
def test_predictions_are_those_of_scikit_learn(method: NearestCentroid, shots: int) -> None:
    """The highest score is at the class that scikit-learn's `NearestCentroid` answers."""
    tasks = make_tasks(shots)
    for task, scores in enumerate(method.predict(tasks)):
        peer = SklearnNearestCentroid().fit(tasks.support_x[task].flatten(1).numpy(), tasks.support_y[task].numpy())
        assert np.array_equal(scores.argmax(1), peer.predict(tasks.query_x[task].flatten(1).numpy()))


@pytest.mark.parametrize("shots", [1, 5])
def test_embedded_images_give_the_scores_of_images(method: NearestCentroid, shots: int) -> None:
    """Images embedded apart from their task, in one heap, give the same scores."""
    tasks = make_tasks(shots)
    support, query = (method.embed_images(x.flatten(0, 1)) for x in (tasks.support_x, tasks.query_x))
    embedded = replace(tasks, support_x=support.unflatten(0, (T, -1)), query_x=query.unflatten(0, (T, -1)))
    assert embedded.support_x.dim() == 3
    torch.testing.assert_close(method.predict(embedded), method.predict(tasks))


def test_nothing_is_learned(method: NearestCentroid) -> None:
    """There is no parameter, and the method says that it is not trained."""
    assert not list(method.parameters())
    assert not method.trained
