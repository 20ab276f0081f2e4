"""The reduced real run: real tissue, real outlines, patients split, from the CSV to the report in
minutes.

It shows that the way holds on real input and that a training of minutes learns; it says nothing of
a full one.
"""

import json

import numpy as np
import pytest
from conftest import REAL_DATA
from gigaslide.cli import main
from gigaslide.cohort import Cohort
from gigaslide.wsi import Heatmap, open_slide

pytestmark = [
    pytest.mark.real_run,
    pytest.mark.skipif(
        not (REAL_DATA / "colon").exists(),
        reason="needs ../shared/data/colon beside the repository",
    ),
]


LEAST_PATCH_AUC = 0.65  # swapped labels would give less than 0.4, no learning 0.5


def reduced_cohort() -> Cohort:
    """The slides to learn from and those to validate on, which play the test slides too.

    The patients of two test slides or four differ so much that a model of minutes is 0.8 on some
    and 0.5 on others.
    """
    slides = Cohort.load(REAL_DATA / "colon" / "cohort.csv")
    return Cohort.of_rows([slide for slide in slides if slide.split != "test"])


def test_from_real_slides_to_a_report(tmp_path):
    cohort = reduced_cohort()
    cohort.save(tmp_path / "cohort.csv")
    tiles = "--mpp 1.3 --tile.patch-px 139 --tile.centre-px 64"
    tiles += " --tile.tumor-per-slide 150 --tile.normal-per-slide 150"
    training = "--train.examples 24000 --train.validate-every 4800 --train.validation-patches 256"
    gentle = "--train.augment.brightness 0.1 --train.augment.contrast 0.3 --evaluate.resamples 200"
    sides = "--predict.splits validation --evaluate.split validation"
    places = ["run", str(tmp_path / "cohort.csv"), str(tmp_path / "out")]
    status = main([*places, *tiles.split(), *training.split(), *gentle.split(), *sides.split()])
    assert status == 0
    metrics = json.loads((tmp_path / "out" / "report" / "metrics.json").read_text())
    assert metrics["counts"]["tumor_slides"] == 5
    assert metrics["counts"]["normal_slides"] == 2
    for name in ("patch_auc", "slide_auc"):
        # Where every resample ranks all slides rightly, there is no interval.
        if metrics[name]["low"] is None:
            assert metrics[name]["value"] == 1
        else:
            assert 0 <= metrics[name]["low"] < metrics[name]["high"] <= 1
    assert metrics["patch_auc"]["value"] >= LEAST_PATCH_AUC
    assert metrics["counts"]["tumor_patches"] > 20
    assert metrics["counts"]["normal_patches"] > 20
    for slide in (slide for slide in cohort if slide.split == "validation"):
        heatmap = Heatmap.load(tmp_path / "out" / "predictions" / slide.id / "heatmap.zarr")
        with open_slide(slide.path) as opened:
            cover = np.array(heatmap.probability.shape[::-1]) * heatmap.stride_level0
            assert (cover >= opened.size).all()
            assert (cover < np.array(opened.size) + heatmap.stride_level0).all()
