"""Checkpoints as safetensors: tensors by name, and a JSON text of everything else. Nothing is pickled."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from fewshot_bench.errors import DataError, reason_of
from fewshot_bench.regular import check_regular
from fewshot_bench.writing import atomic


def save_tensors(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write tensors and a JSON-able `about` in one atomic step."""
    plain = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}  # none share memory
    content = save(plain, metadata={"about": json.dumps(about)})
    with atomic(path) as temporary:
        temporary.write_bytes(content)


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save_tensors` wrote; raises `DataError` where the file is missing, unreadable or damaged."""
    try:
        check_regular(path)
        content = path.read_bytes()
        tensors = load(content)  # checks that the header is whole, and that all it tells of is there
        return tensors, json.loads(_header(content)["__metadata__"]["about"])
    except FileNotFoundError:
        raise DataError(f"{path} is missing.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {reason_of(error)}.") from None
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is damaged: {error}.") from None


def _header(content: bytes) -> Any:
    """The header of a safetensors file: its length in 8 bytes, then JSON."""
    return json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under `prefix.name`."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors that stand under `prefix.`, by their own names."""
    return {name.removeprefix(f"{prefix}."): t for name, t in tensors.items() if name.startswith(f"{prefix}.")}
