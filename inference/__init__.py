"""Heatmaps, detections and features from a model and slides."""

from .bags.encoder_patients import refuse_encoder_patients
from .bags.localise import Localise, localise
from .bags.predict import check_features, predict_from_features
from .detect import find_detections, find_peaks
from .exports.beside_heatmap import BESIDE_HEATMAP
from .exports.export_predictions import check_export, export_predictions, find_predicted
from .exports.exporters import EXPORTERS, FORMATS, Exporter
from .exports.settings import ExportFormat, ExportSettings
from .features.encode import encode_windows
from .features.extract import extract_features, slides_to_encode, with_encoder_defaults
from .features.files import (
    FeatureFormat,
    ForeignFeatures,
    export_features,
    find_features,
    import_features,
)
from .predict import predict_cohort, slides_to_predict, with_default_workers
from .predict_slide import predict_slide
from .prediction_folder import THRESHOLD
from .score import fit_slide_stain, heatmap_grid, tissue_cells
from .settings import FeatureSettings, PredictSettings, WindowSettings

__all__ = [
    "BESIDE_HEATMAP",
    "EXPORTERS",
    "FORMATS",
    "THRESHOLD",
    "ExportFormat",
    "ExportSettings",
    "Exporter",
    "FeatureFormat",
    "FeatureSettings",
    "ForeignFeatures",
    "Localise",
    "PredictSettings",
    "WindowSettings",
    "check_export",
    "check_features",
    "encode_windows",
    "export_features",
    "export_predictions",
    "extract_features",
    "find_detections",
    "find_features",
    "find_peaks",
    "find_predicted",
    "fit_slide_stain",
    "heatmap_grid",
    "import_features",
    "localise",
    "predict_cohort",
    "predict_from_features",
    "predict_slide",
    "refuse_encoder_patients",
    "slides_to_encode",
    "slides_to_predict",
    "tissue_cells",
    "with_default_workers",
    "with_encoder_defaults",
]
