"""Checks of what methods and backbones return to the engine. Errors say what came and what is expected.

Legend: T tasks, S support images, Q query images in all, N ways, B images of a batch, D features.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.nn.parameter import is_lazy

from fewshot_bench.data.answers import told
from fewshot_bench.episodes.tasks import Tasks
from fewshot_bench.errors import PluginError, UsageError
from fewshot_bench.learning.backbone import Backbone
from fewshot_bench.learning.base import Method, MethodInfo
from fewshot_bench.plugins.declarations import FACTORY

OPEN = "A backbone names its normalised layers in `channels`, and `embed` normalises them with the statistics it is given."
"""Hint for refused layers: how a backbone leaves its normalisation to the engine."""


def checked_backbone(name: str, made: Any) -> Backbone:
    """The network that a backbone's callable made; raises `UsageError` where it has not the interface."""
    if not isinstance(made, Backbone):
        raise UsageError(
            f"Backbone {name!r} made {told(made)}, not a Backbone: {FACTORY},\n"
            "whose embed(x [T, n, C, H, W], params, given) gives embeddings [T, n, D] and the statistics used."
        )
    checked_values(f"Backbone {name!r}", made)
    features, channels = getattr(made, "features", None), getattr(made, "channels", None)
    if type(features) is not int or features < 1:
        raise UsageError(f"Backbone {name!r}: features must be the size of an embedding, a whole number, got {features!r}.")
    if not (isinstance(channels, Mapping) and all(type(key) is str and type(n) is int for key, n in channels.items())):
        raise UsageError(f"Backbone {name!r}: channels must map its normalised layers to numbers, got {channels!r}.")
    return made


def checked_values(who: str, made: Any) -> Any:
    """A network or a method as it was built; raises `UsageError` where a lazy layer of it has no values yet."""
    state = made.state_dict(keep_vars=True) if isinstance(made, nn.Module) else {}
    for name, tensor in state.items():
        if is_lazy(tensor):
            raise UsageError(
                f"{who} has a lazy layer without values ({name}): give the network one input when it is made,\n"
                "or state the layer's size."
            )
    return made


def checked_method(method: Method, *, trained: bool) -> Method:
    """A method as it was built; raises `PluginError` where its base was not set up or it has nothing to train."""
    name = type(method).__name__
    if not isinstance(getattr(method, "info", None), MethodInfo):
        raise PluginError(f"{name}.__init__ must call super().__init__(hparams, info, backbone).")
    checked_values(name, method)
    if trained and not any(parameter.requires_grad for parameter in method.parameters()):
        raise PluginError(
            f"{name} is trained, but has no parameters: make them nn.Parameter or nn.Module attributes of it,\n"
            "or declare trained = False."
        )
    return method


def checked_loss(method: Method, answer: Any, size: int) -> Tensor:
    """The loss of each of `size` tasks, or of each image of a batch; raises `PluginError` for anything else."""
    per, name = ("image", "batch_loss") if method.trains_on == "classes" else ("task", "loss")
    who = f"{type(method).__name__}.{name}"
    if not isinstance(answer, Tensor):
        raise PluginError(f"{who} gave {told(answer)}, not a tensor with the loss of each {per}, [{size}].")
    if tuple(answer.shape) != (size,):
        raise PluginError(f"{who} gave shape {list(answer.shape)}, where [{size}] was expected: the loss of each {per}.")
    if not answer.is_floating_point():
        raise PluginError(f"{who} gave {answer.dtype}, where the loss of each {per} is a floating-point number.")
    if not answer.requires_grad:
        raise PluginError(f"{who} has no gradient: it must come from the method's parameters, without detach or no_grad.")
    return answer


def checked_scores(method: Method, answer: Any, tasks: Tasks, name: str = "predict") -> Tensor:
    """Scores [T, Q, N], or outputs [T, Q, D] of functions; raises `PluginError` for anything else. `tasks` with targets."""
    who = f"{type(method).__name__}.{name}"
    of = "scores [T, Q, N]" if tasks.kind == "classification" else "outputs [T, Q, D]"
    targets = tuple(tasks.targets.shape)
    shape = (*targets, tasks.ways) if tasks.kind == "classification" else targets
    if not isinstance(answer, Tensor):
        raise PluginError(f"{who} gave {told(answer)}, not a tensor of {of}, {list(shape)}.")
    if tuple(answer.shape) != shape:
        raise PluginError(f"{who} gave shape {list(answer.shape)}, where {list(shape)} was expected: {of}.")
    if answer.layout is not torch.strided:
        raise PluginError(f"{who} gave a sparse tensor ({answer.layout}), where {of} are dense: to_dense() makes it so.")
    if not answer.is_floating_point():
        raise PluginError(f"{who} gave {answer.dtype}, where {of} are floating-point numbers.")
    if answer.device != tasks.targets.device:
        raise PluginError(f"{who} gave a tensor on {answer.device}, where the tasks are on {tasks.targets.device}.")
    return answer


def checked_features(method: Method, answer: Any, images: int) -> Tensor | None:
    """Embeddings [n, ...] of n images, or None where they depend on the task; raises `PluginError` for anything else."""
    who = f"{type(method).__name__}.embed_images"
    if answer is None:
        return None
    if not isinstance(answer, Tensor):
        raise PluginError(f"{who} gave {told(answer)}, not a tensor of embeddings [{images}, D], or None.")
    if answer.dim() < 2 or len(answer) != images or not answer.is_floating_point():
        raise PluginError(
            f"{who} gave {answer.dtype} of shape {list(answer.shape)}, where embeddings [{images}, D] were expected."
        )
    return answer


def check_layers(method: Method) -> None:
    """Refuse torch's own layers that normalise by a batch, or gather its statistics, where the declared mode does not reach
    them: in a backbone, beside one, and in a method whose only mode is `none`. Raises `UsageError`.

    `method` is in training mode: a layer that stays in evaluation mode there, with statistics of its own, is a fixed map. A
    method that has no backbone and declares modes carries them out itself.
    """
    if not method.needs_backbone and set(method.modes) != {"none"}:
        return
    if held := batch_layer(method):
        raise UsageError(
            f"{type(method).__name__} holds {held}, which the declared normalisation does not reach.\n"
            f"Use GroupNorm or LayerNorm, or keep the layer in evaluation mode.\n{OPEN}"
        )


def batch_layer(module: nn.Module) -> str:
    """The first of torch's own layers in a module that normalises by a batch, in words; "" where there is none."""
    for name, layer in module.named_modules():
        if not isinstance(layer, _NormBase) or (isinstance(layer, _InstanceNorm) and not layer.track_running_stats):
            continue  # it normalises each image alone
        if layer.training or not layer.track_running_stats:
            return f"torch's {type(layer).__name__} ({name})"
    return ""
