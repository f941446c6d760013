"""The audit of a backbone: an embedding network that is called with its parameters and statistics passed in.

Legend: T tasks, n images a task, D features, G groups that share statistics, C channels.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from fewshot_bench.audit import paper
from fewshot_bench.audit.synthetic import CPU, bank
from fewshot_bench.audit.verdicts import Audit, Fault, Skip, all_judged, excused
from fewshot_bench.episodes.randomness import seeded
from fewshot_bench.learning.answers import batch_layer, checked_backbone
from fewshot_bench.learning.backbone import Backbone
from fewshot_bench.learning.normalisation import Statistics
from fewshot_bench.plugins.faults import plugin_faults_told
from fewshot_bench.plugins.registry import Plugin
from fewshot_bench.runs.checks.rescoring import BOUND, BOUND_64

TASKS, IMAGES = 3, 6
SHAPES = ((1, 16, 16), (1, 28, 28), (3, 32, 32), (3, 84, 84))
"""The images with which a network is tried: small ones, those of Omniglot, CIFAR-FS and mini-ImageNet."""
POINT = (1,)
FEW = (slice(1), slice(2))
"""A task of two images, for a check of the shapes alone."""


@dataclass(frozen=True)
class Network:
    """A backbone's factory with an input shape, and a dtype in which it computes."""

    factory: Callable[[tuple[int, ...]], Any]
    shape: tuple[int, ...]
    dtype: torch.dtype

    def build(self, seed: int = 0) -> Backbone:
        """The network in evaluation mode, whose initial values a seed decides."""
        with seeded(seed, CPU):
            return checked_backbone(getattr(self.factory, "__name__", "it"), self.factory(self.shape)).to(self.dtype).eval()

    def inputs(self) -> Tensor:
        """Images, or points, [T, n, *shape]: the same each time."""
        count = TASKS * IMAGES
        if len(self.shape) == 3:
            images = bank(self.shape).images
            x = torch.from_numpy(images[:: len(images) // count][:count].copy()).double() / 127
        else:
            x = torch.linspace(-2, 2, count, dtype=torch.float64).reshape(count, *self.shape[:1])
        return x.to(self.dtype).reshape(TASKS, IMAGES, *x.shape[1:])

    @property
    def bound(self) -> float:
        """How far rounding may move a number, as a share of the largest."""
        return BOUND_64 if self.dtype == torch.float64 else BOUND


def audit_backbone(plugin: Plugin, expected: Mapping[str, str] | None = None) -> Audit:
    """Every check of a backbone."""
    found: list[Network] = []

    def built() -> str:
        found.append(_fitted(plugin.load()))
        return shapes(found[0])

    def of(check: Callable[[Network], str]) -> Callable[[], str]:
        return lambda: check(found[0])

    checks = all_judged(
        {
            "import": lambda: paper.imports(plugin),
            "shapes": built,
            "normalising layers": of(layers),
            "determinism": of(determinism),
            "given statistics": of(given_statistics),
            "tasks at once": of(tasks_at_once),
            "passed parameters": of(passed_parameters),
            "parameters of each task": of(parameters_of_each_task),
            "gradients": of(gradients),
            "save and load": of(saved),
            "accelerator": of(accelerator),
        },
        needed=["import", "shapes"],
    )
    return Audit(plugin.said, "backbone", excused(checks, expected, ()))


def _fitted(factory: Callable[[tuple[int, ...]], Any]) -> Network:
    """The factory with the first input that it takes, and a dtype; raises what it raised at the first."""
    errors: list[Exception] = []
    for shape, dtype in product((*SHAPES, POINT), (torch.float64, torch.float32)):
        network = Network(factory, shape, dtype)
        try:
            with plugin_faults_told():
                embedded(network.build(), network.inputs()[FEW])
            return network
        except Exception as error:  # whatever a plugin raises at inputs that it does not take
            errors.append(error)
    raise errors[0]


def embedded(
    network: Backbone, x: Tensor, given: Statistics | None = None, params: Mapping[str, Tensor] | None = None
) -> tuple[Tensor, Statistics]:
    """Embeddings [T, n, D] and the statistics used, as a method asks for them; raises `Fault` for anything else."""
    answer: Any = network.embed(x, dict(network.named_parameters()) if params is None else params, given)
    if not (
        isinstance(answer, tuple) and len(answer) == 2 and isinstance(answer[0], Tensor) and isinstance(answer[1], Mapping)
    ):
        raise Fault("embed must return embeddings [T, n, D] and a mapping of the statistics used")
    features, used = answer
    due = (*x.shape[:2], network.features)
    if tuple(features.shape) != due:
        raise Fault(f"embeddings of {list(x.shape)} have shape {list(features.shape)}, where {list(due)} was declared")
    if set(used) != set(network.channels):
        raise Fault(f"statistics of {sorted(used)} were used, where channels declares {sorted(network.channels)}")
    for name, (mean, variance) in used.items():
        for one in (mean, variance):
            if one.dim() != 2 or one.shape[0] not in (1, len(x)) or one.shape[1] != network.channels[name]:
                raise Fault(f"statistics of {name} have shape {list(one.shape)}, where [G, {network.channels[name]}] is due")
    return features, used


def shapes(network: Network) -> str:
    """That embeddings have the declared size and are numbers, for each input that it takes."""
    taken = []
    for shape in SHAPES if len(network.shape) == 3 else (POINT,):
        one = Network(network.factory, shape, network.dtype)
        try:
            built = one.build()
        except Exception:  # it does not take such inputs
            continue
        with torch.no_grad():
            features, _ = embedded(built, one.inputs()[FEW])
        if not torch.isfinite(features).all():
            raise Fault(f"embeddings of inputs {list(shape)} are NaN or infinite")
        taken.append(f"{'x'.join(map(str, shape))} → {built.features:,}")
    parameters = sum(one.numel() for one in network.build().parameters())
    return f"{'; '.join(taken)} features; {parameters:,} parameters at {'x'.join(map(str, network.shape))}"


def layers(network: Network) -> str:
    """That no layer of torch's normalises by a batch: its statistics would stay hidden from `given`."""
    if held := batch_layer(network.build().train()):
        raise Fault(f"it holds {held}, which `given` does not reach")
    return "no layer of torch's normalises by the images of a call"


def determinism(network: Network) -> str:
    """That two networks of one seed are the same, and that one says the same twice, without a random number."""
    one, other, x = network.build(), network.build(), network.inputs()
    for (name, a), b in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        if not torch.equal(a, b):
            raise Fault(f"two networks built from one seed differ in {name}, by up to {float((a - b).abs().max()):.3g}")
    with torch.no_grad(), seeded(0, CPU) as drew:
        first, again = embedded(one, x)[0], embedded(one, x)[0]
        if drew():
            raise Fault("in evaluation mode it draws from torch's generator: dropout belongs to training alone")
    return _same(first, again, 0.0, "when the same is asked twice")


def given_statistics(network: Network) -> str:
    """That under given statistics an image's embedding depends on no other image, and that those used come back."""
    built, x = network.build(), network.inputs()
    with torch.no_grad():
        _, used = embedded(built, x)
        together, returned = embedded(built, x, used)
        for name, (mean, variance) in returned.items():
            for said, one, two in (("mean", mean, used[name][0]), ("variance", variance, used[name][1])):
                _same(one, two, 0.0, f"in the {said} of {name} that was given and came back")
        apart = torch.cat([embedded(built, x[:, i : i + 1], used)[0] for i in range(IMAGES)], 1)
    return _same(together, apart, network.bound, f"of {IMAGES} images in one call and one by one")


def tasks_at_once(network: Network) -> str:
    """That tasks in one call are embedded as they are one by one: each task's images normalise each other alone."""
    built, x = network.build(), network.inputs()
    with torch.no_grad():
        apart = torch.cat([embedded(built, one[None])[0] for one in x])
        return _same(embedded(built, x)[0], apart, network.bound, f"of {TASKS} tasks in one call and one by one")


def passed_parameters(network: Network) -> str:
    """That it computes with the parameters that are passed, not with its own: inner loops pass adapted ones."""
    built, x = network.build(), network.inputs()
    held = {name: p.detach().clone() for name, p in built.named_parameters()}
    if not held:
        raise Skip("it has no parameters")
    with torch.no_grad():
        before, _ = embedded(built, x, params=held)
        for p in built.parameters():
            p.add_(1.0)
        return _same(before, embedded(built, x, params=held)[0], network.bound, "while the network's own were changed")


def parameters_of_each_task(network: Network) -> str:
    """That a task may have parameters of its own [T, *shape], as after a step of an inner loop."""
    built, x = network.build(), network.inputs()
    random = torch.Generator().manual_seed(0)
    held = {
        name: p.detach() * (1 + 0.1 * torch.rand(TASKS, *[1] * p.dim(), generator=random).to(network.dtype))
        for name, p in built.named_parameters()
    }
    if not held:
        raise Skip("it has no parameters")
    with torch.no_grad():
        apart = [embedded(built, x[i : i + 1], params={name: p[i] for name, p in held.items()})[0] for i in range(TASKS)]
        together, _ = embedded(built, x, params=held)
    return _same(
        together, torch.cat(apart), network.bound, "of tasks with parameters of their own, in one call and one by one"
    )


def gradients(network: Network) -> str:
    """That a gradient reaches every parameter that is trained."""
    built, x = network.build(), network.inputs()
    learned = {name: p for name, p in built.named_parameters() if p.requires_grad}
    if not learned:
        raise Skip("it has nothing to train")
    features, _ = embedded(built, x)
    weights = torch.linspace(-1, 1, features.numel(), dtype=network.dtype).view_as(features)
    found = torch.autograd.grad((features * weights).sum(), list(learned.values()), allow_unused=True)
    reached = [name for name, one in zip(learned, found, strict=True) if one is not None and bool((one != 0).any())]
    if unreached := [name for name in learned if name not in reached]:
        said = ", ".join(unreached[:5])
        raise Fault(f"no gradient reaches {len(unreached)} of {len(learned)} parameters: {said}")
    return f"a gradient reaches each of {len(learned)} parameters"


def saved(network: Network) -> str:
    """That its state is all that it is: a network of other values that loads it embeds alike."""
    one, other, x = network.build(0), network.build(1), network.inputs()
    try:
        other.load_state_dict(load(save({name: value.contiguous() for name, value in one.state_dict().items()})))
    except (RuntimeError, ValueError, KeyError) as error:
        raise Fault(f"its state cannot be saved and loaded: {str(error).strip().splitlines()[0]}") from None
    with torch.no_grad():
        return _same(embedded(one, x)[0], embedded(other, x)[0], 0.0, "after saving and loading")


def accelerator(network: Network) -> str:
    """That an accelerator gives the embeddings of the CPU."""
    if not torch.cuda.is_available():
        raise Skip("there is no accelerator here: torch.cuda.is_available() is False")
    x = network.inputs()
    with torch.no_grad():
        after = embedded(network.build().cuda(), x.cuda())[0].cpu()
        return _same(embedded(network.build(), x)[0], after, network.bound, f"on {torch.cuda.get_device_name()}")


def _same(before: Tensor, after: Tensor, bound: float, when: str) -> str:
    """That numbers differ by rounding at most; raises `Fault` with the largest difference."""
    gap = (before - after).abs().nan_to_num(torch.inf)
    largest = float(gap.max())
    if largest > bound * max(float(before.abs().max()), 1e-30):
        at = int(gap.flatten().argmax())
        moved = f"{float(before.flatten()[at]):.6g} becomes {float(after.flatten()[at]):.6g}"
        raise Fault(f"{moved} ({int((gap > 0).sum()):,} of {gap.numel():,} numbers move) {when}")
    return f"numbers differ by at most {largest:.2g} {when}" if largest else f"numbers are equal bit for bit {when}"
