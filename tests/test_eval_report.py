"""The folder of an evaluation: a page that stands alone, whole or absent, the same bytes each time."""

import re

import pytest
from gigaslide.eval import EvaluateSettings, find_evaluation
from gigaslide.eval.plots import froc_plot, roc_plot
from gigaslide.wsi import Cohort, Recipe, SettingsError
from predictions import IN_LESION, LESION, QUICK, Bench, Page


def test_fault_51_names_are_escaped_and_the_report_stands_alone(real_bench):
    bench = real_bench
    name, patient = """<script>alert("x")<'&b>""", '"><img src=x onerror=alert(1)></script>'
    bench.slide(name, "tumor", tumor=(LESION,), patient=patient)
    bench.predict(name, hot=IN_LESION, points=[(600, 200, 0.9)])
    bench.slide("n<b>", "normal", patient="q")
    bench.predict("n<b>")
    bench.slide("lost<script>", "normal", scan=False)
    bench.evaluate()
    html = bench.html()
    page = Page(html)
    assert page.open == []
    assert "script" not in page.tags
    assert name in page.text  # what the reader sees is the name itself
    assert patient in page.text
    assert page.tags.count("img") == 2 + 2 * 2
    assert page.links
    assert all(link.startswith(("data:image/", "#")) for link in page.links)
    assert not re.search(r"@import|url\(", html)
    targets = set(re.findall(r'id="([^"]+)"', html))
    assert {link[1:] for link in page.links if link.startswith("#")} <= targets


def found(bench: Bench) -> dict | None:
    return find_evaluation(Cohort(slides=tuple(bench.rows)), bench.predictions, bench.folder / "out", QUICK)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("metrics.json", None),
        ("metrics.json", "{"),
        ("metrics.json", "[]"),
        ("metrics.json", "{}"),
        ("report.html", None),
        ("report.html", ""),
    ],
)
def test_a_damaged_evaluation_is_not_there(plain, name, text):
    metrics = plain.evaluate().metrics
    assert found(plain) == metrics == plain.metrics()
    file = plain.folder / "out" / name
    file.unlink() if text is None else file.write_text(text, encoding="utf-8")
    assert found(plain) is None


def test_the_same_input_gives_the_same_bytes(plain):
    plain.evaluate()
    first = {p.name: p.read_bytes() for p in (plain.folder / "out").iterdir()}
    plain.evaluate()
    assert {p.name: p.read_bytes() for p in (plain.folder / "out").iterdir()} == first


def test_the_folder_is_whole_or_absent(plain, monkeypatch):
    def no_space(*_, **__):
        raise OSError("no space left")

    monkeypatch.setattr("gigaslide.eval.evaluation.report_html", no_space)
    with pytest.raises(OSError, match="no space"):
        plain.evaluate()
    assert {p.name for p in plain.folder.iterdir() if "out" in p.name} == set()


def test_a_folder_that_is_not_an_evaluation_is_never_replaced(plain):
    for name in ("thesis.docx", "recipe.json"):
        out = plain.folder / "out"
        out.mkdir()
        Recipe(stage="train", settings={}, inputs={}).save(out / name)
        with pytest.raises(SettingsError, match="give a new folder"):
            plain.evaluate()
        (out / name).unlink()
        out.rmdir()
    plain.evaluate()
    plain.evaluate()  # over its own


def test_plots_are_the_same_bytes_each_time(plain):
    figures = plain.evaluate().figures
    assert roc_plot(figures) == roc_plot(figures)
    assert froc_plot(figures, confidence=0.95) == froc_plot(figures, confidence=0.95)


def test_rates_must_ascend():
    with pytest.raises(ValueError, match="ascending"):
        EvaluateSettings(false_positives_per_slide=(1.0, 0.5))
