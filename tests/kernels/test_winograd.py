"""The Winograd kernel convolves as torch does.

Legend: n images, C channels, O filters, a side of the maps.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fewshot_bench.kernels import winograd

pytestmark = pytest.mark.usefixtures("compiled")

shapes = pytest.mark.parametrize(
    ("n", "channels", "filters", "height", "width"),
    [(3, 64, 64, 14, 14), (2, 64, 64, 7, 7), (1, 16, 48, 5, 9), (5, 32, 16, 8, 6), (2, 48, 96, 1, 3), (25, 16, 16, 2, 2)],
)
formats = pytest.mark.parametrize(
    "memory_format", [torch.contiguous_format, torch.channels_last], ids=["rows", "channels last"]
)


def random(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Reproducible."""
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(sum(shape)))


@shapes
@formats
def test_it_equals_torch_in_float64(
    n: int, channels: int, filters: int, height: int, width: int, memory_format: torch.memory_format
) -> None:
    """The convolution and the gradient of its maps, whatever the layout of the weight."""
    x, weight = random(n, channels, height, width).requires_grad_(), random(filters, channels, 3, 3)
    expected, grad = F.conv2d(x, weight, padding=1), random(n, filters, height, width)
    weight = weight.to(memory_format=memory_format)
    maps = winograd(x.detach().permute(0, 2, 3, 1), weight)
    torch.testing.assert_close(maps.permute(0, 3, 1, 2), expected, rtol=1e-10, atol=1e-10)
    back = winograd(grad.permute(0, 2, 3, 1), weight, transposed=True)
    torch.testing.assert_close(back.permute(0, 3, 1, 2), *torch.autograd.grad(expected, x, grad), rtol=1e-10, atol=1e-10)


def test_it_rounds_no_worse_than_a_sum_of_so_many_products() -> None:
    """In float32 its largest error, against float64, is within that of adding 9 C rounded products one by one."""
    x, weight = random(8, 14, 14, 64, dtype=torch.float32), random(64, 64, 3, 3, dtype=torch.float32)
    exact = F.conv2d(x.permute(0, 3, 1, 2).double(), weight.double(), padding=1).permute(0, 2, 3, 1)
    magnitude = F.conv2d(x.permute(0, 3, 1, 2).double().abs(), weight.double().abs(), padding=1).permute(0, 2, 3, 1)
    bound = 9 * 64 * torch.finfo(torch.float32).eps / 2 * magnitude  # Higham 2002, eq. 3.5
    assert ((winograd(x, weight) - exact).abs() < bound).all()


def test_it_does_not_depend_on_the_number_of_threads_or_of_images() -> None:
    """Bit for bit: each result is one task of one thread."""
    x, weight = random(7, 14, 14, 64, dtype=torch.float32), random(64, 64, 3, 3, dtype=torch.float32)
    threads = torch.get_num_threads()
    try:
        results = []
        for count in (1, 2):
            torch.set_num_threads(count)
            results.append(winograd(x, weight))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*results)
    assert torch.equal(results[0][3:5], winograd(x[3:5], weight))
