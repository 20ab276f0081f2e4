"""Heatmap of one slide, computed at once in this process and kept in memory."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from ..models import DensePredictor, Predictor
from ..storage import SettingsError
from ..wsi import CellStatus, Heatmap, Slide
from .modes import FastScorer, Networks
from .order import block_side, order_by_square
from .score import WindowScores, find_cells, fit_slide_stain, heatmap_fields, score_windows
from .settings import PredictSettings

__all__ = ["predict_slide"]


def predict_slide(
    slide: Slide,
    predictor: Predictor,
    settings: PredictSettings,
    *,
    slide_id: str,
    dense: DensePredictor | None = None,
) -> Heatmap:
    """Return the heatmap of a slide.

    Windows at the border are padded with the slide's background. Cells without tissue, cells that
    cannot be read and cells for which the network gave NaN are marked and have no probability.
    dense: the same model, for modes whose first pass is dense.

    Raises:
        SpacingError: the slide is coarser than the model's µm/px.
        SettingsError: the mode needs a dense predictor.
    """
    grid, initial = find_cells(slide, predictor.spec, settings)
    cells = np.argwhere(initial == CellStatus.NOT_YET)
    stain = fit_slide_stain(slide, grid.windows_xy(cells), predictor.spec, settings)
    status = initial.copy()
    probability = np.full(status.shape, np.nan, np.float32)
    spread = np.full(status.shape, np.nan, np.float32) if predictor.members else None
    if settings.mode == "exact":
        xy = grid.windows_xy(cells)
        scored = [(cells, score_windows(slide, xy, predictor, settings, stain=stain))]
    else:
        scorer = FastScorer(
            slide=slide,
            grid=grid,
            status=initial,
            networks=_networks_of(predictor, dense, settings),
            settings=settings,
            stain=stain,
        )
        scored = _score_squares(scorer, cells)
    for part, scores in scored:
        at = tuple(part.T)
        probability[at], status[at] = scores.probability, scores.status
        if spread is not None:
            spread[at] = scores.spread
    return Heatmap(
        slide=slide_id,
        probability=probability,
        status=status,
        spread=spread,
        model_hash=predictor.hash,
        **heatmap_fields(slide, grid),
    )


def _networks_of(
    predictor: Predictor, dense: DensePredictor | None, settings: PredictSettings
) -> Networks:
    def load_dense() -> DensePredictor:
        if dense is None:
            raise SettingsError(f"mode {settings.mode} needs a dense predictor; give one")
        return dense

    return Networks(patches=lambda: predictor, dense=load_dense)


def _score_squares(
    scorer: FastScorer, cells: np.ndarray
) -> Iterator[tuple[np.ndarray, WindowScores]]:
    """Yield the cells (N, 2) (row, column) of each square of a slide, and their scores."""
    side = block_side(scorer.settings, scorer.grid.spec.stride_px)
    ordered, starts = order_by_square(cells, side)
    for first, last in pairwise(starts):
        part = ordered[first:last]
        yield part, scorer.score(part)
