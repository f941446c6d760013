"""Layers with a task axis, whose weights are shared by all tasks or differ from task to task.

Legend: T tasks, n images a task, C channels, H x W a map, k the side of a filter, O filters, D inputs, N outputs.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from fewshot_bench import kernels
from fewshot_bench.learning.normalisation import moments
from fewshot_bench.learning.precision import operand


def conv2d(x: Tensor, weight: Tensor, stride: int = 1) -> Tensor:
    """Convolution, padded so that stride 1 keeps the size: [T, n, C, H, W] -> [T, n, O, H', W'], channels-last.

    Weight [O, C, k, k] serves all tasks in one large convolution; [T, O, C, k, k] is a convolution of its own a task.
    """
    maps = task_maps(x, weight, stride)
    return (maps[0] if len(maps) == 1 else torch.cat(maps)).permute(0, 1, 4, 2, 3)


def task_maps(x: Tensor, weight: Tensor, stride: int = 1) -> list[Tensor]:
    """`conv2d` as one tensor of all tasks' maps, [T, n, H', W', O], or as one for each task, [1, n, H', W', O].

    The products have the present precision (`Conditions`), except those of a first layer. The maps have the type of x.
    """
    if is_narrow(weight):
        return [_matrix_conv(x, weight, stride)]
    dtype, own = x.dtype, weight.dim() == 5
    x, weight = operand(x), operand(weight)
    if x.device.type != "cpu":
        maps: tuple[Tensor, ...] = (_matrix_conv(x, weight, stride) if own else _shared_conv(x, weight, stride),)
    elif own:
        maps = TaskConv.apply(x, weight, stride)
    else:  # as of one task
        (of_all,) = TaskConv.apply(x.flatten(0, 1)[None], weight[None], stride)  # [1, T*n, H', W', O]
        maps = (of_all.squeeze(0).unflatten(0, x.shape[:2]),)
    return [of_task.to(dtype) for of_task in maps]


def conv2d_moments(x: Tensor, weight: Tensor, stride: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """`conv2d` and the mean and biased variance [T, O] of its maps over each task's images and places.

    Where a patch has fewer values than there are filters (a network's first layer), the moments come from those of the
    patches, because the maps are linear in the patches: mean(p W) = mean(p) W, var(p w) = w' cov(p) w. The maps, the largest
    tensors of a network, are then neither read again for their moments nor touched by the moments' gradient.
    """
    if not is_narrow(weight):
        maps = conv2d(x, weight, stride)
        return maps, *moments(channels_last(maps))
    patches, filters = _patches(x, weight.shape[-1], stride), filter_matrix(weight)  # [T, n, H', W', P], [T or 1, P, O]
    rows = patches.flatten(1, 3)  # [T, M, P]
    maps = (rows @ filters).view(*patches.shape[:4], -1).permute(0, 1, 4, 2, 3)
    mean = rows.mean(1, keepdim=True)  # [T, 1, P]
    centred = rows - mean
    covariance = centred.mT @ centred / rows.shape[1]  # [T, P, P]
    return maps, (mean @ filters)[:, 0], (filters * (covariance @ filters)).sum(1)


def is_narrow(weight: Tensor) -> bool:
    """Whether a patch has fewer values than there are filters: a first layer, fastest as a matrix product."""
    return weight.shape[-3:].numel() < weight.shape[-4]


def _shared_conv(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """One convolution by torch, whose gradients are torch's: [T, n, H', W', O]."""
    images = x.flatten(0, 1).contiguous(memory_format=torch.channels_last)
    maps = F.conv2d(images, weight, stride=stride, padding=weight.shape[-1] // 2)
    of_each: Tensor = maps.permute(0, 2, 3, 1).unflatten(0, x.shape[:2])
    return of_each


def _conv(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """Images [n, C, H, W] -> maps [n, H', W', O], without a gradient."""
    if kernels.convolve(x, weight, stride):
        return kernels.winograd(x.permute(0, 2, 3, 1), weight)
    x = x.contiguous(memory_format=torch.channels_last)
    maps = F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)
    return maps.permute(0, 2, 3, 1).contiguous()  # the maps of a single image need not be channels-last


class TaskConv(torch.autograd.Function):
    """Maps [T, n, C, H, W] convolved with weights of their own [T, O, C, k, k]: T tensors [1, n, H, W, O]. Where the weights
    are one weight, expanded (before the first inner step), the result is one tensor of all tasks: one convolution serves
    every task, and only the weights' gradients are each task's own.

    Its gradient is a convolution as well, and so is the gradient of that. torch's own double gradient turns the images into
    the channels of a convolution with filters as large as a map, which is far slower.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int) -> tuple[Tensor, ...]:
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        if _is_one(weight):
            return (_conv(x.flatten(0, 1), weight[0], stride).unflatten(0, x.shape[:2]),)
        return tuple(_conv(images, w, stride)[None] for images, w in zip(x, weight, strict=True))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return *TaskConvGradient.apply(*ctx.saved_tensors, ctx.stride, ctx.needs_input_grad[0], *grads), None


class TaskConvGradient(torch.autograd.Function):
    """Gradients of `TaskConv` by the maps and by the weights, bilinear in each of them and the gradients of its results."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, stride: int, by_x: bool, *grads: Tensor
    ) -> tuple[Tensor | None, Tensor]:
        ctx.save_for_backward(x, weight, *grads)
        ctx.stride = stride
        one = _is_one(weight)
        tasks = list(zip(_by_task(grads), x, weight, strict=True))
        found = [_conv_gradient(g, images, w, stride, by_x and not one, True) for g, images, w in tasks]
        by_weight = _stacked([by for _, by in found])
        if by_x and one:
            all_x, all_grads = x.flatten(0, 1), grads[0].flatten(0, 1)
            return _conv_gradient(all_grads, all_x, weight[0], stride, True, False)[0].unflatten(0, x.shape[:2]), by_weight
        return _stacked([by for by, _ in found]) if by_x else None, by_weight

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, for_x: Tensor | None, for_weight: Tensor) -> Any:
        x, weight, *grads = ctx.saved_tensors
        stride = ctx.stride
        tasks = list(zip(_by_task(grads), x, for_weight, strict=True))
        by_grads = [_conv(images, u, stride) for _, images, u in tasks]
        by_x = by_weight = None
        if ctx.needs_input_grad[0]:
            by_x = _stacked([_conv_gradient(g, images, u, stride, True, False)[0] for g, images, u in tasks])
        if for_x is not None:
            others = zip(_by_task(grads), for_x, weight, strict=True)
            by_weight = _stacked([_conv_gradient(g, u, w, stride, False, True)[1] for g, u, w in others])
        if len(grads) < len(x):
            all_grads = _stacked(by_grads)
            if for_x is not None:
                all_grads += _conv(for_x.flatten(0, 1), weight[0], stride).unflatten(0, x.shape[:2])
            return by_x, by_weight, None, None, all_grads
        if for_x is not None:
            by_grads = [by + _conv(u, w, stride) for by, u, w in zip(by_grads, for_x, weight, strict=True)]
        return by_x, by_weight, None, None, *(by[None] for by in by_grads)


def _is_one(weight: Tensor) -> bool:
    """Whether weights [T, ...] are one weight, expanded."""
    return len(weight) > 1 and weight.stride(0) == 0


def _by_task(maps: Sequence[Tensor]) -> Iterable[Tensor]:
    """Each task's maps [n, H, W, O] of T tensors [1, n, H, W, O] or one [T, n, H, W, O]."""
    return (task for part in maps for task in part)


def _conv_gradient(grad: Tensor, x: Tensor, weight: Tensor, stride: int, by_x: bool, by_weight: bool) -> tuple[Any, Any]:
    """Gradients of a convolution of images [n, C, H, W], from that of its maps [n, H, W, O]."""
    images_grad = None
    if by_x and kernels.convolve(x, weight, stride):
        images_grad, by_x = kernels.winograd(grad, weight, transposed=True).permute(0, 3, 1, 2), False
    if not (by_x or by_weight):
        return images_grad, None
    pad = [weight.shape[-1] // 2] * 2
    mask = [by_x, by_weight, False]
    grad = grad.permute(0, 3, 1, 2)
    found = torch.ops.aten.convolution_backward(grad, x, weight, None, [stride] * 2, pad, [1, 1], False, [0, 0], 1, mask)
    return images_grad if images_grad is not None else found[0], found[1]


def _stacked(parts: list[Tensor]) -> Tensor:
    return parts[0][None] if len(parts) == 1 else torch.stack(parts)


def _matrix_conv(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """One matrix product a task, [T, n, H', W', O]: for a first layer, and on an accelerator, where T convolutions of a few
    images each would leave it idle."""
    patches = _patches(x, weight.shape[-1], stride)
    maps = patches.flatten(1, 3) @ filter_matrix(weight)  # [T, n*H'*W', O]
    return maps.view(*patches.shape[:4], -1)


def _patches(x: Tensor, size: int, stride: int) -> Tensor:
    """Maps [T, n, C, H, W] -> patches [T, n, H', W', k*k*C]."""
    patches: Tensor = Patches.apply(x.permute(0, 1, 3, 4, 2), size, stride)
    return patches


def filter_matrix(weight: Tensor) -> Tensor:
    """Weight [O, C, k, k] or [T, O, C, k, k] as a matrix [1 or T, k*k*C, O]."""
    weight = weight if weight.dim() == 5 else weight[None]
    return weight.permute(0, 3, 4, 2, 1).flatten(1, 3)


class Patches(torch.autograd.Function):
    """The k x k patches of maps [T, n, H, W, C], padded: [T, n, H', W', k*k*C]. Linear; `Unpatched` is its transpose."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, size: int, stride: int) -> Tensor:
        ctx.shape, ctx.size, ctx.stride = x.shape, size, stride
        pad = size // 2
        padded = F.pad(x, (0, 0, pad, pad, pad, pad))
        windows = padded.unfold(2, size, stride).unfold(3, size, stride)  # [T, n, H', W', C, k, k]
        return windows.permute(0, 1, 2, 3, 5, 6, 4).flatten(4)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return Unpatched.apply(grads[0], ctx.shape, ctx.size, ctx.stride), None, None


class Unpatched(torch.autograd.Function):
    """Patches [T, n, H', W', k*k*C] added up where they came from: maps [T, n, H, W, C]."""

    @staticmethod
    def forward(ctx: Any, patches: Tensor, shape: torch.Size, size: int, stride: int) -> Tensor:
        ctx.size, ctx.stride = size, stride
        tasks, n, height, width, channels = shape
        pad = size // 2
        dtype = torch.promote_types(patches.dtype, torch.float32)
        padded = patches.new_zeros(tasks, n, height + 2 * pad, width + 2 * pad, channels, dtype=dtype)
        parts = patches.unflatten(4, (size, size, channels))  # [T, n, H', W', k, k, C]
        down, right = patches.shape[2] * stride, patches.shape[3] * stride
        for i in range(size):
            for j in range(size):
                padded[:, :, i : i + down : stride, j : j + right : stride] += parts[:, :, :, :, i, j]
        return padded[:, :, pad : pad + height, pad : pad + width].to(patches.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return Patches.apply(grads[0], ctx.size, ctx.stride), None, None, None


def channels_last(x: Tensor) -> Tensor:
    """Maps [T, n, C, H, W] -> [T, n*H*W, C], a view where the maps are channels-last."""
    return x.permute(0, 1, 3, 4, 2).flatten(1, 3)


def per_channel(x: Tensor) -> Tensor:
    """A value a channel, [T or 1, C], shaped to act on maps [T, n, C, H, W]."""
    return x[:, None, :, None, None]


def linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """[T, n, D] -> [T, n, N] with weight [N, D] and bias [N], or one a task: [T, N, D] and [T, N]."""
    if weight.dim() == 2:
        return F.linear(x, weight, bias)
    return torch.baddbmm(bias[:, None], x, weight.mT)
