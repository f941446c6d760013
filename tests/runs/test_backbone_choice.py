"""A backbone with options, weights of a file, frozen; and what enters a run's id of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from fewshot_bench import arguments
from fewshot_bench.backbone_section import weights_in
from fewshot_bench.errors import DataError, FewshotError, UsageError
from fewshot_bench.plugins import registry
from fewshot_bench.recipes import apply_settings, merge
from fewshot_bench.request import Request
from fewshot_bench.results.rerun_command import Places, run_request
from fewshot_bench.results.stored_request import StoredRequest
from fewshot_bench.runs.requests.backbone_choice import BackboneChoice
from fewshot_bench.runs.requests.resolve import Resolved, resolve
from fewshot_bench.specs import BackboneSpec, TrainSpec

SHAPES: dict[str, tuple[int, ...]] = {"mlp-40": (1,)}
PLAIN = Request("prototypical-networks")


def asked(*settings: str, method: str = "prototypical-networks", backbone: str | None = None) -> Resolved:
    """A request with these settings, resolved."""
    return resolve(Request(method, backbone=backbone, settings=settings))


def weights_of(resolved: Resolved) -> dict[str, Tensor]:
    """Initial values of the backbone that a request builds."""
    assert resolved.backbone is not None
    network: nn.Module = resolved.backbone.build(resolved.dataset.shape)
    return {name: one.clone() for name, one in network.state_dict().items()}


def test_a_name_is_short_for_a_section() -> None:
    """In `--set`, by `--backbone` and in a spec; absent keys are not written."""
    by_option, by_key, by_part = asked(backbone="conv4-32"), asked("backbone=conv4-32"), asked("backbone.name=conv4-32")
    assert by_option.run_id == by_key.run_id == by_part.run_id
    assert by_option.train.model_dump()["backbone"] == {"name": "conv4-32"}
    made = by_option.train.model_dump() | {"backbone": "conv4-32"}
    assert TrainSpec.model_validate(made) == by_option.train


def test_options_reach_the_factory_and_the_id() -> None:
    """As the number of filters."""
    few = asked("backbone.options.filters=8")
    assert weights_of(few)["block1_weight"].shape[0] == 8
    assert few.run_id != asked().run_id
    assert str(few.train.backbone) == "conv4-64 (filters=8)"


WRONG = {
    "backbone.options.filtres=8": "filters",
    "backbone.wights=a": "backbone.weights",
    "backbone.options=8": "backbone.options.KEY",
    "backbone.frozen=maybe": "frozen",
    "backbone.name=3": "name",
    "backbone=[1, 2]": "name",
    "backbone.weights=3": "file",
    "backbone.weights=nowhere.safetensors": "nowhere.safetensors",
}


@pytest.mark.parametrize("setting", WRONG)
def test_a_wrong_setting_of_the_backbone_says_what_is_meant(setting: str) -> None:
    """In at most three lines."""
    with pytest.raises(FewshotError, match=WRONG[setting]) as error:
        asked(setting)
    assert str(error.value).count("\n") < 3


FACTORIES = {
    "width: int = 32": ("a", "must be a whole number, got 'a'"),
    "width=32": ("a", "must be a number, got 'a'"),
    "width: 'int' = 32": ("0.5", "must be a whole number, got 0.5"),
    "width: Literal['thin', 'wide'] = 'thin'": ("wde", "must be one of: thin, wide; got 'wde'"),
    "*, width: Annotated[int, Gt(0)] = 32": ("0", "must be a whole number > 0, got 0"),
}
NET_HEAD = "from typing import Annotated, Literal\nfrom annotated_types import Gt\n"


@pytest.mark.parametrize("takes", FACTORIES)
def test_an_option_of_another_type_than_the_factory_takes_is_refused(takes: str, tmp_path: Path) -> None:
    """By its annotation, or its default where it has none: exit 2, not an exception of the plugin's code."""
    value, said = FACTORIES[takes]
    (tmp_path / "net.py").write_text(f"{NET_HEAD}def net(shape, {takes}):\n    raise RuntimeError('built')\n")
    with pytest.raises(UsageError, match=f"backbone.options.width {said}"):
        resolve(Request("maml", settings=(f"backbone={tmp_path / 'net.py'}:net", f"backbone.options.width={value}")))


def test_an_option_of_a_type_that_no_specification_has_is_the_factorys_affair(tmp_path: Path) -> None:
    """So is one whose annotation cannot be read; null is the default that was written."""
    spec = BackboneSpec(name="net", options={"a": "x", "b": 2, "c": None, "d": 1})
    path = tmp_path / "net.py"
    path.write_text("def net(shape, a: object = None, b: 'Unknown' = 1, c: int = None, d: float = 0.5): ...\n")
    assert BackboneChoice.of(spec, reference=f"{path}:net") is not None


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (Request("nearest-centroid", backbone="conv4-32"), "takes no backbone"),
        (Request("nearest-centroid", settings=("backbone.frozen=true",)), "takes no backbone"),
        (Request("maml", backbone="conv4-32", settings=("backbone=conv4-64",)), "named twice"),
    ],
)
def test_a_backbone_that_cannot_be_meant_is_refused(request_: Request, said: str) -> None:
    """One that the method has no use for, and one that is named twice."""
    with pytest.raises(UsageError, match=said):
        resolve(request_)


Save = Callable[[dict[str, Tensor], Path], Any]
FORMS: dict[str, Save] = {
    "w.safetensors": save_file,
    "w.pt": torch.save,
    "nested.pth": lambda tensors, path: torch.save({"epoch": 3, "state_dict": tensors}, path),
    "checkpoint.safetensors": lambda tensors, path: save_file(
        {f"network.{name}": one for name, one in tensors.items()} | {"head_weight": torch.ones(2)}, path
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_weights_come_from_a_file(form: str, tmp_path: Path) -> None:
    """From safetensors, a state dict of torch's, alone or within more, and from a checkpoint of a record."""
    tensors = {name: torch.full_like(one, 0.25) for name, one in weights_of(asked()).items()}
    FORMS[form](tensors, tmp_path / form)
    found = weights_of(asked(f"backbone.weights={tmp_path / form}"))
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], one) for name, one in tensors.items())


def test_the_contents_of_a_file_of_weights_decide_the_id_and_its_place_does_not(tmp_path: Path) -> None:
    """Neither its folder nor its name stands in the specification."""
    tensors = weights_of(asked())
    for name, factor in (("a", 1), ("b", 1), ("c", 2)):
        save_file({key: factor * one for key, one in tensors.items()}, tmp_path / name)
    one, same, other = (asked(f"backbone.weights={tmp_path / name}") for name in "abc")
    assert one.run_id == same.run_id
    assert len({one.run_id, other.run_id, asked().run_id}) == 3
    assert str(tmp_path) not in one.train.model_dump_json()


def test_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    """A tensor that is missing, one too many, one of another shape."""
    tensors = weights_of(asked())
    tensors["another"] = tensors.pop("block1_scale")
    tensors["block2_shift"] = tensors["block2_shift"][:7].clone()
    save_file(tensors, tmp_path / "w")
    with pytest.raises(
        UsageError, match=r"block1_scale .* missing.*another .* nowhere.*block2_shift is .7. in place of .64."
    ):
        weights_of(asked(f"backbone.weights={tmp_path / 'w'}"))


@pytest.mark.parametrize("content", [b"", b"rubbish" * 99, b"PK\x03\x04"])
def test_a_file_that_holds_no_weights_is_said_to(content: bytes, tmp_path: Path) -> None:
    """Nothing in it is executed."""
    (tmp_path / "w").write_bytes(content)
    with pytest.raises(DataError, match="neither a safetensors file"):
        weights_of(asked(f"backbone.weights={tmp_path / 'w'}"))


def test_a_file_that_changes_before_it_is_read_is_refused(tmp_path: Path) -> None:
    """The id is that of the first."""
    save_file(weights_of(asked()), tmp_path / "w")
    resolved = asked(f"backbone.weights={tmp_path / 'w'}")
    save_file({"x": torch.ones(1)}, tmp_path / "w")
    with pytest.raises(DataError, match="changed"):
        weights_of(resolved)


@pytest.mark.parametrize("name", ["maml", "reptile", "relation-networks", "baseline"])
def test_a_frozen_backbone_keeps_its_parameters(name: str) -> None:
    """An update moves the others alone."""
    from fewshot_bench.runs.plan import Plan
    from fewshot_bench.runs.session import Session

    resolved = asked(
        "backbone.frozen=true", "updates=2", "train.split=train+val", "selection=last", "lr_halve_every=null", method=name
    )
    from fewshot_bench.data.prepare import prepare
    from fewshot_bench.runs.listener import Listener

    prepared = prepare(resolved.train.dataset, resolved.dataset, Listener().preparing("glyphs"))  # type: ignore[arg-type]
    session = Session.open(resolved, prepared, Plan("cpu", 1, 4, 4))
    before = {key: one.clone() for key, one in session.method.state_dict().items()}
    trainer = session.trainer(Path())
    trainer.save = lambda: None  # type: ignore[method-assign]
    trainer.train(Listener())
    after = session.method.state_dict()
    frozen = {key for key, one in session.method.named_parameters() if not one.requires_grad}
    assert frozen
    assert all(torch.equal(before[key], after[key]) for key in frozen)
    assert any(not torch.equal(before[key], after[key]) for key, _ in session.method.named_parameters() if key not in frozen)


def test_a_method_that_has_nothing_left_to_train_says_so() -> None:
    """Prototypical networks are a backbone alone; without updates they are tested as they are."""
    frozen = asked("backbone.frozen=true")
    with pytest.raises(UsageError, match="nothing to train"):
        frozen.build((1, 28, 28), 0)
    asked("backbone.frozen=true", "updates=0").build((1, 28, 28), 0)


@pytest.mark.parametrize("name", registry.registered("backbones"))
def test_no_backbone_of_ours_takes_its_initial_values_from_elsewhere(name: str) -> None:
    """So that their ids are the same on every platform."""
    choice = BackboneChoice.of(BackboneSpec(name=name))
    assert choice is not None
    assert choice.reads(SHAPES.get(name, (3, 84, 84))) is None


READS = """
import torch
from fewshot_methods.backbones.conv4 import conv4_32


def reads(input_shape):
    network = conv4_32(input_shape)
    with torch.no_grad():
        network.block2_weight.copy_(torch.load({file!r}, weights_only=True))
    return network
"""


def test_a_file_that_a_factory_reads_on_its_own_changes_the_id(tmp_path: Path) -> None:
    """Another content, another run."""
    file, code = tmp_path / "own.pt", tmp_path / "own_network.py"
    code.write_text(READS.format(file=str(file)))
    ids = []
    for seed in (1, 2, 1):
        torch.save(torch.randn(32, 32, 3, 3, generator=torch.Generator().manual_seed(seed)), file)
        ids.append(asked(backbone=f"{code}:reads").run_id)
    assert ids[0] == ids[2] != ids[1]


def test_a_part_is_set_over_a_recipes_section() -> None:
    """What it says stays, but for the part; a name alone replaces all of it."""
    recipe = merge({"train": {"backbone": {"name": "conv4-32", "options": {"filters": 8, "eps": 0.1}}}})
    part = apply_settings(recipe, ["backbone.options.filters=16", "train.backbone.frozen=true"], {})
    wanted = {"name": "conv4-32", "options": {"filters": 16, "eps": 0.1}, "frozen": True}
    assert part["train"]["backbone"] == wanted
    assert apply_settings(part, ["backbone=conv4-64"], {})["train"]["backbone"] == "conv4-64"


SECTIONS: list[dict[str, Any]] = [
    {"backbone": "conv4-32"},
    {"backbone": {"name": "conv4-32", "frozen": True}},
    {"train": {"backbone": {"name": "conv4-64", "options": {"filters": 8}}}},
    {"backbone.name": "conv4-32", "backbone.frozen": True},
]


@pytest.mark.parametrize("settings", SECTIONS)
def test_the_command_of_a_record_asks_for_the_same_backbone(settings: dict[str, Any]) -> None:
    """However it was asked for."""
    asked_for = Request("r2d2", settings=arguments.settings(settings))
    resolved = resolve(asked_for)
    content = {
        "train": resolved.train.model_dump(mode="json"),
        "method": {},
        "data": {},
        "results": [made(resolved, asked_for)],
    }
    again = run_request(content, content["results"][0]).settings
    assert resolve(Request("r2d2", settings=again)).train == resolved.train


def made(resolved: Resolved, request: Request) -> dict[str, Any]:
    """A result, as far as its command needs it."""
    test, stored = resolved.test.model_dump(mode="json"), StoredRequest.of(request).as_json()
    return {"test": test, "metric": "accuracy", "request": stored}


def test_the_command_of_a_record_names_a_file_of_weights_without_its_folder(tmp_path: Path) -> None:
    """On this machine, where it is known, with it."""
    save_file(weights_of(asked(backbone="conv4-32")), tmp_path / "w.safetensors")
    settings = ("backbone=conv4-32", f"backbone.weights={tmp_path / 'w.safetensors'}")
    resolved = asked(*settings)
    content = {
        "train": resolved.train.model_dump(mode="json"),
        "method": {"weights_file": "w.safetensors"},
        "data": {},
        "results": [made(resolved, Request("prototypical-networks", settings=settings))],
    }
    elsewhere = run_request(content, content["results"][0]).settings
    here = run_request(content, content["results"][0], Places(weights=weights_in(settings))).settings
    assert [one for one in elsewhere if "weights" in one] == ['backbone.weights="w.safetensors"']
    assert asked(*here).train == resolved.train
