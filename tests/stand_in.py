"""Predictors without a network."""

from collections.abc import Callable

import numpy as np
from gigaslide.models import DensePredictor, Predictor
from gigaslide.models.dense.layout import DenseLayout
from gigaslide.models.dense.predictor import DenseMember
from gigaslide.models.runtimes.registry import StartedRuntime
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


def dense_of(score: Callable[[np.ndarray], np.ndarray], *, step_px: int = 32) -> DensePredictor:
    """The dense predictor whose cells have the probabilities of `predictor_of` on their patches."""
    spec = predictor_of(score).spec
    side = spec.patch_px

    def forward(tiles: list[np.ndarray]) -> np.ndarray:
        windows = np.lib.stride_tricks.sliding_window_view(tiles[0][0], (side, side, 3))
        patches = windows[::step_px, ::step_px, 0]
        tumor = score(patches.reshape(-1, side, side, 3)).reshape(patches.shape[:2])
        return np.stack([1 - tumor, tumor], axis=-1)[None]

    layout = DenseLayout(
        patch_px=side, shrink=1, features=1, stride_px=step_px, halo_features=0, shift_px=0
    )
    started = StartedRuntime("stand-in", forward, 0.0)
    return DensePredictor(
        spec=spec,
        steps_px=(step_px,),
        members=(DenseMember(layout=layout, started=started),),
        hash="h",
    )
