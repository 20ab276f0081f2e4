"""`gigaslide demo`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..batch import BatchSettings
from ..eval import EvaluateSettings
from ..inference import PredictSettings
from ..patching import AugmentSettings, TileSettings
from ..phantom import PhantomSettings
from ..training import TrainSettings
from ..wsi import Cohort
from .stages import Plan, phantom_stage, run_stages

__all__ = ["demo"]


def demo(
    out: Annotated[Path, Parameter(help="Folder for everything the demo makes.")] = Path("demo-out"),
    /,
    *,
    seed: int = 0,
    batch: BatchSettings = BatchSettings(),
) -> int:
    """Make phantom slides and run every stage on them, in about ten minutes on two cores.

    The figures speak of the phantoms only. Run it again: finished stages are recognised and skipped.

    Parameters
    ----------
    seed: int
        Seed of the phantoms, of the choice of patches and of the training.
    """
    # 139 px at 0.5 µm/px keeps Inception's geometry and trains five times faster than 299 px; 64 px of it are 32 µm,
    # the paper's 128 px at 0.25 µm/px.
    plan = Plan(
        tile=TileSettings(mpp=0.5, patch_px=139, centre_px=64, tumor_per_slide=400, normal_per_slide=400, seed=seed),
        # The paper's colours take far more examples to learn through than minutes allow.
        train=TrainSettings(examples=20_000, augment=AugmentSettings(brightness=0.1, contrast=0.3), seed=seed),
        predict=PredictSettings(),
        evaluate=EvaluateSettings(seed=seed),
        batch=batch,
    )
    cohort, _ = phantom_stage(out / "phantoms", PhantomSettings(size_px=4000, seed=seed), batch)
    return run_stages(Cohort.load(cohort), out, plan)
