"""learn2learn's methods give what ours give on the same weights and tasks, in each mode that they offer; where it is not
installed, the command line says how to install it.

Legend: T tasks, N ways, K shots, Q query images or points in all.
"""

import json
import subprocess
import sys
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from command_line import call
from held import held
from torch import Tensor, nn

from fewshot_bench.episodes.tasks import Kind, Tasks
from fewshot_bench.errors import UsageError
from fewshot_bench.learning.base import Conditions, Method, MethodInfo
from fewshot_bench.learning.hparams import build_hparams
from fewshot_bench.plugins import registry
from fewshot_bench.specs import TRANSDUCTIVE_MODES, Normalisation
from fewshot_methods.backbones.conv4 import Conv4
from fewshot_methods.backbones.mlp import Mlp
from fewshot_methods.maml import Maml
from fewshot_methods.meta_sgd import MetaSgd
from fewshot_methods.prototypical_networks import PrototypicalNetworks

T, N, K, Q, SIDE, FILTERS = 3, 3, 2, 6, 16, 4
POINTS = 5
PROTOTYPICAL = "l2l-prototypical-networks"
OURS: dict[str, type[Method]] = {"l2l-maml": Maml, "l2l-meta-sgd": MetaSgd}
PEERS = [*OURS, PROTOTYPICAL]
INFO: dict[Kind, MethodInfo] = {
    "classification": MethodInfo("classification", N, N * K, (1, SIDE, SIDE), 10),
    "regression": MethodInfo("regression", 1, POINTS, (1,), 0),
}
LEARNING: dict[str, dict[str, Any]] = {
    "1 step": {"inner_steps": 1, "test_inner_steps": 3},
    "3 steps": {"inner_steps": 3, "test_inner_steps": 1},
    "3 steps of first order": {"inner_steps": 3, "test_inner_steps": 2, "first_order": True},
}

Values = dict[str, Tensor]

gradient_based = pytest.mark.parametrize("name", OURS)
learning = pytest.mark.parametrize("learns", LEARNING)
with_peer = pytest.mark.usefixtures("l2l")


def random_images() -> Tasks:
    """T tasks of random images in float64, labels shuffled."""
    generator = torch.Generator().manual_seed(1)

    def images(count: int) -> Tensor:
        return torch.rand(T, count, 1, SIDE, SIDE, dtype=torch.float64, generator=generator)

    def shuffled(count: int) -> Tensor:
        labels = torch.arange(count) % N
        return torch.stack([labels[torch.randperm(count, generator=generator)] for _ in range(T)])

    return Tasks(images(N * K), shuffled(N * K), images(Q), shuffled(Q), N, torch.arange(T))


def waves() -> Tasks:
    """T sinusoids of a few support points."""
    generator = torch.Generator().manual_seed(2)
    phase = torch.rand(T, 1, 1, dtype=torch.float64, generator=generator)
    x = 10 * torch.rand(T, POINTS + Q, 1, dtype=torch.float64, generator=generator) - 5
    y = 3 * torch.sin(x - phase)
    return Tasks(x[:, :POINTS], y[:, :POINTS], x[:, POINTS:], y[:, POINTS:], 1, torch.arange(T), "regression")


TASKS: dict[Kind, Tasks] = {"classification": random_images(), "regression": waves()}


def make(name: str, kind: Kind, mode: Normalisation, **hparams: Any) -> Any:
    """A method of learn2learn's in float64, in training, its parameters and running statistics random (biases before a
    normalisation and scales of both signs too)."""
    method_class = registry.find("methods", name).load()
    method = method_class(build_hparams(method_class.Hparams, {"hidden_size": FILTERS, **hparams}), INFO[kind], None)
    method.double().train()
    generator = torch.Generator().manual_seed(0)
    for key, tensor in method.state_dict().items():
        if tensor.is_floating_point():
            noise = torch.randn(tensor.shape, dtype=torch.float64, generator=generator)
            tensor.copy_(0.1 * noise if ".lrs." in key else noise.square() + 0.5 if "running_var" in key else 0.5 * noise)
    held(method, Conditions(mode))
    return method


def conv4(strided: bool = False) -> Conv4:
    """Our backbone of the same layers as the peer's."""
    return Conv4((1, SIDE, SIDE), filters=FILTERS, strided=strided, scale=True, eps=1e-5)


def with_weights(method: Method, mode: Normalisation, weights: Values) -> Method:
    """A method of ours in float64 whose parameters are `weights`, by name."""
    method.double().train()
    assert dict(method.named_parameters()).keys() == weights.keys()
    for name, parameter in method.named_parameters():
        parameter.data = weights[name].detach().clone()
    held(method, Conditions(mode))
    return method


def our_twin(peer: Any, mode: Normalisation) -> Method:
    """Our MAML or Meta-SGD on the weights of learn2learn's, all of which adapt."""
    ours, hparams = OURS[next(name for name in OURS if type(peer) is registry.find("methods", name).load())], peer.hparams
    names = ["inner_steps", "test_inner_steps", "first_order", *(["inner_lr"] if ours is Maml else [])]
    given = {name: getattr(hparams, name) for name in names} | {"adapt_shift": True}
    backbone = Mlp((1,)) if peer.info.kind == "regression" else conv4(strided=not hparams.max_pool)
    return with_weights(ours(build_hparams(ours.Hparams, given), peer.info, backbone), mode, named_as_ours(peer))


def named_as_ours(peer: Any) -> Values:
    """The parameters of learn2learn's MAML or Meta-SGD by our names; ours have no biases before a normalisation."""
    network = peer.learner.module
    convolutional = not isinstance(network, nn.Sequential)
    rename = conv4_name if convolutional else mlp_name
    names = [rename(name) for name, _ in network.named_parameters()]
    found = {name: value for name, value in zip(names, network.parameters(), strict=True) if name}
    rates = {
        f"rate.{name.replace('.', '_')}": rate
        for name, rate in zip(names, getattr(peer.learner, "lrs", ()), strict=False)
        if name
    }
    return found | rates


def mlp_name(theirs: str) -> str:
    """Our name of a parameter `0.weight` of layers one after another, activations between them."""
    place, _, kind = theirs.partition(".")
    return f"{['network.layer1', 'network.layer2', 'head'][int(place) // 2]}_{kind}"


def conv4_name(theirs: str) -> str | None:
    """Our name of a parameter `features.0.conv.weight`, None for the bias of a convolution."""
    kinds = {"conv.weight": "weight", "conv.bias": None, "normalize.weight": "scale", "normalize.bias": "shift"}
    first, _, rest = theirs.removeprefix("features.").partition(".")
    if first == "classifier":
        return f"head_{rest}"
    return f"network.block{int(first) + 1}_{kinds[rest]}" if kinds[rest] else None


def gradients(method: Method, tasks: Tasks) -> None:
    """Leave the gradient of the tasks' mean loss with the parameters."""
    method.zero_grad()
    method.loss(tasks).mean().backward()


def assert_equal(ours: Values, theirs: Values) -> None:
    """Each tensor agrees to 1e-8 of its largest entry."""
    assert ours.keys() == theirs.keys()
    for name, expected in theirs.items():
        largest = expected.abs().max()
        assert largest > 0, f"{name}: nothing to compare"
        assert (ours[name] - expected).abs().max() <= 1e-8 * largest, name


def assert_same_learning(peer: Any, mode: Normalisation) -> None:
    """Losses, meta-gradients and predictions after each inner step are those of our method."""
    ours, tasks = our_twin(peer, mode), TASKS[peer.info.kind]
    gradients(peer, tasks)
    gradients(ours, tasks)
    assert_equal({"loss": ours.loss(tasks).detach()}, {"loss": peer.loss(tasks).detach()})
    theirs = {name: value.grad for name, value in named_as_ours(peer).items() if value.grad is not None}
    assert_equal({name: p.grad for name, p in ours.named_parameters() if p.grad is not None}, theirs)
    unlabelled = tasks.without_query_labels()
    with torch.no_grad():
        scores, by_step, our_steps = peer.predict(unlabelled), peer.predict_steps(unlabelled), ours.predict_steps(unlabelled)
        assert our_steps is not None
        assert len(by_step) == peer.hparams.test_inner_steps
        assert_equal({"predict": ours.predict(unlabelled), "steps": our_steps}, {"predict": scores, "steps": by_step})
    torch.testing.assert_close(by_step[-1], scores, rtol=0, atol=0)


@with_peer
@gradient_based
@learning
def test_on_functions_they_learn_as_ours_do(name: str, learns: str) -> None:
    """Two layers of 40 units, mean squared error: losses, meta-gradients and predictions to 1e-8."""
    assert_same_learning(make(name, "regression", "none", **LEARNING[learns]), "none")


@with_peer
@gradient_based
@learning
@pytest.mark.parametrize("mode", ["separate", "support"])
@pytest.mark.parametrize("max_pool", [False, True], ids=["strided", "pooled"])
def test_on_images_they_learn_as_ours_do(name: str, learns: str, mode: Normalisation, max_pool: bool) -> None:
    """The same in each mode that both have, on both kinds of convolution: the gradient goes through the statistics of the
    support, and the peer's biases before a normalisation make no difference."""
    assert_same_learning(make(name, "classification", mode, max_pool=max_pool, **LEARNING[learns]), mode)


def our_prototypical(peer: Any, mode: Normalisation) -> Method:
    """Our prototypical networks on the weights and running statistics of learn2learn's."""
    weights = {conv4_name(name): value for name, value in peer.network.named_parameters()}
    ours = PrototypicalNetworks(PrototypicalNetworks.Hparams(), INFO["classification"], conv4())
    with_weights(ours, mode, {name: value for name, value in weights.items() if name})
    for i, block in enumerate(peer.network):
        ours.running.get_buffer(f"block{i + 1}_mean").copy_(block.normalize.running_mean - block.conv.bias.detach())
        ours.running.get_buffer(f"block{i + 1}_variance").copy_(block.normalize.running_var)
    return ours


@with_peer
def test_prototypical_networks_learn_as_ours_do() -> None:
    """Support and query normalised together: losses and gradients to 1e-8."""
    peer, tasks = make(PROTOTYPICAL, "classification", "joint"), TASKS["classification"]
    ours = our_prototypical(peer, "joint")
    gradients(peer, tasks)
    gradients(ours, tasks)
    assert_equal({"loss": ours.loss(tasks).detach()}, {"loss": peer.loss(tasks).detach()})
    theirs = {conv4_name(name): p.grad for name, p in peer.network.named_parameters()}
    assert_equal(
        {name: p.grad for name, p in ours.named_parameters() if p.grad is not None},
        {name: grad for name, grad in theirs.items() if name},
    )


@with_peer
@pytest.mark.parametrize("mode", ["joint", "running"])
def test_prototypical_networks_score_as_ours_do(mode: Normalisation) -> None:
    """At test, under the running statistics too; images embedded apart from their tasks have the same scores."""
    peer, tasks = make(PROTOTYPICAL, "classification", mode).eval(), TASKS["classification"].without_query_labels()
    before = {name: buffer.clone() for name, buffer in peer.named_buffers()}
    with torch.no_grad():
        scores = peer.predict(tasks)
        assert_equal({"scores": our_prototypical(peer, mode).eval().predict(tasks)}, {"scores": scores})
        features = [peer.embed_images(x.flatten(0, 1)) for x in (tasks.support_x, tasks.query_x)]
        if mode == "running":
            support, query = (part.unflatten(0, (T, -1)) for part in features)
            torch.testing.assert_close(peer.predict(replace(tasks, support_x=support, query_x=query)), scores)
        else:
            assert features == [None, None]
    assert all(torch.equal(buffer, before[name]) for name, buffer in peer.named_buffers()), "a test moves nothing"


@with_peer
def test_running_statistics_are_torchs_own_moved_after_each_task() -> None:
    """A tenth of each task's mean and unbiased variance enters, in the order of the tasks, however they are chunked."""
    peer, tasks = make(PROTOTYPICAL, "classification", "joint"), TASKS["classification"]
    block = peer.network[0]
    mean, variance = (buffer.numpy().copy() for buffer in (block.normalize.running_mean, block.normalize.running_var))
    for task in range(T):
        images = torch.cat([tasks.support_x[task], tasks.query_x[task]])
        maps = F.conv2d(images, block.conv.weight, block.conv.bias, padding=1).detach().transpose(0, 1).flatten(1).numpy()
        mean = 0.9 * mean + 0.1 * maps.mean(1)
        variance = 0.9 * variance + 0.1 * maps.var(1, ddof=1)
    peer.loss(tasks)
    np.testing.assert_allclose(block.normalize.running_mean, mean)
    np.testing.assert_allclose(block.normalize.running_var, variance)


@with_peer
@pytest.mark.parametrize(
    ("name", "mode"),
    [
        *((name, mode) for name in OURS for mode in ("separate", "support")),
        *((PROTOTYPICAL, mode) for mode in ("joint", "running")),
    ],
)
def test_queries_see_each_other_in_transductive_modes_alone(name: str, mode: Normalisation) -> None:
    """Another image in place of the last query changes the others' scores under `separate` and `joint`, else not."""
    method, tasks = make(name, "classification", mode).eval(), TASKS["classification"].without_query_labels()
    query_x = torch.cat([tasks.query_x[:, :-1], 1 - tasks.query_x[:, -1:]], 1)
    with torch.no_grad():
        before, after = (method.predict(t)[:, :-1] for t in (tasks, replace(tasks, query_x=query_x)))
    assert torch.allclose(before, after, rtol=1e-10, atol=0) == (mode not in TRANSDUCTIVE_MODES)


@with_peer
@gradient_based
def test_a_network_that_normalises_must_be_told_how(name: str) -> None:
    """`none` is for functions."""
    with pytest.raises(UsageError, match="separate or support"):
        make(name, "classification", "none").predict(TASKS["classification"])


@with_peer
@gradient_based
@pytest.mark.parametrize(
    ("shape", "max_pool", "features"),
    [((1, 28, 28), True, 64), ((1, 28, 28), False, 256), ((3, 84, 84), True, 1600), ((3, 32, 32), True, 256)],
)
def test_networks_for_images_have_the_parameters_of_their_layers(
    name: str, shape: tuple[int, int, int], max_pool: bool, features: int
) -> None:
    """Four convolutions of 64 filters with biases, a scale and a shift of each map, a linear head; twice for Meta-SGD."""
    method_class = registry.find("methods", name).load()
    with torch.device("meta"):
        method = method_class(method_class.Hparams(max_pool=max_pool), MethodInfo("classification", 5, 5, shape, 0), None)
    expected = (9 * shape[0] + 1) * 64 + 3 * (9 * 64 + 1) * 64 + 4 * 2 * 64 + (features + 1) * 5
    assert sum(p.numel() for p in method.parameters()) == expected * (2 if name == "l2l-meta-sgd" else 1)
    assert list(method.buffers()) == []


@with_peer
def test_the_prototypical_network_has_the_parameters_of_its_layers() -> None:
    """Four convolutions of 64 filters with biases, a scale and a shift of each map; no head."""
    method_class = registry.find("methods", "l2l-prototypical-networks").load()
    with torch.device("meta"):
        method = method_class(method_class.Hparams(), MethodInfo("classification", 5, 5, (3, 84, 84), 0), None)
    assert sum(p.numel() for p in method.parameters()) == (9 * 3 + 1) * 64 + 3 * (9 * 64 + 1) * 64 + 4 * 2 * 64


@with_peer
@gradient_based
def test_the_network_for_functions_has_the_parameters_of_the_papers(name: str) -> None:
    """1-40-40-1: 1,761; twice for Meta-SGD."""
    method = make(name, "regression", "none")
    assert sum(p.numel() for p in method.parameters()) == 1761 * (2 if name == "l2l-meta-sgd" else 1)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_its_meta_sgd_leaves_its_omniglot_network_as_it_was(l2l: ModuleType) -> None:
    """Why that network is not used: the convolutions that a pass goes through do not adapt, as they are registered twice."""
    learner = l2l.algorithms.MetaSGD(l2l.vision.models.OmniglotCNN(5), lr=0.1).clone()
    used = learner.module.features[1][0].conv
    before = used.weight
    learner.adapt(F.cross_entropy(learner(torch.rand(5, 1, 28, 28)), torch.arange(5)))
    assert torch.equal(used.weight, before)
    assert not torch.equal(learner.module.base[0].conv.weight, before)


@with_peer
def test_its_import_is_silent() -> None:
    """learn2learn and gym, which it imports, warn; a user is not shown that."""
    code = (
        f"from fewshot_bench.plugins import registry as plugins; [plugins.find('methods', name).load() for name in {PEERS}]"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == done.stderr == ""


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if learn2learn were not installed."""
    for name in [name for name in sys.modules if name.startswith("fewshot_methods.l2l")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "learn2learn", None)


@pytest.mark.usefixtures("absent")
@pytest.mark.parametrize("name", PEERS)
def test_where_it_is_absent_the_list_says_how_to_install_it(name: str) -> None:
    """Beside the method, as text and as JSON, and nothing has failed."""
    said, rows = call("list", "methods"), call("list", "methods", "--check", "--json")
    lines = said.out.splitlines()
    place = next(i for i, line in enumerate(lines) if line.split()[0] == name)
    missing = {row["name"]: row for row in json.loads(rows.out)}[name]["missing"]
    assert said.code == 0
    assert missing == lines[place + 1].strip()
    assert missing.startswith("needs learn2learn, which is not installed: pip install ")
    assert "learn2learn==0.2.0" in missing


@pytest.mark.usefixtures("absent")
@pytest.mark.parametrize("name", PEERS)
def test_where_it_is_absent_its_card_is_shown_all_the_same(name: str) -> None:
    """With what is missing."""
    said = call("show", name, "--json")
    assert said.code == 0
    assert "learn2learn==0.2.0" in json.loads(said.out)["missing"]


@pytest.mark.usefixtures("absent")
@pytest.mark.parametrize("name", PEERS)
def test_where_it_is_absent_a_run_says_how_to_install_it(name: str) -> None:
    """In a line or two, before any work."""
    said = call("run", "--method", name)
    assert said.code == 2
    assert 1 <= len(said.complaint.strip().splitlines()) <= 3
    assert f"'{name}'" in said.complaint
    assert "pip install --no-deps -C--build-option=build_ext learn2learn==0.2.0" in said.complaint


def test_where_what_it_imports_is_absent_the_reason_comes_with_the_installation(
    l2l: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """learn2learn is there, gym is not."""
    for name in [name for name in sys.modules if name.startswith(("fewshot_methods.l2l", "learn2learn"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "gym", None)
    said = call("run", "--method", "l2l-maml")
    assert said.code == 2
    assert "gym" in said.complaint.splitlines()[0]
    assert "It needs learn2learn: pip install gym" in said.complaint
