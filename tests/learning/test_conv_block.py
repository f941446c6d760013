"""A block equals convolution, normalisation, ReLU and pooling in a loop over tasks, whether kernels or torch compute it.

Values, statistics, gradients and gradients of gradients, in float64 to a relative 1e-8.

Legend: T tasks, n images a task, C channels, H x W a map, O filters.
"""

import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import grad, gradcheck, gradgradcheck

from fewshot_bench import kernels
from fewshot_bench.kernels import FirstBlock, PoolNormalise, PoolScale, patch_moments
from fewshot_bench.learning.conv_block import conv_block
from fewshot_bench.learning.layers import TaskConv

EPS = 1e-3
LAYOUTS = {
    "pooled": (1, 2),
    "strided": (2, 1),
    "plain": (1, 1),
    "both": (2, 2),
    "window of 3": (1, 3),
    "stride of 3": (3, 1),
}
"""Stride and window of the pooling: those of the networks, and others."""

Kind = Literal["images", "narrow maps", "wide maps"]
Given = Literal["own", "given", "given a task"]
Affine = Literal["shift", "shifts", "scale", "scales", "scale and shifts", "negative scale"]
Computed = tuple[Tensor, tuple[Tensor, Tensor]]
"""What a block gives: its output [T, n, O, h, w], mean and variance [T or 1, O]."""


@dataclass(frozen=True)
class Case:
    """A block and what it is given. Of `images`, unlike maps, no gradient is taken."""

    kind: Kind
    statistics: Given
    own_weights: bool
    affine: Affine
    layout: str
    tasks: int
    n: int
    channels: int
    side: int
    filters: int

    def inputs(self, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
        """Random tensors by name; what has an s (`scales`), or is `own`, differs from task to task."""
        generator = torch.Generator().manual_seed(0)

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, dtype=torch.float64, generator=generator)

        tasks, filters = self.tasks, self.filters
        found = {
            "x": normal(tasks, self.n, self.channels, self.side, self.side + 1),
            "weight": normal(*([tasks] if self.own_weights else []), filters, self.channels, 3, 3),
            "shift": normal(*([tasks] if self.affine in ("shifts", "scales", "scale and shifts") else []), filters),
        }
        if "scale" in self.affine:
            scale = normal(*([tasks] if self.affine == "scales" else []), filters)
            found["scale"] = -scale.abs() if self.affine == "negative scale" else scale
        if self.statistics != "own":
            groups = tasks if self.statistics == "given a task" else 1
            found |= {"mean": normal(groups, filters), "variance": normal(groups, filters).square() + 0.5}
        return {name: value.to(dtype).requires_grad_(name != "x" or self.kind != "images") for name, value in found.items()}


def some_cases() -> Iterator[Case]:
    """Every combination of what changes the way that is taken, sizes by a throw of the dice; and some of large maps."""
    dice = random.Random(0)
    ways: Any = get_args(Kind), get_args(Given), (False, True), get_args(Affine), ("pooled", "strided")
    for kind, statistics, own_weights, affine, layout in itertools.product(*ways):
        filters = dice.choice([16, 32, 48, 64])
        channels = dice.choice([16, 64] if kind == "wide maps" else [1, 3 if filters > 27 else 1])
        side, n = dice.choice([3, 4, 7] if kind == "wide maps" else [3, 7, 8, 13]), dice.choice([2, 3])
        yield Case(kind, statistics, own_weights, affine, layout, dice.choice([1, 3, 3]), n, channels, side, filters)
    for layout, own_weights in itertools.product(("pooled", "strided"), (False, True)):
        yield Case("images", "own", own_weights, "scale", layout, 2, 19, 3, 29, 32)
        yield Case("images", "given", own_weights, "scale", layout, 3, 2, 1, 33, 64)
        yield Case("images", "own", own_weights, "scale", layout, 3, 2, 2, 7, 32)  # as many channels as no picture has
        yield Case("images", "given", own_weights, "scale", layout, 3, 2, 5, 7, 64)
        yield Case("wide maps", "own", own_weights, "scales", layout, 2, 1, 16, 29, 16)
        yield Case("wide maps", "own", own_weights, "shift", layout, 1, 2, 16, 33, 48)
        for side in (2, 3, 7):  # torch's maps of one image need not be channels-last
            yield Case("wide maps", "own", own_weights, "scale", layout, 1, 1, 64, side, 64)
            yield Case("wide maps", "given", own_weights, "scale", layout, 3, 1, 64, side, 64)


CASES = {"-".join(str(value) for value in vars(case).values()): case for case in some_cases()}
cases = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
layouts = pytest.mark.parametrize("layout", ["pooled", "strided"])


def block(inputs: Mapping[str, Tensor], layout: str) -> Computed:
    """`conv_block` of named inputs."""
    stride, window = LAYOUTS[layout]
    given = (inputs["mean"], inputs["variance"]) if "mean" in inputs else None
    scale = inputs.get("scale")
    return conv_block(inputs["x"], inputs["weight"], scale, inputs["shift"], given, eps=EPS, stride=stride, window=window)


def plain_block(inputs: Mapping[str, Tensor], layout: str) -> Computed:
    """The same from torch's functions, in the order of the papers, one task at a time."""
    stride, window = LAYOUTS[layout]
    outs, means, variances = [], [], []
    for t, images in enumerate(inputs["x"]):
        weight, scale, shift = (of_task(inputs, name, t) for name in ("weight", "scale", "shift"))
        assert weight is not None and shift is not None
        maps = F.conv2d(images, weight, stride=stride, padding=1)
        if "mean" in inputs:  # torch has no gradient by given statistics
            mean, variance = (inputs[part].expand(len(inputs["x"]), -1)[t] for part in ("mean", "variance"))
            maps = (maps - channel(mean)) / channel(variance + EPS).sqrt()
            maps = maps * channel(torch.ones_like(shift) if scale is None else scale) + channel(shift)
        else:
            mean, variance = maps.mean((0, 2, 3)), maps.var((0, 2, 3), correction=0)
            scale = torch.ones_like(shift) if scale is None else scale  # without, torch has no second gradient
            maps = F.batch_norm(maps, None, None, scale, shift, training=True, eps=EPS)
        outs.append(F.max_pool2d(F.relu(maps), window))
        means.append(mean)
        variances.append(variance)
    return torch.stack(outs), (torch.stack(means), torch.stack(variances))


def of_task(inputs: Mapping[str, Tensor], name: str, task: int) -> Tensor | None:
    """What this task has of a parameter that is shared or one a task; None where there is none."""
    shared_dims = {"weight": 4, "scale": 1, "shift": 1}
    value = inputs.get(name)
    return value if value is None or value.dim() == shared_dims[name] else value[task]


def channel(x: Tensor) -> Tensor:
    """[O] -> [O, 1, 1]."""
    return x[:, None, None]


def probe(like: Tensor, seed: int) -> Tensor:
    """A fixed random direction."""
    return torch.randn(like.shape, dtype=like.dtype, generator=torch.Generator().manual_seed(seed))


def probed(values: Iterable[Tensor]) -> Tensor:
    """A number with a gradient by every entry of each of the values."""
    return torch.stack([(value * probe(value, seed)).sum() for seed, value in enumerate(values)]).sum()


def everything(function: Callable[[Mapping[str, Tensor], str], Computed], case: Case) -> dict[str, Tensor]:
    """Output, statistics, gradients of a sum of all three by each input, and gradients of a sum of those gradients."""
    inputs = case.inputs()
    out, statistics = function(inputs, case.layout)
    mean, variance = (part.expand(case.tasks, -1) for part in statistics)
    found = {"out": out, "mean": mean, "variance": variance}
    wanted = [value for value in inputs.values() if value.requires_grad]
    names = [name for name, value in inputs.items() if value.requires_grad]
    first = grad(probed(found.values()), wanted, create_graph=True)
    second = grad(probed(first), wanted, materialize_grads=True)
    found |= {f"gradient by {name}": value for name, value in zip(names, first, strict=True)}
    found |= {f"second gradient by {name}": value for name, value in zip(names, second, strict=True)}
    return {name: value.detach() for name, value in found.items()}


def assert_equal(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], relative: float = 1e-8) -> None:
    """Each tensor agrees to `relative` of its largest entry; what is nothing but rounding counts as nothing."""
    assert ours.keys() == theirs.keys()
    for name, expected in theirs.items():
        assert ours[name].shape == expected.shape, name
        largest = max(expected.abs().max().item(), 1e-3)
        worst = (ours[name] - expected).abs().max().item()
        assert worst <= relative * largest, f"{name}: off by {worst}, largest {largest}"


@cases
def test_values_and_both_derivatives_are_those_of_a_plain_loop(case: Case, computed_by: str) -> None:
    """Outputs, statistics, gradients and gradients of gradients, by every input."""
    assert_equal(everything(block, case), everything(plain_block, case))


@layouts
def test_blank_places_do_not_break_the_tie_of_a_window_otherwise(layout: str, computed_by: str) -> None:
    """Black and white images, whose windows mostly hold equal values, have the derivatives of a plain loop all the same."""
    case = Case("images", "own", False, "scale", layout, 2, 3, 1, 13, 16)

    def strokes(function: Callable[[Mapping[str, Tensor], str], Computed]) -> dict[str, Tensor]:
        return everything(lambda inputs, layout: function({**inputs, "x": (inputs["x"] > 1.5).double()}, layout), case)

    assert_equal(strokes(block), strokes(plain_block))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("kind", "channels"), [("images", 1), ("images", 3), ("wide maps", 16)])
def test_any_stride_and_window_serve(kind: Kind, channels: int, layout: str, computed_by: str) -> None:
    """Also those that no kernel was written for."""
    case = Case(kind, "own", True, "scales", layout, 2, 2, channels, 10, 32)
    assert_equal(everything(block, case), everything(plain_block, case))


@layouts
@pytest.mark.parametrize("statistics", ["own", "given"])
@pytest.mark.parametrize(("kind", "channels"), [("images", 1), ("images", 3), ("wide maps", 16)])
@pytest.mark.parametrize("of", ["weight", "scale", "shift", "x"])
def test_what_is_not_a_number_shows(
    of: str, kind: Kind, channels: int, statistics: Given, layout: str, computed_by: str
) -> None:
    """One such value in the weights, the affine part or an image is seen in the same places of the output as in torch's."""
    inputs = Case(kind, statistics, False, "scale", layout, 2, 2, channels, 8, 32).inputs()
    with torch.no_grad():
        inputs[of].view(-1)[-12 if of == "x" else 5] = float("nan")  # of a window, not the first value
        found, expected = (function(inputs, layout)[0].isnan() for function in (block, plain_block))
    assert expected.any()
    assert torch.equal(found, expected)


@layouts
@pytest.mark.parametrize(("kind", "channels"), [("images", 1), ("images", 3), ("wide maps", 16)])
@pytest.mark.parametrize(("level", "contrast"), [(0.0, 1.0), (0.9, 0.1), (0.5, 0.0)])
def test_float32_is_float64_rounded(
    kind: Kind, channels: int, level: float, contrast: float, layout: str, computed_by: str
) -> None:
    """To 1e-4, and where images have little contrast or none at all, so that moments could cancel, no worse."""
    case = Case(kind, "own", False, "scale", layout, 2, 3, channels, 28, 32)
    single, double = case.inputs(torch.float32), case.inputs()
    double["x"] = (level + contrast * double["x"].detach().sigmoid()).float().double()
    single["x"] = double["x"].float()
    (out, moments), (expected, expected_moments) = block(single, layout), block(double, layout)
    ours = {"out": out, "mean": moments[0], "variance": moments[1]}
    theirs = {"out": expected, "mean": expected_moments[0], "variance": expected_moments[1]}
    assert_equal({name: value.double() for name, value in ours.items()}, theirs, relative=1e-4)


@layouts
@pytest.mark.parametrize("kind", ["images", "wide maps"])
def test_a_view_gives_what_its_copy_gives(kind: Kind, layout: str, computed_by: str) -> None:
    """Images that are cut out of a larger tensor, as a support is, and maps in another order of memory."""
    inputs = Case(kind, "own", True, "scales", layout, 3, 3, 1 if kind == "images" else 16, 7, 16).inputs()
    x, last = inputs["x"].detach(), (0, 1, 3, 4, 2)
    views = torch.cat([x, x], 1)[:, :3], x.mT.contiguous().mT, x.permute(last).contiguous().permute(0, 1, 4, 2, 3)
    for view in views:
        torch.testing.assert_close(block({**inputs, "x": view}, layout)[0], block(inputs, layout)[0])


# ---- The operations themselves ----


Made = tuple[Callable[..., Any], tuple[Tensor, ...]]
"""A function and inputs for it."""
Maker = Callable[..., Made]


def numbers(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Normal values that ask for a gradient."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator).to(dtype).requires_grad_()


def first_block(window: int, own: bool, dtype: torch.dtype = torch.float64) -> Made:
    """A first layer, pooled or strided, of 2 tasks of 9 images: more than one sum of weight gradients."""
    images, tasks, stride = numbers(2, 9, 1, 4, 5, dtype=dtype).detach(), 2 if own else 1, 3 - window
    inputs = numbers(tasks, 9, 16, seed=1, dtype=dtype), numbers(tasks, 16, seed=2, dtype=dtype)
    return lambda w, b: FirstBlock.apply(images, w, b, stride, window), inputs


def pool_normalise(window: int, own: bool, dtype: torch.dtype = torch.float64) -> Made:
    """Maps of 2 tasks, as one tensor or as one a task, and scales of both signs."""
    shapes = [(1, 2, 3, 4, 16)] * 2 if own else [(2, 2, 3, 4, 16)]
    ys = [numbers(*shape, seed=seed, dtype=dtype) for seed, shape in enumerate(shapes)]
    scale, shift = numbers(2, 16, seed=2, dtype=dtype), numbers(2, 16, seed=3, dtype=dtype)
    return lambda a, b, *ys: PoolNormalise.apply(a, b, EPS, window, *ys), (scale, shift, *ys)


def pool_scale(window: int, own: bool, dtype: torch.dtype = torch.float64) -> Made:
    """The same with given factors."""
    return lambda a, b, *ys: PoolScale.apply(a, b, window, *ys), pool_normalise(window, own, dtype)[1]


def task_conv(stride: int, own: bool, dtype: torch.dtype = torch.float64) -> Made:
    """Convolutions of 2 tasks of maps that want a gradient, or of images that want none."""
    images, weight = numbers(2, 2, 2, 3, 4, dtype=dtype).requires_grad_(own), numbers(2, 3, 2, 3, 3, seed=1, dtype=dtype)
    return lambda x, w: TaskConv.apply(x, w, stride), (images, weight)


operations = pytest.mark.parametrize("operation", [first_block, pool_normalise, pool_scale, task_conv])
windows = pytest.mark.parametrize("window", [1, 2])
owns = pytest.mark.parametrize("own", [False, True])


@operations
@windows
@owns
@pytest.mark.parametrize("check", [gradcheck, gradgradcheck])
@pytest.mark.usefixtures("compiled")
def test_derivatives_are_those_of_finite_differences(
    operation: Maker, window: int, own: bool, check: Callable[..., bool]
) -> None:
    """First and second derivatives of every output by every input."""
    function, inputs = operation(window, own)
    assert check(function, inputs, fast_mode=True, eps=1e-7 if check is gradcheck else 1e-6)


@pytest.mark.parametrize("operation", [first_block, pool_normalise, pool_scale])
@windows
@owns
@pytest.mark.usefixtures("compiled")
def test_each_entry_of_a_gradient_is_that_of_finite_differences(operation: Maker, window: int, own: bool) -> None:
    """Not in the sum alone (`fast_mode`): every entry of it."""
    function, inputs = operation(window, own)
    assert gradcheck(function, inputs, eps=1e-7)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.usefixtures("compiled")
def test_moments_of_patches_are_those_of_torchs_unfold(channels: int, stride: int) -> None:
    """Mean and biased covariance over images and places, patches in the order (row, column, channel)."""
    images = numbers(2, 3, channels, 7, 8).detach()
    means, covariances = patch_moments(images, stride)
    for t in range(2):
        patches = F.unfold(images[t], 3, padding=1, stride=stride)  # [n, C * 9, places]
        rows = patches.unflatten(1, (channels, 9)).permute(0, 3, 2, 1).flatten(2).flatten(0, 1)  # [M, 9 * C]
        torch.testing.assert_close(means[t], rows.mean(0))
        torch.testing.assert_close(covariances[t], torch.cov(rows.T, correction=0))


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Sets torch's threads; afterwards they are as many as before."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("operation", [first_block, pool_normalise, pool_scale])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@windows
@owns
@pytest.mark.usefixtures("compiled")
def test_threads_change_no_bit(
    operation: Maker, dtype: torch.dtype, window: int, own: bool, threads: Callable[[int], None]
) -> None:
    """One thread and two give the same output, gradients and gradients of gradients. (oneDNN's gradient of a convolution's
    weight, beside the kernels, does differ.)"""
    function, inputs = operation(window, own, dtype)
    found = []
    for count in (1, 2):
        threads(count)
        outs = function(*inputs)
        outs = outs if isinstance(outs, tuple) else (outs,)
        first = grad(probed(out.square() for out in outs), inputs, create_graph=True)
        second = grad(probed(first), inputs, materialize_grads=True)
        found.append([*outs, *first, *second])
    assert all(map(torch.equal, *found))


REFUSED: dict[str, tuple[Tensor, Tensor, Tensor]] = {
    "maps of more channels than the weight": (torch.rand(1, 2, 32, 8, 8), torch.rand(16, 16, 3, 3), torch.zeros(16)),
    "an image of more channels": (torch.rand(1, 2, 3, 8, 8), torch.rand(16, 1, 3, 3), torch.zeros(16)),
    "an image of fewer channels": (torch.rand(1, 2, 1, 8, 8), torch.rand(64, 3, 3, 3), torch.zeros(64)),
    "maps of another type": (torch.rand(1, 2, 16, 8, 8).double(), torch.rand(16, 16, 3, 3), torch.zeros(16)),
    "an image of another type": (torch.rand(1, 2, 1, 8, 8).double(), torch.rand(16, 1, 3, 3), torch.zeros(16)),
    "a shift of another type": (torch.rand(1, 2, 1, 8, 8), torch.rand(16, 1, 3, 3), torch.zeros(16).double()),
    "weights of more tasks": (torch.rand(2, 2, 1, 8, 8), torch.rand(3, 16, 1, 3, 3), torch.zeros(16)),
}


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("what", REFUSED)
def test_what_does_not_go_together_is_refused_and_never_read(what: str) -> None:
    """A kernel knows no bounds."""
    with kernels.serving(True), pytest.raises((RuntimeError, TypeError, ValueError)):
        conv_block(*REFUSED[what][:2], None, REFUSED[what][2], None, eps=EPS, window=2)
