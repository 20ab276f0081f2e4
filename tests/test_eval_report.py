"""The folder of an evaluation: a page that stands alone, whole or absent, the same bytes each
time."""

import base64
import hashlib
import json
import re
import shlex

import matplotlib as mpl
import numpy as np
import pytest
import tifffile
from gigaslide.cli import main
from gigaslide.cli.terminal.tables import print_metrics
from gigaslide.cohort import Cohort
from gigaslide.eval import EvaluateSettings, find_evaluation
from gigaslide.eval.report.plots import draw_froc, draw_frocs, draw_rocs, to_svg
from gigaslide.eval.report.provenance import format_command
from gigaslide.eval.statistics.operating import FalsePositive, OperatingPoint
from gigaslide.eval.statistics.scores import roc_curve
from gigaslide.storage import Recipe, SettingsError
from gigaslide.training.report.history import HistoryRow
from gigaslide.training.report.plots import draw_curve
from predictions import HEIGHT, IN_LESION, LESION, QUICK, WIDTH, Bench, Page

LOSSES = {
    "seconds": 1.0,
    "learning_rate": 0.1,
    "train_loss": 0.5,
    "train_accuracy": 0.8,
    "validation_loss": 0.6,
    "validation_auc": 0.7,
}


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
    assert (
        page.tags.count("script") == 1
    )  # ours, and its hash is in the policy; the others are words
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', html)[1]
    script = re.search(r"<script>(.*)</script>", html, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src &#39;sha256-{digest}&#39;" in policy
    assert "default-src &#39;none&#39;" in policy
    assert name in page.text  # what the reader sees is the name itself
    assert patient in page.text
    assert page.tags.count("img") == 4 + 2 * 2 + 1  # plots; two slides; what a click enlarges
    assert page.links
    assert all(link.startswith(("data:image/", "#")) for link in page.links)
    assert not re.search(r"@import|url\(", html)
    targets = set(re.findall(r'id="([^"]+)"', html))
    assert {link[1:] for link in page.links if link.startswith("#")} <= targets


def found(bench: Bench) -> dict | None:
    return find_evaluation(
        Cohort(slides=tuple(bench.rows)), bench.predictions, bench.folder / "out", QUICK
    )


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

    monkeypatch.setattr("gigaslide.eval.cohort_evaluation.evaluation_html", no_space)
    with pytest.raises(OSError, match="no space"):
        plain.evaluate()
    assert {p.name for p in plain.folder.iterdir() if "out" in p.name} == set()


def test_a_folder_that_is_not_an_evaluation_is_never_replaced(plain):
    for name in ("thesis.docx", "recipe.json"):
        out = plain.folder / "out"
        out.mkdir()
        Recipe(stage="train", settings={}, inputs={}).save(out / name)
        with pytest.raises(SettingsError, match=r"out: .*a new folder"):
            plain.evaluate()
        (out / name).unlink()
        out.rmdir()
    plain.evaluate()
    plain.evaluate()  # over its own


def test_plots_are_the_same_bytes_each_time(plain):
    found = plain.evaluate()
    assert to_svg(found.plot_roc()) == to_svg(found.plot_roc())
    assert to_svg(found.plot_froc()) == to_svg(found.plot_froc())


def test_a_users_own_matplotlibrc_changes_no_plot(plain, tmp_path):
    found = plain.evaluate()
    rows = [HistoryRow(examples=n, **LOSSES) for n in (10, 30)]
    draw_curve(rows, tmp_path / "plain.png")
    svg = to_svg(found.plot_froc())
    own = {"text.usetex": True, "font.family": "No Such Font", "axes.facecolor": "red"}
    with mpl.rc_context(own):
        assert to_svg(found.plot_froc()) == svg
        draw_curve(rows, tmp_path / "own.png")
    assert (tmp_path / "own.png").read_bytes() == (tmp_path / "plain.png").read_bytes()


def test_a_model_is_called_in_a_legend_what_it_is_called(plain):
    curve = roc_curve(np.array([0.9, 0.4, 0.7]), np.array([True, True, False]), noun="slides")
    names = ("_hidden", r"b$\x$", "half $", "\u6a21\u578b")
    froc = plain.evaluate().figures.froc["gigaslide"].curve
    rocs = to_svg(draw_rocs(dict.fromkeys(names, curve)))
    frocs = to_svg(draw_frocs(dict.fromkeys(names, froc), np.array([0.1, 10.0])))
    for svg, words in ((rocs, "AUC 0.500"), (frocs, f"score {froc.score:.3f}")):
        written = {one.strip() for one in re.findall("<!-- (.*?) -->", svg)}  # what its paths spell
        assert {f"{name}: {words}" for name in names} <= written


def test_the_legend_tells_the_real_rate_of_an_operating_point_beyond_the_axis(plain):
    figures = plain.evaluate().figures
    place = {"x": 1.0, "y": 2.0, "x_um": 1.0, "y_um": 2.0, "from_tumor_um": None}
    false = tuple(FalsePositive(slide="n", probability=0.9, **place) for _ in range(93))
    point = OperatingPoint(threshold=0.4, slides=2, lesions=1, missed=(), false_positives=false)
    figure = draw_froc(figures, confidence=0.95, point=point)
    words = [one.get_text() for one in figure.legends[0].get_texts()]
    assert "operating point: 1.000 at 46.5 (from 0.4 on), beyond this axis" in words
    assert any("0.827 at 8" in one for one in words)


def test_the_head_of_the_page_says_what_was_counted_by_hand(bench):
    """Three slides with tumour, five without; two and one of them are called."""
    tumor = {"t1": 0.9, "t2": 0.7, "t3": 0.2}
    normal = {"n1": 0.6, "n2": 0.1, "n3": 0.15, "n4": 0.05, "n5": 0.3}
    false = {
        "t1": [(200, 600, 0.8)],
        "n1": [(300, 300, 0.6), (96, 608, 0.55)],
        "n5": [(96, 96, 0.3), (96, 300, 0.3), (96, 608, 0.3)],
    }
    for name, p in (tumor | normal).items():
        is_tumor = name in tumor
        patient = "n1" if name == "n2" else name
        bench.slide(
            name,
            "tumor" if is_tumor else "normal",
            tumor=(LESION,) if is_tumor else (),
            patient=patient,
        )
        points = [*([(600, 200, p)] if is_tumor else []), *false.get(name, [])]
        bench.predict(name, probability=np.full((11, 15), p, np.float32), points=points)
    bench.evaluate(EvaluateSettings(resamples=0, picture_px=100, gallery=0))
    html = bench.html()
    lead = re.search(r'<p class="lead">(.*?)</p>', html, re.DOTALL)[1]
    assert " ".join(re.sub("<[^>]+>", "", lead).split()) == (
        "8 slides of 7 patients, 3 with tumour and 5 without, hold 3 countable lesions. At the "
        "operating point (probability of at least 0.5; not chosen on validation slides), the "
        "model finds 2 of 3 lesions and makes 3 false positives (0.38 per slide). It calls 2 of 3 "
        "tumour slides and 1 of 5 normal slides tumour."
    )
    tiles = re.findall(
        r'<div class="name">(.*?)</div>\s*<div class="value"><data[^>]*>(.*?)</data>', html
    )
    # Patches: 36 of tumour, 153 beside them at each of .9, .7 and .2, and 165 on each normal slide.
    patch_auc = (12 * (1131 + 76.5) + 12 * (978 + 76.5) + 12 * (495 + 76.5)) / (36 * 1284)
    assert dict(tiles) == {
        "Slide AUC": f"{13 / 15:.3f}",
        "Slide sensitivity": "0.667",
        "Slide specificity": "0.800",
        # the third lesion is found at 0.75 false positives per slide
        "FROC score": f"{(2 / 3 + 2 / 3 + 4) / 6:.3f}",
        "Lesions found at 8 false positives per slide": "1.000",
        "Patch AUC": f"{patch_auc:.3f}",
    }
    assert "0 resamples" not in html
    alts = re.findall(r'alt="([^"]*)"', html)
    assert any("average precision 0." in one for one in alts)
    assert any("Brier score 0." in one for one in alts)
    assert not [one for one in alts if "None" in one or re.search(r"\d\.\d{4}", one)]


def numbers_in(value) -> set[float]:
    """Every number of a JSON value."""
    if isinstance(value, dict | list):
        return set().union(
            *(numbers_in(one) for one in (value.values() if isinstance(value, dict) else value)),
            set(),
        )
    return {float(value)} if isinstance(value, int | float) else set()


def test_every_number_on_the_page_is_saved_beside_it(plain):
    plain.evaluate(QUICK.model_copy(update={"subgroups": ("patient",), "slide_threshold": 0.65}))
    saved = numbers_in(plain.metrics())
    for path in (plain.folder / "out").glob("*.csv"):
        for cell in re.split(r"[,\n]", path.read_text(encoding="utf-8")):
            saved |= {float(cell)} if re.fullmatch(r"-?\d+(\.\d*)?(e-?\d+)?", cell) else set()
    html = plain.html()
    shown = re.findall(r'<data value="([^"]+)">([^<]+)</data>', html)
    assert len(shown) > 150
    assert not {value for value, _ in shown if float(value) not in saved}
    table = {
        float(one)
        for one in re.findall(
            r"(?<=,)[\d.e-]+(?=,)", (plain.folder / "out" / "figures.csv").read_text()
        )
    }
    told = re.findall(
        r'<data value="([^"]+)">', html[html.index('id="figures"') : html.index('id="methods"')]
    )
    assert {float(one) for one in told} <= table  # as the page says
    assert len(told) > 40
    for value, words in shown:  # and what is read is what is saved
        number = float(re.sub(r"[^\d.+-]", "", words.replace("\u2212", "-")))
        digits = len(words.rstrip(" %\u202f").partition(".")[2])
        assert number == pytest.approx(
            float(value) * (100 if "%" in words else 1), abs=0.5 * 10**-digits + 1e-9
        )
    assert not re.search(
        r'value="([^"]+)">[^<]*</data>(–| to )<data value="\1"', html
    )  # no interval of no width
    assert "%: )" not in html
    # No result in a table escapes this check.
    cells = re.findall(r"<td[^>]*>([^<]+)</td>", html)
    bare = {c for c in cells if re.fullmatch(r"[\d.\u202f]+ ?%?", c)}
    assert {float(c) for c in bare} <= saved


def test_the_command_on_the_page_gives_the_same_settings(monkeypatch, plain):
    asked = EvaluateSettings(
        split="",
        groups={"Stroma's": "other"},
        false_positives_per_slide=(1.0, 3.0),
        slide_threshold=0.25,
        specificities=(0.8,),
        subgroups=("scanner", "the centre"),
        resamples=10,
        seed=3,
        gallery=0,
    )
    command = format_command("evaluate", ["-a cohort.csv", "it's/predictions", None], asked)
    given = []
    monkeypatch.setattr("gigaslide.cli.commands.evaluate.load_cohort", lambda path, _: str(path))
    monkeypatch.setattr(
        "gigaslide.cli.commands.evaluate.evaluate_stage", lambda *words: given.append(words) or 0
    )
    program, *words = shlex.split(command)
    assert program == "gigaslide"
    assert main(words) == 0
    assert [str(one) for one in given[0][:3]] == ["-a cohort.csv", "it's/predictions", "cohort.csv"]
    assert given[0][3] == asked
    assert (
        format_command("evaluate", ["a", "b", "c"], EvaluateSettings())
        == "gigaslide evaluate a b c"
    )


def test_the_page_names_the_table_and_folders_it_was_made_from(plain):
    Cohort(slides=tuple(plain.rows)).save(plain.folder / "my cohort.csv")
    words = [
        "evaluate",
        *(str(plain.folder / n) for n in ("my cohort.csv", "predictions", "out")),
        "--resamples",
        "20",
    ]
    assert (
        main(words) == 1
    )  # by this table the slides have other ids, and nobody predicted those: a page all the same
    shown = Page(plain.html()).text
    assert shlex.join(["gigaslide", *words]) in shown
    assert "arXiv:1703.02442" in shown


def test_a_slide_that_is_left_out_is_shown_too(plain):
    plain.slide("lost", "")
    got = plain.evaluate()
    assert got.pictures["lost"].truth[:2] == b"\xff\xd8"  # a JPEG
    assert got.pictures["lost"].heatmap is None
    assert got.metrics["cohort"] == json.loads(json.dumps(got.metrics["cohort"]))
    assert got.metrics["cohort"]["statuses"] == {"evaluated": 2, "no label": 1}
    assert got.metrics["cohort"]["patients"] == 2
    mistakes = re.findall(r'data-slide="(\w+)"[^>]* data-mistakes="([^"]+)"', plain.html())
    assert dict(mistakes) == {"t": "no", "n": "yes", "lost": "not judged"}


def test_the_page_stays_within_its_bytes(plain, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    options = {
        "tile": (256, 256),
        "photometric": "rgb",
        "resolution": (5000, 5000),
        "resolutionunit": "CENTIMETER",
    }
    for row in plain.rows:
        tifffile.imwrite(row.path, noise, metadata=None, **options)
    settings = EvaluateSettings(resamples=0)
    plain.evaluate(settings)
    large = len(plain.html().encode())
    monkeypatch.setattr("gigaslide.eval.report.pictures.REPORT_BYTES", 500_000)
    plain.evaluate(settings)
    assert len(plain.html().encode()) < 500_000 < large


def test_rates_must_ascend():
    with pytest.raises(ValueError, match="ascending"):
        EvaluateSettings(false_positives_per_slide=(1.0, 0.5))


@pytest.mark.parametrize(
    ("each", "words"),
    [(3, "too narrow: do not quote them"), (7, "Take intervals as rough"), (10, "")],
)
def test_few_patients_are_told_on_the_first_screen(bench, each, words):
    for number in range(each):
        bench.slide(f"t{number}", "tumor", tumor=(LESION,), patient=f"p{number}")
        bench.predict(f"t{number}", points=[(600, 200, 0.9)])
        bench.slide(f"n{number}", "normal", patient=f"q{number}")
        bench.predict(f"n{number}", points=[(96, 608, 0.3)])
    bench.evaluate()
    text = Page(bench.html()).text
    told = f"Only {each} patients with tumour and {each} patients without"
    assert (told in text, words in text) == (each < 10, True)
    assert each < 10 or "Only 10 patients" not in text


def test_where_every_resample_agrees_no_file_holds_an_interval(bench, capsys):
    for number in range(3):
        bench.slide(f"t{number}", "tumor", tumor=(LESION,), patient=f"p{number}")
        bench.predict(f"t{number}", hot=IN_LESION, points=[(600, 200, 0.9)])
        bench.slide(f"n{number}", "normal", patient=f"q{number}")
        bench.predict(f"n{number}")
    bench.evaluate()
    metrics = bench.metrics()
    for name in ("slide_auc", "froc_gigaslide"):
        assert [metrics["figures"][name][key] for key in ("value", "low", "high")] == [
            1,
            None,
            None,
        ]
    row = bench.table("figures").set_index("figure").loc["slide_auc"]
    assert row[["low", "high"]].isna().all()
    assert "every resample" in row["note"]
    assert bench.table("froc_band")[["low", "high"]].isna().all(axis=None)
    print_metrics(metrics)
    shown = capsys.readouterr().out
    assert re.search(r"slide AUC +1\.000 +no interval: every resample", shown)
