"""Training on outlined regions: what is learnt from, what is written, what a stop costs."""

import csv
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from conftest import even_odd
from gigaslide.batch import BatchSettings
from gigaslide.cli import main
from gigaslide.cohort import Cohort
from gigaslide.inference import PredictSettings, predict_cohort
from gigaslide.models import ModelCard, describe_model
from gigaslide.patching import AugmentSettings
from gigaslide.storage import AnnotationError, ModelError, SettingsError
from gigaslide.training import RegionSettings, RegionTraining
from gigaslide.training.regions import fit as fit_module
from gigaslide.training.regions.crops import CropSource
from gigaslide.training.regions.loss import RegionLoss, measure_dice
from gigaslide.wsi import Heatmap
from regions import (
    HEIGHT,
    SMALL,
    TISSUE,
    WIDTH,
    disc_features,
    discs,
    outline,
    region_cohort,
    region_pixels,
    region_slide,
)

GLAND = {"Gland": "tumor"}
SETTINGS = SMALL.model_copy(update={"groups": GLAND})
PLAIN = AugmentSettings(
    jitter_px=0, orientations=False, brightness=0, saturation=0, hue=0, contrast=0
)
BOX = [(60, 50), (260, 50), (260, 210), (60, 210)]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> Cohort:
    return region_cohort(tmp_path_factory.mktemp("cohort"))


@pytest.fixture(scope="module")
def trained(cohort, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "model"
    return folder, RegionTraining(cohort, SETTINGS).train(folder, seed=0)


def in_disc(seed: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.any([(x - a) ** 2 + (y - b) ** 2 < r * r for a, b, r in discs(seed)], axis=0)


def test_crops_are_the_pixels_of_the_slide_and_their_truth_lies_on_them(cohort):
    settings = SETTINGS.model_copy(update={"augment": PLAIN, "batch_size": 12})
    row = cohort.slides[0]
    crops = CropSource([row], settings, seed=3).draw(0)
    pixels = region_pixels(1)
    padded = np.pad(pixels, ((64, 64), (64, 64), (0, 0)), constant_values=255)
    with_wanted = 0
    for image, known in zip(crops.images, crops.known, strict=True):
        windows = np.lib.stride_tricks.sliding_window_view(padded, (4, 4, 3))[:, :, 0]
        at = np.argwhere((windows == image[30:34, 30:34]).all(axis=(2, 3, 4)))
        assert len(at) == 1
        top, left = at[0] - 30 - 64
        y, x = np.mgrid[:64, :64] + 0.5
        inside = in_disc(1, x + left, y + top)
        assert (known[..., 0].astype(bool) != inside).mean() < 0.02  # polygons of 40 corners
        assert known[..., 1].all()
        with_wanted += bool(inside.any())
    assert with_wanted >= 6


def test_half_of_the_crops_hold_what_is_wanted_and_turn_with_it(cohort):
    source = CropSource([cohort.slides[0]], SETTINGS, seed=1)
    for number in range(6):
        crops = source.draw(number)
        holds = crops.known[..., 0].any(axis=(1, 2))
        assert holds.sum() >= 2
        dark = crops.images.mean(axis=-1)
        for image, known in zip(dark[holds], crops.known[holds, ..., 0], strict=True):
            if 100 < known.sum() < 3500:
                assert image[known == 1].mean() < image[known == 0].mean() - 20
    again = CropSource([cohort.slides[0]], SETTINGS, seed=1).draw(4)
    assert np.array_equal(again.images, source.draw(4).images)
    assert not np.array_equal(again.images, source.draw(5).images)


def looked_at(slide, settings=SETTINGS) -> np.ndarray:
    (known,) = CropSource([slide], settings).slides
    return known.truth((0.0, 0.0), side_px=max(WIDTH, HEIGHT))[:HEIGHT, :WIDTH, 1]


def test_only_what_a_person_looked_at_is_learnt(tmp_path):
    features = disc_features(1)
    ignored = outline([(70, 60), (110, 60), (110, 90), (70, 90)], "Ignore*")
    cases = {
        "all": (features, {}),
        "region": ([*features, outline(BOX, "Region*")], {}),
        "ignored": ([*features, ignored], {}),
        "part": ([*features, outline(BOX, "Stroma")], {"exhaustive": False}),
    }
    found = {
        name: looked_at(region_slide(tmp_path, name, seed=1, features=some, **fields))
        for name, (some, fields) in cases.items()
    }
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    in_box = even_odd([(BOX, [])], x, y)
    in_ignored = (x > 70) & (x < 110) & (y > 60) & (y < 90)
    assert found["all"].all()
    assert np.array_equal(found["region"].astype(bool), in_box)
    assert np.array_equal(found["ignored"].astype(bool), ~in_ignored)
    inside = in_box | in_disc(1, x, y)
    assert (found["part"].astype(bool) != inside).mean() < 0.003


def test_places_of_crops_lie_in_regions_that_were_looked_at(tmp_path):
    features = [*disc_features(1), outline(BOX, "Region*")]
    slide = region_slide(tmp_path, "s", seed=1, features=features)
    (known,) = CropSource([slide], SETTINGS).slides
    for places in (known.positive, known.anywhere):
        assert len(places) > 3
        assert even_odd([(BOX, [])], *places.T).all()
    assert in_disc(1, *known.positive.T).all()


def test_slides_of_which_nothing_is_known_and_wrong_labels(tmp_path):
    slide = region_slide(tmp_path, "s", seed=1)
    unknown = replace(slide, annotation=None, label="")
    assert len(CropSource([unknown], SETTINGS)) == 0
    normal = replace(slide, annotation=None, label="normal")
    (known,) = CropSource([normal], SETTINGS).slides
    assert not len(known.positive)
    with pytest.raises(AnnotationError, match="has no annotation"):
        CropSource([replace(slide, annotation=None)], SETTINGS)
    with pytest.raises(SettingsError, match=r"regions\.groups"):
        RegionTraining(Cohort.of_rows([replace(normal, split="train")]), SETTINGS)
    with pytest.raises(AnnotationError, match="Gland"):
        CropSource([slide], SMALL)


def test_the_loss_is_cross_entropy_and_dice_over_what_was_looked_at():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (2, 5, 7, 1)).astype(np.float32)
    known = rng.integers(0, 2, (2, 5, 7, 2)).astype(np.float32)
    known[..., 0] *= known[..., 1]
    p = 1 / (1 + np.exp(-logits[..., 0].astype(np.float64)))
    wanted, seen = known[..., 0], known[..., 1].astype(bool)
    entropy = -np.where(wanted == 1, np.log(p), np.log(1 - p))[seen].mean()
    dice = (2 * (p * wanted)[seen].sum() + 1) / (p[seen].sum() + wanted[seen].sum() + 1)
    assert float(RegionLoss()(known, logits)) == pytest.approx(entropy + 1 - dice, rel=1e-4)
    changed = np.where(seen[..., None], logits, 9).astype(np.float32)
    assert float(RegionLoss()(known, changed)) == pytest.approx(float(RegionLoss()(known, logits)))
    assert measure_dice(p, known) == pytest.approx(
        2 * ((p > 0.5) & (wanted == 1) & seen).sum() / ((p > 0.5)[seen].sum() + wanted[seen].sum())
    )
    assert measure_dice(p * 0, known * 0) is None


def test_a_training_writes_a_model_folder_with_history_previews_and_page(trained):
    folder, outcome = trained
    assert outcome.trained
    card = ModelCard.load(folder)
    assert (card.task, card.architecture) == ("regions", "unet")
    assert (card.input_spec.centre_px, card.input_spec.mpps) == (4, (2.0,))
    assert card.training["slides"] == {"train": ["a", "b"], "validation": ["v"]}
    rows = list(csv.DictReader((folder / "history.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert all(0 <= float(row["validation_dice"]) <= 1 for row in rows)
    names = sorted(path.name for path in (folder / "previews").iterdir())
    assert names == ["epoch_0001.png", "epoch_0002.png"]
    page = (folder / "training.html").read_text()
    assert re.findall(r'data-epoch="(\d+)"', page) == ["1", "2"]
    assert 'type="range"' in page
    assert "http" not in re.sub(r"data:[^\"]+", "", page).replace("http-equiv", "")
    assert not folder.with_name("model.training.html").exists()
    facts = dict(describe_model(folder))
    assert "regions" in facts["task"]
    assert "verified" in facts["weights"]


def test_the_same_training_is_kept_and_another_one_moves_it_aside(cohort, trained):
    folder, _ = trained
    before = (folder / "card.json").read_bytes()
    assert not RegionTraining(cohort, SETTINGS).train(folder, seed=0).trained
    assert (folder / "card.json").read_bytes() == before


@pytest.mark.slow
def test_a_stopped_training_continues_to_the_same_weights(cohort, trained, tmp_path, monkeypatch):
    folder, outcome = trained
    measure = fit_module.RegionFit._measure

    def stop(self, step, loss, seconds):
        if step > SETTINGS.steps:
            raise KeyboardInterrupt
        return measure(self, step, loss, seconds)

    monkeypatch.setattr(fit_module.RegionFit, "_measure", stop)
    with pytest.raises(KeyboardInterrupt):
        RegionTraining(cohort, SETTINGS).train(tmp_path / "m", seed=0)
    assert (tmp_path / "m.training.html").exists()
    monkeypatch.undo()
    steps = []
    again = RegionTraining(cohort, SETTINGS).train(
        tmp_path / "m", seed=0, on_step=lambda done, figures: steps.append(done)
    )
    assert min(steps) > SETTINGS.steps
    assert again.card.weights_sha256 == outcome.card.weights_sha256 or _weights_near(
        tmp_path / "m", folder
    )
    assert len(list((tmp_path / "m" / "previews").iterdir())) == 2


def _weights_near(one, other) -> bool:
    """Equal to the last digits, which the threads of TensorFlow may change."""
    import h5py

    def read(path) -> dict:
        found = {}
        with h5py.File(path / "model.weights.h5") as file:
            file.visititems(
                lambda name, item: (
                    found.update({name: item[...]}) if hasattr(item, "shape") else None
                )
            )
        return found

    mine, theirs = read(one), read(other)
    return all(np.allclose(mine[name], theirs[name], atol=1e-4) for name in mine)


@pytest.mark.slow
def test_a_model_folder_and_a_name_serve_as_encoder(cohort, tmp_path):
    by_name = SETTINGS.model_copy(update={"encoder": "compact", "epochs": 1, "steps": 1})
    outcome = RegionTraining(cohort, by_name).train(tmp_path / "named", seed=0)
    assert outcome.card.options["encoder"] == "compact"
    with pytest.raises(ModelError, match="no model folder"):
        RegionTraining(cohort, SETTINGS.model_copy(update={"encoder": "missing"}))
    with pytest.raises(ModelError, match="model of patches"):
        RegionTraining(cohort, SETTINGS.model_copy(update={"encoder": str(tmp_path / "named")}))


@pytest.mark.slow
def test_discs_are_learnt_from_two_slides_and_found_on_a_third(cohort, tmp_path):
    longer = SETTINGS.model_copy(update={"epochs": 3, "steps": 20, "width": 6})
    RegionTraining(cohort, longer).train(tmp_path / "m", seed=0)
    settings = PredictSettings(orientations=1, runtime="keras", tissue=TISSUE, min_tissue=0.01)
    predict_cohort(cohort, tmp_path / "m", tmp_path / "p", settings, BatchSettings(workers=0))
    heatmap = Heatmap.load(tmp_path / "p" / "t" / "heatmap.zarr")
    y, x = np.mgrid[: heatmap.probability.shape[0], : heatmap.probability.shape[1]]
    side = heatmap.stride_level0
    wanted = in_disc(4, (x + 0.5) * side, (y + 0.5) * side) & heatmap.scored
    found = np.nan_to_num(heatmap.probability) > 0.5
    dice = 2 * (found & wanted).sum() / (found.sum() + wanted.sum())
    everything = 2 * wanted.sum() / (heatmap.scored.sum() + wanted.sum())
    assert dice > everything + 0.2
    assert dice > 0.8


@pytest.mark.slow
def test_the_command_trains_from_annotations_predicts_and_proposes(tmp_path, capsys):
    cohort = region_cohort(tmp_path)
    table = tmp_path / "cohort.csv"
    lines = ["slide,label,patient,split"]
    lines += [f"{row.path},tumor,{row.patient},{row.split}" for row in cohort if row.id in "at"]
    table.write_text("\n".join(lines))
    words = ["annotations", "save", str(table), str(tmp_path / "notes"), "a"]
    features = disc_features(1, group="Tumor")
    (tmp_path / "drawn.geojson").write_text(
        json.dumps({"type": "FeatureCollection", "features": features})
    )
    assert main([*words, str(tmp_path / "drawn.geojson"), "--accepted"]) == 0
    options = {"mpp": 2, "crop-px": 64, "cell-px": 4, "epochs": 1, "steps": 6, "batch-size": 4}
    options |= {"width": 4, "stages": 3, "tissue.mpp": 8, "tissue.min-area-um2": 1000}
    given = [word for name, value in options.items() for word in (f"--regions.{name}", str(value))]
    model = tmp_path / "model"
    train = ["train", str(table), str(model), "--task", "regions", *given]
    assert main([*train, "--annotations", str(tmp_path / "notes")]) == 0
    assert "preview Dice" in capsys.readouterr().out
    predicted = ["predict", str(table), str(model), str(tmp_path / "p"), "--orientations", "1"]
    assert main([*predicted, "--tissue.mpp", "8", "--runtime", "keras"]) == 0
    assert main([*predicted, "--mode", "fast"]) == 1
    proposed = [
        "propose",
        str(table),
        str(tmp_path / "notes"),
        "--predictions",
        str(tmp_path / "p"),
    ]
    assert main([*proposed, "--threshold", "0.01"]) == 0
    assert main([*train, "--examples", "5"]) == 1
    assert "--examples" in capsys.readouterr().err
    assert main(["train", str(table), str(model), "--regions.epochs", "3"]) == 1


def test_settings_that_contradict_each_other_are_refused():
    assert RegionSettings(augment={"hue": 0.5}).augment.jitter_px == 0
    for wrong in ({"encoder_weights": "x"}, {"cell_px": 300}, {"augment": AugmentSettings()}):
        with pytest.raises(ValueError, match=next(iter(wrong)).split("_")[0]):
            RegionSettings(**wrong)
