"""Lesions of a slide as the official programs find them, in level 5 of its mask, and their matches
with detections.

Outlines, and masks without a level 5, are drawn at 32 level-0 px.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from shapely.geometry import MultiPolygon

from ...storage import AnnotationError, format_count
from ...wsi import (
    DEFAULT_GROUPS,
    Detections,
    GroupMeaning,
    ceil_div,
    invert_white_is_zero,
    page_mpp_xy,
)
from ..predictions.detection_files import is_outside
from ..scoring.matching import SlideMatches, match_labels
from ..scoring.slide_result import SlideResult
from ..settings import EvaluateSettings
from ..truth.mask_lesions import (
    SAME_SHARE,
    MaskLesions,
    Raster,
    draw_polygons,
    label_mask,
    measure_labels,
)
from ..truth.measures import LesionRule
from ..truth.truth import Truth
from .programs import DOWNSAMPLE, PROGRAMS, Program

__all__ = [
    "LevelFive",
    "ProgramMatches",
    "find_level_5",
    "label_level_5",
    "look_up_cells",
    "match_slide",
    "read_level_5",
]

RULE = LesionRule()
LARGEST_BYTES = 2**27  # of the level, and of a tile; CAMELYON's largest level has 20 MB


@dataclass(frozen=True, kw_only=True)
class LevelFive:
    """Tumour of a slide as the programs read it."""

    tumor: np.ndarray | MultiPolygon
    """Mask, bool (rows, columns), or outlines in level-0 px, to be drawn at 32 level-0 px."""
    downsample: float
    """Level-0 px per px."""
    mpp: float
    """µm per level-0 px in the mask, or else of the slide."""


def find_level_5(result: SlideResult, truth: Truth, settings: EvaluateSettings) -> LevelFive | str:
    """Find the level 5 of a tumour slide, or the reason why there is none."""
    if truth.mask is not None:
        downsample = truth.mask.pixel_level0
        if abs(downsample / DOWNSAMPLE - 1) <= SAME_SHARE:
            return LevelFive(tumor=truth.mask.tumor, downsample=downsample, mpp=result.slide_mpp)
        return f"its mask has px of {downsample:g} level-0 px, the programs need {DOWNSAMPLE:g}"
    annotation = result.slide.annotation
    groups: dict[str, GroupMeaning] = {**DEFAULT_GROUPS, **settings.groups}
    if annotation is not None:
        frame = {"slide_size": result.slide_size, "slide_mpp": result.slide_mpp}
        try:
            level = read_level_5(annotation, groups=groups, **frame)
        except AnnotationError as error:
            return str(error)
        if level is not None:
            return level
    return LevelFive(tumor=truth.tumor, downsample=DOWNSAMPLE, mpp=result.slide_mpp)


def read_level_5(
    path: Path,
    *,
    slide_size: tuple[int, int],
    slide_mpp: float,
    groups: Mapping[str, GroupMeaning],
) -> LevelFive | None:
    """Read the level of a TIFF mask with a downsample of about 32; slide_mpp, µm/px, is taken where
    the file has none.

    None where path is no TIFF, has another size than the slide (width, height), or lacks such a
    level. groups names the values that are tumour: `mask-2`, `mask-255`, or `binary-1` where 1 is
    the only value.

    Raises:
        AnnotationError: the level cannot be decoded.
    """
    if path.suffix.lower() not in (".tif", ".tiff"):
        return None
    try:
        with tifffile.TiffFile(path) as tiff:
            page = _find_page(tiff.pages, slide_size)
            if page is None:
                return None
            mpp = page_mpp_xy(tiff, tiff.pages.first)
            return LevelFive(
                tumor=_tumor(invert_white_is_zero(np.asarray(page.asarray()), page), groups),
                downsample=tiff.pages[0].imagewidth / page.imagewidth,  # pyright: ignore
                mpp=(mpp and mpp[0]) or slide_mpp,
            )
    except Exception as error:  # a decoder may raise anything over damaged bytes
        raise AnnotationError(
            f"{path}: its level of downsample {DOWNSAMPLE:g} cannot be decoded: {error!r}; make "
            "the mask again"
        ) from error


def _find_page(pages: Any, slide_size: tuple[int, int]) -> Any:
    first = pages[0]
    whole = first.imagewidth, first.imagelength
    if any(abs(a / b - 1) > SAME_SHARE for a, b in zip(whole, slide_size, strict=True)):
        return None
    for page in pages:
        ratios = whole[0] / page.imagewidth, whole[1] / page.imagelength
        if all(abs(ratio / DOWNSAMPLE - 1) < SAME_SHARE for ratio in ratios) and _is_small(page):
            return page
    return None


def _is_small(page: Any) -> bool:
    """Test whether a page can be decoded in little memory: a file may claim tiles far larger than
    their content."""
    tile = page.tilewidth * page.tilelength
    block = tile if page.is_tiled else page.imagewidth * page.rowsperstrip
    if page.samplesperpixel != 1 or page.dtype is None or page.dtype.kind not in "bui":
        return False
    return max(page.imagewidth * page.imagelength, block) * page.dtype.itemsize <= LARGEST_BYTES


def _tumor(values: np.ndarray, groups: Mapping[str, GroupMeaning]) -> np.ndarray:
    found = [int(value) for value in np.unique(values) if value]
    names = {1: "binary-1"} if found == [1] else {value: f"mask-{value}" for value in found}
    known = {name.casefold(): meaning for name, meaning in groups.items()}
    return np.isin(values, [v for v, name in names.items() if known.get(name) == "tumor"])


def label_level_5(
    level: LevelFive, program: Program, *, slide_size: tuple[int, int]
) -> MaskLesions:
    """Label the lesions of a tumour slide as a program does."""
    raster = program.raster(downsample=level.downsample, mask_mpp=level.mpp)
    mask = level.tumor
    if not isinstance(mask, np.ndarray):
        mask = draw_polygons(mask, pixel_level0=raster.pixel_level0, slide_size=slide_size)
    found = label_mask(mask, raster, RULE)
    return found if len(found.measures) else _phantom(found.labels.shape, raster)


def _phantom(shape: tuple[int, ...], raster: Raster) -> MaskLesions:
    """The lesion that the programs find in an empty mask: SciPy measures the distance to nothing to
    a px above the top left one."""
    labels, growth_px = np.zeros(shape, np.int32), RULE.growth_um / raster.pixel_um
    reach = ceil_div(growth_px, 1)
    row, column = np.ogrid[:reach, :reach]
    labels[:reach, :reach] = (np.hypot(row + 1, column) < growth_px)[: shape[0], : shape[1]]
    measures = measure_labels(labels, np.zeros(shape, bool), raster, RULE)
    return MaskLesions(labels=labels, raster=raster, measures=measures)


@dataclass(frozen=True, kw_only=True)
class ProgramMatches:
    """Matches of a slide's detections by one program."""

    program: Program
    matches: SlideMatches
    note: str = ""
    """Detections in the slide over which the program would end with an error; here they take the
    last row or column."""
    error: str = ""
    """Detections outside the slide over which the program ends with an error; empty if none."""


def match_slide(
    result: SlideResult, detections: Detections, level: LevelFive | None
) -> Iterator[ProgramMatches]:
    """Match a slide's detections by each program; level is None for a normal slide, on which every
    detection is a false positive, wherever it lies."""
    for program in PROGRAMS.values():
        if level is None:
            label, is_itc = np.zeros(len(detections), np.int64), np.zeros(0, bool)
            yield ProgramMatches(program=program, matches=match_labels(detections, label, is_itc))
        else:
            yield _match_tumor_slide(program, result, detections, level)


def _match_tumor_slide(
    program: Program, result: SlideResult, detections: Detections, level: LevelFive
) -> ProgramMatches:
    lesions = label_level_5(level, program, slide_size=result.slide_size)
    xy = np.stack([detections.x, detections.y], axis=1)
    cells = program.find_cells(xy, lesions.raster)
    label, is_error = look_up_cells(lesions.labels, cells)
    outside = is_outside(detections, result.slide_size)
    note = error = ""
    if lost := int((is_error & outside).sum()):
        error = f"{format_count(lost, 'detection')} outside {result.slide.id}"
    if last := int((is_error & ~outside).sum()):
        note = (
            f"{result.slide.id}: {format_count(last, 'detection')} at the slide's end, where "
            f"{program.name} itself would end with an error; here it takes the last row or column"
        )
    matches = match_labels(detections, label, lesions.measures.is_itc)
    return ProgramMatches(program=program, matches=matches, note=note, error=error)


def look_up_cells(labels: np.ndarray, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels (N,) int64 of cells (N, 2) (row, column), whole float64, as the programs
    index an array: a negative cell counts from the end. And (N,) bool, True where that is an
    error; there the nearest cell is taken."""
    shape = np.array(labels.shape)
    within = np.clip(cells, -shape, shape - 1)
    label = labels[tuple(within.astype(np.int64).T)].astype(np.int64)
    return label, (within != cells).any(axis=1)
