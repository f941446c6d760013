"""How exactly convolutions multiply: in full float32, except in training updates that ask for less.

`tf32` multiplies float32 numbers of 10 explicit mantissa bits in the convolutions that serve all tasks, on CUDA alone;
`bfloat16` rounds both operands of every convolution but a first layer's to 7 bits, and its result too. Sums are float32.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from fewshot_bench.specs import Precision

_MATMUL = torch.backends.cuda.matmul
_CONVOLUTIONS: Any = getattr(torch.backends.cudnn, "conv", torch.backends.cudnn)
_NEW = hasattr(_CONVOLUTIONS, "fp32_precision")  # torch 2.9
_FLAG, _EXACT, _TF32 = ("fp32_precision", "ieee", "tf32") if _NEW else ("allow_tf32", False, True)

_present: Precision = "highest"  # of the process, as torch's flags are: autograd has threads of its own


@contextmanager
def products_in(precision: Precision) -> Iterator[None]:
    """Compute products with `precision` inside the block. `highest` switches off the rounding that is torch's default on
    CUDA."""
    global _present
    wanted = (
        (_CONVOLUTIONS, _FLAG, _TF32 if precision == "tf32" else _EXACT),
        (_MATMUL, _FLAG, _EXACT),  # statistics and distances are matrix products
        (_MATMUL, "allow_bf16_reduced_precision_reduction", False),
    )
    earlier = _present, [getattr(owner, name) for owner, name, _ in wanted]
    try:
        _present = precision
        for owner, name, value in wanted:
            setattr(owner, name, value)
        yield
    finally:
        _present = earlier[0]
        for (owner, name, _), value in zip(wanted, earlier[1], strict=True):
            setattr(owner, name, value)


def operand(x: Tensor) -> Tensor:
    """A float32 operand as a convolution is to multiply it: bfloat16 where that is the present precision.

    The gradients of a convolution of such operands, of any order, are convolutions of bfloat16 operands, too.
    """
    return x.bfloat16() if _present == "bfloat16" and x.dtype == torch.float32 else x
