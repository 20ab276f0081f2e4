"""Networks, the folders they live in, and the runtimes that compute them.

Importing this room is quick: Keras comes in with the first network that is built.
"""

from .bags.folder import load_bag_ensemble, save_bag_model
from .bags.model import BagEnsemble, BagModel, BagScores
from .bags.network import BagNetwork, bucket_size, choose_xla, draw_weights
from .bags.options import BAG_ARCHITECTURE, BagOptions, BagPooling
from .card import (
    CARD,
    ENSEMBLE,
    WEIGHTS,
    FeatureInput,
    ModelCard,
    OperatingThreshold,
    Temperature,
    hash_weights,
    parameter_counts,
)
from .check.check import CHECK, CheckRow, ModelCheck, check_model, score_in_batches
from .check.glass import refuse_tumor_on_glass
from .dense.load import check_dense, find_cam_stride, hash_int8, load_dense_predictor
from .dense.predictor import DensePredictor
from .describe import describe_model
from .encoders.card import EncoderCard
from .encoders.encoder import Encoder
from .encoders.load import describe_encoder, load_encoder
from .encoders.source import EncoderDescription, EncoderSource
from .ensemble import Ensemble, EnsembleCard, find_members
from .export import EXPORT_FORMATS, ExportFormat, export_model
from .initial_weights import fill_network, hash_initial_weights
from .networks.architectures import (
    ARCHITECTURES,
    Architecture,
    ArchitectureName,
    build_network,
    check_widths,
    find_architecture,
)
from .networks.options import NetworkOptions, Width
from .networks.own_network import is_own_network, refuse_other_network
from .networks.whole_slide import (
    CELL_PX,
    WholeSlideArchitecture,
    WholeSlideNetwork,
    build_whole_slide_network,
    pool_cells,
)
from .predictor import Predictor, load_predictor
from .quantise import quantise_model, refuse_missing_int8
from .regions.build import build_region_network
from .regions.options import REGION_ARCHITECTURE, RegionOptions
from .regions.predictor import RegionPredictor, load_region_predictor
from .runtimes.allocator import keep_large_buffers
from .runtimes.backend import choose_backend, prepare_keras
from .runtimes.device import describe_device
from .runtimes.forward import Forward, Precision
from .runtimes.registry import RUNTIMES, TOLERANCES, RuntimeChoice, RuntimeName
from .temperature import scale_probabilities, with_temperature
from .training_slides import find_training_slides
from .weights import load_network

__all__ = [
    "ARCHITECTURES",
    "BAG_ARCHITECTURE",
    "CARD",
    "CELL_PX",
    "CHECK",
    "ENSEMBLE",
    "EXPORT_FORMATS",
    "REGION_ARCHITECTURE",
    "RUNTIMES",
    "TOLERANCES",
    "WEIGHTS",
    "Architecture",
    "ArchitectureName",
    "BagEnsemble",
    "BagModel",
    "BagNetwork",
    "BagOptions",
    "BagPooling",
    "BagScores",
    "CheckRow",
    "DensePredictor",
    "Encoder",
    "EncoderCard",
    "EncoderDescription",
    "EncoderSource",
    "Ensemble",
    "EnsembleCard",
    "ExportFormat",
    "FeatureInput",
    "Forward",
    "ModelCard",
    "ModelCheck",
    "NetworkOptions",
    "OperatingThreshold",
    "Precision",
    "Predictor",
    "RegionOptions",
    "RegionPredictor",
    "RuntimeChoice",
    "RuntimeName",
    "Temperature",
    "WholeSlideArchitecture",
    "WholeSlideNetwork",
    "Width",
    "bucket_size",
    "build_network",
    "build_region_network",
    "build_whole_slide_network",
    "check_dense",
    "check_model",
    "check_widths",
    "choose_backend",
    "choose_xla",
    "describe_device",
    "describe_encoder",
    "describe_model",
    "draw_weights",
    "export_model",
    "fill_network",
    "find_architecture",
    "find_cam_stride",
    "find_members",
    "find_training_slides",
    "hash_initial_weights",
    "hash_int8",
    "hash_weights",
    "is_own_network",
    "keep_large_buffers",
    "load_bag_ensemble",
    "load_dense_predictor",
    "load_encoder",
    "load_network",
    "load_predictor",
    "load_region_predictor",
    "parameter_counts",
    "pool_cells",
    "prepare_keras",
    "quantise_model",
    "refuse_missing_int8",
    "refuse_other_network",
    "refuse_tumor_on_glass",
    "save_bag_model",
    "scale_probabilities",
    "score_in_batches",
    "with_temperature",
]
