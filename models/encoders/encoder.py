"""An encoder as a function: windows in, feature vectors out."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ...storage import ModelError
from ..runtimes.registry import compiles_each_size
from .card import EncoderCard

__all__ = ["Encode", "Encoder"]

Encode = Callable[[np.ndarray], np.ndarray]
"""(N, P, P, 3) uint8 RGB, for several scales (N, scales, P, P, 3) → (N, D) features."""


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """Feature vectors of windows. Any function of the right shape can be one, which tests use."""

    card: EncoderCard
    encode: Encode
    hash: str
    """SHA-256 of the weights, or of the code, hexadecimal."""
    runtime: str = ""
    """Name of what computes it."""
    batch_size: int | None = None
    """Windows that it takes at once; None = any number."""

    def __call__(self, patches: np.ndarray) -> np.ndarray:
        """(N, P, P, 3) uint8 RGB, for several scales (N, scales, P, P, 3) → (N, D) float32.

        Raises:
            ModelError: windows or features of another shape than the card's.
        """
        if patches.shape[1:] != self.shape or patches.dtype != np.uint8:
            raise ModelError(
                f"{self.card.name}: takes windows of shape {self.shape} of uint8, these have "
                f"{patches.shape[1:]} of {patches.dtype}"
            )
        features = np.asarray(self.encode(patches), np.float32)
        if features.ndim != 2 or len(features) != len(patches):
            raise ModelError(
                f"{self.card.name}: gives features of shape {features.shape} for {len(patches)} "
                f"windows; ({len(patches)}, length) is needed: set pooling in its card"
            )
        return features

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one window, with an axis for the scales if there are several."""
        scales, *window = self.card.input_spec.shape
        return (scales, *window) if scales > 1 else tuple(window)

    @property
    def fills_batches(self) -> bool:
        """True if a short batch has to be filled up to the size of the others."""
        return self.batch_size is not None or compiles_each_size(self.runtime)

    @cached_property
    def length(self) -> int:
        """Number of features D, found by encoding grey windows."""
        grey = np.full((self.batch_size or 1, *self.shape), 128, np.uint8)
        return self(grey).shape[1]
