"""Twins of the official programs, written from their pseudo-code, slowly, and slides for them."""

import numpy as np
import shapely
from froc_curves import RATES, curve
from gigaslide.cohort import CohortSlide
from gigaslide.eval import (
    PooledMatches,
    SlideResult,
    SlideStatus,
)
from gigaslide.eval.camelyon16.lesions import (
    LevelFive,
    label_level_5,
    look_up_cells,
    match_slide,
)
from gigaslide.eval.camelyon16.programs import PROGRAMS
from gigaslide.wsi import Detections
from scipy import ndimage
from shapely.geometry import MultiPolygon, Polygon
from skimage import measure

SIZE = (5300, 3700)  # level-0 px: 165.6 × 115.6 px at level 5
MPP = {"camelyon16-e1": lambda _: 0.243, "camelyon16-e2": lambda mpp: mpp}
HELD = {
    "camelyon16-e1": np.float32,
    "camelyon16-e2": float,
}  # what a program holds of a found lesion


def program(name: str, masks: list, detections: list, mpp: float) -> tuple[list, float]:
    """Points and score as the program finds them: masks of bool at level 5 (None: normal),
    detections (p, x, y)."""
    px = MPP[name](mpp) * 2**5
    false, best, countable = [], [], 0
    for mask, found in zip(masks, detections, strict=True):
        if mask is None:
            false += [p for p, _, _ in found]
            continue
        grown = ndimage.distance_transform_edt(~mask) < 75 / (2 * px)
        labels = measure.label(ndimage.binary_fill_holes(grown), connectivity=2)
        isolated = [r.label for r in measure.regionprops(labels) if r.axis_major_length < 275 / px]
        hits = [HELD[name](0)] * labels.max()
        for p, x, y in found:
            if name == "camelyon16-e1":
                row, column = int(y / 32), int(x / 32)
            else:
                row, column = round(int(y) / 32), round(int(x) / 32)
            label = labels[row, column]
            if label == 0:
                false.append(p)
            elif label not in isolated:
                hits[label - 1] = max(hits[label - 1], HELD[name](p))
        best += hits
        countable += len(hits) - len(isolated)
    thresholds = sorted({*false, *best}, key=float)
    thresholds = thresholds[1:] if name == "camelyon16-e1" else [t for t in thresholds if t != 0]
    held = np.asarray(false), np.asarray(best)
    points = [
        ((held[0] >= t).sum() / len(masks), (held[1] >= t).sum() / countable) for t in thresholds
    ]
    points.append((0.0, 0.0))
    rising = points[::-1]
    if name == "camelyon16-e1":
        return points, float(np.mean(np.interp(RATES, *zip(*rising, strict=True))))
    return points, float(
        np.mean([next((s for f, s in rising if f >= rate), rising[-1][1]) for rate in RATES])
    )


def level_5(tumor: MultiPolygon) -> np.ndarray:
    """One question a pixel: is its centre inside?"""
    columns, rows = (int(np.ceil(side / 32)) for side in SIZE)
    x, y = np.meshgrid((np.arange(columns) + 0.5) * 32, (np.arange(rows) + 0.5) * 32)
    return shapely.contains_xy(tumor, x, y)


def blob(rng: np.random.Generator) -> Polygon:
    angle = np.sort(rng.uniform(0, 2 * np.pi, 13))
    radius = rng.uniform(40, 700) * rng.uniform(0.5, 1, 13)
    centre = rng.uniform((0, 0), SIZE)
    points = centre + np.stack([radius * np.cos(angle), 0.5 * radius * np.sin(angle)], axis=1)
    return Polygon(points).buffer(0)


def tumor_of(rng: np.random.Generator, count: int) -> MultiPolygon:
    drawn = shapely.union_all([blob(rng) for _ in range(count)])
    return MultiPolygon(
        [p for p in shapely.get_parts(drawn) if isinstance(p, Polygon) and p.area > 0]
    )


def detections_on(rng: np.random.Generator, tumor: MultiPolygon | None, count: int) -> list[tuple]:
    """Whole px, many on the borders between raster px; every third repeated, probabilities in
    tenths.

    None so near the end that the second program would end with an error: see the test of the last
    px.
    """
    found = [tuple(rng.integers((0, 0), SIZE).tolist()) for _ in range(count)]
    for part in [] if tumor is None else tumor.geoms:
        inner = part.representative_point()
        found.append((round(inner.x) // 16 * 16, round(inner.y) // 16 * 16))
    ends = [32 * -(-side // 32) - 16 for side in SIZE]
    found = [
        (x, y)
        for x, y in found
        if 0 <= x < min(SIZE[0], ends[0]) and 0 <= y < min(SIZE[1], ends[1])
    ]
    return [(float(rng.integers(1, 10) / 10), x, y) for x, y in [*found, *found[::3]]]


def lesions_of(tumor, *, mpp: float = 0.243, size=SIZE, downsample: float = 32.0) -> dict:
    level = LevelFive(tumor=tumor, downsample=downsample, mpp=mpp)
    return {
        name: label_level_5(level, program, slide_size=size) for name, program in PROGRAMS.items()
    }


def at(name: str, lesions, points: np.ndarray) -> list[int]:
    cells = PROGRAMS[name].find_cells(points, lesions.raster)
    return look_up_cells(lesions.labels, cells)[0].tolist()


def ours(name: str, tumors: list, detections: list, mpp: float):
    slide = CohortSlide(id="s", path=None)
    result = SlideResult(slide=slide, status=SlideStatus.EVALUATED, slide_size=SIZE)
    matches = []
    for tumor, found in zip(tumors, detections, strict=True):
        rows = np.array(found, np.float64).reshape(-1, 3)
        level = None if tumor is None else LevelFive(tumor=tumor, downsample=32.0, mpp=mpp)
        given = Detections.of_slide("s", rows[:, 1:], rows[:, 0])
        matches += [
            one.matches for one in match_slide(result, given, level) if one.program.name == name
        ]
    pooled = PooledMatches.pool(matches, is_normal=[tumor is None for tumor in tumors])
    return curve(pooled, name)
