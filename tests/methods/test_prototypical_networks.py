"""Prototypical networks equal their equations in numpy and scipy, and learn2learn's classifier.

Legend: T tasks, S support images, Q query images in all, N ways, D features.
"""

from dataclasses import replace
from types import ModuleType

import numpy as np
import numpy.typing as npt
import pytest
import torch
from held import held
from scipy.spatial.distance import cdist
from scipy.special import log_softmax
from torch import Tensor

from fewshot_bench.episodes.tasks import Tasks
from fewshot_bench.errors import UsageError
from fewshot_bench.learning.base import Conditions, MethodInfo
from fewshot_bench.learning.hparams import build_hparams
from fewshot_bench.specs import TRANSDUCTIVE_MODES, Normalisation
from fewshot_methods.backbones.conv4 import Conv4
from fewshot_methods.prototypical_networks import (
    PrototypicalHparams,
    PrototypicalNetworks,
    prototypes,
    squared_distances,
)

T, N, K, Q, D = 3, 4, 2, 12, 7
MODES: list[Normalisation] = sorted(PrototypicalNetworks.modes)


def make_tasks(*image: int, seed: int = 0) -> Tasks:
    """T tasks of random images, or features, of shape `image` in float64, labels shuffled."""
    generator = torch.Generator().manual_seed(seed)

    def random(count: int) -> Tensor:
        return torch.rand(T, count, *image, dtype=torch.float64, generator=generator)

    def shuffled(each: int) -> Tensor:
        labels = torch.arange(N).repeat_interleave(each)
        return torch.stack([labels[torch.randperm(len(labels), generator=generator)] for _ in range(T)])

    return Tasks(random(N * K), shuffled(K), random(Q), shuffled(Q // N), N, torch.arange(T))


def class_means(x: Tensor, y: Tensor) -> npt.NDArray[np.float64]:
    """Mean of each class of one task, by numpy [N, D]."""
    return np.stack([x.numpy()[y.numpy() == label].mean(0) for label in range(N)])


@pytest.fixture
def method() -> PrototypicalNetworks:
    """The method on a small Conv4 in float64, with running statistics away from their start."""
    generator = torch.Generator().manual_seed(1)
    backbone = Conv4((1, 16, 16), filters=5, strided=False, scale=True, eps=1e-5)
    method = PrototypicalNetworks(PrototypicalHparams(), MethodInfo("classification", N, N * K, (1, 16, 16), 10), backbone)
    for tensor in [*method.parameters(), *method.buffers()]:
        tensor.data = torch.rand(tensor.shape, generator=generator) - 0.2 * (tensor.dim() > 1)
    return method.double()


def test_prototypes_are_class_means() -> None:
    """Each is the mean of the embeddings of its label, whatever the order of the support (eq. 1)."""
    tasks = make_tasks(D)
    for task, found in enumerate(prototypes(tasks.support_x, tasks.support_y, N)):
        np.testing.assert_allclose(found, class_means(tasks.support_x[task], tasks.support_y[task]))


def test_prototypes_of_unequal_classes_are_class_means() -> None:
    """A class with one image beside a class with four has the mean of its own images."""
    x, y = make_tasks(D).support_x[:1, :5], torch.tensor([[1, 0, 1, 1, 1]])
    np.testing.assert_allclose(prototypes(x, y, 2)[0], np.stack([x[0, 1].numpy(), x[0, [0, 2, 3, 4]].numpy().mean(0)]))


def test_distances_are_those_of_scipy() -> None:
    """Squared Euclidean distances equal `cdist`'s."""
    a, b = make_tasks(D).query_x, make_tasks(D, seed=1).support_x
    for task, found in enumerate(squared_distances(a, b)):
        np.testing.assert_allclose(found, cdist(a[task], b[task], "sqeuclidean"))


def test_scores_are_minus_the_squared_distance_to_the_prototypes(method: PrototypicalNetworks) -> None:
    """Given embeddings in place of images, the scores follow from numpy's means and scipy's distances."""
    tasks = make_tasks(D)
    for task, scores in enumerate(method.predict(tasks)):
        means = class_means(tasks.support_x[task], tasks.support_y[task])
        np.testing.assert_allclose(scores, -cdist(tasks.query_x[task], means, "sqeuclidean"))


def test_the_loss_is_the_cross_entropy_of_minus_the_distances(method: PrototypicalNetworks) -> None:
    """For each task: the mean over its queries of minus the log-probability of the right class (eq. 2)."""
    tasks = make_tasks(D)
    for task, loss in enumerate(method.loss(tasks)):
        means = class_means(tasks.support_x[task], tasks.support_y[task])
        logs = log_softmax(-cdist(tasks.query_x[task], means, "sqeuclidean"), axis=1)
        np.testing.assert_allclose(loss, -logs[np.arange(Q), tasks.targets[task]].mean())


def test_scores_are_those_of_learn2learn(l2l: ModuleType, method: PrototypicalNetworks) -> None:
    """`learn2learn.nn.PrototypicalClassifier`, fitted to the same embeddings, gives the same scores."""
    tasks = make_tasks(D)
    for task, scores in enumerate(method.predict(tasks)):
        peer = l2l.nn.PrototypicalClassifier(tasks.support_x[task], tasks.support_y[task])
        torch.testing.assert_close(scores, peer(tasks.query_x[task]))


def test_gradients_of_the_loss_are_those_of_learn2learn(l2l: ModuleType, method: PrototypicalNetworks) -> None:
    """The embeddings of the queries and the support receive the gradients that the peer's classifier gives."""
    tasks = make_tasks(D)
    support, query = tasks.support_x.requires_grad_(), tasks.query_x.requires_grad_()
    ours = torch.autograd.grad(method.loss(tasks).sum(), [support, query])
    losses = []
    for task in range(T):
        peer = l2l.nn.PrototypicalClassifier(support[task], tasks.support_y[task])
        losses.append(torch.nn.functional.cross_entropy(peer(query[task]), tasks.targets[task]))
    torch.testing.assert_close(ours, torch.autograd.grad(torch.stack(losses).sum(), [support, query]))


@pytest.mark.parametrize("mode", MODES)
def test_tasks_in_one_call_equal_a_call_for_each(method: PrototypicalNetworks, mode: Normalisation) -> None:
    """The tasks of a batch do not see each other, in any mode."""
    tasks = make_tasks(1, 16, 16)
    held(method, Conditions(mode))
    for task, scores in enumerate(method.predict(tasks)):
        one = slice(task, task + 1)
        alone = replace(tasks, support_x=tasks.support_x[one], support_y=tasks.support_y[one], query_x=tasks.query_x[one])
        torch.testing.assert_close(method.predict(alone)[0], scores)


@pytest.mark.parametrize("mode", MODES)
def test_queries_see_each_other_in_transductive_modes_alone(method: PrototypicalNetworks, mode: Normalisation) -> None:
    """Another image in place of the last query changes the others' scores under `separate` and `joint`, else not."""
    tasks = make_tasks(1, 16, 16)
    held(method, Conditions(mode))
    query_x = torch.cat([tasks.query_x[:, :-1], 1 - tasks.query_x[:, -1:]], 1)
    before, after = (method.predict(t)[:, :-1] for t in (tasks, replace(tasks, query_x=query_x)))
    assert torch.allclose(before, after, rtol=1e-10, atol=0) == (mode not in TRANSDUCTIVE_MODES)


@pytest.mark.parametrize("mode", MODES)
def test_embedded_images_are_the_embeddings_of_the_task(method: PrototypicalNetworks, mode: Normalisation) -> None:
    """Where images are embedded apart from their task, under running statistics alone, they give the same scores."""
    tasks = make_tasks(1, 16, 16)
    held(method, Conditions(mode))
    support, query = (method.embed_images(x.flatten(0, 1)) for x in (tasks.support_x, tasks.query_x))
    assert (support is not None) == (query is not None) == (mode == "running")
    if support is not None and query is not None:
        features = replace(tasks, support_x=support.unflatten(0, (T, -1)), query_x=query.unflatten(0, (T, -1)))
        torch.testing.assert_close(method.predict(features), method.predict(tasks))


@pytest.mark.parametrize("training", [True, False])
def test_running_statistics_move_in_training_alone(method: PrototypicalNetworks, training: bool) -> None:
    """An update under `joint` moves them; a prediction in evaluation mode does not."""
    method.train(training)
    before = method.running.block1_mean.clone()
    held(method, Conditions("joint"))
    method.predict(make_tasks(1, 16, 16))
    method.after_update()
    assert torch.equal(method.running.block1_mean, before) == (not training)


def test_cosine_scores_are_minus_scipys_cosine_distances(method: PrototypicalNetworks) -> None:
    """distance=cosine: 1 - cos of query and prototype; another word is refused."""
    tasks = make_tasks(D)
    cosine = PrototypicalNetworks(PrototypicalHparams("cosine"), method.info, method.network)
    found = cosine.compare(tasks.support_x, tasks.support_y, tasks.query_x, N)
    for task in range(T):
        means = class_means(tasks.support_x[task], tasks.support_y[task])
        np.testing.assert_allclose(found[task].numpy(), -cdist(tasks.query_x[task], means, "cosine"), atol=1e-12)
    with pytest.raises(UsageError, match="distance must be one of: euclidean, cosine; got 'manhattan'"):
        build_hparams(PrototypicalHparams, {"distance": "manhattan"})
