"""Tables and lines that commands print."""

import io

import pandas as pd
import pytest
from gigaslide.batch import BatchSummary, SlideOutcome
from gigaslide.cli.terminal.comparison_table import print_comparison
from gigaslide.cli.terminal.tables import print_metrics, print_summary, print_table
from gigaslide.eval import EvaluateSettings


def test_slides_without_tissue_are_named_in_one_line(capsys):
    outcomes = [
        SlideOutcome(slide=f"glass{n}", status=status, reason=reason, counts={"normal": 0})
        for n, (status, reason) in enumerate(
            [("done", "no tissue"), ("skipped", "unchanged; no tissue")]
        )
    ]
    outcomes.append(SlideOutcome(slide="good", status="done", counts={"normal": 3}))
    print_summary("tile", BatchSummary(outcomes=tuple(outcomes)))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[1].split() == ["2", "slides", "without", "tissue:", "glass0,", "glass1"]


def test_slides_that_failed_alike_share_one_line(capsys):
    reasons = [f"slides/s{k}.tif: has 0.5 µm/px; give --mpp 0.5" for k in range(7)]
    reasons[3] = "slides/s3.tif: no µm/px in the file"
    outcomes = [
        SlideOutcome(slide=f"s{k}", status="failed", reason=reason)
        for k, reason in enumerate(reasons)
    ]
    print_summary("tile", BatchSummary(outcomes=tuple(outcomes)))
    _, alike, alone = capsys.readouterr().out.splitlines()
    assert alike.split(maxsplit=1)[1] == (
        "6 slides (s0, s1, s2, s4, s5, …): has 0.5 µm/px; give --mpp 0.5"
    )
    assert alone.split(maxsplit=1)[1] == "s3: slides/s3.tif: no µm/px in the file"


def a_figure(value: float | None = 0.5, low: float | None = None, **more) -> dict:
    high = None if low is None else low + 0.25
    return {"value": value, "low": low, "high": high, **more}


def some_metrics(models: list[str]) -> dict:
    rates = {"0.25": a_figure(0.125, 0.0), "8": a_figure(1.0, note="no spread")}
    froc = {"score": a_figure(0.75, 0.5), "sensitivity_at_false_positives_per_slide": rates}
    return {
        "models": models,
        "patch_auc": a_figure(None, undefined="no patches"),
        "slide_auc": a_figure(1.0, note="no spread"),
        "froc": {"gigaslide": froc},
        "settings": {"confidence": 0.95},
        "operating_point": {
            "threshold": 0.25,
            "origin": "",
            "tumor_slides": 3,
            "tumor_slides_called": 2,
            "normal_slides": 4,
            "normal_slides_called": 1,
        },
    }


def test_metrics_are_a_table_with_numbers_to_the_right(capsys):
    print_metrics(some_metrics(["abc"]))
    header, *rows, calls = capsys.readouterr().out.splitlines()
    assert calls.endswith("0.25: 2 of 3 tumour slides, 1 of 4 normal slides")
    assert header.split() == ["figure", "value", "95%", "interval"]
    end = header.index("value") + len("value")
    assert [row[end - 5 : end].strip() for row in rows] == ["–", "1.000", "0.750", "0.125", "1.000"]
    assert rows[0].endswith("not defined: no patches")
    assert rows[1].endswith("no spread")
    assert rows[2].endswith("0.500 to 0.750")
    assert rows[4].endswith("1.000")
    assert not [row for row in rows if row != row.rstrip()]


def test_the_name_of_a_figure_stays_on_one_line_of_a_narrow_terminal(monkeypatch):
    screen = io.StringIO()
    screen.isatty = lambda: True
    monkeypatch.setattr("sys.stdout", screen)
    monkeypatch.setenv("COLUMNS", "80")
    metrics = some_metrics(["abc"])
    metrics["slide_auc"]["note"] = "no interval: every resample gives the same value"
    print_metrics(metrics)
    assert "sensitivity at 0.25 FP per slide" in screen.getvalue()


def test_predictions_of_two_models_are_named(capsys):
    print_metrics(some_metrics(["abc"]))
    assert "models" not in capsys.readouterr().out
    print_metrics(some_metrics(["abc", "def"]))
    assert "2 different models: abc, def" in capsys.readouterr().out


@pytest.mark.parametrize("width", [80, 140])
def test_a_table_fits_a_terminal_and_is_whole_in_a_pipe(width, monkeypatch):
    table = pd.DataFrame(
        {"slide": ["a" * 90, "b"], "patches": [12345, 7], "share": [0.5, float("nan")], "n": "x y"}
    )
    for is_terminal in (True, False):
        out = io.StringIO()
        monkeypatch.setattr(out, "isatty", lambda is_terminal=is_terminal: is_terminal)
        monkeypatch.setattr("sys.stdout", out)
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setenv("TERM", "dumb")
        print_table(table)
        lines = out.getvalue().splitlines()
        if is_terminal:
            assert max(map(len, lines)) <= width
            assert "".join(line.split(" ")[0] for line in lines[1:]) == "a" * 90 + "b"
        else:
            assert len(lines) == 3
            assert lines[1].split() == ["a" * 90, "12345", "0.5", "x", "y"]
            assert lines[2].split() == ["b", "7", "x", "y"]


def test_a_comparison_names_its_figures_in_words(capsys):
    one = {"value": 0.5, "low": None, "high": None, "note": "too few patients"}
    found = {"first": one, "second": one, "difference": one, "p_value": 1.0}
    print_comparison(
        {
            "names": ["a", "b"],
            "exclusions": [],
            "slides": ["s1"],
            "differences": {"froc_gigaslide_at_0.25": found, "froc_liu2017": found},
            "heatmaps": None,
            "seconds": None,
        },
        EvaluateSettings(),
    )
    *_, header, row = capsys.readouterr().out.splitlines()
    assert header.split()[:3] == ["figure", "a", "b"]
    assert row.strip().startswith("Lesions found at 0.25 false positives per slide, gigaslide")
