"""What a user asks for, as it was given."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Request:
    """What a user asks of `run`: the arguments as given."""

    method: str
    dataset: str = "glyphs"
    ways: int | None = None  # 5 for images; functions have none
    shots: int = 1
    protocol: str | None = None
    queries: int | None = None
    episodes: int | None = None
    recipe: str | None = None
    settings: tuple[str, ...] = ()
    seed: int = 0
    device: str = "auto"
    data_root: Path | None = None
    test_dataset: str | None = None
    """What to test on; None: the data set that it trains on."""
    test_data_root: Path | None = None
    """Where that lies; None: in the data root."""
    images: int | None = None
    """The most images that a training sees, in place of the recipe's number of updates."""
    threads: int | None = None
    """Of the execution plan; None: as many as may be had."""
    classes: Mapping[str, type] = field(default_factory=dict)
    """Those of `method`, `dataset` and `test_dataset` that were given as classes, not by name."""
    backbone: str | None = None
    """Name of the embedding network; None: the recipe's."""


@dataclass(frozen=True)
class TestRequest:
    """What a user asks of `test`: another test of the same checkpoint. None keeps what the run's own test had."""

    __test__ = False  # not a test class of pytest's

    protocol: str | None = None
    ways: int | None = None
    shots: int | None = None
    queries: int | None = None
    episodes: int | None = None
    settings: tuple[str, ...] = field(default=())
    dataset: str | None = None
    data_root: Path | None = None
    """Where the data lie that the run was trained on."""
    test_data_root: Path | None = None
    """Where the data lie that it is tested on, if elsewhere."""
    method: str | None = None
    """The file or module of the run's method, which must be named again where it is not installed; so the next two."""
    backbone: str | None = None
    trained_on: str | None = None
    """The data set that the run was trained on."""
    threads: int | None = None
    """Of the execution plan; None: those of the run."""
