"""Nearest neighbour on features, the baseline of Ravi & Larochelle 2017 (https://openreview.net/forum?id=rJY0-Kcll).

A network is trained to classify all training classes together. A query then belongs to the class of the support image whose
features are nearest to its own, by cosine. With several shots too, each support image counts alone. The cosine is that of
the authors' code (twitter-research/meta-learning-lstm, model/baselines/nearest-neighbor.lua):

    y = y_s,   s = argmax_s cos(f(x), f(x_s))

Deviations: none in the answer. In their code each update draws its images from an episode of all training classes; here the
batches go through the training images epoch by epoch. Their normalisation has eps 1e-3; here it is the backbone's.

Legend: T tasks, S support images, Q query images in all, N ways, D features.
"""

import torch.nn.functional as F
from torch import Tensor

from fewshot_bench import FeatureMethod
from fewshot_methods.nearest_neighbour import nearest_of_each


class NearestNeighbourFeatures(FeatureMethod):
    """Nearest support image by the cosine of features."""

    def classify(self, support: Tensor, support_y: Tensor, query: Tensor, ways: int, key: Tensor) -> Tensor:
        """The cosine to the nearest support image of each class [T, Q, N]."""
        cosines = F.normalize(query, dim=-1) @ F.normalize(support, dim=-1).mT  # [T, Q, S]
        return nearest_of_each(cosines, support_y, ways)
