"""The network, its folder, the batches, and one short training with everything that follows from
it."""

import logging
import shutil

import numpy as np
import pytest
from gigaslide.batch import BatchSettings
from gigaslide.cohort import Cohort
from gigaslide.doctor.estimate import WEIGHTS_WRITTEN
from gigaslide.inference import PredictSettings, predict_slide
from gigaslide.models import (
    ARCHITECTURES,
    CARD,
    CHECK,
    WEIGHTS,
    ModelCard,
    build_network,
    load_network,
    load_predictor,
)
from gigaslide.patching import AugmentSettings, PatchStore, centre_crop, tile_cohort
from gigaslide.storage import SettingsError
from gigaslide.training import Sampler, TrainSettings, train
from gigaslide.training.checkpoints.checkpoint import Checkpoints
from gigaslide.training.checkpoints.files import find_checkpoints
from gigaslide.training.dataset import BatchDataset
from gigaslide.training.network.learning_rate import HalvingWithCooldown
from gigaslide.training.network.optimiser import averaged_weights, compile_network
from gigaslide.wsi import CLASSES, CellStatus, open_slide
from tiny_network import TINY
from training_store import EXTENT, SHORT, TILES, make_store, tumor_slide


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> PatchStore:
    return make_store(tmp_path_factory.mktemp("store"))


@pytest.fixture
def tiny(monkeypatch) -> None:
    """A network with dropout that trains in seconds."""
    monkeypatch.setitem(ARCHITECTURES, "compact", TINY)


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


def test_batches_depend_on_their_number_alone(store):
    augmented = sampler(store, augment=AugmentSettings(jitter_px=4))
    drawn = [augmented.draw(number).patches.tobytes() for number in range(6)]
    assert len(set(drawn)) == 6
    part = BatchDataset(sampler(store, augment=AugmentSettings(jitter_px=4)), start=2, stop=6)
    assert len(part) == 4
    assert [part[index][0].tobytes() for index in (3, 0, 1, 2)] == [drawn[5], *drawn[2:5]]


def test_learning_rate_is_halved_and_cools_down():
    schedule = HalvingWithCooldown(
        start=0.08, batch_size=32, halve_every=3_200, cooldown=0.25, steps=1_000
    )

    def expected(step: int) -> float:
        halved = 0.08 * 0.5 ** (step * 32 // 3_200)
        return halved * 0.01 ** max(0.0, (step - 750) / 250)

    for step in (0, 1, 99, 100, 101, 749, 750, 751, 900, 1_000):
        assert float(schedule(step)) == pytest.approx(expected(step), rel=1e-5)
    never = HalvingWithCooldown(
        start=0.05, batch_size=32, halve_every=2_000_000, cooldown=0, steps=10
    )
    assert float(never(10)) == pytest.approx(0.05)
    again = HalvingWithCooldown(**schedule.get_config())
    assert float(again(333)) == float(schedule(333))


def test_training_writes_a_whole_model_folder(trained, store):
    folder, outcome = trained
    assert outcome.trained
    names = {path.name for path in folder.iterdir()}
    assert names == {
        CARD,
        WEIGHTS,
        "last.weights.h5",
        "history.csv",
        "training.html",
        "training_curve.png",
        "recipe.json",
        CHECK,
    }
    card = ModelCard.load(folder)
    spec = store.input_spec.model_copy(update={"stain": "reinhard"})
    assert (card.architecture, card.input_spec) == ("compact", spec)
    assert card.training["settings"]["examples"] == 96
    assert {path.name for path in folder.parent.iterdir()} == {"model", "model.checkpoint"}
    weights = [(folder / name).stat().st_size for name in (WEIGHTS, "last.weights.h5")]
    assert [path.name for path in find_checkpoints(folder.with_name("model.checkpoint"))] == [
        "step_00000006",
        "step_00000003",
    ]
    newest = Checkpoints.of_model(folder, recipe=None).newest
    everything = (newest / "training.weights.h5").stat().st_size
    assert max(weights) < 0.6 * everything  # the optimiser's state is in the checkpoint alone


def test_doctor_knows_what_a_training_writes(trained):
    folder, _ = trained
    written = sum(
        path.stat().st_size
        for place in (folder, folder.with_name("model.checkpoint"))
        for path in place.rglob("*.h5")
    )
    estimated = WEIGHTS_WRITTEN * ARCHITECTURES["compact"].weights_bytes
    assert written <= estimated < 1.3 * written


def test_training_again_is_recognised(trained, store, caplog):
    folder, _ = trained
    before = (folder / WEIGHTS).stat().st_mtime_ns
    assert not train(store, folder, SHORT).trained
    fewer = SHORT.model_copy(update={"examples": 64, "validate_every": 16})
    with caplog.at_level(logging.WARNING):
        assert not train(store, folder, fewer).trained
    assert "96 examples" in caplog.text
    assert (folder / WEIGHTS).stat().st_mtime_ns == before


def test_more_examples_continue_and_other_settings_lose_nothing(tiny, store, tmp_path, caplog):
    folder = tmp_path / "model"
    train(store, folder, SHORT)
    first = (folder / "last.weights.h5").read_bytes()
    seen = []
    longer = SHORT.model_copy(update={"examples": 128, "validate_every": 32})
    outcome = train(store, folder, longer, on_step=lambda examples, _: seen.append(examples))
    assert seen == [112, 128]
    assert outcome.trained
    rows = (folder / "history.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows[1:]] == ["48", "96", "128"]
    with caplog.at_level(logging.WARNING):
        train(store, folder, SHORT.model_copy(update={"learning_rate": 0.01}))
    assert "settings.learning_rate: 0.002 → 0.01" in caplog.text
    for name in ("model.checkpoint.old-1", "model.old-1"):
        assert str(tmp_path / name) in caplog.text
        (kept, *_) = sorted((tmp_path / name).rglob("last.weights.h5"), reverse=True)
        assert kept.read_bytes() != first
    rows = (folder / "history.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows[1:]] == ["48", "96"]


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
    with pytest.raises(SettingsError, match="results"):
        train(store, tmp_path / "results", SHORT)
    assert (tmp_path / "results" / "thesis.txt").read_text() == "years of work"


def test_a_model_without_its_weights_is_not_unchanged(tiny, store, tmp_path):
    folder = tmp_path / "model"
    train(store, folder, SHORT)
    assert not train(store, folder, SHORT).trained
    (folder / WEIGHTS).write_bytes(b"damaged")
    assert train(store, folder, SHORT).trained  # from the checkpoint
    ModelCard.load(folder).check_weights(folder)


def test_a_copied_store_is_the_same_store(trained, store, tmp_path):
    shutil.copytree(store.path, tmp_path / "store")
    assert not train(PatchStore(tmp_path / "store"), trained[0], SHORT).trained


def test_a_recipe_sets_what_is_not_given():
    modern, paper = TrainSettings(), TrainSettings(recipe="paper")
    assert (modern.optimizer, paper.optimizer) == ("adamw", "rmsprop")
    assert paper.augment == AugmentSettings()
    assert modern.augment.contrast < paper.augment.contrast
    mixed = TrainSettings.model_validate(
        {"recipe": "paper", "learning_rate": 0.01, "augment": {"hue": 0.5}}
    )
    assert (mixed.learning_rate, mixed.schedule) == (0.01, "halving")
    assert mixed.augment == AugmentSettings(hue=0.5)
    again = TrainSettings.model_validate(mixed.model_dump())
    assert again == mixed
    assert TrainSettings(initial_weights="model").recipe == "probe"
    assert TrainSettings(initial_weights="model", recipe="modern").optimizer == "adamw"


def test_the_averaged_weights_are_kept_and_the_training_goes_on_from_its_own(tiny, store, tmp_path):
    settings = SHORT.model_copy(update={"average": 0.9})
    train(store, tmp_path / "model", settings)
    checkpoints = Checkpoints.of_model(tmp_path / "model", recipe=None)
    kept = build_network("compact", store.input_spec)
    kept.load_weights(checkpoints.newest / "last.weights.h5")
    options = settings.network_options(store.input_spec).model_dump()
    own = build_network("compact", store.input_spec, options)
    compile_network(own, settings, steps=6)
    checkpoints.load(lambda step: own)
    raw = [np.asarray(variable) for variable in own.trainable_variables]
    with averaged_weights(own):
        averages = [np.asarray(variable) for variable in own.trainable_variables]
    assert all(map(np.array_equal, averages, map(np.asarray, kept.trainable_variables)))
    assert not any(map(np.array_equal, averages, raw))
    assert all(map(np.array_equal, raw, map(np.asarray, own.trainable_variables)))


@pytest.mark.slow
def test_two_scales_are_trained_and_predicted_together(tiny, tmp_path):
    rows = [tumor_slide(tmp_path, "a", 1, "train"), tumor_slide(tmp_path, "v", 2, "validation")]
    tiles = TILES.model_copy(update={"further_mpp": (1.0,)})
    tile_cohort(Cohort.of_rows(rows), tmp_path / "store", tiles, BatchSettings(workers=0))
    store = PatchStore(tmp_path / "store")
    outcome = train(store, tmp_path / "two", SHORT.model_copy(update={"scales": (1.0, 0.5)}))
    assert outcome.card.input_spec.mpps == (0.5, 1.0)
    with open_slide(rows[0].path) as slide:
        heatmap = predict_slide(
            slide, load_predictor(tmp_path / "two"), PredictSettings(orientations=1), slide_id="a"
        )
    assert (heatmap.status == CellStatus.SCORED).any()
    with pytest.raises(SettingsError, match=r"0\.5, 1 µm/px.*0\.5, 2"):
        train(store, tmp_path / "three", SHORT.model_copy(update={"scales": (0.5, 2.0)}))


@pytest.mark.slow
def test_a_probe_fits_the_classifier_and_leaves_the_towers(tiny, store, tmp_path):
    source = tmp_path / "source"
    train(store, source, SHORT)
    probe = TrainSettings(
        recipe="probe",
        initial_weights=str(source),
        architecture="compact",
        **SHORT.model_dump(include=EXTENT - {"augment"}),
    )
    outcome = train(store, tmp_path / "probe", probe)
    assert outcome.best.examples == 96
    before, after = (
        load_network(folder, ModelCard.load(folder)).get_weights()
        for folder in (source, tmp_path / "probe")
    )
    assert all(map(np.array_equal, before[:-2], after[:-2]))
    assert not np.array_equal(before[-2], after[-2])
    assert not train(store, tmp_path / "probe", probe).trained
    source.rename(tmp_path / "away")
    assert not train(store, tmp_path / "probe", probe).trained
    (tmp_path / "away").rename(source)
    patches = np.zeros((2, *store.input_spec.shape), np.uint8)
    assert np.allclose(load_predictor(tmp_path / "probe")(patches).sum(axis=1), 1, atol=1e-5)
    longer = probe.model_copy(update={"examples": 160})
    assert train(store, tmp_path / "probe", longer).best.examples == 160
    with pytest.raises(ValueError, match="--initial-weights"):
        TrainSettings(recipe="probe")


def test_patches_are_normalised_by_the_fit_of_their_slide(store):
    scanned, normalised = (
        sampler(store, augment=None, stain=method) for method in (None, "reinhard")
    )
    one, other = scanned.draw(0), normalised.draw(0)
    assert np.array_equal(one.labels, other.labels)
    fits = normalised._stains
    assert set(fits) == {"a", "n"}
    of_batch = zip(one.patches[:, 0], other.patches[:, 0], other.slides, strict=True)
    for patch, found, slide in of_batch:
        assert np.array_equal(fits[slide].apply(patch), found)
    assert not np.array_equal(one.patches, other.patches)
