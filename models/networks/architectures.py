"""Registry of network architectures. An entry here is all that a new network needs besides its
build function: `gigaslide train --architecture` offers every entry.

A network maps (N, scales, P, P, 3) RGB pixels in [0, 255] to (N, classes) probabilities; whatever
it does to the pixels first is inside it. Nothing here imports Keras before a network is built.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, ValidationError

from ...storage import ModelError, format_count
from ...wsi import InputSpec
from ..bags.options import BAG_ARCHITECTURE
from ..regions.options import REGION_ARCHITECTURE
from ..runtimes.backend import prepare_keras
from .options import NetworkOptions
from .own_network import build_own_network, is_own_network

if TYPE_CHECKING:
    import keras

__all__ = [
    "ARCHITECTURES",
    "Architecture",
    "ArchitectureName",
    "build_network",
    "check_widths",
    "find_architecture",
]

Tower = Callable[["keras.KerasTensor", "NetworkOptions", str], "keras.KerasTensor"]
"""Part of a network for one scale, see `Architecture.tower`."""
APPLICATIONS: tuple[tuple[str, str, int, int, float], ...] = (
    ("InceptionResNetV2", "tf", 75, 54_339_810, 4),
    ("MobileNet", "tf", 32, 3_230_914, 36),
    ("MobileNetV2", "tf", 32, 2_260_546, 32),
    ("NASNetLarge", "tf", 32, 84_924_884, 2),
    ("NASNetMobile", "tf", 32, 4_271_830, 23),
    ("ResNet50V2", "tf", 32, 23_568_898, 7),
    ("ResNet101V2", "tf", 32, 42_630_658, 6),
    ("ResNet152V2", "tf", 32, 58_335_746, 3),
    ("Xception", "tf", 71, 20_865_578, 5),
    ("DenseNet121", "torch", 32, 7_039_554, 8),
    ("DenseNet169", "torch", 32, 12_646_210, 6),
    ("DenseNet201", "torch", 32, 18_325_826, 6),
    ("ResNet50", "caffe", 32, 23_591_810, 12),
    ("ResNet101", "caffe", 32, 42_662_274, 4),
    ("ResNet152", "caffe", 32, 58_375_042, 4),
    ("VGG16", "caffe", 32, 14_715_714, 4),
    ("VGG19", "caffe", 32, 20_025_410, 3),
    ("ConvNeXtBase", "inside", 32, 87_568_514, 2),
    ("ConvNeXtLarge", "inside", 32, 196_233_410, 2),
    ("ConvNeXtSmall", "inside", 32, 49_456_226, 1),
    ("ConvNeXtTiny", "inside", 32, 27_821_666, 2),
    ("ConvNeXtXLarge", "inside", 32, 348_152_066, 2),
    ("EfficientNetB0", "inside", 32, 4_052_133, 46),
    ("EfficientNetB1", "inside", 32, 6_577_801, 31),
    ("EfficientNetB2", "inside", 32, 7_771_387, 9),
    ("EfficientNetB3", "inside", 32, 10_786_609, 16),
    ("EfficientNetB4", "inside", 32, 17_677_409, 16),
    ("EfficientNetB5", "inside", 32, 28_517_625, 11),
    ("EfficientNetB6", "inside", 32, 40_964_753, 8),
    ("EfficientNetB7", "inside", 32, 64_102_809, 2),
    ("EfficientNetV2B0", "inside", 32, 5_921_874, 42),
    ("EfficientNetV2B1", "inside", 32, 6_933_686, 32),
    ("EfficientNetV2B2", "inside", 32, 8_772_192, 27),
    ("EfficientNetV2B3", "inside", 32, 12_933_696, 21),
    ("EfficientNetV2L", "inside", 32, 117_749_410, 2),
    ("EfficientNetV2M", "inside", 32, 53_152_950, 7),
    ("EfficientNetV2S", "inside", 32, 20_333_922, 14),
    ("MobileNetV3Large", "inside", 32, 2_998_274, 76),
    ("MobileNetV3Small", "inside", 32, 940_274, 134),
)
"""Networks of keras.applications: name, key of `PIXELS`, smallest patch, and what `Architecture`
calls parameters and windows_per_s (roughly; 2 where not tried)."""
HDF5_BYTES = 2_100  # of a weights file for each array, besides its numbers: name and table


PIXELS = {
    "tf": "RGB in [0, 255], scaled to [-1, 1]",
    "torch": "RGB in [0, 255], less ImageNet's mean, by its standard deviation",
    "caffe": "BGR in [0, 255], less ImageNet's mean",
    "inside": "RGB in [0, 255]; scaled by the network's first layers",
}
"""Preprocessing of the networks of keras.applications, in words."""


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """One kind of network: how it is built, what it takes, how large it is."""

    tower: Tower
    """From pixels (N, P, P, 3) RGB in [0, 255] to a map of features (N, p, p, C), with random
    weights. Its layers' names end in the third argument, so that a network may have several."""
    min_patch_px: int
    """Smallest side of a patch."""
    preprocessing: str
    """Preprocessing inside the network, in words; a model card holds it as `pixels`."""
    parameters: int
    """Numbers in a network of one scale and two classes."""
    windows_per_s: float
    """Windows of 299 px that Keras scores per second on 2 cores with AVX2; for the estimates of
    `gigaslide doctor`."""

    arrays: int = 378
    """Arrays of numbers in its weights file, roughly."""
    has_widths: bool = False
    """The option `widths` changes its filters."""
    application: str = ""
    """Name in keras.applications whose ImageNet weights fit; empty if there are none."""

    @property
    def weights_bytes(self) -> int:
        """Approximate size of a weights file: float32 numbers and HDF5's tables."""
        return 4 * self.parameters + HDF5_BYTES * self.arrays


def _tower(module: str, function: str, **fixed: Any) -> Tower:
    """Return a function of a module of this room that is imported, with Keras, when it is called;
    fixed are its further arguments."""

    def tower(
        pixels: "keras.KerasTensor", options: NetworkOptions, suffix: str
    ) -> "keras.KerasTensor":
        found = import_module(f".{module}", __package__)
        return getattr(found, function)(pixels, options, suffix, **fixed)

    return tower


ARCHITECTURES: dict[str, Architecture] = {
    "compact": Architecture(
        tower=_tower("compact", "compact_features"),
        min_patch_px=48,
        preprocessing=PIXELS["tf"],
        parameters=193_514,
        arrays=27,
        windows_per_s=90.0,
        has_widths=True,
    ),
    "inception_v3_small": Architecture(
        tower=_tower("inception", "inception_v3_features", multiplier=0.1),
        min_patch_px=75,
        preprocessing=PIXELS["tf"],
        parameters=283_759,
        windows_per_s=116.0,
        has_widths=True,
    ),
    "inception_v3": Architecture(
        tower=_tower("inception", "inception_v3_features", multiplier=1.0),
        min_patch_px=75,
        preprocessing=PIXELS["tf"],
        parameters=21_806_882,
        windows_per_s=8.9,
        has_widths=True,
        application="InceptionV3",
    ),
    "efficientnet_lite0": Architecture(
        tower=_tower("efficientnet_lite", "efficientnet_lite0_features"),
        min_patch_px=32,
        preprocessing="(RGB in [0, 255] - 127) / 128",
        parameters=3_415_586,
        arrays=247,
        windows_per_s=60.0,
        has_widths=True,
    ),
    **{
        name: Architecture(
            tower=_tower("applications", "application_features", name=name, pixels=pixels),
            min_patch_px=min_patch_px,
            preprocessing=PIXELS[pixels],
            parameters=parameters,
            windows_per_s=windows_per_s,
            application=name,
        )
        for name, pixels, min_patch_px, parameters, windows_per_s in APPLICATIONS
    },
}
"""Architectures by the name that the option and a model card give. Those in capitals are the
networks of keras.applications."""

if TYPE_CHECKING:
    ArchitectureName = str
else:
    OwnName = Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]
    ArchitectureName = Literal[tuple(ARCHITECTURES)] | OwnName
    """Name in `ARCHITECTURES`, or module:function, see `own_network`."""


def find_architecture(name: str) -> Architecture:
    """Look up an architecture. Facts about a network of the user's own, which is not imported, are
    those of compact: a guess for estimates.

    Raises:
        ModelError: unknown name.
    """
    if is_own_network(name):
        return replace(ARCHITECTURES["compact"], preprocessing=f"that of {name}")
    if name == BAG_ARCHITECTURE:
        raise ModelError(
            "the model takes features of windows, not their pixels; use it in gigaslide predict "
            "with --features"
        )
    if name == REGION_ARCHITECTURE:
        raise ModelError(
            "the model segments regions, and patches are what is scored here; it is for gigaslide "
            "predict"
        )
    if name not in ARCHITECTURES:
        raise ModelError(
            f"architecture {name!r} is unknown; known are {', '.join(sorted(ARCHITECTURES))}"
        )
    return ARCHITECTURES[name]


def check_widths(name: str, widths: Sequence[float], *, scales: int) -> None:
    """Pass if a network can have those widths.

    Raises:
        ModelError: it has none, or they are neither one nor one for each scale.
    """
    if not widths or is_own_network(name):
        return
    if not find_architecture(name).has_widths:
        able = sorted(known for known, one in ARCHITECTURES.items() if one.has_widths)
        raise ModelError(
            f"architecture {name}: its layers have fixed widths; leave widths out, or choose "
            f"{', '.join(able)}"
        )
    if len(widths) not in (1, scales):
        raise ModelError(
            f"architecture {name}: {len(widths)} widths for {format_count(scales, 'scale')}; give "
            f"one for all{f', or {scales}, the finest scale first' if scales > 1 else ''}"
        )


def build_network(
    name: str, spec: InputSpec, options: Mapping[str, Any] | None = None, *, trusted: str = ""
) -> "keras.Model":
    """Build a network with random weights: (N, scales, P, P, 3) RGB → (N, classes) probabilities.

    trusted: architecture that the user gave; only that may be a module:function to import.

    Raises:
        ModelError: unknown architecture or options, windows that it cannot take, a network of
            somebody's own that is not trusted or does not fit, or no backend of Keras.
    """
    if is_own_network(name) and name != trusted:
        raise ModelError(f"architecture {name}: is code outside gigaslide, and was not asked for")
    prepare_keras()
    architecture = find_architecture(name)
    try:
        checked = NetworkOptions.model_validate(dict(options or {}))
    except ValidationError as error:
        raise ModelError(f"architecture {name}: options cannot be used: {error}") from error
    if is_own_network(name):
        return build_own_network(name, spec, checked)
    check_widths(name, checked.widths, scales=len(spec.mpps))
    least_px = architecture.min_patch_px * checked.shrink
    if spec.patch_px < least_px:
        raise ModelError(
            f"architecture {name}: patches of {spec.patch_px} px are too small; set patch_px to "
            f"{least_px} or more{', or lower shrink' if checked.shrink > 1 else ''}"
        )
    return _join_towers(spec, architecture.tower, checked)


def _join_towers(spec: InputSpec, tower: Tower, options: NetworkOptions) -> "keras.Model":
    """Build one tower a scale, and a classifier on their mean features side by side."""
    import keras

    patches: Any = keras.Input(spec.shape, name="patches")
    means = []
    for number, mpp in enumerate(spec.mpps):
        suffix = f"_{mpp:g}".replace(".", "_") if len(spec.mpps) > 1 else ""
        if suffix:
            image = patches[:, number]
        else:
            image: Any = keras.layers.Reshape(spec.shape[1:], name="only_scale")(patches)
        if options.shrink > 1:
            image = keras.layers.AveragePooling2D(options.shrink, name=f"shrunk{suffix}")(image)
        mean = keras.layers.GlobalAveragePooling2D(name=f"mean_over_grid{suffix}")
        means.append(mean(tower(image, options.of_tower(number), suffix)))
    features: Any = keras.layers.Concatenate(name="scales")(means) if len(means) > 1 else means[0]
    if options.dropout:
        features = keras.layers.Dropout(options.dropout, name="dropout")(features)
    # In float32 also where the layers before compute in bfloat16.
    scores = keras.layers.Dense(
        len(spec.classes), activation="softmax", name="classifier", dtype="float32"
    )
    return keras.Model(patches, scores(features))
