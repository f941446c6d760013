"""The kernels of `blocks.cpp` as twice differentiable operations.

Legend: T tasks, n images a task, C channels of an image, H x W a map, O filters, P = 9 C values of a patch, k the window
of the pooling (1: none), h x w the size after it, M = n H W values of a channel in a task. Maps are [T, n, H, W, O].
"""

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from fewshot_bench.kernels.call import call

IMAGES_A_SUM = 8
"""The number of images whose weight gradients a kernel adds up before torch adds the sums."""


class First(ctypes.Structure):
    """Shape of a first layer, as in `blocks.cpp`."""

    _fields_ = (
        *((name, ctypes.c_long) for name in ("T", "n")),
        *((name, ctypes.c_int) for name in ("C", "H", "W", "O", "h", "w", "stride", "window")),
    )


class Maps(ctypes.Structure):
    """Shape of maps between convolution and pooling, as in `blocks.cpp`."""

    _fields_ = (
        *((name, ctypes.c_long) for name in ("T", "n")),
        *((name, ctypes.c_int) for name in ("H", "W", "O", "window")),
    )


class FirstBlock(torch.autograd.Function):
    """ReLU(pool(convolution)) of images [T, n, C, H, W], which get no gradient: [T, n, h, w, O].

    Weight [T or 1, P, O], a patch's values in the order (row, column, channel), and bias [T or 1, O].
    """

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor, stride: int, window: int) -> Tensor:
        tasks, n, channels, height, width = images.shape
        h, w = -(-height // stride) // window, -(-width // stride) // window
        ctx.shape = First(tasks, n, channels, height, width, weight.shape[-1], h, w, stride, window)
        ctx.own = len(weight) == tasks
        if not len(weight) == len(bias) in (1, tasks):
            raise ValueError(f"weight and bias of {len(weight)} and {len(bias)} tasks for images of {tasks}")
        images = images.contiguous()
        out = images.new_empty(tasks, n, h, w, weight.shape[-1])
        choice = images.new_empty(out.shape, dtype=torch.uint8)
        call("first_forward", ctx.shape, images, weight.contiguous(), bias.contiguous(), ctx.own, out, choice)
        ctx.save_for_backward(images, choice)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return None, *FirstBlockGradient.apply(grads[0], *ctx.saved_tensors, ctx.shape, ctx.own), None, None


class FirstBlockGradient(torch.autograd.Function):
    """Gradients of `FirstBlock` by its weight and bias; linear in that of its output."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, images: Tensor, choice: Tensor, shape: First, own: bool) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(images, choice)
        ctx.shape, ctx.own = shape, own
        tasks, n, size = len(images), images.shape[1], 9 * images.shape[2]
        partial = images.new_empty(tasks, -(-n // IMAGES_A_SUM), size + 1, grad.shape[-1])
        call("first_backward", shape, images, grad.contiguous(), choice, partial, ctypes.c_long(IMAGES_A_SUM))
        total = partial.sum(1) if own else partial.sum((0, 1))[None]  # [T or 1, P + 1, O]
        return total[:, :-1], total[:, -1]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:
        images, choice = ctx.saved_tensors
        weight, bias = (grad.contiguous() for grad in grads)
        result = images.new_empty(choice.shape)
        call("first_select", ctx.shape, images, weight, bias, ctx.own, result, choice)
        return result, None, None, None, None


class PoolNormalise(torch.autograd.Function):
    """ReLU(scale * normalised(pool(y)) + shift) of maps y by their own moments; scale and shift [T, O].

    Takes y as one tensor [T, n, H, W, O] or as one [1, n, H, W, O] a task. Gives [T, n, h, w, O], and mean and biased
    variance [T, O] of y (before pooling). Where the scale is negative the smallest value of a window is taken, as pooling
    after the normalisation would.
    """

    @staticmethod
    def forward(ctx: Any, scale: Tensor, shift: Tensor, eps: float, window: int, *ys: Tensor) -> tuple[Tensor, ...]:
        ctx.window, ctx.eps = window, eps
        centre = ys[0].shape[2] // 2, ys[0].shape[3] // 2  # at the border the padding moves values off the mean
        pivot = torch.cat([y[:, 0, *centre] for y in ys])  # [T, O]: near the mean, so that the squares do not cancel
        pooled, choice, sums = _pooled(ys, scale, pivot, window)
        means = sums.sum(1, dtype=torch.float64) / _places(ys[0])  # [T, 2, O]
        mean = (pivot + means[:, 0]).to(scale.dtype)
        variance = (means[:, 1] - means[:, 0].square()).clamp_(min=0).to(scale.dtype)
        factor = scale * torch.rsqrt(variance + eps)
        out = _scaled(pooled, factor, shift - mean * factor)
        ctx.save_for_backward(scale, mean, variance, pooled, choice, out, *ys)
        return out, mean, variance

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        by_scale, by_shift, *by_ys = PoolNormaliseGradient.apply(*grads, ctx.window, ctx.eps, *ctx.saved_tensors)
        return by_scale, by_shift, None, None, *by_ys


class PoolNormaliseGradient(torch.autograd.Function):
    """Gradients of `PoolNormalise` by scale, shift and y.

    With c = y - mean, r = rsqrt(variance + eps), f = r * scale, g' the gradient of the output where the ReLU let through, p
    the pooled maps, S1 = sum g', S2 = sum g' (p - mean), V = g_variance - f r^2 S2 / 2 and L = g_mean - f S1:

        by y = L / M + 2 V c / M + f g' (at the chosen places);   by scale = r S2;   by shift = S1
    """

    @staticmethod
    def forward(
        ctx: Any,
        grad: Tensor,
        for_mean: Tensor,
        for_variance: Tensor,
        window: int,
        eps: float,
        scale: Tensor,
        mean: Tensor,
        variance: Tensor,
        pooled: Tensor,
        choice: Tensor,
        out: Tensor,
        *ys: Tensor,
    ) -> tuple[Tensor, ...]:
        grad, size = grad.contiguous(), _places(ys[0])
        first, second = _gradient_sums(grad, out, pooled, mean)  # S1, S2 [T, O]
        rate = torch.rsqrt(variance + eps)
        factor = scale * rate
        for_variance = for_variance - 0.5 * factor * rate.square() * second  # V
        slope = 2 / size * for_variance
        level = (for_mean - factor * first) / size - slope * mean
        results = _pool_gradient(grad, out, ys, choice, None, level, slope, slope, factor, window)
        ctx.window = window
        ctx.save_for_backward(grad, scale, mean, rate, first, second, for_variance, pooled, choice, out, *ys)
        return rate * second, first, *results

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:
        """For u, u_scale, u_shift, the gradients of a loss J by the three results: with A = sum u, B = sum u c and
        D = sum u g' (at the chosen places), J = A L / M + 2 V B / M + f D + u_scale r S2 + u_shift S1."""
        grad, scale, mean, rate, first, second, for_variance, pooled, choice, out, *ys = ctx.saved_tensors
        u_scale, u_shift, *us = grads
        size, factor = _places(ys[0]), scale * rate
        us, chosen, (a, b, d) = _chosen(us, ys, grad, out, choice, mean, ctx.window)  # sums [T, O]
        by_first = u_shift - factor * a / size
        by_second = u_scale * rate - factor * rate.square() * b / size
        by_factor = d - (a * first + b * rate.square() * second) / size
        by_rate = u_scale * second - 2 * b / size * factor * rate * second + by_factor * scale
        slope = -by_rate * rate**3 / size  # 2 / M times the gradient of the variance, which is -r^3 / 2 times that of r
        along = 2 / size * for_variance
        level = -(by_second * first + along * a) / size - slope * mean
        results = _pool_gradient(grad, out, ys, choice, us, level, slope, along, by_second, ctx.window)
        _grad_gradient(out, pooled, factor, by_first - by_second * mean, by_second, chosen)
        return chosen, a / size, 2 * b / size, None, None, by_factor * rate, None, None, None, None, None, *results


class PoolScale(torch.autograd.Function):
    """ReLU(factor * pool(y) + shift), factor and shift [T, O]; y, and pooling where the factor is negative, as in
    `PoolNormalise`. Gives [T, n, h, w, O]."""

    @staticmethod
    def forward(ctx: Any, factor: Tensor, shift: Tensor, window: int, *ys: Tensor) -> Tensor:
        ctx.window = window
        pooled, choice, _ = _pooled(ys, factor, torch.zeros_like(factor), window)
        out = _scaled(pooled, factor, shift)
        ctx.save_for_backward(factor, pooled, choice, out, *ys)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        by_factor, by_shift, *by_ys = PoolScaleGradient.apply(grads[0], ctx.window, *ctx.saved_tensors)
        return by_factor, by_shift, None, *by_ys


class PoolScaleGradient(torch.autograd.Function):
    """Gradients of `PoolScale` by factor, shift and y: sum g' p, sum g', and f g' at the chosen places."""

    @staticmethod
    def forward(
        ctx: Any, grad: Tensor, window: int, factor: Tensor, pooled: Tensor, choice: Tensor, out: Tensor, *ys: Tensor
    ) -> tuple[Tensor, ...]:
        grad, none = grad.contiguous(), torch.zeros_like(factor)
        first, second = _gradient_sums(grad, out, pooled, none)
        ctx.window = window
        ctx.save_for_backward(grad, factor, pooled, choice, out, *ys)
        return second, first, *_pool_gradient(grad, out, ys, choice, None, none, none, none, factor, window)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:
        grad, factor, pooled, choice, out, *ys = ctx.saved_tensors
        u_factor, u_shift, *us = grads
        none = torch.zeros_like(factor)
        us, chosen, (_, _, by_factor) = _chosen(us, ys, grad, out, choice, none, ctx.window)
        results = _pool_gradient(grad, out, ys, choice, None, none, none, none, u_factor, ctx.window)
        _grad_gradient(out, pooled, factor, u_shift, u_factor, chosen)
        return chosen, None, by_factor, None, None, None, *results


def patch_moments(images: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """Mean [T, P] and covariance [T, P, P] of the patches of each task's images [T, n, C, H, W]."""
    tasks, n, channels, height, width = images.shape
    size = 9 * channels
    sums = images.new_empty(tasks, n, size + 1, size)
    call("patch_sums", First(tasks, n, channels, height, width, 0, 0, 0, stride, 1), images.contiguous(), sums)
    places = n * -(-height // stride) * -(-width // stride)
    means = sums.sum(1, dtype=torch.float64) / places  # [T, P + 1, P]
    mean = means[:, size]
    covariance = means[:, :size] - mean[:, :, None] * mean[:, None, :]
    return mean.to(images.dtype), covariance.to(images.dtype)


def _places(y: Tensor) -> int:
    """M."""
    return y.shape[1:4].numel()


def _shape(y: Tensor, window: int) -> Maps:
    tasks, n, height, width, filters = y.shape
    return Maps(tasks, n, height, width, filters, window)


def _parts(ys: Sequence[Tensor]) -> list[slice]:
    """The tasks that each of `ys` holds."""
    return [slice(0, len(ys[0]))] if len(ys) == 1 else [slice(t, t + 1) for t in range(len(ys))]


def _pooled(ys: Sequence[Tensor], scale: Tensor, pivot: Tensor, window: int) -> tuple[Tensor, Tensor, Tensor]:
    """Pooled maps [T, n, h, w, O], their choices, and the sums [T, n, 2, O] of y - pivot and its square."""
    _, n, height, width, filters = ys[0].shape
    sign = torch.where(scale < 0, -1.0, 1.0).to(scale.dtype).contiguous()
    pooled = pivot.new_empty(len(scale), n, height // window, width // window, filters)
    choice = pooled.new_empty(pooled.shape, dtype=torch.uint8)
    sums = pooled.new_empty(len(scale), n, 2, filters)
    for y, t in zip(ys, _parts(ys), strict=True):
        call("pool_moments", _shape(y, window), y, sign[t], pivot[t], pooled[t], choice[t], sums[t])
    return pooled, choice, sums


def _scaled(pooled: Tensor, factor: Tensor, shift: Tensor) -> Tensor:
    out = torch.empty_like(pooled)
    call("scale_shift", _shape(pooled, 1), pooled, factor.contiguous(), shift.contiguous(), out)
    return out


def _gradient_sums(grad: Tensor, out: Tensor, pooled: Tensor, mean: Tensor) -> Sequence[Tensor]:
    """Sums [T, O], where the ReLU let through, of the gradient and of its product with pooled - mean."""
    sums = grad.new_empty(*grad.shape[:2], 2, grad.shape[-1])
    call("gradient_sums", _shape(grad, 1), grad, out, pooled, mean.contiguous(), sums)
    return sums.sum(1).unbind(1)


def _pool_gradient(
    grad: Tensor,
    out: Tensor,
    ys: Sequence[Tensor],
    choice: Tensor,
    us: Sequence[Tensor] | None,
    level: Tensor,
    slope: Tensor,
    along: Tensor,
    factor: Tensor,
    window: int,
) -> list[Tensor]:
    """level + slope * y + along * u, and factor * grad at the chosen places: one result for each of `ys`."""
    rates = [value.contiguous() for value in (level, slope, along, factor)]
    results = [torch.empty_like(y) for y in ys]
    for i, t in enumerate(_parts(ys)):
        of_task = [rate[t] for rate in rates]
        u = us[i] if us is not None else None
        call("pool_gradient", _shape(ys[i], window), grad[t], out[t], ys[i], choice[t], u, *of_task, results[i])
    return results


def _chosen(
    us: Sequence[Tensor], ys: Sequence[Tensor], grad: Tensor, out: Tensor, choice: Tensor, mean: Tensor, window: int
) -> tuple[list[Tensor], Tensor, Sequence[Tensor]]:
    """u at the chosen places [T, n, h, w, O], and the sums A, B and D [T, O] of `PoolNormaliseGradient`."""
    us = [u.contiguous() for u in us]
    chosen = torch.empty_like(grad)
    sums = grad.new_empty(*grad.shape[:2], 3, grad.shape[-1])
    for y, u, t in zip(ys, us, _parts(ys), strict=True):
        call("chosen_sums", _shape(y, window), u, y, grad[t], out[t], choice[t], mean[t], chosen[t], sums[t])
    return us, chosen, sums.sum(1).unbind(1)


def _grad_gradient(out: Tensor, pooled: Tensor, factor: Tensor, level: Tensor, slope: Tensor, chosen: Tensor) -> None:
    rates = (value.contiguous() for value in (factor, level, slope))
    call("grad_gradient", _shape(out, 1), out, pooled, *rates, chosen)
