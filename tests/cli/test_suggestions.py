"""What an error suggests is accepted: a wrong command, what it says to write, and that command planned without complaint."""

import shlex
from pathlib import Path

import pytest
from command_line import LINEAR, PIXELS, assert_refused, call, finished, only_run
from picture_files import plain, write

from fewshot_bench.episodes.protocols import PROTOCOLS
from fewshot_bench.plugins import registry

ONE = ("--method", "maml")
PROTO = ("--method", "prototypical-networks")
SINUSOID = ("--method", "maml", "--dataset", "sinusoid")
CUSTOM = (*PROTO, "--protocol", "custom")

SUGGESTED: dict[str, tuple[tuple[str, ...], str, tuple[str, ...]]] = {
    "another case": (("--method", "MAML"), "Did you mean 'maml'?", ONE),
    "without hyphens": (("--method", "PrototypicalNetworks"), "Did you mean 'prototypical-networks'?", PROTO),
    "the beginning of a name": (("--method", "proto"), "Did you mean 'prototypical-networks'", PROTO),
    "a data set in capitals": ((*PROTO, "--dataset", "Glyphs"), "Did you mean 'glyphs'?", PROTO),
    "a backbone without a hyphen": (
        (*PROTO, "--set", "backbone=Conv464"),
        "Did you mean 'conv4-64'?",
        (*PROTO, "--set", "backbone=conv4-64"),
    ),
    "a protocol in capitals": (
        (*PROTO, "--protocol", "Standard"),
        "Did you mean 'standard'?",
        (*PROTO, "--protocol", "standard"),
    ),
    "a recipe misspelt": ((*ONE, "--recipe", "defualt"), "Did you mean 'default'", (*ONE, "--recipe", "default")),
    "the seed of a training": ((*PROTO, "--set", "seed=3"), "--seeds 3 sets the training's", (*PROTO, "--seeds", "3")),
    "a key of several sections": (
        (*ONE, "--set", "inner_steps=3"),
        "method.inner_steps (the hyper-parameter)",
        (*ONE, "--set", "method.inner_steps=3"),
    ),
    "ways by a setting": ((*PROTO, "--set", "ways=3"), "--ways sets all of them", (*PROTO, "--ways", "3")),
    "a method by a setting": ((*PROTO, "--set", "method=maml"), "use the option --method", ONE),
    "a recipe by a setting": ((*ONE, "--set", "recipe=default"), "option --recipe", (*ONE, "--recipe", "default")),
    "a number with an exponent": ((*ONE, "--set", "updates=1e3"), "(write 1000)", (*ONE, "--set", "updates=1000")),
    "momentum without SGD": (
        (*ONE, "--set", "momentum=0.9"),
        "--set optimiser=sgd",
        (*ONE, "--set", "momentum=0.9", "--set", "optimiser=sgd"),
    ),
    "nesterov without momentum": (
        (*ONE, "--set", "nesterov=true"),
        "--set momentum=0.9 --set optimiser=sgd",
        (*ONE, *shlex.split("--set nesterov=true --set momentum=0.9 --set optimiser=sgd")),
    ),
    "nothing to select on": (
        (*ONE, "--set", "split=train+val"),
        "--set selection=last",
        (*ONE, "--set", "split=train+val", "--set", "selection=last"),
    ),
    "augmentations without brackets": (
        (*PROTO, "--set", "augment=crop,flip"),
        "--set 'train.augment=[crop,flip]'",
        (*PROTO, "--set", "train.augment=[crop,flip]"),
    ),
    "one step of the rate": (
        (*PROTO, "--set", "lr_steps=[2, 0.1]"),
        "--set 'train.lr_steps=[[500, 0.001], [800, 0.0001]]'",
        (*PROTO, "--set", "lr_halve_every=null", "--set", "train.lr_steps=[[500, 0.001], [800, 0.0001]]"),
    ),
    "two schedules": (
        (*PROTO, "--set", "lr_steps=[[2, 0.1]]", "--set", "lr_halve_every=5"),
        "--set lr_halve_every=null",
        (*PROTO, "--set", "lr_steps=[[2, 0.1]]", "--set", "lr_halve_every=null"),
    ),
    "a transductive test": (
        (*PROTO, "--set", "test.normalisation=joint"),
        "--set test.normalisation=running or --set test.normalisation=support",
        (*PROTO, "--set", "test.normalisation=support"),
    ),
    "a transductive test of its own protocol": (
        (*PROTO, "--set", "test.normalisation=joint"),
        "--protocol standard-transductive",
        (*PROTO, "--set", "test.normalisation=joint", "--protocol", "standard-transductive"),
    ),
    "queries of a protocol": (
        (*PROTO, "--queries", "5", "--episodes", "50"),
        "15 queries and 2,000 episodes, not 5 and 50",
        (*PROTO, "--queries", "5", "--episodes", "50", "--protocol", "custom"),
    ),
    "one way": ((*PROTO, "--ways", "1"), "--ways 2", (*PROTO, "--ways", "2")),
    "a validation of one way": (
        (*PROTO, "--set", "validation.ways=1"),
        "--set validation.ways=2",
        (*PROTO, "--set", "validation.ways=2"),
    ),
    "more ways than fixed outputs": (
        (*ONE, "--set", "train.ways=20"),
        "Set both with --ways 20",
        (*ONE, "--set", "train.ways=20", "--ways", "20"),
    ),
    "more support than is built for": (
        ("--method", "snail", "--protocol", "custom", "--queries", "9", "--set", "test.max_shots=6"),
        "--set train.max_shots=6",
        (
            "--method",
            "snail",
            "--protocol",
            "custom",
            "--queries",
            "9",
            "--set",
            "test.max_shots=6",
            "--set",
            "train.max_shots=6",
        ),
    ),
    "batches of episodes": ((*ONE, "--set", "batch_size=5"), "leave batch_size out", ONE),
    "a batch of more than there is": (
        ("--method", "baseline", "--set", "batch_size=20000"),
        "--set batch_size=16200",
        ("--method", "baseline", "--set", "batch_size=16200"),
    ),
    "a recipe of another data set": (
        (*ONE, "--recipe", "paper"),
        "--recipe paper@DATASET",
        (*ONE, "--recipe", "paper@omniglot"),
    ),
    "imbalance without a bound": (
        (*CUSTOM, "--set", "test.imbalanced=true"),
        "--set test.max_shots=5",
        (*CUSTOM, "--set", "test.imbalanced=true", "--set", "test.max_shots=5"),
    ),
    "a bound that is too low": (
        (*CUSTOM, "--set", "test.max_ways=3"),
        "--set test.max_ways=5",
        (*CUSTOM, "--set", "test.max_ways=5"),
    ),
    "distractors of nothing": (
        (*CUSTOM, "--set", "train.distractors=2"),
        "--set train.unlabelled=5",
        (*CUSTOM, "--set", "train.distractors=2", "--set", "train.unlabelled=5"),
    ),
    "functions have no ways": ((*SINUSOID, "--ways", "3"), "leave --ways out", SINUSOID),
    "functions have no images": ((*SINUSOID, "--set", "augment=crop"), "applies only to images", SINUSOID),
    "a protocol of another kind": (
        (*SINUSOID, "--protocol", "standard"),
        "one of standard-regression, custom",
        (*SINUSOID, "--protocol", "standard-regression"),
    ),
    "a method that learns no functions": (
        ("--method", "reptile", "--dataset", "sinusoid"),
        "does not support regression, which sinusoid needs",
        SINUSOID,
    ),
    "no inner steps": ((*PROTO, "--set", "test.inner_steps=3"), "leave it out", PROTO),
    "steps of nothing": ((*ONE, "--set", "test.inner_steps=0"), "test.inner_steps", ONE),
    "an option and a setting": (
        (*PROTO, "--protocol", "finn", "--set", "test.protocol=snell"),
        "--protocol finn and --set test.protocol=snell contradict each other",
        (*PROTO, "--protocol", "finn"),
    ),
    "several ways": ((*PROTO, "--ways", "5,10"), "give the command once for each", (*PROTO, "--ways", "10")),
    "no ways": ((*PROTO, "--shots", "0"), "at least 1", (*PROTO, "--shots", "1")),
    "several data sets and no test": (
        (*PROTO, "--dataset", "glyphs+omniglot"),
        "Add --test-dataset glyphs",
        (*PROTO, "--dataset", "glyphs+omniglot", "--test-dataset", "glyphs"),
    ),
    "more ways than classes": (
        ("--method", "nearest-centroid", "--ways", "400"),
        "at most --ways 324",
        ("--method", "nearest-centroid", "--ways", "324"),
    ),
    "more ways than classes of three splits": (
        (*PROTO, *shlex.split("--ways 400 --set train.ways=900 --set validation.ways=900")),
        "Training: 900 ways are more than the 810 classes of this split: at most --set train.ways=810.\n"
        "Validation: 900 ways are more than the 216 classes of this split: at most --set validation.ways=216.\n"
        "Test: 400 ways are more than the 324 classes of this split: at most --ways 324.",
        (*PROTO, *shlex.split("--ways 324 --set train.ways=810 --set validation.ways=216")),
    ),
    "more ways than classes under fixed outputs": ((*ONE, "--ways", "400"), "at most --ways 216", (*ONE, "--ways", "216")),
    "more shots than images": (
        ("--method", "nearest-centroid", "--shots", "6"),
        "--shots 5",
        ("--method", "nearest-centroid", "--shots", "5"),
    ),
    "more queries than images": (
        ("--method", "nearest-centroid", "--protocol", "custom", "--queries", "20"),
        "for example --queries 19",
        ("--method", "nearest-centroid", "--protocol", "custom", "--queries", "19"),
    ),
    "more training queries and ways than there are": (
        (*PROTO, *shlex.split("--set train.ways=900 --set train.queries=30")),
        "at most --set train.ways=810; 1 shot and 30 queries need 31 images of each class",
        (*PROTO, *shlex.split("--set train.ways=810 --set train.queries=19")),
    ),
    "more unlabelled images than there are": (
        (*CUSTOM, *shlex.split("--set test.unlabelled=9 --set test.distractors=2")),
        "at most --set test.unlabelled=4",
        (*CUSTOM, *shlex.split("--set test.unlabelled=4 --set test.distractors=2")),
    ),
    "more distractors than classes": (
        (*CUSTOM, *shlex.split("--set test.unlabelled=1 --set test.distractors=400")),
        "--set validation.distractors=211.\nTest: 5 ways and 400 distractors are more than the 324 classes of this split: "
        "at most --set test.distractors=319",
        (*CUSTOM, *shlex.split("--set test.unlabelled=1 --set test.distractors=319 --set validation.distractors=211")),
    ),
}


@pytest.mark.parametrize("name", SUGGESTED)
def test_what_an_error_suggests_is_accepted(name: str) -> None:
    """The wrong command says it, and the command that follows it is planned."""
    wrong, words, right = SUGGESTED[name]
    assert_refused(call("run", *wrong, "--device", "cpu", "--dry-run"), 2, words)
    accepted = call("run", *right, "--device", "cpu", "--dry-run")
    assert accepted.code == 0 or "No Omniglot" in accepted.err, accepted.err


@pytest.mark.parametrize("value", ["1_0", "0x5", "٣", "5.0", "1" * 5000, "", "+-5"])
def test_a_number_of_an_option_is_written_in_digits(value: str) -> None:
    """Nothing that Python alone takes for a number."""
    assert_refused(call("run", *PROTO, "--ways", value, "--dry-run"), 2, "--ways", "is not a whole number")
    assert_refused(call("run", *PROTO, "--seeds", value, "--dry-run"), 2, "--seeds")


def test_a_command_that_is_suggested_is_quoted(tmp_path: Path) -> None:
    """A path with a space is one word of it."""
    spaced = tmp_path / "my runs"
    said = call("test", "nothing", "--out", spaced)
    assert shlex.split(said.complaint.splitlines()[-1].removeprefix("See: ")) == [
        "fsbench",
        "list",
        "runs",
        "--out",
        str(spaced),
    ]
    method = spaced / "mine.py"
    method.parent.mkdir()
    method.write_text(Path(LINEAR.partition(":")[0]).read_text())
    assert registry.find("methods", f"{method}:Linear").said == shlex.quote(f"{method}:Linear")
    assert shlex.quote(f"{method}:Linear") in finished("show", f"{method}:Linear").out + "'" + str(method) + ":Linear'"
    finished(*PIXELS, "--out", spaced)
    again = finished(*PIXELS, "--out", spaced).out
    assert str(only_run(spaced)) in again


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_classes_of_two_images_can_be_tested_where_the_error_says_so(protocol: str, tmp_path: Path) -> None:
    """Under each protocol of images: never no queries or no shots; a class of one image has no remedy but leaving it out."""
    if PROTOCOLS[protocol].kind == "regression":
        pytest.skip("functions have no images")
    for images in (1, 2, 3):
        root = tmp_path / str(images)
        names = [(split, c, i) for split in ("train", "val", "test") for c in range(3) for i in range(images)]
        write(root, {f"{split}/{split}{c}/{i}.png": plain(9 * n) for n, (split, c, i) in enumerate(names)})
        base = ("run", "--method", "nearest-centroid", "--dataset", "folder", "--data-root", root, "--set", "data.side=8")
        finished("data", "get", "folder", "--data-root", root, "--set", "data.side=8")
        common = (*base, "--ways", "3", "--dry-run")
        said = call(*common, "--protocol", protocol, "--shots", "2")
        if images == 1:
            assert_refused(said, 2, "leave that class out")
            continue
        suggestion = shlex.split(said.complaint.partition("for example ")[2].strip().rstrip("."))
        assert "0" not in suggestion
        fixed = suggestion if "--protocol" in suggestion else [*suggestion, "--protocol", protocol]
        assert call(*common, *fixed).code == 0 or call(*common, "--shots", "2", *fixed).code == 0
