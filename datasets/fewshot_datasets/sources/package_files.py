"""Lists that this package holds: published splits, and manifests of images."""

import json
from importlib.resources import files


def split_text(folder: str, file: str) -> str:
    """The text of a split's list, `splits/FOLDER/FILE`."""
    return (files("fewshot_datasets") / "splits" / folder / file).read_text("utf-8")


def split_names(folder: str, split: str) -> list[str]:
    """The names in `splits/FOLDER/SPLIT.json`, in their order."""
    return [str(name) for name in json.loads(split_text(folder, f"{split}.json"))]


def manifest_of(file: str) -> str:
    """The text of a manifest, `manifests/FILE`."""
    return (files("fewshot_datasets") / "manifests" / file).read_text("utf-8")
