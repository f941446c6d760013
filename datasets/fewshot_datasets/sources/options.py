"""Checks of options that several data sets have."""

from fewshot_bench.errors import UsageError


def check_side(side: int, least: int, most: int) -> None:
    """Refuse a side of images that is out of bounds; raises `UsageError`."""
    if not least <= side <= most:
        raise UsageError(f"data.side must be from {least} to {most} pixels, not {side}.")
