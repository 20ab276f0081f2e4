"""Estimates for a run: patches, bytes and hours of each stage, from measurements on the slides.

The network is not measured. Its speed is that of 2 cores with AVX2 on patches of 299 px, assumed to
scale with the cores and inversely with a patch's area; a GPU is many times faster.
"""

from collections.abc import Sequence

from ..models import find_architecture
from ..storage import format_count
from ..wsi import ceil_div
from .checkup import SlideCheckup, StageEstimate
from .formatting import round_figure
from .settings import DoctorSettings

__all__ = ["estimate_stages"]

MEASURED_CORES, MEASURED_PX = 2, 299
TRAINING_COST = 4.46  # forward passes per example; measured with inception_v3_small only
WEIGHTS_WRITTEN = 12  # 2 files of the model folder; 5 of each of 2 checkpoints, 3 by its optimiser
CELL_BYTES = 5  # of a heatmap: probability and status, before compression
DISK_BYTES_PER_S = 200e6  # written; a SATA SSD, or a good network folder
PICTURE_BYTES = 1_000_000  # of a slide with its heatmap, at most
REPORT_BYTES, REPORT_S = 100_000, 0.1  # per slide in the report


def estimate_stages(
    slides: Sequence[SlideCheckup], settings: DoctorSettings, *, cores: int, workers: int
) -> tuple[StageEstimate, ...]:
    """Estimate every stage for the slides that could be examined."""
    return (
        _estimate_tiling(slides, workers=workers),
        _estimate_training(slides, settings, cores=cores),
        _estimate_prediction(slides, settings, cores=cores),
        _estimate_evaluation(slides, settings),
    )


def _estimate_tiling(slides: Sequence[SlideCheckup], *, workers: int) -> StageEstimate:
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
        basis=f"some patches of each slide, read and compressed; {format_count(at_once, 'slide')} "
        f"at a time; a disk that writes {DISK_BYTES_PER_S / 1e6:g} MB per second",
    )


def _estimate_training(
    slides: Sequence[SlideCheckup], settings: DoctorSettings, *, cores: int
) -> StageEstimate:
    train, architecture = settings.train, find_architecture(settings.train.architecture)
    rate = _windows_per_s(settings, cores)
    validated = ceil_div(train.examples, train.validate_every) * train.validation_patches
    cost = 1 if train.recipe == "probe" else TRAINING_COST
    seconds = train.members * (train.examples * cost + validated) / rate
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
        items=train.members * train.examples if can_train else 0,
        unit="examples",
        bytes=train.members * WEIGHTS_WRITTEN * architecture.weights_bytes if can_train else 0,
        hours=seconds / 3600 if can_train else 0,
        basis=f"{train.architecture} at {round_figure(rate / cost)} patches per second, "
        "not measured",
    )


def _estimate_prediction(
    slides: Sequence[SlideCheckup], settings: DoctorSettings, *, cores: int
) -> StageEstimate:
    work = [(slide, slide.predict) for slide in slides if slide.predict is not None]
    windows = sum(predict.windows for _, predict in work)
    # An upper limit for the fast modes: how much they save depends on network and tissue.
    orientations = 1 if settings.predict.mode == "fastest" else settings.predict.orientations
    rate = _windows_per_s(settings, cores) / orientations / settings.train.members
    reading_s = sum(
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
        hours=(reading_s + windows / rate) / 3600,
        basis=f"{settings.train.architecture} at {round_figure(rate)} windows per second, not "
        f"measured, in {format_count(orientations, 'orientation')}; decoding as measured",
    )


def _estimate_evaluation(slides: Sequence[SlideCheckup], settings: DoctorSettings) -> StageEstimate:
    split = settings.evaluate.split
    used = [
        slide
        for slide in slides
        if slide.predict is not None and slide.label and (not split or slide.split in (split, ""))
    ]
    return StageEstimate(
        stage="evaluate",
        slides=len(used),
        items=sum(slide.annotation.lesions for slide in used if slide.annotation is not None),
        unit="lesions",
        bytes=len(used) * REPORT_BYTES,
        hours=sum(slide.tissue_seconds + slide.annotation_seconds + REPORT_S for slide in used)
        / 3600,
        basis="overviews and annotations as measured",
    )


def _windows_per_s(settings: DoctorSettings, cores: int) -> float:
    """Windows that the network scores per second, in one orientation."""
    measured = find_architecture(settings.train.architecture).windows_per_s
    spec = settings.tile.input_spec
    side = spec.patch_px / settings.train.network_options(spec).shrink
    towers, widths = max(1, len(settings.train.scales)), settings.train.widths or (1.0,)
    work = towers * sum(width**2 for width in widths) / len(widths)  # of one tower of width 1
    return measured / work * cores / MEASURED_CORES * (MEASURED_PX / side) ** 2
