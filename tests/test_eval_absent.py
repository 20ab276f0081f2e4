"""What is not there: slides without a prediction, patients with slides elsewhere. Figures by hand,
the careful way."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from gigaslide.cohort import CohortSlide
from gigaslide.eval import (
    DEFINITIONS,
    STAGES,
    EvaluateSettings,
    Judgement,
    JudgementStatus,
    SlideTruth,
    Verdicts,
    compare,
    evaluate,
    froc_curve,
)
from gigaslide.eval.scoring.exclusions import left_out_of
from gigaslide.eval.statistics.figures import figures_of
from gigaslide.eval.statistics.froc_bootstrap import resampled_sensitivity
from gigaslide.eval.statistics.resampled import official_gap
from gigaslide.eval.statistics.subgroups import subgroups_of
from predictions import IN_LESION, LESION, Bench, Page
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
    return evaluate(found, truth, QUICK)


def test_absent_slides_have_no_score_and_are_in_no_slide_figure(half):
    value = {name: one.value for name, one in half.figures.estimates.items()}
    # Tumour .5; normal .6 and .2. As zeros the three absent ones would make the AUC 4.5 of 8.
    assert value["slide_auc"] == 0.5
    assert value["slide_average_precision"] == 0.5
    assert value["slide_brier"] == pytest.approx((0.5**2 + 0.6**2 + 0.2**2) / 3)
    assert (value["slide_sensitivity"], value["slide_specificity"]) == (1, 0.5)
    figures = half.figures
    assert (figures.tumor_slides, figures.normal_slides, figures.absent_slides) == (1, 2, 3)
    assert figures.slide_calibration.count.sum() == 3
    assert figures.sizes.slides.sum() == 3
    assert figures.slide_roc.threshold[1:].tolist() == [0.6, 0.5, 0.2]


def test_absent_slides_lesions_are_missed_and_no_false_positive_is_divided_by_them(half):
    froc = half.figures.froc
    assert froc["gigaslide"].countable_lesions == 2
    assert froc["gigaslide"].slides == 3
    # Over three slides: .6 at 1/3, the hit of .5 with it, .3 at 2/3, .2 at 1. Over six, .6 would be
    # at 1/6.
    assert froc["gigaslide"].curve.at_rates == (0, 0.5, 0.5, 0.5, 0.5, 0.5)
    assert froc["gigaslide"].curve.false_positives.tolist() == pytest.approx(
        [1, 2 / 3, 1 / 3, 1 / 3, 0]
    )
    assert froc["liu2017"].curve.false_positives.tolist() == [1, 0.5, 0.5, 0]
    assert "over those instead of 3" in froc["liu2017"].difference
    point = half.operating_point(0.3)
    assert (point.slides, point.lesions, point.sensitivity) == (3, 2, 0.5)
    assert point.false_positives_per_slide == pytest.approx(2 / 3)
    assert (
        "no predictions for u, n2, n3, which is an error" in froc["camelyon16-e1"].score.undefined
    )


def test_absent_slides_are_listed_with_their_reason(half):
    rows = half.left_out()
    assert rows["slide"].tolist() == ["u", "n2", "n3"]
    assert set(rows["left_out_of"]) == {"all but FROC, where its lesions are missed"}
    assert (
        rows["reason"]
        .str.contains("absent: no prediction at .*.csv; add it, empty where nothing was found")
        .all()
    )


def test_absent_tumour_slides_tell_what_sensitivity_would_be_without_them(plain: Bench):
    plain.slide("u", "tumor", tumor=(LESION,))
    plain.evaluate()
    assert plain.metrics()["figures"]["slide_sensitivity"]["value"] == 1
    text = Page(plain.html()).text
    assert "3 of 3 slides are in the figures, 1 of them without a prediction" in text
    assert (
        "were the tumour slide among them called normal, slide sensitivity would be 0.500" in text
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
    assert got.froc.slides == 3
    assert len(got.left_out()) == 0


def repeated(verdicts: Verdicts, times: np.ndarray) -> Verdicts:
    """Drawn slides end to end, one after another."""
    best, itc, lesion_slide, false, false_slide = [], [], [], [], []
    kept = np.repeat(np.arange(len(times)), times)
    for new, old in enumerate(kept.tolist()):
        for index in np.flatnonzero(verdicts.lesion_slide == old).tolist():
            best.append(verdicts.best[index])
            itc.append(verdicts.is_itc[index])
            lesion_slide.append(new)
        for index in np.flatnonzero(verdicts.false_positive_slide == old).tolist():
            false.append(verdicts.false_positive[index])
            false_slide.append(new)
    return Verdicts(
        is_normal=verdicts.is_normal[kept],
        is_absent=verdicts.is_absent[kept],
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
    verdicts = Verdicts(
        is_normal=np.arange(7) >= 3,
        is_absent=is_absent,
        best=best,
        is_itc=np.zeros(5, bool),
        lesion_slide=np.array([0, 0, 1, 1, 2]),
        false_positive=np.round(rng.uniform(size=20), 1),
        false_positive_slide=rng.choice(there, 20),
    )
    weights = rng.integers(0, 3, (12, 7))
    got = resampled_sensitivity(verdicts, DEFINITIONS[name], weights, rates=np.array(RATES))
    for row, times in zip(got, weights, strict=True):
        twin = froc_curve(repeated(verdicts, times), DEFINITIONS[name], rates=RATES)
        assert row.tolist() == pytest.approx(list(twin.at_rates) or [np.nan] * 6, nan_ok=True)


def one(
    name: str, true: str, predicted: str, *, patient: str = "", scanner: str = "A", **changes
) -> Judgement:
    slide = CohortSlide(
        id=name,
        path=None,
        label="normal" if true == "negative" else "tumor",
        patient=patient,
        further=(("stage", true), ("scanner", scanner)),
    )
    fields = {
        "status": JudgementStatus.EVALUATED,
        "score": 0.5,
        "predicted_class": predicted,
        **changes,
    }
    return Judgement(slide=slide, **fields)


LACKING = {
    JudgementStatus.FAILED: {"score": None},
    JudgementStatus.MISSING: {"score": None},
    JudgementStatus.ABSENT: {"score": None},
}


@pytest.mark.parametrize("status", LACKING)
def test_a_patient_with_a_slide_that_has_no_class_is_left_out_and_listed(status):
    """The macrometastasis is on the slide that cannot be judged: pN0 would be the stage of the
    rest."""
    judgements = [
        one("a", "macro", "", patient="p", status=status, reason="torn", score=None),
        one("b", "negative", "negative", patient="p"),
        one("c", "micro", "micro", patient="q"),
        one("d", "negative", "itc", patient="r"),
    ]
    got = figures_of(judgements, QUICK)
    assert (got.stages.patient, got.stages.left_out) == (("q", "r"), 1)
    assert [STAGES[i] for i in got.stages.true] == ["pN1mi", "pN0"]
    twin = cohen_kappa_score([2, 0], [2, 1], labels=range(5), weights="quadratic")
    assert got.estimates["stage_kappa"].value == pytest.approx(twin)
    rows = [row for row in left_out_of(judgements) if row.what == "patient"]
    assert [(row.slide, row.name, row.left_out_of) for row in rows] == [("a", "p", "pN stages")]
    assert rows[0].reason == f"a: {status}: torn"
    assert got.sizes.classes.sum() == 3


def test_a_patient_with_slides_in_two_subgroups_has_a_stage_in_neither():
    judgements = [
        one("a", "macro", "macro", patient="p", scanner="A"),
        one("b", "negative", "micro", patient="p", scanner="B"),
        one("c", "micro", "negative", patient="q", scanner="A"),
        one("d", "macro", "macro", patient="s", scanner="A"),
        one("e", "negative", "macro", patient="r", scanner="B"),
    ]
    settings = QUICK.model_copy(update={"subgroups": ("scanner",)})
    first, second = (group.estimates["stage_kappa"] for group in subgroups_of(judgements, settings))
    assert first.value == pytest.approx(
        cohen_kappa_score([2, 3], [0, 3], labels=range(5), weights="quadratic")
    )
    assert second.value == pytest.approx(
        cohen_kappa_score([0], [3], labels=range(5), weights="quadratic")
    )


def test_a_comparison_leaves_out_what_one_model_lacks_of_a_patient():
    good = [
        one("a", "macro", "macro", patient="p"),
        one("b", "negative", "negative", patient="p"),
        one("c", "micro", "micro", patient="q"),
        one("d", "negative", "negative", patient="r"),
    ]
    bad = [
        replace(
            good[0], status=JudgementStatus.FAILED, reason="torn", score=None, predicted_class=""
        ),
        good[1],
        replace(good[2], predicted_class="negative"),
        replace(good[3], predicted_class="itc"),
    ]
    got = compare(good, bad, QUICK, names=("good", "bad"))
    kappa = got.differences["stage_kappa"]
    twin = cohen_kappa_score([2, 0], [0, 1], labels=range(5), weights="quadratic")
    assert (kappa.first.value, kappa.second.value) == (1, pytest.approx(twin))
    assert [(row.slide, row.what, row.name, row.reason) for row in got.left_out] == [
        ("a", "slide", "", "bad: failed: torn"),
        ("a", "patient", "p", "bad: a: failed: torn"),
    ]


def test_a_slide_absent_in_one_model_is_out_of_the_slide_figures_of_both():
    scores = {
        "a": ("micro", 0.9, 0.2),
        "b": ("macro", 0.4, 0.8),
        "c": ("negative", 0.5, 0.6),
        "d": ("negative", 0.1, 0.3),
    }
    good, bad = (
        [one(name, row[0], "", score=row[i]) for name, row in scores.items()] for i in (1, 2)
    )
    bad[3] = replace(bad[3], status=JudgementStatus.ABSENT, reason="lost", score=None)
    got = compare(good, bad, QUICK, names=("good", "bad")).differences["slide_auc"]
    assert (got.first.value, got.second.value) == (0.5, 0.5)  # over a, b and c; .75 with d
    assert got.difference.value == 0


@pytest.mark.parametrize(
    "status", [JudgementStatus.ABSENT, JudgementStatus.MISSING, JudgementStatus.FAILED]
)
def test_what_the_official_programs_leave_out_anyway_voids_no_score_of_theirs(status):
    in_part = CohortSlide(id="test_114", path=None, label="tumor", exhaustive=False)
    outlined = replace(in_part, id="test_001", exhaustive=True, annotation="a.xml")
    assert official_gap([Judgement(slide=in_part, status=status)]) == ""
    assert official_gap([Judgement(slide=replace(outlined, annotation=None), status=status)]) == ""
    assert "test_001" in official_gap([Judgement(slide=outlined, status=status)])


def test_the_official_scores_stand_where_only_a_slide_outlined_in_part_lacks_its_prediction(
    plain: Bench,
):
    plain.slide("test_114", "tumor", tumor=(LESION,), exhaustive=False)
    got = plain.evaluate()
    assert got.judgements[2].status == JudgementStatus.ABSENT
    before = replace(got, judgements=got.judgements[:2])
    assert got.figures.froc["camelyon16-e2"].score.value is not None
    assert (
        got.figures.froc["camelyon16-e2"].score.value
        == figures_of(before.judgements, QUICK).froc["camelyon16-e2"].score.value
    )


def test_a_threshold_is_reached_alike_by_a_cell_a_slide_and_a_detection(bench: Bench):
    """0.7 as float32 is a little less than 0.7 as float64."""
    probability = np.full((11, 15), 0.1, np.float32)
    for cell in IN_LESION:
        probability[cell] = 0.7
    bench.slide("t", "tumor", tumor=(LESION,))
    bench.predict("t", probability=probability, points=[(600, 200, float(np.float32(0.7)))])
    bench.slide("n", "normal")
    bench.predict("n", cold=[(0, 0)])
    got = bench.evaluate(EvaluateSettings(resamples=0, slide_threshold=0.7, picture_px=100))
    value = {name: one.value for name, one in got.figures.estimates.items()}
    assert (value["slide_sensitivity"], value["patch_sensitivity"]) == (1, 1)
    assert (got.operating_point.sensitivity, got.judgements[0].predicted_class) == (1, "micro")
    assert got.figures.sizes.lesions["micro"] == (1, 1, 1)
    assert bench.table("slides")["called_tumor"].tolist() == [True, False]


def test_all_predictions_unusable_is_nothing_done(plain: Bench):
    for name in "tn":
        (plain.predictions / name / "detections.csv").unlink()
    got = plain.evaluate()
    assert [j.status for j in got.judgements] == [JudgementStatus.ABSENT] * 2
    assert (got.exit_status, got.figures.froc["gigaslide"].score.undefined) == (1, "no predictions")
    assert pd.isna(plain.table("slides")["score"]).all()
