"""`gigaslide demo`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ...batch import BatchSettings
from ...cohort import Cohort
from ...patching import TileSettings
from ...phantom import PhantomSettings
from ...training import TrainSettings
from ..options.arguments import Batch
from ..options.panels import GENERAL
from ..stages.phantom import phantom_stage
from ..stages.pipeline import run_stages
from ..stages.run_settings import RunSettings, worst_status
from ..terminal.progress import print_line

__all__ = ["demo", "demo_settings"]


def demo(
    out: Annotated[Path, Parameter(help="Folder for everything that the demo makes.")] = Path(
        "demo-out"
    ),
    *,
    quick: Annotated[
        bool,
        Parameter(
            group=GENERAL,
            negative="",
            help="Fewer slides and a short training: about two minutes. The figures mean little.",
        ),
    ] = False,
    seed: Annotated[
        int, Parameter(group=GENERAL, help="Seed of the slides, the patches and the training.")
    ] = 0,
    batch: Batch = BatchSettings(),
) -> int:
    """Make synthetic slides and run every stage on them, in about ten minutes on two cores.

    The figures describe the synthetic slides only. Run it again: finished stages are skipped.
    """
    phantoms, settings = demo_settings(seed, quick=quick)
    cohort, summary = phantom_stage(out / "phantoms", phantoms, batch)
    if summary.exit_status == 1:
        return 1
    status = worst_status(
        [summary.exit_status, run_stages(Cohort.load(cohort), out, settings, batch)]
    )
    print_line()
    if quick:
        print_line("This was the quick demo: a trial of the installation. Its figures mean little,")
        print_line("and warnings about the model are expected after so short a training.")
    print_line("Next: gigaslide cohort DIR cohort.csv lists your own slides.")
    return status


def demo_settings(seed: int, *, quick: bool) -> tuple[PhantomSettings, RunSettings]:
    """Return the settings of the demo's slides and of its stages."""
    phantoms = PhantomSettings(size_px=4000, mpp=0.5, seed=seed)
    patches, examples = 400, 20_000
    if quick:
        phantoms = PhantomSettings(
            slides=10, slides_per_patient=1, size_px=2000, mpp=0.5, seed=seed
        )
        patches, examples = 100, 2_000
    settings = RunSettings(
        mpp=phantoms.mpp,
        seed=seed,
        # 139 px at 0.5 µm/px keeps Inception's geometry and trains five times faster than 299 px;
        # 64 px of it are 32 µm, the paper's 128 px at 0.25 µm/px.
        tile=TileSettings(
            patch_px=139, centre_px=64, tumor_per_slide=patches, normal_per_slide=patches
        ),
        train=TrainSettings(examples=examples),
    )
    return phantoms, settings
