"""Networks, the folders they live in, and the runtimes that compute them.

Importing this room is quick: Keras comes in with the first network that is built.
"""

from .allocator import keep_large_buffers
from .architectures import (
    ARCHITECTURES,
    Architecture,
    ArchitectureName,
    NetworkOptions,
    build_network,
    find_architecture,
)
from .backend import choose_backend, prepare_keras
from .card import (
    CARD,
    ENSEMBLE,
    WEIGHTS,
    ModelCard,
    OperatingThreshold,
    Temperature,
    hash_weights,
    parameter_counts,
)
from .check import CHECK, CheckRow, ModelCheck, check_model, score_in_batches
from .describe import describe_model
from .device import describe_device
from .ensemble import Ensemble, EnsembleCard, find_members
from .export import EXPORT_FORMATS, ExportFormat, export_model
from .initial_weights import fill_network, hash_initial_weights
from .own_network import is_own_network, refuse_other_network
from .predictor import Predictor, load_network, load_predictor
from .runtimes import RUNTIMES, Forward, RuntimeName
from .temperature import scale_probabilities, with_temperature

__all__ = [
    "ARCHITECTURES",
    "CARD",
    "CHECK",
    "ENSEMBLE",
    "EXPORT_FORMATS",
    "RUNTIMES",
    "WEIGHTS",
    "Architecture",
    "ArchitectureName",
    "CheckRow",
    "Ensemble",
    "EnsembleCard",
    "ExportFormat",
    "Forward",
    "ModelCard",
    "ModelCheck",
    "NetworkOptions",
    "OperatingThreshold",
    "Predictor",
    "RuntimeName",
    "Temperature",
    "build_network",
    "check_model",
    "choose_backend",
    "describe_device",
    "describe_model",
    "export_model",
    "fill_network",
    "find_architecture",
    "find_members",
    "hash_initial_weights",
    "hash_weights",
    "is_own_network",
    "keep_large_buffers",
    "load_network",
    "load_predictor",
    "parameter_counts",
    "prepare_keras",
    "refuse_other_network",
    "scale_probabilities",
    "score_in_batches",
    "with_temperature",
]
