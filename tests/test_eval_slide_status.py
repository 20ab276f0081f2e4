"""Which slides an evaluation takes, and those it must leave out: each with its reason, and none
stops the others."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.eval import EvaluateSettings, SlideStatus, evaluate_cohort, slides_to_evaluate
from gigaslide.storage import ScoreError, SettingsError
from gigaslide.wsi import Annotation, CellStatus, Heatmap, Outline
from predictions import EVERY_CELL, HEIGHT, LESION, OFFICIAL, QUICK, WIDTH, Bench, Page
from shapely.geometry import box


def test_a_missing_prediction_is_counted_as_nothing_found_and_told(plain):
    plain.slide("lost", "tumor", tumor=(LESION,))
    got = plain.evaluate(OFFICIAL)
    lost = got.results[2]
    assert (lost.status, lost.score, got.exit_status) == (SlideStatus.NO_PREDICTION, None, 2)
    assert (got.figures.countable_lesions, got.figures.slides_without_prediction) == (2, 1)
    assert got.figures.froc["gigaslide"].curve.at_rates[-1] == 0.5
    assert "no predictions for lost" in got.official.programs["camelyon16-e2"].score.undefined
    assert "predict this slide and evaluate again" in Page(plain.html()).text
    assert plain.table("exclusions")["excluded_from"].str.startswith("all but FROC").sum() == 1
    plain.predict("lost", points=[(600, 200, 0.9)])
    assert plain.evaluate().figures.froc["gigaslide"].curve.at_rates[-1] == 1


def test_a_slide_neither_predicted_nor_to_be_opened_is_listed_and_stops_nothing(plain):
    plain.slide("lost", "tumor", tumor=(LESION,), scan=False)
    got = plain.evaluate()
    assert [j.slide.id for j in got.results if j.status == SlideStatus.NOT_EVALUABLE] == ["lost"]
    assert got.exit_status == 2
    assert got.figures.countable_lesions == 1
    assert "no prediction at lost/heatmap.zarr" in Page(plain.html()).text
    assert "and the slide cannot be opened: " in got.results[2].reason
    assert "slide-2.tif" in got.results[2].reason
    row = plain.table("slides").iloc[2]
    assert row["status"] == "not evaluable"
    assert np.isnan(row["score"])
    assert pd.isna(row["lesions"])


def broken_annotation(bench: Bench) -> None:
    bench.rows[0].annotation.write_text("{", encoding="utf-8")


def contradiction(bench: Bench) -> None:
    bench.rows[0] = bench.rows[0].__class__(**{**bench.rows[0].__dict__, "label": "normal"})


def annotation_without_tumour(bench: Bench) -> None:
    outline = Outline(name="0", group="Stroma", polygon=LESION)
    Annotation(outlines=(outline,)).save(bench.rows[0].annotation)


def other_slides_annotation(bench: Bench) -> None:
    outlines = [
        Outline(name="", group="Tumor", polygon=box(5000 + i, 100, 5900, 700)) for i in range(3)
    ]
    Annotation(outlines=tuple(outlines)).save(bench.rows[0].annotation)


def other_slides_heatmap(bench: Bench) -> None:
    bench.predict("t", slide="u")


def other_size(bench: Bench) -> None:
    bench.predict("t", slide_size=(HEIGHT, WIDTH))


def other_spacing(bench: Bench) -> None:
    bench.predict("t", slide_mpp=1.0)


def unfinished(bench: Bench) -> None:
    heatmap = Heatmap.load(bench.predictions / "t" / "heatmap.zarr")
    status, probability = heatmap.status.copy(), heatmap.probability.copy()
    status[0, 0], probability[0, 0] = CellStatus.NOT_YET, np.nan
    bench.predict("t", status=status, probability=probability)


def no_detections_file(bench: Bench) -> None:
    (bench.predictions / "t" / "detections.csv").unlink()


def nan_detection(bench: Bench) -> None:
    (bench.predictions / "t" / "detections.csv").write_text(
        "slide,x,y,probability\nt,1,2,nan\n", encoding="utf-8"
    )


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (broken_annotation, "annotation-0.geojson"),
        (contradiction, "label is normal"),
        (annotation_without_tumour, "label is tumor"),
        (
            other_slides_annotation,
            "3 outlines of tumour outside the slide of 900 × 700 px",
        ),
    ],
)
def test_a_slide_that_cannot_be_judged_is_left_out_with_its_reason(plain, harm, words):
    harm(plain)
    got = plain.evaluate()
    assert got.results[0].status == SlideStatus.FAILED
    assert words in got.results[0].reason
    assert words in Page(plain.html()).text
    assert (got.figures.tumor_slides, got.figures.normal_slides) == (0, 1)
    assert got.exit_status == 2


def test_tumour_outlined_where_no_cell_has_a_probability_is_told(plain, caplog):
    last = max(column for _, column in EVERY_CELL)
    plain.predict("t", background=[cell for cell in EVERY_CELL if cell[1] < last])
    got = plain.evaluate()
    told = [message for message in caplog.messages if "no outlined tumour on tissue" in message]
    assert [message.split(":")[0] for message in told] == ["t"]
    assert "no outlined tumour on tissue" in Page(plain.html()).text
    assert got.results[0].status == SlideStatus.EVALUATED


def nan_only(bench: Bench) -> None:
    bench.predict("t", failed=EVERY_CELL)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (other_slides_heatmap, "holds the prediction of u"),
        (nan_only, "no cell could be scored"),
        (other_size, "the heatmap is of a slide of (700, 900) px"),
        (other_spacing, "at 1 µm/px"),
        (unfinished, "not finished, 1 cell to go"),
        (no_detections_file, "detections.csv"),
        (nan_detection, "probability nan"),
    ],
)
def test_a_prediction_that_cannot_be_used_is_as_good_as_none(plain, harm, words):
    """Its lesions must not leave the FROC with it: deleting the heatmap would bring them back."""
    harm(plain)
    got = plain.evaluate()
    result = got.results[0]
    assert (result.status, result.score, result.patches) == (
        SlideStatus.NO_PREDICTION,
        None,
        None,
    )
    assert words in result.reason
    assert words in Page(plain.html()).text
    assert got.exit_status == 2
    assert (got.figures.countable_lesions, got.figures.slides_without_prediction) == (1, 1)
    shutil.rmtree(plain.predictions / "t")
    without = plain.evaluate().figures
    assert [one.value for one in got.figures.estimates.values()] == [
        one.value for one in without.estimates.values()
    ]


def test_a_group_with_a_meaning_of_its_own_is_tumour(plain):
    annotation_without_tumour(plain)
    got = plain.evaluate(QUICK.model_copy(update={"groups": {"Stroma": "tumor"}}))
    assert got.results[0].status == SlideStatus.EVALUATED
    assert got.figures.countable_lesions == 1


def test_a_fault_of_ours_costs_one_slide(plain, monkeypatch):
    def judge(slide, *_, **__):
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("gigaslide.eval.cohort_evaluation.score_slide", judge, raising=True)
    got = plain.evaluate()
    assert [j.reason for j in got.results] == ["ZeroDivisionError: oh"] * 2
    assert got.exit_status == 1
    assert "0 of 2 slides" in Page(plain.html()).text


def test_a_slide_that_cannot_be_opened_has_figures_but_no_picture(plain):
    before = plain.evaluate().figures
    plain.rows[0].path.unlink()
    got = plain.evaluate()
    assert "no such file" in got.pictures["t"]
    assert got.figures.patch_auc == before.patch_auc
    assert "no such file" in Page(plain.html()).text


def test_slides_without_label_are_left_out(plain):
    plain.slide("x", "")
    plain.predict("x")
    assert plain.evaluate().results[2].status == SlideStatus.NO_LABEL


def test_only_the_split_is_evaluated(plain):
    plain.rows[1] = CohortSlide(**{**plain.rows[1].__dict__, "split": "validation"})
    assert [j.slide.id for j in plain.evaluate().results] == ["t"]
    assert len(plain.evaluate(EvaluateSettings(split="", resamples=9)).results) == 2
    with pytest.raises(SettingsError, match="there are test, validation"):
        plain.evaluate(EvaluateSettings(split="train"))


def test_a_cohort_without_splits_is_evaluated_whole(plain):
    cohort = Cohort(slides=tuple(replace(row, split="") for row in plain.rows))
    assert [slide.id for slide in slides_to_evaluate(cohort, QUICK)] == ["t", "n"]
    assert slides_to_evaluate(Cohort(slides=(replace(plain.rows[0], split="train"),)), QUICK) == []


def test_heatmaps_of_slides_that_the_cohort_does_not_list_are_told_and_passed_over(plain, caplog):
    before = plain.evaluate().figures
    plain.predict("stranger", points=[(5, 5, 0.99)])
    got = plain.evaluate()
    assert got.figures.estimates == before.estimates
    assert plain.metrics()["unlisted_predictions"] == ["stranger"]
    assert "('stranger',)" in caplog.text


def test_heatmaps_of_two_models_are_told_and_not_all_good(plain):
    plain.predict("n", hot=[(9, 1)], points=[(96, 608, 0.95)], model_hash="other")
    got = plain.evaluate()
    assert got.metrics["models"] == ["abc", "other"]
    assert got.exit_status == 2
    assert "2 different models: abc, other" in Page(plain.html()).text


def test_no_predictions_at_all_is_an_error(plain, tmp_path):
    with pytest.raises(ScoreError, match="predict the slides first"):
        evaluate_cohort(
            Cohort(slides=tuple(plain.rows)), tmp_path / "none", tmp_path / "out", QUICK
        )
