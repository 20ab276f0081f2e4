"""`gigaslide cohort`."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..cohort import propose_cohort
from ..storage import SettingsError

__all__ = ["cohort"]


def cohort(
    folder: Annotated[
        Path,
        Parameter(name="--dir", help="Folder of slides, and of annotations named like them."),
    ],
    cohort: Annotated[
        str,
        Parameter(
            help="Cohort CSV to make; - writes to standard output.", allow_leading_hyphen=True
        ),
    ] = "-",
) -> int:
    """Propose a cohort CSV from a folder of slides.

    Knows the two folder layouts of CAMELYON16. Labels and splits are proposals: read the table
    before you use it.
    """
    proposed = propose_cohort(folder)
    if cohort == "-":
        proposed.write(sys.stdout, Path.cwd())
    elif Path(cohort).exists():
        raise SettingsError(f"{cohort}: exists and may have been edited; give another name")
    else:
        proposed.save(Path(cohort))
    return 0
