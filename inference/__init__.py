"""A heatmap and detections from a model and slides."""

from .detect import detections_of, find_peaks
from .predict import predict_cohort, slides_to_predict
from .score import heatmap_grid, orientation_mean, score_slide, tissue_cells
from .settings import PredictSettings

__all__ = [
    "PredictSettings",
    "detections_of",
    "find_peaks",
    "heatmap_grid",
    "orientation_mean",
    "predict_cohort",
    "score_slide",
    "slides_to_predict",
    "tissue_cells",
]
