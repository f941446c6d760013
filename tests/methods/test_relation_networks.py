"""Relation networks equal the authors' networks built from torch's own layers, which see each pair laid in depth.

Legend: T tasks, S support images, Q query images in all, N ways, K shots, D features, C maps of h x w, P pairs.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from held import held
from torch import Tensor, nn

from fewshot_bench.episodes.tasks import Tasks
from fewshot_bench.learning.backbone import Backbone
from fewshot_bench.learning.base import Conditions, MethodInfo, NoHparams
from fewshot_bench.learning.normalisation import Statistics
from fewshot_bench.specs import TRANSDUCTIVE_MODES, Normalisation
from fewshot_methods import relation_networks
from fewshot_methods.backbones.conv4 import Conv4, conv4_64, conv4_64_strided
from fewshot_methods.backbones.conv4_maps import Conv4Maps
from fewshot_methods.relation_networks import RelationModule, RelationNetworks, map_shape

T, N, K, Q = 2, 4, 2, 12
MODES: list[Normalisation] = sorted(RelationNetworks.modes)
SIDES = {1: (True, (1, 1)), 2: (True, (2, 1)), 5: (True, (2, 2)), 6: (True, (2, 2)), 12: (False, (2, 2))}
"""Side of the maps -> whether g pads, and what it pools, counted by hand."""


def make_tasks(*image: int, seed: int = 0) -> Tasks:
    """T tasks of random images, or features, of shape `image` in float64, labels shuffled."""
    generator = torch.Generator().manual_seed(seed)

    def random(count: int) -> Tensor:
        return torch.rand(T, count, *image, dtype=torch.float64, generator=generator)

    def shuffled(each: int) -> Tensor:
        labels = torch.arange(N).repeat_interleave(each)
        return torch.stack([labels[torch.randperm(len(labels), generator=generator)] for _ in range(T)])

    return Tasks(random(N * K), shuffled(K), random(Q), shuffled(Q // N), N, torch.arange(T))


def scattered(module: nn.Module) -> None:
    """Random parameters and running statistics in float64, scales of both signs, variances positive."""
    generator = torch.Generator().manual_seed(1)
    module.double()
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        random = torch.randn(tensor.shape, dtype=torch.float64, generator=generator)
        small = 0.05 if name.endswith("weight") and tensor.dim() == 4 else 1.0
        tensor.data = random.abs() + 0.5 if name.endswith("variance") else random * small


def build(side: int = 18) -> RelationNetworks:
    """The method on the paper's backbone for small images, with running statistics away from their start."""
    shape = (1, side, side)
    method = RelationNetworks(NoHparams(), MethodInfo("classification", N, N * K, shape, 10), Conv4Maps(shape))
    scattered(method)
    return method


def torch_twin(g: RelationModule, pad: bool, windows: tuple[int, int], statistics: Statistics | None) -> nn.Sequential:
    """g of maps laid in depth [P, 2C, h, w] from torch's layers, its normalisation in training or evaluation mode."""
    params = {name: p.detach().clone() for name, p in g.named_parameters()}
    layers: list[nn.Module] = []
    for name, window in zip(("block1", "block2"), windows, strict=True):
        conv = nn.Conv2d(params[f"{name}_weight"].shape[1], 64, 3, padding=int(pad), bias=False)
        norm = nn.BatchNorm2d(64)
        conv.weight = nn.Parameter(params[f"{name}_weight"])
        norm.weight, norm.bias = nn.Parameter(params[f"{name}_scale"]), nn.Parameter(params[f"{name}_shift"])
        if statistics is not None:
            norm.running_mean, norm.running_var = (part[0].clone() for part in statistics[name])
        layers += [conv, norm, nn.ReLU(), nn.MaxPool2d(window)]
    linear = [nn.Linear(params["fc1.weight"].shape[1], 8), nn.Linear(8, 1)]
    for layer, name in zip(linear, ("fc1", "fc2"), strict=True):
        layer.weight, layer.bias = nn.Parameter(params[f"{name}.weight"]), nn.Parameter(params[f"{name}.bias"])
    layers += [nn.Flatten(), linear[0], nn.ReLU(), linear[1], nn.Sigmoid()]
    return nn.Sequential(*layers).double().train(statistics is None)


def pairs_of(classes: Tensor, query: Tensor, maps: tuple[int, int, int]) -> Tensor:
    """One task's pairs in depth [Q * N, 2C, h, w], one pair after another: the class first, then the query."""
    return torch.stack([torch.cat([c.view(maps), q.view(maps)]) for q in query for c in classes])


@pytest.mark.usefixtures("computed_by")
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("given", [False, True], ids=["batch statistics", "given statistics"])
def test_relation_scores_and_gradients_are_those_of_torchs_layers_on_each_pair(side: int, given: bool) -> None:
    """Halves convolved apart and added are the convolution of maps in depth, with the statistics of all pairs or others."""
    g = RelationModule((3, side, side))
    scattered(g)
    tasks = make_tasks(g.maps[0] * side**2)
    generator = torch.Generator().manual_seed(2)
    made_up = {name: (torch.randn(1, 64, generator=generator).double(), torch.ones(1, 64).double()) for name in g.channels}
    statistics = made_up if given else None
    twin = torch_twin(g, *SIDES[side], statistics)
    classes, query = tasks.support_x[:, :N], tasks.query_x
    scores, _ = g(classes, query, statistics)
    expected = torch.stack([twin(pairs_of(*both, g.maps)).view(Q, N) for both in zip(classes, query, strict=True)])
    torch.testing.assert_close(scores, expected)
    probe = torch.randn(expected.shape, dtype=torch.float64, generator=generator)
    found = torch.autograd.grad((scores * probe).sum(), list(g.parameters()))
    theirs = torch.autograd.grad((expected * probe).sum(), list(twin.parameters()))
    torch.testing.assert_close(found, theirs)


def test_a_class_is_the_sum_of_its_maps_and_each_query_meets_it_once() -> None:
    """With running statistics, scores follow from torch's layers on sums of one class's embeddings."""
    method = build()
    held(method, Conditions("running"))
    assert method.relation.maps == (64, 3, 3)
    tasks = make_tasks(method.network.features)
    twin = torch_twin(method.relation, True, (2, 1), method.relation_running.statistics())
    for task, scores in enumerate(method.predict(tasks)):
        support, labels = tasks.support_x[task], tasks.support_y[task]
        classes = torch.stack([support[labels == label].sum(0) for label in range(N)])
        torch.testing.assert_close(scores, twin(pairs_of(classes, tasks.query_x[task], (64, 3, 3))).view(Q, N))


def test_parts_of_the_pairs_give_the_scores_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many pairs have room at once."""
    method, tasks = build(), make_tasks(1, 18, 18)
    held(method, Conditions("running"))
    whole = method.predict(tasks)
    monkeypatch.setattr(relation_networks, "VALUES_AT_ONCE", 1)
    torch.testing.assert_close(method.predict(tasks), whole)


def test_the_loss_is_the_mean_squared_error_to_the_match() -> None:
    """1 for the right class, 0 for the others, over all queries and classes of a task (eq. 2)."""
    method, tasks = build(), make_tasks(1, 18, 18)
    held(method, Conditions("joint"))
    with torch.no_grad():
        found = method.predict(tasks), method.loss(tasks)
    for scores, loss, targets in zip(*found, tasks.targets, strict=True):
        errors = [(float(scores[q, k]) - float(targets[q] == k)) ** 2 for q in range(Q) for k in range(N)]
        assert float(loss) == pytest.approx(sum(errors) / (Q * N))


@pytest.mark.parametrize("mode", MODES)
def test_tasks_in_one_call_equal_a_call_for_each(mode: Normalisation) -> None:
    """The tasks of a batch do not see each other, in any mode."""
    method, tasks = build(), make_tasks(1, 18, 18)
    held(method, Conditions(mode))
    for task, scores in enumerate(method.predict(tasks)):
        one = slice(task, task + 1)
        alone = replace(tasks, support_x=tasks.support_x[one], support_y=tasks.support_y[one], query_x=tasks.query_x[one])
        torch.testing.assert_close(method.predict(alone)[0], scores)


@pytest.mark.parametrize("embedded", [False, True], ids=["images", "embeddings"])
@pytest.mark.parametrize("mode", MODES)
def test_queries_see_each_other_in_transductive_modes_alone(mode: Normalisation, embedded: bool) -> None:
    """Another last query changes the others' scores under `separate` and `joint`, else not; of ready embeddings it does
    so by the relation module's statistics alone."""
    method = build()
    held(method, Conditions(mode))
    tasks = make_tasks(method.network.features) if embedded else make_tasks(1, 18, 18)
    query_x = torch.cat([tasks.query_x[:, :-1], 1 - tasks.query_x[:, -1:]], 1)
    before, after = (method.predict(t)[:, :-1] for t in (tasks, replace(tasks, query_x=query_x)))
    assert torch.allclose(before, after, rtol=1e-10, atol=0) == (mode not in TRANSDUCTIVE_MODES)


def test_under_support_the_supports_own_pairs_normalise() -> None:
    """The statistics are those of every support image with every class."""
    method = build()
    held(method, Conditions("support"))
    tasks = make_tasks(method.network.features)
    for task, scores in enumerate(method.predict(tasks)):
        support, labels = tasks.support_x[task], tasks.support_y[task]
        classes = torch.stack([support[labels == label].sum(0) for label in range(N)])
        with torch.no_grad():
            _, used = method.relation(classes[None], support[None], None)
        twin = torch_twin(method.relation, True, (2, 1), used)
        torch.testing.assert_close(scores, twin(pairs_of(classes, tasks.query_x[task], (64, 3, 3))).view(Q, N))


@pytest.mark.parametrize("mode", MODES)
def test_embedded_images_give_the_scores_of_images(mode: Normalisation) -> None:
    """Where images are embedded apart from their task, under running statistics alone, they give the same scores."""
    method, tasks = build(), make_tasks(1, 18, 18)
    held(method, Conditions(mode))
    support, query = (method.embed_images(x.flatten(0, 1)) for x in (tasks.support_x, tasks.query_x))
    assert (support is not None) == (query is not None) == (mode == "running")
    if support is not None and query is not None:
        features = replace(tasks, support_x=support.unflatten(0, (T, -1)), query_x=query.unflatten(0, (T, -1)))
        torch.testing.assert_close(method.predict(features), method.predict(tasks))


def test_large_maps_are_not_kept_for_every_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are embedded with their task."""
    method, tasks = build(), make_tasks(1, 18, 18)
    held(method, Conditions("running"))
    monkeypatch.setattr(relation_networks, "LARGEST_KEPT", method.network.features - 1)
    assert method.embed_images(tasks.query_x[0]) is None


@pytest.mark.parametrize("parts", [[slice(0, 2)], [slice(0, 1), slice(1, 2)]], ids=["one chunk", "two chunks"])
@pytest.mark.parametrize("mode", ["separate", "joint", "support"])
def test_running_statistics_of_pairs_are_those_of_an_updates_tasks_pooled(mode: Normalisation, parts: list[slice]) -> None:
    """An update brings them a tenth of the way to the mean over all of its tasks, however they were chunked."""
    method, tasks, seen = build().train(), make_tasks(1, 18, 18), []
    held(method, Conditions(mode))
    method.relation.register_forward_hook(lambda module, given, out: seen.append(out[1]["block2"][0].detach()))
    before = method.relation_running.block2_mean.clone()
    for part in parts:
        names = ("support_x", "support_y", "query_x", "query_y", "key")
        method.loss(replace(tasks, **{name: getattr(tasks, name)[part] for name in names}))
    method.after_update()
    torch.testing.assert_close(method.relation_running.block2_mean, 0.9 * before + 0.1 * torch.cat(seen).mean(0))


@pytest.mark.parametrize("training", [True, False])
def test_running_statistics_move_in_training_alone(training: bool) -> None:
    """An update moves the network's and the relation module's; a prediction in evaluation mode does not."""
    method = build().train(training)
    held(method, Conditions("joint"))
    before = {name: buffer.clone() for name, buffer in method.named_buffers()}
    method.predict(make_tasks(1, 18, 18))
    method.after_update()
    assert len(before) == 2 * (4 + 2)
    assert all(torch.equal(buffer, before[name]) == (not training) for name, buffer in method.named_buffers())


@pytest.mark.parametrize(
    ("network", "shape", "body", "last"),
    [
        (Conv4Maps, (1, 28, 28), 9 * 64 + 3 * 9 * 64 * 64 + 4 * 2 * 64, 64),
        (Conv4Maps, (3, 84, 84), 9 * 3 * 64 + 3 * 9 * 64 * 64 + 4 * 2 * 64, 64 * 3 * 3),
        (conv4_64, (1, 28, 28), 9 * 64 + 3 * 9 * 64 * 64 + 4 * 2 * 64, 64),
        (conv4_64, (3, 32, 32), 9 * 3 * 64 + 3 * 9 * 64 * 64 + 4 * 2 * 64, 64),
        (conv4_64, (3, 84, 84), 9 * 3 * 64 + 3 * 9 * 64 * 64 + 4 * 2 * 64, 64),
    ],
)
def test_parameters_are_those_of_the_layer_table(
    network: Callable[[tuple[int, int, int]], Backbone], shape: tuple[int, int, int], body: int, last: int
) -> None:
    """The paper's H of 64 on Omniglot and 576 on mini-ImageNet before the layer of 8; convolutions without their bias."""
    with torch.device("meta"):
        method = RelationNetworks(NoHparams(), MethodInfo("classification", 5, 5, shape, 0), network(shape))
    module = 9 * 128 * 64 + 9 * 64 * 64 + 2 * 2 * 64 + (last * 8 + 8) + (8 + 1)
    assert sum(p.numel() for p in method.parameters()) == body + module


@pytest.mark.parametrize(
    ("backbone", "expected"),
    [
        (conv4_64((1, 28, 28)), (64, 1, 1)),
        (conv4_64((3, 84, 84)), (64, 5, 5)),
        (conv4_64_strided((3, 84, 84)), (64, 1, 1)),
        (Conv4((1, 16, 32), filters=6, strided=False, scale=True, eps=1e-5), (12, 1, 1)),
        (Conv4Maps((1, 28, 28)), (64, 5, 5)),
    ],
)
def test_maps_are_those_that_a_backbone_says_or_its_last_layers(backbone: Backbone, expected: tuple[int, int, int]) -> None:
    """Square maps, and where the features cannot be square maps, maps of one value."""
    assert map_shape(backbone) == expected
