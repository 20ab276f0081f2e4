"""Golden vectors of the CAMELYON16 programs, number by number."""

import numpy as np
import pytest
from froc_curves import curve
from gigaslide.eval import (
    LesionRule,
    MaskLesions,
    Match,
    PooledMatches,
    Raster,
    SlideMatches,
    label_mask,
    match_detections,
)
from gigaslide.wsi import Detections
from skimage.measure import regionprops

RASTER = Raster(pixel_level0=32.0, pixel_um=32 * 0.243)


def vector_a() -> PooledMatches:
    """2 slides, 4 lesions, all hit."""
    return PooledMatches(
        is_normal=np.array([False, True]),
        false_positive=np.array([0.6, 0.9, 0.3]),
        false_positive_slide=np.array([0, 1, 1]),
        best=np.array([0.2, 0.95, 0.7, 0.5]),
        is_itc=np.zeros(4, bool),
        lesion_slide=np.zeros(4, np.int64),
    )


def test_fault_47_vector_a_e1_curve_and_score():
    froc = curve(vector_a(), "camelyon16-e1")
    assert froc.threshold.tolist() == pytest.approx(
        [0.3, 0.5, 0.6, 0.7, 0.9, 0.95, np.inf]
    )  # hits as float32
    assert froc.false_positives.tolist() == [1.5, 1, 1, 0.5, 0.5, 0, 0]
    assert froc.sensitivity.tolist() == [0.75, 0.75, 0.5, 0.5, 0.25, 0.25, 0]
    assert froc.at_rates == (0.25, 0.5, 0.75, 0.75, 0.75, 0.75)
    assert froc.score == 0.625


def test_fault_47_vector_a_e2_score():
    froc = curve(vector_a(), "camelyon16-e2")
    assert froc.at_rates == (0.25, 0.25, 0.5, 1, 1, 1)
    assert froc.score == pytest.approx(0.666667, abs=1e-6)


def test_vector_a_ours_keeps_the_point_that_e1_drops():
    froc = curve(vector_a(), "gigaslide")
    assert (froc.threshold[0], froc.false_positives[0], froc.sensitivity[0]) == (0.2, 1.5, 1.0)
    assert froc.at_rates == (0.25, 0.5, 0.75, 1, 1, 1)
    negative = curve(vector_a(), "liu2017")
    assert negative.false_positives.tolist() == [2, 2, 1, 1, 1, 0, 0]  # .9 and .3, over one slide
    assert negative.at_rates == (0.25, 0.25, 0.75, 1, 1, 1)


def test_e1_loses_a_real_point_when_nothing_was_missed():
    matches = PooledMatches(
        is_normal=np.array([False, True]),
        false_positive=np.array([0.3, 0.6]),
        false_positive_slide=np.array([1, 1]),
        best=np.array([0.9, 0.2]),
        is_itc=np.zeros(2, bool),
        lesion_slide=np.zeros(2, np.int64),
    )
    assert curve(matches, "camelyon16-e1").score == 0.5
    assert curve(matches, "gigaslide").at_rates == (
        0.5,
        0.5,
        1,
        1,
        1,
        1,
    )


def mask_of(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    """Level-5 mask from half-open (y0, y1, x0, x1)."""
    mask = np.zeros((200, 200), bool)
    for y0, y1, x0, x1 in boxes:
        mask[y0:y1, x0:x1] = True
    return mask


def labelled(mask: np.ndarray) -> MaskLesions:
    return label_mask(mask, RASTER, LesionRule())


def slide_a() -> np.ndarray:
    mask = mask_of(
        (20, 60, 20, 60),
        (20, 60, 68, 80),
        (120, 124, 30, 34),
        (100, 140, 120, 122),
        (150, 190, 150, 190),
    )
    mask[160:180, 160:180] = False
    mask[5:35, 180:184] = True
    return mask


def slide_b() -> np.ndarray:
    return mask_of((50, 52, 50, 52), (100, 130, 100, 130))


@pytest.mark.parametrize(
    ("mask", "areas", "axes", "itc"),
    [
        (
            slide_a(),
            [444, 3240, 468, 132, 2292],
            [42.8158, 78.3119, 54.1214, 12.9942, 55.1522],
            [4],
        ),
        (slide_b(), [88, 1432], [10.5658, 43.5413], [1]),
    ],
)
def test_fault_47_vector_b_lesions(mask, areas, axes, itc):
    lesions = labelled(mask)
    assert lesions.measures.area_um2 / RASTER.pixel_um**2 == pytest.approx(areas)
    axes_px = lesions.measures.major_axis_um / RASTER.pixel_um
    assert axes_px == pytest.approx(axes, abs=5e-5)
    assert (np.flatnonzero(lesions.measures.is_itc) + 1).tolist() == itc
    # The same from scikit-image, which the official programs call.
    twins = regionprops(lesions.labels)
    assert axes_px == pytest.approx([twin.axis_major_length for twin in twins])
    centres = [((c + 0.5) * 32, (r + 0.5) * 32) for r, c in (twin.centroid for twin in twins)]
    assert lesions.measures.centre_level0 == pytest.approx(np.array(centres))


def judged(rows: list[tuple[float, float, float]], lesions: MaskLesions | None) -> SlideMatches:
    p, x, y = np.array(rows).T
    return match_detections(Detections.of_slide("s", np.stack([x, y], axis=1), p), lesions)


def vector_b() -> list[SlideMatches]:
    a = [
        (0.95, 1296, 1296),
        (0.90, 2368, 1280),
        (0.85, 1024, 3904),
        (0.80, 3872, 3840),
        (0.70, 3200, 320),
        (0.60, 5440, 5440),
        (0.55, 320, 6080),
    ]
    b = [(0.99, 1632, 1632), (0.65, 3680, 3680), (0.40, 320, 320)]
    c = [(0.75, 3200, 3200), (0.30, 5, 5), (0.20, 6000, 6000)]
    return [judged(a, labelled(slide_a())), judged(b, labelled(slide_b())), judged(c, None)]


def test_fault_47_vector_b_matches():
    a, b, c = vector_b()
    false = [s.probability[s.match == Match.FALSE_POSITIVE].tolist() for s in (a, b, c)]
    assert false == [[0.70, 0.55], [0.40], [0.75, 0.30, 0.20]]
    # The official lists hold 0 for a miss and for isolated tumour cells.
    assert np.where(a.is_itc, 0, np.nan_to_num(a.best)).tolist() == [0, 0.95, 0.80, 0, 0.60]
    assert np.where(b.is_itc, 0, np.nan_to_num(b.best)).tolist() == [0, 0.65]
    assert [s.countable for s in (a, b, c)] == [4, 1, 0]
    assert [s.hits for s in (a, b, c)] == [3, 1, 0]
    assert a.match[2] == Match.IGNORED
    assert b.match[0] == Match.IGNORED


@pytest.mark.parametrize("name", ["camelyon16-e1", "camelyon16-e2", "gigaslide"])
def test_fault_47_vector_b_score(name):
    pooled = PooledMatches.pool(vector_b(), is_normal=[False, False, True])
    froc = curve(pooled, name)
    assert froc.at_rates == pytest.approx((0.4, 0.4, 0.8, 0.8, 0.8, 0.8))
    assert froc.score == pytest.approx(0.6666667, abs=5e-8)


def test_vector_b_is_not_symmetric():
    """Swapped x and y would give other lesions other hits."""
    rows = [(0.95, 1280, 2368), (0.85, 3904, 1024)]  # two of slide A's detections, turned over
    assert judged(rows, labelled(slide_a())).match.tolist() == [Match.FALSE_POSITIVE] * 2
