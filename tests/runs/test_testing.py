"""Episode scores are accuracies of what a method answers, however images are embedded, and chance where nothing tells.

Legend: T tasks, Q query images in all, N ways.
"""

import re
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from sklearn.metrics import accuracy_score
from torch import Tensor

from fewshot_bench.data.bank import MemmapBank
from fewshot_bench.episodes.sampling import EpisodeSampler
from fewshot_bench.episodes.sources import TaskSource
from fewshot_bench.episodes.tasks import Tasks
from fewshot_bench.errors import FewshotError
from fewshot_bench.learning.base import Conditions, Method, MethodInfo, NoHparams
from fewshot_bench.learning.embedding import EmbeddingMethod
from fewshot_bench.learning.hparams import build_hparams
from fewshot_bench.metrics import accuracy
from fewshot_bench.runs import testing
from fewshot_bench.runs.scores import check_finite, episode_scores_of
from fewshot_bench.runs.testing import batch_size, embedded, episode_scores, evaluated, used_images
from fewshot_methods.backbones.conv4 import Conv4
from fewshot_methods.nearest_centroid import NearestCentroid
from fewshot_methods.prototypical_networks import PrototypicalNetworks

CLASSES, EACH, SIDE, WAYS = 12, 10, 16, 5
INFO = MethodInfo("classification", WAYS, WAYS, (1, SIDE, SIDE), CLASSES)


class PlainPrototypicalNetworks(PrototypicalNetworks):
    """The same method, which never embeds an image apart from its task."""

    def embed_images(self, images: Tensor) -> Tensor | None:
        """None: no shortcut."""
        return None


class Recorder(Method):
    """Answers nothing in particular, and keeps the tasks that it was shown."""

    def __init__(self) -> None:
        super().__init__(NoHparams(), INFO, None)
        self.seen: list[tuple[Tasks, bool, Conditions]] = []

    def predict(self, tasks: Tasks) -> Tensor:
        """Zeros."""
        self.seen.append((tasks, self.training, self.conditions))
        return torch.zeros(len(tasks), tasks.query_x.shape[1], tasks.ways)


def make_source(images: npt.NDArray[np.uint8], queries: int = 3, dtype: torch.dtype = torch.float64) -> TaskSource:
    """5-way 1-shot episodes of images [CLASSES * EACH, 1, SIDE, SIDE]."""
    names = tuple(f"class{i}" for i in range(CLASSES))
    bank = MemmapBank(images, names, np.arange(CLASSES + 1) * EACH, "synthetic")
    return TaskSource(bank, EpisodeSampler(bank, WAYS, 1, queries, seed=0), torch.device("cpu"), dtype)


def patterned(noise: int) -> npt.NDArray[np.uint8]:
    """Images that are a class's own pattern, in [64, 192), plus up to `noise` either way."""
    dice = np.random.default_rng(0)
    patterns = dice.integers(64, 192, (CLASSES, 1, 1, SIDE, SIDE))
    images = patterns + dice.integers(-noise, noise, (CLASSES, EACH, 1, SIDE, SIDE))
    return images.reshape(-1, 1, SIDE, SIDE).astype(np.uint8)


@pytest.fixture
def noisy() -> npt.NDArray[np.uint8]:
    """Patterns under as much noise as there is pattern."""
    return patterned(noise=64)


def build(method: type[EmbeddingMethod]) -> EmbeddingMethod:
    """A prototypical network in float64 with fixed random weights and running statistics."""
    generator = torch.Generator().manual_seed(0)
    built = method(
        build_hparams(method.Hparams, {}), INFO, Conv4((1, SIDE, SIDE), filters=6, strided=False, scale=True, eps=1e-5)
    ).double()
    for name, tensor in built.state_dict().items():
        noise = torch.randn(tensor.shape, dtype=torch.float64, generator=generator)
        tensor.copy_(noise if name.endswith("_weight") else tensor + 0.1 * noise)
    return built


def scores_of(method: Method, source: TaskSource, episodes: int = 100, chunk: int = 7, mode: Any = "running") -> Any:
    """All scores [episodes]."""
    return np.concatenate(list(episode_scores(method, source, Conditions(mode), episodes, chunk)))


def test_embedding_each_image_once_changes_no_score(noisy: npt.NDArray[np.uint8]) -> None:
    """Under running statistics the shortcut scores every episode as the plain path does, neither at the extremes."""
    source = make_source(noisy)
    once, plain = (scores_of(build(cls), source) for cls in (PrototypicalNetworks, PlainPrototypicalNetworks))
    assert np.array_equal(once, plain)
    assert 0.25 < once.mean() < 0.95


def test_embedded_features_are_the_methods_own(noisy: npt.NDArray[np.uint8]) -> None:
    """The source of features holds, for the same episodes, what the method's network makes of their images."""
    source, method = make_source(noisy), build(PrototypicalNetworks)
    features = embedded(method, source, Conditions("running"), 20)
    assert features is not None
    plain, short = source.tasks(3, 5), features.tasks(3, 5)
    with evaluated(method, Conditions("running")):
        support, query = method.embed_task(plain.support_x, plain.query_x)
    torch.testing.assert_close(short.support_x, support)
    torch.testing.assert_close(short.query_x, query)
    assert torch.equal(short.targets, plain.targets)


@pytest.mark.parametrize("mode", ["support", "separate", "joint"])
def test_no_image_is_embedded_apart_where_its_episode_matters(noisy: npt.NDArray[np.uint8], mode: Any) -> None:
    """Under any mode but `running` there is no source of features, and the scores are those of the plain path."""
    source, method = make_source(noisy), build(PrototypicalNetworks)
    assert embedded(method, source, Conditions(mode), 20) is None
    plain = scores_of(build(PlainPrototypicalNetworks), source, mode=mode)
    assert np.array_equal(scores_of(method, source, mode=mode), plain)


def test_only_images_that_occur_are_embedded() -> None:
    """The ids are those of the episodes' supports and queries, each once, ascending."""
    source = make_source(np.zeros((CLASSES * EACH, 1, SIDE, SIDE), np.uint8))
    block = source.sampler.block(0, 3)
    ids = used_images(source, range(3), CLASSES * EACH)
    assert ids.tolist() == sorted({*block.support.ravel().tolist(), *block.query.ravel().tolist()})


@pytest.mark.parametrize("chunk", [1, 30, 100, 1000])
@pytest.mark.parametrize("method", [PrototypicalNetworks, PlainPrototypicalNetworks])
def test_scores_do_not_depend_on_the_chunk(noisy: npt.NDArray[np.uint8], method: type[EmbeddingMethod], chunk: int) -> None:
    """Whatever number of tasks is computed at once, there is one score an episode, and it is the same."""
    source = make_source(noisy)
    assert np.array_equal(scores_of(build(method), source, chunk=chunk), scores_of(build(method), source, chunk=7))


@pytest.mark.parametrize("episodes", [2, 63, 64, 65, 130])
def test_there_is_one_score_an_episode(noisy: npt.NDArray[np.uint8], episodes: int) -> None:
    """Exactly the episodes asked for are scored, and they are the first of the stream."""
    source, method = make_source(noisy), NearestCentroid(NoHparams(), INFO, None)
    scores = scores_of(method, source, episodes, mode="none")
    assert np.array_equal(scores, scores_of(method, source, 150, mode="none")[:episodes])


def test_no_query_label_reaches_the_method(noisy: npt.NDArray[np.uint8]) -> None:
    """In every call the tasks come without query labels, in evaluation mode, under the conditions of the test."""
    method = Recorder().train()
    scores_of(method, make_source(noisy), mode="none")
    assert method.seen
    for tasks, training, conditions in method.seen:
        assert tasks.query_y is None
        assert not training
        assert conditions == Conditions("none")


def test_a_test_keeps_no_graph(noisy: npt.NDArray[np.uint8]) -> None:
    """It runs without gradients, and leaves none in the parameters."""
    method = build(PrototypicalNetworks)
    scores_of(method, make_source(noisy))
    assert all(p.grad is None for p in method.parameters())


def test_accuracies_are_those_of_scikit_learn() -> None:
    """Of random scores: the share of queries whose highest score is at their label, for each task."""
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(6, 20, WAYS, generator=generator)
    labels = torch.randint(WAYS, (6, 20), generator=generator)
    expected = [accuracy_score(y, s.argmax(1)) for y, s in zip(labels.numpy(), scores.numpy(), strict=True)]
    np.testing.assert_allclose(accuracy(scores, labels), expected)


def test_accuracies_of_known_scores_are_known() -> None:
    """All right, three of four right, and none right give 1, 0.75 and 0."""
    labels = torch.tensor([[0, 1, 2, 0]] * 3)
    answers = torch.tensor([[0, 1, 2, 0], [0, 1, 2, 1], [1, 2, 0, 2]])
    assert accuracy(torch.nn.functional.one_hot(answers, 3).float(), labels).tolist() == [1.0, 0.75, 0.0]


NAN, INF = torch.nan, torch.inf
NO_ANSWERS = {
    "NaN at the label": [NAN, 1.0],
    "NaN beside the label": [2.0, NAN],
    "NaN everywhere": [NAN, NAN],
    "infinite": [INF, 1.0],
    "infinite everywhere": [INF, INF],
    "every way ruled out": [-INF, -INF],
}


@pytest.mark.parametrize("scores", NO_ANSWERS.values(), ids=NO_ANSWERS)
def test_an_episode_with_a_query_that_is_not_answered_has_no_score(scores: list[float]) -> None:
    """However the other queries are answered; the other episodes keep theirs."""
    outputs = torch.tensor([[[2.0, 1.0], scores], [[2.0, 1.0], [1.0, 2.0]]])
    assert np.array_equal(episode_scores_of(outputs, two_way(2)), [np.nan, 0.5], equal_nan=True)


def test_a_way_may_be_ruled_out() -> None:
    """Minus infinity for some ways is the lowest score."""
    outputs = torch.tensor([[[2.0, -INF], [-INF, 1.0]]])
    assert episode_scores_of(outputs, two_way(1)).tolist() == [0.5]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_scores_of_any_real_type_are_compared(dtype: torch.dtype) -> None:
    """However few digits they have."""
    outputs = torch.tensor([[[1, 0], [0, 1]]]).to(dtype)
    assert episode_scores_of(outputs, two_way(1)).tolist() == [0.5]


@pytest.mark.parametrize("value", [NAN, INF, -INF, 1e30])
def test_a_function_with_a_value_that_is_no_number_has_no_score(value: float) -> None:
    """Nor one whose squared error is none."""
    zeros = torch.zeros(2, 3, 1)
    tasks = Tasks(zeros, zeros, zeros, zeros, 1, torch.zeros(2, dtype=torch.int64), "regression")
    outputs = zeros.clone()
    outputs[0, 1] = value
    assert np.array_equal(episode_scores_of(outputs, tasks), [np.nan, 0.0], equal_nan=True)


def two_way(count: int) -> Tasks:
    """Tasks of two queries, of the first way both."""
    zeros, labels = torch.zeros(count, 2, 1), torch.zeros(count, 2, dtype=torch.int64)
    return Tasks(zeros, labels, zeros, labels, 2, torch.zeros(count, dtype=torch.int64))


def test_an_answer_without_an_opinion_is_right_by_chance(noisy: npt.NDArray[np.uint8]) -> None:
    """Equal scores for every way are right in exactly 1 / N of the queries of every episode."""
    source = make_source(noisy)
    tasks = source.tasks(0, 50)
    scores = torch.zeros(50, WAYS * 3, WAYS)
    np.testing.assert_allclose(accuracy(scores, tasks.targets), 1 / WAYS)


def test_images_that_tell_their_class_are_all_answered_rightly() -> None:
    """The nearest mean of clear patterns is right in every query of every episode."""
    source = make_source(patterned(noise=20))
    assert scores_of(NearestCentroid(NoHparams(), INFO, None), source, 200, mode="none").min() == 1.0


@pytest.mark.parametrize("seed", range(3))
def test_images_that_tell_nothing_are_answered_by_chance(seed: int) -> None:
    """Classes of pure noise give an accuracy of 1 / N: nothing but the image, neither its place nor its label, tells.

    The bound is binomial, four deviations wide, with an episode for a trial, as if its queries were all right or all
    wrong together.
    """
    dice = np.random.default_rng(seed)
    noise = dice.integers(0, 256, (CLASSES * EACH, 1, SIDE, SIDE), dtype=np.uint8)
    episodes = 2000
    scores = scores_of(NearestCentroid(NoHparams(), INFO, None), make_source(noise), episodes, mode="none")
    bound = 4 * np.sqrt(1 / WAYS * (1 - 1 / WAYS) / episodes)
    assert abs(scores.mean() - 1 / WAYS) < bound


@pytest.mark.parametrize("shape", [(2, 6, 4), (2, 6), (1, 6, 3)])
def test_outputs_of_another_shape_are_refused(noisy: npt.NDArray[np.uint8], shape: tuple[int, ...]) -> None:
    """A method that answers for other ways or queries gets no score, and learns both shapes."""
    tasks = make_source(noisy).tasks(0, 2)
    expected = [2, tasks.targets.shape[1], WAYS]
    with pytest.raises(FewshotError, match=re.escape(f"shape {list(shape)}, where {expected}")):
        episode_scores_of(torch.zeros(shape), tasks)


def test_scores_that_are_no_numbers_are_counted() -> None:
    """And those that are pass."""
    check_finite(np.array([0.5, 0.0]), "test episodes")
    with pytest.raises(FewshotError, match="In 2 of 3 test episodes the method's outputs are NaN or infinite"):
        check_finite(np.array([0.5, np.nan, np.inf]), "test episodes")


@pytest.mark.parametrize(("numbers", "chunk", "episodes"), [(2**27, 1, 256), (7 * 20 * SIDE**2, 1, 7), (1, 3, 3)])
def test_as_many_embedded_episodes_are_compared_at_once_as_their_embeddings_have_room(
    numbers: int, chunk: int, episodes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """20 images an episode, of as many numbers as pixels; at least what is computed at once anyway, at most 256."""
    monkeypatch.setattr(testing, "COMPARED_NUMBERS", numbers)
    method = NearestCentroid(NoHparams(), INFO, None)
    assert batch_size(method, make_source(patterned(9)), Conditions(), chunk) == episodes
