"""Source of an encoder, as the command line gives it."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .card import EncoderCard

__all__ = ["EncoderDescription", "EncoderSource", "hash_files"]


@dataclass(frozen=True, kw_only=True)
class EncoderSource:
    """Options that name an encoder. Workers receive them and load the encoder themselves."""

    encoder: str
    """Model folder, ONNX file, name of a network of ours or of keras.applications, or
    module:function."""
    weights: Path | None = None
    """File of weights, for a network given by name."""
    card: Path | None = None
    """File of the card, where it is not beside the encoder."""
    patch_px: int | None = None
    """Side of a window (px), where no card gives it."""
    mpp: float | None = None
    """µm per window px, where no card gives it."""
    architecture: str = ""
    """The module:function of a model folder that has a network of the user's own."""


@dataclass(frozen=True, kw_only=True)
class EncoderDescription:
    """Facts about an encoder that are read without loading it."""

    card: EncoderCard
    hash: str
    """See `Encoder.hash`."""


def hash_files(paths: Iterable[Path]) -> str:
    """SHA-256 of the files' contents, one after the other, hexadecimal.

    Raises:
        OSError: one cannot be read.
    """
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while part := file.read(2**22):
                digest.update(part)
    return digest.hexdigest()
