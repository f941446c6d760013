"""A trial of a method on a few synthetic tasks: whether it is inductive, as far as that can be seen without training it.

Legend: as in `tasks`.
"""

import math
from contextlib import suppress
from typing import Any

import numpy as np
import torch

from fewshot_bench.data.bank import MemmapBank
from fewshot_bench.episodes.philox import key_of, words
from fewshot_bench.episodes.protocols import test_default
from fewshot_bench.episodes.randomness import seeded
from fewshot_bench.episodes.sampling import EpisodeSampler
from fewshot_bench.episodes.sources import TaskSource
from fewshot_bench.learning.base import Conditions, Method, MethodInfo
from fewshot_bench.learning.copies import copy_of
from fewshot_bench.learning.hparams import build_hparams
from fewshot_bench.plugins import registry
from fewshot_bench.plugins.faults import plugin_faults_told
from fewshot_bench.runs.checks.inductive import InductiveCheck
from fewshot_bench.runs.testing import batch_size, episode_scores
from fewshot_bench.specs import TestSpec

WAYS, QUERIES, CLASSES, EACH, SHAPE = 2, 4, 20, 20, (1, 16, 16)
FEW, MANY, CHUNK = 4, 280, 2
"""Episodes of the trial; `MANY` where images are embedded once, so that there are hundreds and several
chunks; tasks at once otherwise."""


def check_inductive(method_class: type[Method]) -> str | None:
    """Try out a method that declares nothing; raises `FewshotError` where its answers depend on other queries or tasks, or
    where it answers a few small tasks but not the same ones changed.

    One that cannot be built from its class alone, or that answers no small task, is not tried: returns why.
    """
    if method_class.transductive or "classification" not in method_class.kinds:
        return None
    with seeded(0, torch.device("cpu")), torch.no_grad():
        try:
            method = _built(method_class)
            _ask_once(method)
        except Exception as error:  # whatever a plugin raises that needs more than its class
            return f"not tried out ({type(error).__name__}: {str(error).partition(chr(10))[0]})"
        with plugin_faults_told():
            _try_out(method)
    return None


def _conditions(method: Method) -> Conditions:
    steps = None if method.inner_steps(method.hparams) is None else 1
    return Conditions(test_default(method.default_mode, transductive=False), steps)


def _source() -> TaskSource:
    return TaskSource(_bank(), EpisodeSampler(_bank(), WAYS, 1, QUERIES, 0), torch.device("cpu"), torch.float32)


def _ask_once(method: Method) -> None:
    """Whether a copy answers at all."""
    for _ in episode_scores(copy_of(method), _source(), _conditions(method), CHUNK, CHUNK):
        pass


def _try_out(method: Method) -> None:
    conditions, source = _conditions(method), _source()
    episodes = MANY if batch_size(method, source, conditions, CHUNK) > CHUNK else FEW
    size: dict[str, Any] = {"ways": WAYS, "shots": 1, "queries": QUERIES, "episodes": episodes, "seed": 0}
    about: dict[str, Any] = {"protocol": "standard", "dataset": "noise", "data": {}, "inner_steps": conditions.inner_steps}
    spec = TestSpec.checked(about | size | {"normalisation": conditions.normalisation})
    check = InductiveCheck(method, spec, conditions, source)
    for _ in episode_scores(method, source, conditions, episodes, CHUNK, watch=check):
        pass


def _built(method_class: type[Method]) -> Method:
    """The method with its own defaults, on the first backbone that fits."""
    info = MethodInfo("classification", WAYS if method_class.trains_on == "episodes" else 0, WAYS, SHAPE, CLASSES)
    hparams = build_hparams(method_class.Hparams, {})
    for plugin in registry.registered("backbones").values() if method_class.needs_backbone else ():
        with suppress(Exception):  # it takes other inputs, or what it needs is not installed
            return method_class(hparams, info, plugin.load()(SHAPE))
    return method_class(hparams, info, None)


def _bank() -> MemmapBank:
    """Images of patterns under noise, the same on every machine."""
    drawn = words(key_of("trial"), CLASSES * (EACH + 1) * math.prod(SHAPE)) >> np.uint64(57)  # 0 to 127
    noise, patterns = np.split(drawn.reshape(CLASSES, EACH + 1, *SHAPE), [EACH], 1)
    images = (noise + patterns).astype(np.uint8).reshape(-1, *SHAPE)
    return MemmapBank(images, [f"class{i}" for i in range(CLASSES)], np.arange(CLASSES + 1) * EACH, "trial")
