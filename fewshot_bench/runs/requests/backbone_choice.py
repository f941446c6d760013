"""The backbone of a training: named, with the options of its factory, with weights from a file, frozen.

A file of weights is known by its hash: where it lies is no part of a run. What a factory reads on its own is heard, and
found by building it twice, under two seeds.
"""

import hashlib
import inspect
import io
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from fewshot_bench.backbone_section import read_weights
from fewshot_bench.errors import DataError, UsageError, unknown
from fewshot_bench.learning.answers import checked_values
from fewshot_bench.plugins import registry
from fewshot_bench.plugins.hparam_types import is_plain, value_of
from fewshot_bench.runs.checkpoint import differences, listed
from fewshot_bench.runs.requests.initial_values import found_elsewhere
from fewshot_bench.specs import BackboneSpec

ALIKE: Mapping[type, Any] = {bool: bool, int: float, float: float, str: str}
"""The type that an option of a factory has by its default, where nothing annotates it: a width of 1 may also be 0.5."""


@dataclass(frozen=True)
class BackboneChoice:
    """A backbone that can be built."""

    spec: BackboneSpec
    factory: Callable[..., Any]
    weights: Path | None = None
    """The file of its initial values; None too where a checkpoint is to replace them."""

    @classmethod
    def of(
        cls, spec: BackboneSpec | None, weights: Path | None = None, reference: str | None = None
    ) -> "BackboneChoice | None":
        """The choice that a spec names, by `reference` where that is another; raises `UsageError` for a name or an option
        that there is not."""
        if spec is None:
            return None
        factory = registry.find("backbones", reference or spec.name).load()
        _check_options(spec, factory)
        return cls(spec, factory, weights)

    def build(self, input_shape: tuple[int, ...]) -> Any:
        """The network, its initial values drawn from torch's present generator or read from the file.

        Raises `DataError` for a file that cannot be read, `UsageError` for one that does not fit.
        """
        network = self.factory(input_shape, **self.spec.options)
        if self.weights is not None and isinstance(network, nn.Module):
            _load(network, self.weights, self.spec)
        if self.spec.frozen and isinstance(network, nn.Module):
            network.requires_grad_(False)
        return network

    def reads(self, input_shape: tuple[int, ...]) -> str | None:
        """Hash of what the network has from elsewhere than the seed: the files that its factory reads, and initial values
        that no seed changes. None where all values are drawn or simple.

        Raises `UsageError` for a network whose lazy layers have no values yet.
        """

        def make() -> Any:
            return checked_values(f"Backbone {self.spec.name!r}", self.factory(input_shape, **self.spec.options))

        with suppress(ValueError):  # it takes other inputs: said where the network is built to be used
            return found_elsewhere(make, values=True)
        return None


def _check_options(spec: BackboneSpec, factory: Callable[..., Any]) -> None:
    if not spec.options:
        return
    if (parameters := _parameters(factory)) is None:
        return
    _check_values(spec.options, parameters)
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters):
        return
    known = [one.name for one in parameters if one.kind in (one.KEYWORD_ONLY, one.POSITIONAL_OR_KEYWORD)]
    for option in spec.options:
        if option not in known:
            raise unknown(f"option of backbone {spec.name!r}", option, known)


def _parameters(factory: Callable[..., Any]) -> list[inspect.Parameter] | None:
    """What a factory takes beside the shape of an input; None where Python cannot tell."""
    for evaluated in (True, False):  # a name in an annotation may be one that only a type checker imports
        with suppress(Exception):
            return list(inspect.signature(factory, eval_str=evaluated).parameters.values())[1:]
    return None


def _check_values(options: Mapping[str, Any], parameters: Iterable[inspect.Parameter]) -> None:
    """Refuse a value of another type than the factory's annotation, or else than its default; raises `UsageError`. Values
    of types that no specification has are the factory's own affair."""
    wrong = []
    for one in parameters:
        hint = one.annotation if is_plain(one.annotation) else ALIKE.get(type(one.default))
        if one.name in options and hint is not None and options[one.name] is not one.default:
            try:
                value_of(f"backbone.options.{one.name}", options[one.name], hint)
            except ValueError as error:
                wrong.append(str(error))
    if wrong:
        raise UsageError("\n".join(wrong[:3]))


def _load(network: nn.Module, path: Path, spec: BackboneSpec) -> None:
    data = read_weights(path)
    if hashlib.sha256(data).hexdigest() != spec.weights:
        raise DataError(f"{path} has changed since the run was asked for. Give the command again.")
    wanted = network.state_dict()
    found = _under_one_prefix(_tensors(data, path), wanted)
    if said := differences(found, wanted):
        raise UsageError(f"{path.name} does not fit backbone {str(spec)!r}: {listed(said)}.")
    network.load_state_dict(found)


def _tensors(data: bytes, path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file or of a state dict that torch wrote; nothing in it is executed."""
    try:
        return load(data)
    except SafetensorError:
        pass
    try:
        found = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception:  # whatever the damage raises
        raise DataError(f"{path} is neither a safetensors file nor a state dict of torch's.") from None
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    tensors = {name: one for name, one in found.items() if isinstance(one, Tensor)} if isinstance(found, Mapping) else {}
    if not tensors:
        raise DataError(f"{path} holds no tensors by name.")
    return tensors


def _under_one_prefix(found: dict[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those of `found` that stand under a prefix, where that alone makes all names fit, such as `network.` in a record's
    checkpoint; else all of them."""
    if not wanted or wanted.keys() <= found.keys():
        return found
    first = next(iter(wanted))
    for prefix in {name.removesuffix(first) for name in found if name.endswith(f".{first}")}:
        under = {name.removeprefix(prefix): one for name, one in found.items() if name.startswith(prefix)}
        if wanted.keys() <= under.keys():
            return under
    return found
