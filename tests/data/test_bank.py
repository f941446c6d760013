"""A split lives on an accelerator where there is one and it is not too large.

Device `meta` stands for an accelerator: it has shapes and no numbers. That the images there are the same is asserted where
there is a real one (test_accelerator.py).
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import blobs

from fewshot_bench.data import bank as banks
from fewshot_bench.data.bank import MemmapBank, TensorBank, on_device, resident

CPU, ACCELERATOR = torch.device("cpu"), torch.device("meta")


def test_on_a_cpu_a_bank_stays_the_memory_map() -> None:
    """Nothing is read."""
    bank = blobs()
    assert resident(bank, CPU) is bank


def test_on_an_accelerator_a_bank_is_copied_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As uint8, from a read-only memory map, in parts; its classes and its episodes' key stay."""
    monkeypatch.setattr(banks, "COPIED_AT_ONCE", 7)
    like = blobs(classes=3, images=5)
    np.save(tmp_path / "images.npy", like.images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    bank = resident(MemmapBank(mapped, like.class_names, like.starts, like.structure_id), ACCELERATOR)
    assert isinstance(bank, TensorBank)
    assert (bank.rows.shape, bank.rows.dtype, bank.rows.device) == ((15, 1, 28, 28), torch.uint8, ACCELERATOR)
    assert (bank.class_names, bank.structure_id) == (like.class_names, like.structure_id)
    assert bank.gather(np.array([3, 3, 0])).shape == (3, 1, 28, 28)


def test_a_bank_that_is_too_large_stays_the_memory_map(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is gathered on the CPU then."""
    bank = blobs()
    monkeypatch.setattr(banks, "RESIDENT_BYTES", bank.images.nbytes - 1)
    assert resident(bank, ACCELERATOR) is bank


def test_a_tensor_that_is_there_already_is_not_copied() -> None:
    """On a CPU the images go on as they were gathered."""
    x = torch.arange(3)
    assert on_device(x, CPU) is x
