"""Photographs decoded with one depth for all 16-bit images, if the user stated none."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

from fewshot_bench.data.dataset import Images, Progress
from fewshot_bench.data.files.source_files import Files
from fewshot_bench.data.images.decoding import IN_THIS_PROCESS, UNREADABLE, Photo, decoded, in_parallel, opened_image
from fewshot_bench.data.images.depth import SHALLOWEST, DepthNeeded, bits_of, is_deep


def decoded_photos(
    files: Files, groups: Iterable[Sequence[str]], photo: Photo, progress: Progress, where: str = ""
) -> Iterator[Images]:
    """As `decoded`. If the photo's depth is not known (0), it becomes the least that holds every value of all 16-bit images.
    Without such images that costs nothing."""
    groups = [list(group) for group in groups]
    made = 0
    try:
        for block in decoded(files, groups, photo, progress, where):
            made += 1
            yield block
    except DepthNeeded:  # by the first such image
        known = replace(photo, depth=common_depth(files, groups))
        yield from decoded(files, groups, known, progress, where, made)


def common_depth(files: Files, groups: Sequence[Sequence[str]]) -> int:
    """The least number of bits that holds every value of all 16-bit images, at least 8."""
    alone = sum(map(len, groups)) <= IN_THIS_PROCESS
    depth: int = max(SHALLOWEST, *in_parallel(partial(_most_bits, files), groups, alone=alone))
    return depth


def _most_bits(files: Files, names: Sequence[str]) -> int:
    """The most bits that the values of the 16-bit images among these need; 0 if there are none."""
    most = 0
    for name in names:
        with suppress(*UNREADABLE):  # decoding it names it
            content = files.read(name)
            if is_deep(content):
                with opened_image(content) as image:
                    most = max(most, bits_of(content, image))
    return most
