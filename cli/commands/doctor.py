"""`gigaslide doctor`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ...batch import BatchSettings
from ...doctor import DoctorSettings, SampleSettings
from ..options.arguments import Annotations, Batch
from ..stages.doctor import doctor_stage
from ..stages.run_settings import STAGES, RunSettings

__all__ = ["doctor"]


def doctor(
    cohort: Annotated[
        Path, Parameter(help="Cohort CSV, or a folder of slides for which one is proposed.")
    ],
    out: Annotated[Path, Parameter(help="Folder to make: checkup.html, checkup.json.")] = Path(
        "doctor-out"
    ),
    *,
    sample: SampleSettings = SampleSettings(),
    settings: Annotated[RunSettings, Parameter(name="*")] = RunSettings(),
    batch: Batch = BatchSettings(),
    annotations: Annotations = None,
) -> int:
    """Check a cohort before a long run, and estimate the time and disk space of each stage.

    Slides are read in samples, in parallel. Takes the options of gigaslide run: an option without a
    prefix holds for every stage that has it (--mpp); with a stage's name it holds for that stage
    (--train.examples) and wins.

    Exit status: 0 no error, 1 no slide could be opened, 2 errors.
    """
    checks = DoctorSettings(sample=sample, **{name: getattr(settings, name) for name in STAGES})
    return doctor_stage(cohort, out, checks, batch, annotations)
