"""EfficientNet-Lite0 (Tan and Le 2019, without squeeze-and-excitation): 3.4 million parameters that
suit processors without a GPU. Public ImageNet weights fit it, see `make study-weights`."""

import keras
from keras import layers

from .options import NetworkOptions

__all__ = ["efficientnet_lite0_features"]

# Kernel side, stride of the first block, expansion, filters, blocks.
STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
STEM_FILTERS, HEAD_FILTERS = 32, 1280
EPSILON = 1e-3  # of batch normalisation


def efficientnet_lite0_features(
    pixels: keras.KerasTensor, options: NetworkOptions, suffix: str
) -> keras.KerasTensor:
    """Tower of EfficientNet-Lite0, see `Architecture.tower`: a map of P / 32 × P / 32 × 1280,
    rounded up. Pixels become (x - 127) / 128 inside."""
    image = keras.Input(pixels.shape[1:], name="image")
    momentum = options.batch_norm_momentum
    x: keras.KerasTensor = layers.Rescaling(1 / 128, offset=-127 / 128, name="scaled")(image)
    stem, head = map(options.scale_filters, (STEM_FILTERS, HEAD_FILTERS))
    x = _convolution(x, stem, kernel=3, stride=2, momentum=momentum, name="stem")
    block = 0
    for kernel, stride, expansion, filters, blocks in STAGES:
        for repeat in range(blocks):
            x = _inverted_residual(
                x,
                options.scale_filters(filters),
                kernel=kernel,
                stride=stride if repeat == 0 else 1,
                expansion=expansion,
                momentum=momentum,
                name=f"block{block}",
            )
            block += 1
    x = _convolution(x, head, kernel=1, stride=1, momentum=momentum, name="head")
    return keras.Model(image, x, name=f"efficientnet_lite0{suffix}")(pixels)


def _inverted_residual(
    x: keras.KerasTensor,
    filters: int,
    *,
    kernel: int,
    stride: int,
    expansion: int,
    momentum: float,
    name: str,
) -> keras.KerasTensor:
    before, inputs = x, int(x.shape[-1])
    if expansion > 1:
        x = _convolution(
            x, inputs * expansion, kernel=1, stride=1, momentum=momentum, name=f"{name}_expand"
        )
    x = layers.DepthwiseConv2D(
        kernel, strides=stride, padding="same", use_bias=False, name=f"{name}_depthwise"
    )(x)
    x = _normalise(x, momentum=momentum, name=f"{name}_depthwise")
    x = layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_project")(x)
    x = layers.BatchNormalization(momentum=momentum, epsilon=EPSILON, name=f"{name}_project_bn")(x)
    if stride == 1 and inputs == filters:
        x = layers.Add(name=f"{name}_add")([before, x])
    return x


def _convolution(
    x: keras.KerasTensor, filters: int, *, kernel: int, stride: int, momentum: float, name: str
) -> keras.KerasTensor:
    x = layers.Conv2D(
        filters, kernel, strides=stride, padding="same", use_bias=False, name=f"{name}_conv"
    )(x)
    return _normalise(x, momentum=momentum, name=name)


def _normalise(x: keras.KerasTensor, *, momentum: float, name: str) -> keras.KerasTensor:
    x = layers.BatchNormalization(momentum=momentum, epsilon=EPSILON, name=f"{name}_bn")(x)
    return layers.ReLU(max_value=6, name=f"{name}_relu6")(x)
