"""Sinusoids: regression tasks of one wave each, y = amplitude * sin(frequency * x - phase).

- `sinusoid` (Finn et al. 2017, section 5.1): amplitude 0.1 to 5, phase 0 to pi, frequency 1.
- `sinusoid-varying-frequency` (Li et al. 2017, section 4.1; Lee & Choi 2018): frequency 0.8 to 1.2 too. Li et al. add the
  phase: sin(wx + b) is -sin(w(-x) - b), so that over a symmetric domain the two families differ only in signs.

Points are uniform in [-5, 5], without noise.
"""

from collections.abc import Mapping
from math import pi
from typing import ClassVar

import numpy as np

from fewshot_bench.data.functions import FunctionFamily, Range, Values


class Sinusoid(FunctionFamily):
    """Waves of one frequency."""

    parameters: ClassVar[Mapping[str, Range]] = {"amplitude": (0.1, 5.0), "phase": (0.0, pi)}
    domain = (-5.0, 5.0)

    def values(self, x: Values, parameters: Mapping[str, Values]) -> Values:
        """The waves at x [B, n]."""
        return parameters["amplitude"] * np.sin(parameters.get("frequency", 1.0) * x - parameters["phase"])


class SinusoidVaryingFrequency(Sinusoid):
    """Waves whose frequency varies too."""

    parameters: ClassVar[Mapping[str, Range]] = {**Sinusoid.parameters, "frequency": (0.8, 1.2)}
