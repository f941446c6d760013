"""What `fsbench data` says about a data set that it prepared or verified, for people and for programs."""

from typing import Any

from fewshot_bench.data.dataset import Dataset
from fewshot_bench.data.prepare import OnDemand, Prepared
from fewshot_bench.data.verification import Duplicates, Verification
from fewshot_bench.text.printable import LONGEST, printable

SHORT = 12
"""Digits of a fingerprint for people."""
LISTED = 100
"""Groups of duplicates that are listed for people."""


def prepared_json(name: str, dataset: Dataset, prepared: Prepared) -> dict[str, Any]:
    """What was prepared of a data set."""
    fingerprint = prepared.fingerprint
    return {
        "name": name,
        "variant": dataset.variant(),
        "options": dataset.options,
        "shape": list(prepared.shape),
        "splits": prepared.describe(*(split for split, members in dataset.classes().items() if members)),
        "fingerprint": fingerprint,
        "fingerprint_short": fingerprint if isinstance(prepared, OnDemand) else fingerprint[:SHORT],
        "folder": None if isinstance(prepared, OnDemand) else str(prepared.folder),
        "remarks": prepared.remarks,
    }


def prepared_text(content: dict[str, Any]) -> str:
    """The same for people."""
    where = f"prepared in {content['folder']}" if content["folder"] else "made when it is asked for"
    lines = [f"{content['name']}: {'×'.join(map(str, content['shape']))}, {where}"]
    if content["variant"]:
        lines.append(f"variant      {printable(content['variant'], LONGEST)}")
    for split, one in content["splits"].items():
        lines.append(f"{split:<13}{one['classes']:>6,} classes {one['images']:>11,} images")
    return "\n".join([*lines, f"fingerprint  {content['fingerprint_short']}"])


def verification_json(name: str, found: Verification) -> dict[str, Any]:
    """What a verification found."""
    return {
        "name": name,
        "whole": found.whole,
        "images": found.images,
        "fingerprint": found.fingerprint,
        "error": found.error or None,
        "damaged": list(found.damaged),
        "remarks": list(found.remarks),
        "cache": {"state": found.cached.state, "folder": str(found.cached.folder), "differing": list(found.differing)},
        "duplicates": {
            "groups": len(found.duplicates),
            "across_splits": len(found.across_splits),
            "images": [[vars(image) for image in group] for group in found.duplicates],
        },
    }


def verification_text(name: str, found: Verification) -> str:
    """The same for people."""
    lines = [f"{name}: {'whole' if found.whole else 'DAMAGED'}", *_source(found), *_cache(found)]
    lines += [f"{'' if i else 'remarks':<12}{said}" for i, said in enumerate(found.remarks)]
    return "\n".join(printable(line, LONGEST) for line in [*lines, *_duplicates(found)])


def _source(found: Verification) -> list[str]:
    if found.fingerprint:
        return [f"source      {found.images:,} images read, fingerprint {found.fingerprint[:SHORT]}"]
    said = found.error.splitlines()
    if found.damaged:  # the error names only the first few
        said = [f"{len(found.damaged):,} files are missing or damaged:", *found.damaged, *said[1:]]
    return [f"source      {said[0]}", *(f"  {line}" for line in said[1:])]


def _cache(found: Verification) -> list[str]:
    folder, state = found.cached.folder, found.cached.state
    if state == "not prepared":
        return ["prepared    not yet: fsbench data get or the first run prepares it"]
    if state == "whole" and not found.differing:
        equal = ", equal to the source in every pixel" if found.fingerprint else ""
        return [f"prepared    {folder}{equal}"]
    others = [f"  {name} (other pixels than its source)" for name in found.differing]
    wrong = "damaged" if state == "damaged" else "differs from its source"
    return [f"prepared    {wrong}: delete {folder}, and it is made again", *others]


def _duplicates(found: Verification) -> list[str]:
    if found.fingerprint is None:
        return []
    groups, across = len(found.duplicates), found.across_splits
    end = ":" if across else ""
    lines = [f"duplicates  {groups:,} groups of pixel-identical images, {len(across):,} of them across splits{end}"]
    lines += [f"  {_group(group)}" for group in across[:LISTED]]
    return [*lines, f"  and {len(across) - LISTED:,} more: --json"] if len(across) > LISTED else lines


def _group(group: Duplicates) -> str:
    return " = ".join(map(str, group))
