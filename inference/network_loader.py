"""Loading of the network of a prediction, in the form that a block needs."""

from dataclasses import dataclass

from ..models import (
    DensePredictor,
    Ensemble,
    Predictor,
    RegionPredictor,
    load_dense_predictor,
    load_predictor,
    load_region_predictor,
    refuse_tumor_on_glass,
)
from ..storage import ModelError
from .settings import PredictSettings

__all__ = ["NetworkLoader"]


@dataclass(frozen=True, kw_only=True)
class NetworkLoader:
    """Loads the models of a prediction. A process keeps them from block to block."""

    models: Ensemble
    settings: PredictSettings
    threads: int | None
    """Compute threads of the network; None = as many as the runtime finds best."""

    def load_predictor(self) -> Predictor:
        """Load the network on windows.

        Raises:
            ModelError: it cannot be loaded, the model folder changed, or it calls glass tumour.
        """
        predictor = load_predictor(
            self.models.folders,
            runtime=self.settings.runtime,
            threads=self.threads,
            architecture=self.settings.architecture,
            precision=self.settings.precision,
            xla=self.settings.xla,
        )
        self._check(predictor)
        return predictor

    def load_dense_predictor(self) -> DensePredictor:
        """Load the dense form of the network, see `load_predictor`."""
        predictor = load_dense_predictor(
            self.models.folders,
            stride_px=self._stride_px,
            runtime=self.settings.runtime,
            threads=self.threads,
            precision=self.settings.dense_precision,
            xla=self.settings.xla,
            is_cam=self.settings.is_cam,
        )
        self._check(predictor)
        return predictor

    def load_region_predictor(self) -> RegionPredictor:
        """Load the network that segments regions.

        Raises:
            ModelError: it cannot be loaded, or the model folder changed.
        """
        predictor = load_region_predictor(
            self.models.folders,
            runtime=self.settings.runtime,
            threads=self.threads,
            precision=self.settings.precision,
            xla=self.settings.xla,
        )
        self._refuse_other_model(predictor.hash)
        return predictor

    @property
    def _stride_px(self) -> int:
        return self.settings.stride_px or self.models.input_spec.centre_px

    def _check(self, predictor: Predictor | DensePredictor) -> None:
        self._refuse_other_model(predictor.hash)
        if not self.settings.allow_tumor_on_glass:
            refuse_tumor_on_glass(self.models, predictor)

    def _refuse_other_model(self, model_hash: str) -> None:
        if model_hash != self.models.hash:
            folders = ", ".join(map(str, self.models.folders))
            raise ModelError(f"{folders}: another model since the run began; run again")
