"""For a plugin author's own tests, as scikit-learn's `check_estimator`: `fsbench check` from Python.

from fewshot_bench.testing import check_method

def test_it_keeps_to_the_interface():
    check_method(MyMethod)
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fewshot_bench.audit.backbone import audit_backbone
from fewshot_bench.audit.dataset import audit_dataset
from fewshot_bench.audit.method import audit_method
from fewshot_bench.audit.verdicts import Audit as Audit
from fewshot_bench.audit.verdicts import Check as Check
from fewshot_bench.audit.verdicts import CheckFailed as CheckFailed
from fewshot_bench.plugins import registry

__all__ = ["Audit", "Check", "CheckFailed", "check_backbone", "check_dataset", "check_method"]


def check_method(
    method: str | type,
    *,
    backbone: Callable[[tuple[int, ...]], Any] | None = None,
    hparams: Mapping[str, Any] | None = None,
    expected: Mapping[str, str] | None = None,
) -> Audit:
    """Try a method (its class, its name or `file.py:Class`) on synthetic tasks, in seconds; returns every verdict.

    Raises `CheckFailed`, which names each check that failed with the numbers that broke it. `backbone` makes the network for
    an input shape, in place of a small one. `expected` maps checks that may fail to the reason why: they count as skipped.
    What the answer to a query depends on cannot be excused; a method whose queries see each other declares
    `transductive = True`.
    """
    return audit_method(registry.find("methods", method), backbone, hparams, expected).raise_for_failures()


def check_dataset(
    dataset: str | type,
    *,
    options: Mapping[str, Any] | None = None,
    root: str | Path | None = None,
    expected: Mapping[str, str] | None = None,
) -> Audit:
    """Read a data set (its class, its name or `file.py:Class`) with its `options`, whose files lie at `root`; returns every
    verdict. Nothing is prepared or written.

    Raises `CheckFailed` as `check_method`, and `DataError` where the files are not there.
    """
    place = None if root is None else Path(root)
    return audit_dataset(registry.find("datasets", dataset), options, place, expected).raise_for_failures()


def check_backbone(backbone: str | type, *, expected: Mapping[str, str] | None = None) -> Audit:
    """Try a backbone (its class, its name, `file.py:Class` or `file.py:function`) on synthetic images, in seconds; returns
    every verdict. Raises `CheckFailed` as `check_method`."""
    return audit_backbone(registry.find("backbones", backbone), expected).raise_for_failures()
