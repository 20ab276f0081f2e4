"""evaluate() from files to figures: by hand, of odd cells, and of cohorts of one class."""

import cv2
import numpy as np
import pytest
from gigaslide.eval import EvaluateSettings, SlideStatus
from gigaslide.storage import Recipe
from predictions import COLUMNS, EVERY_CELL, IN_LESION, ITC, LESION, QUICK, ROWS, Page


def test_figures_by_hand(plain):
    done = []
    got = plain.evaluate(on_slide=done.append)
    figures = got.figures
    assert done == ["t", "n"]
    assert got.exit_status == 0
    # The centre squares (32 px in the middle of cells) of 12 cells lie in the lesion, that of (8,
    # 1) touches the ITC.
    assert (figures.tumor_patches, figures.normal_patches) == (13, 2 * ROWS * COLUMNS - 13)
    tumor = [0.9] * 6 + [0.1] * 7
    normal = [0.9] + [0.1] * (figures.normal_patches - 1)
    wins = sum(1.0 if p > n else 0.5 if p == n else 0 for p in tumor for n in normal)
    assert figures.patch_auc.value == pytest.approx(wins / len(tumor) / len(normal))
    assert figures.slide_auc.value == 0.5  # a tie
    assert (figures.countable_lesions, figures.itc) == (1, 1)
    froc = figures.froc["gigaslide"]
    # .95 false (0.5 a slide), then .9 hits.
    assert froc.curve.at_rates == (0, 1, 1, 1, 1, 1)
    assert froc.score.value == pytest.approx(5 / 6)
    assert figures.froc["liu2017"].curve.at_rates == (
        0,
        0,
        1,
        1,
        1,
        1,
    )  # one false positive on one normal slide
    for value in (figures.patch_auc, figures.slide_auc, froc.score):
        assert value.low is None
        assert "too few patients" in value.note


def test_tables_hold_every_lesion_and_detection(plain):
    plain.evaluate(QUICK.model_copy(update={"official": True}))
    lesions = plain.table("lesions").sort_values("area_mm2")
    assert lesions["kind"].tolist() == ["itc", "countable"]
    assert lesions["best_probability"].tolist() == [0.8, 0.9]
    assert lesions["area_mm2"].tolist() == pytest.approx(
        [30 * 30 * 4e-6, 256 * 192 * 4e-6], rel=0.25
    )
    assert lesions[["x", "y"]].to_numpy() == pytest.approx(
        np.array([[115, 535], [640, 224]]), abs=3
    )
    detections = plain.table("detections")
    assert detections["match"].tolist() == [
        "hit",
        "hit",
        "ignored",
        "false positive",
        "false positive",
    ]
    slides = plain.table("slides")
    assert slides["lesions_found"].tolist() == [1, 0]
    assert slides["false_positives"].tolist() == [1, 1]
    metrics = plain.metrics()
    assert metrics["froc"]["gigaslide"]["score"]["value"] == pytest.approx(5 / 6)
    assert [s["slide"] for s in metrics["slides"]] == ["t", "n"]
    recipe = Recipe.load(plain.folder / "out" / "recipe.json")
    assert recipe.stage == "evaluate"
    assert recipe.inputs["t"]["annotation"]["name"] == "annotation-0.geojson"
    froc = plain.table("froc")
    # At 2 µm/px E1, which takes 0.243 for it, finds isolated cells only: no curve, and the reason.
    assert set(froc["definition"]) == {"gigaslide", "liu2017", "camelyon16-e2"}
    e1 = metrics["official"]["programs"]["camelyon16-e1"]
    assert (e1["score"]["value"], e1["countable_lesions"], e1["itc"]) == (None, 0, 2)
    assert "only isolated tumour cells" in e1["difference"]
    assert set(plain.table("roc")["of"]) == {"slide", "patch"}


def test_a_turned_detection_is_no_hit(bench):
    bench.slide("t", "tumor", tumor=(LESION,))
    bench.predict("t", points=[(200, 600, 0.9)])  # (600, 200) hits
    assert bench.evaluate().figures.froc["gigaslide"].score.value == 0


def test_pictures_show_truth_and_heatmap_where_they_are(plain):
    pictures = plain.evaluate(EvaluateSettings(resamples=0, picture_px=450)).pictures["t"]
    truth, heatmap = (
        cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1].astype(int)
        for data in (pictures.truth, pictures.heatmap)
    )
    assert truth.shape == heatmap.shape == (350, 450, 3)
    # 2 level-0 px a picture px: the lesion's left border runs at x = 256, y = 64..160.
    on_line, inside = truth[100, 255:258].min(axis=0), truth[100, 300]
    assert on_line[0] < 100 < on_line[2]  # blue
    assert inside[0] > 180
    # Cell (2, 8) is hot (yellow), cell (4, 11) is cold (violet).
    hot, cold = heatmap[int(2.2 * 32), int(8.2 * 32)], heatmap[int(4.8 * 32), int(11.8 * 32)]
    assert hot[0] > 180 > hot[2]
    assert cold[2] > cold[1]
    assert cold.sum() < hot.sum()


def test_fault_12_no_tissue_is_a_result_and_is_in_the_report(plain):
    plain.slide("blank", "normal")
    plain.predict("blank", background=EVERY_CELL)
    got = plain.evaluate()
    blank = got.results[2]
    assert (blank.status, blank.score, blank.in_figures) == (SlideStatus.NO_TISSUE, 0.0, True)
    assert got.figures.normal_slides == 2
    assert got.exit_status == 0
    assert "no tissue" in plain.html()
    assert plain.table("slides")["status"].tolist() == ["evaluated", "evaluated", "no tissue"]


def test_fault_12_tumour_on_a_slide_without_tissue_is_missed_not_left_out(bench):
    bench.slide("t", "tumor", tumor=(LESION,))
    bench.predict("t", background=EVERY_CELL)
    figures = bench.evaluate().figures
    assert figures.froc["gigaslide"].score.value == 0
    assert figures.patch_auc.undefined == "no patches"


def test_fault_44_nan_cells_are_counted_and_marked_not_zero(plain):
    lost = IN_LESION[
        6:
    ]  # annotated and cold: as zeros they would lower the AUC, unscored they take no part
    plain.predict("t", hot=IN_LESION[:6], failed=lost, points=[(600, 200, 0.9)])
    got = plain.evaluate()
    result = got.results[0]
    assert result.status == SlideStatus.PARTIAL
    assert result.unscored_cells == 6
    assert result.patches.tumor_not_scored == 6
    assert got.figures.tumor_patches == 7
    assert got.exit_status == 2
    assert plain.metrics()["slides"][0]["cells_failed"] == 6
    assert "6 cells where the model gave NaN" in plain.html()
    picture = cv2.imdecode(np.frombuffer(got.pictures["t"].heatmap, np.uint8), cv2.IMREAD_GRAYSCALE)
    cell = picture[int(4.1 * 64 / 3) : int(4.9 * 64 / 3), int(9.1 * 64 / 3) : int(9.9 * 64 / 3)]
    assert cell.max() > 200  # hatched: both dark and light
    assert cell.min() < 90


def test_fault_44_a_cell_of_p_0_is_scored_and_a_cell_not_looked_at_is_not(plain):
    plain.predict("t", hot=IN_LESION[:6], cold=IN_LESION[6:])
    zeros = plain.evaluate()
    assert zeros.results[0].status == SlideStatus.EVALUATED
    assert zeros.figures.tumor_patches == 13
    plain.predict("t", hot=IN_LESION[:6], background=IN_LESION[6:])
    bare = plain.evaluate()
    assert bare.figures.tumor_patches == 7
    assert bare.results[0].patches.tumor_not_scored == 6
    assert bare.figures.patch_auc.value > zeros.figures.patch_auc.value


def test_fault_44_a_slide_of_which_nothing_was_read_has_no_score(plain):
    plain.predict("t", failed=EVERY_CELL)
    got = plain.evaluate()
    assert got.results[0].score is None
    assert "no cell could be scored" in got.results[0].reason
    assert got.figures.slide_auc.undefined == "only normal slides"


def test_fault_47_one_class_only_is_said_in_the_report(real_bench):
    bench = real_bench
    bench.slide("n", "normal")
    bench.predict("n", points=[(5, 5, 0.5)])
    figures = bench.evaluate().figures
    assert (figures.slide_auc.value, figures.slide_auc.undefined) == (None, "only normal slides")
    assert (figures.patch_auc.value, figures.patch_auc.undefined) == (None, "only normal patches")
    assert figures.froc["gigaslide"].score.undefined == "no lesions"
    html = bench.html()
    assert html.count("not defined") >= 4
    assert "only normal slides" in html


def test_fault_47_only_isolated_tumour_cells(bench):
    bench.slide("t", "tumor", tumor=(ITC,))
    bench.predict("t")
    bench.slide("n", "normal")
    bench.predict("n")
    figures = bench.evaluate().figures
    assert "only isolated tumour cells" in figures.froc["gigaslide"].score.undefined
    assert figures.patch_auc.value is not None


def test_tumour_without_outlines_counts_for_the_slide_figures_only(plain):
    plain.slide("unlined", "tumor")
    plain.predict("unlined", hot=[(0, 0)], points=[(32, 32, 0.9)])
    got = plain.evaluate()
    assert (got.figures.tumor_slides, got.figures.lesion_slides) == (2, 2)
    assert "tumour is not outlined" in Page(plain.html()).text
    assert plain.table("detections")["match"].tolist()[-1] == "not judged"
