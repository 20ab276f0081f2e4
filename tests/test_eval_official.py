"""The official programs' definitions from polygon to score, against twins."""

import numpy as np
import pandas as pd
import pytest
import shapely
from gigaslide.cohort import CohortSlide
from gigaslide.eval import (
    EvaluateSettings,
    SlideResult,
    SlideStatus,
    SlideTruth,
    Truth,
    evaluate,
)
from gigaslide.eval.camelyon16.lesions import (
    LevelFive,
    look_up_cells,
    match_slide,
)
from gigaslide.eval.camelyon16.programs import PROGRAMS
from gigaslide.wsi import Annotation, Detections, Outline
from official_programs import (
    MPP,
    SIZE,
    at,
    detections_on,
    lesions_of,
    level_5,
    ours,
    program,
    tumor_of,
)
from scipy import ndimage
from shapely.geometry import MultiPolygon, box
from skimage import measure

OFFICIAL = EvaluateSettings(split="", resamples=20, official=True)


@pytest.mark.parametrize("name", MPP)
@pytest.mark.parametrize(
    ("seed", "mpp"), [(0, 0.243), (1, 0.243), (2, 0.226), (3, 0.5), (4, 0.243), (5, 0.31)]
)
def test_fault_47_curve_and_score_are_the_programs_from_the_polygons_on(name, seed, mpp):
    rng = np.random.default_rng(seed)
    tumors = [tumor_of(rng, 9), None, tumor_of(rng, 3), None, tumor_of(rng, 14)]
    detections = [detections_on(rng, tumor, int(rng.integers(0, 12))) for tumor in tumors]
    masks = [None if tumor is None else level_5(tumor) for tumor in tumors]
    points, score = program(name, masks, detections, mpp)
    got = ours(name, tumors, detections, mpp)
    assert list(zip(got.false_positives.tolist(), got.sensitivity.tolist(), strict=True)) == points
    assert got.score == pytest.approx(score)


@pytest.mark.parametrize("name", MPP)
def test_fault_47_no_detections_on_any_slide_and_no_normal_slide(name):
    rng = np.random.default_rng(7)
    tumors = [tumor_of(rng, 9), tumor_of(rng, 4)]
    for detections in ([[], []], [detections_on(rng, tumors[0], 5), []]):
        points, score = program(name, [level_5(t) for t in tumors], detections, 0.243)
        got = ours(name, tumors, detections, 0.243)
        assert (
            list(zip(got.false_positives.tolist(), got.sensitivity.tolist(), strict=True)) == points
        )
        assert got.score == pytest.approx(score)


@pytest.mark.parametrize("name", MPP)
def test_fault_47_only_isolated_cells_only_normal_slides(name):
    cells = MultiPolygon([box(1000, 1000, 1100, 1090)])
    assert "only isolated" in ours(name, [cells, None], [[(0.9, 1050, 1050)], []], 0.243).undefined
    assert ours(name, [None, None], [[(0.9, 5, 5)], []], 0.243).undefined == "no lesions"


def test_e1_truncates_where_e2_rounds_half_to_even():
    # The grown lesion's labels begin at some column of level 5; points beside it fall left or right
    # of it.
    tumor = MultiPolygon([box(1600, 1600, 3200, 2400)])
    lesions = lesions_of(tumor, mpp=0.243)
    e1, e2 = lesions["camelyon16-e1"], lesions["camelyon16-e2"]
    assert (e1.labels == e2.labels).all()
    first = int(np.flatnonzero(e1.labels[60])[0])
    for offset, truncated, rounded in (
        (-0.6, 0, 0),
        (-0.5, 0, 1 - first % 2),
        (-0.4, 0, 1),
        (0.0, 1, 1),
        (0.9, 1, 1),
    ):
        point = np.array([[(first + offset) * 32, 60 * 32.0]])
        found = at("camelyon16-e1", e1, point) + at("camelyon16-e2", e2, point)
        assert found == [truncated, rounded], offset


def test_e2_cuts_coordinates_to_whole_px_before_it_rounds():
    for left in (1600, 1632):
        lesions = lesions_of(MultiPolygon([box(left, 1600, 3200, 2400)]))
        e1, e2 = lesions["camelyon16-e1"], lesions["camelyon16-e2"]
        first = int(np.flatnonzero(e2.labels[60])[0])
        half = (first - 0.5) * 32
        points = np.array([[half, 1920.0], [half + 0.9, 1920.9], [half + 1, 1920.0]])
        assert at("camelyon16-e2", e2, points) == [
            1 - first % 2,
            1 - first % 2,
            1,
        ]  # as a half for 0.9 px more
        assert at("camelyon16-e1", e1, points) == [0, 0, 0]


def test_where_e2_ends_with_an_error_in_the_last_px_ours_takes_the_last_row_and_column():
    """The tumour reaches the slide's right border, 3200 px: 100 px at level 5, of which the last is
    number 99."""
    size, tumor = (3200, 1600), MultiPolygon([box(1600, 200, 3200, 1400)])
    lesions = lesions_of(tumor, size=size)
    e1, e2 = lesions["camelyon16-e1"], lesions["camelyon16-e2"]
    x, y = np.meshgrid((np.arange(100) + 0.5) * 32, (np.arange(50) + 0.5) * 32)
    twin = [(0.9, 3183, 800), (0.8, 3184, 800), (0.7, 3199, 800)]
    program("camelyon16-e2", [shapely.contains_xy(tumor, x, y)], [twin[:1]], 0.243)
    for one in twin[1:]:
        with pytest.raises(IndexError, match="100 is out of bounds"):
            program("camelyon16-e2", [shapely.contains_xy(tumor, x, y)], [[one]], 0.243)
    points = np.array([[px, py] for _, px, py in twin], float)
    assert at("camelyon16-e1", e1, points) == at("camelyon16-e2", e2, points) == [1, 1, 1]
    corner = np.array(
        [[3199.0, 1599.0], [5.0, 1599.0], [3216.0, 800.0]]
    )  # no tumour; and beside the slide
    assert at("camelyon16-e2", e2, corner) == [0, 0, 1]
    for x in (3217.0, 3264.0):  # beside the slide: an error that stays one
        cells = PROGRAMS["camelyon16-e2"].find_cells(np.array([[x, 800.0]]), e2.raster)
        assert look_up_cells(e2.labels, cells)[1].tolist() == [True]
    truth = {
        "t": SlideTruth(size=size, mpp=0.243, tumor=tumor),
        "n": SlideTruth(size=size, mpp=0.243),
    }
    rows = [("t", x, y, p) for p, x, y in twin]
    table = pd.DataFrame(rows, columns=["slide", "x", "y", "probability"])
    official = evaluate(table, truth, OFFICIAL).official
    assert official.programs["camelyon16-e2"].score.value == 1
    (note,) = official.notes
    assert "t: 2 detections at the slide's end, where camelyon16-e2" in note


def test_every_px_past_the_end_of_a_coarse_mask_is_the_last_with_a_note():
    """A mask of 90 × 38 px for 1195 × 2879: by its width it has a downsample of 31.4, and E2 looks
    two rows past its end."""
    size, mask = (1195, 2879), np.zeros((90, 38), bool)
    mask[60:90, 10:30] = True
    slide = CohortSlide(id="t", path=None)
    result = SlideResult(slide=slide, status=SlideStatus.EVALUATED, slide_size=size)
    level = LevelFive(tumor=mask, downsample=1195 / 38, mpp=0.243)
    given = Detections.of_slide("t", np.array([[600.0, 2861.0]]), np.array([0.9]))
    e1, e2 = match_slide(result, given, level)
    cells = e2.program.find_cells(
        np.array([[600, 2861]]), e2.program.raster(downsample=1195 / 38, mask_mpp=0.243)
    )
    assert cells.tolist() == [[91, 19]]
    assert [one.matches.match.tolist() for one in (e1, e2)] == [["hit"]] * 2
    assert (e1.note, e1.error, e2.error) == ("", "", "")
    assert "t: 1 detection" in e2.note


@pytest.mark.parametrize("name", MPP)
@pytest.mark.parametrize("seed", range(4))
def test_detections_outside_a_tumour_slide_are_looked_up_as_the_programs_do(name, seed):
    """Negative coordinates up to a slide's length before it, and the px by which the mask exceeds
    the slide: tumour that reaches the far ends is hit from beyond."""
    rng = np.random.default_rng(seed)
    whole = box(0, 0, *SIZE)
    tumor = MultiPolygon([box(4200, 2500, *SIZE), box(100, 100, 900, 1000)]).intersection(whole)
    mask = level_5(tumor)
    ends = [32 * side for side in mask.shape[::-1]]
    points = rng.integers((-ends[0] + 20, -ends[1] + 20), (ends[0] - 17, ends[1] - 17), (60, 2))
    beyond = 5310 if name == "camelyon16-e1" else 5295  # E2 rounds to the px behind
    points = np.concatenate([points, [[-5, 300], [300, -31], [-40, -40], [beyond, 3000]]])
    found = [(float(rng.integers(1, 10) / 10), x, y) for x, y in points.tolist()]
    detections = [found, [(0.35, -(10**6), 10**6)]]  # anywhere beside a normal slide
    points, score = program(name, [mask, None], detections, 0.243)
    got = ours(name, [tumor, None], detections, 0.243)
    assert list(zip(got.false_positives.tolist(), got.sensitivity.tolist(), strict=True)) == points
    assert got.score == pytest.approx(score)


def official_of(rows: list[tuple]):
    truth = {
        "t": SlideTruth(size=SIZE, mpp=0.243, tumor=box(1600, 1600, 3200, 2400)),
        "n": SlideTruth(size=SIZE, mpp=0.243),
    }
    table = pd.DataFrame(
        [("t", 1800, 1700, 0.9), ("n", 5, 5, 0.3), ("t", 5, 5, 0.2), *rows],
        columns=["slide", "x", "y", "probability"],
    )
    return evaluate(table, truth, OFFICIAL).official.programs


@pytest.mark.parametrize("row", [("n", 10**6, 5, 0.95), ("t", -5, 300, 0.95), ("t", -999, 9, 0.95)])
def test_a_detection_outside_its_slide_is_a_false_positive_of_the_programs(row):
    e1, e2 = official_of([row]).values()
    # From 0.95 on there is half a false positive per slide, from 0.9 on the lesion too; at 0.5 E2
    # reads the former.
    assert e1.score.value == pytest.approx(5 / 6)
    assert e2.score.value == pytest.approx(4 / 6)


@pytest.mark.parametrize("row", [("t", 10**6, 5, 0.95), ("t", 5, -(10**6), 0.95)])
def test_a_detection_past_the_mask_of_a_tumour_slide_is_the_programs_error(row):
    for name, one in official_of([row]).items():
        assert one.score.value is None
        assert "1 detection outside t" in one.score.undefined
        assert name in one.score.undefined


def test_numpy_1_compares_in_float32_which_monai_under_numpy_2_does_not():
    """One slide, a hit and a false positive at 0.9: 0.79 by E1, 0 by MONAI under NumPy 2."""
    tumor, found = MultiPolygon([box(1600, 1600, 3200, 2400)]), [(0.9, 1800, 1700), (0.9, 5, 5)]
    got = ours("camelyon16-e1", [tumor], [found], 0.243)
    assert got.score == pytest.approx((0.25 + 0.5 + 4) / 6)


def test_where_a_masks_level_5_was_rounded_down_ours_takes_the_last_px():
    """A slide of 3210 px has 100.3 px at level 5; a mask made by halving has 100."""
    mask = np.zeros((50, 100), bool)
    mask[6:44, 60:] = True
    for name, lesions in lesions_of(mask, downsample=3210 / 100, size=(3210, 1600)).items():
        with pytest.raises(IndexError, match="100 is out of bounds"):
            program(name, [mask], [[(0.9, 3207, 800)]], 0.243)
        points = np.array([[3207.0, 800.0], [3207.0, 40.0], [3000.0, 800.0]])
        assert at(name, lesions, points) == [1, 0, 1]


def test_e1_takes_one_spacing_and_e2_the_slides_own():
    tumor = MultiPolygon([box(1600, 1600, 2100, 1900)])  # 250 µm long at 0.5 µm/px, 122 µm by E1
    lesions = lesions_of(tumor, mpp=0.5)
    assert lesions["camelyon16-e1"].measures.is_itc.tolist() == [True]
    assert lesions["camelyon16-e2"].measures.is_itc.tolist() == [False]


@pytest.mark.parametrize(("mpp", "e1", "e2"), [(0.243, 17, 17), (0.5, 17, 5), (0.05, 17, 435)])
def test_fault_47_an_empty_mask_has_the_programs_phantom_lesion_in_its_corner(mpp, e1, e2):
    """A speck that covers no centre of a level-5 px: the programs' own lines find isolated cells at
    (0, 0)."""
    speck = MultiPolygon([box(100, 100, 104, 104)])
    lesions = lesions_of(speck, mpp=mpp)
    for (name, found), area in zip(lesions.items(), (e1, e2), strict=True):
        px = MPP[name](mpp) * 32
        plain = ndimage.distance_transform_edt(~level_5(speck)) < 75 / (2 * px)
        assert np.array_equal(found.labels, measure.label(plain, connectivity=2)), name
        assert found.measures.is_itc.tolist() == [True]
        assert found.measures.area_um2 / px**2 == pytest.approx([area])


def test_fault_47_a_phantom_lesion_ignores_detections_in_the_corner_and_spares_e1_the_smallest_threshold():  # noqa: E501
    speck, lesion = (
        MultiPolygon([box(100, 100, 104, 104)]),
        MultiPolygon([box(1600, 1600, 3200, 2400)]),
    )
    detections = [[(0.9, 40, 40), (0.8, 5000, 40)], [(0.7, 2000, 2000)], []]
    tumors = [speck, lesion, None]
    for name in MPP:
        masks = [None if tumor is None else level_5(tumor) for tumor in tumors]
        points, score = program(name, masks, detections, 0.243)
        got = ours(name, tumors, detections, 0.243)
        assert (
            list(zip(got.false_positives.tolist(), got.sensitivity.tolist(), strict=True)) == points
        )
        assert got.score == pytest.approx(score)
        # 0.9 in the corner is neither hit nor miss, and the lesion at the smallest threshold is
        # kept.
        assert (got.false_positives[0], got.sensitivity[0]) == (pytest.approx(1 / 3), 1)


def test_pieces_outside_the_slide_are_told(tmp_path):
    outlines = [box(100, 100, 900, 700), box(9000, 100, 9900, 700)]
    path = tmp_path / "a.geojson"
    Annotation(outlines=tuple(Outline(name="", group="Tumor", polygon=p) for p in outlines)).save(
        path
    )
    slide = CohortSlide(id="s", path=tmp_path / "none.tif", annotation=path, label="tumor")
    truth = Truth.of_slide(slide, slide_size=SIZE, slide_mpp=0.5, settings=EvaluateSettings())
    assert len(truth.lesions.measures) == 1
    assert [(one.name, one.reason) for one in truth.excluded] == [
        ("Tumor 1", "lies outside the slide")
    ]


def test_a_sentence_says_how_a_score_differs():
    """One lesion that E1 takes for isolated cells."""
    outlines = (box(1600, 1600, 2100, 1900), box(3000, 400, 4500, 1400))
    truth = {
        "t": SlideTruth(size=SIZE, mpp=0.5, tumor=list(outlines)),
        "n": SlideTruth(size=SIZE, mpp=0.5),
    }
    rows = [("t", 1800, 1700, 0.9), ("n", 5, 5, 0.8), ("t", 5, 5, 0.4), ("n", 9, 9, 0.2)]
    table = pd.DataFrame(rows, columns=["slide", "x", "y", "probability"])
    report = evaluate(table, truth, OFFICIAL)
    assert report.froc.score.value == 0.5
    e1 = report.official.programs["camelyon16-e1"]
    assert (e1.countable_lesions, e1.itc, e1.score.value) == (1, 1, 0)
    assert e1.difference.startswith("-0.500 from ours: -0.500 by its lesions (1 countable, ours 2)")
    e2 = report.official.programs["camelyon16-e2"]
    assert e2.difference.startswith("+0.000 from ours")


@pytest.mark.parametrize(
    ("names", "official", "is_run"),
    [
        (("tumor_001", "Normal_023", "test_114"), None, True),
        (("tumor_001", "normal_023", "s1"), None, False),
        (("tumor_001", "normal_023"), False, False),
        (("s1", "s2"), True, True),
    ],
)
def test_the_programs_run_when_asked_for_or_where_the_slides_are_camelyon16s(
    names, official, is_run
):
    tumor = box(1600, 1600, 3200, 2400)
    truth = {name: SlideTruth(size=SIZE, mpp=0.243, tumor=tumor) for name in names}
    table = pd.DataFrame([(names[0], 1800, 1700, 0.9)], columns=["slide", "x", "y", "probability"])
    got = evaluate(table, truth, EvaluateSettings(split="", resamples=20, official=official))
    assert (got.official is None, got.metrics["official"] is None) == (not is_run, not is_run)
    names = set(got.tables["froc"]["definition"])
    assert names == {"gigaslide", *(PROGRAMS if is_run else ())}
    assert ("froc_camelyon16-e1_at_8" in set(got.tables["figures"]["figure"])) == is_run
