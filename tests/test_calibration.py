"""Temperature of a model: fitted on validation patches, kept in the card, applied by prediction."""

import json
import logging

import numpy as np
import pytest
from gigaslide.inference import PredictSettings
from gigaslide.inference.score import score_windows
from gigaslide.models import (
    ARCHITECTURES,
    CHECK,
    WEIGHTS,
    Ensemble,
    ModelCard,
    OperatingThreshold,
    Predictor,
    Temperature,
    load_predictor,
    scale_probabilities,
    with_temperature,
)
from gigaslide.training import train
from gigaslide.training.report.history import load_history
from gigaslide.training.validation.calibration import fit_temperature
from gigaslide.wsi import InputSpec, open_slide, orient
from sklearn.metrics import log_loss, roc_auc_score
from test_models import PATCHES, save_model
from test_training import SHORT, store  # noqa: F401, a fixture
from tiny_network import TINY


def overconfident(count: int = 4000, factor: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (N, 2) whose log-odds are factor times too large, and labels (N,)."""
    rng = np.random.default_rng(3)
    log_odds = rng.normal(0, 2, count)
    labels = (rng.uniform(size=count) < 1 / (1 + np.exp(-log_odds))).astype(np.int64)
    tumor = 1 / (1 + np.exp(-factor * log_odds))
    return np.stack([1 - tumor, tumor], axis=1), labels


def test_an_overconfident_model_is_calibrated():
    probabilities, labels = overconfident()
    found = fit_temperature(probabilities, labels)
    assert found.value == pytest.approx(3.0, rel=0.1)
    scaled = scale_probabilities(probabilities, found.value)
    losses = [log_loss(labels, p) for p in (probabilities, scaled)]
    assert found.log_loss == pytest.approx(losses, abs=1e-4)
    assert losses[1] < 0.8 * losses[0]
    assert found.calibration_error[1] < 0.3 * found.calibration_error[0]
    aucs = [roc_auc_score(labels, p[:, 1]) for p in (probabilities, scaled)]
    assert aucs[0] == aucs[1]
    tried = [log_loss(labels, scale_probabilities(probabilities, t)) for t in (2.5, 3.5)]
    assert losses[1] < min(tried)


def test_log_odds_are_divided_also_near_0_and_1():
    probabilities = np.array([[0.2, 0.8], [1 - 1e-12, 1e-12], [1.0, 0.0], [np.nan, np.nan]])
    scaled = scale_probabilities(probabilities, 2.0)
    assert scaled[0, 1] == pytest.approx(2 / 3)  # odds 4 become odds 2
    assert scaled[1, 1] == pytest.approx(1e-6)
    assert 0 < scaled[2, 1] < 1e-15
    assert np.isnan(scaled[3]).all()
    np.testing.assert_allclose(scaled[:3].sum(axis=1), 1)
    np.testing.assert_allclose(scale_probabilities(probabilities[:2], 1.0), probabilities[:2])


def test_patches_that_are_told_apart_perfectly_are_warned_of(caplog):
    labels = np.arange(8) % 2
    with caplog.at_level(logging.WARNING):
        fit_temperature(np.eye(2)[labels] * 0.8 + 0.1, labels)
    assert "limit" in caplog.text


@pytest.fixture
def tiny(monkeypatch) -> None:
    monkeypatch.setitem(ARCHITECTURES, "tiny", TINY)


COOLER = Temperature(value=2.5, patches=9, log_loss=(1, 0.9), calibration_error=(0.2, 0.1))


@pytest.mark.parametrize("runtime", ["keras", "openvino"])
def test_prediction_applies_the_temperature_in_every_runtime(tiny, tmp_path, runtime):
    plain = save_model(tmp_path / "plain", 3)
    scaled = save_model(tmp_path / "scaled", 3, temperature=COOLER)
    before, after = (load_predictor(one, runtime=runtime) for one in (plain, scaled))
    assert before.runtime == after.runtime == runtime
    expected = scale_probabilities(before(PATCHES), 2.5)
    assert np.abs(expected - before(PATCHES)).max() > 1e-3
    np.testing.assert_allclose(after(PATCHES), expected, atol=1e-6)
    assert before.hash == ModelCard.load(plain).weights_sha256 != after.hash


def test_another_temperature_is_another_prediction_and_none_is_the_one_before(tiny, tmp_path):
    plain = save_model(tmp_path / "plain", 3)
    identity = Ensemble.load(plain).identity
    assert "temperature" not in json.dumps(identity)
    identities = []
    for value in (2.5, 2.6):
        card = ModelCard.load(plain)
        card.model_copy(update={"temperature": COOLER.model_copy(update={"value": value})}).save(
            plain
        )
        identities.append(Ensemble.load(plain).identity)
        assert Ensemble.load(plain).hash == ModelCard.load(plain).hash
    assert identity != identities[0] != identities[1]


def test_each_orientation_is_scaled_before_the_mean(coded_slide):
    """Not the same as scaling the mean."""

    def uneven(patches: np.ndarray) -> np.ndarray:
        tumor = patches[:, 0, :20, :15].mean(axis=(1, 2, 3)) / 256
        return np.stack([1 - tumor, tumor], axis=1)

    spec = InputSpec(patch_px=75, centre_px=32, mpps=(0.5,))
    predictor = Predictor(spec=spec, forward=with_temperature(uneven, COOLER), hash="h")
    settings = PredictSettings(orientations=8, batch_size=16)
    xy = np.array([[130, 301], [700, 90]])
    with open_slide(coded_slide) as slide:
        found = score_windows(slide, xy, predictor, settings).probability
        windows = dict(slide.read_windows(xy, size=75, mpp=0.5))
    for index, score in enumerate(found):
        turned = np.stack([orient(windows[index], number)[None] for number in range(8)])
        scores = uneven(turned)
        expected = scale_probabilities(scores, 2.5)[:, 1].mean()
        assert score == pytest.approx(expected, abs=1e-6)
        mean = scale_probabilities(scores.mean(axis=0, keepdims=True), 2.5)[0, 1]
        assert abs(expected - mean) > 1e-5


def test_a_finished_model_is_calibrated_without_a_training(
    store,  # noqa: F811
    tmp_path,
    monkeypatch,
):
    monkeypatch.setitem(ARCHITECTURES, "compact", TINY)
    folder = tmp_path / "model"
    first = train(store, folder, SHORT)
    assert first.card.temperature is None
    assert "calibrate" not in first.card.training["settings"]
    threshold = OperatingThreshold(value=0.4, tumor_slides=3, normal_slides=3, origin="")
    first.card.model_copy(update={"operating_threshold": threshold}).save(folder)
    written = (folder / WEIGHTS).stat().st_mtime_ns
    (folder / CHECK).unlink()

    calibrated = train(store, folder, SHORT.model_copy(update={"calibrate": True}))
    assert not calibrated.trained
    assert (folder / WEIGHTS).stat().st_mtime_ns == written
    temperature = calibrated.card.temperature
    assert temperature.patches == SHORT.validation_patches
    assert temperature.log_loss[1] <= temperature.log_loss[0]
    assert calibrated.card.operating_threshold is None
    assert (folder / CHECK).exists()
    validated = [row.validation_loss for row in load_history(folder / "history.csv")]
    assert min(abs(temperature.log_loss[0] - loss) for loss in validated) < 1e-4

    kept = train(store, folder, SHORT)
    assert (kept.trained, kept.card) == (False, calibrated.card)
    removed = train(store, folder, SHORT.model_copy(update={"calibrate": False}))
    assert (removed.trained, removed.card.temperature) == (False, None)
    assert not list(tmp_path.glob("model.old*"))


def test_a_training_with_calibrate_ends_with_a_temperature(store, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setitem(ARCHITECTURES, "compact", TINY)
    outcome = train(store, tmp_path / "model", SHORT.model_copy(update={"calibrate": True}))
    assert outcome.trained
    assert outcome.card.temperature is not None
    recipe = json.loads((tmp_path / "model" / "recipe.json").read_text())
    assert "calibrate" not in recipe["settings"] | recipe.get("extent", {})
