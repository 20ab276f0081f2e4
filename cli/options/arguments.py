"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ...batch import BatchSettings

__all__ = [
    "Annotations",
    "AnnotationsFolder",
    "Batch",
    "CohortFile",
    "Heatmaps",
    "PredictionsFolder",
    "StoreLocation",
]

CohortFile = Annotated[
    Path,
    Parameter(help="Cohort CSV: slide, annotation, label, patient, split, mpp, exhaustive."),
]
StoreLocation = Annotated[str, Parameter(help="Patch store: a folder, s3://… or gs://….")]
PredictionsFolder = Annotated[
    Path,
    Parameter(
        help="Folder made by gigaslide predict, or detections of any program: a folder with a CSV "
        "for each slide (p,x,y), or one CSV (slide,x,y,probability), in level-0 px."
    ),
]
AnnotationsFolder = Annotated[
    Path,
    Parameter(name="--dir", help="Folder of annotations, with versions of each slide's outlines."),
]
Annotations = Annotated[
    Path | None,
    Parameter(
        group="Slides and annotations",
        help="Folder of annotations, as gigaslide propose makes it. The newest accepted version "
        "of each slide replaces the annotation of the cohort.",
    ),
]
Heatmaps = Annotated[Path, Parameter(group="Proposals", help="Folder made by gigaslide predict.")]
Batch = Annotated[BatchSettings, Parameter(name="*")]
