"""Validation on whole slides, the choice of the best weights, and the early end of a training."""

import logging
import math

import numpy as np
import pytest
from conftest import stained_slide, write_tiff
from gigaslide.batch import BatchSettings
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.eval import EvaluateSettings, evaluate_cohort
from gigaslide.inference import PredictSettings, predict_cohort
from gigaslide.models import ARCHITECTURES, ModelCard
from gigaslide.patching import PatchStore, tile_cohort
from gigaslide.storage import SettingsError
from gigaslide.training import TrainSettings, train
from gigaslide.training.report.history import HistoryRow, load_history, rank_key
from pydantic import ValidationError
from tiny_network import TINY
from training_store import SHORT, TILES, tumor_slide

WHOLE = SHORT.model_copy(
    update={"validate_every": 32, "validate_slides_every": 64, "best": "froc", "stain": "none"}
)


@pytest.fixture(autouse=True)
def tiny(monkeypatch) -> None:
    monkeypatch.setitem(ARCHITECTURES, "compact", TINY)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> Cohort:
    folder = tmp_path_factory.mktemp("slides")

    def normal(name: str, seed: int, split: str) -> CohortSlide:
        path = write_tiff(folder / f"{name}.tif", stained_slide(seed))
        return CohortSlide(id=name, path=path, label="normal", patient=name, split=split)

    return Cohort.of_rows(
        [
            tumor_slide(folder, "a", 1, "train"),
            normal("b", 3, "train"),
            tumor_slide(folder, "c", 2, "validation"),
            normal("d", 4, "validation"),
        ]
    )


@pytest.fixture(scope="module")
def store(cohort, tmp_path_factory) -> PatchStore:
    path = tmp_path_factory.mktemp("store") / "store"
    tile_cohort(cohort, path, TILES, BatchSettings(workers=0))
    return PatchStore(path)


@pytest.mark.slow
def test_whole_slides_are_scored_as_by_predict_and_evaluate(cohort, store, tmp_path):
    train(store, tmp_path / "model", WHOLE, slides=cohort)
    rows = load_history(tmp_path / "model" / "history.csv")
    assert [row.examples for row in rows] == [32, 64, 96]
    assert [row.froc is not None for row in rows] == [False, True, True]
    best = ModelCard.load(tmp_path / "model").training["best"]
    assert best["examples"] == max(rows, key=lambda row: rank_key(row, "froc")).examples
    settings = PredictSettings(
        orientations=1, splits=("validation",), runtime="keras", allow_tumor_on_glass=True
    )
    predict_cohort(cohort, tmp_path / "model", tmp_path / "out", settings, BatchSettings(workers=0))
    metrics = evaluate_cohort(
        cohort,
        tmp_path / "out",
        tmp_path / "report",
        EvaluateSettings(split="validation", resamples=0),
    ).metrics
    assert best["froc"] == pytest.approx(metrics["froc"]["gigaslide"]["score"]["value"])
    assert best["slide_auc"] == pytest.approx(metrics["slide_auc"]["value"])


def test_a_slide_that_cannot_be_read_is_left_out(cohort, store, tmp_path, caplog):
    broken = CohortSlide(
        id="broken", path=tmp_path / "no.tif", label="normal", patient="x", split="validation"
    )
    with caplog.at_level(logging.WARNING):
        train(store, tmp_path / "model", WHOLE, slides=Cohort.of_rows([*cohort, broken]))
    assert "broken: left out" in caplog.text
    assert load_history(tmp_path / "model" / "history.csv")[-1].slide_auc is not None


def test_whole_slides_of_both_classes_are_needed(cohort, store, tmp_path):
    with pytest.raises(SettingsError, match="--validation-slides"):
        train(store, tmp_path / "model", WHOLE)
    tumor_only = Cohort.of_rows([slide for slide in cohort if slide.id != "d"])
    with pytest.raises(SettingsError, match="normal"):
        train(store, tmp_path / "model", WHOLE, slides=tumor_only)
    with pytest.raises(ValidationError, match="validate_slides_every"):
        TrainSettings(best="slide_auc")


def test_a_training_ends_early_without_a_better_validation(store, tmp_path, caplog):
    settings = SHORT.model_copy(
        update={"learning_rate": 1e-12, "validate_every": 16, "examples": 160, "patience": 2}
    )
    with caplog.at_level(logging.WARNING):
        outcome = train(store, tmp_path / "model", settings)
    rows = load_history(tmp_path / "model" / "history.csv")
    assert len(rows) < 10
    better = [row.examples for row in rows if row.examples > outcome.best.examples]
    assert len(better) == 2
    assert "not better" in caplog.text
    assert not train(store, tmp_path / "model", settings).trained


def test_validations_are_ranked_by_the_figure_asked_for():
    def row(**figures) -> HistoryRow:
        given = {"validation_auc": 0.5, "validation_loss": 1.0, **figures}
        return HistoryRow(
            examples=1, seconds=1, learning_rate=1, train_loss=1, train_accuracy=1, **given
        )

    rows = [row(validation_auc=0.9), row(froc=0.2, validation_loss=0.1), row(froc=0.2)]
    assert max(rows, key=rank_key) is rows[0]
    assert max(rows, key=lambda one: rank_key(one, "loss")) is rows[1]
    assert max(rows, key=lambda one: rank_key(one, "froc")) is rows[1]
    assert math.isinf(rank_key(rows[0], "froc")[0])
    assert not np.isinf(rank_key(rows[1], "froc")[0])
