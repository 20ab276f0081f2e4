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
    WEIGHTS,
    ModelCard,
    OperatingThreshold,
    hash_weights,
    parameter_counts,
)
from .device import describe_device
from .ensemble import ENSEMBLE, Ensemble, EnsembleCard, find_members
from .initial_weights import fill_network, hash_initial_weights
from .own_network import is_own_network, refuse_other_network
from .predictor import Predictor, load_network, load_predictor
from .runtimes import RUNTIMES, Forward, RuntimeName

__all__ = [
    "ARCHITECTURES",
    "CARD",
    "ENSEMBLE",
    "RUNTIMES",
    "WEIGHTS",
    "Architecture",
    "ArchitectureName",
    "Ensemble",
    "EnsembleCard",
    "Forward",
    "ModelCard",
    "NetworkOptions",
    "OperatingThreshold",
    "Predictor",
    "RuntimeName",
    "build_network",
    "choose_backend",
    "describe_device",
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
]
