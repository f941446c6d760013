"""What a backbone is: an embedding network that is called with its parameters and statistics passed in."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

from torch import Tensor, nn

from fewshot_bench.learning.normalisation import Statistics

Parameters = Mapping[str, Tensor]
"""Parameter name -> value: one shared by all tasks (the parameter's own shape), or one for each task ([T, *shape])."""


class Backbone(nn.Module, ABC):
    """An embedding network. Registered under `fewshot_bench.backbones` as a callable `(input_shape) -> Backbone`."""

    features: int
    """Size D of an embedding."""
    channels: Mapping[str, int]
    """Normalised layers and their number of channels; empty where the network has none."""

    @abstractmethod
    def embed(self, x: Tensor, params: Parameters, given: Statistics | None = None) -> tuple[Tensor, Statistics]:
        """Images x [T, n, C, H, W] -> embeddings [T, n, D] and the statistics that normalised them.

        The statistics `given` normalise, if there are any; otherwise each task's n images normalise each other.
        """
