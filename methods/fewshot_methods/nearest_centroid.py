"""Nearest class mean on raw pixels: the floor that every table shows. Nothing is learned.

A query belongs to the class whose mean support image is nearest in Euclidean distance.

Legend: T tasks, S support images, Q query images in all, N ways, D pixels.
"""

from torch import Tensor

from fewshot_bench import Method, Tasks
from fewshot_methods.prototypical_networks import prototypes, squared_distances


class NearestCentroid(Method):
    """Nearest mean image."""

    trained = False
    needs_backbone = False

    def embed_images(self, images: Tensor) -> Tensor:
        """Pixels [n, D] of images [n, C, H, W]."""
        return images.flatten(1)

    def predict(self, tasks: Tasks) -> Tensor:
        """Minus the squared distance to each class mean [T, Q, N]."""
        support, query = tasks.support_x.flatten(2), tasks.query_x.flatten(2)  # [T, S, D], [T, Q, D]
        return -squared_distances(query, prototypes(support, tasks.support_y, tasks.ways))
