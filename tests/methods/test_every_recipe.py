"""Every recipe of every method of ours: it resolves for what it says it is for, and none ships unrun."""

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from small_archive import pack

from fewshot_bench import run
from fewshot_bench.plugins import registry
from fewshot_bench.recipes import describe_for
from fewshot_bench.request import Request
from fewshot_bench.results.records import Record
from fewshot_bench.runs.requests.resolve import Resolved, resolve
from fewshot_leaderboard.published import SAME, all_published

SYNTHETIC = f"{Path(__file__).parents[1] / 'support' / 'synthetic_images.py'}:SyntheticImages"
ARCHIVE = f"{Path(__file__).parents[1] / 'support' / 'small_archive.py'}:SmallArchive"
CONTROLLED_IMAGES = 600_000


OURS = [
    name
    for name, plugin in registry.registered("methods").items()
    if plugin.distribution.startswith("fewshot-bench ") and not plugin.missing()
]
TRAINED = [name for name in OURS if registry.find("methods", name).load().trained]
PEERS = [name for name in TRAINED if name.startswith("l2l-")]


def entries(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each entry of a method's recipes, with the recipe's name."""
    for recipe, found in registry.find("methods", name).card().get("recipes", {}).items():
        yield from ((recipe, entry) for entry in found)


def requests(name: str) -> Iterator[tuple[Request, dict[str, Any]]]:
    """A request that takes each entry, and the entry; one that leaves the shots open is asked for 1 and for 5."""
    for recipe, entry in entries(name):
        wanted = entry.get("for", {})
        for shots in [wanted["shots"]] if "shots" in wanted else [1, 5]:
            ways = None if wanted.get("dataset", "").startswith("sinusoid") else wanted.get("ways", 5)
            yield Request(name, wanted.get("dataset", "glyphs"), ways, shots, recipe=recipe), entry


REQUESTS = [request for name in TRAINED for request, _ in requests(name)]


def label(request: Request) -> str:
    """A request as the name of a test."""
    return f"{request.method}-{request.recipe}-{request.dataset}-{request.ways}w{request.shots}s"


@pytest.mark.parametrize("request_", REQUESTS, ids=label)
def test_an_entry_resolves_for_what_it_is_for(request_: Request) -> None:
    """To specs that can be carried out, with a network that fits the images."""
    resolved = resolve(replace(request_, device="cpu"))
    assert resolved.train.updates > 0
    assert sum(p.numel() for p in resolved.build_meta(resolved.dataset.shape).parameters()) > 0


@pytest.mark.parametrize("name", TRAINED)
def test_every_entry_names_where_its_values_come_from(name: str) -> None:
    """In its `source`."""
    assert all(len(entry["source"].split()) >= 4 for _, entry in entries(name))  # "This recipe's own choice."


@pytest.mark.parametrize("name", TRAINED)
def test_a_trained_method_has_the_recipes_that_a_user_expects(name: str) -> None:
    """A default for glyphs, Omniglot and CIFAR-FS, a short one for Omniglot, and `controlled` ones, for 1 and 5 shots."""
    expected = [(None, dataset) for dataset in ("glyphs", "omniglot", "cifar-fs")] + [("short", "omniglot")]
    expected += [("controlled", dataset) for dataset in ("cifar-fs", "mini-imagenet")]
    for (recipe, dataset), shots in product(expected, (1, 5)):
        assert resolve(Request(name, dataset, 5, shots, recipe=recipe, device="cpu")).train.updates > 0


PAPERS = {
    "fomaml": ("fomaml", "paper"),
    "matching-networks-fce": ("matching-networks", "paper-fce"),
    "reptile-transductive": ("reptile", "paper-transductive"),
}
"""Published names that are another method or recipe of ours."""
RERUN_ON = ("cifar-fs", "fc100")
"""Data sets on which others ran most methods again; R2-D2's paper brought the first."""
REPORTED = [
    *(
        (peer, dataset, ways, shots)
        for peer, theirs in SAME.items()
        for method, dataset, ways, shots in all_published()
        if method == theirs and dataset not in RERUN_ON
    ),
    *(
        (method, dataset, ways, shots)
        for method, dataset, ways, shots in all_published()
        if (dataset not in RERUN_ON or method == "r2d2")
    ),
    *(("maml", "sinusoid", None, shots) for shots in (5, 10)),
    *(
        ("anil", *size)
        for size in [("omniglot", 20, 1), ("omniglot", 20, 5), ("mini-imagenet", 5, 1), ("mini-imagenet", 5, 5)]
    ),
    *(("metaoptnet-ridge", dataset, 5, shots) for dataset in ("mini-imagenet", "cifar-fs") for shots in (1, 5)),
]
"""What papers print, and those benchmarks of theirs of which no number was checked."""


@pytest.mark.parametrize(("name", "dataset", "ways", "shots"), REPORTED)
def test_a_paper_recipe_for_every_benchmark_that_a_paper_reports(
    name: str, dataset: str, ways: int | None, shots: int
) -> None:
    """As far as the method and the data set are ours."""
    method, recipe = PAPERS.get(name, (name, "paper"))
    if method not in TRAINED or dataset not in registry.registered("datasets"):
        pytest.skip("not of ours")
    assert resolve(Request(method, dataset, ways, shots, recipe=recipe, device="cpu")).train.updates > 0


CONTROLLED = [request for request in REQUESTS if request.recipe == "controlled"]


@pytest.mark.parametrize("request_", CONTROLLED, ids=label)
def test_controlled_recipes_differ_in_the_method_alone(request_: Request) -> None:
    """The same network (learn2learn's own with as many filters), no augmentation, the training split, the same number of
    training images to one update."""
    spec = resolve(replace(request_, device="cpu")).train
    assert (spec.data, spec.split) == ({}, "train")
    assert spec.hparams["hidden_size"] == 64 if request_.method in PEERS else str(spec.backbone) == "conv4-64"
    assert abs(spec.images - CONTROLLED_IMAGES) <= spec.images / spec.updates


MINI = list(  # one request an entry
    {
        (request.method, request.recipe, request.ways, describe_for(entry)): request
        for name in TRAINED
        for request, entry in requests(name)
        if request.dataset == "mini-imagenet"
    }.values()
)


@pytest.mark.slow
@pytest.mark.parametrize("request_", MINI, ids=label)
def test_each_mini_imagenet_recipe_trains_20_updates(request_: Request, tmp_path: Path) -> None:
    """On synthetic images of 32 x 32 in place of 84 x 84, with its own network, tasks and optimiser."""
    resolved = resolve(replace(request_, device="cpu"))
    record = run(
        request_.method,
        ways=request_.ways,
        shots=request_.shots,
        dataset=SYNTHETIC,
        recipe=f"{request_.recipe}@mini-imagenet",
        protocol="custom",
        episodes=4,
        queries=5,
        settings={"train.updates": 20, **smaller(resolved)},
        out=tmp_path,
        device="cpu",
    )
    assert record.content["training"]["updates"] == 20
    assert all(math.isfinite(loss) for loss in losses_of(record))


def one_a_backbone() -> dict[str, Request]:
    """A recipe for mini-ImageNet of every backbone that any of them has, of few enough ways."""
    found: dict[str, Request] = {}
    for request in MINI:
        spec = resolve(replace(request, device="cpu")).train
        if (spec.ways or 0) <= 20:
            found.setdefault(str(spec.backbone or "of learn2learn"), request)
    return found


@pytest.fixture(scope="session")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the archive of `small_archive`."""
    root = tmp_path_factory.mktemp("data")
    pack(root)
    return root


@pytest.mark.slow
@pytest.mark.parametrize("request_", one_a_backbone().values(), ids=label)
def test_a_recipe_of_each_backbone_trains_on_an_archive_of_mini_imagenet(
    request_: Request, tmp_path: Path, data_root: Path
) -> None:
    """At its own 84 x 84, from JPEGs."""
    resolved = resolve(replace(request_, device="cpu"))
    record = run(
        request_.method,
        shots=request_.shots,
        dataset=ARCHIVE,
        recipe=f"{request_.recipe}@mini-imagenet",
        protocol="custom",
        episodes=2,
        queries=2,
        settings={"train.updates": 2, **smaller(resolved), **({"validation.every": 2} if resolved.train.validation else {})},
        out=tmp_path,
        device="cpu",
        data_root=data_root,
    )
    assert record.content["training"]["updates"] == 2
    assert all(math.isfinite(loss) for loss in losses_of(record))


SECOND_GENERATION = {"resnet12", "resnet18", "wrn-28-10", "conv4-rfs", "conv-64-96-128-256"}


def network_of(entry: dict[str, Any]) -> str | None:
    """The backbone that an entry names."""
    backbone = entry.get("train", {}).get("backbone")
    return backbone["name"] if isinstance(backbone, dict) else backbone


def of_second_generation() -> list[Request]:
    """A request for each entry for CIFAR-FS whose network is one of these."""
    found: dict[tuple[str, str | None], Request] = {}
    for name in TRAINED:
        for request, entry in requests(name):
            if request.dataset == "cifar-fs" and network_of(entry) in SECOND_GENERATION:
                found.setdefault((name, request.recipe), request)
    return list(found.values())


@pytest.mark.slow
@pytest.mark.parametrize("request_", of_second_generation(), ids=label)
def test_each_cifar_fs_recipe_of_a_second_generation_network_trains_two_updates(request_: Request, tmp_path: Path) -> None:
    """On synthetic images of 32 x 32, with its own network, augmentation and optimiser, two images or a small task an
    update."""
    spec = resolve(replace(request_, device="cpu")).train
    few = {"meta_batch_size": 1, "queries": 1} if spec.batch_size is None else {"batch_size": 2}
    record = run(
        request_.method,
        shots=request_.shots,
        dataset=SYNTHETIC,
        recipe=f"{request_.recipe}@cifar-fs",
        protocol="custom",
        episodes=2,
        queries=1,
        settings={
            "train.updates": 2,
            "validation.every": 2,
            "validation.episodes": 2,
            "validation.queries": 1,
            **{f"train.{key}": value for key, value in few.items()},
        },
        out=tmp_path,
        device="cpu",
    )
    assert record.content["training"]["updates"] == 2
    assert all(math.isfinite(loss) for loss in losses_of(record))


def losses_of(record: Record) -> list[float]:
    """Its learning curve."""
    lines = (record.folder / "log.jsonl").read_text().splitlines()
    assert lines
    return [json.loads(line)["loss"] for line in lines]


def smaller(resolved: Resolved) -> dict[str, Any]:
    """Settings that spare time without leaving out any code: fewer tasks an update, one short validation."""
    spec = resolved.train
    fewer: dict[str, Any] = {"train.meta_batch_size": 1} if spec.batch_size is None else {"train.batch_size": 16}
    return fewer | ({"validation.every": 20, "validation.episodes": 2} if spec.validation else {})


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINED)
def test_an_eighth_of_the_glyphs_recipe_lowers_the_loss_and_beats_chance(name: str, tmp_path: Path) -> None:
    """On test classes, by more than twice the half-width of its 95 % interval."""
    spec = resolve(Request(name, "glyphs", device="cpu")).train
    updates = spec.updates // 8
    settings: dict[str, Any] = {"train.updates": updates}
    if spec.validation:
        settings |= {"validation.every": max(1, updates // 4), "validation.episodes": 2}
    record = run(name, settings=settings, protocol="custom", episodes=200, queries=5, out=tmp_path, device="cpu")
    losses = losses_of(record)
    assert losses[-1] < losses[0]
    result = record.results[0]
    assert result["mean"] - 2 * (result["mean"] - result["low"]) > 1 / 5
