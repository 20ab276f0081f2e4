"""The reduced real run: real tissue, real outlines, patients split, from the CSV to the report in minutes.

It shows that the way holds on real input and that a training of minutes learns; it says nothing of a full one.
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


LEAST_PATCH_AUC = 0.7  # swapped labels would give less than 0.3, no learning 0.5


def reduced_cohort() -> Cohort:
    """All slides to learn from, and of the test patients two slides with tumour and two without."""
    slides = list(Cohort.load(REAL_DATA / "colon" / "cohort.csv"))
    tests = {"patient_10_slide_1", "patient_11_slide_1"}
    tests |= {slide.id for slide in [s for s in slides if s.split == "test" and s.label == "normal"][:2]}
    return Cohort.of_rows([slide for slide in slides if slide.split != "test" or slide.id in tests])


def test_from_real_slides_to_a_report(tmp_path):
    cohort = reduced_cohort()
    cohort.save(tmp_path / "cohort.csv")
    tiles = "--mpp 1.3 --patch-px 139 --centre-px 64 --tumor-per-slide 150 --normal-per-slide 150"
    training = "--train.examples 9600 --train.validate-every 4800 --train.validation-patches 256"
    gentle = "--train.augment.brightness 0.1 --train.augment.contrast 0.3 --evaluate.resamples 200"
    places = ["run", str(tmp_path / "cohort.csv"), str(tmp_path / "out")]
    status = main([*places, *tiles.split(), *training.split(), *gentle.split()])
    assert status == 0
    metrics = json.loads((tmp_path / "out" / "report" / "metrics.json").read_text())
    assert metrics["counts"]["tumor_slides"] == 2
    assert metrics["counts"]["normal_slides"] == 2
    for name in ("patch_auc", "slide_auc"):
        assert 0 <= metrics[name]["low"] <= metrics[name]["value"] <= metrics[name]["high"] <= 1
    assert metrics["patch_auc"]["value"] >= LEAST_PATCH_AUC
    assert metrics["counts"]["tumor_patches"] > 20
    assert metrics["counts"]["normal_patches"] > 20
    for slide in cohort.of_split("test"):
        heatmap = Heatmap.load(tmp_path / "out" / "predictions" / slide.id / "heatmap.zarr")
        with open_slide(slide.path) as opened:
            cover = np.array(heatmap.probability.shape[::-1]) * heatmap.stride_level0
            assert (cover >= opened.size).all()
            assert (cover < np.array(opened.size) + heatmap.stride_level0).all()
