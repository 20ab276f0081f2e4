"""Segmentation of whole slides in tiles: equal to the whole image at once, whatever the blocks."""

import json
from dataclasses import dataclass, field, replace

import keras
import numpy as np
import pytest
from conftest import tile_place
from gigaslide.batch import BatchSettings, open_run_folder, run_blocks
from gigaslide.cohort import Cohort
from gigaslide.inference import PredictSettings, predict_cohort
from gigaslide.inference.regions.blocks import RegionBlocks
from gigaslide.models import (
    ARCHITECTURES,
    Ensemble,
    ModelCard,
    RegionOptions,
    build_region_network,
    load_predictor,
    load_region_predictor,
)
from gigaslide.models.regions.network import find_region_layout
from gigaslide.models.regions.predictor import restore
from gigaslide.storage import ModelError, SettingsError
from gigaslide.wsi import CellStatus, Heatmap, open_slide, orient
from regions import HEIGHT, TISSUE, WIDTH, region_cohort, region_slide, write_region_model
from tiny_network import TINY

ALONE = BatchSettings(workers=0)
KERAS = {"runtime": "keras", "tissue": TISSUE, "min_tissue": 0.01}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_region_model(tmp_path_factory.mktemp("regions") / "model")


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    return region_slide(tmp_path_factory.mktemp("slides"), "s", seed=5)


def run(work: RegionBlocks, slide):
    with open_run_folder(work.out, ALONE) as folder:
        return run_blocks(work, [slide], ALONE, folder=folder)


def predict(model, slide, out, *, side_px=128, **changes) -> Heatmap:
    settings = PredictSettings(**{**KERAS, **changes})
    work = RegionBlocks(
        models=Ensemble.load(model), out=out, settings=settings, threads=1, side_px=side_px
    )
    summary = run(work, slide)
    assert [one.status for one in summary.outcomes] == ["done"]
    return Heatmap.load(out / slide.id / "heatmap.zarr")


def test_default_networks_have_the_known_number_of_parameters():
    for width, count in ((8, 493_345), (16, 1_967_041)):
        assert build_region_network(RegionOptions(width=width), 64).count_params() == count


def test_a_px_depends_on_nothing_beyond_the_reach_and_on_something_at_it():
    options = RegionOptions(width=4, stages=3)
    layout = find_region_layout(options)
    assert layout.step_px == 4
    keras.utils.set_random_seed(1)
    network = build_region_network(options, None)
    side = 16 * layout.step_px
    rng = np.random.default_rng(0)
    tile = rng.integers(0, 256, (1, side, side, 3)).astype(np.float32)
    middle, distances = side // 2, np.arange(1, side // 2)
    changed = np.repeat(tile, len(distances), axis=0)
    for one, distance in zip(changed, distances, strict=True):
        one[:, middle + distance :] = 255 - one[:, middle + distance :]
    differences = np.abs(network.predict_on_batch(changed) - network.predict_on_batch(tile))
    farthest = distances[differences[:, :, middle, 0].max(axis=1) > 1e-6].max()
    assert 0.6 * layout.reach_px <= farthest <= layout.reach_px


def test_restore_undoes_every_orientation():
    image = np.arange(4 * 4 * 3).reshape(4, 4, 3)
    for orientation in range(8):
        assert np.array_equal(restore(orient(image, orientation), orientation), image)


@pytest.mark.parametrize("orientations", [1, 8])
def test_the_heatmap_does_not_depend_on_the_blocks_and_equals_the_whole_image(
    model, slide, tmp_path, orientations
):
    found = [
        predict(model, slide, tmp_path / str(side), side_px=side, orientations=orientations)
        for side in (128, 192, 2048)
    ]
    for other in found[1:]:
        assert np.array_equal(found[0].status, other.status)
        assert np.nanmax(np.abs(found[0].probability - other.probability)) < 1e-5
    predictor = load_region_predictor(model, runtime="keras")
    step, reach = predictor.step_px, predictor.reach_px
    pad = step * (reach // step + 1)
    side = 4 * (max(WIDTH, HEIGHT) // 4 + 1) + 2 * pad
    with open_slide(slide.path) as opened:
        ((_, whole),) = opened.read_windows(np.array([[-pad, -pad]]), size=side, mpp=2.0)
    scores = predictor.score_members(np.array(whole), orientations=orientations)[0]
    inside = scores[pad : pad + 4 * (HEIGHT // 4), pad : pad + 4 * (WIDTH // 4)]
    by_cell = inside.reshape(HEIGHT // 4, 4, WIDTH // 4, 4).mean(axis=(1, 3))
    heatmap = found[0]
    cells = heatmap.probability[: HEIGHT // 4, : WIDTH // 4]
    assert heatmap.stride_level0 == 4
    assert np.nanmax(np.abs(cells - by_cell)) < 1e-5
    assert np.nanstd(cells) > 0.003
    assert heatmap.count(CellStatus.SCORED) > 4000


def test_a_stride_that_the_step_does_not_divide_changes_no_px(model, slide, tmp_path):
    fine = predict(model, slide, tmp_path / "fine", stride_px=1, orientations=1, min_tissue=0)
    coarse = predict(model, slide, tmp_path / "coarse", stride_px=7, orientations=1, min_tissue=0)
    rows, columns = HEIGHT // 7, WIDTH // 7
    probability = fine.probability[: 7 * rows, : 7 * columns]
    inside = ~np.isnan(probability).reshape(rows, 7, columns, 7).any(axis=(1, 3))
    mean = probability.reshape(rows, 7, columns, 7).mean(axis=(1, 3))
    other = coarse.probability[:rows, :columns]
    both = inside & ~np.isnan(other)
    assert both.sum() > 1000
    assert np.abs(mean - other)[both].max() < 1e-5


def test_openvino_gives_the_probabilities_of_keras(model, slide, tmp_path):
    keras_made = predict(model, slide, tmp_path / "keras", orientations=1)
    openvino = predict(model, slide, tmp_path / "openvino", orientations=1, runtime="openvino")
    assert np.nanmax(np.abs(keras_made.probability - openvino.probability)) < 1e-5


def test_a_stopped_prediction_continues_with_the_blocks_that_are_missing(
    model, slide, tmp_path, monkeypatch
):
    whole = predict(model, slide, tmp_path / "whole", orientations=1)
    done = []
    score = RegionBlocks.block

    def stop_at_third(self, context, number):
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(number)
        return score(self, context, number)

    monkeypatch.setattr(RegionBlocks, "block", stop_at_third)
    with pytest.raises(BaseException):  # noqa: B017, PT011  (of the driver's choice)
        predict(model, slide, tmp_path / "out", orientations=1)
    further = []
    monkeypatch.setattr(
        RegionBlocks,
        "block",
        lambda self, context, number: further.append(number) or score(self, context, number),
    )
    again = predict(model, slide, tmp_path / "out", orientations=1)
    assert not set(done) & set(further)
    assert len(further) > 3
    assert np.array_equal(again.probability, whole.probability, equal_nan=True)


def test_an_unreadable_tile_costs_the_cells_near_it_only(model, tmp_path):
    slide = region_slide(tmp_path, "torn", seed=5)
    offset, count = tile_place(slide.path, 1)
    content = bytearray(slide.path.read_bytes())
    content[offset : offset + count] = bytes(count)
    slide.path.write_bytes(content)
    settings = PredictSettings(**KERAS, orientations=1)
    out = tmp_path / "out"
    work = RegionBlocks(
        models=Ensemble.load(model), out=out, settings=settings, threads=1, side_px=256
    )
    (outcome,) = run(work, slide).outcomes
    heatmap = Heatmap.load(out / "torn" / "heatmap.zarr")
    lost = heatmap.count(CellStatus.UNREADABLE)
    assert outcome.status == "partial"
    assert lost > 0
    assert heatmap.scored.any()


def test_stain_normalisation_is_that_of_the_slide(slide, tmp_path):
    model = write_region_model(tmp_path / "stained", stain="reinhard")
    plain = write_region_model(tmp_path / "plain")
    with_stain = predict(model, slide, tmp_path / "a", orientations=1)
    without = predict(plain, slide, tmp_path / "b", orientations=1)
    assert np.nanmax(np.abs(with_stain.probability - without.probability)) > 1e-3


def test_several_models_give_their_mean_and_spread(slide, tmp_path):
    models = [write_region_model(tmp_path / f"m{seed}", seed=seed) for seed in (1, 2)]
    alone = [predict(one, slide, tmp_path / one.name, orientations=1) for one in models]
    both = predict(models, slide, tmp_path / "both", orientations=1)
    mean = np.mean([one.probability for one in alone], axis=0)
    assert np.nanmax(np.abs(both.probability - mean)) < 1e-6
    assert both.spread is not None
    assert np.nanmax(both.spread) > 1e-3


def test_predict_cohort_takes_such_a_model_and_makes_what_windows_make(model, tmp_path):
    cohort = region_cohort(tmp_path)
    settings = PredictSettings(**KERAS, orientations=1)
    summary = predict_cohort(cohort, model, tmp_path / "out", settings, ALONE)
    assert [one.slide for one in summary.outcomes] == ["t"]
    assert (tmp_path / "out" / "detections.csv").exists()
    assert (tmp_path / "out" / "t" / "heatmap.png").exists()
    again = predict_cohort(cohort, model, tmp_path / "out", settings, ALONE)
    assert [one.status for one in again.outcomes] == ["skipped"]


def test_settings_and_models_that_do_not_go_together_are_refused(model, tmp_path):
    cohort = Cohort.of_rows([replace(region_slide(tmp_path, "x", seed=1), split="test")])
    for name, mode in (("fast", "--mode fast"), ("fastest", "--mode fastest")):
        with pytest.raises(SettingsError, match=mode):
            predict_cohort(cohort, model, tmp_path / "o", PredictSettings(mode=name), ALONE)
    with pytest.raises(ModelError, match="segments regions"):
        load_predictor(model)
    card = json.loads((model / "card.json").read_text())
    assert card["task"] == "regions"
    other = tmp_path / "other"
    other.mkdir()
    (other / "card.json").write_text(json.dumps({**card, "task": "patches"}))
    with pytest.raises(ModelError, match="not a model folder"):
        ModelCard.load(other)


def squeezed(pixels, options, suffix):
    """Look at the mean of the whole image, as squeeze-and-excitation does."""
    image = keras.Input(pixels.shape[1:])
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same")(image)
    mean = keras.layers.GlobalAveragePooling2D(keepdims=True)(x)
    return keras.Model(image, keras.layers.Multiply()([x, mean]))(pixels)


@pytest.mark.parametrize(
    ("encoder", "why"),
    [("squeezed", "GlobalAveragePooling2D"), ("x:y", "outside")],
)
def test_encoders_that_no_tile_can_have_are_refused_by_name(encoder, why, monkeypatch):
    monkeypatch.setitem(ARCHITECTURES, "squeezed", replace(TINY, tower=squeezed))
    with pytest.raises(ModelError, match=why) as error:
        build_region_network(RegionOptions(encoder=encoder), 64)
    assert encoder in str(error.value)


def unpadded(pixels, options, suffix):
    """Shrink at the edges, as InceptionV3 does."""
    image = keras.Input(pixels.shape[1:])
    x = keras.layers.Conv2D(4, 3, strides=2, activation="relu")(image)
    x = keras.layers.MaxPooling2D(3, strides=2)(keras.layers.Conv2D(4, 3)(x))
    return keras.Model(image, x)(pixels)


def test_an_encoder_without_padding_is_padded_and_does_not_depend_on_the_tile(monkeypatch):
    monkeypatch.setitem(ARCHITECTURES, "unpadded", replace(TINY, tower=unpadded))
    options = RegionOptions(encoder="unpadded", width=4)
    layout = find_region_layout(options)
    assert layout.step_px == 4
    network = build_region_network(options, None)
    margin = 4 * -(-layout.reach_px // 4)
    image = np.random.default_rng(0).uniform(0, 255, (1, 96 + 2 * margin, 80 + 2 * margin, 3))
    whole = np.asarray(network(image))[0, 32 + margin : 48 + margin, 16 + margin : 40 + margin]
    tile = image[:, 32 : 48 + 2 * margin, 16 : 40 + 2 * margin]
    part = np.asarray(network(tile))[0, margin:-margin, margin:-margin]
    assert part.shape == whole.shape == (16, 24, 1)
    assert np.abs(part - whole).max() < 1e-5 * max(1, np.abs(whole).max())


def test_crops_that_cannot_be_halved_so_often_are_refused():
    with pytest.raises(ModelError, match="multiple"):
        build_region_network(RegionOptions(stages=5), 72)


@dataclass(frozen=True, kw_only=True)
class Damaging(RegionBlocks):
    """The scores of the first block are damaged, or lost, once another block is done."""

    done: list[int] = field(default_factory=list)
    content: bytes | None = None
    """Change of the first block's scores; None deletes them."""

    def block(self, context, number):
        record = super().block(context, number)
        self.done.append(number)
        path = context.partial.folder / "scores" / "000000"
        if number and path.exists() and self.done.count(0) == 1:
            if self.content is None:
                path.unlink()
            else:
                path.write_bytes(self.content + path.read_bytes()[len(self.content) :])
        return record


@pytest.mark.parametrize("content", [None, b"\1\2\3\4"])
def test_lost_or_damaged_scores_cost_their_block_only(model, slide, tmp_path, content):
    whole = predict(model, slide, tmp_path / "whole")
    work = Damaging(
        models=Ensemble.load(model),
        out=tmp_path / "out",
        settings=PredictSettings(**KERAS),
        threads=1,
        side_px=128,
        content=content,
    )
    summary = run(work, slide)
    assert [one.status for one in summary.outcomes] == ["done"]
    assert len(work.done) > 3
    assert sorted(work.done) == sorted([0, *range(len(work.done) - 1)])
    found = Heatmap.load(tmp_path / "out" / slide.id / "heatmap.zarr")
    np.testing.assert_array_equal(found.probability, whole.probability)
