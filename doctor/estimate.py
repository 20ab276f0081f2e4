"""What a run would take: patches, bytes and hours of each stage, from what was measured on the
slides.

The network was not tried. Its speed is that of 2 cores with AVX2 and patches of 299 px, taken to
grow with the cores and to fall with the patch's area; a GPU is many times faster. All else is
measured on the slides themselves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..wsi import ceil_div
from .formatting import about, format_count
from .settings import DoctorSettings

if TYPE_CHECKING:
    from .checkup import SlideCheckup

__all__ = ["StageEstimate", "estimate"]

MEASURED_CORES, MEASURED_PX = 2, 299
PREDICTED_PER_S = {"small": 116.0, "full": 8.9}  # windows a second, Keras on TensorFlow
# The full network's training was not measured: its forward pass costs 4.5 times as much when it
# learns, as the small's.
TRAINED_PER_S = {"small": 26.0, "full": 2.0}
PARAMETERS = {"small": 283_759, "full": 21_806_882}
WEIGHTS_BYTES = 4 * 4  # float32; the best weights, and the last ones with RMSProp's two moments
CELL_BYTES = 5  # of a heatmap: probability and status, before compression
DISK_BYTES_PER_S = 200e6  # written; a plain SSD, or a good network folder
PICTURE_BYTES = 1_000_000  # of a slide with its heatmap over it, at most about so much
REPORT_BYTES, REPORTED_S = (
    100_000,
    0.1,
)  # a slide's part of the report, and of drawing it and its intervals


@dataclass(frozen=True, kw_only=True)
class StageEstimate:
    """About what one stage takes on this machine."""

    stage: str
    slides: int
    items: int
    unit: str
    """What is counted."""
    bytes: float
    hours: float
    basis: str
    """From what the hours come."""


def estimate(
    slides: Sequence["SlideCheckup"], settings: DoctorSettings, *, cores: int, workers: int
) -> tuple[StageEstimate, ...]:
    """Of the slides that could be examined; the others are not in it."""
    return (
        _tile(slides, workers=workers),
        _train(slides, settings, cores=cores),
        _predict(slides, settings, cores=cores),
        _evaluate(slides, settings),
    )


def _tile(slides: Sequence["SlideCheckup"], *, workers: int) -> StageEstimate:
    work = [(slide, slide.tile) for slide in slides if slide.tile is not None]
    seconds = sum(
        slide.tissue_seconds + tile.search_seconds + tile.patches * (tile.patch_seconds or 0)
        for slide, tile in work
    )
    at_once = max(1, min(workers, len(work)))
    size = sum(tile.patches * (tile.patch_bytes or 0) for _, tile in work)
    return StageEstimate(
        stage="tile",
        slides=len(work),
        items=sum(tile.patches for _, tile in work),
        unit="patches",
        bytes=size,
        hours=(seconds / at_once + size / DISK_BYTES_PER_S) / 3600,
        basis=f"some patches of each slide, read and compressed, {format_count(at_once, 'slide')} "
        f"at a time; a disk that writes {DISK_BYTES_PER_S / 1e6:g} MB a second",
    )


def _train(
    slides: Sequence["SlideCheckup"], settings: DoctorSettings, *, cores: int
) -> StageEstimate:
    train = settings.train
    pace = _pace(settings, cores)
    validated = ceil_div(train.examples, train.validate_every) * train.validation_patches
    seconds = train.examples / (TRAINED_PER_S[train.width] * pace) + validated / (
        PREDICTED_PER_S[train.width] * pace
    )
    used = [
        slide
        for slide in slides
        if slide.split == "train" and slide.tile is not None and slide.tile.patches
    ]
    can_train = all(
        sum(getattr(slide.tile, count) for slide in used)
        for count in ("tumor_patches", "normal_patches")
    )
    return StageEstimate(
        stage="train",
        slides=len(used),
        items=train.examples if can_train else 0,
        unit="examples",
        bytes=PARAMETERS[train.width] * WEIGHTS_BYTES if can_train else 0,
        hours=seconds / 3600 if can_train else 0,
        basis=f"the {train.width} network at {about(TRAINED_PER_S[train.width] * pace)} patches a "
        "second, not tried",
    )


def _predict(
    slides: Sequence["SlideCheckup"], settings: DoctorSettings, *, cores: int
) -> StageEstimate:
    work = [(slide, slide.predict) for slide in slides if slide.predict is not None]
    windows = sum(predict.windows for _, predict in work)
    width = settings.train.width
    rate = PREDICTED_PER_S[width] * _pace(settings, cores) / settings.predict.orientations
    reading = sum(
        slide.tissue_seconds
        + (predict.read_mpx / slide.tiles.mpx_per_s if slide.tiles and slide.tiles.mpx_per_s else 0)
        for slide, predict in work
    )
    return StageEstimate(
        stage="predict",
        slides=len(work),
        items=windows,
        unit="windows",
        bytes=sum(predict.cells * CELL_BYTES + PICTURE_BYTES for _, predict in work),
        hours=(reading + windows / rate) / 3600,
        basis=f"the {width} network at {about(rate)} windows a second, not tried, "
        f"{format_count(settings.predict.orientations, 'orientation')} each; decoding as measured",
    )


def _evaluate(slides: Sequence["SlideCheckup"], settings: DoctorSettings) -> StageEstimate:
    side = settings.evaluate.split
    used = [
        slide
        for slide in slides
        if slide.predict is not None and slide.label and (not side or slide.split in (side, ""))
    ]
    return StageEstimate(
        stage="evaluate",
        slides=len(used),
        items=sum(slide.annotation.lesions for slide in used if slide.annotation is not None),
        unit="lesions",
        bytes=len(used) * REPORT_BYTES,
        hours=sum(slide.tissue_seconds + slide.annotation_seconds + REPORTED_S for slide in used)
        / 3600,
        basis="overviews and annotations as read here",
    )


def _pace(settings: DoctorSettings, cores: int) -> float:
    return cores / MEASURED_CORES * (MEASURED_PX / settings.tile.patch_px) ** 2
