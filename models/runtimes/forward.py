"""Forward pass of a network as a function, and the precision in which it computes."""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np

__all__ = ["Forward", "Precision"]

Forward = Callable[[Any], np.ndarray]
"""(N, scales, P, P, 3) uint8 RGB → (N, classes) probabilities. For a dense network, a list of tiles
(1, T, T, 3), one a scale → (1, n, n, classes)."""

Precision = Literal["float32", "bfloat16", "int8"]
"""int8: only what was quantised before, see `quantise_model`."""
