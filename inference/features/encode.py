"""Features of windows: the windows of a slide that hold tissue, and any `Encoder` on them."""

import logging
from collections.abc import Iterator
from contextlib import closing

import numpy as np

from ...models import Encoder
from ...storage import SlideError, name_of
from ...wsi import CellGrid, CellStatus, InputSpec, Slide, StainFit, WindowSpec, tissue_mask
from ..read_ahead import read_ahead
from ..score import tissue_cells
from ..settings import FeatureSettings

__all__ = ["encode_windows", "find_windows", "window_grid"]

logger = logging.getLogger(__name__)


def window_grid(slide: Slide, spec: InputSpec, settings: FeatureSettings) -> CellGrid:
    """Return the windows of a slide, those without tissue included.

    Raises:
        SpacingError: the slide is coarser than the finest scale.
    """
    scale = slide.scale(spec.mpp, allow_upsampling=settings.allow_upsampling, network="encoder")
    windows = WindowSpec(
        side_px=spec.patch_px,
        centre_px=spec.patch_px,
        stride_px=settings.stride_px or spec.patch_px,
        mpp=scale.mpp,
    )
    return windows.grid(width_level0=slide.info.width, height_level0=slide.info.height, scale=scale)


def find_windows(slide: Slide, grid: CellGrid, settings: FeatureSettings) -> np.ndarray:
    """Return the cells whose windows hold enough tissue, (N, 2) int64 (row, column)."""
    status = tissue_cells(grid, tissue_mask(slide, settings.tissue), settings)
    return np.argwhere(status == CellStatus.NOT_YET)


def encode_windows(
    slide: Slide,
    xy: np.ndarray,
    encoder: Encoder,
    settings: FeatureSettings,
    *,
    stain: StainFit | None = None,
    threads: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """Encode windows with top left corners xy, (N, 2) integer level-0 (x, y) of the finest scale.

    Return the indices of the M windows that could be read, (M,) int64 rising, and their features,
    (M, D) float16. stain is the fit of the slide, for an encoder that takes normalised pixels.

    A thread reads the next batches, decoding tiles on up to `threads` threads, while the encoder
    computes. At most four batches are in memory.

    Raises:
        SlideError: features that are not finite, or too large for float16.
    """
    features = np.zeros((len(xy), encoder.length), np.float16)
    is_read = np.zeros(len(xy), bool)
    patches = slide.read_concentric(
        xy, encoder.card.input_spec, allow_upsampling=settings.allow_upsampling, threads=threads
    )
    batch_size = encoder.batch_size or settings.batch_size
    with closing(read_ahead(_batches(patches, encoder, batch_size, stain))) as batches:
        for indices, windows in batches:
            with np.errstate(over="ignore"):
                found = encoder(windows)[: len(indices)].astype(np.float16)
            _refuse_nan(found, xy[indices], encoder)
            features[indices] = found
            is_read[indices] = True
    if is_read.any() and not features.any():
        logger.warning(
            "%s: the encoder %s gives only zeros, or values too small for float16, and nothing can "
            "be learnt from them; check that its weights are trained",
            name_of(slide.info.path),
            encoder.card.name,
        )
    return np.flatnonzero(is_read), features[is_read]


def _refuse_nan(features: np.ndarray, xy: np.ndarray, encoder: Encoder) -> None:
    finite = np.isfinite(features).all(axis=1)
    if not finite.all():
        x, y = xy[np.argmin(finite)].tolist()
        raise SlideError(
            f"the encoder {encoder.card.name} gives values that are not finite, or above 65504, "
            f"for the window at x {x}, y {y} of level 0; check its card (mean, std), or use "
            "another encoder"
        )


def _batches(
    patches: Iterator[tuple[int, tuple[np.ndarray, ...] | None]],
    encoder: Encoder,
    size: int,
    stain: StainFit | None,
) -> Iterator[tuple[list[int], np.ndarray]]:
    """Batches of one size; the last one is short, or ends in zeros where the encoder would be
    compiled for its size."""
    indices: list[int] = []
    windows = np.zeros((size, *encoder.shape), np.uint8)
    for index, patch in patches:
        if patch is None:
            continue
        pixels = np.stack(patch)
        if stain is not None:
            pixels = stain.apply(pixels)
        windows[len(indices)] = pixels.reshape(encoder.shape)
        indices.append(index)
        if len(indices) == size:
            yield indices, windows
            indices, windows = [], np.zeros((size, *encoder.shape), np.uint8)
    if indices:
        yield indices, windows if encoder.fills_batches else windows[: len(indices)]
