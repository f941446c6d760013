"""SimpleShot (Wang, Chao, Weinberger & van der Maaten 2019, https://arxiv.org/abs/1911.04623).

A network is trained to classify all training classes together. A query then belongs to the class whose mean support features
are nearest in Euclidean distance, after all features were centred by the mean of the training features and brought to unit
length (the paper's CL2N):

    z = f(x) - mean of f over the training images,   z <- z / ||z||,   y = argmin_k ||z - c_k||,   c_k = mean of class k's z

The paper's other features are `centre: false` (L2N), and `normalise: false` in addition (UN).

Deviations: the mean of the training features is a running mean over the training batches, with the momentum of the
normalisation's statistics (0.1). The authors (code mileyan/simple_shot) pass all training images once more through the
trained network. On glyphs, in three trials, this changed the validation accuracy on 300 episodes by 0.02 points or less.
They augment training images; here only the recipe `paper` does.

Legend: T tasks, S support images, Q query images in all, N ways, D features.
"""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from fewshot_bench import Backbone, FeatureMethod, MethodInfo, RunningStatistics, moments
from fewshot_methods.prototypical_networks import prototypes, squared_distances


@dataclass(frozen=True)
class SimpleShotHparams:
    """Hyper-parameters of SimpleShot: what is done to the features. CL2N: both; L2N: only `normalise`; UN: neither."""

    centre: bool = True  # subtract the mean of the training features
    normalise: bool = True  # scale features to unit length


class SimpleShot(FeatureMethod):
    """Nearest mean of centred features of unit length."""

    Hparams = SimpleShotHparams

    def __init__(self, hparams: SimpleShotHparams, info: MethodInfo, backbone: Backbone) -> None:
        super().__init__(hparams, info, backbone)
        self.training_features = RunningStatistics({"features": backbone.features})

    def observe(self, features: Tensor) -> None:
        """Gather the mean of a batch of features [B, D]."""
        self.training_features.collect({"features": moments(features[None])})

    def after_update(self) -> None:
        """Let the update's statistics and mean features enter the running ones."""
        super().after_update()
        self.training_features.commit()

    def classify(self, support: Tensor, support_y: Tensor, query: Tensor, ways: int, key: Tensor) -> Tensor:
        """Minus the squared distance of each query to each class mean [T, Q, N]."""
        support, query = self.transformed(support), self.transformed(query)
        return -squared_distances(query, prototypes(support, support_y, ways))

    def transformed(self, features: Tensor) -> Tensor:
        """Features [T, n, D], centred and brought to unit length where the hyper-parameters say so."""
        if self.hparams.centre:
            mean, _ = self.training_features.statistics()["features"]  # [1, D]
            features = features - mean
        return F.normalize(features, dim=-1) if self.hparams.normalise else features
