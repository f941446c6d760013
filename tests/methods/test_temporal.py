"""The causal blocks of TCML and SNAIL equal numpy place by place, and the shared prefix equals a sequence for each query.

Legend: T tasks, S support images, Q query images in all, L places of a full sequence, N ways, D features, C channels,
F filters, K size of a key, V size of a value, R dilation.
"""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F
from held import held
from torch import Tensor, nn

from fewshot_bench.episodes.tasks import Tasks
from fewshot_bench.learning.base import Conditions, MethodInfo
from fewshot_bench.learning.hparams import build_hparams
from fewshot_methods.backbones.conv4_fc import conv4_64_fc64
from fewshot_methods.snail import Snail
from fewshot_methods.tcml import Tcml
from fewshot_methods.temporal import Attention, Chain, Dense, GatedConv, SequenceMethod, sequence

T, N, Q, D, MOST = 2, 3, 4, 64, 5
METHODS: dict[str, type[SequenceMethod]] = {"snail": Snail, "tcml": Tcml}
methods = pytest.mark.parametrize("name", METHODS)


def draw(*shape: int, seed: int = 0) -> Tensor:
    """Normal numbers, float64."""
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def randomised(module: nn.Module) -> nn.Module:
    """The module in float64 with parameters of moderate size, biases included."""
    module = module.double()
    for i, parameter in enumerate(module.parameters()):
        parameter.data = draw(*parameter.shape, seed=i) / math.sqrt(parameter.shape[-1] if parameter.dim() > 1 else 4)
    return module


def build(name: str, most_shots: int = MOST) -> SequenceMethod:
    """A method for at most `most_shots` shots in float64, on small images."""
    info = MethodInfo("classification", N, N * most_shots, (1, 16, 16), 10)
    method_class: Any = METHODS[name]
    torch.manual_seed(0)
    backbone = conv4_64_fc64((1, 16, 16))
    method: SequenceMethod = method_class(build_hparams(method_class.Hparams, {}), info, backbone).double()
    randomised(method.chain)
    held(method, Conditions("running"))
    return method.eval()


def make_tasks(shots: int, *image: int) -> Tasks:
    """T tasks of random images, or features, labels shuffled."""
    generator = torch.Generator().manual_seed(shots)

    def shuffled(labels: Tensor) -> Tensor:
        return torch.stack([labels[torch.randperm(len(labels), generator=generator)] for _ in range(T)])

    image = image or (D,)
    support_y, query_y = shuffled(torch.arange(N).repeat(shots)), shuffled(torch.arange(Q) % N)
    return Tasks(draw(T, N * shots, *image), support_y, draw(T, Q, *image, seed=1), query_y, N, torch.arange(T))


def plain_block(block: nn.Module, x: Tensor) -> Tensor:
    """What a block appends to full sequences x [B, L, C], by torch's own convolution and attention."""
    if isinstance(block, Attention):
        query, key, value = F.linear(x, block.project.weight, block.project.bias).split(block.sizes, 2)
        return F.scaled_dot_product_attention(query, key, value, is_causal=True)
    assert isinstance(block, Dense)
    x = plain_conv(block.first, x)
    for conv in block.residual:
        assert isinstance(conv, GatedConv)
        x = x + plain_conv(conv, x)
    return x


def plain_conv(conv: GatedConv, x: Tensor) -> Tensor:
    """A gated convolution of full sequences x [B, L, C] by torch's `conv1d` -> [B, L, F]."""
    padded = F.pad(x.mT, (conv.dilation, 0))  # [B, C, R+L]
    maps = F.conv1d(padded, conv.weight.permute(1, 2, 0), conv.bias, dilation=conv.dilation)  # [B, 2F, L]
    content, gate = maps.mT.chunk(2, 2)
    gated: Tensor = torch.tanh(content) * torch.sigmoid(gate)
    return gated


def plain_scores(method: SequenceMethod, tasks: Tasks) -> Tensor:
    """Scores [T, Q, N] of features, from one full sequence for each query, built image by image."""
    sequences = []
    scale = math.sqrt(tasks.query_x.shape[2]) if isinstance(method, Tcml) else 1.0
    for task in range(len(tasks)):
        for query in tasks.query_x[task]:
            pairs = zip(tasks.support_x[task], tasks.support_y[task], strict=True)
            places = [torch.cat([x / scale, torch.eye(N, dtype=torch.float64)[y]]) for x, y in pairs]
            sequences.append(torch.stack([*places, torch.cat([query / scale, torch.zeros(N, dtype=torch.float64)])]))
    x = torch.stack(sequences)  # [T*Q, S+1, D+N]
    for block in method.chain.blocks:
        x = torch.cat([x, plain_block(block, x)], 2)
    scores: Tensor = method.head(x[:, -1])
    return scores.view(len(tasks), -1, N)


def test_labels_stand_beside_their_own_images_and_zeros_beside_queries() -> None:
    """Each place holds an image's features and then its one-hot label; a query's label is not there."""
    support, query = draw(1, 3, 2), draw(1, 2, 2, seed=1)
    found = sequence(support, torch.tensor([[2, 0, 1]]), query, 3)[0]
    torch.testing.assert_close(found[:, :2], torch.cat([support, query], 1)[0])
    expected = [[0, 0, 1], [1, 0, 0], [0, 1, 0], [0, 0, 0], [0, 0, 0]]
    torch.testing.assert_close(found[:, 2:], torch.tensor(expected, dtype=torch.float64))


def gated_by_numpy(conv: GatedConv, x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """One place after the other of a sequence [L, C] -> [L, F]."""
    (past, present), bias = conv.weight.detach().numpy(), conv.bias.detach().numpy()
    filters, outputs = len(bias) // 2, []
    for place in range(len(x)):
        before = x[place - conv.dilation] if place >= conv.dilation else np.zeros(x.shape[1])
        value = past @ before + present @ x[place] + bias
        outputs.append(np.tanh(value[:filters]) / (1 + np.exp(-value[filters:])))
    return np.stack(outputs)


@pytest.mark.parametrize("dilation", [1, 2, 3, 6, 7, 8])
def test_a_gated_convolution_is_its_equation_place_by_place(dilation: int) -> None:
    """tanh(f) * sigmoid(g) of the present place and the one `dilation` before it, zeros before the start."""
    conv = GatedConv(5, 4, dilation)
    randomised(conv)
    x = draw(T, 7, 5)
    for task, found in enumerate(conv(x, 7)):
        np.testing.assert_allclose(found.detach(), gated_by_numpy(conv, x[task].numpy()), rtol=1e-10)


def test_a_tc_block_is_its_equations_place_by_place() -> None:
    """Dense blocks of dilations 2, 4 and 8: each reads all channels so far and appends its own."""
    chain = Chain(5)
    chain.dense([2, 4, 8], 4)
    randomised(chain)
    x = draw(T, 9, 5)
    for task, found in enumerate(chain(x, 9)):
        expected = x[task].numpy()
        for block in chain.blocks:
            assert isinstance(block, Dense)
            expected = np.concatenate([expected, gated_by_numpy(block.first, expected)], 1)
        np.testing.assert_allclose(found.detach(), expected, rtol=1e-10)
    assert chain.channels == 5 + 3 * 4


def test_a_dense_block_with_residual_convolutions_is_its_equations() -> None:
    """h1 = G1(x), h2 = h1 + G2(h1), h3 = h2 + G3(h2)."""
    block, x = Dense(5, 4, 2, residual=2), draw(1, 9, 5)
    randomised(block)
    value = gated_by_numpy(block.first, x[0].numpy())
    for conv in block.residual:
        assert isinstance(conv, GatedConv)
        value = value + gated_by_numpy(conv, value)
    np.testing.assert_allclose(block(x, 9)[0].detach(), value, rtol=1e-10)


def test_convolutions_start_as_torch_starts_them() -> None:
    """Uniform in 1 / sqrt(fan in), two channels of input for each of width 2."""
    weight = Dense(5, 4, 2).first.weight
    assert 0.8 / math.sqrt(10) < weight.abs().max() <= 1 / math.sqrt(10)


def test_attention_is_its_equation_place_by_place() -> None:
    """Each place weighs the values of those up to itself by the softmax of query . key / sqrt(K)."""
    block, length, key_size = Attention(5, 3, 2), 7, 3
    randomised(block)
    x = draw(T, length, 5)
    weight, bias = block.project.weight.detach().numpy(), block.project.bias.detach().numpy()
    for task, found in enumerate(block(x, length)):
        query, key, value = np.split(x[task].numpy() @ weight.T + bias, [3, 6], axis=1)
        for place in range(length):
            logits = [query[place] @ key[other] / math.sqrt(key_size) for other in range(place + 1)]
            weights = np.exp(logits) / np.exp(logits).sum()
            expected = sum(w * v for w, v in zip(weights, value, strict=False))
            np.testing.assert_allclose(found[place].detach(), expected, rtol=1e-10)


def test_attention_sums_to_one_over_the_keys() -> None:
    """Where every value is one, every place, query or support, reads one: the softmax is over the keys."""
    block = Attention(5, 3, 2)
    randomised(block)
    block.project.weight.data[6:], block.project.bias.data[6:] = 0, 1
    torch.testing.assert_close(block(draw(T, 9, 5), 6), torch.ones(T, 9, 2, dtype=torch.float64))


@methods
def test_no_output_changes_when_a_later_input_does(name: str) -> None:
    """On full sequences: another input at a place changes the outputs there and later, and none before."""
    chain, length = build(name).chain, 8
    x = draw(1, length, D + N)
    before = chain(x, length)
    for place in range(length):
        other = x.clone()
        other[:, place] = draw(D + N, seed=2)
        after = chain(other, length)
        torch.testing.assert_close(after[:, :place], before[:, :place], rtol=0, atol=1e-12)
        changed = (after != before).any(2)[0]
        assert changed[place]
        assert changed[place + 1 :].any() == (place + 1 < length)


@methods
@pytest.mark.parametrize("shots", [1, 2, 5])
def test_the_shared_support_equals_a_sequence_for_each_query(name: str, shots: int) -> None:
    """Scores equal those of Q full sequences, through torch's own convolution and causal attention."""
    method, tasks = build(name), make_tasks(shots)
    torch.testing.assert_close(method.predict(tasks), plain_scores(method, tasks), rtol=1e-9, atol=1e-11)


@methods
def test_the_shared_support_has_the_gradients_of_a_sequence_for_each_query(name: str) -> None:
    """Every parameter of the chain and the head, and every embedding, receives the gradient of the plain form."""
    method, tasks = build(name), make_tasks(3)
    wanted = [*method.chain.parameters(), *method.head.parameters(), tasks.support_x, tasks.query_x]
    for tensor in wanted:
        tensor.requires_grad_()
    weights = draw(T, Q, N, seed=3)
    ours, theirs = (
        torch.autograd.grad((scores * weights).sum(), wanted)
        for scores in (method.predict(tasks), plain_scores(method, tasks))
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-11)


@methods
def test_the_loss_is_that_of_the_last_place_of_each_sequence(name: str) -> None:
    """For each task, the mean cross-entropy of its queries' own sequences; no support place is scored."""
    method, tasks = build(name), make_tasks(2)
    plain = plain_scores(method, tasks)
    expected = [F.cross_entropy(scores, labels) for scores, labels in zip(plain, tasks.targets, strict=True)]
    torch.testing.assert_close(method.loss(tasks), torch.stack(expected))


@methods
def test_scores_do_not_depend_on_the_query_labels(name: str) -> None:
    """The label of a query is not in its input: without labels, and under others, scores are the same."""
    method, tasks = build(name), make_tasks(2)
    scores = method.predict(tasks)
    for other in (tasks.without_query_labels(), replace(tasks, query_y=(tasks.targets + 1) % N)):
        torch.testing.assert_close(method.predict(other), scores, rtol=0, atol=0)


@methods
def test_a_support_label_belongs_to_its_image(name: str) -> None:
    """Exchanging two support images and their labels, or the labels alone, changes scores; neither is the other."""
    method, tasks = build(name), make_tasks(1)
    order = torch.tensor([1, 0, 2])
    labels = replace(tasks, support_y=tasks.support_y[:, order])
    both = replace(labels, support_x=tasks.support_x[:, order])
    found = [method.predict(t) for t in (tasks, labels, both)]
    assert not any(torch.allclose(found[i], found[j]) for i, j in ((0, 1), (0, 2), (1, 2)))


@methods
def test_one_method_serves_every_number_of_shots_and_learns_from_each(name: str) -> None:
    """From 1 shot to the most that it is built for: finite scores, and a gradient at every parameter."""
    method = build(name).train()
    held(method, Conditions("joint"))
    for shots in range(1, MOST + 1):
        method.zero_grad()
        loss = method.loss(make_tasks(shots, 1, 16, 16))
        loss.sum().backward()
        assert torch.isfinite(loss).all()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in method.parameters())


@methods
def test_float32_is_float64_rounded(name: str) -> None:
    """In the precision that runs use, scores agree with those in float64 to about that precision."""
    method, tasks = build(name), make_tasks(5)
    double = method.predict(tasks)
    single = method.float().predict(replace(tasks, support_x=tasks.support_x.float(), query_x=tasks.query_x.float()))
    torch.testing.assert_close(single, double.float(), rtol=1e-3, atol=1e-3)
