"""The network, its folder, the batches, and one short training with everything that follows from
it."""

import json
import logging
import shutil

import numpy as np
import pytest
from conftest import TUMOR_RINGS, geojson, stained_slide, write_tiff
from gigaslide.batch import BatchSettings
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.models import CARD, WEIGHTS, ModelCard, build_network
from gigaslide.patching import AugmentSettings, PatchStore, TileSettings, centre_crop, tile_cohort
from gigaslide.storage import ModelError, SettingsError
from gigaslide.training import Sampler, TrainSettings, prefetched, train
from gigaslide.training.loop import _Run
from gigaslide.wsi import CLASSES

TILES = TileSettings(
    mpp=0.5, patch_px=75, centre_px=32, margin_px=4, tumor_per_slide=20, normal_per_slide=20
)
SHORT = TrainSettings(
    examples=96,
    batch_size=16,
    validate_every=48,
    validation_patches=32,
    cooldown=0.5,
    augment=AugmentSettings(jitter_px=4),
)


def tumor_slide(folder, name, seed, split) -> CohortSlide:
    path = write_tiff(folder / f"{name}.tif", stained_slide(seed))
    annotation = folder / f"{name}.geojson"
    annotation.write_text(json.dumps(geojson(TUMOR_RINGS)))
    return CohortSlide(
        id=name, path=path, annotation=annotation, label="tumor", patient=name, split=split
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> PatchStore:
    folder = tmp_path_factory.mktemp("store")
    normal = CohortSlide(
        id="n",
        path=write_tiff(folder / "n.tif", stained_slide(3)),
        label="normal",
        patient="n",
        split="train",
    )
    rows = [tumor_slide(folder, "a", 1, "train"), normal, tumor_slide(folder, "v", 2, "validation")]
    tile_cohort(Cohort.of_rows(rows), folder / "store", TILES, BatchSettings(workers=0))
    return PatchStore(folder / "store")


@pytest.fixture(scope="module")
def trained(store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "model"
    return folder, train(store, folder, SHORT)


def sampler(store, **changes) -> Sampler:
    common = {
        "store": store,
        "split": "train",
        "spec": store.input_spec,
        "batch_size": 16,
        "seed": 4,
        "augment": None,
    }
    return Sampler(**{**common, **changes})


def test_batches_are_balanced_by_class_then_by_slide(store):
    batches = [sampler(store).draw(number) for number in range(40)]
    assert all(batch.labels.sum() == 8 for batch in batches)
    held = {
        (slide.id, name): store.read(slide.id, name, np.arange(slide.counts[name]))
        for slide in store.slides
        for name in CLASSES
        if slide.counts[name]
    }
    first = {}
    for key, patches in held.items():
        for patch in patches:
            first[centre_crop(patch, side_px=75).tobytes()] = key
    seen = dict.fromkeys(held, 0)
    for batch in batches:
        for patch, label in zip(batch.patches[:, 0], batch.labels, strict=True):
            slide, name = first[patch.tobytes()]  # a patch that is not in the store has no key
            assert CLASSES[label] == name
            seen[slide, name] += 1
    assert seen["a", "tumor"] == 320
    assert (
        abs(seen["a", "normal"] - seen["n", "normal"]) < 80
    )  # 320 draws over two slides: 4.5 standard deviations
    assert not any(slide == "v" for (slide, _), count in seen.items() if count)


def test_batches_do_not_depend_on_threads_or_start(store):
    augmented = sampler(store, augment=AugmentSettings(jitter_px=4))
    one = [batch.patches.tobytes() for batch in prefetched(augmented, start=0, stop=6, threads=1)]
    three = [batch.patches.tobytes() for batch in prefetched(augmented, start=2, stop=6, threads=3)]
    assert one[2:] == three
    assert len(set(one)) == 6


def test_training_writes_a_whole_model_folder(trained, store):
    folder, outcome = trained
    assert outcome.trained
    names = {path.name for path in folder.iterdir()}
    assert names == {
        CARD,
        WEIGHTS,
        "last.weights.h5",
        "history.csv",
        "training_curve.png",
        "recipe.json",
    }
    card = ModelCard.load(folder)
    assert (card.architecture, card.input_spec) == ("inception_v3_small", store.input_spec)
    assert card.training["settings"]["examples"] == 96
    assert not list(folder.parent.glob(".*"))


def test_training_again_is_recognised_and_a_change_is_not(trained, store, caplog):
    folder, _ = trained
    before = (folder / WEIGHTS).stat().st_mtime_ns
    again = train(store, folder, SHORT)
    assert not again.trained
    assert (folder / WEIGHTS).stat().st_mtime_ns == before
    with caplog.at_level(logging.WARNING):
        changed = _Run(store, folder, SHORT.model_copy(update={"learning_rate": 0.01}))
    assert changed.finished is None
    assert "settings.learning_rate: 0.05 → 0.01" in caplog.text


def test_a_stopped_training_goes_on_to_the_same_weights(trained, store, tmp_path):
    """Fault 40: the same steps and data, and on a CPU the same weights as an uninterrupted run."""
    folder, outcome = trained

    class StopError(Exception):
        pass

    def stop_after_a_checkpoint(examples, _figures):
        if examples > 48:
            raise StopError

    with pytest.raises(StopError):
        train(store, tmp_path / "model", SHORT, on_step=stop_after_a_checkpoint)
    assert not (tmp_path / "model").exists()
    seen = []
    resumed = train(
        store, tmp_path / "model", SHORT, on_step=lambda examples, _: seen.append(examples)
    )
    assert seen[0] == 64
    assert resumed.best.examples == outcome.best.examples
    whole, again = (build_network("inception_v3_small", store.input_spec) for _ in range(2))
    whole.load_weights(folder / "last.weights.h5")
    again.load_weights(tmp_path / "model" / "last.weights.h5")
    for a, b in zip(whole.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_fault_41_one_class_or_an_empty_fold_is_refused_before_training(store, tmp_path):
    with pytest.raises(SettingsError, match="no normal patch in split 'test'"):
        sampler(store, split="test").check()
    rows = [tumor_slide(tmp_path, "t", 5, "train")]
    only = TILES.model_copy(update={"normal_per_slide": 0})
    tile_cohort(Cohort.of_rows(rows), tmp_path / "store", only, BatchSettings(workers=0))
    with pytest.raises(SettingsError, match="no normal patch in split 'train'"):
        train(PatchStore(tmp_path / "store"), tmp_path / "model", SHORT)
    assert not (tmp_path / "model").exists()


def test_jitter_beyond_the_margin_is_refused(store, tmp_path):
    with pytest.raises(SettingsError, match="margin"):
        train(
            store,
            tmp_path / "model",
            SHORT.model_copy(update={"augment": AugmentSettings(jitter_px=5)}),
        )


def test_fault_39_nan_loss_stops_and_keeps_the_checkpoint(store, tmp_path, monkeypatch):
    good = {}

    def go_wild_after_a_checkpoint(run, batch):
        if run.step == 4:
            good.update({path.name: path.read_bytes() for path in run.checkpoint.iterdir()})
            run.network.set_weights([weight + np.inf for weight in run.network.get_weights()])
        learn(run, batch)

    learn = _Run.learn
    monkeypatch.setattr(_Run, "learn", go_wild_after_a_checkpoint)
    with pytest.raises(ModelError, match=r"learning rate below 0\.05"):
        train(store, tmp_path / "model", SHORT)
    assert not (tmp_path / "model").exists()
    kept = {path.name: path.read_bytes() for path in (tmp_path / ".model.training").iterdir()}
    assert kept == good
    assert "last.weights.h5" in kept


def test_colour_changes_grow_to_their_full_size(store):
    full = AugmentSettings(jitter_px=0, orientations=False)
    growing = sampler(store, augment=full, warm_up=10)
    plain = sampler(store, augment=None)
    assert growing.draw(0).labels.tolist() == plain.draw(0).labels.tolist()

    def departure(number: int) -> float:
        """Mean distance of each stored patch, in either class, to what became of it."""
        stored = {
            label: np.concatenate(
                [
                    store.read(s.id, name, np.arange(s.counts[name]))
                    for s in store.slides
                    if s.counts[name]
                ]
            )[:, 4:-4, 4:-4].astype(float)
            for label, name in enumerate(CLASSES)
        }
        batch = growing.draw(number)
        nearest = [
            np.abs(stored[label] - patch).mean(axis=(1, 2, 3)).min()
            for patch, label in zip(batch.patches[:, 0], batch.labels, strict=True)
        ]
        return float(np.mean(nearest))

    start, middle, end = departure(0), departure(3), departure(10)
    assert start < 1
    assert start < middle < end
    assert growing._augment_of(10) == full
    assert growing._augment_of(5).contrast == pytest.approx(full.contrast / 2)


def test_a_folder_of_somebody_else_is_never_trained_into(store, tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "thesis.txt").write_text("years of work")
    with pytest.raises(SettingsError, match="holds something else than a model"):
        train(store, tmp_path / "results", SHORT)
    assert (tmp_path / "results" / "thesis.txt").read_text() == "years of work"


def test_a_model_without_its_weights_is_not_unchanged(trained, store, tmp_path):
    copy = tmp_path / "model"
    shutil.copytree(trained[0], copy)
    assert _Run(store, copy, SHORT).finished is not None
    (copy / WEIGHTS).write_bytes(b"damaged")
    assert _Run(store, copy, SHORT).finished is None


def test_a_copied_store_is_the_same_store(trained, store, tmp_path):
    shutil.copytree(store.path, tmp_path / "store")
    assert _Run(PatchStore(tmp_path / "store"), trained[0], SHORT).finished is not None
