"""The core's numerics are those of the present `ENGINE`: float64 outputs stay, or its number is raised."""

import json

import engine_outputs
import pytest

from fewshot_bench.engine import ENGINE
from fewshot_bench.plugins import registry

STORED = json.loads(engine_outputs.FILE.read_text(encoding="utf-8"))


def stored(owner: str) -> engine_outputs.Outputs:
    """The stored outputs of the core or a method."""
    return {name: one for name, one in STORED["outputs"].items() if name.startswith(f"{owner}: ")}


@pytest.fixture(params=[True, False], ids=["kernels", "torch"])
def by_kernels(request: pytest.FixtureRequest) -> bool:
    """By the kernels and by torch alone."""
    if request.param:
        request.getfixturevalue("compiled")
    return bool(request.param)


def test_the_numbers_are_of_this_engine() -> None:
    """`python tests/support/engine_outputs.py` writes them again once the number is raised."""
    assert STORED["engine"] == ENGINE


@pytest.mark.parametrize("name", registry.registered("methods"))
def test_a_method_computes_what_this_engine_computed(name: str, by_kernels: bool) -> None:
    """Losses, scores and updated weights; one that differs wants a new `ENGINE`, and so does a new method's first entry."""
    if name not in engine_outputs.methods():
        pytest.skip("it, or what it needs, is not ours or not installed")
    found = {f"{name}: {kind} {which}": one for kind, which, one in engine_outputs.of_method(name, by_kernels)}
    assert engine_outputs.differing(found, stored(name)) == []


def test_the_core_computes_what_this_engine_computed() -> None:
    """Augmentation, scores, intervals."""
    assert engine_outputs.differing(dict(engine_outputs.core_outputs()), stored("core")) == []


@pytest.mark.parametrize("name", engine_outputs.ALONE)
def test_a_backbone_computes_what_this_engine_computed(name: str, by_kernels: bool) -> None:
    """Its embeddings, whichever statistics normalise."""
    found = {f"backbones: {which}": one for which, one in engine_outputs.of_backbone(name, by_kernels)}
    assert engine_outputs.differing(found, {key: STORED["outputs"][key] for key in found}) == []


def test_every_backbone_is_computed() -> None:
    """By one of the methods or alone: a new one needs a place here."""
    used = {
        *engine_outputs.ALONE,
        *engine_outputs.BACKBONES.values(),
        *engine_outputs.GRADIENT.values(),
        "conv4-64",
        "mlp-40",
    }
    ours = {name for name, one in registry.registered("backbones").items() if one.distribution.startswith("fewshot-bench ")}
    assert used == ours


def test_a_change_beyond_rounding_is_seen() -> None:
    """Of one part in 10^8, in any output; one in 10^11 is rounding."""
    numbers = stored("core")
    name = next(iter(numbers))
    changed = [numbers | {name: [one * factor for one in numbers[name]]} for factor in (1 + 1e-8, 1 + 1e-11)]
    assert [engine_outputs.differing(one, numbers) for one in changed] == [[name], []]
