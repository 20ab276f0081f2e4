"""Network of a training: its first weights, the layers that learn, the device that computes it."""

import logging
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from ...models import CARD, ModelCard, build_network, fill_network, keep_large_buffers
from ...wsi import InputSpec
from ..sampler import Batch
from ..settings import TrainSettings
from .freezing import freeze_layers
from .hardware import check_against_float32, check_backend, float_type, spread_over_devices
from .optimiser import compile_network
from .seeds import seed_network

__all__ = ["NetworkBuilder"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class NetworkBuilder:
    """Builds the network of a training and compiles it for its steps."""

    settings: TrainSettings
    spec: InputSpec
    steps: int
    """Number of steps of the whole training."""

    @property
    def options(self) -> dict[str, Any]:
        """Options of the network, as the model card holds them."""
        return self.settings.network_options(self.spec).model_dump(mode="json")

    def build(self, step: int, *, fill: bool = True) -> keras.Model:
        """Build the network with its first weights and a fresh optimiser, compiled for the step
        after so many. fill: take the initial weights, if there are any; not where a checkpoint
        replaces them."""
        keep_large_buffers()
        settings = self.settings
        check_backend(settings)
        with (
            seed_network(settings.seed),
            spread_over_devices(settings.devices),
            float_type(settings),
        ):
            network = self._build_plain()
            if settings.initial_weights and fill:
                fill_network(network, settings.architecture, settings.initial_weights)
                self._tell_other_pixels(Path(settings.initial_weights))
            self.compile(network, step)
        return network

    def _tell_other_pixels(self, source: Path) -> None:
        """Warn where the weights were learnt from patches of another side or µm/px."""
        if not (source / CARD).exists():
            return
        learnt = ModelCard.load(source).input_spec
        if (learnt.patch_px, learnt.mpps) != (self.spec.patch_px, self.spec.mpps):
            logger.warning(
                "%s: learnt from patches of %d px at %s µm/px; here they have %d px at %s µm/px",
                source,
                learnt.patch_px,
                " and ".join(f"{mpp:g}" for mpp in learnt.mpps),
                self.spec.patch_px,
                " and ".join(f"{mpp:g}" for mpp in self.spec.mpps),
            )

    def rebuild(self, step: int) -> keras.Model:
        """Build the network for a checkpoint of that step, compiled as it was when it was saved."""
        return self.build(max(0, step - 1), fill=False)

    def _build_plain(self) -> keras.Model:
        name = self.settings.architecture
        return build_network(name, self.spec, self.options, trusted=name)

    def compile(self, network: keras.Model, step: int) -> None:
        """Choose the layers that learn from that step on, and give them a fresh optimiser."""
        settings, unfreeze = self.settings, self.settings.unfreeze_step
        freeze_layers(network, settings, step=step)
        # Arrays of optimiser and metrics belong to the devices of the network.
        strategy = getattr(network, "distribute_strategy", None)  # of TensorFlow
        with strategy.scope() if strategy else nullcontext():
            if unfreeze is None or step < unfreeze:
                compile_network(network, settings, steps=min(self.steps, unfreeze or self.steps))
            else:
                rest, factor = self.steps - unfreeze, settings.unfrozen_rate
                compile_network(network, settings, steps=max(1, rest), rate_factor=factor)

    def check_fast_ways(self, network: keras.Model, batch: Batch) -> None:
        """Compare bfloat16 and XLA with plain float32 on a batch, where they were asked for.

        Raises:
            ModelError: the probabilities differ too much.
        """
        settings = self.settings
        ways = [settings.precision] if settings.precision != "float32" else []
        ways += ["XLA"] if settings.xla else []
        if not ways:
            return
        plain = self._build_plain()
        without_xla: Any = False
        plain.compile(jit_compile=without_xla)
        check_against_float32(network, plain, batch, way=" with ".join(ways))
