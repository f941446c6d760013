"""Testing: the score of each episode, in blocks, so that memory does not grow with their number.

Where an image's embedding does not depend on its episode (`Method.embed_images`), each image that occurs is embedded once
and the episodes gather embeddings.

Legend: T tasks, Q query images in all, N ways.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from fewshot_bench.data.bank import TensorBank
from fewshot_bench.episodes.own_generators import generators_of
from fewshot_bench.episodes.randomness import seeded
from fewshot_bench.episodes.seeds import derive_seed
from fewshot_bench.episodes.sources import Source, TaskSource
from fewshot_bench.episodes.tasks import Tasks
from fewshot_bench.errors import FewshotError
from fewshot_bench.learning.answers import checked_features, checked_scores
from fewshot_bench.learning.base import Conditions, Method
from fewshot_bench.results.score_files import Scores
from fewshot_bench.runs.scores import episode_scores_of

EMBED_AT_ONCE = 256
"""Images embedded at once: their maps stay in a CPU's cache."""
COMPARE_AT_ONCE = 256
"""Episodes compared at once, once their images are embedded."""
COMPARED_NUMBERS = 2**27
"""Of their embeddings: 512 MiB, which the pixels of large photographs would exceed many times."""


Ask = Callable[[Method, Tasks], Tensor | None]
"""What is asked of a method about tasks: outputs [T, Q, ...], a task and a query at the front."""
Watch = Callable[[Source, int, Tasks, Tensor], None]
"""Called with each block of a test: its source, its first episode, its tasks and the outputs that are scored."""


def watched_by(*watches: Watch | None) -> Watch:
    """All that watch a test, in this order."""

    def each(source: Source, first: int, tasks: Tasks, outputs: Tensor) -> None:
        for watch in watches:
            if watch is not None:
                watch(source, first, tasks, outputs)

    return each


@contextmanager
def evaluated(method: Method, conditions: Conditions) -> Iterator[None]:
    """Ask a method inside as a test does: in evaluation mode, under these conditions, without gradients. Outside all is as
    before."""
    training = method.training
    method.eval()
    try:
        with method.under(conditions), torch.no_grad():
            yield
    finally:
        method.train(training)


def prediction(method: Method, tasks: Tasks) -> Tensor:
    """Outputs [T, Q, N or D]."""
    return method.predict(tasks)


def steps(method: Method, tasks: Tasks) -> Tensor | None:
    """Outputs after each inner step [T, Q, steps, N or D]; None for a method without inner steps."""
    found = method.predict_steps(tasks)
    return None if found is None else torch.stack(list(found), 2)


def answers(method: Method, tasks: Tasks, ask: Ask = prediction) -> Tensor | None:
    """What a method says of tasks without their query labels under the present conditions, whatever was drawn at random
    before.

    A method should draw from the tasks' keys (`randomness`). One that draws from a global generator (torch's, numpy's,
    Python's) or from one of its own (`own_generators`) is asked about one task at a time, each time from the state that the
    task's key gives.
    """
    seed, own = derive_seed(int(tasks.key[0]), "predict"), generators_of(method)
    with seeded(seed, tasks.key.device, own) as drew:
        outputs = ask(method, tasks.without_query_labels())
        draws = drew()
    if ask is prediction and tasks.query_y is not None:
        checked_scores(method, outputs, tasks)
    if draws and len(tasks) > 1:
        alone = [answers(method, tasks.some(slice(i, i + 1)), ask) for i in range(len(tasks))]
        return torch.cat([one for one in alone if one is not None])
    return outputs


def episode_scores(
    method: Method,
    source: Source,
    conditions: Conditions,
    episodes: int,
    chunk: int,
    part: range | None = None,
    watch: Watch | None = None,
) -> Iterator[Scores]:
    """Score of episodes 0 to `episodes - 1`, in blocks of `chunk` tasks or more; no query label is handed to the method.

    Of a `part` of them alone, if one is given: where it begins at a multiple of `batch_size`, and ends at one or with the
    last episode, its scores are bit for bit those that it has in the whole.
    """
    part = range(episodes) if part is None else part
    chunk = batch_size(method, source, conditions, chunk)
    if isinstance(source, TaskSource):
        source = embedded(method, source, conditions, episodes, part) or source
    for first in range(part.start, part.stop, chunk):
        with evaluated(method, conditions):  # never while the scores are handed out
            tasks = source.tasks(first, min(chunk, part.stop - first))
            outputs = answers(method, tasks)
            assert outputs is not None, "predict returns outputs"
            scores = episode_scores_of(outputs, tasks)
            if watch is not None and np.isfinite(scores).all():
                watch(source, first, tasks, outputs)
        yield scores


def scores_by_step(
    method: Method, source: Source, conditions: Conditions, episodes: int, chunk: int, watch: Watch | None = None
) -> Scores | None:
    """Score of each episode after each inner step [steps, episodes]; None for a method without inner steps."""
    blocks = []
    with evaluated(method, conditions):
        for first in range(0, episodes, chunk):
            tasks = source.tasks(first, min(chunk, episodes - first))
            outputs = answers(method, tasks, steps)
            if outputs is None:
                return None
            each = [checked_scores(method, outputs[:, :, i], tasks, "predict_steps") for i in range(outputs.shape[2])]
            blocks.append(np.stack([episode_scores_of(one, tasks) for one in each]))
            if watch is not None and np.isfinite(blocks[-1]).all():
                watch(source, first, tasks, outputs)
    return np.concatenate(blocks, 1)


def batch_size(method: Method, source: Source, conditions: Conditions, chunk: int) -> int:
    """Episodes computed at once under `conditions`: `chunk`, or more where their images are embedded once; one where they
    differ in size."""
    if not isinstance(source, TaskSource):
        return chunk
    if source.sampler.varies:
        return 1
    with evaluated(method, conditions):
        embedding = embed(method, source, np.arange(1))
    if embedding is None:
        return chunk
    numbers = source.sampler.block(0, 1).images.size * embedding.numel()  # of an episode
    return max(chunk, min(COMPARE_AT_ONCE, COMPARED_NUMBERS // numbers))


def embedded(
    method: Method, source: TaskSource, conditions: Conditions, episodes: int, part: range | None = None
) -> TaskSource | None:
    """A source of the same episodes whose images are embeddings under `conditions`; None where they depend on the episode.

    Which images are embedded together is decided by all episodes, so that a `part` has the embeddings that the whole has;
    blocks of which it needs no image are left out.
    """
    total = int(source.bank.starts[-1])
    with evaluated(method, conditions):
        probe = embed(method, source, np.arange(1))
        if probe is None:
            return None
        needed = used_images(source, range(episodes) if part is None else part, total)
        rows = probe.new_zeros(total, *probe.shape[1:])
        for block in embedded_together(source, episodes):
            if not np.isin(block, needed).any():
                continue
            features = embed(method, source, block)
            if features is None:
                raise FewshotError(
                    "embed_images returned no embeddings of some images, or drew from a global random generator for them.\n"
                    "An embedding must be a function of its image alone: return None for every image where it is not."
                )
            rows[torch.from_numpy(block).to(rows.device)] = features
    return TaskSource(TensorBank(rows, source.bank), source.sampler, source.device, source.dtype)


def embedded_together(source: TaskSource, episodes: int) -> list[np.typing.NDArray[np.int64]]:
    """Ids of the images of a test, in the blocks that are embedded at once."""
    ids = used_images(source, range(episodes), int(source.bank.starts[-1]))
    return np.array_split(ids, -(-len(ids) // EMBED_AT_ONCE))


def used_images(source: TaskSource, episodes: range, total: int) -> np.typing.NDArray[np.int64]:
    """Ids of the images, of `total`, that occur in these episodes, ascending."""
    seen = np.zeros(total, dtype=bool)
    for block in source.sampler.blocks(episodes.start, len(episodes)):
        seen[block.images] = True
    return np.flatnonzero(seen)


def embed(method: Method, source: TaskSource, ids: np.typing.NDArray[np.int64]) -> Tensor | None:
    """Embeddings of the images `ids` under the present conditions; None where there are none, or where they are drawn at
    random."""
    with seeded(0, source.device, generators_of(method)) as drew:
        answer = method.embed_images(source.images(ids))
        draws = drew()
    return None if draws else checked_features(method, answer, len(ids))
