"""Modes of prediction: exact against plain Keras, the fast ones against exact; no figure of speed
here."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import stained_slide, write_tiff
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.inference import PredictSettings, find_detections, predict_slide
from gigaslide.inference.blocks import PredictBlocks
from gigaslide.models import (
    ModelCard,
    load_dense_predictor,
    load_network,
    load_predictor,
)
from gigaslide.storage import ModelError, SettingsError
from gigaslide.wsi import (
    STAIN_PATCHES,
    CellStatus,
    Heatmap,
    fit_stain_to_patches,
    open_slide,
    overlay_heatmap,
)
from plain_networks import CENTRE, SIDE, write_network, write_networks
from predicting import QUICK, brightness, predict, write_model, write_slides
from stand_in import predictor_of

pytestmark = pytest.mark.usefixtures("plain_network")
FAST = QUICK.model_copy(update={"mode": "fast", "exact_above": 0.45})
FASTEST = QUICK.model_copy(update={"mode": "fastest"})


KINDS = ["one", "scales", "stain", "ensemble"]


def explicit(path: Path, folders: list[Path], cells: np.ndarray) -> np.ndarray:
    """Mean of 8 passes of plain Keras over windows read one by one."""
    networks = [load_network(folder, ModelCard.load(folder)) for folder in folders]
    spec = ModelCard.load(folders[0]).input_spec
    with open_slide(path) as slide:
        windows = np.array([windows_around(slide, spec, *cell) for cell in cells.tolist()])
    if spec.stain:
        spread = np.linspace(0, len(cells) - 1, min(len(cells), STAIN_PATCHES)).astype(int)
        fit = fit_stain_to_patches(windows[np.unique(spread), 0], spec.stain)
        windows = np.array([fit.apply(one) for one in windows])
    passes = []
    for turns in range(4):
        turned = np.rot90(windows, turns, axes=(2, 3))
        for view in (turned, turned[:, :, :, ::-1]):
            passes += [network.predict(view, verbose=0)[:, 1] for network in networks]
    return np.mean(passes, axis=0)


def windows_around(slide, spec, row, column):
    """Windows of a cell at every scale, by `read_level`."""
    x, y = column * CENTRE - (SIDE - CENTRE) // 2, row * CENTRE - (SIDE - CENTRE) // 2
    found = [slide.read_level(0, x=x, y=y, width=SIDE, height=SIDE)]
    if len(spec.mpps) > 1:
        x, y = (round(round(corner - SIDE / 2) / 2) for corner in (x, y))
        found.append(slide.read_level(1, x=x, y=y, width=SIDE, height=SIDE))
    return np.stack(found)


@pytest.mark.parametrize("kind", KINDS)
def test_fault_46_exact_equals_8_passes_of_plain_keras(plain_slide, tmp_path, kind):
    folders = write_networks(tmp_path / "model", kind)
    cohort = Cohort.of_rows([CohortSlide(id="s", path=plain_slide)])
    wanted = np.zeros(0)
    small = 8 * 3 * 8 * SIDE**2
    ways = [("keras", 64, 2**27), ("keras", 24, small), ("openvino", 24, small)]
    for number, (runtime, batch_size, block_px) in enumerate(ways):
        out = tmp_path / str(number)
        settings = PredictSettings(
            batch_size=batch_size, runtime=runtime, allow_tumor_on_glass=True
        )
        blocks = {"block_px": block_px}
        predict(cohort, tmp_path / "model", out, settings, kind=PredictBlocks, blocks=blocks)
        found = Heatmap.load(out / "s" / "heatmap.zarr")
        cells = np.argwhere(found.scored)
        assert len(cells) > 60
        if number == 0:
            wanted = explicit(plain_slide, folders, cells)
            assert wanted.std() > 0.01
        np.testing.assert_allclose(found.probability[found.scored], wanted, atol=1e-5)


@pytest.mark.parametrize("stride_px", [None, 16])
@pytest.mark.parametrize("kind", KINDS)
def test_dense_equals_one_orientation_where_nothing_is_padded(
    plain_slide, tmp_path, kind, stride_px
):
    folders = write_networks(tmp_path, kind)
    one = PredictSettings(orientations=1, stride_px=stride_px)
    fastest = one.model_copy(update={"mode": "fastest"})
    predictor = load_predictor(folders, runtime="keras")
    dense = load_dense_predictor(folders, stride_px=stride_px or CENTRE, runtime="keras")
    with open_slide(plain_slide) as slide:
        wanted = predict_slide(slide, predictor, one, slide_id="s")
        found = predict_slide(slide, predictor, fastest, slide_id="s", dense=dense)
    assert found.scored.sum() > 60
    assert set(np.unique(found.status)) <= {CellStatus.BACKGROUND, CellStatus.FIRST_PASS}
    np.testing.assert_array_equal(found.scored, wanted.scored)
    np.testing.assert_allclose(found.probability, wanted.probability, atol=2e-5)
    if kind == "ensemble":
        np.testing.assert_allclose(found.spread, wanted.spread, atol=2e-5)


def test_coarse_looks_once_at_four_cells(tmp_path):
    path = write_tiff(tmp_path / "s.tif", stained_slide(1))
    settings = FASTEST.model_copy(update={"first_pass": "coarse"})
    seen = []

    def count(patches: np.ndarray) -> np.ndarray:
        seen.append(len(patches))
        return brightness(patches)

    with open_slide(path) as slide:
        found = predict_slide(slide, predictor_of(count), settings, slide_id="s")
        # Cells of twice the stride have the same middles.
        wide = QUICK.model_copy(update={"stride_px": 2 * CENTRE, "min_tissue": 0.0})
        wanted = predict_slide(slide, predictor_of(brightness), wide, slide_id="s")
    cells = np.argwhere(found.scored)
    assert sum(seen) < 0.5 * len(cells)
    cells = cells[wanted.scored[tuple(cells.T // 2)]]
    assert len(cells) > 300
    np.testing.assert_allclose(
        found.probability[tuple(cells.T)], wanted.probability[tuple(cells.T // 2)], atol=1e-6
    )


def test_a_cell_of_the_first_pass_counts_everywhere(tmp_path):
    cohort = write_slides(tmp_path, 1)
    summary = predict(cohort, write_model(tmp_path / "m"), tmp_path / "out", FASTEST)
    found = Heatmap.load(tmp_path / "out" / "s1" / "heatmap.zarr")
    (outcome,) = summary.outcomes
    assert outcome.status == "done"
    assert outcome.counts["cells"] == outcome.counts["first_pass"] == found.scored.sum() > 300
    assert outcome.counts["detections"] == len(find_detections(found, FASTEST)) > 0
    with open_slide(cohort.slides[0].path) as slide:
        overview = slide.overview(8.0)
    scored = replace(
        found, status=np.where(found.scored, CellStatus.SCORED, found.status).astype(np.uint8)
    )
    np.testing.assert_array_equal(
        overlay_heatmap(overview, found), overlay_heatmap(overview, scored)
    )


def attributes(out: Path) -> dict:
    return json.loads((out / "s1" / "heatmap.zarr" / "zarr.json").read_text())["attributes"]


def test_a_heatmap_says_its_mode_and_runtime_and_exact_ones_keep_their_recipe(tmp_path):
    cohort, model = write_slides(tmp_path, 1), write_model(tmp_path / "m")
    predict(cohort, model, tmp_path / "exact")
    predict(cohort, model, tmp_path / "fast", FAST)
    exact, fast = attributes(tmp_path / "exact"), attributes(tmp_path / "fast")
    assert (exact["mode"], fast["mode"]) == ("exact", "fast")
    assert fast["runtime"] == "stand-in"
    assert fast["runtime_difference"] == 0
    assert "first_pass" not in exact["counts"]
    assert (
        not {"mode", "first_pass", "exact_above", "exact_within"}
        & exact["recipe"]["settings"].keys()
    )
    assert fast["recipe"]["settings"]["exact_above"] == 0.45
    assert fast["recipe"]["settings"]["exact_within"] == FAST.exact_within
    again = predict(cohort, model, tmp_path / "fast", FAST)
    assert [one.status for one in again.outcomes] == ["skipped"]
    all_likely = FAST.model_copy(update={"exact_within": 99.0})
    for changed in (all_likely, FASTEST):
        other = predict(cohort, model, tmp_path / "fast", changed)
        assert [one.status for one in other.outcomes] == ["done"]


def test_a_network_that_cannot_be_dense_is_refused_before_any_work(tmp_path):
    cohort, folder = write_slides(tmp_path, 1), write_network(tmp_path / "m")
    settings = PredictSettings(mode="fastest", stride_px=20)
    with pytest.raises(ModelError, match=r"20 px.*multiple of 8"):
        predict(cohort, folder, tmp_path / "out", settings, kind=PredictBlocks)
    assert not (tmp_path / "out").exists()
    with open_slide(cohort.slides[0].path) as slide, pytest.raises(SettingsError, match="dense"):
        predict_slide(slide, predictor_of(brightness), FASTEST, slide_id="s")
