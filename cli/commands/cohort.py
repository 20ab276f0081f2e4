"""`gigaslide cohort`."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ...cohort import propose_cohort
from ...storage import SettingsError, format_count
from ..terminal.progress import print_line

__all__ = ["cohort"]


def cohort(
    folder: Annotated[
        Path,
        Parameter(name="--dir", help="Folder of slides, and of annotations named like them."),
    ],
    cohort: Annotated[
        Path | None, Parameter(help="Cohort CSV to make; - or nothing: standard output.")
    ] = None,
) -> int:
    """Propose a cohort CSV from a folder of slides.

    Knows the two folder layouts of CAMELYON16. Labels and splits are proposals: read the table
    before you use it.
    """
    proposed = propose_cohort(folder)
    if cohort is None:
        proposed.write(sys.stdout, Path.cwd())
    elif cohort.exists():
        raise SettingsError(f"{cohort}: exists and may have been edited; give another name")
    else:
        proposed.save(cohort)
        print_line(f"{cohort}: {format_count(len(proposed), 'slide')}")
        print_line(f"next: correct its labels and splits, then gigaslide doctor {cohort}")
    return 0
