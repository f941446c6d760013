"""Testing: the score of each episode, in blocks, so that memory does not grow with their number.

Where an image's embedding does not depend on its episode (`Method.embed_images`), each image that occurs is embedded once
and the episodes gather embeddings.

Legend: T tasks, Q query images in all, N ways.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from fewshot_bench.answers import checked_features, checked_scores
from fewshot_bench.bank import TensorBank
from fewshot_bench.method import Conditions, Method
from fewshot_bench.metrics import episode_scores_of
from fewshot_bench.precision import products_in
from fewshot_bench.score_files import Scores
from fewshot_bench.tasks import Source, TaskSource, to_float

EMBED_AT_ONCE = 256
"""Images embedded at once: their maps stay in a CPU's cache."""
COMPARE_AT_ONCE = 256
"""Episodes compared at once, once their images are embedded."""
COMPARED_NUMBERS = 2**27
"""Of their embeddings: 512 MiB, which the pixels of large photographs would exceed many times."""


def episode_scores(
    method: Method, source: Source, conditions: Conditions, episodes: int, chunk: int, part: range | None = None
) -> Iterator[Scores]:
    """Score of episodes 0 to `episodes - 1`, in blocks of `chunk` tasks or more; no query label reaches the method.

    Of a `part` of them alone, if one is given: where it begins at a multiple of `batch_size`, and ends at one or with the
    last episode, its scores are bit for bit those that it has in the whole.
    """
    part = range(episodes) if part is None else part
    chunk = batch_size(method, source, conditions, chunk)
    with torch.no_grad():
        if isinstance(source, TaskSource):
            source = embedded(method, source, episodes, part) or source
        for first in range(part.start, part.stop, chunk):
            tasks = source.tasks(first, min(chunk, part.stop - first))
            with products_in("highest"):
                outputs = method.predict(tasks.without_query_labels())
            yield episode_scores_of(checked_scores(method, outputs, tasks), tasks)


def scores_by_step(method: Method, source: Source, conditions: Conditions, episodes: int, chunk: int) -> Scores | None:
    """Score of each episode after each inner step [steps, episodes]; None for a method without inner steps."""
    method.eval()
    method.conditions = conditions
    blocks = []
    with torch.no_grad(), products_in("highest"):
        for first in range(0, episodes, chunk):
            tasks = source.tasks(first, min(chunk, episodes - first))
            steps = method.predict_steps(tasks.without_query_labels())
            if steps is None:
                return None
            blocks.append(
                np.stack(
                    [episode_scores_of(checked_scores(method, outputs, tasks, "predict_steps"), tasks) for outputs in steps]
                )
            )
    return np.concatenate(blocks, 1)


def batch_size(method: Method, source: Source, conditions: Conditions, chunk: int) -> int:
    """Episodes computed at once under `conditions`, which the method has from here on: `chunk`, or more where their
    images are embedded once; one where they differ in size."""
    method.eval()
    method.conditions = conditions
    if not isinstance(source, TaskSource):
        return chunk
    if source.sampler.varies:
        return 1
    with torch.no_grad():
        embedding = _embed(method, source, np.arange(1))
    if embedding is None:
        return chunk
    numbers = source.sampler.block(0, 1).images.size * embedding.numel()  # of an episode
    return max(chunk, min(COMPARE_AT_ONCE, COMPARED_NUMBERS // numbers))


def embedded(method: Method, source: TaskSource, episodes: int, part: range | None = None) -> TaskSource | None:
    """A source of the same episodes whose images are embeddings, or None where they depend on the episode.

    Which images are embedded together is decided by all episodes, so that a `part` has the embeddings that the whole has;
    blocks of which it needs no image are left out.
    """
    total = int(source.bank.starts[-1])
    probe = _embed(method, source, np.arange(1))
    if probe is None:
        return None
    ids = used_images(source, range(episodes), total)
    needed = ids if part in (None, range(episodes)) else used_images(source, part, total)
    rows = probe.new_zeros(total, *probe.shape[1:])
    for block in np.array_split(ids, -(-len(ids) // EMBED_AT_ONCE)):
        if not np.isin(block, needed).any():
            continue
        features = _embed(method, source, block)
        assert features is not None, "embed_images answers for every image or for none"
        rows[torch.from_numpy(block).to(rows.device)] = features
    return TaskSource(TensorBank(rows, source.bank), source.sampler, source.device, source.dtype)


def used_images(source: TaskSource, episodes: range, total: int) -> np.typing.NDArray[np.int64]:
    """Ids of the images, of `total`, that occur in these episodes, ascending."""
    seen = np.zeros(total, dtype=bool)
    for block in source.sampler.blocks(episodes.start, len(episodes)):
        seen[block.images] = True
    return np.flatnonzero(seen)


def _embed(method: Method, source: TaskSource, ids: np.typing.NDArray[np.int64]) -> Tensor | None:
    with products_in("highest"):
        answer = method.embed_images(to_float(source.bank.gather(ids).to(source.device), source.dtype))
    return checked_features(method, answer, len(ids))
