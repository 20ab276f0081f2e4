"""A model that calls glass tumour predicts nothing, unless it is asked to."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import stained_slide, write_tiff
from gigaslide.batch import BatchSettings
from gigaslide.cli import main
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.inference import PredictSettings, predict_cohort
from gigaslide.models import (
    ARCHITECTURES,
    CHECK,
    WEIGHTS,
    ModelCard,
    build_network,
    check_model,
    hash_weights,
)
from gigaslide.models.check.pictures import WHITE_GLASS, draw_glass, draw_pictures
from gigaslide.storage import ModelError
from gigaslide.wsi import InputSpec
from tiny_network import TINY

SPEC = InputSpec(patch_px=75, centre_px=32, mpps=(0.5,))
QUICK = PredictSettings(orientations=1, runtime="keras", stride_px=64)


@pytest.fixture(autouse=True)
def tiny(monkeypatch) -> None:
    monkeypatch.setitem(ARCHITECTURES, "tiny", TINY)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> Cohort:
    path = write_tiff(tmp_path_factory.mktemp("slide") / "s.tif", stained_slide(1)[:400, :500])
    return Cohort.of_rows([CohortSlide(id="s", path=path)])


def save_model(folder: Path, *, bias: float) -> Path:
    """A model whose tumour probability is about sigmoid(2 × bias) everywhere."""
    folder.mkdir(parents=True)
    network = build_network("tiny", SPEC)
    head = network.get_layer("classifier")
    head.set_weights([head.get_weights()[0] * 0.01, np.array([-bias, bias])])
    network.save_weights(folder / WEIGHTS)
    ModelCard(
        architecture="tiny",
        input_spec=SPEC,
        parameters={"all": 1},
        training={},
        weights_sha256=hash_weights(folder),
    ).save(folder)
    return folder


def predict(cohort: Cohort, model: Path, out: Path, **changes) -> int:
    settings = QUICK.model_copy(update=changes)
    return predict_cohort(cohort, model, out, settings, BatchSettings()).exit_status


@pytest.mark.parametrize("mode", ["exact", "fastest"])
def test_a_model_without_a_check_scores_glass_when_it_is_loaded(cohort, tmp_path, mode):
    biased = save_model(tmp_path / "biased", bias=2)
    with pytest.raises(ModelError, match=r"biased.*0\.5 or more.*white glass \(0\.9.*--allow-tumo"):
        predict(cohort, biased, tmp_path / "out", mode=mode)
    assert not list((tmp_path / "out").glob("*/heatmap.zarr"))
    assert predict(cohort, biased, tmp_path / "out", mode=mode, allow_tumor_on_glass=True) == 0
    assert predict(cohort, save_model(tmp_path / "good", bias=-2), tmp_path / "g", mode=mode) == 0


def test_the_mean_of_an_ensemble_counts(cohort, tmp_path):
    for name, bias in (("one", 2.0), ("two", -0.5)):
        save_model(tmp_path / "models" / name, bias=bias)
    with pytest.raises(ModelError, match="white glass"):
        predict(cohort, tmp_path / "models", tmp_path / "out")


def test_the_check_of_the_same_weights_refuses_before_any_work(cohort, tmp_path, monkeypatch):
    biased = save_model(tmp_path / "biased", bias=2)
    card = ModelCard.load(biased)
    check = check_model(lambda patches: np.full((len(patches), 2), 0.75), card)
    check.save(biased)
    cohort.save(tmp_path / "cohort.csv")
    words = ["predict", str(tmp_path / "cohort.csv"), str(biased), str(tmp_path / "out")]
    with monkeypatch.context() as patch:
        patch.setattr("gigaslide.inference.network_loader.load_predictor", pytest.fail)
        with pytest.raises(ModelError, match=r"glass \(0\.750\)"):
            predict(cohort, biased, tmp_path / "out")
    assert main(words) == 1
    assert not (tmp_path / "out").exists()
    for changed in ({"model_hash": "of other weights"}, {"rows": []}):
        (biased / CHECK).write_text(
            json.dumps({**json.loads((biased / CHECK).read_text()), **changed})
        )
        with pytest.raises(ModelError, match=r"glass \(0\.9"):
            predict(cohort, biased, tmp_path / "out")


def test_glass_is_drawn_as_the_check_draws_it():
    for stain in (None, "reinhard"):
        spec = SPEC.model_copy(update={"stain": stain, "mpps": (0.5, 1.0)})
        glass = draw_glass(spec, side_px=75)
        np.testing.assert_array_equal(glass, draw_pictures(spec)[WHITE_GLASS])
        assert draw_glass(spec, side_px=91, count=1).shape == (1, 2, 91, 91, 3)
