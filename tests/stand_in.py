"""A predictor without a network."""

from collections.abc import Callable

import numpy as np
from gigaslide.models import Predictor
from gigaslide.wsi import InputSpec, StainMethod


def predictor_of(
    score: Callable[[np.ndarray], np.ndarray],
    *,
    patch_px: int = 75,
    centre_px: int = 32,
    mpp: float = 0.5,
    stain: StainMethod | None = None,
) -> Predictor:
    """A predictor of one scale whose tumour probability is score: (N, P, P, 3) uint8 → (N,)."""

    def forward(patches: np.ndarray) -> np.ndarray:
        tumor = np.asarray(score(patches[:, 0]))
        return np.stack([1 - tumor, tumor], axis=1)

    spec = InputSpec(patch_px=patch_px, centre_px=centre_px, mpps=(mpp,), stain=stain)
    return Predictor(spec=spec, forward=forward, hash="h")
