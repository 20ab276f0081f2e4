"""Refusal of models that call glass tumour: by the check in their folder, or by a few windows."""

import json
from functools import lru_cache

import numpy as np

from ...storage import ModelError
from ..dense.predictor import DensePredictor
from ..ensemble import Ensemble
from ..predictor import Predictor
from .check import CHECK, UNCHOSEN, describe_called
from .pictures import WHITE_GLASS, draw_glass

__all__ = ["refuse_tumor_on_glass"]

KEPT = 4  # predictors whose scores of glass a process remembers
WINDOWS, TILES = 4, 1


def refuse_tumor_on_glass(
    models: Ensemble, predictor: Predictor | DensePredictor | None = None
) -> None:
    """Refuse models all of whose probabilities on glass are above 0.5.

    What the check in the folder of a single model says counts if it is of the same weights and
    temperature. Without it the predictor scores glass; without a predictor nothing is refused.

    Raises:
        ModelError: they call glass tumour.
    """
    found = _read_check(models)
    if found is None and predictor is not None:
        found = _score_glass(predictor)
    if found is None or not found[0] > UNCHOSEN:  # NaN is not refused here
        return
    folders = ", ".join(map(str, models.folders))
    called = describe_called([f"{WHITE_GLASS} ({found[1]:.3f})"], UNCHOSEN)
    raise ModelError(f"{folders}: {called}; --allow-tumor-on-glass predicts nevertheless")


def _read_check(models: Ensemble) -> tuple[float, float] | None:
    """Lowest and mean probability of glass by the check in the folder; None if there is none."""
    if len(models.folders) != 1:  # their mean was not checked
        return None
    try:
        check = json.loads((models.folders[0] / CHECK).read_text(encoding="utf-8"))
        if check["model_hash"] != models.hash:
            return None
        row = next(row for row in check["rows"] if row["picture"] == WHITE_GLASS)
        return float(row["lowest"]), float(row["mean"])
    except (OSError, ValueError, KeyError, TypeError, StopIteration):
        return None  # also that of an earlier version


@lru_cache(maxsize=KEPT)
def _score_glass(predictor: Predictor | DensePredictor) -> tuple[float, float]:
    """Lowest and mean probability of glass."""
    spec = predictor.spec
    if isinstance(predictor, DensePredictor):
        (tiles,) = draw_glass(spec, side_px=predictor.tile_px(1), count=TILES)
        scores = predictor.score_members(list(tiles), 1)
    else:
        windows = draw_glass(spec, side_px=spec.patch_px, count=WINDOWS)
        scores = predictor.score_members(windows)
    tumor = np.mean(scores[..., spec.tumor], axis=0, dtype=np.float64)
    return float(tumor.min()), float(tumor.mean())
