"""Relation networks (Sung, Yang, Zhang, Xiang, Torr & Hospedales 2018, https://arxiv.org/abs/1711.06025).

Both the embedding and the comparison are learned. The maps of a class, which are the sum of its support images' maps,
are stacked with those of a query. A relation module g says how alike they are, from 0 to 1, and regresses to the match
(eq. 1 and 2):

    r_ij = g([sum_{k in class i} f(x_k), f(x_j)])        minimise (r_ij - 1(y_i == y_j))^2

g is two blocks of 3x3 convolution with 64 filters, batch normalisation, ReLU and 2x2 pooling, then a layer of 8 ReLUs and
one sigmoid, whose value is the score. The backbone of the paper is `conv4-64-maps`.

What the authors' code (floodsung/LearningToCompare_FSL) does, and what is done here:
- The paper writes the loss as a sum over queries and classes. Their code takes a mean, and so does this one.
- Their blocks of g do not pad on 19x19 maps (mini-ImageNet) and pad on 5x5 (Omniglot), which gives the paper's 576 and 64
  values before the layer of 8. Here they pad on maps under 10x10, the smallest that two blocks can shrink. A map of
  one value is pooled no further, so that other backbones can be used: conv4-64's maps are 1x1 for 28x28 images (where only
  the middle of a filter counts), 2x2 for 32x32, 5x5 for 84x84.
- They normalise with batch statistics also at test: support, queries and pairs apart (mode `separate`, transductive; the
  recipe `paper`). The default is `joint`, whose test uses running statistics. The pairs of a query and a class have
  statistics of their own in every mode: those of all pairs of the task; under `support`, those of the support's images with
  each class; or running ones.
- A convolution of stacked maps is the sum of one of the class and one of the query, so neither is repeated for each pair.
- They clip the gradient's norm for f and g separately, the recipes for both together. Convolutions have no bias here,
  because the normalisation subtracts it. Initial values are theirs.

Legend: T tasks, S support images, Q query images in all, N ways, D features, C maps of h x w, O filters, P pairs.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewshot_bench import Backbone, EmbeddingMethod, MethodInfo, RunningStatistics, Statistics, Tasks, conv2d
from fewshot_methods.backbones.conv4_maps import FILTERS, add_block, block, normalised, unpadded

HIDDEN = 8
VALUES_AT_ONCE = 2**25
"""The number of values of the pairs' maps that are computed at once, if pairs do not influence each other."""
LARGEST_KEPT = 4096
"""The most values of an image's maps for which a test keeps the maps of every image."""


class RelationNetworks(EmbeddingMethod):
    """A learned comparison of the maps of a query and of a class."""

    def __init__(self, hparams: Any, info: MethodInfo, backbone: Backbone) -> None:
        super().__init__(hparams, info, backbone)
        self.relation = RelationModule(map_shape(backbone))
        self.relation_running = RunningStatistics(self.relation.channels)

    def loss(self, tasks: Tasks) -> Tensor:
        """Mean squared error of the relation scores of each task [T] (eq. 2)."""
        scores = self.predict(tasks)  # [T, Q, N]
        match = F.one_hot(tasks.targets, tasks.ways).to(scores.dtype)
        return (scores - match).square().mean((1, 2))

    def compare(self, support: Tensor, support_y: Tensor, query: Tensor, ways: int) -> Tensor:
        """Relation scores in (0, 1): [T, Q, N] (eq. 1)."""
        members = F.one_hot(support_y, ways).to(support.dtype)  # [T, S, N]
        classes = members.mT @ support  # [T, N, D]
        mode, given = self.conditions.normalisation, None
        if mode == "running":
            given = self.relation_running.statistics()
        elif mode == "support":
            _, given = self.relation(classes, support, None)
        scores: Tensor
        scores, used = self.relation(classes, query, given)
        if self.training and mode != "running":
            self.relation_running.collect(used)
        return scores

    def embed_images(self, images: Tensor) -> Tensor | None:
        """Maps [n, D], only under running statistics and if there is room for those of all images."""
        return super().embed_images(images) if self.network.features <= LARGEST_KEPT else None

    def after_update(self) -> None:
        """Let the update's statistics enter the running ones."""
        super().after_update()
        self.relation_running.commit()


class RelationModule(nn.Module):
    """g: two blocks, a layer of 8 and a sigmoid, for maps of shape `maps` (C, h, w)."""

    def __init__(self, maps: tuple[int, int, int]) -> None:
        super().__init__()
        self.maps = maps
        self.channels = {"block1": FILTERS, "block2": FILTERS}
        self.pad = min(maps[1:]) < 10
        add_block(self, "block1", 2 * maps[0])
        add_block(self, "block2", FILTERS)
        sides = maps[1:]
        self.windows = []
        for _ in self.channels:
            sides = sides if self.pad else (sides[0] - 2, sides[1] - 2)
            self.windows.append(2 if min(sides) > 1 else 1)
            sides = (sides[0] // self.windows[-1], sides[1] // self.windows[-1])
        self.fc1 = linear_layer(FILTERS * math.prod(sides), HIDDEN)
        self.fc2 = linear_layer(HIDDEN, 1)

    def forward(self, classes: Tensor, query: Tensor, given: Statistics | None) -> tuple[Tensor, Statistics]:
        """Scores [T, Q, N] of flat maps [T, N, D] and [T, Q, D], and the statistics that normalised the pairs."""
        convolve = conv2d if self.pad else unpadded
        filters = dict(self.named_parameters())["block1_weight"].chunk(2, 1)  # the class's channels first, then the query's
        halves = [convolve(x.unflatten(2, self.maps), half) for x, half in zip((classes, query), filters, strict=True)]
        of_class, of_query = (maps.permute(0, 1, 3, 4, 2) for maps in halves)  # [T, N, h, w, O], [T, Q, h, w, O]
        if given is None:
            return self._of_pairs(of_class, of_query, None)
        parts = of_query.split(max(1, VALUES_AT_ONCE // of_class.numel()), 1)  # all pairs at once might not fit into memory
        return torch.cat([self._of_pairs(of_class, part, given)[0] for part in parts], 1), given

    def _of_pairs(self, of_class: Tensor, of_query: Tensor, given: Statistics | None) -> tuple[Tensor, Statistics]:
        params = dict(self.named_parameters())
        first, second = (None, None) if given is None else (given["block1"], given["block2"])
        pairs = (of_query[:, :, None] + of_class[:, None]).flatten(1, 2).permute(0, 1, 4, 2, 3)  # [T, P, O, h, w]
        x, first = normalised(pairs, params["block1_scale"], params["block1_shift"], first, self.windows[0])
        x, second = block(x, "block2", params, second, pad=self.pad, window=self.windows[1])
        scores = self.fc2(self.fc1(x.flatten(2)).relu()).sigmoid()  # [T, P, 1]
        return scores.view(*of_query.shape[:2], -1), {"block1": first, "block2": second}


def linear_layer(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer with the authors' initial values: weights from N(0, 0.01^2), biases 1."""
    layer = nn.Linear(inputs, outputs)
    nn.init.normal_(layer.weight, std=0.01)
    nn.init.ones_(layer.bias)
    return layer


def map_shape(backbone: Backbone) -> tuple[int, int, int]:
    """The shape (C, h, w) of the maps behind a backbone's embeddings. If a backbone does not state it, it is taken to end in
    the maps of its last normalised layer, as Conv4 does, if these can be square; else its D features are D maps of one
    value."""
    shape: tuple[int, int, int] | None = getattr(backbone, "map_shape", None)
    if shape is not None:
        return shape
    filters = list(backbone.channels.values())[-1] if backbone.channels else 1
    side = math.isqrt(backbone.features // filters)
    return (filters, side, side) if filters * side**2 == backbone.features else (backbone.features, 1, 1)
