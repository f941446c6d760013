"""Tasks of features for tests of the methods that answer from frozen ones, and any of those on a small backbone."""

from typing import TypeVar

import torch
from held import held
from torch import Tensor

from fewshot_bench.episodes.tasks import Tasks
from fewshot_bench.learning.base import Conditions, MethodInfo
from fewshot_bench.learning.features import FeatureMethod
from fewshot_bench.learning.hparams import build_hparams
from fewshot_methods.backbones.conv4 import Conv4

SHAPE = (1, 16, 16)
CLASSES = 11
M = TypeVar("M", bound=FeatureMethod)


def feature_tasks(features: int, ways: int = 4, shots: int = 3, queries: int = 12, count: int = 3) -> Tasks:
    """Tasks whose images are features in float64, of overlapping classes; labels shuffled, keys 10, 11, ..."""
    generator = torch.Generator().manual_seed(features)
    centres = torch.rand(count, ways, features, dtype=torch.float64, generator=generator)

    def drawn(labels: Tensor) -> Tensor:
        noise = torch.randn(*labels.shape, features, dtype=torch.float64, generator=generator)
        return (torch.take_along_dim(centres, labels[..., None], 1) + 0.3 * noise).relu()

    def shuffled(each: int) -> Tensor:
        labels = torch.arange(ways).repeat_interleave(each)
        return torch.stack([labels[torch.randperm(len(labels), generator=generator)] for _ in range(count)])

    support_y, query_y = shuffled(shots), torch.randint(0, ways, (count, queries), generator=generator)
    return Tasks(drawn(support_y), support_y, drawn(query_y), query_y, ways, torch.arange(count) + 10)


def on_small_backbone(cls: type[M], filters: int = 5, **hparams: float | bool) -> M:
    """The method in float64, ready for a test, on a Conv4 of `filters` features, statistics away from their start."""
    info = MethodInfo("classification", 4, 12, SHAPE, CLASSES)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = Conv4(SHAPE, filters=filters, strided=False, scale=True, eps=1e-5)
        method = cls(build_hparams(cls.Hparams, hparams), info, backbone).double()
        for buffer in method.buffers():
            buffer.data = torch.rand(buffer.shape, dtype=torch.float64)
    held(method, Conditions("running"))
    return method.eval()


def image_batch(size: int = 8, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Random images [size, *SHAPE] in float64 and training classes [size]."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(size, *SHAPE, dtype=torch.float64, generator=generator)
    return x, torch.randint(0, CLASSES, (size,), generator=generator)
