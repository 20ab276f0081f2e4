"""Two models, subgroups, and the front door for notebooks."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from gigaslide.cli import main
from gigaslide.cohort import Cohort
from gigaslide.eval import (
    EvaluateSettings,
    SlideStatus,
    SlideTruth,
    compare,
    compare_cohort,
    evaluate,
    evaluate_cohort,
    open_predictions,
)
from gigaslide.eval.cohort_evaluation import score_file
from gigaslide.eval.predictions.slide_file import SlideFile
from gigaslide.eval.statistics.agreement import measure_agreement
from gigaslide.storage import AnnotationError, ScoreError, SettingsError
from gigaslide.wsi import CellStatus, Detections, Heatmap
from predictions import IN_LESION, LESION, Bench, Page
from shapely.geometry import MultiPolygon, Point, box

QUICK = EvaluateSettings(resamples=300, picture_px=100, seed=3)


@pytest.fixture
def two_models(bench: Bench) -> Bench:
    """Twelve slides of six patients; the better model ranks them well, the other at random."""
    rng = np.random.default_rng(4)
    for index in range(12):
        is_tumor = index % 2 == 0
        centre = ("scanner", "A" if index < 8 else "B")
        bench.slide(
            f"s{index}",
            "tumor" if is_tumor else "normal",
            tumor=(LESION,) if is_tumor else (),
            patient=f"p{index // 2}",
            scan=index == 0,
            further=(centre,),
        )
        good = 0.6 + 0.03 * index if is_tumor else 0.2 + 0.04 * index
        for folder, p in (("good", good), ("bad", float(np.round(rng.uniform(), 2)))):
            bench.predictions = bench.folder / folder
            points = [(600, 200, p)] if is_tumor and p > 0.5 else [(96, 608, p)]
            bench.predict(f"s{index}", points=points, probability=np.full((11, 15), p, np.float32))
    return bench


def judged(bench: Bench, name: str):
    opened = open_predictions(bench.folder / name, bench.rows)
    found = []
    for row in bench.rows:
        with SlideFile(row) as file:
            found.append(score_file(row, opened, file, QUICK)[0])
    return found


def test_differences_are_those_of_evaluations_of_the_same_drawn_slides(two_models):
    good, bad = judged(two_models, "good"), judged(two_models, "bad")
    got = compare(good, bad, QUICK, names=("good", "bad"))
    for name in ("slide_auc", "froc_gigaslide", "patch_auc", "slide_brier"):
        one = got.differences[name]
        assert one.difference.value == pytest.approx(one.first.value - one.second.value)
    # By hand: the same patients drawn for both.
    weights = got.resampling.weights
    scores = np.array([[j.score for j in side] for side in (good, bad)])
    is_tumor = np.array([j.is_tumor for j in good])

    def auc(scores: np.ndarray, times: np.ndarray) -> float:
        drawn, truth = np.repeat(scores, times), np.repeat(is_tumor, times)
        return float(np.mean([(p > n) + (p == n) / 2 for p in drawn[truth] for n in drawn[~truth]]))

    by_hand = np.array([auc(scores[0], times) - auc(scores[1], times) for times in weights])
    difference = got.differences["slide_auc"].difference
    assert (difference.low, difference.high) == pytest.approx(np.quantile(by_hand, [0.025, 0.975]))
    # All 64 ways to swap the models' scores, a patient's two slides together.
    once, chance = np.ones(12, int), []
    for swap in np.ndindex(*[2] * 6):
        mixed = np.where(np.repeat(swap, 2), scores[::-1], scores)
        chance.append(abs(auc(mixed[0], once) - auc(mixed[1], once)))
    exact = np.mean(np.array(chance) >= abs(difference.value) - 1e-9)
    assert got.differences["slide_auc"].p_value == pytest.approx(exact, abs=0.07)  # of 300 drawn
    assert 0.01 < exact < 0.9
    assert got.resampling.unit == "patients"
    assert difference.method == "percentile bootstrap"
    assert got.differences["slide_auc"].first.method in ("BCa bootstrap", "")


def test_a_model_against_itself_differs_in_nothing(two_models):
    good = judged(two_models, "good")
    got = compare(good, good, QUICK, names=("a", "b"))
    for one in got.differences.values():
        assert one.difference.value in (0, None)
        assert one.p_value in (1, None)
    assert got.differences["froc_gigaslide"].p_value == 1


def test_a_slide_that_one_model_lacks_counts_in_froc_only(two_models):
    shutil.rmtree(two_models.folder / "bad" / "s0")  # the slide itself is there
    good, bad = judged(two_models, "good"), judged(two_models, "bad")
    got = compare(good, bad, QUICK, names=("good", "bad"))
    assert (bad[0].status, len(got.slides)) == (SlideStatus.NO_PREDICTION, 12)
    assert [(one.slide, one.kind) for one in got.exclusions] == [("s0", "slide")]
    assert got.differences["froc_gigaslide"].second.value is not None


def test_where_one_model_has_no_patches_it_is_named(two_models):
    good, bad = (
        judged(two_models, "good"),
        [replace(j, patches=None) for j in judged(two_models, "bad")],
    )
    quick = QUICK.model_copy(update={"resamples": 0})
    for name in ("patch_auc", "patch_brier"):
        one = compare(good, bad, quick, names=("good", "bad")).differences[name]
        assert (one.first.undefined, one.difference.undefined) == ("", "bad: no patches")
        assert (
            compare(bad, good, quick, names=("bad", "good")).differences[name].difference.undefined
            == "bad: no patches"
        )
        assert (
            compare(bad, bad, quick, names=("a", "b")).differences[name].difference.undefined
            == "no patches"
        )


def test_slides_that_one_model_lacks_are_left_out_of_both(two_models):
    good, bad = judged(two_models, "good"), judged(two_models, "bad")[1:]
    got = compare(good, bad, QUICK, names=("good", "bad"))
    assert [(one.slide, one.reason) for one in got.exclusions] == [
        ("s0", "bad: not among its slides")
    ]
    assert len(got.slides) == 11
    with pytest.raises(ScoreError, match="no slide in common"):
        compare(good[:1], bad, QUICK, names=("good", "bad"))


def test_a_heatmap_of_another_slide_is_an_absence_here_too(two_models):
    two_models.predictions = two_models.folder / "bad"
    two_models.predict("s0", slide_size=(700, 900))
    cohort = Cohort(slides=tuple(two_models.rows))
    good, bad, out = (two_models.folder / name for name in ("good", "bad", "out"))
    (one,) = compare_cohort(cohort, [good, bad], out, QUICK)[0].exclusions
    assert (one.slide, one.kind) == ("s0", "slide")
    assert one.reason.startswith("bad: no prediction: s0: the heatmap is of a slide of (700, 900)")
    page = Page((out / "compare.html").read_text(encoding="utf-8"))
    assert "s0 (bad: no prediction: s0: the heatmap is of a slide" in page.text


def test_the_command_writes_every_difference(two_models, capsys):
    folder = two_models.folder
    Cohort(slides=tuple(two_models.rows)).save(folder / "cohort.csv")
    cohort = Cohort.load(folder / "cohort.csv")
    assert cohort.slides[0].column("scanner") == "A"
    for number, slide in enumerate(cohort):
        for name in ("good", "bad"):
            p = 0.9 if number % 2 == 0 and name == "good" else 0.1
            path = folder / f"{name}.csv"
            with path.open("a") as file:
                file.write(f"{slide.id},600,200,{p}\n")
    # Without slides nobody knows the size: all but the first are left out, and that is said.
    command = ["compare", *(str(folder / n) for n in ("cohort.csv", "good.csv", "bad.csv", "out"))]
    assert main([*command, "--resamples", "20"]) == 2
    told = capsys.readouterr().out
    assert re.search(r"good.csv minus bad.csv, 1 slide;.* slide-1", told)
    saved = json.loads((folder / "out" / "comparison.json").read_text())
    assert saved["differences"]["froc_gigaslide"]["difference"]["value"] == 0  # found by both
    table = pd.read_csv(folder / "out" / "comparison.csv")
    assert set(table["figure"]) == set(saved["differences"])
    with pytest.raises(SettingsError, match=r"good: .*a new folder"):
        compare_cohort(cohort, [folder / "good.csv", folder / "bad.csv"], folder / "good", QUICK)


def test_subgroups_are_evaluations_of_their_slides(two_models):
    two_models.predictions = two_models.folder / "bad"
    asked = QUICK.model_copy(update={"subgroups": ("scanner",)})
    got = two_models.evaluate(asked)
    assert [(g.column, g.value, g.slides, g.tumor_slides) for g in got.subgroups] == [
        ("scanner", "A", 8, 4),
        ("scanner", "B", 4, 2),
    ]
    alone = Cohort(slides=tuple(two_models.rows[8:]))
    twin = evaluate_cohort(alone, two_models.predictions, two_models.folder / "twin", QUICK)
    assert got.subgroups[1].estimates == twin.figures.estimates
    patients = two_models.evaluate(QUICK.model_copy(update={"subgroups": ("patient",)})).subgroups
    assert [(g.value, g.slides) for g in patients] == [(f"p{i}", 2) for i in range(6)]
    two_models.evaluate(asked)
    rows = two_models.table("subgroups")
    chosen = rows[(rows["value"] == "B") & (rows["figure"] == "slide_auc")]
    assert chosen["estimate"].tolist() == [twin.figures.slide_auc.value]
    with pytest.raises(
        SettingsError, match="no column centre; there are label, patient, split, scanner"
    ):
        two_models.evaluate(QUICK.model_copy(update={"subgroups": ("centre",)}))


TRUTH = {
    "a": SlideTruth(
        size=(4000, 3000), mpp=0.5, tumor=[box(500, 400, 1500, 900), Point(3000, 2000).buffer(300)]
    ),
    "b": SlideTruth(size=(3000, 4000), mpp=0.5),
    "c": SlideTruth(size=(3000, 4000), mpp=0.5),
}
TABLE = pd.DataFrame(
    [("a", 1000, 600, 0.9), ("a", 3100, 2100, 0.4), ("a", 600, 1000, 0.3), ("b", 10, 20, 0.6)],
    columns=["slide", "x", "y", "probability"],
)
HERE = EvaluateSettings(resamples=100, split="")


def test_a_notebook_gets_figures_from_a_table_and_outlines():
    report = evaluate(TABLE, TRUTH, HERE)
    # .9 hits; .6 false: 1/3 a slide; .4 hits; .3 lies outside the box (turned over, it would hit).
    assert report.froc.curve.sensitivity.tolist() == [1, 1, 0.5, 0.5, 0]
    assert report.froc.curve.at_rates == (0.5, 1, 1, 1, 1, 1)
    assert report.auc.value == 1
    assert report.tables["detections"]["match"].tolist() == [
        "hit",
        "hit",
        "false positive",
        "false positive",
    ]
    assert report.tables["lesions"]["area_mm2"].tolist() == pytest.approx(
        [0.125, np.pi * 0.15**2], rel=0.01
    )
    assert report.metrics["counts"]["countable_lesions"] == 2
    assert (
        report.tables["figures"].set_index("figure").loc["froc_gigaslide", "value"]
        == report.froc.score.value
    )
    page = Page(report._repr_html_())
    assert page.open == []
    assert "0.917" in page.text
    for figure in (report.plot_froc(), report.plot_roc()):
        assert figure.axes[0].get_xlabel()


def test_a_notebook_lists_what_is_left_out_and_what_is_missed():
    part = {
        **TRUTH,
        "d": SlideTruth(size=(900, 700), mpp=0.5, tumor=box(1, 1, 800, 600), is_exhaustive=False),
    }
    report = evaluate(pd.concat([TABLE, TABLE.tail(1).assign(slide="d")]), part, HERE)
    assert report.tables["exclusions"][["slide", "kind"]].to_numpy().tolist() == [["d", "slide"]]
    assert report.froc.score.value == evaluate(TABLE, TRUTH, HERE).froc.score.value
    assert [one.slide for one in report.point.false_positives] == ["b"]
    assert [one.best_probability for one in report.point.missed] == [0.4]
    assert len(report.operating_point(0.3).missed) == 0


def test_a_notebook_takes_other_forms_too(tmp_path):
    whole = evaluate(TABLE, TRUTH, HERE).froc
    xyp = TABLE[["x", "y"]].to_numpy(float), TABLE["probability"].to_numpy()
    detections = replace(Detections.of_slide("", *xyp), slide=TABLE["slide"].to_numpy(object))
    TABLE.to_csv(tmp_path / "t.csv", index=False)
    polygon = {**TRUTH, "a": replace(TRUTH["a"], tumor=MultiPolygon(TRUTH["a"].tumor))}
    for given, truth in ((detections, TRUTH), (str(tmp_path / "t.csv"), TRUTH), (TABLE, polygon)):
        assert evaluate(given, truth, HERE).froc.score == whole.score


@pytest.mark.parametrize("value", [1, 2, 255])
def test_masks_of_any_value_are_the_same_truth(value):
    mask = np.zeros((375, 500), np.uint8)  # 8 level-0 px wide
    mask[50:113, 62:188] = value
    if value == 2:
        mask[200:300, 20:60] = 1  # tissue in CAMELYON16's masks, no tumour
    truth = {**TRUTH, "a": replace(TRUTH["a"], tumor=mask)}
    report = evaluate(TABLE, truth, HERE)
    assert report.figures.countable_lesions == 1
    assert report.tables["detections"]["match"].tolist()[:2] == ["hit", "false positive"]
    assert report.tables["lesions"]["raster_um"].tolist() == [4.0]


def test_an_empty_mask_has_no_lesion_and_odd_ones_are_refused():
    empty = {**TRUTH, "a": replace(TRUTH["a"], tumor=np.zeros((375, 500), np.uint8))}
    assert evaluate(TABLE, empty, HERE).froc.score.undefined == "no lesions"
    for odd in (np.full((3, 4), 7), np.zeros((3, 4, 3), np.uint8)):
        with pytest.raises(AnnotationError, match="a mask has two dimensions"):
            evaluate(TABLE, {**TRUTH, "a": replace(TRUTH["a"], tumor=odd)}, HERE)


def test_a_notebook_is_told_what_is_wrong_with_its_table():
    with pytest.raises(ScoreError, match=r"line 5: predictions for 'z'"):
        evaluate(pd.concat([TABLE, TABLE.tail(1).assign(slide="z")]), TRUTH, HERE)
    with pytest.raises(ScoreError, match="no column probability"):
        evaluate(TABLE.rename(columns={"probability": "score"}), TRUTH, HERE)
    swapped = TABLE.replace({"x": {1000: 9999, 10: -1}})
    with pytest.raises(
        ScoreError,
        match=r"3 of 4 detections lie outside .* at detections, line 1: \(9999, 600\); give",
    ):
        evaluate(swapped.replace({"y": {2100: 3000}}), TRUTH, HERE)
    assert (
        evaluate(swapped, TRUTH, HERE)
        .tables["detections"]["match"]
        .tolist()
        .count("false positive")
        == 3
    )
    with pytest.raises(ScoreError, match="not in"):
        evaluate(TABLE.replace(0.9, np.nan), TRUTH, HERE)


def test_a_notebook_scores_a_cohort(bench: Bench):
    bench.slide("t", "tumor", tumor=(LESION,))
    bench.slide("n", "normal")
    table = pd.DataFrame({"slide": ["t"], "x": [600.0], "y": [200.0], "probability": [0.9]})
    report = evaluate(table, Cohort(slides=tuple(bench.rows)), HERE)
    assert (report.froc.score.value, report.auc.value) == (1, 1)
    bench.slide("x", "")
    with pytest.raises(SettingsError, match="fill in its label"):
        evaluate(table, Cohort(slides=tuple(bench.rows)), HERE)


def test_a_heatmaps_evaluation_still_names_its_parts(plain):
    metrics = plain.evaluate().metrics
    assert metrics["figures"]["patch_auc"] == metrics["patch_auc"]
    assert len(IN_LESION) == 12
    assert Path(plain.folder / "out" / "calibration.csv").is_file()


def test_heatmaps_are_compared_cell_by_cell(two_models):
    cohort = Cohort.of_rows(two_models.rows)
    good, bad = two_models.folder / "good", two_models.folder / "bad"
    for folder, seconds in ((good, 3.0), (bad, 1.5)):
        rows = "".join(f"s{n},{'done' if n else 'skipped'},{seconds}\n" for n in range(12))
        (folder / "summary.csv").write_text(f"slide,status,seconds\n{rows}")
    [found] = compare_cohort(cohort, (good, bad), two_models.folder / "out", QUICK)
    values = [
        [Heatmap.load(side / f"s{n}" / "heatmap.zarr").probability.ravel() for n in range(12)]
        for side in (good, bad)
    ]
    one, two = (np.concatenate(side).astype(float) for side in values)
    maps = found.heatmaps
    assert maps.cells == one.size
    assert maps.slides == 12
    assert maps.correlation == pytest.approx(np.corrcoef(one, two)[0, 1], abs=1e-9)
    assert maps.mean_difference == pytest.approx(np.abs(one - two).mean())
    assert maps.largest_difference == pytest.approx(np.abs(one - two).max())
    worst = int(np.argmax([np.abs(a - b).max() for a, b in zip(*values, strict=True)]))
    assert maps.largest_on == f"s{worst}"
    assert found.seconds.slides == 11
    assert found.seconds.ratio == pytest.approx(2.0)
    told = json.loads((two_models.folder / "out" / "comparison.json").read_text())
    assert told["heatmaps"]["cells"] == one.size
    assert told["seconds"]["ratio"] == pytest.approx(2.0)
    page = (two_models.folder / "out" / "compare.html").read_text()
    assert "Heatmaps." in page
    assert "2 times as long" in page


def test_the_largest_difference_is_found_at_its_place_and_other_cells_are_told(tmp_path):
    def heatmap(slide: str, probability: np.ndarray, stride: float = 128.5) -> Heatmap:
        status = np.where(np.isnan(probability), CellStatus.BACKGROUND, CellStatus.SCORED)
        return Heatmap(
            slide=slide,
            probability=probability.astype(np.float32),
            status=status.astype(np.uint8),
            origin_level0=(10.0, 20.0),
            stride_level0=stride,
            centre_level0=stride,
            centre_px=128,
            slide_size=(2000, 1000),
            slide_mpp=0.5,
            model_hash="x",
        )

    first = np.full((7, 9), 0.25)
    second = first.copy()
    second[4, 6], second[2, 3], first[2, 3] = 0.875, np.nan, 0.99  # scored by one of them only
    pairs = [
        (heatmap("a", first), heatmap("a", second)),
        (heatmap("b", first), heatmap("b", second, stride=64)),
    ]
    found = measure_agreement(pairs)
    assert found.cells == 62
    assert found.not_comparable == ("b",)
    assert found.largest_difference == pytest.approx(0.625)
    assert found.largest_at == (int(10 + 6.5 * 128.5), int(20 + 4.5 * 128.5))
    assert found.correlation is None  # the first is the same everywhere
