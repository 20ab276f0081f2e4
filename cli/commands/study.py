"""`gigaslide study`: a command for each kind of study, and show."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ...batch import BatchSettings
from ...cohort import Cohort
from ...study import STUDIES, Study, StudySettings
from ..options.arguments import Batch, CohortFile
from ..stages.studies import show_stage, study_stage

__all__ = ["study"]

StudyFolder = Annotated[
    Path, Parameter(help="Folder of the study: tables, study.html; finished cells are skipped.")
]
PlanOnly = Annotated[
    bool,
    Parameter(
        group="Study",
        negative="",
        show_default=False,
        help="Print cells, splits and the estimated time, and run nothing.",
    ),
]


def make_study_command(kind: Study[StudySettings]) -> Callable[..., int]:
    """Make the command of one kind of study."""

    def command(
        cohort: CohortFile,
        out: StudyFolder,
        *,
        settings: StudySettings = kind.settings(),
        plan: PlanOnly = False,
        batch: Batch = BatchSettings(),
    ) -> int:
        return study_stage(Cohort.load(cohort), out, settings, batch, is_plan=plan)

    command.__annotations__["settings"] = Annotated[kind.settings, Parameter(name="*")]
    command.__doc__ = kind.help
    return command


def show(out: Annotated[Path, Parameter(help="Folder of a study.")]) -> int:
    """Print the answer of a study, and make its tables and page anew from the finished cells.

    Exit status 2: cells are missing.
    """
    return show_stage(out)


study = {**{name: make_study_command(kind) for name, kind in STUDIES.items()}, "show": show}
