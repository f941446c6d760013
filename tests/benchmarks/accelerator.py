"""Measures fewshot-bench on an accelerator and brings everything back in one archive.

    python tests/benchmarks/accelerator.py pack PACKED        where there is a network: wheels and data for the machine
    python tests/benchmarks/accelerator.py measure OUT        on the machine: everything, into OUT/accelerator.tar.gz

The machine needs Python with torch, numpy, pandas, pyarrow, scipy, scikit-learn and Pillow, for the peer torchvision and a
C compiler; what else is missing comes from the wheels, and the project from this checkout. The steps fail independently; a
training that its limit cut short goes on where it stopped if the same command is given again. `--device cpu --short` is the
same in small, to try it out.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CODE = [ROOT, ROOT / "methods", ROOT / "datasets", ROOT / "leaderboard"]
ON_THE_MACHINE = ("torch", "numpy", "pandas", "pyarrow", "scipy", "scikit-learn", "pillow")
"""Too large to carry."""
FOR_TESTS = ("pytest", "hypothesis")
FOR_PEER = ("cython", "setuptools", "wheel", "gym-notices", "cloudpickle", "requests", "tqdm")
PEER_SOURCES = ("learn2learn==0.2.0", "gym==0.26.2")
"""Compiled on the machine, whose Python may be another; torchvision it must have."""
PIP_INSTALL = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps"]
FSBENCH = [sys.executable, "-c", "from fewshot_bench.cli.main import main; main()"]
SMALL = {
    "--set": ["updates=20", "validation.every=10", "validation.episodes=4"],
    "--protocol": ["custom"],
    "--episodes": [8],
}
TRAININGS = {
    "maml": ["--method", "maml", "--recipe", "paper"],
    "prototypical": ["--method", "prototypical-networks"],
}
"""Full-length recipes on Omniglot, 5-way 1-shot."""
LIMITS_S = {
    "install": 120,
    "peer": 300,
    "data": 300,
    "tests": 300,
    "bench": 600,
    "maml": 900,
    "prototypical": 900,
    "profile": 300,
}
BUSY_PERCENT = 80
PATIENCE_S = 60
"""How long a step has to save its state once its limit is reached."""


@dataclass(frozen=True)
class Wanted:
    """What is measured, and where everything lies."""

    device: str
    short: bool
    packed: Path
    work: Path
    """Stays between two calls."""
    results: Path
    """Goes into the archive."""
    limit_s: int | None

    @property
    def site(self) -> Path:
        """What was installed for this measurement."""
        return self.work / "site"

    @property
    def environment(self) -> dict[str, str]:
        """That of each step: this checkout, then what was installed for it."""
        path = os.pathsep.join(map(str, [*CODE, self.site]))
        data = self.packed / "data"
        given = {"PYTHONPATH": path, "FSBENCH_CACHE": str(self.work / "cache"), "PYTHONUNBUFFERED": "1"}
        return {**os.environ, **given, **({"FSBENCH_DATA": str(data)} if data.is_dir() else {})}


# Packing, where there is a network.


def pack(folder: Path, data: Path | None, python: str) -> None:
    """Fill `folder` with wheels for that version of Python on a machine like this one, and with Omniglot's archives."""
    wheels = folder / "wheels"
    pip = [sys.executable, "-m", "pip"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = [text for text in project["dependencies"] if distribution(text) not in ON_THE_MACHINE]
    for_python = ["--only-binary=:all:", "--python-version", python, "-d", wheels]
    subprocess.run([*pip, "download", "-q", *for_python, *needed, *FOR_TESTS, *FOR_PEER], check=True)
    for source in PEER_SOURCES:
        subprocess.run([*pip, "download", "-q", "--no-deps", "--no-binary=:all:", "-d", wheels, source], check=True)
    if data is None:
        print("No data packed: give --data FOLDER or set FSBENCH_DATA.", file=sys.stderr)
    else:
        shutil.copytree(data / "omniglot", folder / "data" / "omniglot", dirs_exist_ok=True)
    print(f"{folder}: {sum(path.stat().st_size for path in folder.rglob('*')) / 2**20:.0f} MiB")


def distribution(text: str) -> str:
    """The normalised name in a requirement or at the start of an archive's name."""
    for end in "<>=!~[; ":
        text = text.partition(end)[0]
    return text.replace("_", "-").lower()


# Steps, on the machine.


def install(wanted: Wanted) -> dict[str, Any]:
    """Make the project's entry points known, and install the packed wheels of what is not there."""
    register(wanted.site)
    wheels = sorted(wanted.packed.glob("wheels/*.whl"))
    missing = [wheel for wheel in wheels if not is_there(*wheel.name.split("-")[:2])]
    if not missing:
        return {"installed": []}
    command = [*PIP_INSTALL, "--upgrade", "--target", wanted.site, *missing]
    return run(wanted, "install", command, LIMITS_S["install"]) | {"installed": [wheel.name for wheel in missing]}


def register(site: Path) -> None:
    """Describe the checkout in `site` as an installed distribution is: its entry points are found, nothing is built."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    about = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    about.mkdir(parents=True, exist_ok=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = project["entry-points"].items()
    lines = [line for name, points in groups for line in (f"[{name}]", *(f"{key} = {at}" for key, at in points.items()))]
    (about / "entry_points.txt").write_text("\n".join(lines) + "\n")


def is_there(name: str, version: str) -> bool:
    """Whether a distribution is installed on this machine, of that version or a newer one."""
    try:
        found = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return numbers(found) >= numbers(version)


def numbers(version: str) -> list[int]:
    """`2.14.3` as numbers, for comparison."""
    return [int(part) for part in re.findall(r"\d+", version)]


def machine(wanted: Wanted) -> dict[str, Any]:
    """What the machine is."""
    smi = shutil.which("nvidia-smi")
    about = subprocess.run([smi, "-q", "-i", "0"], capture_output=True, text=True).stdout if smi else "no nvidia-smi"
    (wanted.results / "nvidia-smi.txt").write_text(about)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found = {one.metadata["Name"]: one.version for one in importlib.metadata.distributions()}
    return {"platform": platform.platform(), "python": platform.python_version(), "cores": cores, "versions": found}


def peer(wanted: Wanted) -> dict[str, Any]:
    """Compile learn2learn where it is not installed; without it `fsbench bench` leaves its columns out."""
    if is_there("learn2learn", "0") or (wanted.site / "learn2learn").is_dir():
        return {"installed": "before"}
    sources = [path for name in ("gym", "learn2learn") for path in wanted.packed.glob(f"wheels/{name}-*.tar.gz")]
    if len(sources) < len(PEER_SOURCES):
        raise FileNotFoundError(f"no sources of {' and '.join(PEER_SOURCES)} in {wanted.packed / 'wheels'}")
    pip = [*PIP_INSTALL, "--no-build-isolation", "--target", wanted.site]
    run(wanted, "peer-gym", [*pip, sources[0]], LIMITS_S["peer"])
    return run(wanted, "peer", [*pip, "--use-pep517", "-C--build-option=build_ext", sources[1]], LIMITS_S["peer"])


def data(wanted: Wanted) -> dict[str, Any]:
    """Prepare Omniglot, so that no other step's time holds that."""
    pixels = ["run", "--method", "nearest-centroid", "--dataset", "omniglot", "--protocol", "custom", "--episodes", "2"]
    return run(wanted, "data", [*FSBENCH, *pixels, "--out", wanted.work / "runs-data"], LIMITS_S["data"])


def tests(wanted: Wanted) -> dict[str, Any]:
    """The tests that compare the accelerator with the CPU."""
    pytest = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", ROOT / "tests" / "test_accelerator.py"]
    done = run(wanted, "tests", pytest, LIMITS_S["tests"])
    outcome = done["last_line"].strip("= ")
    if "skipped" in outcome and wanted.device != "cpu":
        raise RuntimeError(f"some were skipped on {wanted.device}: {outcome}")
    return done | {"outcome": outcome}


def bench(wanted: Wanted) -> dict[str, Any]:
    """`fsbench bench`."""
    command = [*FSBENCH, "bench", "--device", wanted.device, "--json", "--out", wanted.results / "bench.json"]
    return run(wanted, "bench", [*command, *(["--short"] if wanted.short else [])], LIMITS_S["bench"])


def training(wanted: Wanted, name: str) -> dict[str, Any]:
    """A full-length training and its test: wall time, accuracy, how busy the accelerator was."""
    out = wanted.work / f"runs-{name}{'-short' if wanted.short else ''}-{wanted.device.replace(':', '')}"
    command = [*FSBENCH, "run", *TRAININGS[name], "--dataset", "omniglot", "--device", wanted.device, "--out", out]
    small = [part for option, values in SMALL.items() for value in values for part in (option, value)]
    with gpu_watched(wanted.results / f"{name}-gpu.csv") as gpu:
        done = run(wanted, name, [*command, *(small if wanted.short else [])], wanted.limit_s or LIMITS_S[name])
    for record in out.rglob("record.json"):
        shutil.copytree(record.parent, wanted.results / name, ignore=shutil.ignore_patterns("state.*"), dirs_exist_ok=True)
        content = json.loads(record.read_text())
        result = {key: content["results"][0][key] for key in ("mean", "low", "high")}
        done |= {"accuracy": result, "training": content["training"], "cost": content["cost"], "plan": content["plan"]}
        done |= {"test_s": content["results"][0]["cost"]["test_s"]}
    return done | {"gpu": gpu}


def profile(wanted: Wanted) -> dict[str, Any]:
    """Where the time of an update goes."""
    script = [sys.executable, Path(__file__).with_name("accelerator_profile.py"), wanted.results, wanted.device]
    return run(wanted, "profile", script, LIMITS_S["profile"])


STEPS: dict[str, Callable[[Wanted], dict[str, Any]]] = {
    "install": install,
    "machine": machine,
    "peer": peer,
    "data": data,
    "tests": tests,
    "bench": bench,
    "profile": profile,
    "prototypical": lambda wanted: training(wanted, "prototypical"),
    "maml": lambda wanted: training(wanted, "maml"),
}


def run(wanted: Wanted, name: str, command: Sequence[object], limit_s: int) -> dict[str, Any]:
    """Run one command, what it says into `NAME.log`; after `limit_s` it is interrupted as by Ctrl-C.

    Raises `RuntimeError` where it fails.
    """
    log, started = wanted.results / f"{name}.log", time.perf_counter()
    with log.open("w") as said:
        process = subprocess.Popen(
            list(map(str, command)), cwd=ROOT, env=wanted.environment, stdout=said, stderr=subprocess.STDOUT
        )
        stopped = False
        try:
            process.wait(limit_s)
        except subprocess.TimeoutExpired:
            stopped = True
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE_S)
        finally:
            process.kill()
            process.wait()
    lines = [line for line in log.read_text(errors="replace").replace("\r", "\n").splitlines() if line.strip()]
    done = {"wall_s": round(time.perf_counter() - started, 1), "last_line": lines[-1] if lines else ""}
    if stopped:
        saved = [line for line in lines if line.startswith("Stopped after update")]
        return done | {"stopped_at_limit_s": limit_s, "progress": saved[-1] if saved else "unknown"}
    if process.returncode:
        raise RuntimeError(f"exit code {process.returncode} after {done['wall_s']} s: {done['last_line']}")
    return done


@contextmanager
def gpu_watched(path: Path) -> Iterator[dict[str, Any]]:
    """Sample the GPU's use five times a second inside the block; the summary is there after it."""
    summary: dict[str, Any] = {}
    smi = shutil.which("nvidia-smi")
    if smi is None:
        yield summary
        summary["samples"] = "no nvidia-smi"
        return
    asked = "timestamp,utilization.gpu,utilization.memory,memory.used,power.draw"
    with path.open("w") as samples:
        command = [smi, "-i", "0", f"--query-gpu={asked}", "--format=csv,noheader,nounits", "-lms", "200"]
        watching = subprocess.Popen(command, stdout=samples, stderr=subprocess.DEVNULL)
        try:
            yield summary
        finally:
            watching.kill()
            watching.wait()
    summary |= busy(path.read_text())


def busy(samples: str) -> dict[str, Any]:
    """How much of the time the GPU was in use: over all samples, and from the first to the last in which it was."""
    rows = [line.split(",") for line in samples.splitlines()]
    percent = [int(row[1]) for row in rows if len(row) == 5 and row[1].strip().isdecimal()]
    used = [i for i, value in enumerate(percent) if value]
    if not used:
        return {"samples": len(percent)}
    within = percent[used[0] : used[-1] + 1]

    def share(values: list[int]) -> float:
        return round(sum(value > BUSY_PERCENT for value in values) / len(values), 4)

    return {
        "samples": len(percent),
        "share_over_80_percent": share(percent),
        "share_over_80_percent_while_used": share(within),
        "mean_percent_while_used": round(sum(within) / len(within), 1),
        "most_memory_mib": max(int(row[3]) for row in rows if len(row) == 5 and row[3].strip().isdecimal()),
    }


def measure(wanted: Wanted, steps: Sequence[str], archive: Path) -> int:
    """Carry out the steps and write the archive; the number of those that failed."""
    shutil.rmtree(wanted.results, ignore_errors=True)
    wanted.results.mkdir(parents=True)
    summary: dict[str, Any] = {"device": wanted.device, "short": wanted.short, "steps": {}}
    for name in steps:
        started = time.perf_counter()
        print(f"{name} …", end=" ", flush=True)
        try:
            found = {"ok": True, **STEPS[name](wanted)}
        except Exception as error:  # the others go on
            (wanted.results / f"{name}-error.txt").write_text(traceback.format_exc())
            found = {"ok": False, "error": f"{type(error).__name__}: {error}"}
        summary["steps"][name] = found
        print(f"{time.perf_counter() - started:.1f} s", found.get("error") or found.get("progress", "ok"), flush=True)
        (wanted.results / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
        write_archive(wanted.results, archive)  # after each: this machine may be taken away
    print(json.dumps({name: found for name, found in summary["steps"].items() if name != "machine"}, indent=1))
    print(archive)
    return sum(not found["ok"] for found in summary["steps"].values())


def write_archive(results: Path, archive: Path) -> None:
    """Pack the results, whole or not at all."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    temporary = archive.with_suffix(".tmp")
    with tarfile.open(temporary, "w:gz") as packed:
        packed.add(results, "accelerator")
    temporary.replace(archive)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack")
    packing.add_argument("folder", type=Path)
    packing.add_argument("--data", type=Path, default=os.environ.get("FSBENCH_DATA"), help="holds omniglot/*.zip")
    packing.add_argument("--python", default="3.12", help="the machine's version")
    measuring = commands.add_parser("measure")
    measuring.add_argument("out", type=Path)
    measuring.add_argument("--packed", type=Path, default=ROOT / ".packed", help="what `pack` made")
    measuring.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "fsbench-accelerator")
    measuring.add_argument("--device", default="cuda")
    measuring.add_argument("--short", action="store_true")
    measuring.add_argument("--steps", default=",".join(STEPS), help="some of them, in order (install always)")
    measuring.add_argument("--limit-s", type=int, help="of each training; it goes on in a second call")
    given = parser.parse_args()
    if given.command == "pack":
        pack(given.folder, given.data and Path(given.data), given.python)
        return
    steps = given.steps.split(",")
    if unknown := set(steps) - set(STEPS):
        sys.exit(f"Unknown steps: {', '.join(sorted(unknown))}. There are {', '.join(STEPS)}.")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background commands ignore it, and so would a step
    work = given.work.absolute()
    wanted = Wanted(given.device, given.short, given.packed.absolute(), work, work / "results", given.limit_s)
    chosen = [name for name in STEPS if name in steps or name == "install"]
    sys.exit(1 if measure(wanted, chosen, given.out.absolute() / "accelerator.tar.gz") else 0)


if __name__ == "__main__":
    main()
