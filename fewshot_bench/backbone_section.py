"""The section `train.backbone` of a request: `{name, weights, frozen, options}`, or a name alone."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fewshot_bench.errors import DataError, UsageError, reason_of, unknown
from fewshot_bench.inputs.plain_files import check_regular

PARTS = ("name", "weights", "frozen", "options")


def section_of(given: Any) -> dict[str, Any]:
    """The section that a word or a mapping stands for; raises `UsageError`."""
    section = {"name": given} if isinstance(given, str) else given
    if not isinstance(section, Mapping):
        raise UsageError(f"backbone must be a name or a mapping of {', '.join(PARTS)}; got {given!r}.")
    for key in section:
        if key not in PARTS:
            raise unknown("key of backbone", str(key), PARTS)
    options = section.get("options", {})
    if not isinstance(options, Mapping):
        raise UsageError(f"backbone.options must map names to values, got {options!r}.")
    return {**section, **({"options": dict(options)} if "options" in section else {})}


def part_of(key: str) -> str | None:
    """`weights` of `backbone.weights` or `train.backbone.weights`; None for another key."""
    start, dot, part = key.removeprefix("train.").partition(".")
    return part if start == "backbone" and dot else None


def set_part(train: dict[str, Any], part: str, value: Any) -> None:
    """`--set backbone.PART=value`, over what the section `train` has."""
    section = section_of(train.get("backbone") or {})
    name, _, option = part.partition(".")
    if name == "options" and option:
        section = {**section, "options": {**section.get("options", {}), option: value}}
    elif part in PARTS and part != "options":
        section = {**section, part: value}
    else:
        raise unknown("key", f"backbone.{part}", [*(f"backbone.{one}" for one in PARTS[:3]), "backbone.options.KEY"])
    train["backbone"] = section


def take_weights(train: dict[str, Any]) -> Path | None:
    """The file of weights that a section `train` names. There, the hash of the file takes its place."""
    if train.get("backbone") is None:
        return None
    section = section_of(train["backbone"])
    file = section.pop("weights", None)
    train["backbone"] = section
    if file is None:
        return None
    if not isinstance(file, str):
        raise UsageError(f"backbone.weights must be a file, got {file!r}.")
    path = Path(file)
    section["weights"] = hashlib.sha256(read_weights(path)).hexdigest()
    return path


def weights_in(settings: Iterable[str]) -> Path | None:
    """The file of weights that `--set backbone.weights=FILE` names."""
    pairs = [setting.partition("=") for setting in settings]
    found = [value.strip() for key, _, value in pairs if part_of(key.strip()) == "weights"]
    return Path(found[-1]) if found else None


def read_weights(path: Path) -> bytes:
    """The content of a file of weights; raises `DataError`."""
    try:
        check_regular(path)
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"Cannot read the weights {path}: {reason_of(error)} (--set backbone.weights=FILE).") from None
    except MemoryError:
        raise DataError(f"The weights {path} are larger than the memory: {path.stat().st_size:,} bytes.") from None
