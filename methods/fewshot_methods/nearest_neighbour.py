"""Nearest neighbour on raw pixels. Like `nearest-centroid`, to which it is equal at one shot, it learns nothing and is a
floor.

A query belongs to the class of the support image that is nearest to it in Euclidean distance.

Legend: T tasks, S support images, Q query images in all, N ways, D pixels.
"""

import torch
from torch import Tensor

from fewshot_bench import Method, Tasks
from fewshot_methods.prototypical_networks import squared_distances


class NearestNeighbour(Method):
    """Nearest support image."""

    trained = False
    needs_backbone = False

    def embed_images(self, images: Tensor) -> Tensor:
        """Pixels [n, D] of images [n, C, H, W]."""
        return images.flatten(1)

    def predict(self, tasks: Tasks) -> Tensor:
        """Minus the squared distance to the nearest support image of each class [T, Q, N]."""
        support, query = tasks.support_x.flatten(2), tasks.query_x.flatten(2)  # [T, S, D], [T, Q, D]
        return nearest_of_each(-squared_distances(query, support), tasks.support_y, tasks.ways)


def nearest_of_each(similarities: Tensor, support_y: Tensor, ways: int) -> Tensor:
    """The highest of the similarities [T, Q, S] to the support images of each class, labels [T, S]: [T, Q, N]."""
    scores = similarities.new_full((*similarities.shape[:2], ways), -torch.inf)
    return scores.scatter_reduce(2, support_y[:, None].expand_as(similarities), similarities, "amax")
