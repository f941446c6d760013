"""Baseline++'s cosine heads are those of numpy, and are fitted as torch's weight-normalised layer is by torch's SGD.

Legend: T tasks, S support images, Q query images in all, N ways or classes, D features.
"""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from feature_tasks import CLASSES, feature_tasks, image_batch, on_small_backbone
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from fewshot_bench.episodes.randomness import task_orders
from fewshot_bench.learning.base import MethodInfo
from fewshot_methods.backbones.conv4 import conv4_64
from fewshot_methods.baseline import BaselineHparams
from fewshot_methods.baseline_plus_plus import BaselinePlusPlus, CosineClassifier


class Peer(nn.Module):
    """The authors' head: features of unit length, a layer under torch's weight norm, and a scale of 2."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False, dtype=weight.dtype)
        layer.load_state_dict({"weight": weight})
        self.layer = weight_norm(layer)

    def forward(self, x: Tensor) -> Tensor:
        """Scores [n, N] of features [n, D]."""
        scores: Tensor = 2 * self.layer(x / (x.norm(dim=1, keepdim=True) + 0.00001))
        return scores


@pytest.mark.parametrize(("features", "ways", "shots"), [(3, 4, 1), (30, 4, 1), (30, 5, 3)])
def test_the_scores_are_those_of_heads_fitted_by_torch(features: int, ways: int, shots: int) -> None:
    """From the same initial weights, through the same mini-batches of 4, in float64, for the whole 100 epochs."""
    tasks, method = feature_tasks(features, ways, shots), on_small_backbone(BaselinePlusPlus)
    found, start = method.predict(tasks), method.initial_head(tasks.key, ways, features)["weight"]
    orders = task_orders(tasks.key, ways * shots, "mini-batches", 100)
    for task in range(len(tasks)):
        peer = Peer(start[task])
        sgd = torch.optim.SGD(peer.parameters(), lr=0.01, momentum=0.9, dampening=0.9, weight_decay=0.001)
        for order in orders[task]:
            for places in order.split(4):
                sgd.zero_grad()
                F.cross_entropy(peer(tasks.support_x[task, places]), tasks.support_y[task, places]).backward()
                sgd.step()
        torch.testing.assert_close(found[task], peer(tasks.query_x[task]), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(("classes", "scale"), [(200, 2), (201, 10)])
def test_the_scores_of_training_are_scaled_cosines(classes: int, scale: int) -> None:
    """By numpy: the scale of so many classes, times each class's length, times the cosine of features and weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        classifier = CosineClassifier(7, classes).double()
    x = feature_tasks(7).query_x[0]
    length = np.linspace(0.5, 2, classes)
    classifier.length.data = torch.from_numpy(length)
    weight = classifier.weight.detach().numpy()
    cosines = x.numpy() @ weight.T / np.linalg.norm(x, axis=1)[:, None] / np.linalg.norm(weight, axis=1)
    np.testing.assert_allclose(classifier(x).detach(), scale * length * cosines, rtol=1e-4)  # 1e-5 of a length is a guard


def test_a_class_starts_with_the_length_of_its_weights() -> None:
    """As under torch's weight norm, so that the layer starts as a linear one on features of unit length."""
    classifier = CosineClassifier(7, 30)
    torch.testing.assert_close(classifier.length, classifier.weight.norm(dim=1))
    head = on_small_backbone(BaselinePlusPlus).initial_head(torch.arange(3), 4, 7)
    torch.testing.assert_close(head["length"], head["weight"].norm(dim=2))


def test_training_is_on_cosines() -> None:
    """The loss is that of torch's layers: the length of a batch's features does not matter, and every parameter learns."""
    method, (x, y) = on_small_backbone(BaselinePlusPlus).train(), image_batch()
    features, _ = method.network.embed(x[None], dict(method.network.named_parameters()))
    peer = Peer(method.classifier.weight.detach())
    loss = method.batch_loss(x, y)
    torch.testing.assert_close(loss, F.cross_entropy(peer(features[0]), y, reduction="none"))
    loss.sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in method.parameters())
    assert peer(features[0]).shape == (8, CLASSES)


def test_features_of_zeros_have_a_score() -> None:
    """No length is divided by itself where it is zero."""
    tasks, method = feature_tasks(9), on_small_backbone(BaselinePlusPlus)
    tasks.support_x[:, 0], tasks.query_x[:, 0] = 0, 0
    assert torch.isfinite(method.predict(tasks)).all()


def test_the_parameters_are_those_of_the_layers() -> None:
    """The convolutions of `baseline`, 64 weights a class and a length a class."""
    shape = (1, 28, 28)
    method = BaselinePlusPlus(BaselineHparams(), MethodInfo("classification", 5, 5, shape, 4112), conv4_64(shape))
    assert sum(p.numel() for p in method.parameters()) == 9 * 64 + 3 * 9 * 64**2 + 4 * 2 * 64 + 65 * 4112
