"""The arrays of an .npz file. Shape and type are known before an array is read, and a pickle among them is never loaded.

Legend: n images, C channels (1 or 3), H x W pixels.
"""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any
from zipfile import ZipFile

import numpy as np
import numpy.typing as npt

from fewshot_bench.data.dataset import Images
from fewshot_bench.data.files.archives import zip_members
from fewshot_bench.data.files.file_kinds import LONGEST, kind_of
from fewshot_bench.data.files.source_files import BROKEN, Files, damaged_archive
from fewshot_bench.data.images.decoding import is_image
from fewshot_bench.errors import DataError, few
from fewshot_bench.inputs.plain_files import open_regular
from fewshot_bench.text.printable import printable

EXPECTED = "Expected of --data-root: an .npz of `images`, uint8 [n, H, W], [n, H, W, C] or [n, C, H, W], and `labels` [n]."


@dataclass(frozen=True)
class Header:
    """What an array is: its shape, its type, the CRC-32 of its file."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    crc: int


ON_WHITE = (
    "If the last channel is the opacity, lay them on white: a = images[..., -1:] / 255; "
    "(a * images[..., :-1] + 255 * (1 - a)).round().astype('uint8')"
)
"""How see-through images can be made opaque."""
SURELY_FITS = 2**30
"""Bytes of memory that every machine has."""
AT_ONCE = 2**20
"""Values that are read at once."""


@dataclass(frozen=True)
class Npz:
    """The arrays of a file. All members raise `DataError` for a file that is damaged or not an .npz, and for an array that
    is missing or of another kind."""

    path: Path

    @cached_property
    def headers(self) -> dict[str, Header]:
        """The arrays by key."""
        headers = {}
        with self._damage_named(), ZipFile(self.path) as archive:
            for name, info in zip_members(archive, self.path).items():
                if name.endswith(".npy"):
                    with archive.open(info) as file:
                        headers[name.removesuffix(".npy")] = _header(file, info.CRC, info.file_size)
        return headers

    def header(self, key: str, option: str) -> Header:
        """The header of array `key`, which option `option` names."""
        if key not in self.headers:
            if not self.headers:
                raise DataError(f"{self.path} holds no arrays. For an archive of images: --dataset folder.\n{EXPECTED}")
            there = ", ".join(map(printable, self.headers))
            raise DataError(f"{self.path} has no array {key!r}, but {there}: --set data.{option}=NAME.\n{EXPECTED}")
        if self.headers[key].dtype.hasobject:
            raise DataError(
                f"Array {key!r} of {self.path} holds pickled Python objects, which are not loaded. Save it as plain values: "
                f"np.array(list({key})), of one shape and type."
            )
        return self.headers[key]

    def read(self, key: str) -> npt.NDArray[Any]:
        """An array; raises `DataError` also if it is larger than the memory. (Zeros pack well, and no other error would
        come.)"""
        size = math.prod(self.headers[key].shape) * self.headers[key].dtype.itemsize
        if size > SURELY_FITS:
            from fewshot_bench.memory import memory_bytes  # torch, which a list of data sets does without

            if size > memory_bytes():
                raise DataError(f"Array {key!r} of {self.path} has {size:,} bytes, more than the memory of this machine.")
        with self._damage_named(), np.load(self.path, allow_pickle=False) as arrays:
            array: npt.NDArray[Any] = arrays[key]
            return array

    def labels(self, key: str) -> npt.NDArray[Any]:
        """The array of labels [n], also where it is saved as [n, 1]: integers or texts."""
        header = self.header(key, "labels")
        shape = header.shape[:1] if header.shape[1:] == (1,) else header.shape
        if len(shape) != 1 or header.dtype.kind not in "iuUS":
            raise DataError(
                f"Labels {key!r} of {self.path} must be integers or texts [n], not {header.dtype} {list(header.shape)}."
                + ("" if header.dtype.hasobject else to_labels(self.read(key).reshape(shape)))
            )
        return self.texts(key, "labels") if header.dtype.kind in "US" else self.read(key).reshape(shape)

    def texts(self, key: str, option: str) -> npt.NDArray[np.str_]:
        """An array of texts [n]."""
        header = self.header(key, option)
        if header.dtype.kind not in "US":
            raise DataError(f"Array {key!r} of {self.path} must be texts, not {header.dtype}.")
        array = self.read(key).reshape(-1)
        with self._damage_named():
            return array if header.dtype.kind == "U" else np.char.decode(array, "utf-8")

    def extent(self, key: str) -> tuple[float, float]:
        """The least and the largest value of an array, both nan where one of them is; read piece by piece."""
        dtype, least, largest = self.headers[key].dtype, np.inf, -np.inf
        if dtype.kind not in "fiub":
            return np.nan, np.nan
        with self._damage_named(), ZipFile(self.path) as archive, archive.open(f"{key}.npy") as file:
            _header(file, 0, None)
            while piece := file.read(AT_ONCE * dtype.itemsize):
                values = np.frombuffer(piece, dtype).astype(np.float64)
                least, largest = np.minimum(least, values.min()), np.maximum(largest, values.max())
        return float(least), float(largest)

    @contextmanager
    def _damage_named(self) -> Iterator[None]:
        try:
            refuse_other_kind(self.path)
            yield
        except FileNotFoundError:
            raise DataError(f"No such file or folder: {self.path}.") from None
        except MemoryError as error:
            raise DataError(f"{self.path} needs more memory than this machine has.") from error
        except BROKEN as error:
            raise damaged_archive(self.path, error) from error


def refuse_other_kind(path: Path) -> None:
    """Refuse a file that is whole but not an .npz, saying what it is and what to do; raises `OSError` if it is not a
    file."""
    with open_regular(path) as file:
        kind = kind_of(file.read(LONGEST))
    if kind is None or kind == "a zip archive":
        return
    said = f"{path} is {kind}, not an .npz of images and labels."
    if path.suffix.lower() == ".npy" or "npy" in kind:
        said += f"\nIn Python: np.savez('images.npz', images=np.load({str(path)!r}), labels=np.load('labels.npy'))"
    raise DataError(f"{said}\n{EXPECTED}")


def no_npz(folder: Path) -> DataError:
    """The error for a folder without an .npz: what to do with what is there instead."""
    said = f"{folder} holds no .npz file."
    if alone := sorted(path.name for path in folder.iterdir() if path.suffix.lower() == ".npy"):
        said += f" It has {few(alone)}; in Python: np.savez('images.npz', images=np.load(...), labels=np.load(...))"
    elif any(map(is_image, Files(folder).sizes())):
        said += " For a folder of images: --dataset folder."
    return DataError(f"{said}\n{EXPECTED}")


def _header(file: IO[bytes], crc: int, size: int | None) -> Header:
    """The header of an array of `size` bytes in all; raises `ValueError` where it does not fit, if that is known."""
    read = np.lib.format.read_array_header_1_0
    if np.lib.format.read_magic(file) != (1, 0):
        read = np.lib.format.read_array_header_2_0
    with warnings.catch_warnings():  # that the file was written by Python 2
        warnings.simplefilter("ignore")
        shape, _, dtype = read(file)
    if size is not None and not dtype.hasobject and math.prod(shape) * dtype.itemsize != (held := size - file.tell()):
        raise ValueError(f"shape {shape} and {held:,} bytes")  # a forged shape must not fill the memory
    return Header(shape, dtype, crc)


def to_uint8(least: float, largest: float) -> str:
    """How images with such values can be saved as uint8."""
    if math.isnan(least) or math.isinf(least) or math.isinf(largest):
        return "Some of their values are not finite: find out why before you save them again."
    span = f"Their values go from {least:.5g} to {largest:.5g}"
    if least >= 0 and largest <= 1:
        how = "(255 * images).round().astype('uint8')"
    elif least >= 0 and largest <= 255:
        how = "images.round().astype('uint8')"
    elif least >= 0 and largest < 2**16:
        how = f"(images.astype('uint16') >> {int(largest).bit_length() - 8}).astype('uint8')"
    elif least >= -1 and largest <= 1:
        how = "(127.5 * (images + 1)).round().astype('uint8')"
    else:
        how = f"((images - {least:.5g}) * (255 / {largest - least:.5g})).round().astype('uint8')"
    return f"{span}. To save them again: {how}."


def to_labels(given: npt.NDArray[Any]) -> str:
    """How to make labels [n] from an array of another shape or type, in a line of its own; "" if it cannot be done."""
    if given.dtype.kind not in "fiub":
        return ""
    if given.ndim == 1:
        whole = given.dtype.kind == "b" or bool(np.all(given == np.floor(given)))
        return "\nThey are whole numbers: labels.astype(int)." if whole else "\nThey are measurements, not classes."
    if given.ndim != 2 or not given.size or not np.isin(given, (0, 1)).all():
        return ""
    several = given.sum(1) != 1  # [n]
    if not several.any():
        return "\nThey are one-hot: labels.argmax(1)."
    row = int(several.argmax())
    return (
        f"\n{int(several.sum()):,} images belong to no class or to several (row {row:,}: {int(given[row].sum())}). Keep "
        "those of one class, labels.sum(1) == 1, in images and labels; then take labels.argmax(1)."
    )


@dataclass(frozen=True)
class Layout:
    """How the images lie in their array."""

    images: int  # n
    shape: tuple[int, int, int]  # (C, H, W)
    channels_last: bool

    def channels_first(self, images: Images) -> Images:
        """The images as [n, C, H, W]."""
        return images.transpose(0, 3, 1, 2) if self.channels_last else images.reshape(self.images, *self.shape)


def layout(npz: Npz, key: str) -> Layout:
    """How the images of array `key` lie; raises `DataError` where it is not uint8 of one of the three layouts."""
    header = npz.header(key, "images")
    shape, dtype = header.shape, header.dtype
    if dtype != np.uint8:
        raise DataError(f"Images {key!r} of {npz.path} are {dtype}, not uint8. {to_uint8(*npz.extent(key))}")
    last, first = (len(shape) == 4 and shape[axis] in (1, 3) for axis in (3, 1))
    if 0 in shape or (len(shape) != 3 and last == first):
        both = " could be read either way" if last and first else " are not"
        raise DataError(
            f"Images {key!r} of {npz.path} of shape {list(shape)}{both} [n, H, W], [n, H, W, C] or [n, C, H, W], C 1 or 3."
            + (f"\n{ON_WHITE}" if len(shape) == 4 and shape[3] in (2, 4) else "")
        )
    if len(shape) == 3:
        return Layout(shape[0], (1, shape[1], shape[2]), channels_last=False)
    n, *rest = shape
    return Layout(n, (rest[2], rest[0], rest[1]) if last else (rest[0], rest[1], rest[2]), channels_last=last)
