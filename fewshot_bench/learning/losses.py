"""The loss of each task, by what its targets are.

Legend: T tasks, n inputs (support or query), N ways, D size of a regression target.
"""

import torch.nn.functional as F
from torch import Tensor

from fewshot_bench.specs import Kind


def task_losses(outputs: Tensor, targets: Tensor, kind: Kind) -> Tensor:
    """Loss of each task [T]: mean cross-entropy of scores [T, n, N] and labels [T, n], or mean squared error of outputs and
    targets, both [T, n, D]."""
    if kind == "regression":
        return (outputs - targets).square().mean((1, 2))
    return F.cross_entropy(outputs.mT, targets, reduction="none").mean(1)
