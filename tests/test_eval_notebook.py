"""The front door for notebooks: which slides it takes, and truth that cannot be right."""

import numpy as np
import pandas as pd
import pytest
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.eval import DetectionFiles, EvaluateSettings, SlideStatus, SlideTruth, evaluate
from gigaslide.storage import AnnotationError, SettingsError
from gigaslide.wsi import Detections
from predictions import LESION, Bench
from shapely.geometry import box

COLUMNS = ["slide", "x", "y", "probability"]
HERE = EvaluateSettings(resamples=20, split="")
SIZE = {"size": (4000, 3000), "mpp": 0.5}
TRUTH = {"t": SlideTruth(tumor=box(500, 400, 1500, 900), **SIZE), "n": SlideTruth(**SIZE)}
TABLE = pd.DataFrame([("t", 1000, 600, 0.9), ("n", 10, 20, 0.6)], columns=COLUMNS)


@pytest.fixture
def split_cohort(bench: Bench) -> Cohort:
    """Two of three slides are of the test split, of two scanners."""
    bench.slide("t", "tumor", tumor=(LESION,), further=(("scanner", "A"),))
    bench.slide("n", "normal", further=(("scanner", "B"),))
    bench.slide("far", "normal", further=(("scanner", "A"),))
    bench.rows[2] = CohortSlide(**{**bench.rows[2].__dict__, "split": "train"})
    return Cohort(slides=tuple(bench.rows))


def test_only_the_split_that_is_asked_for_is_evaluated(split_cohort):
    table = pd.DataFrame(
        [("t", 600.0, 200.0, 0.5), ("far", 5.0, 5.0, 0.9), ("n", 5.0, 5.0, 0.2)], columns=COLUMNS
    )
    got = evaluate(table, split_cohort, EvaluateSettings(resamples=0))
    assert [j.slide.id for j in got.results] == ["t", "n"]
    assert (got.auc.value, evaluate(table, split_cohort, HERE).auc.value) == (1, 0.5)
    assert len(evaluate(table, split_cohort).results) == 3
    with pytest.raises(
        SettingsError, match="no slide of the cohort has split 'validation'; there are test, train"
    ):
        evaluate(table, split_cohort, EvaluateSettings(split="validation"))


def test_subgroups_of_a_cohort_and_of_truth_by_hand(split_cohort):
    table = pd.DataFrame(
        [("t", 600.0, 200.0, 0.5), ("far", 5.0, 5.0, 0.9), ("n", 5.0, 5.0, 0.2)], columns=COLUMNS
    )
    asked = HERE.model_copy(update={"subgroups": ("scanner",)})
    got = evaluate(table, split_cohort, asked)
    assert [(g.value, g.slides, g.estimates["slide_auc"].value) for g in got.subgroups] == [
        ("A", 2, 0),
        ("B", 1, None),
    ]
    assert got.metrics["subgroups"][0]["figures"]["slide_auc"]["value"] == 0
    by_hand = {
        name: SlideTruth(columns={"scanner": "AB"[name == "n"]}, **SIZE)
        for name in ("t", "n", "far")
    }
    rows = evaluate(table, by_hand, asked).tables["subgroups"]
    assert rows.drop_duplicates("value")[["value", "slides"]].to_numpy().tolist() == [
        ["A", 2],
        ["B", 1],
    ]
    for truth in (split_cohort, by_hand):
        with pytest.raises(
            SettingsError, match="no column centre; there are label, patient, split, scanner"
        ):
            evaluate(table, truth, HERE.model_copy(update={"subgroups": ("centre",)}))


def test_names_of_one_slide_in_several_forms_are_one_slide():
    rows = [("t", 1000, 600, 0.3), ("n", 10, 20, 0.6), ("T.tif", 30, 40, 0.9), ("t", 50, 60, 0.2)]
    got = evaluate(pd.DataFrame(rows, columns=COLUMNS), TRUTH, HERE)
    assert got.tables["detections"][COLUMNS].to_numpy().tolist() == [
        ["t", 1000, 600, 0.3],
        ["t", 30, 40, 0.9],
        ["t", 50, 60, 0.2],
        ["n", 10, 20, 0.6],
    ]
    assert got.auc.value == 1
    columns = {
        name: np.array([row[i] for row in rows], float) for i, name in enumerate(COLUMNS[1:], 1)
    }
    found = DetectionFiles.of_table(
        Detections(slide=np.array([r[0] for r in rows], object), **columns), ["t", "n"]
    )
    assert {name: one.line.tolist() for name, one in found.by_slide.items()} == {
        "t": [1, 3, 4],
        "n": [2],
    }


def mask_of(px: int, *, value: int = 255) -> np.ndarray:
    """The lesion of `TRUTH` in a mask of that many level-0 px a px."""
    mask = np.zeros((-(-3000 // px), -(-4000 // px)), np.uint8)
    mask[400 // px : 900 // px, 500 // px : 1500 // px] = value
    return mask


def with_mask(mask: np.ndarray):
    settings = HERE.model_copy(update={"official": True})
    return evaluate(TABLE, {**TRUTH, "t": SlideTruth(tumor=mask, **SIZE)}, settings)


@pytest.mark.parametrize(
    ("px", "is_level_5"), [(8, False), (29, False), (31, True), (32, True), (33, True), (64, False)]
)
def test_only_a_mask_of_about_level_5_speaks_to_the_official_programs(px, is_level_5):
    got = with_mask(mask_of(px))
    assert got.froc.score.value is not None
    for program in got.official.programs.values():
        assert (program.score.value is not None) == is_level_5
        assert is_level_5 or "no level-5 mask of t" in program.score.undefined
    excluded = got.tables["exclusions"]
    assert len(excluded) == (not is_level_5)
    if not is_level_5:
        assert excluded[["slide", "excluded_from"]].to_numpy().tolist() == [["t", "official FROC"]]
        assert f"px of {4000 / mask_of(px).shape[1]:g} level-0 px" in excluded["reason"][0]
    outlined = evaluate(TABLE, TRUTH, HERE).figures
    assert got.figures.countable_lesions == outlined.countable_lesions == 1


def test_a_mask_turned_over_or_cut_is_refused():
    mask = mask_of(8)
    assert mask.shape == (375, 500)
    with pytest.raises(
        AnnotationError,
        match=r"t: a mask .* about \(281, 375\), but has \(500, 375\)",
    ):
        with_mask(mask.T)
    with pytest.raises(AnnotationError, match=r"about \(375, 500\), but has \(340, 500\)"):
        with_mask(mask[:340])
    for rows in (mask[:374], np.pad(mask, ((0, 3), (0, 0)))):
        assert with_mask(rows).froc.score.value is not None


def test_outlines_outside_the_slide_are_told_and_refused_where_all_are():
    far = box(9000, 9000, 9900, 9900)
    part = evaluate(TABLE, {**TRUTH, "t": SlideTruth(tumor=[TRUTH["t"].tumor, far], **SIZE)}, HERE)
    rows = part.tables["exclusions"][["slide", "kind", "name", "reason"]].to_numpy().tolist()
    assert rows == [["t", "outline", "outline 2", "lies outside the slide"]]
    assert part.figures.countable_lesions == 1
    both = [far, box(-900, 5, -5, 900)]
    for tumor, count in ((far, 1), (both, 2)):
        with pytest.raises(AnnotationError, match=rf"t: {count} outlines? .* 4000 × 3000 px"):
            evaluate(TABLE, {**TRUTH, "t": SlideTruth(tumor=tumor, **SIZE)}, HERE)


def test_outlines_too_detailed_are_noted_here_too(monkeypatch):
    monkeypatch.setattr("gigaslide.eval.truth.lesions.MOST_VERTICES", 3)
    got = evaluate(TABLE, TRUTH, HERE)
    assert got.results[0].status == SlideStatus.EVALUATED
    assert got.results[0].notes == (
        "outlines too detailed: lesions measured on a raster of 7.776 µm/px",
    )
