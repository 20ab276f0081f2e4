"""U-Net of some options: with convolutions of its own, or with a network of `ARCHITECTURES` as its
encoder; and how far each pixel's score looks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras

from ...storage import ModelError
from ...wsi import floor_div
from ..initial_weights import fill_network
from ..networks.architectures import find_architecture
from ..networks.geometry import FeatureGeometry, derive_geometry
from ..networks.options import NetworkOptions
from ..networks.own_network import is_own_network
from ..networks.unet import decode, encode
from .options import RegionOptions

__all__ = ["RegionLayout", "build_unet", "find_region_layout", "with_probabilities"]

MEASURED_PX = 512
"""Side of the image on which strides and reach are derived; any multiple of the strides would
do."""
ADVICE = "choose one such as compact, MobileNetV2, DenseNet121, ResNet50V2 or VGG16"
REACH = 2  # px by which two convolutions of 3 × 3 look further on each side


@dataclass(frozen=True, kw_only=True)
class RegionLayout:
    """Geometry of a network on tiles, window px."""

    step_px: int
    """Tiles begin and end at multiples of this, so that all tiles halve the same pixels
    together."""
    reach_px: int
    """Largest distance of a px on which the score of a px depends."""


def build_unet(
    options: RegionOptions, side_px: int | None, *, encoder_weights: str = ""
) -> keras.Model:
    """Build the network of `build_region_network`."""
    image: Any = keras.Input((side_px, side_px, 3), name="image")
    if options.encoder:
        encoder = _Encoder.of(image, options)
        if encoder_weights:
            fill_network(encoder.whole, options.encoder, encoder_weights)
        _check_side(side_px, max(encoder.geometries))
        maps = encoder.maps()
    else:
        _check_side(side_px, 2 ** (options.stages - 1))
        maps = encode(
            image,
            width=options.width,
            stages=options.stages,
            momentum=options.batch_norm_momentum,
        )
    logits = decode(maps, width=options.width, momentum=options.batch_norm_momentum)
    return keras.Model(image, logits, name="unet")


def _check_side(side_px: int | None, step_px: int) -> None:
    if side_px is not None and side_px % step_px:
        raise ModelError(
            f"crops of {side_px} px: the network halves them to {step_px} px, so their side must "
            f"be a multiple of it; give {step_px * max(1, round(side_px / step_px))}"
        )


def with_probabilities(network: keras.Model) -> keras.Model:
    """Return the network with probabilities in place of logits."""
    scores = keras.layers.Activation("sigmoid", dtype="float32", name="probability")
    return keras.Model(network.inputs, scores(network.outputs[0]), name=network.name)


def find_region_layout(options: RegionOptions) -> RegionLayout:
    """Derive the layout of a network; its weights are not needed.

    Raises:
        ModelError: an encoder that cannot be used.
    """
    image: Any = keras.Input((MEASURED_PX, MEASURED_PX, 3))
    if options.encoder:
        encoder = _Encoder.of(image, options)
        geometries = encoder.geometries
    else:
        maps = encode(image, width=1, stages=options.stages, momentum=0.9)
        geometries = {stride: derive_geometry(one, image) for stride, one in maps.items()}
    step = max(geometries)
    reach = max(_reach_of(px, geometries) for px in range(step))
    return RegionLayout(step_px=step, reach_px=reach)


def _reach_of(px: int, geometries: Mapping[int, FeatureGeometry]) -> int:
    """Largest distance from a px of what its score depends on, by the path of `decode` backwards:
    at each stride the first and the last feature that are needed."""
    first, last, stride, deepest = px, px, 1, max(geometries)
    reach = 0
    while True:
        if stride < deepest:
            first, last = first - REACH, last + REACH
        if (found := geometries.get(stride)) is not None:
            start, end = found.first_px + stride * first, found.last_px + stride * last
            # Turned tiles look as far to the other side.
            reach = max(reach, px - start, end - px)
        if stride == deepest:
            return reach
        first, last, stride = floor_div(first, 2), floor_div(last, 2), 2 * stride


@dataclass(frozen=True, kw_only=True)
class _Encoder:
    """A network of `ARCHITECTURES` from an image on, and the map to take at each stride."""

    whole: keras.Model
    """From the image to its last map."""
    base: keras.Model
    """The network within, or the whole."""
    given: Any
    """Input of the base: the image, shrunk and scaled as the network needs it."""
    names: tuple[str, ...]
    """Layers of the base whose outputs are the maps."""
    geometries: Mapping[int, FeatureGeometry]
    """By stride, in the order of the names."""

    @classmethod
    def of(cls, image: Any, options: RegionOptions) -> "_Encoder":
        if is_own_network(options.encoder):
            raise ModelError(
                f"encoder {options.encoder}: is code outside gigaslide; give a network of "
                "gigaslide or keras.applications"
            )
        measured: Any = keras.Input((MEASURED_PX, MEASURED_PX, 3))
        _, same, pixels = _build_base(measured, options)
        chosen = _choose_maps(same, MEASURED_PX // int(pixels.shape[1]), options.encoder)
        whole, base, given = _build_base(image, options)
        # By their place: Keras numbers the names of layers over the whole process.
        names = tuple(base.layers[place].name for _, place in chosen)
        geometries = {found.stride_px: found for found, _ in chosen}
        return cls(whole=whole, base=base, given=given, names=names, geometries=geometries)

    def maps(self) -> dict[int, Any]:
        """Maps by stride."""
        outputs = [self.base.get_layer(name).output for name in self.names]
        inside = keras.Model(self.base.inputs, outputs, name="encoder")
        found = inside(self.given)
        tensors = found if isinstance(found, list | tuple) else [found]
        return dict(zip(self.geometries, tensors, strict=True))


def _build_base(image: Any, options: RegionOptions) -> tuple[keras.Model, keras.Model, Any]:
    """Build an encoder: the whole of it, the network within, and what that is given.

    Layers that let a map shrink at its edges, as those of InceptionV3, are padded, so that every
    map has half of the side of the one before. Their weights are the same.
    """
    chosen = NetworkOptions.model_validate(options.encoder_options)
    pixels = image
    if chosen.shrink > 1:
        pixels = keras.layers.AveragePooling2D(chosen.shrink, name="shrunk")(image)
    features: Any = find_architecture(options.encoder).tower(pixels, chosen, "")
    whole = keras.Model(image, features, name="encoder")
    history = features._keras_history
    if not isinstance(history.operation, keras.Model):
        if not _shrinks_at_edges(whole):
            return whole, whole, image
        padded = keras.models.clone_model(whole, image, clone_function=_with_padding)
        return padded, padded, image
    base = history.operation
    given = base._inbound_nodes[history.node_index].input_tensors[0]
    if _shrinks_at_edges(base):
        base = keras.models.clone_model(base, clone_function=_with_padding)
        whole = keras.Model(image, base(given), name="encoder")
    return whole, base, given


def _shrinks_at_edges(network: keras.Model) -> bool:
    """Tell whether a network halves maps without padding. Padding may also be a layer's own work,
    as in ResNet50V2."""
    names = {type(layer).__name__ for layer in network.layers}
    strided = [one for one in network.layers if max(getattr(one, "strides", (1, 1))) > 1]
    return "ZeroPadding2D" not in names and any(one.padding == "valid" for one in strided)


def _with_padding(layer: keras.layers.Layer) -> keras.layers.Layer:
    """Return a copy of a layer, padded."""
    config = layer.get_config()
    if "padding" in config and not isinstance(layer, keras.layers.ZeroPadding2D):
        config["padding"] = "same"
    return layer.__class__.from_config(config)


def _choose_maps(base: keras.Model, shrink: int, name: str) -> list[tuple[FeatureGeometry, int]]:
    """Choose the last map of each resolution that is half of the one before: its geometry on the
    image, and the place of its layer.

    Raises:
        ModelError: no such maps, or maps that depend on all of the image.
    """
    last: dict[int, int] = {}
    for place, layer in enumerate(base.layers):
        shape = getattr(layer.output, "shape", ())
        if len(shape) == 4 and not isinstance(layer, keras.layers.InputLayer):
            last[int(shape[1])] = place
    wanted = [MEASURED_PX >> halvings for halvings in range(MEASURED_PX.bit_length())]
    found = []
    for place in (last[side] for side in wanted if side in last):
        try:
            one = derive_geometry(base.layers[place].output, base.inputs[0])
        except (ModelError, IndexError) as error:  # the latter where layers take several maps
            raise ModelError(
                f"encoder {name}: {error}, and a slide is segmented in tiles; {ADVICE}"
            ) from error
        found.append((_before_shrinking(one, shrink), place))
    if not found or found[-1][0].stride_px < 2:
        raise ModelError(
            f"encoder {name}: the sides of its maps are no halves of the image's; {ADVICE}"
        )
    return found


def _before_shrinking(found: FeatureGeometry, shrink: int) -> FeatureGeometry:
    """Geometry on the image of a map whose network was given the image shrunk."""
    return FeatureGeometry(
        size=found.size,
        stride_px=shrink * found.stride_px,
        first_px=shrink * found.first_px,
        last_px=shrink * found.last_px + shrink - 1,
    )
