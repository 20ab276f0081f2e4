"""`gigaslide demo`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..batch import BatchSettings
from ..cohort import Cohort
from ..eval import EvaluateSettings
from ..inference import PredictSettings
from ..patching import AugmentSettings, TileSettings
from ..phantom import PhantomSettings
from ..training import TrainSettings
from .options import Batch
from .plan import Plan, worst
from .stages import phantom_stage, run_stages

__all__ = ["demo", "demo_plan"]


def demo(
    out: Annotated[Path, Parameter(help="Folder for everything the demo makes.")] = Path(
        "demo-out"
    ),
    /,
    *,
    seed: int = 0,
    batch: Batch = BatchSettings(),
) -> int:
    """Make phantom slides and run every stage on them, in about ten minutes on two cores.

    The figures speak of the phantoms only. Run it again: finished stages are recognised and
    skipped.

    Parameters
    ----------
    seed: int
        Seed of the phantoms, of the choice of patches and of the training.
    """
    phantoms, plan = demo_plan(seed, batch)
    cohort, summary = phantom_stage(out / "phantoms", phantoms, batch)
    if summary.exit_status == 1:
        return 1
    return worst([summary.exit_status, run_stages(Cohort.load(cohort), out, plan)])


def demo_plan(seed: int, batch: BatchSettings) -> tuple[PhantomSettings, Plan]:
    """What the demo draws and what it does with it."""
    phantoms = PhantomSettings(size_px=4000, mpp=0.5, seed=seed)
    # 139 px at 0.5 µm/px keeps Inception's geometry and trains five times faster than 299 px; 64 px
    # of it are 32 µm, the paper's 128 px at 0.25 µm/px.
    size = {"mpp": phantoms.mpp, "patch_px": 139, "centre_px": 64}
    plan = Plan.of(
        tile=TileSettings(**size, tumor_per_slide=400, normal_per_slide=400, seed=seed),
        # The paper's colours take far more examples to learn through than minutes allow.
        train=TrainSettings(examples=20_000, augment=AugmentSettings(brightness=0.1, contrast=0.3)),
        predict=PredictSettings(),
        evaluate=EvaluateSettings(),
        batch=batch,
    )
    return phantoms, plan
