"""`gigaslide serve`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ...batch import BatchSettings
from ...cohort import Cohort
from ...serve import ServerSettings
from ..options.arguments import Batch
from ..stages.serve import JobOptions, serve_stage

__all__ = ["serve"]


def serve(
    models: Annotated[
        tuple[Path, ...],
        Parameter(
            help="Model folder made by gigaslide train, or a folder of several. Repeatable; jobs "
            "name a model by its folder's name."
        ),
    ],
    *,
    cohort: Annotated[
        Path | None,
        Parameter(
            group="Jobs", help="Cohort CSV whose slides jobs may name by id. Others are uploaded."
        ),
    ] = None,
    out: Annotated[
        Path, Parameter(group="Jobs", help="Folder for uploads and results; finished jobs stay.")
    ] = Path("jobs"),
    upload_gb: Annotated[
        float, Parameter(group="Jobs", help="Largest slide that may be uploaded (GB).")
    ] = 8.0,
    architecture: Annotated[
        str,
        Parameter(
            group="Jobs",
            help="Module and function (module:function) of a network of your own, as given to "
            "gigaslide train.",
        ),
    ] = "",
    settings: Annotated[ServerSettings, Parameter(name="*")] = ServerSettings(),
    batch: Batch = BatchSettings(),
) -> int:
    """Offer models as an API: a slide goes in, a heatmap, detections and outlines come out.

    Prints a link with a token, which every request needs. One job is computed at a time, in a
    process that keeps the models loaded; further ones wait. --cluster and --scheduler give the
    blocks of each job to the workers of a Dask. docs/serve.md has examples.
    """
    slides = Cohort(slides=()) if cohort is None else Cohort.load(cohort)
    upload_bytes = round(upload_gb * 1e9)
    options = JobOptions(upload_bytes=upload_bytes, architecture=architecture, batch=batch)
    return serve_stage(models, slides, out, settings, options)
