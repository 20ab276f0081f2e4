"""evaluate() from files to folder: figures by hand, slides that fail, and a report that stands alone."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import tifffile
from gigaslide.eval import EvaluateSettings, JudgementStatus, evaluate, find_evaluation, slides_to_evaluate
from gigaslide.eval.plots import froc_plot, roc_plot
from gigaslide.wsi import (
    Annotation,
    CellStatus,
    Cohort,
    CohortSlide,
    Detections,
    Heatmap,
    Outline,
    Recipe,
    ScoreError,
    SettingsError,
)
from shapely.geometry import Polygon, box

WIDTH, HEIGHT, MPP = 900, 700, 2.0
STRIDE = 64.0
ROWS, COLUMNS = 11, 15
LESION = box(512, 128, 768, 320)  # 4 × 3 cells: columns 8..11, rows 2..4
ITC = box(100, 520, 130, 550)  # 60 µm; inside cell (8, 1) and its neighbours to the right
QUICK = EvaluateSettings(resamples=200, picture_px=300)


class Bench:
    """A folder with slides, annotations and predictions, one call each."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.predictions, self.rows = folder, folder / "predictions", []
        self.predictions.mkdir()

    def slide(self, name: str, label: str, *, patient: str = "", tumor: tuple[Polygon, ...] = (), scan: bool = True):
        path = self.folder / "scans" / f"slide-{len(self.rows)}.tif"
        if scan:
            path.parent.mkdir(exist_ok=True)
            pixels = np.full((HEIGHT, WIDTH, 3), 235, np.uint8)
            pixels[100:400, 450:850] = (200, 120, 170)
            resolution = (10_000 / MPP, 10_000 / MPP)
            options = {"tile": (256, 256), "photometric": "rgb", "resolution": resolution, "metadata": None}
            tifffile.imwrite(path, pixels, resolutionunit="CENTIMETER", **options)
        annotation = None
        if tumor:
            annotation = self.folder / f"annotation-{len(self.rows)}.geojson"
            outlines = tuple(Outline(name=str(i), group="Tumor", polygon=p) for i, p in enumerate(tumor))
            Annotation(outlines=outlines).save(annotation)
        row = CohortSlide(
            id=name, path=path, annotation=annotation, label=label, patient=patient, split="test"
        )  # fmt: skip
        self.rows.append(row)
        return row

    def predict(self, name: str, *, hot=(), cold=(), points=(), **changes) -> None:
        """hot, cold, failed, background: (row, column); p = 0.9, 0 or NaN; the others 0.1. points: (x, y, p)."""
        status = np.full((ROWS, COLUMNS), CellStatus.SCORED, np.uint8)
        probability = np.full((ROWS, COLUMNS), 0.1, np.float32)
        for cells, value in ((hot, 0.9), (cold, 0.0)):
            for cell in cells:
                probability[cell] = value
        for kind in (CellStatus.FAILED, CellStatus.BACKGROUND):
            for cell in changes.pop(kind.name.lower(), ()):
                status[cell] = kind
        probability[status != CellStatus.SCORED] = np.nan
        fields = {
            "slide": name,
            "probability": probability,
            "status": status,
            "origin_level0": (0.0, 0.0),
            "stride_level0": STRIDE,
            "centre_level0": 32.0,
            "centre_px": 16,
            "slide_size": (WIDTH, HEIGHT),
            "slide_mpp": MPP,
            "model_hash": "abc",
        }
        Heatmap(**{**fields, **changes}).save(self.predictions / name / "heatmap.zarr")
        xyp = np.array(points, np.float64).reshape(-1, 3)
        Detections.of_slide(name, xyp[:, :2], xyp[:, 2]).save(self.predictions / name / "detections.csv")

    def evaluate(self, settings: EvaluateSettings = QUICK, **options):
        return evaluate(
            Cohort(slides=tuple(self.rows)), self.predictions, self.folder / "out", settings, **options
        )  # fmt: skip

    def html(self) -> str:
        return (self.folder / "out" / "report.html").read_text(encoding="utf-8")

    def metrics(self) -> dict:
        return json.loads((self.folder / "out" / "metrics.json").read_text(encoding="utf-8"))

    def table(self, name: str) -> pd.DataFrame:
        return pd.read_csv(self.folder / "out" / f"{name}.csv", keep_default_na=True)


@pytest.fixture
def real_bench(tmp_path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def bench(real_bench, monkeypatch) -> Bench:
    """Without the plots, which take longer than all the rest."""
    for plot in ("roc_plot", "froc_plot"):
        monkeypatch.setattr(f"gigaslide.eval.report.{plot}", lambda *_, **__: "<svg/>")
    return real_bench


IN_LESION = [(r, c) for r in (2, 3, 4) for c in (8, 9, 10, 11)]
EVERY_CELL = [(r, c) for r in range(ROWS) for c in range(COLUMNS)]


@pytest.fixture
def plain(bench) -> Bench:
    """One tumour slide, lesion found, with a false positive and one in isolated cells; a normal slide with another."""
    bench.slide("t", "tumor", tumor=(LESION, ITC), patient="p")
    bench.predict("t", hot=IN_LESION[:6], points=[(600, 200, 0.9), (610, 210, 0.7), (115, 535, 0.8), (200, 600, 0.3)])
    bench.slide("n", "normal", patient="q")
    bench.predict("n", hot=[(9, 1)], points=[(96, 608, 0.95)])
    return bench


def test_figures_by_hand(plain):
    told = []
    got = plain.evaluate(on_slide=told.append)
    figures = got.figures
    assert told == ["t", "n"]
    assert got.exit_status == 0
    # The centre squares (32 px in the middle of cells) of 12 cells lie in the lesion, that of (8, 1) touches the ITC.
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
    assert figures.froc["liu2017"].curve.at_rates == (0, 0, 1, 1, 1, 1)  # one false positive on one normal slide
    for value in (figures.patch_auc, figures.slide_auc, froc.score):
        assert value.low - 1e-9 <= value.value <= value.high + 1e-9


def test_tables_hold_every_lesion_and_detection(plain):
    plain.evaluate()
    lesions = plain.table("lesions").sort_values("area_mm2")
    assert lesions["kind"].tolist() == ["itc", "countable"]
    assert lesions["best_probability"].tolist() == [0.8, 0.9]
    assert lesions["area_mm2"].tolist() == pytest.approx([30 * 30 * 4e-6, 256 * 192 * 4e-6], rel=0.25)
    assert lesions[["x", "y"]].to_numpy() == pytest.approx(np.array([[115, 535], [640, 224]]), abs=3)
    detections = plain.table("detections")
    assert detections["verdict"].tolist() == ["hit", "hit", "ignored", "false positive", "false positive"]
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
    assert set(froc["definition"]) == {"gigaslide", "liu2017", "camelyon16-e1", "camelyon16-e2"}
    assert set(plain.table("roc")["of"]) == {"slide", "patch"}


def test_a_turned_detection_is_no_hit(bench):
    bench.slide("t", "tumor", tumor=(LESION,))
    bench.predict("t", points=[(200, 600, 0.9)])  # (600, 200) hits
    assert bench.evaluate().figures.froc["gigaslide"].score.value == 0


def test_pictures_show_truth_and_heatmap_where_they_are(plain):
    judgement = plain.evaluate(EvaluateSettings(resamples=0, picture_px=450)).judgements[0]
    truth, heatmap = (
        cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1].astype(int)
        for data in (judgement.pictures.truth, judgement.pictures.heatmap)
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
    blank = got.judgements[2]
    assert (blank.status, blank.score, blank.in_figures) == (JudgementStatus.NO_TISSUE, 0.0, True)
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
    lost = IN_LESION[6:]  # annotated and cold: as zeros they would lower the AUC, unscored they take no part
    plain.predict("t", hot=IN_LESION[:6], failed=lost, points=[(600, 200, 0.9)])
    got = plain.evaluate()
    judgement = got.judgements[0]
    assert judgement.status == JudgementStatus.PARTIAL
    assert judgement.not_looked_at == 6
    assert judgement.patches.tumor_not_scored == 6
    assert got.figures.tumor_patches == 7
    assert got.exit_status == 2
    assert plain.metrics()["slides"][0]["cells_failed"] == 6
    assert "6 cells where the model gave NaN" in plain.html()
    picture = cv2.imdecode(np.frombuffer(judgement.pictures.heatmap, np.uint8), cv2.IMREAD_GRAYSCALE)
    cell = picture[int(4.1 * 64 / 3) : int(4.9 * 64 / 3), int(9.1 * 64 / 3) : int(9.9 * 64 / 3)]
    assert cell.max() > 200  # hatched: both dark and light
    assert cell.min() < 90


def test_fault_44_a_cell_of_p_0_is_scored_and_a_cell_not_looked_at_is_not(plain):
    plain.predict("t", hot=IN_LESION[:6], cold=IN_LESION[6:])
    zeros = plain.evaluate()
    assert zeros.judgements[0].status == JudgementStatus.EVALUATED
    assert zeros.figures.tumor_patches == 13
    plain.predict("t", hot=IN_LESION[:6], background=IN_LESION[6:])
    bare = plain.evaluate()
    assert bare.figures.tumor_patches == 7
    assert bare.judgements[0].patches.tumor_not_scored == 6
    assert bare.figures.patch_auc.value > zeros.figures.patch_auc.value


def test_fault_44_a_slide_of_which_nothing_was_read_has_no_score(plain):
    plain.predict("t", failed=EVERY_CELL)
    got = plain.evaluate()
    assert got.judgements[0].score is None
    assert "no cell could be scored" in got.judgements[0].reason
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


class Page(HTMLParser):
    """Balance of tags, and everything that could reach outside."""

    VOID = ("meta", "img", "br", "link", "input", "hr")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.links, self.tags, self.text = [], [], [], ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href", "srcset", "action", "data", "poster")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_fault_51_names_are_escaped_and_the_report_stands_alone(real_bench):
    bench = real_bench
    name, patient = """<script>alert("x")<'&b>""", '"><img src=x onerror=alert(1)></script>'
    bench.slide(name, "tumor", tumor=(LESION,), patient=patient)
    bench.predict(name, hot=IN_LESION, points=[(600, 200, 0.9)])
    bench.slide("n<b>", "normal", patient="q")
    bench.predict("n<b>")
    bench.slide("lost<script>", "normal")
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


def test_a_missing_prediction_is_listed_and_stops_nothing(plain):
    plain.slide("lost", "tumor", tumor=(LESION,))
    got = plain.evaluate()
    assert [j.slide.id for j in got.judgements if j.status == JudgementStatus.MISSING] == ["lost"]
    assert got.exit_status == 2
    assert got.figures.countable_lesions == 1
    assert "no prediction at lost/heatmap.zarr" in Page(plain.html()).text
    row = plain.table("slides").iloc[2]
    assert row["status"] == "missing"
    assert np.isnan(row["score"])
    assert pd.isna(row["lesions"])


def broken_annotation(bench: Bench) -> None:
    bench.rows[0].annotation.write_text("{", encoding="utf-8")


def contradiction(bench: Bench) -> None:
    bench.rows[0] = bench.rows[0].__class__(**{**bench.rows[0].__dict__, "label": "normal"})


def annotation_without_tumour(bench: Bench) -> None:
    outline = Outline(name="0", group="Stroma", polygon=LESION)
    Annotation(outlines=(outline,)).save(bench.rows[0].annotation)


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
    (bench.predictions / "t" / "detections.csv").write_text("slide,x,y,probability\nt,1,2,nan\n", encoding="utf-8")


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (broken_annotation, "annotation-0.geojson"),
        (contradiction, "shows tumour, but the slide is labelled normal"),
        (annotation_without_tumour, "shows no tumour, but the slide is labelled tumor"),
        (other_slides_heatmap, "holds the prediction of u"),
        (other_size, "the heatmap is of a slide of (700, 900) px"),
        (other_spacing, "at 1 µm/px"),
        (unfinished, "not finished, 1 cells to go"),
        (no_detections_file, "detections.csv"),
        (nan_detection, "probability nan"),
    ],
)
def test_a_slide_that_cannot_be_judged_is_left_out_with_its_reason(plain, harm, words):
    harm(plain)
    got = plain.evaluate()
    assert got.judgements[0].status == JudgementStatus.FAILED
    assert words in got.judgements[0].reason
    assert words in Page(plain.html()).text
    assert (got.figures.tumor_slides, got.figures.normal_slides) == (0, 1)
    assert got.exit_status == 2


def test_a_group_with_a_meaning_of_its_own_is_tumour(plain):
    annotation_without_tumour(plain)
    got = plain.evaluate(QUICK.model_copy(update={"groups": {"Stroma": "tumor"}}))
    assert got.judgements[0].status == JudgementStatus.EVALUATED
    assert got.figures.countable_lesions == 1


def test_heatmaps_of_two_models_are_told_and_not_all_good(plain):
    plain.predict("n", hot=[(9, 1)], points=[(96, 608, 0.95)], model_hash="other")
    got = plain.evaluate()
    assert got.metrics["models"] == ["abc", "other"]
    assert got.exit_status == 2
    assert "2 different models: abc, other" in Page(plain.html()).text


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


def test_a_cohort_without_splits_is_evaluated_whole(plain):
    cohort = Cohort(slides=tuple(replace(row, split="") for row in plain.rows))
    assert [slide.id for slide in slides_to_evaluate(cohort, QUICK)] == ["t", "n"]
    assert slides_to_evaluate(Cohort(slides=(replace(plain.rows[0], split="train"),)), QUICK) == []


def test_a_fault_of_ours_costs_one_slide(plain, monkeypatch):
    def judge(slide, *_):
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("gigaslide.eval.evaluation.judge_slide", judge, raising=True)
    got = plain.evaluate()
    assert [j.reason for j in got.judgements] == ["ZeroDivisionError: oh"] * 2
    assert got.exit_status == 1
    assert "0 of 2 slides" in Page(plain.html()).text


def test_tumour_without_outlines_counts_for_the_slide_figures_only(plain):
    plain.slide("unlined", "tumor")
    plain.predict("unlined", hot=[(0, 0)], points=[(32, 32, 0.9)])
    got = plain.evaluate()
    assert (got.figures.tumor_slides, got.figures.lesion_slides) == (2, 2)
    assert "tumour is not outlined" in Page(plain.html()).text
    assert plain.table("detections")["verdict"].tolist()[-1] == "not judged"


def test_a_slide_that_cannot_be_opened_has_figures_but_no_picture(plain):
    before = plain.evaluate().figures
    plain.rows[0].path.unlink()
    got = plain.evaluate()
    assert got.judgements[0].pictures is None
    assert got.figures.patch_auc == before.patch_auc
    assert "no such file" in Page(plain.html()).text


def test_slides_without_label_are_left_out(plain):
    plain.slide("x", "")
    plain.predict("x")
    assert plain.evaluate().judgements[2].status == JudgementStatus.NO_LABEL


def test_only_the_split_is_evaluated(plain):
    plain.rows[1] = CohortSlide(**{**plain.rows[1].__dict__, "split": "validation"})
    assert [j.slide.id for j in plain.evaluate().judgements] == ["t"]
    assert len(plain.evaluate(EvaluateSettings(split="", resamples=9)).judgements) == 2
    with pytest.raises(SettingsError, match="there are test, validation"):
        plain.evaluate(EvaluateSettings(split="train"))


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


def test_no_predictions_at_all_is_an_error(plain, tmp_path):
    with pytest.raises(ScoreError, match="predict the slides first"):
        evaluate(Cohort(slides=tuple(plain.rows)), tmp_path / "none", tmp_path / "out", QUICK)


def test_plots_are_the_same_bytes_each_time(plain):
    figures = plain.evaluate().figures
    assert roc_plot(figures) == roc_plot(figures)
    assert froc_plot(figures, confidence=0.95) == froc_plot(figures, confidence=0.95)


def test_rates_must_ascend():
    with pytest.raises(ValueError, match="ascending"):
        EvaluateSettings(false_positives_per_slide=(1.0, 0.5))
