"""Slides with predictions of known quality, one call each, and what an evaluation makes of them."""

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.eval import EvaluateSettings, evaluate_cohort
from gigaslide.wsi import Annotation, CellStatus, Detections, Heatmap, Outline
from shapely.geometry import Polygon, box

WIDTH, HEIGHT, MPP = 900, 700, 2.0
STRIDE = 64.0
ROWS, COLUMNS = 11, 15
LESION = box(512, 128, 768, 320)  # 4 × 3 cells: columns 8..11, rows 2..4
ITC = box(100, 520, 130, 550)  # 60 µm; inside cell (8, 1) and its neighbours to the right
IN_LESION = [(r, c) for r in (2, 3, 4) for c in (8, 9, 10, 11)]
EVERY_CELL = [(r, c) for r in range(ROWS) for c in range(COLUMNS)]
QUICK = EvaluateSettings(resamples=200, picture_px=300)
OFFICIAL = QUICK.model_copy(update={"official": True})


class Bench:
    """A folder with slides, annotations and predictions, one call each."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.predictions, self.rows = folder, folder / "predictions", []
        self.predictions.mkdir()

    def slide(
        self,
        name: str,
        label: str,
        *,
        patient: str = "",
        tumor: tuple[Polygon, ...] = (),
        scan: bool = True,
        **fields,
    ):
        path = self.folder / "scans" / f"slide-{len(self.rows)}.tif"
        if scan:
            path.parent.mkdir(exist_ok=True)
            pixels = np.full((HEIGHT, WIDTH, 3), 235, np.uint8)
            pixels[100:400, 450:850] = (200, 120, 170)
            resolution = (10_000 / MPP, 10_000 / MPP)
            options = {
                "tile": (256, 256),
                "photometric": "rgb",
                "resolution": resolution,
                "metadata": None,
            }
            tifffile.imwrite(path, pixels, resolutionunit="CENTIMETER", **options)
        annotation = None
        if tumor:
            annotation = self.folder / f"annotation-{len(self.rows)}.geojson"
            outlines = tuple(
                Outline(name=str(i), group="Tumor", polygon=p) for i, p in enumerate(tumor)
            )
            Annotation(outlines=outlines).save(annotation)
        row = CohortSlide(
            id=name,
            path=path,
            annotation=annotation,
            label=label,
            patient=patient,
            split="test",
            **fields,
        )
        self.rows.append(row)
        return row

    def predict(self, name: str, *, hot=(), cold=(), points=(), **changes) -> None:
        """hot, cold, failed, background: (row, column); p = 0.9, 0 or NaN; the others 0.1. points:
        (x, y, p)."""
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
        Detections.of_slide(name, xyp[:, :2], xyp[:, 2]).save(
            self.predictions / name / "detections.csv"
        )

    def noise(self, *, slides: int, with_tumor: int) -> None:
        """So many slides of noise, which JPEG can least compress, each with a heatmap and four
        detections."""
        rng = np.random.default_rng(0)
        first = self.slide("s0", "tumor", tumor=(LESION,))
        pixels = rng.integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
        options = {
            "tile": (256, 256),
            "photometric": "rgb",
            "resolution": (10_000 / MPP, 10_000 / MPP),
        }
        tifffile.imwrite(first.path, pixels, metadata=None, resolutionunit="CENTIMETER", **options)
        self.rows.clear()
        for index in range(slides):
            row = replace(first, id=f"test_{index:03d}", patient=f"p{index}")
            self.rows.append(
                row if index < with_tumor else replace(row, label="normal", annotation=None)
            )
            points = [(*rng.integers(0, 690, 2), p) for p in rng.uniform(0.5, 1, 4)]
            self.predict(
                row.id,
                points=points,
                probability=rng.uniform(0, 1, (ROWS, COLUMNS)).astype(np.float32),
            )

    def evaluate(self, settings: EvaluateSettings = QUICK, **options):
        return evaluate_cohort(
            Cohort(slides=tuple(self.rows)),
            self.predictions,
            self.folder / "out",
            settings,
            **options,
        )

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
    monkeypatch.setattr("gigaslide.eval.report.rendering.to_svg", lambda _: "<svg/>")
    return real_bench


@pytest.fixture
def plain(bench) -> Bench:
    """One tumour slide, lesion found, with a false positive and one in isolated cells; a normal
    slide with another."""
    bench.slide("t", "tumor", tumor=(LESION, ITC), patient="p")
    bench.predict(
        "t",
        hot=IN_LESION[:6],
        points=[(600, 200, 0.9), (610, 210, 0.7), (115, 535, 0.8), (200, 600, 0.3)],
    )
    bench.slide("n", "normal", patient="q")
    bench.predict("n", hot=[(9, 1)], points=[(96, 608, 0.95)])
    return bench


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
        self.links += [
            value
            for name, value in attrs
            if name in ("src", "href", "srcset", "action", "data", "poster")
        ]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def detections_folder(tmp_path: Path, **files: str) -> Path:
    """Folder of CSV files with these texts."""
    path = tmp_path / "given"
    path.mkdir(exist_ok=True)
    for name, text in files.items():
        (path / f"{name}.csv").write_text(text, encoding="utf-8")
    return path
