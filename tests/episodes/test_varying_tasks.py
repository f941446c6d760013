"""Episodes that differ in size as tasks, and their test: one at a time, and by shortcuts that change no score."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import blobs, build, for_test

from fewshot_bench.episodes.size import EpisodeSize
from fewshot_bench.episodes.sources import TaskSource
from fewshot_bench.episodes.varying import sampler_of
from fewshot_bench.learning.base import Conditions
from fewshot_bench.runs.testing import batch_size, embedded, episode_scores, used_images

CPU = torch.device("cpu")
VARYING = EpisodeSize(2, 1, 3, max_ways=7, max_shots=4, imbalanced=True)


def source(size: EpisodeSize) -> TaskSource:
    """Tasks of a size of easy images."""
    bank = blobs()
    return TaskSource(bank, sampler_of(bank, size, 0), CPU, torch.float64)


def test_the_ways_of_tasks_are_those_of_the_episode() -> None:
    """And images and labels are as many as the episode's."""
    made = source(VARYING)
    seen = set()
    for i in range(40):
        tasks, block = made.tasks(i, 1), made.sampler.block(i, 1)
        assert tasks.ways == block.ways == int(tasks.support_y.max()) + 1
        assert tasks.support_x.shape[:2] == block.support.shape
        assert tasks.query_x.shape[:2] == (1, 3 * tasks.ways)
        seen.add(tasks.ways)
    assert seen == set(range(2, 8))


@pytest.mark.parametrize("chunk", [1, 5])
def test_embedding_each_image_once_changes_no_score_of_a_varying_test(chunk: int) -> None:
    """Prototypical networks under running statistics, where the shortcut serves, beside each episode embedded by itself."""
    made, method = source(VARYING), for_test(build("prototypical-networks"))
    once = np.concatenate(list(episode_scores(method, made, method.conditions, 20, chunk)))
    assert embedded(method, made, method.conditions, 20) is not None
    with torch.no_grad():
        tasks = [made.tasks(i, 1) for i in range(20)]
        right = [method.predict(one.without_query_labels()).argmax(-1) == one.targets for one in tasks]
    assert once.tolist() == [float(each.double().mean()) for each in right]
    assert once.std() > 0


def test_episodes_of_different_sizes_are_tested_one_at_a_time() -> None:
    """Whatever the plan's chunk; episodes of one size are not."""
    method = for_test(build("nearest-centroid"))
    assert batch_size(method, source(VARYING), Conditions(), 12) == 1
    assert batch_size(method, source(EpisodeSize(2, 1, 3, unlabelled=1)), Conditions(), 12) > 1


def test_a_part_of_a_varying_test_has_the_scores_of_the_whole() -> None:
    """As shards need it."""
    made, method = source(VARYING), for_test(build("prototypical-networks"))

    def scores(part: range) -> list[float]:
        blocks = episode_scores(method, made, method.conditions, 20, 4, part)
        return [float(score) for block in blocks for score in block]

    assert scores(range(7)) + scores(range(7, 20)) == scores(range(20))


def test_only_images_that_occur_are_embedded() -> None:
    """Support, queries and unlabelled images of every episode, each once, ascending."""
    made = source(replace(VARYING, unlabelled=2, distractors=1))
    images = {int(image) for i in range(5) for image in made.sampler.block(i, 1).images[0]}
    assert used_images(made, range(5), int(made.bank.starts[-1])).tolist() == sorted(images)
