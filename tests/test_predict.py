"""Predictions on disk: what is kept, what is made again, and what is never touched. The network is
a stand-in."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import stained_slide, tile_place, write_tiff
from gigaslide.batch import BatchSettings
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.inference import (
    BESIDE_HEATMAP,
    PredictSettings,
    predict_cohort,
    with_default_workers,
)
from gigaslide.models import hash_weights
from gigaslide.storage import ModelError, SettingsError
from gigaslide.wsi import Detections, Heatmap
from predicting import QUICK, content, predict, write_model, write_slides

FILES = {"heatmap.zarr", "heatmap.png", "detections.csv", "recipe.json"}


@pytest.fixture
def model(tmp_path) -> Path:
    return write_model(tmp_path / "model")


def windows_scored(cohort, model, out, settings=QUICK, **options) -> tuple[int, str]:
    """Predict; the number of windows that the network saw, and the headline."""
    seen = []
    summary = predict(
        cohort,
        model,
        out,
        settings,
        on_block=lambda counts: seen.append(counts["windows"]),
        **options,
    )
    return sum(seen), summary.headline()


def changed(**changes) -> PredictSettings:
    return QUICK.model_copy(update=changes)


def test_unchanged_predictions_are_kept_and_changed_ones_are_not(model, tmp_path):
    cohort, out = write_slides(tmp_path, 1, 2), tmp_path / "out"
    windows, headline = windows_scored(cohort, model, out)
    assert headline == "2 slides: 2 done, 0 skipped, 0 partial, 0 failed"
    assert windows > 1000
    assert len(Detections.load(out / "detections.csv").on("s1")) > 0
    assert {path.name for path in (out / "s1").iterdir()} == FILES
    before = content(out)
    assert windows_scored(cohort, model, out) == (
        0,
        "2 slides: 0 done, 2 skipped, 0 partial, 0 failed",
    )
    # Another size of a call gives the same scores, so it is no other recipe; another geometry is.
    assert windows_scored(cohort, model, out, changed(batch_size=8))[0] == 0
    assert content(out) == before
    write_model(model, centre_px=40)
    summary = predict(cohort, model, out)
    assert "2 done" in summary.headline()
    assert "inputs.model.centre_px: 32 → 40" in summary.outcomes[0].reason
    assert {path.name for path in (out / "s1").iterdir()} == FILES


@pytest.mark.parametrize("change", [{"threshold": 0.7}, {"radius_um": 60.0}])
def test_other_detections_never_run_the_network(model, tmp_path, change):
    cohort, out = write_slides(tmp_path, 1), tmp_path / "out"
    predict(cohort, model, out)
    before, detections = content(out), Detections.load(out / "detections.csv")
    windows, headline = windows_scored(cohort, model, out, changed(**change))
    assert (windows, headline) == (0, "1 slide: 0 done, 1 skipped, 0 partial, 0 failed")
    now = Detections.load(out / "detections.csv")
    assert len(now) not in (0, len(detections))
    assert now.x.tolist() == Detections.load(out / "s1" / "detections.csv").x.tolist()
    after = content(out)
    different = {name for name in before if before[name] != after[name]}
    assert different == {"s1/detections.csv", "s1/recipe.json"}


@pytest.mark.parametrize(
    "change",
    [{"stride_px": 48}, {"orientations": 8}, {"min_tissue": 0.9}],
)
def test_another_heatmap_is_made_and_the_old_one_kept_until_it_is_whole(model, tmp_path, change):
    cohort, out = write_slides(tmp_path, 1), tmp_path / "out"
    predict(cohort, model, out)
    before = content(out)

    def interrupt(counts):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict(cohort, model, out, changed(**change), on_block=interrupt)
    assert not FILES & {path.name for path in (out / "s1").iterdir()}  # no mixture is seen
    assert not (out / "detections.csv").exists()
    # The old one is asked for again: it comes back, and only its detections are made.
    assert windows_scored(cohort, model, out)[0] == 0
    assert before.items() <= content(out).items()
    windows, headline = windows_scored(cohort, model, out, changed(**change))
    assert windows > 300
    assert "1 done" in headline
    assert {path.name for path in (out / "s1").iterdir()} == FILES


def test_a_damaged_prediction_is_made_again(model, tmp_path):
    cohort, out = write_slides(tmp_path, 1), tmp_path / "out"
    predict(cohort, model, out)
    before = content(out)
    (out / "s1" / "heatmap.zarr" / "zarr.json").write_text("{}")
    assert predict(cohort, model, out).of_status("done")
    assert content(out) == before
    next((out / "s1" / "heatmap.zarr" / "probability").rglob("c/*/*")).unlink()
    assert predict(cohort, model, out).of_status("done")
    assert content(out) == before
    for name, damage in (("detections.csv", "x"), ("recipe.json", "{"), ("heatmap.png", "")):
        (out / "s1" / name).write_text(damage)
        assert windows_scored(cohort, model, out)[0] == 0
        assert content(out) == before


def test_a_slide_that_fails_now_shows_no_older_prediction(model, tmp_path):
    cohort, out = write_slides(tmp_path, 1, 2), tmp_path / "out"
    predict(cohort, model, out)
    whole = (tmp_path / "s1.tif").read_bytes()
    (tmp_path / "s1.tif").write_bytes(b"")
    summary = predict(cohort, model, out)
    assert summary.exit_status == 2
    assert "s1.tif" in summary.outcomes[0].reason
    assert not FILES & {path.name for path in (out / "s1").iterdir()}
    assert set(Detections.load(out / "detections.csv").slide) == {"s2"}
    again = predict(cohort, model, out)
    assert "--retry-failed" in again.outcomes[0].reason
    (tmp_path / "s1.tif").write_bytes(whole)
    assert predict(cohort, model, out).exit_status == 0


def test_a_slide_whose_disk_is_gone_keeps_its_prediction(model, tmp_path):
    cohort, out = write_slides(tmp_path, 1, 2), tmp_path / "out"
    predict(cohort, model, out)
    before = content(out)
    (tmp_path / "s1.tif").rename(tmp_path / "elsewhere.tif")
    summary = predict(cohort, model, out)
    assert [one.status for one in summary.outcomes] == ["failed", "skipped"]
    assert content(out) == before


def test_a_partial_slide_stays_partial(model, tmp_path):
    path = write_tiff(tmp_path / "s.tif", stained_slide(4), jpeg=True)
    offset, length = tile_place(path, 6 * 1 + 2)
    changed_bytes = bytearray(path.read_bytes())
    changed_bytes[offset : offset + length] = bytes(length)
    path.write_bytes(changed_bytes)
    cohort = Cohort.of_rows([CohortSlide(id="s", path=path)])
    for expected in ("", "unchanged; "):
        summary = predict(cohort, model, tmp_path / "out")
        assert summary.exit_status == 2
        assert summary.outcomes[0].reason.startswith(expected)
        assert "cells could not be read" in summary.outcomes[0].reason


def nan_everywhere(patches: np.ndarray) -> np.ndarray:
    return np.full(len(patches), np.nan)


def test_a_slide_without_one_probability_has_failed_and_is_read_again(model, tmp_path):
    cohort, out = write_slides(tmp_path, 1), tmp_path / "out"
    path = cohort.slides[0].path
    for _ in range(2):
        summary = predict(cohort, model, out, blocks={"score": nan_everywhere}, retry_failed=True)
        (outcome,) = summary.outcomes
        assert (outcome.status, summary.exit_status) == ("failed", 1)
        assert f"{path}: no cell has a probability" in outcome.reason
        assert "NaN for" in outcome.reason
        assert not (out / "s1" / "heatmap.zarr").exists()
    assert predict(cohort, model, out, retry_failed=True).exit_status == 0


def test_a_scale_that_no_scanner_has_is_told_also_where_nothing_is_made(model, tmp_path, caplog):
    path = write_tiff(tmp_path / "off.tif", stained_slide(1), mpp=0.05)
    cohort = Cohort.of_rows([CohortSlide(id="off", path=path)])
    for _ in range(2):
        caplog.clear()
        predict(cohort, model, tmp_path / "out")
        told = [message for message in caplog.messages if "scanners" in message]
        assert len(told) == 1
        assert "off: 0.05 µm/px" in told[0]


def nan_above_median(patches: np.ndarray) -> np.ndarray:
    scores = patches.mean(axis=(1, 2, 3)) / 255
    return np.where(scores > np.median(scores), np.nan, scores)


def test_fault_44_a_slide_with_nan_is_partial_and_says_how_many(model, tmp_path):
    cohort, out = write_slides(tmp_path, 1), tmp_path / "out"
    summary = predict(cohort, model, out, blocks={"score": nan_above_median})
    (outcome,) = summary.outcomes
    assert outcome.status == "partial"
    assert outcome.counts["nan"] > 50
    assert f"NaN for {outcome.counts['nan']} cells" in outcome.reason
    heatmap = Heatmap.load(out / "s1" / "heatmap.zarr")
    assert int(heatmap.scored.sum()) == outcome.counts["cells"]


def test_fault_12_a_slide_without_tissue_has_a_heatmap(model, tmp_path):
    path = write_tiff(tmp_path / "glass.tif", stained_slide(3, tissue=False))
    cohort = Cohort.of_rows([CohortSlide(id="glass", path=path)])
    (outcome,) = predict(cohort, model, tmp_path / "out").outcomes
    assert (outcome.status, outcome.reason, outcome.counts["cells"]) == ("done", "no tissue", 0)
    assert Heatmap.load(tmp_path / "out" / "glass" / "heatmap.zarr").slide_score == 0.0


def test_a_folder_of_somebody_else_is_never_replaced(model, tmp_path):
    cohort = write_slides(tmp_path, 1)
    precious = tmp_path / "out" / "s1" / "Data0000.dat"
    precious.parent.mkdir(parents=True)
    precious.write_text("pixels of an MRXS slide")
    summary = predict(cohort, model, tmp_path / "out")
    assert "holds something else" in summary.outcomes[0].reason
    assert precious.read_text() == "pixels of an MRXS slide"
    (precious.parent / "recipe.json").write_text(
        json.dumps({"stage": "train", "settings": {}, "inputs": {}, "made_with": {}})
    )
    assert predict(cohort, model, tmp_path / "out", retry_failed=True).exit_status == 1
    assert {path.name for path in precious.parent.iterdir()} == {precious.name, "recipe.json"}


def test_nothing_to_predict_is_said(model, tmp_path):
    row = CohortSlide(id="a", path=tmp_path / "a.tif", split="train")
    with pytest.raises(SettingsError, match="--splits"):
        predict(Cohort.of_rows([row]), model, tmp_path / "out")


def test_a_model_that_cannot_be_loaded_ends_the_run_once(model, tmp_path):
    """The card is right and its weights are what it says, but they are no network."""
    cohort, out = write_slides(tmp_path, 1, 2), tmp_path / "out"
    with pytest.raises(ModelError, match=str(model)):
        predict_cohort(cohort, model, out, QUICK, BatchSettings())
    (model / "model.weights.h5").write_bytes(b"others")
    with pytest.raises(ModelError, match=hash_weights(model)[:12]):
        predict_cohort(cohort, model, out, QUICK, BatchSettings())
    write_model(model)
    assert predict(cohort, model, out).exit_status == 0  # no slide is marked as failed


def old_prediction(out: Path, model: Path) -> None:
    """Turn a prediction into one of version 0.1, which had one recipe for everything."""
    folder = out / "s1"
    group = folder / "heatmap.zarr" / "zarr.json"
    metadata = json.loads(group.read_text())
    recipe = metadata["attributes"].pop("recipe")
    del metadata["attributes"]["counts"], metadata["attributes"]["content_sha256"]
    group.write_text(json.dumps(metadata))
    recipe["settings"] |= {"threshold": QUICK.threshold, "radius_um": QUICK.radius_um}
    recipe["inputs"]["model"] = {
        "format": "gigaslide-model/1",
        "architecture": "inception_v3",
        "width": "small",
        "patch_px": 75,
        "centre_px": 32,
        "mpp": 0.5,
        "classes": ["normal", "tumor"],
        "colour": "RGB in [0, 255], scaled to [-1, 1] inside the network",
        "parameters": {"all": 1},
        "weights_sha256": hash_weights(model),
    }
    (folder / "recipe.json").write_text(json.dumps(recipe))


def test_a_heatmap_of_version_0_1_is_recognised(model, tmp_path):
    cohort, out = write_slides(tmp_path, 1), tmp_path / "out"
    predict(cohort, model, out)
    before = content(out)
    old_prediction(out, model)
    windows, headline = windows_scored(cohort, model, out)
    assert (windows, headline) == (0, "1 slide: 0 done, 1 skipped, 0 partial, 0 failed")
    assert content(out) == before
    old_prediction(out, model)
    assert windows_scored(cohort, model, out, changed(threshold=0.7))[0] == 0
    old_prediction(out, model)
    summary = predict(cohort, model, out, changed(stride_px=48))
    assert "settings.stride_px: None → 48" in summary.outcomes[0].reason
    assert {path.name for path in (out / "s1").iterdir()} == FILES


def test_every_export_is_made_of_the_heatmap(model, tmp_path, monkeypatch):
    """A new export is one entry of the table; it is made for old heatmaps too."""
    cohort, out = write_slides(tmp_path, 1), tmp_path / "out"
    predict(cohort, model, out)

    def write_score(source, path):
        with source.open_slide() as slide:
            score = source.heatmap.slide_score
            path.write_text(f"{score} {len(source.detections)} {slide.size}")

    monkeypatch.setitem(BESIDE_HEATMAP, "score.txt", write_score)
    assert windows_scored(cohort, model, out)[0] == 0
    heatmap = Heatmap.load(out / "s1" / "heatmap.zarr")
    assert (out / "s1" / "score.txt").read_text().startswith(f"{heatmap.slide_score} ")


def test_planned_windows_add_up_to_those_scored(model, tmp_path):
    cohort, out = write_slides(tmp_path, 1, 2), tmp_path / "out"
    planned, scored = [], []

    def stop_after(count):
        def on_block(counts):
            scored.append(counts["windows"])
            if count and len(scored) >= count and len(planned) == 2:
                raise KeyboardInterrupt

        return on_block

    with pytest.raises(KeyboardInterrupt):
        predict(
            cohort,
            model,
            out,
            on_plan=lambda counts: planned.append(counts["windows"]),
            on_block=stop_after(5),
        )
    whole, before = sum(planned), sum(scored)
    planned.clear()
    scored.clear()
    predict(
        cohort,
        model,
        out,
        on_plan=lambda counts: planned.append(counts["windows"]),
        on_block=stop_after(0),
    )
    assert len(planned) == 2
    assert sum(planned) == whole - before == sum(scored)


def test_this_process_predicts_alone_unless_told_otherwise(monkeypatch):
    from gigaslide.inference import predict as predict_module

    monkeypatch.setattr(predict_module, "available_cores", lambda: 16)
    chosen = {
        name: with_default_workers(BatchSettings(**options))
        for name, options in {
            "default": {},
            "threads": {"threads": 3},
            "workers": {"workers": 3},
            "many": {"workers": 40},
            "gpus": {"gpus": 4},
            "both": {"workers": 2, "threads": 1},
            "jobs": {"cluster": "slurm", "cores": 6},
            "scheduler": {"scheduler": "tcp://host:1"},
        }.items()
    }
    assert {name: batch.workers for name, batch in chosen.items()} == {
        "default": 0,
        "threads": 0,
        "workers": 3,
        "many": 40,
        "gpus": None,
        "both": 2,
        "jobs": None,
        "scheduler": None,
    }
    assert {name: batch.threads for name, batch in chosen.items()} == {
        "default": None,
        "threads": 3,
        "workers": 5,
        "many": 1,
        "gpus": 4,
        "both": 1,
        "jobs": 6,
        "scheduler": None,
    }
