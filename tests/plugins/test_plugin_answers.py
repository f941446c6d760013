"""A plugin that does not keep to its interface is refused before any work, with what the interface wants."""

from pathlib import Path

import pytest
import torch
from command_line import call, finished
from plugin_file import SOUND, plugin, refused
from tiny import SHAPE, network_of

import fewshot_bench
from fewshot_bench.errors import PluginError
from fewshot_bench.learning.backbone import Backbone
from fewshot_bench.plugins import registry
from fewshot_bench.request import Request
from fewshot_bench.runs.checks.rehearsal import check_normalisation, rehearse
from fewshot_bench.runs.requests.resolve import resolve

NET = """
import torch
from torch import nn
from fewshot_bench import Backbone

class net(Backbone):
    {declared}

    def __init__(self, shape):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def embed(self, x, params, given=None):
        return {embed}
"""
DECLARED, EMBED = "features, channels = 784, {}", "x.flatten(2) * self.weight, {}"
SOUND_NET = NET.format(declared=DECLARED, embed=EMBED)
HEAD = "from torch import nn\n"
BACKBONES = {
    "an instance of a module": (HEAD + "net = nn.Linear(784, 8)", 2, "already built (Linear)", "(input_shape)"),
    "a plain module": (HEAD + "def net(shape): return nn.Linear(784, 8)", 2, "a Linear", "embed(x"),
    "a class without arguments": (HEAD + "class net(nn.Module):\n def __init__(self): ...", 2, "input_shape"),
    "a number": ("net = 4", 2, "cannot be called, it is int"),
    "zero": ("net = 0", 2, "cannot be called, it is int"),
    "nothing": ("def net(shape): return None", 2, "made None"),
    "a class": (HEAD + "def net(shape): return nn.Linear", 2, "made a type"),
    "an abstract class": ("from fewshot_bench import Backbone\nclass net(Backbone): ...", 2, "must define embed"),
    "a function that raises": ("def net(shape):\n  return shape.nothing", 1, "AttributeError", "net.py, line 2, in net"),
    "no size": (NET.format(declared="channels = {}", embed=EMBED), 2, "features must be", "None"),
    "no layers": (NET.format(declared="features = 784", embed=EMBED), 2, "channels must map", "None"),
    "another size": (NET.format(declared="features, channels = 8, {}", embed=EMBED), 1, "[2, 2, 784]", "[2, 2, 8]"),
    "embeddings alone": (
        NET.format(declared=DECLARED, embed="x.flatten(2)"),
        1,
        "embed must give (embeddings",
        "got Tensor",
    ),
    "statistics of no layer": (
        NET.format(declared="features, channels = 784, {'first': 3}", embed=EMBED),
        1,
        "mean and variance [T, C]",
        "(first)",
    ),
}


@pytest.mark.parametrize("name", BACKBONES)
def test_what_is_no_backbone_is_refused_before_any_work(name: str, tmp_path: Path) -> None:
    """With what came and what the interface wants, in a dry run too."""
    text, code, *words = BACKBONES[name]
    (tmp_path / "net.py").write_text(text)
    command = ("--method", "prototypical-networks", "--set", f"backbone={tmp_path / 'net.py'}:net")
    refused(call("run", *command, "--dry-run"), code, *words)


CLASSES = "trains_on = 'classes'"
HPARAMS = "Hparams = dataclass(frozen=True)(type('R', (), {{'__annotations__': {{'a': {0}}}, 'a': {1!r}}}))"
BOUNDED = "from typing import Annotated; from annotated_types import Gt; "
ANSWERS: dict[str, tuple[dict[str, str], int, tuple[str, ...]]] = {
    "no parameters": ({"built": "pass"}, 1, ("Tiny is trained, but has no parameters", "trained = False")),
    "parameters in a list": ({"built": "self.weight = [torch.ones(1)]"}, 1, ("has no parameters",)),
    "scores in a list": ({"predict": "[0]"}, 1, ("Tiny.predict gave a list", "[1, 10, 5]")),
    "scores in a tuple": ({"predict": "(x,)"}, 1, ("Tiny.predict gave a tuple", "scores [T, Q, N]")),
    "scores in numpy": ({"predict": "x.numpy()"}, 1, ("Tiny.predict gave a ndarray",)),
    "no scores": ({"predict": "None"}, 1, ("Tiny.predict gave None",)),
    "labels": ({"predict": "x.long()"}, 1, ("Tiny.predict gave shape [1, 10], where [1, 10, 5]",)),
    "whole numbers": ({"predict": "x.new_zeros(*x.shape, n).long()"}, 1, ("torch.int64", "floating-point")),
    "scores elsewhere": ({"predict": "torch.zeros(*x.shape, n, device='meta')"}, 1, ("on meta", "on cpu")),
    "scores of other ways": ({"predict": "x.new_zeros(*x.shape, n + 1)"}, 1, ("[1, 10, 6]", "[1, 10, 5]")),
    "scores that are no numbers": ({"predict": "x.new_zeros(*x.shape, n) / 0"}, 1, ("Tiny.predict gave NaN", "noise")),
    "scores of no way": ({"predict": "x.new_full((*x.shape, n), -torch.inf)"}, 1, ("Tiny.predict gave NaN or infinity",)),
    "a loss without gradient": ({"loss": "tasks.query_x.flatten(1).sum(1)"}, 1, ("Tiny.loss has no gradient",)),
    "a scalar": ({"loss": "self.weight.sum()"}, 1, ("Tiny.loss gave shape [], where [1]", "each task")),
    "a number": ({"loss": "0.5"}, 1, ("Tiny.loss gave a float",)),
    "a loss a query": ({"loss": "tasks.query_x.flatten(2).sum(2) * self.weight"}, 1, ("shape [1, 10]", "[1]")),
    "a loss of other things": ({"loss": "torch.ones(1, requires_grad=True)"}, 1, ("reaches none of its parameters",)),
    "a batch without gradient": (
        {"declared": CLASSES, "batch_loss": "x.flatten(1).sum(1)"},
        1,
        ("has no gradient",),
    ),
    "a mean over a batch": ({"declared": CLASSES, "batch_loss": "self.weight.sum()"}, 1, ("[4]", "each image")),
    "embeddings of one": ({"embed": "images[:1].flatten(1)"}, 1, ("Tiny.embed_images gave", "[5, D]")),
    "embeddings in numpy": ({"embed": "images.numpy()"}, 1, ("Tiny.embed_images gave a ndarray",)),
    "an exception": ({"loss": "tasks.nothing"}, 1, ("AttributeError", "tiny.py, line 18, in loss", "FSBENCH_TRACEBACK=1")),
    "an exception of torch": ({"predict": "x @ x"}, 1, ("RuntimeError", "tiny.py, line 28, in predict")),
    "query labels": (
        {"predict": "torch.eye(n)[tasks.query_y.long()]"},
        1,
        ("in predict", "tasks.query_y is None in predict"),
    ),
    "a build that raises": ({"built": "self.weight = info.nothing"}, 1, ("AttributeError", "in __init__")),
    "a base not set up": ({"built": "del self.info"}, 1, ("super().__init__(hparams, info, backbone)",)),
    "an exception after an update": ({"after": "1 / 0"}, 1, ("ZeroDivisionError", "in after_update")),
    "an exit": ({"after": "raise SystemError('a\\nb')"}, 1, ("SystemError: a (",)),
    "hyper-parameters that are a dict": ({"declared": "Hparams = {}"}, 2, ("Hparams must be a frozen dataclass",)),
    "hyper-parameters that change": (
        {"declared": "Hparams = dataclass(type('Rates', (), {'__annotations__': {'a': int}, 'a': 1}))"},
        2,
        ("Rates must be frozen", "@dataclass(frozen=True)"),
    ),
    "hyper-parameters of a list": (
        {"declared": HPARAMS.format("list", None)},
        2,
        ("R.a must be a bool, int, float or str",),
    ),
    "a default that its type refuses": (
        {"declared": f"from pydantic import PositiveInt; {HPARAMS.format('PositiveInt', 0)}"},
        2,
        ("R: a default is wrong: a must be a whole number > 0, got 0",),
    ),
    "bounds of a text": (
        {"declared": BOUNDED + HPARAMS.format("Annotated[str, Gt(0)]", "")},
        2,
        ("R: a has bounds but is not a number",),
    ),
    "a flag that is none": ({"declared": "trained = 'no'"}, 2, ("trained must be True or False", "'no'")),
    "kinds in a text": ({"declared": "kinds = 'classification'"}, 2, ("kinds must be a set",)),
    "modes of its own": ({"declared": "modes = {'batch'}"}, 2, ("modes must be a set", "running", "'batch'")),
    "a default of no mode": ({"declared": "default_mode = 'joint'"}, 2, ("default_mode 'joint' is not one of its modes",)),
    "another way of training": ({"declared": "trains_on = 'images'"}, 2, ("'episodes' or 'classes'", "'images'")),
    "steps that are a number": ({"declared": "inner_steps = 3"}, 2, ("inner_steps must be a method, got 3",)),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_a_method_that_answers_otherwise_than_its_interface_says_is_refused(name: str, tmp_path: Path) -> None:
    """Before any work, in a dry run too; what it gave, what was due."""
    changes, code, words = ANSWERS[name]
    refused(call("run", "--method", plugin(tmp_path, **changes), "--dry-run"), code, *words)


@pytest.mark.parametrize("declared", ["", CLASSES], ids=["episodes", "classes"])
def test_the_method_of_these_tests_is_sound_but_for_its_changes(declared: str, tmp_path: Path) -> None:
    """So that the refusals are not those of a method that never works."""
    assert "run_id" in finished("run", "--method", plugin(tmp_path, declared=declared), "--dry-run").out


def test_an_answer_that_turns_wrong_during_training_stops_the_run(tmp_path: Path) -> None:
    """The check is not of the rehearsal alone."""
    changes = {"built": SOUND["built"] + "; self.seen = 0", "after": "self.seen += 1"}
    loss = "tasks.query_x.flatten(1).sum(1) * self.weight if self.seen < 2 else self.weight.sum()"
    method = plugin(tmp_path, **changes, loss=loss)
    said = call("run", "--method", method, "--set", "updates=3", "--out", tmp_path / "runs")
    assert said.code == 1
    assert "Tiny.loss gave shape [], where [1] was expected" in said.complaint


def test_the_traceback_of_a_plugins_exception_is_there_for_who_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FSBENCH_TRACEBACK=1 prints it before the line."""
    monkeypatch.setenv("FSBENCH_TRACEBACK", "1")
    said = call("run", "--method", plugin(tmp_path, loss="tasks.nothing"), "--dry-run")
    assert said.code == 1
    assert said.err.startswith("Traceback")
    assert "fsbench: AttributeError" in said.err


def test_in_python_the_exception_of_a_plugin_is_the_cause_of_the_error(tmp_path: Path) -> None:
    """A debugger finds it."""
    with pytest.raises(PluginError, match=r"AttributeError.*tiny\.py, line 18, in loss") as caught:
        fewshot_bench.run(plugin(tmp_path, loss="tasks.nothing"), out=tmp_path / "runs")
    assert isinstance(caught.value.__cause__, AttributeError)
    assert not (tmp_path / "runs").exists()


def test_a_fault_of_the_core_keeps_its_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no plugin's."""

    monkeypatch.setattr("fewshot_bench.runs.checks.rehearsal.check_layers", lambda: None)
    with pytest.raises(TypeError, match="takes 0 positional arguments"):
        call("run", "--method", "maml", "--dry-run")


BATCH_NORM = NET.replace("self.weight = ", "self.norm = {norm}\n        self.weight = ").format(
    norm="{norm}",
    declared=DECLARED,
    embed="self.norm(x.flatten(0, 1)).unflatten(0, x.shape[:2]).flatten(2) * self.weight, {}",
)
OWN_NORM = {
    "BatchNorm2d": ("nn.BatchNorm2d(1)", "torch's BatchNorm2d", "(network.norm)"),
    "BatchNorm2d without buffers": ("nn.BatchNorm2d(1, track_running_stats=False)", "torch's BatchNorm2d"),
    "SyncBatchNorm": ("nn.SyncBatchNorm(1)", "torch's SyncBatchNorm"),
    "InstanceNorm2d with buffers": ("nn.InstanceNorm2d(1, track_running_stats=True)", "torch's InstanceNorm2d"),
    "BatchNorm2d within": ("nn.Sequential(nn.Identity(), nn.BatchNorm2d(1))", "(network.norm.1)"),
}


def refuses(folder: Path, text: str, code: int, *words: str) -> None:
    """A dry run with this backbone ends so."""
    (folder / "net.py").write_text(text)
    command = ("--method", "prototypical-networks", "--set", f"backbone={folder / 'net.py'}:net")
    refused(call("run", *command, "--dry-run"), code, *words)


@pytest.mark.parametrize("name", OWN_NORM)
def test_a_normalisation_of_torchs_own_that_the_declared_one_does_not_reach_is_refused(name: str, tmp_path: Path) -> None:
    """With its place and what to take instead."""
    layer, *words = OWN_NORM[name]
    refuses(tmp_path, BATCH_NORM.replace("{norm}", layer), 2, *words, "GroupNorm or LayerNorm", "channels")


FINE = {
    "group": "nn.GroupNorm(1, 1)",
    "layer": "nn.LayerNorm([1, 28, 28])",
    "instance": "nn.InstanceNorm2d(1)",
    "dropout": "nn.Dropout(0.5)",
}


@pytest.mark.parametrize("name", FINE)
def test_layers_that_know_one_image_alone_are_accepted(name: str, tmp_path: Path) -> None:
    """Dropout too: it acts in training alone."""
    (tmp_path / "net.py").write_text(BATCH_NORM.replace("{norm}", FINE[name]))
    command = ("--method", "prototypical-networks", "--set", f"backbone={tmp_path / 'net.py'}:net")
    assert "run_id" in finished("run", *command, "--dry-run").out


def test_a_layer_with_fixed_statistics_is_accepted(tmp_path: Path) -> None:
    """A frozen BatchNorm that stays in evaluation mode is a map like any other."""
    still = "    def train(self, mode=True):\n        super().train(mode)\n        self.norm.eval()\n        return self\n"
    (tmp_path / "net.py").write_text(BATCH_NORM.replace("{norm}", "nn.BatchNorm2d(1)") + "\n" + still)
    command = ("--method", "prototypical-networks", "--set", f"backbone={tmp_path / 'net.py'}:net")
    assert "run_id" in finished("run", *command, "--dry-run").out


EMBEDS = {
    "centred by companions": ("x.flatten(2) * self.weight - x.flatten(2).mean(1, keepdim=True), {}", "companions"),
    "centred by all tasks": ("x.flatten(2) * self.weight - x.flatten(2).mean((0, 1)), {}", "the other tasks"),
    "in training alone": (
        "x.flatten(2) * self.weight - self.training * x.flatten(2).mean(1, keepdim=True), {}",
        "companions",
    ),
    "in evaluation alone": (
        "x.flatten(2) * self.weight - (not self.training) * x.flatten(2).mean(1, keepdim=True), {}",
        "companions",
    ),
    "counted": ("self.seen.add_(x.mean()) * 0 + x.flatten(2) * self.weight, {}", "buffer seen"),
}


@pytest.mark.parametrize("name", EMBEDS)
def test_an_embedding_that_hangs_on_other_images_is_refused(name: str, tmp_path: Path) -> None:
    """Whatever its classes are called: by what it does."""
    embed, *words = EMBEDS[name]
    text = NET.format(declared=DECLARED, embed=embed)
    text = text.replace("self.weight = ", "self.register_buffer('seen', torch.zeros(1)); self.weight = ")
    refuses(tmp_path, text, 2, *words, "channels")


def test_statistics_that_are_given_and_not_used_are_refused(tmp_path: Path) -> None:
    """The layer is declared, but normalises by the batch all the same."""
    embed = "(x - x.mean((1, 3, 4), keepdim=True)).flatten(2) * self.weight, {'a': (x.mean((1, 3, 4)), x.var((1, 3, 4)))}"
    refuses(tmp_path, NET.format(declared="features, channels = 784, {'a': 1}", embed=embed), 2, "under given statistics")


@pytest.mark.parametrize("name", sorted(set(registry.registered("backbones")) - {"mlp-40"}))
def test_every_registered_backbone_normalises_as_it_declares(name: str) -> None:
    """The check has a margin for rounding."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = network_of(name, "classification")
    assert isinstance(network, Backbone)
    check_normalisation(name, network, SHAPE)


def test_a_batch_normalisation_in_a_methods_head_is_refused(tmp_path: Path) -> None:
    """Not in its backbone alone."""
    built = SOUND["built"] + "; self.head = torch.nn.BatchNorm1d(5)"
    refused(call("run", "--method", plugin(tmp_path, built=built), "--dry-run"), 2, "torch's BatchNorm1d (head)")


@pytest.mark.parametrize("name", sorted(registry.registered("methods")))
def test_every_registered_method_passes_the_rehearsal(name: str) -> None:
    """Those of learn2learn too, which carry out their modes by layers of torch's own."""
    if registry.find("methods", name).missing():
        pytest.skip("not installed here")
    changed = ["backbone=conv4-32"] if registry.find("methods", name).load().needs_backbone else []
    resolved = resolve(Request(name, settings=tuple(changed), device="cpu"))
    assert rehearse(resolved, 64).method.info.input_shape == resolved.dataset.shape
