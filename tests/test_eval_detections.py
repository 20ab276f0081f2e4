"""Anybody's detections as they are scored, and what an absence means."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from gigaslide.cli import main
from gigaslide.cohort import Cohort
from gigaslide.eval import EvaluateSettings, SlideStatus, evaluate_cohort
from gigaslide.storage import ScoreError
from predictions import HEIGHT, LESION, MPP, WIDTH, Bench, detections_folder
from shapely.geometry import box

QUICK = EvaluateSettings(resamples=50, picture_px=100)
OFFICIAL = QUICK.model_copy(update={"official": True})


def bench_with(bench: Bench, **files: str) -> Path:
    """A tumour and a normal slide; the heatmaps are not looked at."""
    bench.slide("t", "tumor", tumor=(LESION,), patient="p")
    bench.slide("n", "normal", patient="q")
    return detections_folder(bench.folder, **files)


def scored(bench: Bench, given: Path, settings: EvaluateSettings = QUICK):
    return evaluate_cohort(Cohort(slides=tuple(bench.rows)), given, bench.folder / "out", settings)


def test_given_detections_are_scored_as_those_of_a_heatmap_are(bench):
    given = bench_with(bench, t="0.9,600,200\n0.3,200,600\n", n="0.95,96,608\n")
    got = scored(bench, given)
    assert got.exit_status == 0
    for name, points in (("t", [(600, 200, 0.9), (200, 600, 0.3)]), ("n", [(96, 608, 0.95)])):
        bench.predict(name, points=points)
    twin = bench.evaluate(QUICK)
    assert got.figures.froc["gigaslide"].score == twin.figures.froc["gigaslide"].score
    assert [j.score for j in got.results] == [0.9, 0.95]
    assert got.figures.patch_auc.undefined == "no patches"
    assert got.metrics["models"] == []
    assert not any(isinstance(one, str) for one in got.pictures.values())


def test_a_detection_outside_its_slide_is_a_false_positive_told_with_file_and_line(bench, caplog):
    given = bench_with(bench, t=f"0.9,600,200\n0.95,{WIDTH},650\n", n="")
    got = scored(bench, given, OFFICIAL)
    result = got.results[0]
    assert (result.status, got.exit_status) == (SlideStatus.EVALUATED, 2)
    where = f"t.csv, line 2: ({WIDTH}, 650)"
    assert where in caplog.text
    assert where in result.notes[0]
    assert result.matches.match.tolist() == ["hit", "false positive"]
    assert got.figures.froc["gigaslide"].curve.at_rates == (
        0,
        1,
        1,
        1,
        1,
        1,
    )  # 0.5 a slide, the lesion with it
    # At 2 µm/px the lesion is isolated cells to E1; to both, the detection lies in the last px of
    # the mask, which exceeds the slide.
    e1, e2 = got.official.programs.values()
    assert "isolated" in e1.score.undefined
    assert e2.score.value == pytest.approx(4 / 6)
    rows = bench.table("exclusions")
    assert rows["kind"].tolist() == ["detection"]
    assert where in rows["name"][0]


def test_a_detection_outside_its_slide_does_not_make_it_positive(bench):
    given = bench_with(
        bench,
        t=f"0.2,600,200\n0.95,{WIDTH},650\n",
        n=f"0.9,5,{HEIGHT}\n0.3,5,{HEIGHT - 1}\n0.1,1,1\n",
    )
    got = scored(bench, given)
    assert [j.score for j in got.results] == [0.2, 0.3]
    assert got.figures.slide_auc.value == 0
    assert [j.matches.count("false positive") for j in got.results] == [1, 3]


@pytest.mark.parametrize(("x", "y"), [(-1, 5), (5, -0.5), (WIDTH, 5), (5, HEIGHT)])
def test_a_detection_on_the_border_of_a_lesion_at_the_border_is_outside(bench, x, y):
    """The lesion reaches the border, and its outline holds the points on it."""
    bench.slide("t", "tumor", tumor=(box(0, 0, WIDTH, HEIGHT),))
    given = detections_folder(bench.folder, slide="slide,x,y,p\n")
    (given / "slide.csv").unlink()
    (given / "t.csv").write_text(f"0.9,{x},{y}\n0.8,1,1\n")
    got = scored(bench, given).results[0]
    assert got.matches.match.tolist() == ["false positive", "hit"]


def test_size_and_mpp_in_the_cohort_stand_in_for_the_slide(bench):
    given = bench_with(bench, t="0.9,600,200\n0.4,5,5\n", n=f"0.3,{WIDTH - 1},{HEIGHT - 1}\n")
    with_slides = scored(bench, given)
    for row in bench.rows:
        row.path.unlink()
    without = scored(bench, given)
    assert [result.status for result in without.results] == [SlideStatus.FAILED] * 2
    assert all("width, height and mpp" in result.reason for result in without.results)
    assert without.exit_status == 1
    bench.rows[:] = [replace(row, size=(WIDTH, HEIGHT), mpp=MPP) for row in bench.rows]
    from_table = scored(bench, given)
    assert from_table.exit_status == with_slides.exit_status == 0
    assert from_table.figures.estimates == with_slides.figures.estimates
    assert from_table.tables["detections"].equals(with_slides.tables["detections"])
    assert (
        from_table.results[0].lesions.major_axis_um == with_slides.results[0].lesions.major_axis_um
    )
    bench.rows[:] = [replace(row, size=(WIDTH - 1, HEIGHT)) for row in bench.rows]
    assert [one.outside for one in scored(bench, given).results][1]  # the last column is not there


def test_a_size_that_contradicts_the_slide_is_refused(bench):
    given = bench_with(bench, t="0.9,600,200\n", n="")
    bench.rows[:] = [replace(row, size=(HEIGHT, WIDTH), mpp=MPP) for row in bench.rows]
    got = scored(bench, given)
    assert [result.status for result in got.results] == [SlideStatus.FAILED] * 2
    assert f"({HEIGHT}, {WIDTH})" in got.results[0].reason


def test_detections_that_mostly_lie_outside_stop_the_command(bench):
    """Turned over: y before x."""
    given = bench_with(
        bench, t=f"0.9,600,200\n0.3,{HEIGHT},{WIDTH - 1}\n", n=f"0.3,{HEIGHT - 1},{WIDTH - 1}\n"
    )
    with pytest.raises(ScoreError) as caught:
        scored(bench, given)
    assert "2 of 3 detections" in str(caught.value)
    assert f"t.csv, line 2: ({HEIGHT}, {WIDTH - 1})" in str(caught.value)
    assert not (bench.folder / "out").exists()


def test_a_missing_file_is_a_counted_absence_in_ours_and_an_error_in_the_official_ones(bench):
    given = bench_with(bench, n="0.95,96,608\n")
    got = scored(bench, given, OFFICIAL)
    absent = got.results[0]
    assert (absent.status, absent.in_figures, absent.score) == (
        SlideStatus.NO_PREDICTION,
        True,
        None,
    )
    assert got.exit_status == 2
    assert (got.figures.countable_lesions, got.figures.slides_without_prediction) == (1, 1)
    assert got.figures.froc["gigaslide"].score.value == 0
    e1, e2 = got.official.programs.values()
    assert (e1.slides, e1.curve.undefined) == (1, "no lesions")  # it leaves the slide out
    assert "no predictions for t" in e2.curve.undefined


def test_a_slide_without_rows_in_a_table_has_no_detections(bench):
    given = bench_with(bench) / "all.csv"
    given.write_text("slide,x,y,probability\nn,96,608,0.95\n", encoding="utf-8")
    got = scored(bench, given, OFFICIAL)
    assert got.exit_status == 0
    assert got.figures.slides_without_prediction == 0
    assert got.official.programs["camelyon16-e2"].score.value == 0


def test_slides_without_a_row_and_rows_that_say_the_same_are_told(bench):
    bench.slide("t", "tumor", tumor=(LESION,))
    bench.slide("u", "tumor", tumor=(LESION,))
    bench.slide("n", "normal")
    table = bench.folder / "all.csv"
    table.write_text(
        "slide,x,y,probability\nt,600,200,0.9\nn,5,6,0.4\nn,5,6,0.4\nn,5,6,0.3\nn,7,6,0.4\n"
    )
    got = evaluate_cohort(Cohort(slides=tuple(bench.rows)), table, bench.folder / "out", QUICK)
    assert [list(j.notes) for j in got.results] == [
        [],
        ["no row in the table: nothing was found on it"],
        ["1 of 4 detections repeat another one"],
    ]
    assert got.metrics["cohort"]["without_row"] == 1
    assert "has no row in the table of detections" in bench.html()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "slide,x,y,probability\nother,600,200,0.9\nother,1,2,0.9\n",
            "no row of the 2 slides .* 1 others, the first other",
        ),
        ("", "is empty"),
        ("\n\n", "is empty"),
    ],
)
def test_a_table_that_speaks_of_no_evaluated_slide_is_refused(bench, text, words):
    bench.slide("t", "tumor", tumor=(LESION,))
    bench.slide("n", "normal")
    other = replace(bench.slide("other", "normal"), split="train")
    cohort = Cohort(slides=(*bench.rows[:2], other))
    table = bench.folder / "all.csv"
    table.write_text(text)
    with pytest.raises(ScoreError, match=rf"all\.csv: .*{words}"):
        evaluate_cohort(cohort, table, bench.folder / "out", QUICK)
    assert not (bench.folder / "out").exists()
    table.write_text("slide,x,y,probability\n")  # of a model that found nothing
    assert evaluate_cohort(cohort, table, bench.folder / "out", QUICK).exit_status == 0


def test_an_empty_folder_of_predict_is_no_table_of_nothing_found(bench):
    given = bench_with(
        bench, detections="slide,x,y,probability\n", summary="slide,status\nt,failed\n"
    )
    got = scored(bench, given)
    assert [j.status for j in got.results] == [SlideStatus.NOT_EVALUABLE] * 2
    assert got.exit_status == 1


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ([], "but nothing;"),
        (["a.txt", "b.txt"], "but 2 .txt;"),
        (["inner/t.csv"], "but 1 folders;"),
    ],
)
def test_a_folder_of_something_else_is_no_set_of_predictions(bench, made, words):
    given = bench_with(bench)
    for name in made:
        (given / name).parent.mkdir(exist_ok=True)
        (given / name).write_text("0.9,600,200\n")
    with pytest.raises(ScoreError, match="no CSV files of detections") as caught:
        scored(bench, given)
    assert words in str(caught.value)


def test_the_command_says_what_is_missing_and_what_lies_outside(bench, capsys):
    bench.slide("t", "tumor", tumor=(LESION,), exhaustive=False)
    bench.slide("n", "normal")
    bench.slide("m", "normal")
    Cohort(slides=tuple(bench.rows)).save(bench.folder / "cohort.csv")
    given = detections_folder(bench.folder)
    for number, text in ((0, "0.9,600,200\n0.3,1,1\n"), (1, "0.5,1,1\n0.4,2,2\n0.5,-7,3\n")):
        (given / f"slide-{number}.csv").write_text(text)
    command = [
        "evaluate",
        str(bench.folder / "cohort.csv"),
        str(given),
        str(bench.folder / "out"),
        "--resamples",
        "9",
    ]
    assert main(command) == 2
    told = capsys.readouterr().out
    first, second, outside = told.splitlines()[2:5]
    assert "FROC, lesions, patches and sizes: 1 slide" in first
    assert "slide-0: tumour is outlined in part" in first
    assert "all but FROC, where its lesions are missed: 1 slide" in second
    assert "slide-2: no prediction: no pred" in second
    assert "1 detection outside" in outside
    assert "false positive" in outside
    assert "slide-1.csv, line 3: (-7, 3)" in told


def test_predictions_of_slides_of_another_split_are_no_error(bench):
    given = bench_with(bench, t="", n="", other="0.5,1,2\n")
    bench.slide("other", "normal")
    bench.rows[2] = replace(bench.rows[2], split="train")
    assert [j.slide.id for j in scored(bench, given).results] == ["t", "n"]


def test_the_command_takes_detections_by_option(bench, capsys):
    given = bench_with(bench, t="0.9,600,200\n0.3,200,600\n", n="0.95,96,608\n")
    Cohort(slides=tuple(bench.rows)).save(bench.folder / "cohort.csv")
    (bench.folder / "given").rename(bench.folder / "theirs")
    options = ["--predictions", str(bench.folder / "theirs"), "--report", str(bench.folder / "out")]
    cohort = Cohort.load(bench.folder / "cohort.csv")
    ids = {"slide-0": "t", "slide-1": "n"}  # ids in the table are the files' names
    for slide in cohort:
        (bench.folder / "theirs" / f"{ids[slide.id]}.csv").rename(
            bench.folder / "theirs" / f"{slide.id}.csv"
        )
    assert main(["evaluate", str(bench.folder / "cohort.csv"), *options, "--resamples", "20"]) == 0
    metrics = json.loads((bench.folder / "out" / "metrics.json").read_text())
    assert metrics["froc"]["gigaslide"]["score"]["value"] == pytest.approx(5 / 6)
    assert re.search(r"FROC score +0\.833", capsys.readouterr().out)
    (bench.folder / "theirs" / "slide-0.csv").write_text("2,1,1\n")
    assert main(["evaluate", str(bench.folder / "cohort.csv"), *options]) == 1
    assert "slide-0.csv, line 1: probability 2 is not in [0, 1]" in capsys.readouterr().err
    assert given.name == "given"
