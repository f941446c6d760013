"""The arrays of an .npz file: what they are is known before they are read, and a pickle among them is never loaded.

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

from fewshot_bench.archives import zip_members
from fewshot_bench.dataset import Images
from fewshot_bench.errors import DataError
from fewshot_bench.files import BROKEN, damaged_archive
from fewshot_bench.regular import check_regular

EXPECTED = "Expected of --data-root: an .npz of `images`, uint8 [n, H, W], [n, H, W, C] or [n, C, H, W], and `labels` [n]."
TO_UINT8 = {
    "f": "of values from 0 to 1: (255 * images).round().astype('uint8')",
    "b": "255 * images.astype('uint8')",
}
"""What makes uint8 of another kind of number."""


@dataclass(frozen=True)
class Header:
    """What an array is: its shape, its type, the CRC-32 of its file."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    crc: int


@dataclass(frozen=True)
class Npz:
    """The arrays of a file. All raise `DataError`: for a file that is damaged or no .npz, an array that is not there or is
    of another kind."""

    path: Path

    @cached_property
    def headers(self) -> dict[str, Header]:
        """The arrays by key."""
        headers = {}
        with self._damage_named():
            check_regular(self.path)
            with ZipFile(self.path) as archive:
                for name, info in zip_members(archive, self.path).items():
                    if name.endswith(".npy"):
                        with archive.open(info) as file:
                            headers[name.removesuffix(".npy")] = _header(file, info.CRC, info.file_size)
        return headers

    def header(self, key: str, option: str) -> Header:
        """The header of array `key`, which option `option` names."""
        if key not in self.headers:
            there = ", ".join(self.headers) or "no arrays"
            raise DataError(f"{self.path} has no array {key!r}, but {there}: --set data.{option}=NAME.\n{EXPECTED}")
        if self.headers[key].dtype.hasobject:
            raise DataError(
                f"Array {key!r} of {self.path} is pickled Python objects, which are not loaded. Save it as plain values: "
                f"np.array(list({key})), of one shape and type."
            )
        return self.headers[key]

    def read(self, key: str) -> npt.NDArray[Any]:
        """An array."""
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
                + ("\nIf they are one-hot: labels.argmax(1)." if len(shape) == 2 else "")
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

    @contextmanager
    def _damage_named(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise DataError(f"No such file or folder: {self.path}.") from None
        except BROKEN as error:
            raise damaged_archive(self.path, error) from error


def _header(file: IO[bytes], crc: int, size: int) -> Header:
    """The header of an array of `size` bytes in all; raises `ValueError` where it does not fit."""
    read = np.lib.format.read_array_header_1_0
    if np.lib.format.read_magic(file) != (1, 0):
        read = np.lib.format.read_array_header_2_0
    with warnings.catch_warnings():  # that the file was written by Python 2
        warnings.simplefilter("ignore")
        shape, _, dtype = read(file)
    held = size - file.tell()
    if not dtype.hasobject and math.prod(shape) * dtype.itemsize != held:  # a forged shape must not fill the memory
        raise ValueError(f"shape {shape} and {held:,} bytes")
    return Header(shape, dtype, crc)


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
        how = TO_UINT8.get(dtype.kind, "of values from 0 to 255: images.astype('uint8')")
        raise DataError(f"Images {key!r} of {npz.path} are {dtype}, not uint8. To save them anew, {how}.")
    last, first = (len(shape) == 4 and shape[axis] in (1, 3) for axis in (3, 1))
    if 0 in shape or (len(shape) != 3 and last == first):
        both = " could be read either way" if last and first else " are not"
        raise DataError(
            f"Images {key!r} of {npz.path} of shape {list(shape)}{both} [n, H, W], [n, H, W, C] or [n, C, H, W], C 1 or 3."
        )
    if len(shape) == 3:
        return Layout(shape[0], (1, shape[1], shape[2]), channels_last=False)
    n, *rest = shape
    return Layout(n, (rest[2], rest[0], rest[1]) if last else (rest[0], rest[1], rest[2]), channels_last=last)
