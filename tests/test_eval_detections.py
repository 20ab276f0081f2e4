"""Anybody's detections: the forms they come in, what is refused with file and line, and what an
absence means."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gigaslide.cli import main
from gigaslide.cohort import Cohort
from gigaslide.eval import DetectionFiles, EvaluateSettings, SlideStatus, evaluate_cohort
from gigaslide.eval.predictions.slide_names import SlideNames
from gigaslide.storage import ScoreError
from predictions import HEIGHT, LESION, MPP, WIDTH, Bench
from shapely.geometry import box

IDS = ["test_001", "Test_002", "n"]
QUICK = EvaluateSettings(resamples=50, picture_px=100)
OFFICIAL = QUICK.model_copy(update={"official": True})


def folder(tmp_path: Path, **files: str) -> Path:
    path = tmp_path / "given"
    path.mkdir(exist_ok=True)
    for name, text in files.items():
        (path / f"{name}.csv").write_text(text, encoding="utf-8")
    return path


def found(files: DetectionFiles, slide: str) -> list[tuple]:
    got = files.by_slide[slide].detections
    return list(zip(got.probability.tolist(), got.x.tolist(), got.y.tolist(), strict=True))


def test_a_file_a_slide_with_and_without_header_in_any_order_of_columns(tmp_path):
    path = folder(
        tmp_path,
        test_001="0.9,100,20\n0.4, 7, 8.5\n\n",
        test_002="\ufeffY,X,Confidence\n20,100,0.9\n",
        n="",
    )
    files = DetectionFiles.load(path, IDS)
    assert found(files, "test_001") == [(0.9, 100, 20), (0.4, 7, 8.5)]
    assert found(files, "Test_002") == [(0.9, 100, 20)]  # case differs between CAMELYON's releases
    assert found(files, "n") == []
    assert not files.is_table


@pytest.mark.parametrize("header", ["", "slide,x,y,probability\n"])
@pytest.mark.parametrize("in_a_folder", [True, False])
def test_one_table_of_all_slides(tmp_path, header, in_a_folder):
    path = folder(tmp_path, all=header + "test_001.tif,100,20,0.9\nn,1,2,0.5\ntest_001,3,4,1\n")
    files = DetectionFiles.load(path if in_a_folder else path / "all.csv", IDS)
    assert found(files, "test_001") == [(0.9, 100, 20), (1, 3, 4)]
    assert found(files, "n") == [(0.5, 1, 2)]
    assert files.is_table
    assert files.by_slide["test_001"].line.tolist() == [1 + bool(header), 3 + bool(header)]


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (
            {"strange": "0.5,1,2\n"},
            "strange.csv: predictions for 'strange', which the cohort does not list",
        ),
        ({"n": "0.5,1,2\n1.2,3,4\n"}, "n.csv, line 2: probability 1.2 is not in [0, 1]"),
        ({"n": "p,x,y\n-0.1,3,4\n"}, "n.csv, line 2: probability -0.1"),
        ({"n": "0.5,1,2\n\nnan,3,4\n"}, "n.csv, line 3: probability is nan"),
        ({"n": "0.5,1,2\n0.5,inf,4\n"}, "n.csv, line 2: x is inf"),
        ({"n": "0.5,1,2\n0.5,,4\n"}, "n.csv, line 2: x is ''"),
        ({"n": "0.5,1,2\n0.5,1\n"}, "n.csv, line 2: 2 values, expected probability,x,y"),
        (
            {"n": "0.5 1 2\n"},
            "n.csv, line 1: no column probability, x, y among '0.5 1 2'",
        ),
        (
            {"n": "p,row,column\n0.5,1,2\n"},
            "n.csv, line 1: no column x, y among 'p', 'row', 'column'",
        ),
        ({"n": "0.5,1,2\n", "N": "0.5,1,2\n"}, "holds slide n too"),
        (
            {"all": "slide,x,y,p\nn,1,2,0.5\nwho,1,2,0.5\n"},
            "all.csv, line 3: predictions for 'who'",
        ),
        (
            {"n": "slide,x,y,p\nn,1,2,0.5\ntest_001,1,2,0.5\n", "test_001": "0.5,1,2\n"},
            "n.csv, line 3: slide 'test_001'",
        ),
    ],
)
def test_bad_rows_are_refused_with_file_and_line(tmp_path, files, words):
    with pytest.raises(ScoreError) as caught:
        DetectionFiles.load(folder(tmp_path, **files), IDS)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "slide,x,y,probability,score\nn,1,2,0.5,0.99\n",
        "score,slide,x,y,probability,name\n0.99,n,1,2,0.5,test_001\n",
        "Slide;X;Y;Probability\nn;1,0;2;0,5\n",
        "n;1;2;0,5\n",
        "sep=\t\nImage\tx_level0\tY_Level0\tConfidence\nN\t1\t2\t0.5\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_tables_of_other_programs_mean_what_they_say(tmp_path, text, encoding):
    (tmp_path / "all.csv").write_bytes(text.encode(encoding))
    for path in (tmp_path / "all.csv", tmp_path):
        files = DetectionFiles.load(path, IDS)
        assert found(files, "n") == [(0.5, 1, 2)]
        assert files.is_table
        assert list(files.by_slide) == ["n"]


def test_two_columns_that_may_be_the_probability_are_refused(tmp_path):
    path = folder(tmp_path, all="slide,x,y,score,confidence\nn,1,2,0.5,0.6\n")
    with pytest.raises(ScoreError, match=r"all\.csv, line 1.*'score'.*'confidence'"):
        DetectionFiles.load(path, IDS)


@pytest.mark.parametrize("text", ["0.5,1,2\n", "p,x,y\n0.5,1,2\n"])
def test_a_file_of_one_slide_needs_the_slides_name(tmp_path, text):
    path = folder(tmp_path, n=text) / "n.csv"
    assert found(DetectionFiles.load(path.parent, IDS), "n") == [(0.5, 1, 2)]
    with pytest.raises(ScoreError, match=r"n\.csv.*folder.*column slide"):
        DetectionFiles.load(path, IDS)


FILES = {
    "S12-345_A1": "S12-345 A1.tif",
    "S12-345_A1.2": "S12-345 A1.2.ome.tif",
    "L_sion": "L\u00e4sion #3.svs",
    "a-1": "a.svs",
    "a-2": "a.ndpi",
}


@pytest.mark.parametrize(
    ("name", "slide"),
    [
        *((name, "S12-345_A1") for name in ("S12-345_A1", "S12-345 A1", "S12-345 A1.tif")),
        *(
            (name, "S12-345_A1")
            for name in ("s12-345_a1.TIFF", "S12-345 A1.scn", "S12-345_A1.zarr")
        ),
        *((name, "S12-345_A1.2") for name in ("S12-345 A1.2", "S12-345_A1.2.png")),
        *((name, "L_sion") for name in ("La\u0308sion #3.svs", "l\u00c4sion_#3", "L_sion.bif")),
        *((name, "a-1") for name in ("a.svs", "a-1", "A.SVS", "a-1.czi")),
        ("a.ndpi", "a-2"),
    ],
)
def test_slides_are_found_by_their_files_names(name, slide):
    assert SlideNames(list(FILES), FILES).match(name, "t.csv, line 7") == slide


@pytest.mark.parametrize(
    ("name", "facts"),
    [("a", ("'a'", "a-1", "a-2")), ("a.png", ("a-1", "a-2")), ("S12-345 A1.3", ("does not list",))],
)
def test_a_name_of_several_slides_or_of_none_is_refused(name, facts):
    with pytest.raises(ScoreError) as caught:
        SlideNames(list(FILES), FILES).match(name, "t.csv, line 7")
    for fact in ("t.csv, line 7", *facts):
        assert fact in str(caught.value)


IN_FOLDERS = {
    "slide-1": "/data/x/P 1/slide.tif",
    "slide-2": "/data/x/P 2/slide.tif",
    "slide-3": "/data/y/P 2/slide.svs",
    "007": "/data/y/007.tif",
}


@pytest.mark.parametrize(
    ("name", "slide"),
    [
        *((f"{folder}P 1/slide.tif", "slide-1") for folder in ("", "x/", "./", "/data/x/")),
        ("p_1\\Slide.png", "slide-1"),
        ("P 2/slide.tif", "slide-2"),
        ("x/P 2/slide", "slide-2"),
        ("slide.svs", "slide-3"),
        ("y/007.tif", "007"),
    ],
)
def test_slides_in_folders_are_found_by_the_end_of_their_path(name, slide):
    assert SlideNames(list(IN_FOLDERS), IN_FOLDERS).match(name, "t.csv, line 7") == slide


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("slide.tif", ("slide-1 (/data/x/P 1/slide.tif)", "slide-2 (/data/x/P 2/slide.tif)")),
        ("P 2/slide", ("slide-2 (", "slide-3 (")),
        ("z/P 1/slide.tif", ("does not list", "slide-1 (/data/x/P 1/slide.tif)", "write its id")),
        ("7", ("does not list", "007", "as text")),
        ("7.0", ("does not list", "007", "as text")),
        ("8", ("does not list; remove",)),
    ],
)
def test_a_name_that_only_may_mean_a_slide_is_refused_with_that_slide(name, facts):
    with pytest.raises(ScoreError) as caught:
        SlideNames(list(IN_FOLDERS), IN_FOLDERS).match(name, "t.csv, line 7")
    for fact in facts:
        assert fact in str(caught.value)


def bench_with(bench: Bench, **files: str) -> Path:
    """A tumour and a normal slide; the heatmaps are not looked at."""
    bench.slide("t", "tumor", tumor=(LESION,), patient="p")
    bench.slide("n", "normal", patient="q")
    return folder(bench.folder, **files)


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
    given = folder(bench.folder, slide="slide,x,y,p\n")
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
    given = folder(bench.folder)
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


def test_long_tables_are_read_whole(tmp_path):
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 1000, (20_000, 2))
    text = "".join(f"n,{x},{y},0.5\n" for x, y in rows.tolist())
    files = DetectionFiles.load(folder(tmp_path, all=text), IDS)
    assert files.by_slide["n"].detections.x.tolist() == rows[:, 0].tolist()
