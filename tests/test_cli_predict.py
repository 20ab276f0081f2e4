"""`gigaslide predict` as a user types it."""

from pathlib import Path

from command_lines import write_cohort
from gigaslide.batch import SlideOutcome
from gigaslide.cli import main
from gigaslide.cli.terminal.windows_bar import WindowsToPredict, windows_bar
from gigaslide.cohort import Cohort


def predicted_cohort(monkeypatch, *words: str) -> Cohort:
    seen = []
    monkeypatch.setattr(
        "gigaslide.cli.commands.predict.predict_stage", lambda *some: seen.append(some) or 0
    )
    assert main(["predict", *words]) == 0
    assert seen[0][1:3] == (Path("model"), Path("out"))
    return seen[0][0]


def test_predict_takes_a_cohort_a_slide_or_a_folder_of_slides(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.tif", "b.svs", "a.xml", "notes.txt"):
        (tmp_path / "slides" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "slides" / name).touch()
    cohort = predicted_cohort(monkeypatch, "slides", "model", "out")
    assert [slide.id for slide in cohort] == ["a", "b"]
    assert not cohort.has_splits  # every slide is predicted, whatever its proposed split
    options = ["--model", "model", "--predictions", "out", "--slides", "slides/b.svs"]
    assert [slide.id for slide in predicted_cohort(monkeypatch, *options)] == ["b"]
    for place in ("slides/image.zarr", "s3://bucket/image.svs"):
        (tmp_path / "slides" / "image.zarr").mkdir(exist_ok=True)
        assert [slide.id for slide in predicted_cohort(monkeypatch, place, "model", "out")] == [
            "image"
        ]
    write_cohort(tmp_path, ["slides/a.tif,,normal,p,train,"])
    assert predicted_cohort(monkeypatch, "cohort.csv", "model", "out").has_splits


def test_a_model_where_predict_expects_slides_is_told_the_order(small_run, tmp_path, capsys):
    folder = small_run[0]
    model = str(folder / "out" / "model")
    assert main(["predict", model, str(tmp_path / "out"), str(folder / "t2.tif")]) == 1
    shown = capsys.readouterr().err
    assert model in shown
    assert "SLIDES MODEL PREDICTIONS" in shown
    assert not list(tmp_path.iterdir())


def test_the_windows_of_slides_to_come_are_estimated_from_those_planned():
    windows = WindowsToPredict(slides=4)
    assert windows.add(100) == 400
    assert str(windows) == "0 of 4 slides, total estimated"
    windows.end(SlideOutcome(slide="a", status="skipped"))
    assert windows.add(40) == 210  # three slides of 70
    windows.end(SlideOutcome(slide="b", status="done"))
    assert (windows.add(10), windows.ended) == (150, 2)
    assert str(windows) == "2 of 4 slides"


def test_slides_that_stay_partial_add_no_windows_to_the_estimate():
    windows = WindowsToPredict(slides=3)
    lost = "9 cells could not be read"
    windows.end(SlideOutcome(slide="a", status="partial", reason=f"unchanged; {lost}"))
    assert windows.add(100) == 200
    windows.end(SlideOutcome(slide="b", status="partial", reason=lost))
    assert windows.add(50) == 150
    assert str(windows) == "2 of 3 slides"


def test_a_log_has_no_line_for_each_slide_and_block(capsys):
    with windows_bar("predict", slides=50) as bar:
        for number in range(50):
            bar.add_slide({"windows": 30})
            bar.advance({"windows": 30})
            bar.end_slide(SlideOutcome(slide=str(number), status="done"))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) < 10
    assert "1500/1500" in lines[-1]
    assert "50 of 50 slides" in lines[-1]


def test_windows_that_are_not_counted_yet_are_not_shown_as_zero(capsys):
    with windows_bar("predict", slides=2) as bar:
        bar.end_slide(SlideOutcome(slide="a", status="failed"))
        shown = capsys.readouterr().err
        assert "0/?" in shown
        assert "0/0" not in shown
        assert str(bar.windows) == "1 of 2 slides, finding tissue"
        bar.add_slide({"windows": 30})
        assert str(bar.windows) == "1 of 2 slides"
