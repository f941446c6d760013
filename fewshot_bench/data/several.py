"""Several data sets trained on at once, `--dataset omniglot+glyphs`: each episode comes from one of them.

Which one is a pure function of the seed and the episode's number. A method that trains on batches of classes sees the
classes of all of them together.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fewshot_bench.data import bank as one_bank
from fewshot_bench.data.bank import Ids, ImageBank, on_device
from fewshot_bench.data.dataset import Dataset, ImageClass, Images, Progress, data_root, root_of
from fewshot_bench.data.prepare import Prepared
from fewshot_bench.errors import UsageError, unknown
from fewshot_bench.hashing import short_hash
from fewshot_bench.plugins import registry

SEPARATOR = "+"


def is_several(name: str) -> bool:
    """Whether a name is that of several data sets; one that is not installed (`file.py:Class`) stands alone."""
    return SEPARATOR in name and ":" not in name


class SeveralDatasets(Dataset):
    """Data sets of images of one shape. An option applies to each of them that has it; classes are `omniglot/Greek/...`."""

    def __init__(self, name: str, options: Mapping[str, Any] | None = None, given: Path | None = None) -> None:
        self.name, self.root, self.options = name, data_root(given), dict(options or {})
        names = name.split(SEPARATOR)
        if len(set(names)) < len(names):
            raise UsageError(f"{name!r} names a data set twice.")
        kinds = {one: registry.find("datasets", one).load() for one in names}
        if others := [one for one, kind in kinds.items() if not issubclass(kind, Dataset)]:
            raise UsageError(f"{name!r}: {others[0]} is a family of functions; only data sets of images can be joined by +.")
        known = {key for kind in kinds.values() for key in kind.defaults}
        for key in self.options:
            if key not in known:
                raise unknown(f"option of data sets {name}", key, known)
        self.members: dict[str, Dataset] = {
            one: kind({key: value for key, value in self.options.items() if key in kind.defaults}, root_of(kind, given))
            for one, kind in kinds.items()
        }
        shapes = {one: member.shape for one, member in self.members.items()}
        if len(set(shapes.values())) > 1:
            said = ", ".join(f"{one} {'×'.join(map(str, shape))}" for one, shape in shapes.items())
            raise UsageError(f"{name!r}: the images differ in shape: {said}.")

    @property
    def stated(self) -> dict[str, Any]:
        """The options that were given."""
        return self.options

    @property
    def augment(self) -> tuple[str, ...]:
        """The augmentations that any of them asks for."""
        return tuple(dict.fromkeys(word for one in self.members.values() for word in one.augment))

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape (C, H, W) of every image, equal in all of them."""
        return next(iter(self.members.values())).shape

    def identity(self) -> str:
        """The members' identities, in order."""
        return f"several-{short_hash({name: one.identity() for name, one in self.members.items()})}"

    def classes(self) -> dict[str, list[ImageClass]]:
        """The classes of all of them, one data set after the other."""
        each = {name: one.classes() for name, one in self.members.items()}
        return {
            split: [
                ImageClass(f"{name}/{member.name}", member.image_ids)
                for name, splits in each.items()
                for member in splits.get(split, ())
            ]
            for split in self.splits
        }

    def images(self, progress: Progress) -> Iterator[Images]:
        """Not available: each of them is prepared on its own."""
        raise NotImplementedError("prepare the members of several data sets one by one")


@dataclass(frozen=True)
class SeveralPrepared(Prepared):
    """Several prepared data sets."""

    parts: Mapping[str, Prepared]

    @property
    def fingerprint(self) -> str:
        """Hash of all fingerprints."""
        return short_hash([part.fingerprint for part in self.parts.values()])

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape (C, H, W) of an image."""
        return next(iter(self.parts.values())).shape

    def bank(self, split: str) -> "JoinedBank":
        """The banks of a split one after the other; raises `UsageError` where one of them has no such split."""
        return JoinedBank({name: part.bank(split) for name, part in self.parts.items()})


class JoinedBank:
    """Banks of images of one shape, one after the other."""

    def __init__(self, parts: Mapping[str, ImageBank]) -> None:
        self.parts = parts
        self.class_names: Sequence[str] = [f"{name}/{one}" for name, part in parts.items() for one in part.class_names]
        sizes = [np.diff(part.starts) for part in parts.values()]
        self.starts: Ids = np.concatenate([[0], np.cumsum(np.concatenate(sizes))])  # [classes + 1]
        self.firsts = np.cumsum([0, *(part.starts[-1] for part in parts.values())])
        self.structure_id = short_hash([[name, part.structure_id] for name, part in parts.items()])

    def gather(self, ids: Ids) -> Tensor:
        """The images `ids` [n] as uint8 [n, C, H, W]."""
        owner = np.searchsorted(self.firsts, ids, side="right") - 1  # [n]
        order = np.argsort(owner, kind="stable")
        parts = [part.gather(ids[owner == i] - self.firsts[i]) for i, part in enumerate(self.parts.values()) if i in owner]
        device = max((part.device for part in parts), key=lambda device: device.type != "cpu")  # one may be too large for it
        images = torch.cat([on_device(part, device) for part in parts])
        back = torch.from_numpy(np.argsort(order)).to(images.device)
        return images[back]


def banks_of(bank: ImageBank) -> list[ImageBank]:
    """The banks that a bank joins; one that joins none, alone."""
    return list(bank.parts.values()) if isinstance(bank, JoinedBank) else [bank]


def resident(bank: ImageBank, device: torch.device) -> ImageBank:
    """The bank for work on `device` (`bank.resident`), joined banks each on its own."""
    if not isinstance(bank, JoinedBank):
        return one_bank.resident(bank, device)
    return JoinedBank({name: one_bank.resident(part, device) for name, part in bank.parts.items()})
