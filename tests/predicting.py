"""Slides predicted in small blocks by the brightness of a patch, in any process; no network.

As a file:  python predicting.py COHORT.csv MODEL PREDICTIONS WORKERS PAUSE_S [MODE]  ends as the
command does.
"""

import hashlib
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from conftest import stained_slide, write_tiff
from gigaslide.batch import SILENT, BatchSettings, BatchSummary, Listener, SlideContext, Stopped
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.inference import PredictSettings, predict_cohort
from gigaslide.inference import predict as predict_module
from gigaslide.inference.blocks import PredictBlocks
from gigaslide.models import WEIGHTS, DensePredictor, ModelCard, Predictor, hash_weights
from gigaslide.storage import BlockRecord
from gigaslide.wsi import InputSpec, StainMethod
from stand_in import dense_of, predictor_of

QUICK = PredictSettings(orientations=1, threshold=0.6, batch_size=16)
COARSE = QUICK.model_copy(update={"stride_px": 64})
SIDE, CENTRE = 75, 32
A_BLOCK = 96  # cells


@dataclass(frozen=True, kw_only=True)
class StandInBlocks(PredictBlocks):
    """`PredictBlocks` whose network is a function of this module, so that it travels."""

    block_px: int = A_BLOCK * SIDE**2
    pause_s: float = 0.0
    score: Callable[[np.ndarray], np.ndarray] | None = None

    def load_predictor(self) -> Predictor:
        return predictor_of(self.score or brightness, centre_px=self.models.input_spec.centre_px)

    def load_dense_predictor(self) -> DensePredictor:
        step_px = self.settings.stride_px or self.models.input_spec.centre_px
        return dense_of(self.score or brightness, step_px=step_px)

    def block(self, context: SlideContext[CohortSlide], number: int) -> BlockRecord:
        time.sleep(self.pause_s)
        return super().block(context, number)


def brightness(patches: np.ndarray) -> np.ndarray:
    return patches.mean(axis=(1, 2, 3)) / 255


def write_model(
    folder: Path,
    *,
    centre_px: int = CENTRE,
    weights: bytes = b"weights",
    stain: StainMethod | None = None,
) -> Path:
    """A model folder with a card and no network."""
    folder.mkdir(exist_ok=True)
    (folder / WEIGHTS).write_bytes(weights)
    ModelCard(
        architecture="inception_v3_small",
        input_spec=InputSpec(patch_px=SIDE, centre_px=centre_px, mpps=(0.5,), stain=stain),
        parameters={"all": 1},
        training={},
        weights_sha256=hash_weights(folder),
    ).save(folder)
    return folder


def write_slides(folder: Path, *seeds: int) -> Cohort:
    paths = [write_tiff(folder / f"s{seed}.tif", stained_slide(seed)) for seed in seeds]
    return Cohort.of_rows([CohortSlide(id=path.stem, path=path) for path in paths])


def predict(
    cohort: Cohort,
    model: Path,
    out: Path,
    settings: PredictSettings = QUICK,
    *,
    kind: type[PredictBlocks] = StandInBlocks,
    blocks: dict | None = None,
    on_block=SILENT.on_block,
    on_plan=SILENT.on_plan,
    **batch,
) -> BatchSummary:
    """blocks: fields of kind; batch: as for `BatchSettings`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            predict_module, "PredictBlocks", lambda **made: kind(**made, **(blocks or {}))
        )
        if issubclass(kind, StandInBlocks):  # the model's network need not be built
            patch.setattr(predict_module, "check_dense", lambda *_, **__: None)
        return predict_cohort(
            cohort,
            model,
            out,
            settings,
            BatchSettings(**batch),
            listener=Listener(on_block=on_block, on_plan=on_plan),
        )


def content(out: Path) -> dict[str, str]:
    """SHA-256 of every file of every prediction, hidden ones too."""
    files = (path for path in out.glob("*/**/*") if path.is_file())
    return {
        path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(files)
    }


def digest(out: Path) -> str:
    """Digest of `content`."""
    return hashlib.sha256(json.dumps(content(out)).encode()).hexdigest()


if __name__ == "__main__":
    cohort, model, out = Cohort.load(Path(sys.argv[1])), Path(sys.argv[2]), Path(sys.argv[3])
    workers, pause = int(sys.argv[4]), float(sys.argv[5])
    settings = QUICK.model_copy(update={"mode": sys.argv[6]}) if len(sys.argv) > 6 else QUICK
    try:
        summary = predict(
            cohort, model, out, settings, blocks={"pause_s": pause}, workers=workers, memory_gb=1.5
        )
        sys.exit(summary.exit_status)
    except Stopped as stopped:
        sys.exit(stopped.exit_status)
