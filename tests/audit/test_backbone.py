"""`check_backbone`: planted faults are found by the check that is named for them, and every registered backbone passes."""

from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from fewshot_bench import Backbone
from fewshot_bench.audit.backbone import audit_backbone
from fewshot_bench.learning.backbone import Parameters
from fewshot_bench.learning.layers import linear
from fewshot_bench.learning.normalisation import Statistics
from fewshot_bench.plugins import registry
from fewshot_bench.testing import CheckFailed, check_backbone

LARGE = {"wrn-28-10", "resnet12", "resnet18"}
BACKBONES = [
    pytest.param(name, marks=pytest.mark.slow if name in LARGE else ())
    for name, plugin in registry.registered("backbones").items()
    if not plugin.missing()
]


class Honest(Backbone):
    """A linear map of an image, each feature normalised over the task's images."""

    channels: ClassVar = {"norm": 4}

    def __init__(self, input_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.features = 4
        self.weight = nn.Parameter(torch.randn(4, torch.Size(input_shape).numel()) * 0.1)
        self.bias = nn.Parameter(torch.randn(4))
        self.scale = nn.Parameter(torch.ones(4))

    def embed(self, x: Tensor, params: Parameters, given: Statistics | None = None) -> tuple[Tensor, Statistics]:
        """Normalised by what is given, or by the task's own."""
        z = linear(x.flatten(2), params["weight"], params["bias"])
        mean, variance = given["norm"] if given else self.statistics(z)
        scale = params["scale"].view(-1, 1, 4)
        return (z - mean[:, None]) * scale * (variance[:, None] + 1e-5).rsqrt(), {"norm": (mean, variance)}

    def statistics(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Of each task [T, D]."""
        return z.mean(1), z.var(1, correction=0)


class OwnParameters(Honest):
    """It computes with its own weight, whatever is passed."""

    def embed(self, x: Tensor, params: Parameters, given: Statistics | None = None) -> tuple[Tensor, Statistics]:
        """Not functional."""
        return super().embed(x, {**params, "scale": self.scale}, given)


class AcrossTasks(Honest):
    """All tasks' images normalise each other."""

    def statistics(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Of all [1, D]."""
        return z.mean((0, 1))[None], z.var((0, 1), correction=0)[None]


class IgnoresGiven(Honest):
    """The images of a call normalise each other, whatever is given."""

    def embed(self, x: Tensor, params: Parameters, given: Statistics | None = None) -> tuple[Tensor, Statistics]:
        """As if nothing were given."""
        features, _ = super().embed(x, params)
        return features, given or super().embed(x, params)[1]


class Unreached(Honest):
    """A parameter that nothing uses."""

    def __init__(self, input_shape: tuple[int, ...]) -> None:
        super().__init__(input_shape)
        self.idle = nn.Parameter(torch.ones(3))


class WrongSize(Honest):
    """It declares one feature more than it gives."""

    def __init__(self, input_shape: tuple[int, ...]) -> None:
        super().__init__(input_shape)
        self.features = 5


class Drops(Honest):
    """Dropout that does not end with training."""

    def embed(self, x: Tensor, params: Parameters, given: Statistics | None = None) -> tuple[Tensor, Statistics]:
        """Half of the pixels."""
        return super().embed(nn.functional.dropout(x, 0.5, training=True), params, given)


class Hidden(Honest):
    """A value that its state does not hold."""

    def __init__(self, input_shape: tuple[int, ...]) -> None:
        super().__init__(input_shape)
        self.offset = torch.rand(1).item()

    def embed(self, x: Tensor, params: Parameters, given: Statistics | None = None) -> tuple[Tensor, Statistics]:
        """Moved by it."""
        features, used = super().embed(x, params, given)
        return features + self.offset, used


class HoldsBatchNorm(Honest):
    """torch's own layer."""

    def __init__(self, input_shape: tuple[int, ...]) -> None:
        super().__init__(input_shape)
        self.norm = nn.BatchNorm1d(4)


PLANTED: dict[type, str] = {
    OwnParameters: "passed parameters",
    AcrossTasks: "tasks at once",
    IgnoresGiven: "given statistics",
    Unreached: "gradients",
    WrongSize: "shapes",
    Drops: "determinism",
    Hidden: "save and load",
    HoldsBatchNorm: "normalising layers",
}


@pytest.mark.parametrize(("network", "name"), PLANTED.items(), ids=lambda one: getattr(one, "__name__", ""))
def test_a_planted_fault_is_found_by_its_check(network: type, name: str) -> None:
    """And named in the error of a plugin's own test."""
    audit = audit_backbone(registry.find("backbones", network))
    assert audit[name].standing == "failed"
    with pytest.raises(CheckFailed, match=name):
        check_backbone(network)


def test_an_honest_network_passes() -> None:
    """All but what there is no accelerator for."""
    audit = check_backbone(Honest)
    assert {one.name for one in audit.having("skipped")} <= {"accelerator"}


@pytest.mark.parametrize("name", BACKBONES)
def test_every_registered_backbone_passes(name: str) -> None:
    """On each input that it takes."""
    check_backbone(name)
