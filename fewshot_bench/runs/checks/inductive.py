"""Whether a test is inductive: some of its episodes are scored again before its result is filed, and must score the same.

An inductive method answers a query from the support of its task and from nothing else. So what it said in the test must be
what a copy of it, taken before the test, says of

- the first 16 episodes with other queries and in other company. Half of the queries of every second task are replaced, and
  all other tasks; the rest keep their places, so that their sums are the same bit for bit. This is done twice, so that each
  task is kept once;
- tasks and queries in the opposite order, single queries of tasks alone, and tasks with other queries whose images are
  changed by a rounding, so that nothing which was kept of them is met again;
- episodes in which an image of the support and a query are embedded alone, where the test embeds each image once, in calls
  with hundreds of others (`embed_images`);
- another chunk of the test and its last one, replaced as above: what is gathered over episodes shows there.

That are 65 to 115 episodes more, of 2,000. Of a chunk at most 16 tasks are scored again, wherever they stand in it; which
they are, and which chunk is the other one, is drawn from what the method has said, so that it is not known before.

What a method keeps outside itself is put back for each question where it can be reached (`surroundings`). What is kept
elsewhere in memory a twin of the process shows, forked before the test (`aftermath`).

The bound is a thousandth of the spread of a query's own scores, and where those hardly differ 64 roundings of the largest.
In float32 each registered method, in each inductive mode, with kernels and without, was within 1.4e-4 of the spread, and
where only content was replaced mostly equal bit for bit. But inner steps are not continuous: a value passes a ReLU or wins a
pooling window by less than its rounding, and elsewhere single tasks moved by 0.07, untrained MAML on black and white by a
third of the spread. So where a score moves, two things are asked:

- how far the scores move where the images are changed by up to 64 roundings, and all stay in their places. A sum in another
  order is the sum of numbers that are changed by roundings, so that what another order does, this does too. A method may
  move 8 times as far. What is scaled by whatever a method likes, the dtype's precision too, is not there where nothing else
  changes;
- whether both sides agree in float64 within a millionth, in which no rounding (1e-16) is likely to meet such a place; or
  again as far as roundings move them: of equal images nothing but roundings is left.

A method that draws from a generator is asked about one task at a time (`testing.answers`), and its draws change with
the number and the order of queries: so it is checked by replacing alone.

What this cannot find:

- code that goes out of its way to recognise it;
- what is kept once in a file, or on another machine. Where there is a twin that is kept of noise, which owes the test
  nothing; elsewhere it is kept of the first queries. A file that an earlier process left is taken for a part of the method;
- on an accelerator, and on another system than Linux, what is kept once where no attribute, container, module or closure of
  the method's leads to it: in the environment, in a module of a library, in a running Python generator, in a data base, in
  a tensor over 64 MiB;
- what was kept of validation, or of a rehearsal's noise in such a place: no query of the test is in it;
- a leak in few episodes, of which none is drawn, and one that shows in the places of queries alone in a method that draws
  from a generator.

Legend: T tasks, Q query images in all, N ways.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from fewshot_bench.episodes.philox import key_of, one_below
from fewshot_bench.episodes.protocols import PROTOCOLS
from fewshot_bench.episodes.sources import Source
from fewshot_bench.episodes.tasks import Tasks
from fewshot_bench.learning.base import Conditions, Method
from fewshot_bench.learning.copies import copy_of
from fewshot_bench.runs.checks.aftermath import Aftermath
from fewshot_bench.runs.checks.hidden_state import Surroundings
from fewshot_bench.runs.checks.inductive_block import FIRST, Block
from fewshot_bench.runs.checks.refusal import NotInductive, not_inductive
from fewshot_bench.runs.testing import Ask, evaluated, prediction
from fewshot_bench.specs import TRANSDUCTIVE_MODES, TestSpec


def is_inductive(spec: TestSpec, method: type[Method]) -> bool:
    """Whether a test counts as inductive: by its protocol, or under `custom` by the method and the normalisation."""
    declared = PROTOCOLS[spec.protocol].transductive
    if declared is None:
        return not method.transductive and spec.normalisation not in TRANSDUCTIVE_MODES
    return not declared


class InductiveCheck:
    """Watches a test of `images` or points (`testing.Watch`), of whose episodes `part` is computed here.

    Raises `FewshotError` as soon as a score is not the same again.
    """

    def __init__(
        self,
        method: Method,
        spec: TestSpec,
        conditions: Conditions,
        images: Source,
        part: range | None = None,
        ask: Ask = prediction,
    ) -> None:
        self.original, self.spec, self.conditions, self.images, self.ask = copy_of(method), spec, conditions, images, ask
        self.surroundings = Surroundings(self.original)
        self.part = range(spec.episodes) if part is None else part
        self.key = key_of("inductive", spec.model_dump())
        self.chunk = 0
        self.compared = self.moved = 0
        """Tasks that were compared in place, and that moved there."""
        self.aftermath = Aftermath(self.fresh, images, ask, spec.episodes)

    def __call__(self, source: Source, first: int, tasks: Tasks, outputs: Tensor) -> None:
        """Check a block of the test, if it is one of those that are checked."""
        if not self.chunk:
            self.chunk, self.key = len(tasks), key_of("drawn", self.key, _digest(outputs))
        another = self.chunk * one_below(-(-self.spec.episodes // self.chunk), self.key, 0)
        last = first + len(tasks) == self.spec.episodes
        if first < FIRST or last or first == another:
            anew = source.tasks(first, len(tasks)).without_query_labels()  # the method may have overwritten the others
            with self.surroundings.present():
                Block(self, source, first, anew, outputs).check(thoroughly=first < FIRST)
        if first + len(tasks) == self.part.stop and (left := self.aftermath.found(self.part, self.key)) is not None:
            self.refuse(not_inductive(self.original, self.spec.protocol, "left", *left))

    def refuse(self, error: NotInductive) -> None:
        """What becomes of a score that moved: the test ends. `fsbench check` goes on, to name every cause."""
        raise error

    @contextmanager
    def fresh(self, dtype: torch.dtype | None = None) -> Iterator[Method]:
        """The method as it was before the test, with what it keeps outside itself; in another dtype where that is given."""
        with self.surroundings.as_before():
            method = copy_of(self.original).to(dtype=dtype)
            with evaluated(method, self.conditions):
                yield method


def _digest(outputs: Tensor) -> str:
    """Of what a method has said: what is drawn from it no method knows before it has answered."""
    return hashlib.sha256(outputs.detach().contiguous().cpu().view(torch.uint8).numpy().tobytes()).hexdigest()
