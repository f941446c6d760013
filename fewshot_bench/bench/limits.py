"""What a machine's measured peaks would allow: units per second of each work if nothing else cost any time.

A convolution takes the time that it takes alone, layer by layer (`LayerSeconds`). In training the work between two
convolutions is bound by memory. Forward, each block's map (M values of 4 bytes) is read once to be normalised, put through
ReLU and pooled, and a quarter is written. Backward, it is read again with a quarter of a gradient, and its gradient is
written. These are 3.5 M values a pass, over the measured bandwidth (`traffic_bytes`). In a test under running statistics
that work needs no memory (it can be done before a map leaves the processor), so only the convolutions count.

A share above 1 is possible where maps stay in a cache that is faster than the memory.

Legend: C channels, H the side of a map, M = 64 H^2 values of a map, S and Q the support and query images of a task.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from fewshot_bench.bench.works import SIDE, TEST_STEPS, Size

FILTERS = 64
FLOAT = 4  # bytes


@dataclass(frozen=True)
class Layer:
    """A 3x3 convolution from `channels` maps of side x side to 64."""

    channels: int
    side: int

    @property
    def flops(self) -> int:
        """Multiplications and additions of one image's forward pass: 2 H^2 9 C 64."""
        return 2 * self.side**2 * 9 * self.channels * FILTERS

    @property
    def values(self) -> int:
        """M: the values of the map that it makes."""
        return FILTERS * self.side**2

    @property
    def passes(self) -> int:
        """Convolutions of a pass forward and backward: with the gradient of the maps only where they have one."""
        return 3 if self.channels > 1 else 2

    @property
    def second_order(self) -> int:
        """Passes that an image of the support costs in an inner step that is differentiated again.

        There is the forward convolution, and the two of the inner gradient (weights, maps). Each of these two is bilinear
        and takes two more to differentiate; the forward one takes two as usual. So 1 + 2 + 4 + 2 = 9 convolutions, three
        passes of 3. In the first layer, whose images have no gradient, 1 + 1 + 1 + 1 = 4, two passes of 2.
        """
        return 3 if self.channels > 1 else 2


CONV4_64 = tuple(Layer(channels, SIDE // 2**i) for i, channels in enumerate((1, FILTERS, FILTERS, FILTERS)))
"""28, 14, 7 and 3: each block halves the side, rounding down."""


@dataclass(frozen=True)
class LayerSeconds:
    """Seconds an image in one layer's convolution: forward, and forward and backward."""

    forward: float
    training: float


class Peaks(Protocol):
    """What a limit needs to know of a machine."""

    @property
    def layers(self) -> Sequence[LayerSeconds]:
        """Of Conv4-64."""

    @property
    def bandwidth_gbs(self) -> float:
        """The bandwidth of the memory."""


FORMULAS = {
    "maml-training": "1 / sum over layers of (Q + S passes) (t_training + 3.5 M 4 bytes / bandwidth), passes 2, 3, 3, 3",
    "prototypical-training": "1 / sum over layers of (S + Q) (t_training + 3.5 M 4 bytes / bandwidth)",
    "prototypical-test": "episodes / (images that occur x sum over layers of t_forward)",
    "scoring": "bandwidth / ((S + Q) 64 features 4 bytes, read and written)",
    "maml-test": "1 / sum over layers of (steps S (t_training + 3.5 M 4 bytes / bandwidth) + "
    "Q (t_forward + 1.25 M 4 bytes / bandwidth))",
}
"""The limits in words, for a report."""


def maml_training(peaks: Peaks, size: Size) -> float:
    """Tasks/s: each query one pass forward and backward, each support image the passes of a second-order step."""
    return 1 / sum(
        (size.query + size.support * layer.second_order) * _training_s(peaks, layer, seconds)
        for layer, seconds in zip(CONV4_64, peaks.layers, strict=True)
    )


def prototypical_training(peaks: Peaks, size: Size) -> float:
    """Episodes/s: each image one pass forward and backward."""
    layers = zip(CONV4_64, peaks.layers, strict=True)
    return 1 / (size.images * sum(_training_s(peaks, layer, seconds) for layer, seconds in layers))


def prototypical_test(peaks: Peaks, episodes: int, images: int) -> float:
    """Episodes/s of a test of `episodes` in which `images` distinct images occur, each embedded once."""
    return episodes / (images * sum(seconds.forward for seconds in peaks.layers))


def scoring(peaks: Peaks, size: Size) -> float:
    """Episodes/s: the gather of a task's embeddings, read and written."""
    features = FILTERS * (CONV4_64[-1].side // 2) ** 2  # 64: the last map of 3x3 is pooled to one value
    return peaks.bandwidth_gbs * 1e9 / (size.images * features * FLOAT * 2)


def maml_test(peaks: Peaks, size: Size) -> float:
    """Episodes/s: the support once forward and backward a step, the queries once forward under their own statistics."""
    return 1 / sum(
        TEST_STEPS * size.support * _training_s(peaks, layer, seconds)
        + size.query * (seconds.forward + 1.25 * layer.values * FLOAT / (peaks.bandwidth_gbs * 1e9))
        for layer, seconds in zip(CONV4_64, peaks.layers, strict=True)
    )


def traffic_bytes(layer: Layer) -> float:
    """Bytes that a pass forward and backward moves between the convolutions, for one image."""
    return 3.5 * layer.values * FLOAT


def _training_s(peaks: Peaks, layer: Layer, seconds: LayerSeconds) -> float:
    return seconds.training + traffic_bytes(layer) / (peaks.bandwidth_gbs * 1e9)
