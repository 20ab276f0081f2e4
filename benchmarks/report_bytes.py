"""How large, how slow to make and how slow to open the report of CAMELYON16's test set would be: 129 made slides.

Pixels are noise, which JPEG can least compress; every slide has a heatmap and false positives, more in all than are
pictured. python benchmarks/report_bytes.py; with a Chromium at hand it is opened too.
"""

import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import tifffile
from gigaslide.eval import EvaluateSettings, evaluate_cohort
from gigaslide.wsi import Cohort

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from browser import Browser, find_chromium
from predictions import LESION, Bench

SLIDES, TUMOR = 129, 49


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        rng = np.random.default_rng(0)
        first = bench.slide("s0", "tumor", tumor=(LESION,))
        noise = rng.integers(0, 256, (700, 900, 3)).astype(np.uint8)
        options = {"tile": (256, 256), "photometric": "rgb", "resolution": (5000, 5000), "resolutionunit": "CENTIMETER"}
        tifffile.imwrite(first.path, noise, metadata=None, **options)
        bench.rows.clear()
        for index in range(SLIDES):
            row = replace(first, id=f"test_{index:03d}", patient=f"p{index}")
            bench.rows.append(row if index < TUMOR else replace(row, label="normal", annotation=None))
            points = [(*rng.integers(0, 690, 2), p) for p in rng.uniform(0.5, 1, 4)]
            heat = rng.uniform(0, 1, (11, 15)).astype(np.float32)
            bench.predict(row.id, points=points, probability=heat)
        begun = time.process_time()
        cohort = Cohort(slides=tuple(bench.rows))
        got = evaluate_cohort(cohort, bench.predictions, bench.folder / "out", EvaluateSettings())
        report = bench.folder / "out" / "report.html"
        crops = len(got.crops)
        print(f"{SLIDES} slides of noise, {crops} mistakes pictured: {report.stat().st_size / 1e6:.1f} MB of 60 MB")
        print(f"made in {time.process_time() - begun:.1f} CPU s, figures and 2000 resamples included")
        if program := find_chromium():
            with Browser(program, bench.folder / "profile") as browser:
                tab = browser.tab()
                begun = time.perf_counter()
                tab.open(report)
                print(f"opened in {time.perf_counter() - begun:.1f} s")
                begun = time.perf_counter()
                tab.run("document.querySelectorAll('#slide-table th button')[3].click()")
                print(f"sorted in {time.perf_counter() - begun:.2f} s")


if __name__ == "__main__":
    main()
