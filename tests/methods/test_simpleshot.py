"""SimpleShot equals its equations in numpy and scikit-learn's nearest centroid; its centre is training's mean."""

import numpy as np
import numpy.typing as npt
import pytest
import torch
from feature_tasks import feature_tasks, image_batch, on_small_backbone
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestCentroid

from fewshot_methods.simpleshot import SimpleShot

FEATURES = 5  # of the small backbone, and so of the centre
OPTIONS = [(True, True), (False, True), (False, False)]  # CL2N, L2N, UN


def transformed(method: SimpleShot, x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Features [n, D], centred and of unit length where the method's hyper-parameters say so, by numpy."""
    if method.hparams.centre:
        x = x - method.training_features.features_mean.numpy()
    return x / np.linalg.norm(x, axis=1, keepdims=True) if method.hparams.normalise else x


@pytest.mark.parametrize(("centre", "normalise"), OPTIONS)
def test_scores_are_minus_the_squared_distance_to_the_class_means(centre: bool, normalise: bool) -> None:
    """Of features centred and normalised by numpy; the means themselves are not normalised again."""
    tasks, method = feature_tasks(FEATURES), on_small_backbone(SimpleShot, centre=centre, normalise=normalise)
    for task, scores in enumerate(method.predict(tasks)):
        support, query = (transformed(method, x[task].numpy()) for x in (tasks.support_x, tasks.query_x))
        labels = tasks.support_y[task].numpy()
        means = np.stack([support[labels == way].mean(0) for way in range(4)])
        np.testing.assert_allclose(scores, -cdist(query, means, "sqeuclidean"), atol=1e-12)


@pytest.mark.parametrize("shots", [2, 5])
@pytest.mark.parametrize(("centre", "normalise"), OPTIONS)
def test_predictions_are_those_of_scikit_learn(shots: int, centre: bool, normalise: bool) -> None:
    """The highest score is at the class that `NearestCentroid` answers on the transformed features."""
    tasks = feature_tasks(FEATURES, shots=shots, queries=40, count=10)
    method = on_small_backbone(SimpleShot, centre=centre, normalise=normalise)
    for task, scores in enumerate(method.predict(tasks)):
        peer = NearestCentroid().fit(transformed(method, tasks.support_x[task].numpy()), tasks.support_y[task])
        assert np.array_equal(scores.argmax(1), peer.predict(transformed(method, tasks.query_x[task].numpy())))


def test_the_centre_is_a_running_mean_of_training_features() -> None:
    """Each update moves it a tenth of the way to the mean of the batch's features; evaluation does not move it."""
    method = on_small_backbone(SimpleShot).train()
    centre = method.training_features.features_mean.clone()
    for update in range(3):
        x, y = image_batch(seed=update)
        features, _ = method.network.embed(x[None], dict(method.network.named_parameters()))
        method.batch_loss(x, y)
        method.after_update()
        centre += 0.1 * (features[0].detach().mean(0) - centre)
        torch.testing.assert_close(method.training_features.features_mean, centre)
    method.eval().batch_loss(*image_batch(seed=9))
    method.after_update()
    torch.testing.assert_close(method.training_features.features_mean, centre)


def test_the_centre_is_saved_with_the_weights() -> None:
    """It is part of the state that a checkpoint holds."""
    assert "training_features.features_mean" in on_small_backbone(SimpleShot).state_dict()
