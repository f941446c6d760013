"""A budget of training images: how many updates follow from it, and what of a recipe follows the updates."""

from fewshot_bench.errors import UsageError
from fewshot_bench.recipes import Sections, merge
from fewshot_bench.specs import Kind, TrainSpec

SCHEDULES = {"train": ("lr_halve_every", "lr_steps"), "validation": ("every",)}
"""What is counted in updates: where it was not set by `--set`, it keeps its place within the training."""


def within_budget(images: int, spec: TrainSpec, sections: Sections, said: Sections) -> Sections:
    """The sections of a training that sees at most `images` images, where those of `spec` are `sections`, and `said` is what
    the request itself sets; raises `UsageError` where it cannot be."""
    if not isinstance(images, int) or isinstance(images, bool) or images < 1:
        raise UsageError(f"--images must be a whole number of at least 1, got {images!r}.")
    if images >= 2**63:
        raise UsageError(f"--images must be below 2^63, got a number of {len(str(images))} digits.")
    if not spec.updates:
        raise UsageError(f"{spec.method} learns nothing from images: leave --images out.")
    if "updates" in said["train"]:
        raise UsageError("--images says how many updates there are: leave --set updates out, or --images.")
    updates = int(images // spec.images_per_update)
    if not updates:
        each = f"{spec.images_per_update:,g}"
        raise UsageError(f"--images {images:,} is less than the {each} of one update: at least --images {each}.")
    followed: Sections = {"train": {"updates": updates}, "validation": {}}
    for section, keys in SCHEDULES.items():
        for key in keys:
            given = sections[section].get(key)
            if given and key not in said[section]:
                followed[section][key] = _scaled(given, updates, spec.updates)
    return merge(sections, followed)


def budget_text(images: int, spec: TrainSpec, kind: Kind) -> str:
    """What a budget became, in a line."""
    seen = "images" if kind == "classification" else "points"
    lr = {"lr_halve_every": spec.lr_halve_every, "lr_steps": [list(step) for step in spec.lr_steps]}
    follow = [f"{key}={value}" for key, value in lr.items() if value]
    follow += [f"validation.every={spec.validation.every}"] if spec.validation else []
    return (
        f"--images {images:,}: {spec.updates:,} updates of {spec.images_per_update:,g} {seen}, {spec.images:,} in all "
        f"(rounded down to whole updates){'; ' if follow else ''}{', '.join(follow)}."
    )


def _scaled(given: object, updates: int, before: int) -> object:
    """A number of updates, or steps (update, rate), at the same place within a training of another length."""
    if isinstance(given, int):
        return max(1, round(given * updates / before))
    if not isinstance(given, list | tuple):
        return given  # no schedule: the specification says what is wrong with it
    try:
        return list({max(1, round(first * updates / before)): rate for first, rate in given}.items())
    except (TypeError, ValueError):
        return given
