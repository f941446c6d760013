"""What a user can get wrong: one to three lines that say what was given and what would be right, and nothing is lost."""

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import ZipFile

import pytest
from command_line import LINEAR, NAMED, PIXELS, TINY, assert_refused, call, content, finished, only_run, snapshot
from picture_files import pack, plain

from fewshot_bench.results.record_models import SCHEMA
from fewshot_bench.results.records import load_record

METHOD = """
from fewshot_bench import Method

class Tiny(Method):
    needs_backbone = False

    def __init__(self, hparams, info, backbone):
        super().__init__(hparams, info, backbone)
        import torch
        self.weight = torch.nn.Parameter(torch.ones(1))

    def loss(self, tasks):
        return {loss}

    def predict(self, tasks):
        return tasks.query_x.new_zeros(*tasks.query_x.shape[:2], tasks.ways)
"""


UNKNOWN = {
    "method": (["--method", "mmal"], "'mmal'", "'maml'", "fsbench list methods"),
    "short name": (["--method", "protonet"], "Did you mean 'prototypical-networks'?", "fsbench list methods"),
    "data set": (["--method", "maml", "--dataset", "glyph"], "'glyph'", "'glyphs'", "fsbench list datasets"),
    "hyper-parameter": (["--method", "maml", "--set", "inner_rl=1"], "'inner_rl'", "'inner_lr'", "--dry-run"),
    "key of a section": (["--method", "maml", "--set", "train.update=1"], "'train.update'", "'train.updates'"),
    "key of the data": (["--method", "maml", "--set", "data.size=84"], "'data.size'", "--dry-run"),
    "backbone": (["--method", "maml", "--set", "backbone=conv4"], "'conv4'", "'conv4-64'"),
    "device": (["--method", "maml", "--device", "gpu"], "'gpu'", "Available: auto, cpu"),
    "recipe": (["--method", "maml", "--recipe", "papr"], "'papr'", "'paper'", "fsbench show maml"),
    "recipe for a size": (["--method", "maml", "--recipe", "paper"], "'paper' for glyphs", "There are:", "my.yaml"),
    "recipe for other ways": (
        ["--method", "maml", "--recipe", "paper@omniglot", "--ways", "9"],
        "for omniglot, 9-way",
        "20-way",
    ),
    "recipe of no data set": (["--method", "maml", "--recipe", "short@glyphs"], "'short' for glyphs,", "are: omniglot"),
    "recipe of a misspelt data set": (["--method", "maml", "--recipe", "default@omniglott"], "'omniglott'", "'omniglot'"),
    "recipe of an empty data set": (["--method", "maml", "--recipe", "default@"], "no data set after @", "list datasets"),
    "recipe of no ending": (["--method", "maml", "--recipe", "/dev/stdin"], "/dev/stdin", "must end in .yaml"),
    "own option": (["--method", "maml", "--set", "train.seed=1"], "'train.seed'", "--seeds"),
    "network of images": (["--method", "maml", "--dataset", "sinusoid", "--set", "backbone=conv4-64"], "images, not points"),
    "protocol": (["--method", "maml", "--protocol", "standrad"], "'standrad'", "'standard'"),
    "option": (["--method", "maml", "--shot", "5"], "--shot", "--shots", "fsbench run --help"),
    "method missing": ([], "--method", "fsbench run --help"),
    "existing": (["--method", "maml", "--on-existing", "ask"], "'ask'", "reuse, error or overwrite"),
    "seed section": (["--method", "maml", "--set", "lr"], "key=value", "'lr'"),
    "no backbone": (["--method", "maml", "--set", "backbone=null"], "maml needs a backbone", "conv4-64"),
    "test of the unknown": (["--method", "maml", "--set", "test.normalisation=batch"], "'batch'", "support"),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_an_unknown_name_is_refused_with_the_nearest_valid_ones(name: str, tmp_path: Path) -> None:
    """Exit 2; what was given, what exists, the command that lists it."""
    arguments, *words = UNKNOWN[name]
    assert_refused(call("run", *arguments, "--out", tmp_path / "runs"), 2, *words)
    assert snapshot(tmp_path) == {}


def test_an_unknown_command_is_refused_with_the_nearest_valid_one() -> None:
    """Exit 2."""
    assert_refused(call("rum"), 2, "'rum'", "run", "fsbench --help")


SIZES = {
    "--ways": ("0", "-1", "five", "1.5", ""),
    "--shots": ("0", "-1", "one"),
    "--queries": ("0", "-1", "many"),
    "--episodes": ("0", "-1", "1", "all"),
    "--seeds": ("-1", "4-2", "a", "0-", "1,1", "", "4294967296", "0-4000", "0-1000000000000", "0-99999999"),
}


@pytest.mark.parametrize(("option", "value"), [(option, value) for option, values in SIZES.items() for value in values])
def test_a_size_that_is_no_positive_number_is_refused(option: str, value: str, tmp_path: Path) -> None:
    """Exit 2; the option or key and the value that was given."""
    said = call("run", "--method", "nearest-centroid", "--protocol", "custom", option, value, "--out", tmp_path / "runs")
    assert_refused(said, 2, option.removeprefix("--"), value)
    assert snapshot(tmp_path) == {}


SETTINGS = {
    "updates=0.5": "must be a whole number",
    "updates=-1": "must be at least 0",
    "updates=many": "must be a whole number",
    "lr=0": "must be greater than 0",
    "lr=nan": "not finite, and no key takes one",
    "inner_lr=inf": "not finite, and no key takes one",
    "inner_lr=fast": "a number > 0",
    "first_order=1": "true or false",
    "method.inner_steps=true": "a whole number from 1 to",
    "meta_batch_size=0": "greater than 0",
    "validation.every=0": "greater than 0",
    "validation.episodes=-4": "greater than 0",
    "backbone=[conv4-64]": "must be a name or a mapping",
    "dtype=float16": "must be 'float32' or 'float64'",
    "split=test": "train+val",
    "test.inner_steps=1000000000": "100000",
    "validation.inner_steps=1000000000": "100000",
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_setting_of_a_wrong_type_or_range_is_refused(setting: str, tmp_path: Path) -> None:
    """Exit 2; the key, the value and what is expected."""
    key, _, value = setting.partition("=")
    said = call("run", "--method", "maml", "--set", setting, "--out", tmp_path / "runs")
    assert_refused(said, 2, key.rpartition(".")[2], value.strip("[]"), SETTINGS[setting])
    assert snapshot(tmp_path) == {}


@pytest.mark.parametrize("setting", ["lr=0.1", "updates=5", "validation.every=5", "selection=best"])
def test_a_setting_of_the_training_of_what_trains_nothing_is_refused(setting: str, tmp_path: Path) -> None:
    """Exit 2: it would decide nothing, and make another id. What is so without it may be said."""
    command = ["run", "--method", "nearest-centroid", "--protocol", "custom", "--episodes", "4", "--out", tmp_path / "runs"]
    key = setting.partition("=")[0]
    assert_refused(call(*command, "--set", setting), 2, "nearest-centroid trains nothing", f"{key} out")
    assert snapshot(tmp_path) == {}
    finished(*command, "--set", "updates=0", "--set", "validation=none", "--set", "backbone=null")


IMPOSSIBLE = {
    "more ways than classes": (["--ways", "400"], "400 ways", "at most --ways 324"),
    "more images than a class has": (["--shots", "6"], "6 shots and 15 queries", "shots + queries = 20"),
    "other episodes than the protocol's": (["--protocol", "standard", "--episodes", "50"], "2,000", "--protocol custom"),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_an_impossible_size_is_refused_before_any_work_with_one_that_fits(name: str, tmp_path: Path) -> None:
    """Exit 2; the number that would fit."""
    arguments, *words = IMPOSSIBLE[name]
    assert_refused(call("run", "--method", "nearest-centroid", *arguments, "--out", tmp_path / "runs"), 2, *words)
    assert snapshot(tmp_path) == {}


RECIPES = {
    "not YAML": ("train: [1, 2", "is not YAML (line"),
    "not text": (b"\xff\xfe\x00", "Cannot read"),
    "a list": ("- train", "mapping of keys to values, not list"),
    "empty": ("", "mapping of keys to values, not NoneType"),
    "unknown section": ("training: {updates: 3}", "'training'", "'train'"),
    "a section that is a number": ("train: 3", "section 'train' must be a mapping, not int"),
    "unknown key": ("train: {update: 3}", "'update'", "'updates'"),
    "unknown hyper-parameter": ("method: {inner_rate: 3}", "'inner_rate'", "inner_lr"),
    "a key that is a number": ("method: {1: 2}", "section 'method'", "1"),
    "text for a number": ("train: {updates: soon}", "updates", "a whole number", "'soon'"),
    "a list for a number": ("method: {inner_lr: [1]}", "inner_lr", "a number > 0", "[1]"),
    "a mapping for a number": ("validation: {every: {a: 1}}", "every", "a whole number", "{'a': 1}"),
    "an infinite number": ("train: {lr: .inf}", "lr", "finite", "inf"),
    "a list for a protocol": ("test: {protocol: [standard]}", "protocol", "standard"),
    "an object": ("train: !!python/object/apply:os.getcwd []", "(line 1): train", "tags are not read"),
}


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_file_that_is_no_recipe_is_refused(name: str, tmp_path: Path) -> None:
    """Exit 2; what the file holds and what it should hold."""
    text, *words = RECIPES[name]
    recipe = tmp_path / "my.yaml"
    recipe.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert_refused(call("run", "--method", "maml", "--recipe", recipe, "--out", tmp_path / "runs"), 2, *words)
    assert not (tmp_path / "runs").exists()


def test_a_recipe_file_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    """Exit 2, with its name."""
    said = call("run", "--method", "maml", "--recipe", tmp_path / "none.yaml", "--out", tmp_path / "runs")
    assert_refused(said, 2, "none.yaml", "No such file")


def truncated(root: Path) -> None:
    """A data root whose first archive was cut while it was copied."""
    for part in ("images_background", "images_evaluation"):
        with ZipFile(root / f"{part}.zip", "w") as archive:
            archive.writestr(f"{part}/a.png", b"x" * 1000)
    path = root / "images_background.zip"
    path.write_bytes(path.read_bytes()[:500])


ROOTS: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "missing": (lambda root: root.rmdir(), "No such folder", "--data-root"),
    "a file": (lambda root: (root.rmdir(), root.write_text("")), "No Omniglot in", "images_background.zip"),
    "empty": (lambda root: None, "No Omniglot in", "images_background.zip"),
    "truncated": (truncated, "images_background.zip is damaged or truncated", "download it again"),
}


@pytest.mark.parametrize("name", ROOTS)
def test_a_data_root_without_the_data_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 3; the folder, what was looked for, and no half-made cache."""
    arrange, *words = ROOTS[name]
    root, cache = tmp_path / "root", tmp_path / "cache"
    root.mkdir()
    arrange(root)
    monkeypatch.setenv("FSBENCH_CACHE", str(cache))
    said = call(*PIXELS, "--dataset", "omniglot", "--data-root", root, "--out", tmp_path / "runs")
    assert_refused(said, 3, str(root), *words)
    assert not (tmp_path / "runs").exists()
    assert all(name.startswith((".locks", "kernels")) for name in snapshot(cache))


def test_an_output_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    """Exit 1; a file stands where the folder should be, and stays."""
    (tmp_path / "runs").write_text("mine")
    assert_refused(call(*PIXELS, "--out", tmp_path / "runs"), 1, f"Cannot write {tmp_path / 'runs'}", "--out")
    assert snapshot(tmp_path) == {"runs": b"mine"}


def test_a_cache_that_cannot_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 1; the folder and the variable that names another."""
    (tmp_path / "cache").write_text("mine")
    monkeypatch.setenv("FSBENCH_CACHE", str(tmp_path / "cache"))
    assert_refused(call(*PIXELS, "--out", tmp_path / "runs"), 1, str(tmp_path / "cache"), "FSBENCH_CACHE")


@pytest.mark.parametrize("below", ["", "below"], ids=["a file", "below a file"])
def test_a_cache_that_an_archive_cannot_be_unpacked_into_is_refused(
    below: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 1; the archive, the folder and the variable that names another."""
    cache = tmp_path / "cache" / below
    (tmp_path / "cache").write_text("mine")
    monkeypatch.setenv("FSBENCH_CACHE", str(cache))
    photos = pack(tmp_path / "photos.tar.gz", {f"{name}/{i}.png": plain(i) for name in "abcde" for i in range(20)})
    said = call(*PIXELS, "--dataset", "folder", "--data-root", photos, "--out", tmp_path / "runs")
    assert_refused(said, 1, f"Cannot unpack {photos} into {cache}: ", "FSBENCH_CACHE")
    assert (tmp_path / "cache").read_text() == "mine"


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """No file can grow beyond `size` bytes: the writes themselves fail, as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


FULL = {"state.safetensors": 1000, "episodes.parquet": 100}


@pytest.mark.parametrize("name", FULL)
def test_a_full_disk_while_a_record_is_written_loses_nothing_that_was_there(name: str, tmp_path: Path) -> None:
    """Exit 1 with the file's name; the record that was being replaced stays, and the same command ends the work."""
    command = (*(TINY if name.startswith("state") else PIXELS), "--out", tmp_path)
    finished(*command)
    folder = only_run(tmp_path)
    before = snapshot(folder)
    with files_up_to(FULL[name]):
        said = call(*command, "--on-existing", "overwrite")
    assert_refused(said, 1, f"Cannot write {folder / name}", "File too large", "Nothing that was there is lost")
    assert snapshot(folder) == before
    finished(*command, "--on-existing", "overwrite")


@pytest.mark.parametrize("name", ["checkpoint.safetensors", "log.jsonl", "episodes.parquet", "record.json"])
def test_a_disk_that_fills_up_at_any_file_leaves_a_run_that_the_same_command_ends(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 1 with the file's name; training is not repeated once there is room again."""
    rename = Path.replace

    def full(source: Path, target: Path) -> Path:
        if target.name == name:
            raise OSError(28, "No space left on device")
        return rename(source, target)

    with monkeypatch.context() as disk:
        disk.setattr(Path, "replace", full)
        said = call(*TINY, "--out", tmp_path)
    assert_refused(said, 1, f"/{name}: No space left on device", "Nothing that was there is lost")
    assert not list(tmp_path.rglob("record.json"))
    assert not list(tmp_path.rglob("*.tmp"))
    assert "Going on from update 6." in finished(*TINY, "--out", tmp_path).err


@pytest.mark.parametrize("size", [100, 1500])
def test_a_full_disk_while_a_result_is_added_leaves_the_record_as_it_was(size: int, tmp_path: Path) -> None:
    """Exit 1 at the scores (100 bytes) or at the record (1,500); its earlier results stay readable."""
    finished(*PIXELS, "--out", tmp_path)
    folder = only_run(tmp_path)
    before = content(folder)
    with files_up_to(size):
        said = call("test", folder, "--episodes", "9")
    assert_refused(said, 1, "Cannot write", "File too large")
    assert content(folder) == before
    record = load_record(folder)
    assert len(record.scores(record.results[0]["id"])) == 8
    finished("test", folder, "--episodes", "9")
    assert len(load_record(folder).results) == 2


def test_a_full_disk_while_data_are_prepared_leaves_no_half_made_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 1; the cache's folder and the reason."""
    monkeypatch.setenv("FSBENCH_CACHE", str(tmp_path / "cache"))
    with files_up_to(2**20):
        said = call(*PIXELS, "--out", tmp_path / "runs")
    assert_refused(said, 1, f"Cannot write the cache {tmp_path / 'cache'}", "File too large")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [".locks"]


BROKEN = {
    "a module that is missing": ("import nothing_of_this_name", "ModuleNotFoundError", "nothing_of_this_name"),
    "a syntax error": ("class Tiny(", "SyntaxError", "plugin"),
    "an exception with many lines": ("raise ValueError('one\\ntwo\\nthree\\nfour')", "ValueError", "one"),
    "a call of exit": ("raise SystemExit(0)", "SystemExit", "plugin"),
    "no such class": ("class Other: ...", "Tiny", "plugin"),
    "another kind of class": ("class Tiny: ...", "Tiny", "fewshot_bench.Method"),
    "a method left out": ("from fewshot_bench import Method\nclass Tiny(Method): ...", "Tiny", "predict"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_plugin_that_cannot_be_imported_is_refused_with_its_reason(name: str, tmp_path: Path) -> None:
    """Exit 2; the plugin and why."""
    text, *words = BROKEN[name]
    (tmp_path / "plugin.py").write_text(text)
    said = call("run", "--method", f"{tmp_path / 'plugin.py'}:Tiny", "--out", tmp_path / "runs")
    assert_refused(said, 2, *words)
    assert not (tmp_path / "runs").exists()


def test_a_plugin_file_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    """Exit 2, with its name."""
    assert_refused(call("run", "--method", f"{tmp_path / 'none.py'}:Tiny"), 2, "none.py", "No such file")


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_loss_that_is_not_finite_stops_the_run(value: str, tmp_path: Path) -> None:
    """Exit 1; at which update, and what to try."""
    loss = f"tasks.query_x.flatten(1).sum(1) * self.weight * float('{value}')"
    (tmp_path / "plugin.py").write_text(METHOD.format(loss=loss))
    said = call("run", "--method", f"{tmp_path / 'plugin.py'}:Tiny", "--set", "updates=3", "--out", tmp_path / "runs")
    assert_refused(said, 1, f"The loss is {value} at update 1", "--set lr=")
    assert not list((tmp_path / "runs").rglob("record.json"))


RUNS = {
    "no such run": (["test", "abcdef"], 2, "'abcdef'", "fsbench list runs"),
    "a key of training": (["test", "RUN", "--set", "lr=1"], 2, "'train'", "'test'"),
    "a protocol": (["test", "RUN", "--protocol", "standrad"], 2, "'standrad'", "'standard'"),
    "too many ways": (["test", "RUN", "--ways", "400"], 2, "400 ways", "at most --ways 324"),
    "zero shots": (["test", "RUN", "--shots", "0"], 2, "shots", "greater than 0"),
    "one episode": (["test", "RUN", "--episodes", "1"], 2, "episodes", "2"),
    "another device": (["test", "RUN", "--device", "gpu"], 2, "'gpu'", "cpu"),
    "show": (["show", "abcdef"], 2, "'abcdef'", "fsbench list methods"),
    "no folder of records": (["table", "none"], 2, "none"),
    "a format": (["table", "--format", "mardkown"], 2, "'mardkown'", "'markdown'"),
    "a list": (["list", "method"], 2, "'method'", "methods"),
}


@pytest.fixture(scope="module")
def pixels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run."""
    out = tmp_path_factory.mktemp("pixels")
    finished(*PIXELS, "--out", out)
    return only_run(out)


@pytest.mark.parametrize("name", RUNS)
def test_the_other_commands_refuse_in_the_same_manner(name: str, pixels: Path, tmp_path: Path) -> None:
    """What was given, what would be right; the record is not touched."""
    arguments, code, *words = RUNS[name]
    before = snapshot(pixels)
    said = call(*[str(pixels) if word == "RUN" else word for word in arguments])
    assert_refused(said, code, *words)
    assert snapshot(pixels) == before


DAMAGE = {
    "record.json": (b"{", ["show", "table", "test"]),
    "episodes.parquet": (b"PAR1", ["table", "test"]),
}


@pytest.mark.parametrize(("name", "command"), [(name, command) for name in DAMAGE for command in DAMAGE[name][1]])
def test_a_damaged_record_is_named(name: str, command: str, pixels: Path, tmp_path: Path) -> None:
    """Exit 3 and the file."""
    folder = tmp_path / pixels.name
    folder.mkdir()
    for file, stored in snapshot(pixels).items():
        (folder / file).write_bytes(DAMAGE[file][0] if file == name else stored)
    damaged = snapshot(folder)
    more = ["--episodes", "9"] if command == "test" else []
    assert_refused(call(command, str(folder), *more), 3, str(folder / name))
    assert snapshot(folder) == damaged


def test_a_record_of_a_newer_version_is_refused(pixels: Path, tmp_path: Path) -> None:
    """Exit 3; the remedy is an upgrade."""
    (tmp_path / "record.json").write_text(
        (pixels / "record.json").read_text().replace(f'"schema": {SCHEMA}', '"schema": 99')
    )
    assert_refused(call("table", tmp_path), 3, "schema 99", "Upgrade")


def test_an_untrained_checkpoint_that_is_damaged_is_named(tmp_path: Path) -> None:
    """Exit 3 and the file, where a trained run is tested again."""
    finished(*TINY, "--out", tmp_path)
    folder = only_run(tmp_path)
    (folder / "checkpoint.safetensors").write_bytes(b"no tensors")
    before = snapshot(folder)
    said = call("test", folder, *NAMED, "--episodes", "9")
    assert_refused(said, 3, str(folder / "checkpoint.safetensors"))
    assert snapshot(folder) == before


def test_the_linear_method_of_these_tests_is_accepted() -> None:
    """So that the refusals above are not those of a command that never works."""
    assert "run_id" in finished("run", "--method", LINEAR, "--dry-run").out
