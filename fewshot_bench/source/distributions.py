"""Which modules belong to a method, and which to a distribution whose version a record names.

A method's own modules are all except those of the core, torch, Python and distributions whose version says what they hold.
An editable installation, a local folder or file, and whatever brings plugins is not such a distribution.
"""

import contextlib
import importlib
import importlib.util
import json
import sys
from functools import cache
from importlib.metadata import Distribution, PackageNotFoundError, distribution, entry_points, packages_distributions
from pathlib import Path

NOT_HASHED = {"fewshot_bench", "torch", *sys.stdlib_module_names}
"""Top-level modules whose versions a record names."""


def is_own(name: str) -> bool:
    """Whether the module of that name belongs to a method, not to something that a record names by its version."""
    top = name.partition(".")[0]
    return top == "__main__" or (top not in NOT_HASHED and package_of(top) is None)


@cache
def package_of(top: str) -> Distribution | None:
    """The distribution that brings a top-level module, if its version determines the module's code; else None."""
    path = _place(top)
    if top in _plugins() or (path is not None and not _holds_distributions(path)):
        return None
    for name in dict.fromkeys(_distributions().get(top, ())):
        with contextlib.suppress(PackageNotFoundError, OSError, ValueError):
            found = distribution(name)
            installed = path is None or path.is_relative_to(Path(str(found.locate_file(""))).resolve())
            if installed and not _may_change(found):
                return found
    return None


@cache
def _plugins() -> set[str]:
    """Top-level modules that bring plugins."""
    tops: set[str] = set()
    for group in ("methods", "datasets", "backbones", "commands"):
        with contextlib.suppress(Exception):  # raised by whatever parses the files of all distributions
            tops |= {point.module.partition(".")[0] for point in entry_points(group=f"fewshot_bench.{group}")}
    return tops


def _holds_distributions(path: Path) -> bool:
    """Whether a top-level module lies where distributions are installed."""
    folder = path.parent.parent if path.name == "__init__.py" else path.parent
    return "packages" in folder.name or any(folder.glob("*.dist-info"))  # site-packages, dist-packages


@cache
def _distributions() -> dict[str, list[str]]:
    try:
        return dict(packages_distributions())
    except Exception:  # a damaged installation: what it brings is hashed
        return {}


def _place(top: str) -> Path | None:
    """Where a top-level module lies; None for one without a place or that cannot be found."""
    with contextlib.suppress(ImportError, ValueError, AttributeError, OSError):
        module = sys.modules.get(top)
        spec = module.__spec__ if module else importlib.util.find_spec(top)
        places = [spec.origin] if spec and spec.has_location else list((spec and spec.submodule_search_locations) or [])
        return Path(str(places[0])).resolve() if places else None
    return None


def _may_change(found: Distribution) -> bool:
    """Whether a distribution's code may change while its version stays."""
    if any(point.group.startswith("fewshot_bench.") for point in found.entry_points):
        return True
    where = found.read_text("direct_url.json")
    conda = (found.read_text("INSTALLER") or "").strip() == "conda"  # whose build machines leave their own folders there
    return bool(where) and not conda and "dir_info" in json.loads(where or "{}")
