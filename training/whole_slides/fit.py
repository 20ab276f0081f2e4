"""Training of a fully convolutional network, in memory: pictures in, a model at every
checkpoint."""

import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import keras
import numpy as np

from ...models import (
    WholeSlideArchitecture,
    WholeSlideNetwork,
    build_whole_slide_network,
    choose_xla,
    hash_initial_weights,
    pool_cells,
)
from ..loss_check import check_loss
from .examples import PictureBatch, Pictures, pad_picture
from .picture import SlidePicture
from .settings import WholeSlideSettings

__all__ = ["WholeSlideModel", "WholeSlideScores", "train_whole_slides"]


@dataclass(frozen=True, kw_only=True)
class WholeSlideScores:
    """Probabilities of F findings, in [0, 1]."""

    slide: np.ndarray
    """(F,) float32."""
    cells: np.ndarray
    """(h, w, F) float32: the class activation maps."""


@dataclass(frozen=True, kw_only=True)
class WholeSlideModel:
    """The network as it is at a checkpoint; it goes on learning when the training goes on."""

    network: WholeSlideNetwork
    side_px: int

    def predict(self, slide: SlidePicture) -> WholeSlideScores:
        """Score a slide as one picture; without tissue each finding has 0."""
        rows, columns = slide.tissue.shape
        image, _ = pad_picture(slide, self.side_px)
        found: Any = self.network.maps.predict_on_batch(image[None].astype(np.float32))
        logits = np.asarray(found)[0, :rows, :columns]
        pooled = pool_cells(logits, slide.tissue, sharpness=self.network.sharpness)
        return WholeSlideScores(slide=_sigmoid(pooled), cells=_sigmoid(logits))


def train_whole_slides(
    slides: Sequence[SlidePicture],
    settings: WholeSlideSettings,
    *,
    seed: int,
    has_patches: bool,
    has_blur: bool,
    side_px: int,
    initial_weights: str = "",
) -> Iterator[tuple[int, WholeSlideModel]]:
    """Train on whole slides, or with has_patches first on patches, in equally many steps; yield the
    step and the model at every checkpoint, the last one at the end.

    A tumour slide and a normal one, or such patches, take turns in a batch; each is turned to one
    of eight orientations, and with has_blur blurred or sharpened at random. The loss is the mean
    cross-entropy of one sigmoid a finding, unknown findings left out. side_px, a multiple of 16, is
    the square that slides are padded to, of test slides too.

    The network begins with random weights, or with initial_weights, see
    `build_whole_slide_network`. A process compiles it once for each side, network and weights.

    Raises:
        SettingsError: slides of one class, or a curriculum without outlined tumour.
        ModelError: initial weights that do not fit, or the loss became NaN.
    """
    settings = settings.resolve(has_weights=bool(initial_weights))
    pictures = Pictures(slides=slides, settings=settings, side_px=side_px, has_blur=has_blur)
    pictures.refuse_one_class(has_patches=has_patches)
    trainer = _trainer(
        settings.architecture,
        len(slides[0].findings),
        settings.width or 1.0,
        settings.sharpness,
        settings.weight_decay,
        initial_weights,
        hash_initial_weights(initial_weights, settings.architecture) if initial_weights else "",
    )
    highest = settings.learning_rate or 0.0
    rng = np.random.default_rng(seed)
    with trainer.lock:
        trainer.begin(rng)
        of_patches = round(settings.patch_steps * settings.steps) if has_patches else 0
        batches = pictures.patches(rng) if of_patches else pictures.whole(rng)
        tested = set(find_checkpoints(settings))
        model = WholeSlideModel(network=trainer.network, side_px=side_px)
        for step in range(settings.steps):
            if step == of_patches:
                batches = pictures.whole(rng)
            rate = highest * (1 + math.cos(math.pi * step / settings.steps)) / 2
            loss = trainer.learn(next(batches), rate)
            check_loss(loss, done=f"{step + 1} steps", learning_rate=highest)
            if step + 1 in tested:
                yield step + 1, model


def find_checkpoints(settings: WholeSlideSettings) -> list[int]:
    """List the steps after which a training is tested, ascending."""
    count = min(settings.checkpoints, settings.steps)
    return [round(settings.steps * (number + 1) / count) for number in range(count)]


class _Trainer:
    """A network with its optimiser, used for one training after another."""

    def __init__(
        self, network: WholeSlideNetwork, weight_decay: float, given: Mapping[str, np.ndarray]
    ) -> None:
        self.network, self.lock = network, threading.Lock()
        optimiser = keras.optimizers.AdamW(0.001, weight_decay=weight_decay, clipnorm=1.0)
        optimiser.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
        self.trained: Any = network.pooled
        self.trained.compile(
            optimizer=optimiser, loss=_cross_entropy, jit_compile=choose_xla(), metrics=[]
        )
        optimiser.build(self.trained.trainable_variables)
        network.maps.compile(jit_compile=choose_xla())
        self.optimiser: Any = optimiser
        self.given = given

    def begin(self, rng: np.random.Generator) -> None:
        """Forget earlier trainings."""
        for variable in self.trained.variables:
            first = self.given.get(variable.path)
            variable.assign(_draw(variable, rng) if first is None else first)
        for variable in self.optimiser.variables:
            variable.assign(np.zeros(variable.shape, variable.dtype))

    def learn(self, batch: PictureBatch, rate: float) -> float:
        """Take one step; return its loss."""
        self.optimiser.learning_rate = rate
        self.trained.reset_metrics()
        inputs = [batch.images.astype(np.float32), batch.cells]
        return float(np.asarray(self.trained.train_on_batch(inputs, batch.labels)))


@lru_cache(maxsize=4)
def _trainer(
    architecture: WholeSlideArchitecture,
    findings: int,
    width: float,
    sharpness: float,
    weight_decay: float,
    initial_weights: str,
    _content: str,
) -> _Trainer:
    """Build and compile a network; _content is the hash of its initial weights."""
    network = build_whole_slide_network(
        architecture,
        findings=findings,
        width=width,
        sharpness=sharpness,
        initial_weights=initial_weights,
    )
    tower: Any = network.maps.get_layer("tower")
    given = {one.path: np.array(one) for one in tower.variables} if initial_weights else {}
    return _Trainer(network, weight_decay, given)


def _draw(variable: Any, rng: np.random.Generator) -> np.ndarray:
    """First value of a weight: He's normal one for kernels; 1 for scales and variances, else 0."""
    shape, name = tuple(variable.shape), variable.path.rsplit("/", 1)[-1]
    if name == "kernel":
        deviation = math.sqrt(2 / math.prod(shape[:-1]))
        return rng.normal(0.0, deviation, shape).astype(np.float32)
    is_one = name in ("gamma", "moving_variance")
    return np.full(shape, 1.0 if is_one else 0.0, np.float32)


def _cross_entropy(labels: Any, logits: Any) -> Any:
    """Mean cross-entropy over the findings that are known (nats)."""
    ops: Any = keras.ops
    known = ops.cast(labels >= 0, "float32")
    losses = ops.relu(logits) - logits * labels * known + ops.log1p(ops.exp(-ops.abs(logits)))
    return ops.sum(losses * known) / ops.maximum(ops.sum(known), 1.0)


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return (1 / (1 + np.exp(-logits.astype(np.float64)))).astype(np.float32)
