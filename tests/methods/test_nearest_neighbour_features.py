"""The nearest neighbour on features is scikit-learn's by cosine."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from feature_tasks import feature_tasks, on_small_backbone
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.neighbors import KNeighborsClassifier

from fewshot_methods.nearest_neighbour_features import NearestNeighbourFeatures


@pytest.mark.parametrize("shots", [1, 2, 5])
def test_predictions_are_those_of_scikit_learn(shots: int) -> None:
    """The highest score is at the class that `KNeighborsClassifier` answers with one neighbour and the cosine distance."""
    tasks = feature_tasks(9, shots=shots, queries=40, count=10)
    for task, scores in enumerate(on_small_backbone(NearestNeighbourFeatures).predict(tasks)):
        peer = KNeighborsClassifier(1, metric="cosine").fit(tasks.support_x[task], tasks.support_y[task])
        assert np.array_equal(scores.argmax(1), peer.predict(tasks.query_x[task]))


def test_scores_are_cosines_to_the_nearest_image_of_each_class() -> None:
    """They equal the largest of scikit-learn's cosines within each class."""
    tasks = feature_tasks(9)
    for task, scores in enumerate(on_small_backbone(NearestNeighbourFeatures).predict(tasks)):
        cosines = cosine_similarity(tasks.query_x[task], tasks.support_x[task])  # [Q, S]
        labels = tasks.support_y[task].numpy()
        np.testing.assert_allclose(scores, np.stack([cosines[:, labels == way].max(1) for way in range(4)], 1))


def test_the_length_of_features_does_not_matter() -> None:
    """Features twice as long have the same cosines, and features that are all zero have scores."""
    tasks, method = feature_tasks(9), on_small_backbone(NearestNeighbourFeatures)
    longer, zero = replace(tasks, query_x=2 * tasks.query_x), replace(tasks, query_x=0 * tasks.query_x)
    torch.testing.assert_close(method.predict(longer), method.predict(tasks))
    assert torch.isfinite(method.predict(zero)).all()
