"""Matching networks equal their equations, taken step by step in numpy and scipy, and torch's own LSTM.

Legend: T tasks, S support images, Q query images in all, N ways, K shots, D features.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch
from held import held
from scipy.spatial.distance import cdist
from scipy.special import expit, softmax
from torch import Tensor, nn

from fewshot_bench.episodes.tasks import Tasks
from fewshot_bench.errors import UsageError
from fewshot_bench.learning.base import Conditions, MethodInfo
from fewshot_bench.learning.hparams import build_hparams
from fewshot_bench.specs import TRANSDUCTIVE_MODES, Normalisation
from fewshot_methods.backbones.conv4 import Conv4, conv4_32, conv4_64
from fewshot_methods.matching_networks import LARGEST_SCALE, Lstms, MatchingHparams, MatchingNetworks, cosines

T, N, K, Q, D = 3, 4, 2, 12, 5
S = N * K
MODES: list[Normalisation] = sorted(MatchingNetworks.modes)
Array = npt.NDArray[np.float64]
both = pytest.mark.parametrize("fce", [False, True], ids=["plain", "fce"])


def make_tasks(*image: int, seed: int = 0) -> Tasks:
    """T tasks of random images, or features of both signs, of shape `image` in float64, labels shuffled."""
    generator = torch.Generator().manual_seed(seed)

    def random(count: int) -> Tensor:
        return torch.rand(T, count, *image, dtype=torch.float64, generator=generator) - 0.5 * (len(image) == 1)

    def shuffled(each: int) -> Tensor:
        labels = torch.arange(N).repeat_interleave(each)
        return torch.stack([labels[torch.randperm(len(labels), generator=generator)] for _ in range(T)])

    return Tasks(random(S), shuffled(K), random(Q), shuffled(Q // N), N, torch.arange(T))


def build(fce: bool, read_steps: int = 3) -> MatchingNetworks:
    """The method on a small Conv4 of D features in float64, with running statistics away from their start."""
    generator = torch.Generator().manual_seed(1)
    backbone = Conv4((1, 16, 16), filters=D, strided=False, scale=True, eps=1e-5)
    info = MethodInfo("classification", N, S, (1, 16, 16), 10)
    method = MatchingNetworks(MatchingHparams(fce, read_steps), info, backbone)
    for tensor in [*method.parameters(), *method.buffers()]:
        tensor.data = torch.rand(tensor.shape, generator=generator) - 0.2 * (tensor.dim() > 1)
    return method.double()


def numpy_lstm(lstms: Lstms, index: int, x: Array, state: Array, c: Array) -> tuple[Array, Array]:
    """One step of one LSTM for one input x [D]: output and cell."""
    w, u, b = (p.detach().numpy()[index] for p in (lstms.weight_input, lstms.weight_state, lstms.bias))
    i, f, o, candidate = np.split(x @ w + state @ u + b[0], 4)
    c = expit(f) * c + expit(i) * np.tanh(candidate)
    return expit(o) * np.tanh(c), c


def numpy_g(method: MatchingNetworks, raw: Array) -> Array:
    """g(x_i, S) [S, D], one image after another (appendix A.2)."""
    found = raw.copy()
    for direction, order in enumerate((range(S), reversed(range(S)))):
        h, c = np.zeros(D), np.zeros(D)
        for i in order:
            h, c = numpy_lstm(method.g, direction, raw[i], h, c)
            found[i] += h
    return found


def numpy_f(method: MatchingNetworks, raw: Array, g: Array, steps: int) -> Array:
    """f(x, S) [D] of one query, one read after another (appendix A.1, eq. 3 to 6)."""
    h, c = np.zeros(D), np.zeros(D)
    for _ in range(steps):
        attention = softmax([h @ g_i for g_i in g])
        r = sum(a * g_i for a, g_i in zip(attention, g, strict=True))
        output, c = numpy_lstm(method.f, 0, raw, np.concatenate([h, r]), c)
        h = output + raw
    return h


def numpy_log_probabilities(query: Array, support: Array, labels: Array) -> Array:
    """log p(y | x, S) [Q, N] (eq. 1) of one task, by scipy's cosine distances."""
    attention = softmax(1 - cdist(query, support, "cosine"), axis=1)
    return np.log(np.stack([attention[:, labels == label].sum(1) for label in range(N)], 1))


@pytest.mark.parametrize("steps", [1, 3])
def test_full_contextual_embeddings_are_those_of_the_appendix_step_by_step(steps: int) -> None:
    """g over the support and f over the queries equal numpy's, one image and one read after another."""
    tasks, method = make_tasks(D), build(True, steps)
    g = method.embed_support(tasks.support_x)
    f = method.embed_query(tasks.query_x, g)
    for task in range(T):
        expected = numpy_g(method, tasks.support_x[task].numpy())
        np.testing.assert_allclose(g[task].detach(), expected, rtol=1e-12)
        for q in range(Q):
            found = f[task, q].detach()
            np.testing.assert_allclose(found, numpy_f(method, tasks.query_x[task, q].numpy(), expected, steps), rtol=1e-12)


@both
def test_scores_are_the_log_of_the_attention_on_each_class(fce: bool) -> None:
    """Given embeddings in place of images, the scores follow from scipy's cosines."""
    tasks, method = make_tasks(D), build(fce)
    for task, scores in enumerate(method.predict(tasks)):
        support, query, labels = (x[task].numpy() for x in (tasks.support_x, tasks.query_x, tasks.support_y))
        if fce:
            support = numpy_g(method, support)
            query = np.stack([numpy_f(method, x, support, 3) for x in query])
        np.testing.assert_allclose(scores.detach(), numpy_log_probabilities(query, support, labels), rtol=1e-12)


@both
def test_the_loss_is_minus_the_log_probability_of_the_right_class(fce: bool) -> None:
    """Probabilities sum to 1, so that the cross-entropy of their logs is the paper's loss, the mean over the queries."""
    tasks, method = make_tasks(D), build(fce)
    scores = method.predict(tasks)
    torch.testing.assert_close(scores.exp().sum(-1), torch.ones(T, Q, dtype=torch.float64))
    right = scores.gather(2, tasks.targets[..., None])[..., 0]
    torch.testing.assert_close(method.loss(tasks), -right.mean(1))


def test_unequal_classes_weigh_by_their_images() -> None:
    """A class with three images has the sum of their attention."""
    tasks = make_tasks(D)
    labels = torch.tensor([0, 0, 0, 1, 2, 2, 3, 1]).expand(T, S)
    scores = build(False).predict(replace(tasks, support_y=labels))
    for task in range(T):
        expected = numpy_log_probabilities(tasks.query_x[task].numpy(), tasks.support_x[task].numpy(), labels[task].numpy())
        np.testing.assert_allclose(scores[task], expected, rtol=1e-12)


@pytest.mark.parametrize("scale", [1.0, 10.0])
def test_the_scale_multiplies_the_cosines(scale: float) -> None:
    """Before the softmax over the support."""
    tasks, method = make_tasks(D), build(False)
    method.hparams = MatchingHparams(scale=scale)
    for task, scores in enumerate(method.predict(tasks)):
        support, query, labels = (x[task].numpy() for x in (tasks.support_x, tasks.query_x, tasks.support_y))
        attention = softmax(scale * (1 - cdist(query, support, "cosine")), axis=1)
        np.testing.assert_allclose(scores.exp(), np.stack([attention[:, labels == y].sum(1) for y in range(N)], 1))


def test_no_probability_is_too_small_for_float32_under_the_largest_scale() -> None:
    """An opposite image beside the same one keeps a finite logarithm."""
    method = build(False)
    method.hparams = MatchingHparams(scale=LARGEST_SCALE)
    scores = method.compare(torch.tensor([[[1.0], [-1.0]]]), torch.tensor([[0, 1]]), torch.tensor([[[1.0]]]), 2)
    torch.testing.assert_close(scores, torch.tensor([[[0.0, -2 * LARGEST_SCALE]]]))


def test_scores_stay_finite_where_an_embedding_is_zero() -> None:
    """A query of zeros has cosine 0 with every image, and an opposite image keeps its share: float32 needs no clamp."""
    support = torch.tensor([[[1.0, 0.0], [-1.0, 0.0]]], requires_grad=True)
    query = torch.tensor([[[0.0, 0.0], [1e3, 0.0]]], requires_grad=True)
    scores = build(False).compare(support, torch.tensor([[0, 1]]), query, 2)
    torch.testing.assert_close(scores.exp(), torch.tensor([[[0.5, 0.5], [float(expit(2)), float(expit(-2))]]]))
    scores.sum().backward()
    assert all(x.grad is not None and x.grad.isfinite().all() for x in (support, query))


@pytest.mark.parametrize("index", [0, 1])
def test_an_lstm_is_torchs(index: int) -> None:
    """A sequence through one of the LSTMs equals torch's, whose gates stand in another order and whose second bias is 0."""
    lstms, x = build(True).g, make_tasks(D).support_x[:1]
    twin = nn.LSTM(D, D, batch_first=True).double()
    order = torch.cat([torch.arange(4 * D).view(4, D)[gate] for gate in (0, 1, 3, 2)])
    with torch.no_grad():
        twin.weight_ih_l0.copy_(lstms.weight_input[index].mT[order])
        twin.weight_hh_l0.copy_(lstms.weight_state[index].mT[order])
        twin.bias_ih_l0.copy_(lstms.bias[index, 0, order])
        twin.bias_hh_l0.zero_()
    inputs = lstms.inputs(x.expand(2, 1, S, D))
    h = c = torch.zeros(2, 1, D, dtype=torch.float64)
    found = []
    for place in range(S):
        h, c = lstms.step(inputs[:, :, place], h, c)
        found.append(h[index])
    torch.testing.assert_close(torch.stack(found, 1), twin(x)[0])


def test_cosines_are_those_of_scipy() -> None:
    """One minus scipy's cosine distance."""
    tasks = make_tasks(D)
    for task, found in enumerate(cosines(tasks.query_x, tasks.support_x)):
        np.testing.assert_allclose(found, 1 - cdist(tasks.query_x[task], tasks.support_x[task], "cosine"), atol=1e-12)


@both
@pytest.mark.parametrize("mode", MODES)
def test_tasks_in_one_call_equal_a_call_for_each(fce: bool, mode: Normalisation) -> None:
    """The tasks of a batch do not see each other, in any mode."""
    method, tasks = build(fce), make_tasks(1, 16, 16)
    held(method, Conditions(mode))
    for task, scores in enumerate(method.predict(tasks)):
        one = slice(task, task + 1)
        alone = replace(tasks, support_x=tasks.support_x[one], support_y=tasks.support_y[one], query_x=tasks.query_x[one])
        torch.testing.assert_close(method.predict(alone)[0], scores)


@both
@pytest.mark.parametrize("mode", MODES)
def test_queries_see_each_other_in_transductive_modes_alone(fce: bool, mode: Normalisation) -> None:
    """Another image in place of the last query changes the others' scores under `separate` and `joint`, else not."""
    method, tasks = build(fce), make_tasks(1, 16, 16)
    held(method, Conditions(mode))
    query_x = torch.cat([tasks.query_x[:, :-1], 1 - tasks.query_x[:, -1:]], 1)
    before, after = (method.predict(t)[:, :-1] for t in (tasks, replace(tasks, query_x=query_x)))
    assert torch.allclose(before, after, rtol=1e-10, atol=0) == (mode not in TRANSDUCTIVE_MODES)


@both
def test_embedded_images_give_the_scores_of_images(fce: bool) -> None:
    """Images embedded apart from their task, under running statistics, are put into context where they are compared."""
    method, tasks = build(fce), make_tasks(1, 16, 16)
    held(method, Conditions("running"))
    support, query = (method.embed_images(x.flatten(0, 1)) for x in (tasks.support_x, tasks.query_x))
    assert support is not None and query is not None
    features = replace(tasks, support_x=support.unflatten(0, (T, -1)), query_x=query.unflatten(0, (T, -1)))
    torch.testing.assert_close(method.predict(features), method.predict(tasks))


@both
def test_the_order_of_the_support_matters_with_fce_alone(fce: bool) -> None:
    """As each method object declares: the support's LSTM reads a sequence, attention a set."""
    method, tasks = build(fce), make_tasks(D)
    order = torch.randperm(S, generator=torch.Generator().manual_seed(2))
    turned = replace(tasks, support_x=tasks.support_x[:, order], support_y=tasks.support_y[:, order])
    same = torch.allclose(method.predict(tasks), method.predict(turned), rtol=1e-9)
    assert same == method.support_order_invariant == (not fce)
    assert MatchingNetworks.support_order_invariant


def test_renaming_the_ways_renames_the_scores_with_fce() -> None:
    """The LSTMs see no label."""
    method, tasks, names = build(True), make_tasks(D), torch.tensor([2, 0, 3, 1])
    renamed = method.predict(replace(tasks, support_y=names[tasks.support_y]))
    torch.testing.assert_close(method.predict(tasks), renamed[:, :, names])


def test_every_parameter_of_fce_gets_a_gradient() -> None:
    """The loss reaches the network and all of the LSTMs."""
    method = build(True)
    method.loss(make_tasks(1, 16, 16)).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in method.parameters())


@pytest.mark.parametrize(
    ("network", "shape", "features", "body"),
    [
        (conv4_64, (1, 28, 28), 64, 9 * 64 + 3 * 9 * 64 * 64 + 4 * 2 * 64),
        (conv4_32, (3, 84, 84), 800, 9 * 3 * 32 + 3 * 9 * 32 * 32 + 4 * 32),
    ],
)
@both
def test_parameters_are_those_of_the_layers(
    network: type[Conv4], shape: tuple[int, int, int], features: int, body: int, fce: bool
) -> None:
    """The network's, and with fce four gates of D units: g twice, from D inputs and D of state, f from D and 2 D."""
    with torch.device("meta"):
        info = MethodInfo("classification", 5, 5, shape, 0)
        method = MatchingNetworks(MatchingHparams(fce), info, network(shape))
    gates = 2 * 4 * features * (features + features + 1) + 4 * features * (features + 2 * features + 1)
    assert sum(p.numel() for p in method.parameters()) == body + fce * gates


def test_no_read_step_is_refused() -> None:
    """f is h_K of at least one read."""
    with pytest.raises(UsageError, match="read_steps must be a whole number from 1 to 100,000, got 0"):
        build_hparams(MatchingHparams, {"read_steps": 0})


@pytest.mark.parametrize("scale", [0.0, 41.0])
def test_a_scale_out_of_range_is_refused(scale: float) -> None:
    """It says which range."""
    with pytest.raises(UsageError, match="scale must be a number > 0 and <= 40, got"):
        build_hparams(MatchingHparams, {"scale": scale})
