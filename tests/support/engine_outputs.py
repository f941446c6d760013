"""What the core computes in float64 from weights and tasks that a formula gives: the numbers behind `ENGINE`.

`python tests/support/engine_outputs.py` writes them to `engine_outputs.json`, and refuses to where the numbers there are of
the same
`ENGINE` and differ.

Legend: T tasks, N ways, K shots, Q query images in all.
"""

import json
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from fewshot_bench import Backbone, kernels
from fewshot_bench.engine import ENGINE
from fewshot_bench.episodes.augmentation import OPERATIONS, augmented
from fewshot_bench.episodes.tasks import Tasks
from fewshot_bench.errors import FewshotError
from fewshot_bench.learning.base import Conditions, Method, MethodInfo
from fewshot_bench.learning.hparams import build_hparams
from fewshot_bench.plugins import registry
from fewshot_bench.results.statistics import score_interval
from fewshot_bench.runs.optimisers import Adam, Sgd
from fewshot_bench.runs.scores import episode_scores_of
from fewshot_bench.runs.testing import evaluated
from fewshot_bench.specs import Kind, Normalisation

FILE = Path(__file__).with_suffix(".json")
T, N, K, Q = 2, 3, 2, 4
IMAGE, POINT = (3, 16, 16), (1,)
CLOSE = 1e-9
"""Relative to the largest number of an output: another order of summation makes less of it, another method more."""
BACKBONES = {"relation-networks": "conv4-64-maps", "snail": "conv4-64-fc64", "tcml": "resnet-snail", "r2d2": "conv4-512"}
"""Beside what every gradient-based method takes."""
ALONE: dict[str, dict[str, int]] = {
    "conv-64-96-128-256": {},
    "conv4-32-same": {},
    "conv4-64-strided-maps": {},
    "conv4-rfs": {},
    "resnet12": {},
    "resnet18": {},
    "wrn-28-10": {"depth": 10, "width": 1},
}
"""Backbones whose embeddings are computed without a method, with options that spare time."""
WHOLE = ("maml", "prototypical-networks")
"""Computed under every normalisation mode and by every optimiser, which are the core's for all methods."""
GRADIENT = {"maml": "conv4-32", "anil": "conv4-64-strided", "lstm-meta-learner": "conv4-32"}
HPARAMS = {"lstm-meta-learner": {"inner_steps": 2}}
"""Where the defaults take long."""
FITTED = ("logistic-regression",)
"""Whose scores are scikit-learn's, which stops at a tolerance of its own: their order alone is kept."""
OPTIMISERS = {
    "adam": partial(Adam, lr=0.01, weight_decay=0.01),
    "sgd": partial(Sgd, lr=0.01, weight_decay=0.01, momentum=0.9, nesterov=True),
}

Outputs = dict[str, list[float]]
M = TypeVar("M", bound=nn.Module)


def spread(shape: tuple[int, ...], salt: int) -> Tensor:
    """Numbers in [-1, 1) of this shape, in float64: integers multiplied and mixed."""
    size = int(np.prod(shape, dtype=np.int64))
    mixed = np.arange(1, size + 1, dtype=np.uint64) * np.uint64(2654435761) + np.uint64(salt * 40503 + 12345)
    mixed = (mixed ^ (mixed >> np.uint64(15))) * np.uint64(2246822519) % np.uint64(2**32)
    mixed = (mixed ^ (mixed >> np.uint64(13))) * np.uint64(3266489917) % np.uint64(2**32)
    return torch.from_numpy(mixed.astype(np.float64) / 2**31 - 1).reshape(shape)


def summed(outputs: Tensor, salt: int = 0) -> list[float]:
    """Two numbers that tell outputs from others: their norm, and their product with numbers of the formula."""
    flat = outputs.detach().double().flatten()
    return [float(flat.norm()), float(flat @ spread((len(flat),), 77 + salt))]


def with_formula(module: M) -> M:
    """A method or a network in float64, each parameter set by the formula around its usual size."""
    module = module.double()
    with torch.no_grad():
        for salt, parameter in enumerate(module.parameters()):
            values = spread(tuple(parameter.shape), salt)
            if parameter.dim() > 1:
                parameter.copy_(values * (3 / parameter[0].numel()) ** 0.5)
            else:
                start = (
                    parameter.flatten()[0] if len(parameter.unique()) == 1 < parameter.numel() else 0.0
                )  # else it is drawn
                parameter.copy_(start + 0.1 * values)
    return module


def tasks_of(kind: Kind, count: int = T) -> Tasks:
    """Tasks of noisy classes, or points of waves."""
    key = torch.arange(count) * 1_000_003 + 17
    if kind == "regression":
        support, query = 3 * spread((count, 5, 1), 1), 3 * spread((count, 6, 1), 2)
        return Tasks(support, support.sin(), query, query.sin(), 1, key, kind)
    centres = 0.5 + 0.3 * spread((count, N, *IMAGE), 3)
    support_y = torch.arange(N).repeat_interleave(K).flip(0).expand(count, -1).contiguous()
    query_y = (torch.arange(Q) % N).expand(count, -1).contiguous()

    def images(labels: Tensor, salt: int) -> Tensor:
        means = torch.stack([centre[one] for centre, one in zip(centres, labels, strict=True)])
        return (means + 0.2 * spread((*labels.shape, *IMAGE), salt)).clamp(0, 1)

    return Tasks(images(support_y, 4), support_y, images(query_y, 5), query_y, N, key)


def method_of(name: str, kind: Kind, backbone: str | None = None) -> Method:
    """A method on its backbone here, ready to be trained."""
    cls: type[Method] = registry.find("methods", name).load()
    points = kind == "regression"
    info = MethodInfo(kind, 1 if points else N, 5 if points else N * K, POINT if points else IMAGE, 5)
    network = None
    if cls.needs_backbone:
        chosen = backbone or ("mlp-40" if points else BACKBONES.get(name, GRADIENT.get(name, "conv4-64")))
        network = registry.find("backbones", chosen).load()(info.input_shape)
    return with_formula(cls(build_hparams(cls.Hparams, HPARAMS.get(name, {})), info, network))


def outputs_of(name: str, kind: Kind, by_kernels: bool) -> Iterator[tuple[str, list[float]]]:
    """Losses, gradients through two updates of each optimiser, and scores of a method under each mode."""
    tasks = tasks_of(kind)
    cls: type[Method] = registry.find("methods", name).load()
    for mode in sorted(modes_of(name, cls) if kind == "classification" else {"none"}):
        method, conditions = method_of(name, kind), Conditions(mode, kernels=by_kernels)
        if cls.trained and cls.trains_on == "episodes" and mode != "support+1":
            yield f"{mode} loss", summed(updated(method, conditions, tasks))
        with evaluated(method, conditions):
            scores = method.predict(tasks.without_query_labels())
        yield f"{mode} scores", summed(scores.argsort(-1) if name in FITTED else scores)
    usual = Conditions(cls.default_mode if kind == "classification" else "none", kernels=by_kernels)
    if cls.trained and cls.trains_on == "classes":
        yield "batch loss", summed(updated(method_of(name, kind), usual, tasks))
    for optimiser in (OPTIMISERS if name in WHOLE else ["adam"]) if cls.trained else ():
        method = method_of(name, kind)
        updated(method, usual, tasks, optimiser)
        state = torch.cat([one.flatten().double() for one in method.state_dict().values()])
        yield f"{optimiser} weights", summed(state)


def modes_of(name: str, cls: type[Method]) -> set[Normalisation]:
    """The normalisation modes that are computed: the method's own and the running one, or all of them."""
    modes = set(cls.modes) - {"none"} or {"none"}
    return modes if name in WHOLE else modes & {"running", "none", cls.default_mode}


def updated(method: Method, conditions: Conditions, tasks: Tasks, optimiser: str | None = None) -> Tensor:
    """The loss in training, after two updates where an optimiser is named."""
    made = OPTIMISERS[optimiser](method.parameters()) if optimiser else None
    for step in range(3 if made else 1):
        with method.train().under(conditions):
            method.zero_grad()
            if method.trains_on == "classes":
                batch = tasks.support_x.flatten(0, 1)
                loss = method.batch_loss(batch, torch.arange(len(batch)) % 5)
            else:
                loss = method.loss(tasks)
            if made is not None and step < 2:
                loss.mean().backward()
                made.step()
                method.after_update()
    return loss


def core_outputs() -> Iterator[tuple[str, list[float]]]:
    """What no method is needed for: augmentation, scores of episodes and their intervals."""
    tasks = tasks_of("classification")
    for name in OPERATIONS:
        yield f"core: augment {name}", summed(augmented(tasks.support_x, tasks.support_y, tasks.key, [name]))
    scores = spread((T, Q, N), 8)
    episodes = [episode_scores_of(scores, tasks)]
    yield "core: accuracies", episodes[0].tolist()
    waves = tasks_of("regression")
    yield "core: errors", episode_scores_of(waves.query_x, waves).tolist()
    for seeds in (1, 3):
        tables = [spread((40,), seed).abs().numpy() for seed in range(seeds)]
        found = score_interval(tables, trials=75)
        yield f"core: interval of {seeds}", [found.mean, found.low, found.high]


def of_backbone(name: str, by_kernels: bool = False) -> Iterator[tuple[str, list[float]]]:
    """The embeddings of a backbone, whose images normalise each other or have given statistics, without dropout."""
    network: Backbone = with_formula(registry.find("backbones", name).load()(IMAGE, **ALONE[name])).eval()
    images, params = tasks_of("classification").support_x, dict(network.named_parameters())
    given = {
        layer: (0.1 * spread((1, size), salt), 1 + 0.5 * spread((1, size), salt + 1))
        for salt, (layer, size) in enumerate(network.channels.items())
    }
    with torch.no_grad(), kernels.serving(by_kernels):
        yield f"{name} embeddings", summed(network.embed(images, params)[0])
        yield f"{name} embeddings, given statistics", summed(network.embed(images, params, given)[0])


def every_output() -> Iterator[tuple[str, str, list[float]]]:
    """Of the core, of backbones alone and of every method that is installed here: whose, which, and the numbers."""
    yield from (("core", name.removeprefix("core: "), numbers) for name, numbers in core_outputs())
    for name in ALONE:
        yield from (("backbones", which, numbers) for which, numbers in of_backbone(name))
    for name in methods():
        yield from ((name, f"{kind} {which}", numbers) for kind, which, numbers in of_method(name))


def methods() -> list[str]:
    """Our methods, as far as what they need is installed."""
    every = registry.registered("methods").items()
    return [name for name, one in every if one.distribution.startswith("fewshot-bench ") and not one.missing()]


def of_method(name: str, by_kernels: bool = False) -> Iterator[tuple[Kind, str, list[float]]]:
    """The outputs of one method on images, and on functions where it learns them; by our kernels or by torch."""
    nn.functional.dropout, kept = (lambda x, *_, **__: x), nn.functional.dropout  # its draws are torch's
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # what is so small takes longer with more
    try:
        for kind in sorted(registry.find("methods", name).load().kinds):
            yield from ((kind, which, numbers) for which, numbers in outputs_of(name, kind, by_kernels))
    finally:
        nn.functional.dropout = kept
        torch.set_num_threads(threads)


def differing(found: Outputs, stored: Outputs) -> list[str]:
    """The outputs that are not those that are stored, by more than rounding."""
    other = sorted(found.keys() ^ stored.keys())
    return other + [
        name
        for name in sorted(found.keys() & stored.keys())
        if not np.allclose(found[name], stored[name], rtol=0, atol=CLOSE * max(map(abs, stored[name])) or CLOSE)
    ]


def main() -> None:
    """Write the numbers again, where `ENGINE` was raised or they are new."""
    stored = json.loads(FILE.read_text(encoding="utf-8")) if FILE.is_file() else {"engine": 0, "outputs": {}}
    absent = tuple(f"{name}: " for name in registry.registered("methods") if name not in methods())
    found: Outputs = {name: one for name, one in stored["outputs"].items() if name.startswith(absent)}
    for owner, which, numbers in every_output():
        found[f"{owner}: {which}"] = numbers
    changed = [name for name in differing(found, stored["outputs"]) if name in stored["outputs"]]
    if changed and stored["engine"] == ENGINE:
        sys.exit(f"{len(changed)} outputs changed, such as {changed[0]!r}: raise ENGINE in fewshot_bench/engine.py first.")
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(numbers)}" for name, numbers in sorted(found.items()))
    FILE.write_text(f'{{"engine": {ENGINE}, "outputs": {{\n{lines}\n}}}}\n', encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except FewshotError as error:
        sys.exit(str(error))
