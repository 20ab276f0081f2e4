"""Heatmaps and detections from a model and slides."""

from .detect import find_detections, find_peaks
from .export import EXPORTERS, Exporter
from .predict import predict_cohort, slides_to_predict, with_default_workers
from .prediction_folder import THRESHOLD
from .score import heatmap_grid, predict_slide, tissue_cells
from .settings import PredictSettings

__all__ = [
    "EXPORTERS",
    "THRESHOLD",
    "Exporter",
    "PredictSettings",
    "find_detections",
    "find_peaks",
    "heatmap_grid",
    "predict_cohort",
    "predict_slide",
    "slides_to_predict",
    "tissue_cells",
    "with_default_workers",
]
