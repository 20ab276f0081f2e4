"""Registry of network architectures. An entry here is all that a new network needs besides its
build function: `gigaslide train --architecture` offers every entry.

A network maps (N, scales, P, P, 3) RGB pixels in [0, 255] to (N, classes) probabilities; whatever
it does to the pixels first is inside it. Nothing here imports Keras before a network is built.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationError

from ..storage import ModelError, Settings
from ..wsi import InputSpec
from .backend import prepare_keras

if TYPE_CHECKING:
    import keras

__all__ = [
    "ARCHITECTURES",
    "Architecture",
    "ArchitectureName",
    "InceptionOptions",
    "build_network",
    "find_architecture",
]

HDF5_BYTES = 800_000  # of a weights file besides its numbers: names and tables of 378 arrays


class InceptionOptions(Settings):
    """Options of the Inception networks."""

    batch_norm_momentum: float = Field(default=0.99, ge=0, lt=1)
    """Momentum of the running statistics of batch normalisation; used in training only."""


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """One kind of network: how it is built, what it takes, how large it is."""

    build: Callable[[InputSpec, Any], "keras.Model"]
    """From input spec and options to a network with random weights."""
    options: type[Settings]
    """Model of the options. An option is set by the field of `TrainSettings` of the same name, and
    keeps its default where there is no such field."""
    min_patch_px: int
    """Smallest side of a patch."""
    preprocessing: str
    """Preprocessing inside the network, in words; a model card holds it as `pixels`."""
    parameters: int
    """Numbers in a network of one scale and two classes."""
    windows_per_s: float
    """Windows of 299 px that Keras scores per second on 2 cores with AVX2; for the estimates of
    `gigaslide doctor`."""

    @property
    def weights_bytes(self) -> int:
        """Approximate size of a weights file: float32 numbers and HDF5's tables."""
        return 4 * self.parameters + HDF5_BYTES


def _inception_v3(
    spec: InputSpec, options: InceptionOptions, *, multiplier: float
) -> "keras.Model":
    from .inception import build_inception_v3

    return build_inception_v3(spec, options, multiplier=multiplier)


ARCHITECTURES: dict[str, Architecture] = {
    "inception_v3_small": Architecture(
        build=partial(_inception_v3, multiplier=0.1),
        options=InceptionOptions,
        min_patch_px=75,
        preprocessing="RGB in [0, 255], scaled to [-1, 1]",
        parameters=283_759,
        windows_per_s=116.0,
    ),
    "inception_v3": Architecture(
        build=partial(_inception_v3, multiplier=1.0),
        options=InceptionOptions,
        min_patch_px=75,
        preprocessing="RGB in [0, 255], scaled to [-1, 1]",
        parameters=21_806_882,
        windows_per_s=8.9,
    ),
}
"""Architectures by the name that the option and a model card give."""

if TYPE_CHECKING:
    ArchitectureName = str
else:
    ArchitectureName = Literal[tuple(ARCHITECTURES)]
    """Name in `ARCHITECTURES`."""


def find_architecture(name: str) -> Architecture:
    """Look up an architecture.

    Raises:
        ModelError: unknown name.
    """
    if name not in ARCHITECTURES:
        raise ModelError(
            f"architecture {name!r} is unknown; known are {', '.join(sorted(ARCHITECTURES))}"
        )
    return ARCHITECTURES[name]


def build_network(
    name: str, spec: InputSpec, options: Mapping[str, Any] | None = None
) -> "keras.Model":
    """Build a network with random weights: (N, scales, P, P, 3) RGB → (N, classes) probabilities.

    Raises:
        ModelError: unknown architecture or options, windows that it cannot take, or no backend of
            Keras.
    """
    prepare_keras()
    architecture = find_architecture(name)
    if spec.patch_px < architecture.min_patch_px:
        raise ModelError(
            f"architecture {name}: patches of {spec.patch_px} px are too small; set patch_px to "
            f"{architecture.min_patch_px} or more"
        )
    try:
        checked = architecture.options.model_validate(dict(options or {}))
    except ValidationError as error:
        raise ModelError(f"architecture {name}: options cannot be used: {error}") from error
    return architecture.build(spec, checked)
