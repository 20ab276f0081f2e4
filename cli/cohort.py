"""`gigaslide cohort`."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..cohort import propose_cohort

__all__ = ["cohort"]


def cohort(
    folder: Annotated[
        Path, Parameter(help="Folder with slides, and with annotations of the same names.")
    ],
    /,
) -> int:
    """Propose a cohort CSV on standard output from a folder of slides: gigaslide cohort DIR >
    cohort.csv.

    Knows CAMELYON16's two layouts. Read the table before you use it: labels and splits are
    proposals.
    """
    # Relative to where the user stands: that is where `> cohort.csv` puts the file.
    propose_cohort(folder).write(sys.stdout, Path.cwd())
    return 0
