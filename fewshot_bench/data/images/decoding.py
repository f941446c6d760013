"""Image files decoded once, in parallel processes, into uint8 arrays.

Legend: n images of a block, C channels, S the side of a prepared image.
"""

import errno
import os
import re
import signal
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import Any, Literal

import numpy as np
from PIL import Image, UnidentifiedImageError

from fewshot_bench.data.dataset import Images, Progress
from fewshot_bench.data.files.file_kinds import kind_of
from fewshot_bench.data.files.source_files import BROKEN, LARGEST_FILE, Files
from fewshot_bench.data.images.depth import DEEPEST, is_deep, scale_clear, shallow
from fewshot_bench.data.images.loss_notes import Remarks, heard, pass_on, remark_moving, remark_see_through
from fewshot_bench.errors import DataError, FewshotError, few
from fewshot_bench.threads import cores

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp")
LARGEST = 100_000_000
"""Pixels that an image may have: three times ImageNet's largest, and 300 MB decoded."""
IN_THIS_PROCESS = 500
"""Up to this many images are decoded before other processes would have started."""
AHEAD = 3
"""Items per process that are given out before the first result is taken. So many results are held, and an
interrupted process finishes so many before it ends."""
KILLED = (
    "A process that decodes images was killed, perhaps because memory ran out.\n"
    "Fewer processes need less: with LOKY_MAX_CPU_COUNT=1 this process decodes alone."
)
UNREADABLE = (*BROKEN, Image.DecompressionBombError, SyntaxError)
"""What reading and decoding a damaged file raises."""

HIDDEN = re.compile(r"(?:^|/)(?:\.(?!/)|__MACOSX)")
"""In a path: a file or folder that is hidden. (`./` is not one.)"""
Background = Literal["white", "black"]
Resize = Literal["crop", "squash"]
"""`crop`: the largest square in the middle (Pillow's `ImageOps.fit`); `squash`: all of it, whatever its aspect ratio."""
ORIENTATION = 0x0112
"""EXIF's tag that says how a photograph is to be turned."""
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class OtherKind(ValueError):
    """A file is not an image that can be read, whatever its name says. The text says what it is."""


Decode = Callable[[bytes], Images]
"""From a file's content to pixels [C, S, S]; raises an error of `UNREADABLE`."""


@dataclass(frozen=True)
class Photo:
    """How a photograph becomes pixels: a `Decode` that can be sent to other processes.

    It is turned as its EXIF says, transparency is laid on a background, 16 bits become 8, and of several pictures the first
    is taken. Then it is resized with Pillow's Lanczos filter. Colour profiles and gamma are left alone.
    """

    side: int
    resize: Resize = "crop"
    channels: int = 3
    """3: RGB; 1: grey."""
    upright: bool = True
    """Whether EXIF's rotation is carried out. The papers' own preparations of ImageNet do not."""
    depth: int = DEEPEST
    """How many bits the values of 16-bit images have, 8 to 16. 0: not known; such an image then raises `DepthNeeded`."""
    background: Background = "white"
    """What shows through a see-through image."""

    def __call__(self, content: bytes) -> Images:
        """The pixels [C, S, S]; raises an error of `UNREADABLE`."""
        with opened_image(content) as image:
            moving = image.format in ("PNG", "WEBP") and getattr(image, "n_frames", 1) > 1
            scale_clear(content, image)
            flat = shallow(content, image, self.depth) if is_deep(content) else image
            plain = _opaque(flat, self.background).convert("RGB" if self.channels == 3 else "L")
            turned = _upright(plain, image.getexif()) if self.upright else plain
        if moving:
            remark_moving()
        return resized(turned, self.side, self.resize)


@contextmanager
def opened_image(content: bytes) -> Iterator[Image.Image]:
    """An image file, not yet decoded; raises an error of `UNREADABLE`."""
    with warnings.catch_warnings():  # Pillow's remarks on large images, which LARGEST decides, and on odd metadata
        warnings.simplefilter("ignore")
        try:
            opened = Image.open(BytesIO(content), formats=["JPEG", "PNG", "WEBP", "BMP"])
        except UnidentifiedImageError as error:
            raise (OtherKind(kind) if (kind := kind_of(content)) else error) from error
        with opened as image:
            if image.width * image.height > LARGEST:  # before decoding: a forged header must not fill the memory
                raise Image.DecompressionBombError(f"{image.width:,} x {image.height:,} pixels, more than {LARGEST:,}")
            yield image


def resized(image: Image.Image, side: int, resize: Resize) -> Images:
    """An image of mode L or RGB as pixels [C, S, S], by Pillow's Lanczos filter."""
    box = None
    if resize == "crop":
        left, top = (image.width - min(image.size)) / 2, (image.height - min(image.size)) / 2
        box = (left, top, left + min(image.size), top + min(image.size))
    small = image.resize((side, side), Image.Resampling.LANCZOS, box)
    return np.ascontiguousarray(np.atleast_3d(np.asarray(small, np.uint8)).transpose(2, 0, 1))  # [C, S, S]


def _upright(image: Image.Image, exif: Image.Exif) -> Image.Image:
    """An image turned as its EXIF says. (Pillow's `exif_transpose` also writes that EXIF anew, and fails on odd ones.)"""
    turn = TURNS.get(exif.get(ORIENTATION, 1))
    return image if turn is None else image.transpose(turn)


def _opaque(image: Image.Image, background: Background) -> Image.Image:
    """An image of 8 bits, laid on a background where it is see-through."""
    if not image.has_transparency_data:
        return image
    image = image.convert("RGBA")
    if image.getchannel("A").getextrema() == (255, 255):
        return image
    laid = Image.alpha_composite(Image.new("RGBA", image.size, background), image)
    remark_see_through(background, blank=len(laid.getcolors(1) or ()) == 1)
    return laid


def is_image(name: str) -> bool:
    """Whether a file is named as an image that can be read; hidden files and those of `__MACOSX` are none."""
    return name.lower().endswith(IMAGE_SUFFIXES) and not HIDDEN.search(name)


def decoded(
    files: Files, groups: Iterable[Sequence[str]], decode: Decode, progress: Progress, where: str = "", made: int = 0
) -> Iterator[Images]:
    """The images of each group of files as one block [n, C, S, S], in order, decoded by a process for each core. Those of
    the first `made` groups are there already.

    Once all have been tried, raises `DataError` that names every missing or unreadable file and says `where` they were read
    ("": in `files`). After the first such file no block is yielded.
    """
    where = where or f"Read from {files.path}."
    groups = [list(group) for group in groups]
    total, before = sum(map(len, groups)), sum(map(len, groups[:made]))
    blocks = in_parallel(partial(_decode, files, decode), groups[made:], alone=total <= IN_THIS_PROCESS)

    def counted(done: int, _: int) -> None:
        progress(before + done, total)

    yield from undamaged(_passing_on(blocks), total, counted, lambda damaged: damage(damaged, total, where))


def _passing_on(blocks: Iterable[tuple[Images, list[str], Remarks]]) -> Iterator[tuple[Images, list[str]]]:
    """The blocks of other processes, whose remarks are added to those of this one."""
    for block, damaged, remarks in blocks:
        pass_on(remarks)
        yield block, damaged


def undamaged(
    blocks: Iterable[tuple[Images, Sequence[str]]],
    total: int,
    progress: Progress,
    error: Callable[[Sequence[str]], DataError],
) -> Iterator[Images]:
    """The blocks of `total` images up to the first that is damaged; each comes with what is wrong with its images.

    Raises `error` of all that is wrong, once all have been tried.
    """
    done = 0
    damaged: list[str] = []
    for block, found in blocks:
        damaged += found
        done += len(block)
        progress(done, total)
        if not damaged:  # else all others are read only to say what is wrong with them
            yield block
    if damaged:
        raise error(damaged)


@contextmanager
def attempted(name: str, damaged: list[str]) -> Iterator[None]:
    """Adds an image's name and what is wrong with it to `damaged` where the block cannot read or decode it."""
    try:
        yield
    except FileNotFoundError:
        damaged.append(f"{name} (missing)")
    except Image.DecompressionBombError:
        damaged.append(f"{name} (more than {LARGEST:,} pixels)")
    except OtherKind as error:
        damaged.append(f"{name} (it is {error})")
    except UNREADABLE as error:
        large = isinstance(error, OSError) and error.errno == errno.EFBIG
        damaged.append(f"{name} (more than {LARGEST_FILE:,} bytes)" if large else f"{name} (unreadable)")


def damage(damaged: Sequence[str], total: int, where: str) -> DataError:
    """The error for damaged files: the first few, how many there are, and where they were read."""
    return DataError(f"{len(damaged):,} of {total:,} images are missing or damaged: {few(damaged)}.\n{where}", damaged)


def _decode(files: Files, decode: Decode, names: Sequence[str]) -> tuple[Images, list[str], Remarks]:
    """The images of some files [n, C, S, S], without pixels if any is damaged, what is wrong with them, and the remarks on
    them."""
    pixels: list[Images] = []
    damaged: list[str] = []
    with heard() as remarks:
        for name in names:
            with attempted(name, damaged):
                pixels.append(decode(files.read(name)))
    return np.empty((len(names), 0, 0, 0), np.uint8) if damaged else np.stack(pixels), damaged, remarks


def in_parallel(function: Callable[[Any], Any], items: Sequence[Any], *, alone: bool = False) -> Iterator[Any]:
    """`function` of each item, in order, by as many processes as this one may use cores; in this one if `alone`.

    Raises `FewshotError` where one of them is killed. At most `AHEAD` items a process are under way or wait to be taken.
    """
    processes = 1 if alone else min(_cores(), len(items))
    if processes < 2:
        yield from map(function, items)
        return
    from joblib.externals.loky import ProcessPoolExecutor  # its processes import no `__main__`: a script needs no guard
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    executor = ProcessPoolExecutor(  # no pool that a caller's joblib also uses
        processes, env={"OMP_NUM_THREADS": "1"}, initializer=_end_with_parent, initargs=(os.getpid(),)
    )
    ahead: deque[Future[Any]] = deque()
    try:
        for item in items:
            if len(ahead) == AHEAD * processes:
                yield ahead.popleft().result()
            with _held_interrupts():
                ahead.append(executor.submit(function, item))
        while ahead:
            yield ahead.popleft().result()
    except TerminatedWorkerError as error:
        raise FewshotError(KILLED) from error
    finally:
        executor.shutdown()  # each ends what it was given: loky kills with noise, the more where there is no `pgrep`


def _end_with_parent(parent: int) -> None:
    """Have this process end within a second of its parent: a killed parent (SIGKILL, out of memory) cannot end it."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    if os.name == "posix":  # elsewhere nobody adopts it, and a launcher may stand between the two
        threading.Thread(target=watch, daemon=True).start()


def _cores() -> int:
    from joblib import cpu_count  # those of this process's affinity, or LOKY_MAX_CPU_COUNT

    return min(int(cpu_count()), cores())


@contextmanager
def _held_interrupts() -> Iterator[None]:
    """Ctrl-C waits for the end of the block, and processes that are started in it never see it. A terminal sends it to all
    processes, but only this one handles it, and ends the others."""
    from multiprocessing.resource_tracker import ensure_running

    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    ensure_running()  # else its start, with the first process, would let them through
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
