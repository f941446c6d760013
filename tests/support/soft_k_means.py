"""A method for tests: prototypes of pixels that unlabelled images refine (Ren et al. 2018, section 3.1.1).

One step of soft k-means: each unlabelled image belongs to every class by the softmax of minus its squared distance to the
prototypes, and counts by that share in the means, beside the support images.

Legend: T tasks, S support images, U unlabelled images, Q query images in all, N ways, D pixels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from fewshot_bench import Method, Tasks


class SoftKMeans(Method):
    """Nearest refined prototype. Nothing is learned."""

    trained = False
    needs_backbone = False

    def embed_images(self, images: Tensor) -> Tensor:
        """Pixels [n, D]."""
        return images.flatten(1)

    def predict(self, tasks: Tasks) -> Tensor:
        """Minus the squared distance of each query to each refined prototype [T, Q, N]."""
        x, query = tasks.support_x.flatten(2), tasks.query_x.flatten(2)  # [T, S, D], [T, Q, D]
        shares = F.one_hot(tasks.support_y, tasks.ways).to(x)  # [T, S, N]
        if tasks.unlabelled_x is not None:
            unlabelled = tasks.unlabelled_x.flatten(2)  # [T, U, D]
            belongs = scores(unlabelled, means(x, shares)).softmax(-1)  # [T, U, N]
            x, shares = torch.cat([x, unlabelled], 1), torch.cat([shares, belongs], 1)
        return scores(query, means(x, shares))


def means(x: Tensor, shares: Tensor) -> Tensor:
    """Means of images [T, n, D] by their shares in each class [T, n, N]: [T, N, D]."""
    return shares.mT @ x / shares.sum(1)[..., None]


def scores(x: Tensor, centres: Tensor) -> Tensor:
    """Minus the squared distances of x [T, n, D] to centres [T, N, D]: [T, n, N]."""
    return -(x[:, :, None] - centres[:, None]).square().sum(-1)
