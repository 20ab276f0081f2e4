"""Size of a report of 129 slides (as CAMELYON16's test set has), seconds to make and to open it.

    python benchmarks/eval/report_bytes.py

Pixels are noise, which JPEG can least compress; every slide has a heatmap and false positives, more
in all than are pictured. The report is opened where a Chromium is installed.
"""

import sys
import tempfile
import time
from pathlib import Path

from gigaslide.eval import EvaluateSettings

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from browser import Browser, find_chromium
from predictions import Bench

SLIDES, TUMOR = 129, 49


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        bench.noise(slides=SLIDES, with_tumor=TUMOR)
        begun = time.process_time()
        got = bench.evaluate(EvaluateSettings())
        report = bench.folder / "out" / "report.html"
        crops = len(got.crops)
        print(
            f"{SLIDES} slides of noise, {crops} mistakes pictured: "
            f"{report.stat().st_size / 1e6:.1f} MB of 60 MB"
        )
        print(
            f"made in {time.process_time() - begun:.1f} CPU s, figures and 2000 resamples included"
        )
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
