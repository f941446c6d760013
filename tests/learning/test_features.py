"""The base of methods on frozen features trains the classifier that torch's own layers make, and hands features on.

Legend: B images of a batch, T tasks, S support images, Q query images in all, N ways, D features.
"""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from feature_tasks import CLASSES, SHAPE, feature_tasks, image_batch, on_small_backbone
from held import held
from torch import Tensor, nn

from fewshot_bench.episodes.tasks import Tasks
from fewshot_bench.learning.base import Conditions, MethodInfo, NoHparams
from fewshot_bench.learning.features import FeatureMethod
from fewshot_methods.backbones.conv4 import conv4_64

T = 3


class ByKey(FeatureMethod):
    """The sum of a query's features, plus the task's key and the number of the way."""

    def classify(self, support: Tensor, support_y: Tensor, query: Tensor, ways: int, key: Tensor) -> Tensor:
        """Scores [T, Q, N]."""
        return query.sum(-1, keepdim=True) + key[:, None, None] + torch.arange(ways)


class Watching(ByKey):
    """As `ByKey`, with a classifier of its own; it keeps the features that training shows."""

    def make_classifier(self, features: int, classes: int) -> nn.Module:
        """Twice the features, as far as there are classes."""
        return nn.Sequential(nn.Linear(features, classes, bias=False))

    def observe(self, features: Tensor) -> None:
        """Keep them."""
        self.seen = features


def image_tasks() -> Tasks:
    """T tasks of random images in float64."""
    generator = torch.Generator().manual_seed(3)
    support, query = (torch.rand(T, n, *SHAPE, dtype=torch.float64, generator=generator) for n in (4, 6))
    return Tasks(support, torch.arange(4).expand(T, 4), query, None, 4, torch.arange(T))


def by_torch(method: FeatureMethod, x: Tensor) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """Features [B, D] of a batch [B, C, H, W] by torch's own layers in training, and each layer's mean and variance."""
    params, moments = dict(method.network.named_parameters()), []
    for name in method.network.channels:
        x = F.conv2d(x, params[f"{name}_weight"], padding=1)
        moments.append((x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)))
        x = F.batch_norm(x, None, None, params[f"{name}_scale"], params[f"{name}_shift"], training=True, eps=1e-5)
        x = F.max_pool2d(F.relu(x), 2)
    return x.flatten(1), moments


def test_the_loss_is_that_of_torchs_layers() -> None:
    """A batch normalised by itself, a linear layer, the cross-entropy of each image; so are the gradients."""
    method, (x, y) = on_small_backbone(ByKey).train(), image_batch()
    scores = F.linear(by_torch(method, x)[0], method.classifier.weight, method.classifier.bias)
    wanted = F.cross_entropy(scores, y, reduction="none")
    found = method.batch_loss(x, y)
    torch.testing.assert_close(found, wanted)
    parameters = list(method.parameters())
    torch.testing.assert_close(torch.autograd.grad(found.mean(), parameters), torch.autograd.grad(wanted.mean(), parameters))


def test_every_parameter_gets_a_gradient() -> None:
    """Of the network and of the classifier."""
    method = on_small_backbone(ByKey).train()
    method.batch_loss(*image_batch()).mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in method.parameters())


def test_the_statistics_of_a_batch_enter_the_running_ones() -> None:
    """With a momentum of 0.1, once an update."""
    method, (x, y) = on_small_backbone(ByKey).train(), image_batch()
    before = {name: value.clone() for name, value in method.running.named_buffers()}
    method.batch_loss(x, y)
    assert all(torch.equal(value, before[name]) for name, value in method.running.named_buffers())
    method.after_update()
    for name, (mean, variance) in zip(method.network.channels, by_torch(method, x)[1], strict=True):
        for kind, value in (("mean", mean), ("variance", variance)):
            wanted = 0.9 * before[f"{name}_{kind}"] + 0.1 * value
            torch.testing.assert_close(getattr(method.running, f"{name}_{kind}"), wanted)


def test_nothing_is_gathered_outside_training() -> None:
    """A loss in evaluation mode leaves the running statistics, and `observe` does not see it."""
    method = on_small_backbone(Watching)
    before = method.running.block1_mean.clone()
    method.batch_loss(*image_batch())
    method.after_update()
    assert torch.equal(method.running.block1_mean, before)
    assert not hasattr(method, "seen")


def test_a_subclass_sees_the_features_of_training_without_their_gradient() -> None:
    """`observe` is given what the classifier is given."""
    method, (x, y) = on_small_backbone(Watching).train(), image_batch()
    method.batch_loss(x, y)
    torch.testing.assert_close(method.seen, by_torch(method, x)[0].detach())
    assert not method.seen.requires_grad


def test_a_subclass_may_train_with_a_classifier_of_its_own() -> None:
    """What `make_classifier` gives scores the training classes."""
    method, (x, y) = on_small_backbone(Watching).train(), image_batch()
    scores = by_torch(method, x)[0] @ method.classifier[0].weight.T
    torch.testing.assert_close(method.batch_loss(x, y), F.cross_entropy(scores, y, reduction="none"))


def test_ready_features_are_classified_as_they_are() -> None:
    """Support, labels, ways and keys reach `classify`."""
    tasks = feature_tasks(5)
    wanted = tasks.query_x.sum(-1, keepdim=True) + tasks.key[:, None, None] + torch.arange(4)
    torch.testing.assert_close(on_small_backbone(ByKey).predict(tasks), wanted)


@pytest.mark.parametrize("mode", ["running", "joint"])
def test_images_are_embedded_once_under_running_statistics_alone(mode: str) -> None:
    """The same scores follow from images and from what `embed_images` makes of them."""
    method, tasks = on_small_backbone(ByKey), image_tasks()
    held(method, Conditions(mode))
    support, query = (method.embed_images(x.flatten(0, 1)) for x in (tasks.support_x, tasks.query_x))
    assert (support is not None) == (query is not None) == (mode == "running")
    if support is not None and query is not None:
        features = replace(tasks, support_x=support.unflatten(0, (T, -1)), query_x=query.unflatten(0, (T, -1)))
        torch.testing.assert_close(method.predict(features), method.predict(tasks))


def test_the_classifier_starts_as_torchs_linear_layer_with_no_bias() -> None:
    """Uniform weights within 1 / sqrt(D), and zeros."""
    method = on_small_backbone(ByKey, filters=50)
    weight, bias = method.classifier.weight, method.classifier.bias
    assert weight.shape == (CLASSES, 50)
    assert 0.95 / 50**0.5 < weight.abs().max() < 1 / 50**0.5
    assert abs(weight.var() - 1 / (3 * 50)) < 0.1 / (3 * 50)
    assert torch.equal(bias, torch.zeros_like(bias))


@pytest.mark.parametrize(
    ("shape", "classes", "count"),
    [
        ((1, 28, 28), 4112, (1 + 3 * 64) * 9 * 64 + 4 * 2 * 64 + 64 * 4112 + 4112),
        ((3, 84, 84), 64, (3 + 3 * 64) * 9 * 64 + 4 * 2 * 64 + 1600 * 64 + 64),
    ],
)
def test_the_parameters_are_those_of_the_layers(shape: tuple[int, int, int], classes: int, count: int) -> None:
    """Four 3x3 convolutions of 64 maps without bias, a scale and a shift each, and a linear layer of all classes."""
    method = ByKey(NoHparams(), MethodInfo("classification", 5, 5, shape, classes), conv4_64(shape))
    assert sum(p.numel() for p in method.parameters()) == count
