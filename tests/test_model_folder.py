"""`gigaslide model`: info, check and export of a model folder."""

import importlib.util
import json
import shutil
import zipfile
from pathlib import Path

import keras
import numpy as np
import onnxruntime
import openvino
import pytest
from gigaslide.cli import main
from gigaslide.models import (
    ARCHITECTURES,
    CARD,
    CHECK,
    WEIGHTS,
    ModelCard,
    OperatingThreshold,
    Temperature,
    build_network,
    check_model,
    describe_model,
    export_model,
    hash_weights,
    load_predictor,
)
from gigaslide.models import export as export_module
from gigaslide.models.check.pictures import draw_pictures
from gigaslide.storage import ModelError, SettingsError
from gigaslide.wsi import InputSpec
from test_models import SPEC, save_model
from test_training import store  # noqa: F401, a fixture
from tiny_network import TINY

TWO = InputSpec(patch_px=75, centre_px=32, mpps=(0.5, 1.0))
NOISE = np.random.default_rng(5).integers(0, 256, (3, 75, 75, 3), dtype=np.uint8)
SCALED = Temperature(value=1.7, patches=9, log_loss=(1, 0.9), calibration_error=(0.2, 0.1))


@pytest.fixture(autouse=True)
def tiny(monkeypatch) -> None:
    monkeypatch.setitem(ARCHITECTURES, "tiny", TINY)


def card_of(tmp_path: Path, **changes) -> ModelCard:
    return ModelCard.load(save_model(tmp_path / "m", 1, **changes))


def constant(tumor: float):
    return lambda patches: np.tile([1 - tumor, tumor], (len(patches), 1))


def dark_is_tumor(patches: np.ndarray) -> np.ndarray:
    tumor = 1 / (1 + np.exp(patches.mean(axis=(1, 2, 3, 4)) / 8 - 4))
    return np.stack([1 - tumor, tumor], axis=1)


def test_pictures_show_what_they_are_named_after():
    pictures = draw_pictures(TWO)
    assert all(w.shape[1:] == TWO.shape and w.dtype == np.uint8 for w in pictures.values())
    colours = {name: w.mean(axis=(0, 1, 2, 3)) for name, w in pictures.items()}
    assert colours["white glass"].min() > 235
    assert colours["black border"].max() < 5
    assert np.ptp(colours["flat grey"]) < 2
    for channel, name in enumerate(("red pen", "green pen", "blue pen")):
        assert colours[name].argmax() == channel
    assert np.ptp(colours["black pen"]) < 10 < colours["white glass"].mean() - 100
    red, green, blue = colours["drawn normal tissue"]
    assert red > blue > green
    for windows in pictures.values():  # the coarser window shows the finer one, half as large
        fine, coarse = windows[0].astype(float)
        small = fine[1:, 1:].reshape(37, 2, 37, 2, 3).mean(axis=(1, 3))
        assert np.abs(coarse[19:56, 19:56] - small).mean() < 12
    sharp, blurred = (
        np.quantile(
            np.diff(pictures[f"drawn normal tissue{end}"][:, 0].astype(float), axis=1), 0.999
        )
        for end in ("", ", blurred")
    )
    assert blurred < 0.6 * sharp
    again = draw_pictures(TWO)
    assert all(np.array_equal(again[name], windows) for name, windows in pictures.items())


def test_a_network_with_stain_normalisation_gets_normalised_pictures():
    plain = draw_pictures(SPEC)["drawn normal tissue"]
    changed = draw_pictures(SPEC.model_copy(update={"stain": "reinhard"}))["drawn normal tissue"]
    assert np.abs(plain.astype(float) - changed).mean() > 3


def test_pictures_that_come_out_as_tumour_are_named(tmp_path):
    check = check_model(dark_is_tumor, card_of(tmp_path))
    suspects = {row.picture for row in check.rows if row.looks_like_tumor}
    assert "black border" in suspects
    assert "white glass" not in suspects
    (warning,) = check.warnings
    assert all(f"{name} (" in warning for name in suspects)
    assert "white glass" not in warning


def test_the_operating_threshold_of_the_card_decides(tmp_path):
    chosen = OperatingThreshold(value=0.7, tumor_slides=3, normal_slides=3, origin="")
    shade = lambda patches: np.stack([p := 0.4 + patches.mean((1, 2, 3, 4)) / 1000, 1 - p], 1)  # noqa: E731
    assert check_model(shade, card_of(tmp_path)).warnings
    card = ModelCard.load(tmp_path / "m").model_copy(update={"operating_threshold": chosen})
    assert check_model(shade, card).warnings == ()


@pytest.mark.parametrize(
    ("predict", "fact"),
    [
        (constant(0.25), "all 36 probabilities are 0.25"),
        (constant(np.nan), "36 of 36 probabilities are not numbers"),
        (lambda p: np.round(dark_is_tumor(p)), "100% of the probabilities are within 1e-06"),
    ],
)
def test_outputs_that_tell_nothing_are_warned_of(tmp_path, predict, fact):
    check = check_model(predict, card_of(tmp_path))
    assert fact in check.warnings[-1]
    check.save(tmp_path)
    json.loads((tmp_path / CHECK).read_text(), parse_constant=pytest.fail)  # no NaN


def test_tumour_patches_of_a_store_may_be_called_tumour(tmp_path):
    dark, bright = np.full((5, *SPEC.shape), 9, np.uint8), np.full((7, *SPEC.shape), 250, np.uint8)
    rows = {
        row.picture: row
        for row in check_model(dark_is_tumor, card_of(tmp_path), normal=bright, tumor=dark).rows
    }
    assert (rows["tumour patches"].called, rows["tumour patches"].looks_like_tumor) == (5, False)
    assert (rows["normal patches"].windows, rows["normal patches"].called) == (7, 0)
    assert rows["normal patches, blurred"].windows == 7
    assert not any("drawn" in name for name in rows)
    swapped = check_model(dark_is_tumor, ModelCard.load(tmp_path / "m"), normal=dark, tumor=bright)
    assert "normal patches (" in swapped.warnings[0]


def run_onnx(folder: Path, patches: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    (given,) = session.get_inputs()
    assert given.type == "tensor(uint8)"
    return session.run(None, {given.name: patches})[0]


def run_openvino(folder: Path, patches: np.ndarray) -> np.ndarray:
    config = {"INFERENCE_PRECISION_HINT": "f32"}  # some processors would use bfloat16
    return openvino.Core().compile_model(folder / "model.xml", "CPU", config)(patches)[0]


@pytest.mark.parametrize("spec", [SPEC, TWO])
def test_exports_give_the_probabilities_of_the_model_from_bytes(tmp_path, spec):
    keras.utils.set_random_seed(2)
    folder = tmp_path / "m"
    folder.mkdir()
    network = build_network("tiny", spec)
    network.save_weights(folder / WEIGHTS)
    ModelCard(
        architecture="tiny",
        input_spec=spec,
        parameters={"all": 1, "trained": 1},
        training={},
        weights_sha256=hash_weights(folder),
        temperature=SCALED,
    ).save(folder)
    out = tmp_path / "deep" / "exported"
    differences = export_model(folder, out)
    assert {path.name for path in out.iterdir()} == {
        "model.onnx",
        "model.xml",
        "model.bin",
        "export.json",
        CARD,
    }
    scales = len(spec.mpps)
    windows = np.stack([NOISE] * scales, axis=1)
    windows[:, -1, :30] = 7  # the scales differ, and so do rows and columns
    expected = load_predictor(folder, runtime="keras")(windows)
    patches = windows if scales > 1 else windows[:, 0]
    for run in (run_onnx, run_openvino):
        np.testing.assert_allclose(run(out, patches), expected, atol=1e-5)
    told = json.loads((out / "export.json").read_text())
    assert told["largest_difference"] == differences
    assert max(differences.values()) <= told["tolerance"] == 1e-5
    assert told["input"]["shape"] == [None, *patches.shape[1:]]
    assert len(told["input"]["axes"]) == patches.ndim
    assert ModelCard.load(out) == ModelCard.load(folder)
    assert [path.name for path in out.parent.iterdir()] == ["exported"]


def test_an_export_that_differs_is_refused_and_leaves_nothing(tmp_path, monkeypatch):
    folder, out = save_model(tmp_path / "m", 1), tmp_path / "out"
    write = export_module._write

    def shifted(*given):
        forward = write(*given)
        return lambda patches: forward(patches) + 0.25

    monkeypatch.setattr(export_module, "_write", shifted)
    with pytest.raises(ModelError, match=r"openvino.*0\.25.*1e-05"):
        export_model(folder, out, ("openvino",))
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_an_export_replaces_an_earlier_one_and_nothing_else(tmp_path):
    folder, out = save_model(tmp_path / "m", 1), tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").touch()
    with pytest.raises(SettingsError, match=r"out.*export\.json"):
        export_model(folder, out, ("openvino",))
    (out / "thesis.txt").rename(out / "export.json")
    export_model(folder, out, ("openvino",))
    assert {path.name for path in out.iterdir()} == {
        "model.xml",
        "model.bin",
        "export.json",
        CARD,
    }


def test_onnx_without_its_packages_is_told_before_the_work(tmp_path, monkeypatch, capsys):
    folder = save_model(tmp_path / "m", 1)
    find = importlib.util.find_spec
    absent = lambda name, *rest: None if name == "tf2onnx" else find(name, *rest)  # noqa: E731
    monkeypatch.setattr(importlib.util, "find_spec", absent)
    assert main(["model", "export", str(folder), str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "tf2onnx" in error
    assert "--format openvino" in error
    assert not (tmp_path / "out").exists()


def test_info_tells_what_a_model_is(tmp_path, capsys):
    training = {
        "settings": {"recipe": "modern", "examples": 96, "seed": 4, "initial_weights": ""},
        "best": {"examples": 48, "validation_auc": 0.87654, "validation_loss": 0.5},
        "patches_from": {"mpp": 0.5, "patch_px": 75},
        "keras": "3.15.1",
        "backend": "tensorflow",
    }
    folder = save_model(tmp_path / "m", 1, training=training, temperature=SCALED)
    assert main(["model", "info", str(folder)]) == 0
    printed = capsys.readouterr().out
    facts = ("tiny", "75 px at 0.5 µm/px", "modern", "96", "0.877", "1.7", "3.15.1", "verified")
    for fact in (*facts, hash_weights(folder)):
        assert fact in printed
    with (folder / WEIGHTS).open("ab") as file:
        file.write(b"x")
    assert main(["model", "info", str(folder)]) == 2
    assert "DAMAGED" in capsys.readouterr().out


@pytest.mark.parametrize(
    "training", [{}, {"settings": 3, "best": {"validation_auc": "high"}, "patches_from": []}]
)
def test_info_takes_any_training(tmp_path, training):
    folder = save_model(tmp_path / "m", 1, training=training)
    assert dict(describe_model(folder))["architecture"] == "tiny"


def test_check_and_its_exit_status(tmp_path, capsys, monkeypatch, store):  # noqa: F811
    spec = store.input_spec
    folder = save_model(tmp_path / "m", 1, "tiny", input_spec=spec)
    assert main(["model", "check", str(folder), "--store", str(store.path)]) in (0, 2)
    printed = capsys.readouterr().out
    for name in ("white glass", "red pen", "normal patches", "tumour patches"):
        assert name in printed


@pytest.mark.parametrize(
    ("other", "values"),
    [({"mpps": (1.0,)}, ["(0.5,)", "(1.0,)"]), ({"patch_px": 83}, ["75 px", "83 px"])],
)
def test_fault_43_a_store_of_other_patches_is_refused_with_both_values(
    tmp_path,
    capsys,
    monkeypatch,
    store,  # noqa: F811
    other,
    values,
):
    spec = store.input_spec.model_copy(update=other)
    strange = save_model(tmp_path / "other", 1, "tiny", input_spec=spec)
    assert main(["model", "check", str(strange), "--store", str(store.path)]) == 1
    error = capsys.readouterr().err
    assert all(value in error for value in [str(store.path), *values])


def test_fault_42_no_command_runs_code_of_a_model_folder(tmp_path, capsys):
    canary = tmp_path / "canary"

    def touch(x):
        canary.touch()
        return x

    whole = keras.Sequential([keras.Input(SPEC.shape), keras.layers.Lambda(touch)])
    whole.save(tmp_path / "whole.keras")
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("weights", bytes(2**24))
    canary.unlink(missing_ok=True)
    for number, name in enumerate(("whole.keras", "bomb.zip")):
        folder = save_model(tmp_path / f"m{number}", 1)
        shutil.copy(tmp_path / name, folder / WEIGHTS)
        card = ModelCard.load(folder)
        card.model_copy(update={"weights_sha256": hash_weights(folder)}).save(folder)
        assert main(["model", "info", str(folder)]) == 0
        assert main(["model", "check", str(folder)]) == 1
        assert main(["model", "export", str(folder), str(tmp_path / "out")]) == 1
        assert capsys.readouterr().err.count("do not fit") == 2
    assert not canary.exists()
    assert not (tmp_path / "out").exists()
