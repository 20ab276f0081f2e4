"""Anybody's detections: the forms they come in, and what is refused with file and line."""

import numpy as np
import pytest
from gigaslide.eval import DetectionFiles
from gigaslide.eval.predictions.open_predictions import open_predictions
from gigaslide.eval.predictions.slide_names import SlideNames
from gigaslide.storage import ScoreError
from predictions import detections_folder

IDS = ["test_001", "Test_002", "n"]


def found(files: DetectionFiles, slide: str) -> list[tuple]:
    got = files.by_slide[slide].detections
    return list(zip(got.probability.tolist(), got.x.tolist(), got.y.tolist(), strict=True))


def test_a_file_a_slide_with_and_without_header_in_any_order_of_columns(tmp_path):
    path = detections_folder(
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
    path = detections_folder(
        tmp_path, all=header + "test_001.tif,100,20,0.9\nn,1,2,0.5\ntest_001,3,4,1\n"
    )
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
        DetectionFiles.load(detections_folder(tmp_path, **files), IDS)
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
    path = detections_folder(tmp_path, all="slide,x,y,score,confidence\nn,1,2,0.5,0.6\n")
    with pytest.raises(ScoreError, match=r"all\.csv, line 1.*'score'.*'confidence'"):
        DetectionFiles.load(path, IDS)


@pytest.mark.parametrize("text", ["0.5,1,2\n", "p,x,y\n0.5,1,2\n"])
def test_a_file_of_one_slide_needs_the_slides_name(tmp_path, text):
    path = detections_folder(tmp_path, n=text) / "n.csv"
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


def test_long_tables_are_read_whole(tmp_path):
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 1000, (20_000, 2))
    text = "".join(f"n,{x},{y},0.5\n" for x, y in rows.tolist())
    files = DetectionFiles.load(detections_folder(tmp_path, all=text), IDS)
    assert files.by_slide["n"].detections.x.tolist() == rows[:, 0].tolist()


def test_a_patch_store_is_not_taken_for_predictions(tmp_path):
    (tmp_path / "store").mkdir()
    for name in ("zarr.json", "summary.csv"):  # a store has the tables of its run
        (tmp_path / "store" / name).touch()
    with pytest.raises(ScoreError, match="store: is a Zarr group") as refused:
        open_predictions(tmp_path / "store", [])
    assert "gigaslide predict" in str(refused.value)
