"""Checkpoints as safetensors: tensors by name, and a JSON text of everything else. Nothing is pickled."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from fewshot_bench.errors import DataError, reason_of
from fewshot_bench.inputs.plain_files import check_regular
from fewshot_bench.storage import atomic


def save_tensors(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write tensors and a JSON-able `about` in one atomic step."""
    plain = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}  # none share memory
    content = save(plain, metadata={"about": json.dumps(about)})
    with atomic(path) as temporary:
        temporary.write_bytes(content)


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save_tensors` wrote; raises `DataError` where the file is missing, unreadable or damaged."""
    with _damage_told(path):
        content = path.read_bytes()
        tensors = load(content)  # checks that the header is whole, and that all it tells of is there
        return tensors, json.loads(_header(content)["__metadata__"]["about"])


def load_about(path: Path) -> dict[str, Any]:
    """The `about` of what `save_tensors` wrote, without its tensors; raises as `load_tensors` does."""
    with _damage_told(path):
        with path.open("rb") as file:
            length = file.read(8)
            header = _header(length + file.read(int.from_bytes(length, "little")))
        return dict(json.loads(header["__metadata__"]["about"]))


@contextmanager
def _damage_told(path: Path) -> Iterator[None]:
    """Raise what reading a file of tensors raises as a `DataError` that names it."""
    try:
        check_regular(path)
        yield
    except FileNotFoundError:
        raise DataError(f"{path} is missing.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {reason_of(error)}.") from None
    except MemoryError:
        raise DataError(f"{path} is larger than the memory: it has {path.stat().st_size:,} bytes.") from None
    except (SafetensorError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{path} is damaged: {error}.") from None


def _header(content: bytes) -> Any:
    """The header of a safetensors file: its length in 8 bytes, then JSON."""
    return json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])


def weights_sha256(tensors: Mapping[str, Tensor]) -> str:
    """Hash of tensors by name: the same wherever they lie."""
    sha = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        plain = tensor.detach().cpu().contiguous()
        sha.update(
            f"{name} {plain.dtype} {list(plain.shape)} ".encode() + plain.reshape(-1).view(torch.uint8).numpy().tobytes()
        )
    return sha.hexdigest()


def differences(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> list[str]:
    """What keeps tensors from taking the place of those that are wanted, by name: none where they fit."""
    said = [f"{name} {list(wanted[name].shape)} is missing" for name in wanted if name not in found]
    said += [f"{name} {list(found[name].shape)} belongs nowhere" for name in found if name not in wanted]
    return said + [
        f"{name} is {list(found[name].shape)} in place of {list(wanted[name].shape)}"
        for name in wanted
        if name in found and found[name].shape != wanted[name].shape
    ]


def listed(said: list[str], most: int = 8) -> str:
    """The first differences, and how many more there are."""
    more = [f"and {len(said) - most} more"] if len(said) > most else []
    return "; ".join(said[:most] + more)


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under `prefix.name`."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors that stand under `prefix.`, by their own names."""
    return {name.removeprefix(f"{prefix}."): t for name, t in tensors.items() if name.startswith(f"{prefix}.")}
