"""Heatmap of one slide, computed at once in this process and kept in memory."""

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
    grid, status = find_cells(slide, predictor.spec, settings)
    initial, cells = status.copy(), np.argwhere(status == CellStatus.NOT_YET)
    stain = fit_slide_stain(slide, grid.windows_xy(cells), predictor.spec, settings)

    def load_dense() -> DensePredictor:
        if dense is None:
            raise SettingsError(f"mode {settings.mode} needs a dense predictor; give one")
        return dense

    networks = Networks(patches=lambda: predictor, dense=load_dense)
    probability = np.full(status.shape, np.nan, np.float32)
    spread = np.full(status.shape, np.nan, np.float32) if predictor.members else None

    def fill_in(at: tuple[np.ndarray, ...], scores: WindowScores) -> None:
        probability[at], status[at] = scores.probability, scores.status
        if spread is not None:
            spread[at] = scores.spread

    if settings.mode == "exact":
        xy = grid.windows_xy(cells)
        fill_in(tuple(cells.T), score_windows(slide, xy, predictor, settings, stain=stain))
    else:
        ordered, starts = order_by_square(cells, block_side(settings, grid.spec.stride_px))
        scorer = FastScorer(
            slide=slide,
            grid=grid,
            status=initial,
            networks=networks,
            settings=settings,
            stain=stain,
        )
        for first, last in pairwise(starts):
            part = ordered[first:last]
            fill_in(tuple(part.T), scorer.score(part))
    return Heatmap(
        slide=slide_id,
        probability=probability,
        status=status,
        spread=spread,
        model_hash=predictor.hash,
        **heatmap_fields(slide, grid),
    )
