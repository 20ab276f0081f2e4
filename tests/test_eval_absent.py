"""Slides without a prediction, and patients with slides that have no class: figures by hand."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from gigaslide.cohort import CohortSlide
from gigaslide.eval import (
    DEFINITIONS,
    STAGES,
    EvaluateSettings,
    PooledMatches,
    SlideResult,
    SlideStatus,
    SlideTruth,
    compare,
    evaluate,
    froc_curve,
)
from gigaslide.eval.camelyon16 import evaluate_official
from gigaslide.eval.pn_stage import PatientStages
from gigaslide.eval.statistics.froc import resample_sensitivity
from predictions import IN_LESION, LESION, OFFICIAL, Bench, Page
from shapely.geometry import box
from sklearn.metrics import cohen_kappa_score

QUICK = EvaluateSettings(resamples=40, split="")
RATES = QUICK.false_positives_per_slide
SIZE = {"size": (4000, 3000), "mpp": 0.5}
LESIONS = {"t": box(500, 400, 1500, 900), "u": box(2000, 400, 2800, 1500)}


def given(folder, **files: str):
    folder.mkdir()
    for name, text in files.items():
        (folder / f"{name}.csv").write_text(text)
    return folder


@pytest.fixture
def half(tmp_path):
    """Predictions for three of six slides: one tumour slide and two normal ones of two and four."""
    truth = {
        **{name: SlideTruth(tumor=lesion, **SIZE) for name, lesion in LESIONS.items()},
        **{f"n{i}": SlideTruth(**SIZE) for i in range(4)},
    }
    found = given(
        tmp_path / "given", t="0.5,1000,600\n0.3,3000,2500\n", n0="0.6,10,20\n", n1="0.2,30,2900\n"
    )
    return evaluate(found, truth, QUICK.model_copy(update={"official": True}))


def test_absent_slides_have_no_score_and_are_in_no_slide_figure(half):
    value = {name: one.value for name, one in half.figures.estimates.items()}
    # Tumour .5; normal .6 and .2. As zeros the three absent ones would make the AUC 4.5 of 8.
    assert value["slide_auc"] == 0.5
    assert value["slide_average_precision"] == 0.5
    assert value["slide_brier"] == pytest.approx((0.5**2 + 0.6**2 + 0.2**2) / 3)
    assert (value["slide_sensitivity"], value["slide_specificity"]) == (1, 0.5)
    figures = half.figures
    assert (figures.tumor_slides, figures.normal_slides, figures.slides_without_prediction) == (
        1,
        2,
        3,
    )
    assert figures.slide_calibration.count.sum() == 3
    assert figures.sizes.slides.sum() == 3
    assert figures.slide_roc.threshold[1:].tolist() == [0.6, 0.5, 0.2]


def test_absent_slides_lesions_are_missed_and_no_false_positive_is_divided_by_them(half):
    froc = half.figures.froc
    assert (half.figures.countable_lesions, half.figures.lesion_slides_predicted) == (2, 3)
    # Over three slides: .6 at 1/3, the hit of .5 with it, .3 at 2/3, .2 at 1. Over six, .6 would be
    # at 1/6.
    assert froc["gigaslide"].curve.at_rates == (0, 0.5, 0.5, 0.5, 0.5, 0.5)
    assert froc["gigaslide"].curve.false_positives.tolist() == pytest.approx(
        [1, 2 / 3, 1 / 3, 1 / 3, 0]
    )
    assert froc["liu2017"].curve.false_positives.tolist() == [1, 0.5, 0.5, 0]
    point = half.operating_point(0.3)
    assert (point.slides, point.lesions, point.sensitivity) == (3, 2, 0.5)
    assert point.false_positives_per_slide == pytest.approx(2 / 3)
    e1, e2 = half.official.programs.values()
    # E1 reads the files there are, and never hears of the lesion of u; E2 wants one a slide.
    assert (e1.slides, e1.countable_lesions) == (3, 1)
    assert e1.score.value == pytest.approx((0 + 5) / 6)
    assert "no predictions for u, n2, n3, an error in camelyon16-e2" in e2.score.undefined


def test_absent_slides_are_listed_with_their_reason(half):
    rows = half.tables["exclusions"]
    assert rows["slide"].tolist() == ["u", "n2", "n3"] * 2
    assert rows["excluded_from"].tolist() == [
        *["all but FROC, where its lesions are missed"] * 3,
        *["official FROC by camelyon16-e1"] * 3,
    ]
    assert rows["reason"].str.contains("no prediction at .*.csv").all()


def test_absent_tumour_slides_tell_what_sensitivity_would_be_without_them(plain: Bench):
    plain.slide("u", "tumor", tumor=(LESION,))
    plain.evaluate()
    assert plain.metrics()["figures"]["slide_sensitivity"]["value"] == 1
    text = Page(plain.html()).text
    assert "3 of 3 slides are in the figures, 1 of them without a prediction" in text
    assert (
        "If the tumour slide among them was called normal, slide sensitivity would be 0.500" in text
    )


def test_a_prediction_without_detections_counts_in_full(tmp_path):
    truth = {
        "t": SlideTruth(tumor=LESIONS["t"], **SIZE),
        "n": SlideTruth(**SIZE),
        "m": SlideTruth(**SIZE),
    }
    got = evaluate(
        given(tmp_path / "given", t="0.5,1000,600\n", n="0.6,10,20\n", m=""), truth, QUICK
    )
    assert got.figures.slide_auc.value == 0.5
    assert got.figures.estimates["slide_specificity"].value == 0.5
    assert got.figures.lesion_slides_predicted == 3
    assert len(got.tables["exclusions"]) == 0


def repeated(matches: PooledMatches, times: np.ndarray) -> PooledMatches:
    """Drawn slides end to end, one after another."""
    best, itc, lesion_slide, false, false_slide = [], [], [], [], []
    kept = np.repeat(np.arange(len(times)), times)
    for new, old in enumerate(kept.tolist()):
        for index in np.flatnonzero(matches.lesion_slide == old).tolist():
            best.append(matches.best[index])
            itc.append(matches.is_itc[index])
            lesion_slide.append(new)
        for index in np.flatnonzero(matches.false_positive_slide == old).tolist():
            false.append(matches.false_positive[index])
            false_slide.append(new)
    return PooledMatches(
        is_normal=matches.is_normal[kept],
        is_predicted=matches.is_predicted[kept],
        best=np.array(best, float),
        is_itc=np.array(itc, bool),
        lesion_slide=np.array(lesion_slide, np.int64),
        false_positive=np.array(false, float),
        false_positive_slide=np.array(false_slide, np.int64),
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", ["gigaslide", "liu2017"])
def test_every_draw_with_absent_slides_is_the_curve_of_its_slides(name, seed):
    rng = np.random.default_rng(seed)
    is_absent = np.array([False, True, False, False, True, False, False])
    there = np.flatnonzero(~is_absent)
    best = np.round(rng.uniform(size=5), 1)
    best[2:4] = np.nan  # the absent slide's
    matches = PooledMatches(
        is_normal=np.arange(7) >= 3,
        is_predicted=~is_absent,
        best=best,
        is_itc=np.zeros(5, bool),
        lesion_slide=np.array([0, 0, 1, 1, 2]),
        false_positive=np.round(rng.uniform(size=20), 1),
        false_positive_slide=rng.choice(there, 20),
    )
    weights = rng.integers(0, 3, (12, 7))
    got = resample_sensitivity(matches, DEFINITIONS[name], weights, rates=np.array(RATES))
    for row, times in zip(got, weights, strict=True):
        twin = froc_curve(repeated(matches, times), DEFINITIONS[name], rates=RATES)
        assert row.tolist() == pytest.approx(list(twin.at_rates) or [np.nan] * 6, nan_ok=True)


def one(name: str, true: str, *, patient: str = "", **changes) -> SlideResult:
    slide = CohortSlide(
        id=name,
        path=None,
        label="normal" if true == "negative" else "tumor",
        patient=patient,
        further=(("stage", true),),
    )
    return SlideResult(slide=slide, **{"status": SlideStatus.EVALUATED, "score": 0.5, **changes})


@pytest.mark.parametrize(
    "status", [SlideStatus.FAILED, SlideStatus.NOT_EVALUABLE, SlideStatus.NO_PREDICTION]
)
def test_a_patient_with_a_slide_that_has_no_class_is_left_out_and_listed(status):
    """The macrometastasis is on the slide that cannot be judged: pN0 would be the stage of the
    rest."""
    results = [
        one("a", "macro", patient="p", status=status, reason="torn", score=None),
        one("b", "negative", patient="p"),
        one("c", "micro", patient="q"),
        one("d", "negative", patient="r"),
    ]
    got = PatientStages.evaluate(results, {"b": "negative", "c": "micro", "d": "itc"}, QUICK)
    assert (got.patient, got.metrics["patients_excluded"]) == (("q", "r"), 1)
    assert [STAGES[i] for i in got.true] == ["pN1mi", "pN0"]
    twin = cohen_kappa_score([2, 0], [2, 1], labels=range(5), weights="quadratic")
    assert got.kappa.value == pytest.approx(twin)
    (row,) = got.exclusions
    assert (row.slide, row.kind, row.name, row.excluded_from) == ("a", "patient", "p", "pN stages")
    assert row.reason == f"a: {status}: torn"
    assert got.classes.sum() == 3


def test_a_slide_absent_in_one_model_is_out_of_the_slide_figures_of_both():
    scores = {
        "a": ("micro", 0.9, 0.2),
        "b": ("macro", 0.4, 0.8),
        "c": ("negative", 0.5, 0.6),
        "d": ("negative", 0.1, 0.3),
    }
    good, bad = ([one(name, row[0], score=row[i]) for name, row in scores.items()] for i in (1, 2))
    bad[3] = replace(bad[3], status=SlideStatus.NO_PREDICTION, reason="lost", score=None)
    got = compare(good, bad, QUICK, names=("good", "bad")).differences["slide_auc"]
    assert (got.first.value, got.second.value) == (0.5, 0.5)  # over a, b and c; .75 with d
    assert got.difference.value == 0


@pytest.mark.parametrize(
    "status", [SlideStatus.NO_PREDICTION, SlideStatus.NOT_EVALUABLE, SlideStatus.FAILED]
)
def test_what_the_official_programs_leave_out_anyway_voids_no_score_of_theirs(status):
    def undefined(slide: CohortSlide) -> str:
        settings = QUICK.model_copy(update={"official": True})
        got = evaluate_official([SlideResult(slide=slide, status=status)], settings)
        return got.programs["camelyon16-e2"].score.undefined

    in_part = CohortSlide(id="test_114", path=None, label="tumor", exhaustive=False)
    outlined = replace(in_part, id="test_001", exhaustive=True, annotation="a.xml")
    assert "test_114" not in undefined(in_part)
    assert "test_001" not in undefined(replace(outlined, annotation=None))
    assert "test_001" in undefined(outlined)


def test_the_official_scores_stand_where_only_a_slide_outlined_in_part_lacks_its_prediction(
    plain: Bench,
):
    plain.slide("test_114", "tumor", tumor=(LESION,), exhaustive=False)
    got = plain.evaluate(OFFICIAL)
    assert got.results[2].status == SlideStatus.NO_PREDICTION
    score = got.official.programs["camelyon16-e2"].score
    before = evaluate_official(got.results[:2], OFFICIAL).programs["camelyon16-e2"].score
    assert score.value is not None
    assert score.value == before.value


def test_a_threshold_is_reached_alike_by_a_cell_a_slide_and_a_detection(bench: Bench):
    """0.7 as float32 is a little less than 0.7 as float64."""
    probability = np.full((11, 15), 0.1, np.float32)
    for cell in IN_LESION:
        probability[cell] = 0.7
    bench.slide("t", "tumor", tumor=(LESION,))
    bench.predict("t", probability=probability, points=[(600, 200, float(np.float32(0.7)))])
    bench.slide("n", "normal")
    bench.predict("n", cold=[(0, 0)])
    settings = EvaluateSettings(resamples=0, slide_threshold=0.7, picture_px=100, pn_stages=True)
    got = bench.evaluate(settings)
    value = {name: one.value for name, one in got.figures.estimates.items()}
    assert (value["slide_sensitivity"], value["patch_sensitivity"]) == (1, 1)
    assert (got.point.sensitivity, got.stages.predicted_class["t"]) == (1, "micro")
    assert got.figures.sizes.lesions["micro"] == (1, 1, 1)
    assert bench.table("slides")["called_tumor"].tolist() == [True, False]


def test_all_predictions_unusable_is_nothing_done(plain: Bench):
    for name in "tn":
        (plain.predictions / name / "detections.csv").unlink()
    got = plain.evaluate()
    assert [j.status for j in got.results] == [SlideStatus.NO_PREDICTION] * 2
    assert (got.exit_status, got.figures.froc["gigaslide"].score.undefined) == (1, "no predictions")
    assert pd.isna(plain.table("slides")["score"]).all()
