"""Predictions on disk: what is kept, what is made again, and what is never touched. The network is
a stand-in."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import stained_slide, tile_place, write_tiff
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.inference import PredictSettings, predict_cohort
from gigaslide.inference import predict as predict_module
from gigaslide.models import WEIGHTS, ModelCard, hash_weights
from gigaslide.storage import SettingsError
from gigaslide.wsi import Detections, Heatmap, InputSpec
from stand_in import predictor_of


@pytest.fixture
def model(tmp_path, monkeypatch) -> Path:
    """A model folder whose network is the mean brightness of a patch."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / WEIGHTS).write_bytes(b"weights")
    write_card(folder)

    def load(_folders, **_options):
        spec = ModelCard.load(folder).input_spec
        brightness = lambda patches: patches.mean(axis=(1, 2, 3)) / 255  # noqa: E731
        return predictor_of(brightness, centre_px=spec.centre_px)

    monkeypatch.setattr(predict_module, "load_predictor", load)
    return folder


def write_card(folder: Path, *, centre_px: int = 32) -> None:
    ModelCard(
        architecture="inception_v3_small",
        input_spec=InputSpec(patch_px=75, centre_px=centre_px, mpps=(0.5,)),
        parameters={"all": 1},
        training={},
        weights_sha256=hash_weights(folder),
    ).save(folder)


def slides(folder: Path, *seeds: int) -> Cohort:
    paths = [write_tiff(folder / f"s{seed}.tif", stained_slide(seed)) for seed in seeds]
    return Cohort.of_rows([CohortSlide(id=path.stem, path=path) for path in paths])


QUICK = PredictSettings(orientations=1, threshold=0.6)


def test_unchanged_predictions_are_kept_and_changed_ones_are_not(model, tmp_path):
    cohort = slides(tmp_path, 1, 2)
    out = tmp_path / "out"
    assert (
        predict_cohort(cohort, model, out, QUICK).headline()
        == "2 slides: 2 done, 0 skipped, 0 partial, 0 failed"
    )
    assert len(Detections.load(out / "detections.csv").on("s1")) > 0
    assert (
        predict_cohort(cohort, model, out, QUICK).headline()
        == "2 slides: 0 done, 2 skipped, 0 partial, 0 failed"
    )
    # A bigger call of the network gives the same scores, so it is no other recipe; another geometry
    # is.
    assert (
        "2 skipped"
        in predict_cohort(cohort, model, out, QUICK.model_copy(update={"batch_size": 8})).headline()
    )
    write_card(model, centre_px=40)
    changed = predict_cohort(cohort, model, out, QUICK)
    assert "2 done" in changed.headline()
    assert "inputs.model.centre_px: 32 → 40" in changed.outcomes[0].reason


def test_a_damaged_prediction_is_made_again(model, tmp_path):
    cohort = slides(tmp_path, 1)
    out = tmp_path / "out"
    predict_cohort(cohort, model, out, QUICK)
    before = Heatmap.load(out / "s1" / "heatmap.zarr").probability
    (out / "s1" / "heatmap.zarr" / "zarr.json").write_text("{}")
    assert predict_cohort(cohort, model, out, QUICK).of_status("done")
    np.testing.assert_array_equal(Heatmap.load(out / "s1" / "heatmap.zarr").probability, before)


def test_a_slide_that_fails_now_leaves_no_older_prediction(model, tmp_path):
    cohort = slides(tmp_path, 1, 2)
    out = tmp_path / "out"
    predict_cohort(cohort, model, out, QUICK)
    (tmp_path / "s1.tif").write_bytes(b"")
    summary = predict_cohort(cohort, model, out, QUICK)
    assert summary.exit_status == 2
    assert not (out / "s1").exists()
    assert set(Detections.load(out / "detections.csv").slide) == {"s2"}


def test_a_partial_slide_stays_partial(model, tmp_path):
    path = write_tiff(tmp_path / "s.tif", stained_slide(4), jpeg=True)
    offset, length = tile_place(path, 6 * 1 + 2)
    content = bytearray(path.read_bytes())
    content[offset : offset + length] = bytes(length)
    path.write_bytes(content)
    cohort = Cohort.of_rows([CohortSlide(id="s", path=path)])
    for expected in ("", "unchanged; "):
        summary = predict_cohort(cohort, model, tmp_path / "out", QUICK)
        assert summary.exit_status == 2
        assert summary.outcomes[0].reason.startswith(expected)
        assert "cells could not be read" in summary.outcomes[0].reason


def test_a_folder_of_somebody_else_is_never_replaced(model, tmp_path):
    cohort = slides(tmp_path, 1)
    precious = tmp_path / "out" / "s1" / "Data0000.dat"
    precious.parent.mkdir(parents=True)
    precious.write_text("pixels of an MRXS slide")
    summary = predict_cohort(cohort, model, tmp_path / "out", QUICK)
    assert "holds something else" in summary.outcomes[0].reason
    assert precious.read_text() == "pixels of an MRXS slide"
    (precious.parent / "recipe.json").write_text(
        json.dumps({"stage": "train", "settings": {}, "inputs": {}, "made_with": {}})
    )
    assert predict_cohort(cohort, model, tmp_path / "out", QUICK).exit_status == 1
    assert precious.exists()


def test_nothing_to_predict_is_said(model, tmp_path):
    row = CohortSlide(id="a", path=tmp_path / "a.tif", split="train")
    with pytest.raises(SettingsError, match="--splits"):
        predict_cohort(Cohort.of_rows([row]), model, tmp_path / "out", QUICK)
