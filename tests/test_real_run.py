"""The reduced real run: real tissue, real outlines, patients split, from the CSV to the report in minutes.

It shows that the way holds on real input; what a full training reaches is told in the README's own words, not here.
"""

import json

import numpy as np
import pytest
from conftest import REAL_DATA
from gigaslide.cli import main
from gigaslide.wsi import Cohort, Heatmap, open_slide

pytestmark = [
    pytest.mark.real_run,
    pytest.mark.skipif(not (REAL_DATA / "colon").exists(), reason="needs ../shared/data/colon beside the repository"),
]


def reduced_cohort() -> Cohort:
    """Two training slides of each kind, one validation slide of each, four test slides of two patients."""
    wanted = {"patient_01_slide_1", "patient_02_slide_4", "patient_05_slide_1", "patient_09_slide_1"}
    wanted |= {"patient_03_slide_2", "patient_15_slide_1", "patient_10_slide_1", "patient_11_slide_1"}
    slides = list(Cohort.load(REAL_DATA / "colon" / "cohort.csv"))
    normal_tests = [s for s in slides if s.split == "test" and s.label == "normal"][:2]
    return Cohort.of_rows([s for s in slides if s.id in wanted] + normal_tests)


def test_from_real_slides_to_a_report(tmp_path):
    cohort = reduced_cohort()
    cohort.save(tmp_path / "cohort.csv")
    tiles = "--mpp 1.2412 --patch-px 139 --centre-px 64 --tumor-per-slide 150 --normal-per-slide 150"
    training = "--train.examples 3200 --train.validate-every 1600 --train.validation-patches 128"
    gentle = "--train.augment.brightness 0 --train.augment.contrast 0.2 --evaluate.resamples 200"
    places = ["run", str(tmp_path / "cohort.csv"), str(tmp_path / "out")]
    status = main([*places, *tiles.split(), *training.split(), *gentle.split()])
    assert status == 0
    metrics = json.loads((tmp_path / "out" / "report" / "metrics.json").read_text())
    assert metrics["counts"]["tumor_slides"] == 2
    assert metrics["counts"]["normal_slides"] == 2
    for name in ("patch_auc", "slide_auc"):
        assert 0 <= metrics[name]["low"] <= metrics[name]["value"] <= metrics[name]["high"] <= 1
    # So short a training teaches little, so nothing is asked of the figures but that they rest on the right truth.
    assert metrics["counts"]["tumor_patches"] > 20
    assert metrics["counts"]["normal_patches"] > 20
    for slide in cohort.of_split("test"):
        heatmap = Heatmap.load(tmp_path / "out" / "predictions" / slide.id / "heatmap.zarr")
        with open_slide(slide.path) as opened:
            cover = np.array(heatmap.probability.shape[::-1]) * heatmap.stride_level0
            assert (cover >= opened.size).all()
            assert (cover < np.array(opened.size) + heatmap.stride_level0).all()
