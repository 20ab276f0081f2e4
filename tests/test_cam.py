"""Class activation maps: the classifier on single features, and the heatmap of them."""

import numpy as np
import pytest
from gigaslide.batch import BatchSettings
from gigaslide.cli import main
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.inference import PredictSettings, predict_cohort
from gigaslide.models import (
    Ensemble,
    check_dense,
    find_cam_stride,
    load_dense_predictor,
)
from gigaslide.storage import ModelError
from gigaslide.wsi import Heatmap
from pydantic import ValidationError
from test_dense import blots, write_model

HERE = BatchSettings(workers=0)


def log_odds(scores: np.ndarray) -> np.ndarray:
    scores = scores.astype(np.float64)
    return np.log(scores[..., 1] / scores[..., 0])


@pytest.mark.parametrize(
    ("architecture", "patch_px", "options", "runtime"),
    [
        ("compact", 48, {}, "keras"),
        ("compact", 75, {}, "openvino"),
        ("compact", 107, {"shrink": 2}, "keras"),
        ("efficientnet_lite0", 75, {}, "keras"),
    ],
)
def test_the_mean_of_the_map_over_a_patch_is_its_dense_cell(
    tmp_path, architecture, patch_px, options, runtime
):
    """The classifier is linear: its log-odds on the mean feature are the mean of its log-odds."""
    folder = write_model(tmp_path / "m", architecture, patch_px=patch_px, **options)
    stride_px = find_cam_stride(Ensemble.load(folder))
    dense = load_dense_predictor(folder, stride_px=stride_px, runtime=runtime)
    cam = load_dense_predictor(folder, stride_px=stride_px, runtime=runtime, is_cam=True)
    features = dense.members[0].layout.features
    assert features > 1
    # The patch of a dense cell begins at the dense margin of its tile; the first of the map's cells
    # has the first feature of that patch in the middle of its own patch.
    tile = blots(dense.tile_px(1) + 2 * patch_px, 5)
    start = patch_px
    whole = tile[start : start + dense.tile_px(1), start : start + dense.tile_px(1)]
    wanted = dense.score_members([whole], 1)[0, 0, 0]
    before = start + dense.margin_px - cam.margin_px - (features - 1) * stride_px // 2
    side = cam.tile_px(features)
    around = tile[before : before + side, before : before + side]
    assert around.shape == (side, side, 3)
    found = cam.score_members([around], features)[0]
    assert np.ptp(log_odds(found)) > 0.1
    mean = 1 / (1 + np.exp(-log_odds(found).mean()))
    assert mean == pytest.approx(wanted[1], abs=1e-5)


@pytest.fixture(scope="module")
def slide_and_model(tmp_path_factory):
    """A slide of tissue-coloured blots, and a small model."""
    import tifffile

    folder = tmp_path_factory.mktemp("cam")
    pixels = np.full((320, 480, 3), 255, np.uint8)
    pixels[64:256, 96:416] = blots(320, 3)[:192] // 2 + np.array([90, 20, 90], np.uint8)
    tifffile.imwrite(
        folder / "s.tif",
        pixels,
        tile=(128, 128),
        photometric="rgb",
        resolution=(20000, 20000),
        resolutionunit="CENTIMETER",
    )
    write_model(folder / "m", "compact", patch_px=48)
    return folder / "s.tif", folder / "m"


def test_a_map_is_written_as_a_heatmap_with_a_cell_for_each_feature(slide_and_model, tmp_path):
    slide, model = slide_and_model
    words = ["predict", str(slide), str(model), str(tmp_path / "cam"), "--localise", "cam"]
    extra = ["--runtime", "keras", "--allow-tumor-on-glass", "--min-tissue", "0.1"]
    assert main([*words, *extra]) == 0
    cam = Heatmap.load(tmp_path / "cam" / "s" / "heatmap.zarr")
    stride_px = find_cam_stride(Ensemble.load(model))
    assert cam.stride_level0 == stride_px
    assert cam.scored.sum() > 100
    values = cam.probability[cam.scored]
    assert values.std() > 0.01
    # A cell is the feature in the middle of its own patch, computed from that patch alone.
    predictor = load_dense_predictor(model, stride_px=stride_px, runtime="keras", is_cam=True)
    import tifffile

    pixels = tifffile.imread(slide)
    side, margin = predictor.tile_px(1), predictor.margin_px
    padded = np.pad(pixels, ((side, side), (side, side), (0, 0)), constant_values=255)
    for row, column in np.argwhere(cam.scored)[:: max(1, cam.scored.sum() // 7)].tolist():
        # The centre square (16 px) of a patch of 48 begins 16 px after the patch.
        top, left = (place * stride_px - 16 - margin + side for place in (row, column))
        tile = padded[top : top + side, left : left + side]
        alone = predictor.score_members([tile], 1)[0, 0, 0, 1]
        assert cam.probability[row, column] == pytest.approx(alone, abs=2e-5)


def test_a_map_is_another_heatmap_than_a_dense_one(slide_and_model, tmp_path):
    slide, model = slide_and_model
    cohort = Cohort.of_rows([CohortSlide(id="s", path=slide)])
    common = {"mode": "fastest", "runtime": "keras", "allow_tumor_on_glass": True, "stride_px": 16}
    out = tmp_path / "out"
    for first_pass, status in (("dense", "done"), ("cam", "done"), ("cam", "skipped")):
        settings = PredictSettings(first_pass=first_pass, **common)
        summary = predict_cohort(cohort, model, out, settings, HERE)
        assert [one.status for one in summary.outcomes] == [status]


def test_maps_that_cannot_be_made_are_refused(slide_and_model, tmp_path, capsys):
    slide, model = slide_and_model
    with pytest.raises(ValidationError, match="fastest"):
        PredictSettings(mode="fast", first_pass="cam")
    with pytest.raises(ModelError, match=r"stride-px"):
        check_dense(Ensemble.load(model), 5, _choice(), is_cam=True)
    words = ["predict", str(slide), str(model), str(tmp_path / "out"), "--localise", "cam"]
    assert main([*words, "--features", str(tmp_path)]) == 1
    assert "leave out --features" in capsys.readouterr().err
    assert main([*words, "--compare", "exact"]) == 1
    assert "other cells" in capsys.readouterr().err


def _choice():
    from gigaslide.models import RuntimeChoice

    return RuntimeChoice(runtime="keras")
