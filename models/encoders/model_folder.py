"""A gigaslide model folder as an encoder: the features that its classifier takes."""

from pathlib import Path

import numpy as np

from ...storage import ModelError
from ..card import CARD, ENSEMBLE, ModelCard
from ..ensemble import Ensemble
from ..predictor import start_model
from ..runtimes.registry import RuntimeChoice, RuntimeName
from ..training_slides import find_training_slides
from .card import EncoderCard
from .encoder import Encoder
from .source import EncoderDescription, EncoderSource

__all__ = ["describe_folder", "is_folder", "start_folder"]


def is_folder(source: EncoderSource) -> bool:
    """Tell whether an encoder is a folder."""
    return Path(source.encoder).is_dir()


def describe_folder(source: EncoderSource) -> EncoderDescription:
    """Describe a model folder.

    Raises:
        ModelError: no model folder, an ensemble, a damaged one, or windows given that are not its
            own.
    """
    card = _load_card(source)
    spec = card.input_spec
    fields = {
        "name": Path(source.encoder).resolve().name,
        "patch_px": spec.patch_px,
        "mpp": spec.mpp,
        "further_mpp": spec.mpps[1:],
        "stain": spec.stain,
        "training_slides": find_training_slides(Path(source.encoder), without_classifier=True),
    }
    encoder = EncoderCard.of_fields(
        fields, source.encoder, patch_px=source.patch_px, mpp=source.mpp
    )
    return EncoderDescription(card=encoder, hash=card.weights_sha256)


def start_folder(
    source: EncoderSource, found: EncoderDescription, runtime: RuntimeName, threads: int | None
) -> Encoder:
    """Load the network without its classifier, see `load_encoder`."""
    folder, card = Path(source.encoder), _load_card(source)
    card.check_weights(folder)
    started = start_model(
        folder,
        card,
        RuntimeChoice(runtime=runtime, threads=threads),
        architecture=source.architecture,
        part="features",
    )

    def encode(patches: np.ndarray) -> np.ndarray:
        return started.forward(patches[:, None] if patches.ndim == 4 else patches)

    return Encoder(card=found.card, encode=encode, hash=found.hash, runtime=started.name)


def _load_card(source: EncoderSource) -> ModelCard:
    folder = Path(source.encoder)
    for given, option in ((source.card, "--encoder-card"), (source.weights, "--encoder-weights")):
        if given is not None:
            raise ModelError(f"{folder}: has its own card and weights; leave out {option}")
    is_ensemble = (folder / ENSEMBLE).is_file()
    if is_ensemble or not (folder / CARD).is_file():
        members = [one for one in sorted(folder.iterdir()) if (one / CARD).is_file()]
        if members:
            raise ModelError(
                f"{folder}: is an ensemble, whose members have different features; give one of "
                f"them, such as {members[0]}"
            )
    Ensemble((folder,)).check_architecture(source.architecture)
    return ModelCard.load(folder)
