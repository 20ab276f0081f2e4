"""Training on whole slides as pictures, or on patches first: batches, network, maps."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from gigaslide.models import CELL_PX, build_network, pool_cells
from gigaslide.storage import SettingsError
from gigaslide.training import SlidePicture, WholeSlideSettings, train_whole_slides
from gigaslide.training.whole_slides.examples import Pictures, blur_or_sharpen
from gigaslide.wsi import InputSpec
from scipy.ndimage import binary_dilation


def picture(number: int, *, side: tuple[int, int] = (5, 8)) -> SlidePicture:
    """Odd slides are dark in 2 × 3 cells, which are tumour."""
    rng = np.random.default_rng(number)
    rows, columns = side
    image = rng.integers(170, 250, (CELL_PX * rows, CELL_PX * columns, 3)).astype(np.uint8)
    tumor = np.zeros(side, np.int8)
    if number % 2:
        tumor[1:3, 4:7] = 1
        image[CELL_PX : 3 * CELL_PX, 4 * CELL_PX : 7 * CELL_PX] //= 3
    labels = np.array([number % 2], np.int8)
    return SlidePicture(image=image, tissue=np.ones(side, bool), tumor=tumor, findings=labels)


def test_pooling_lies_between_mean_and_maximum():
    logits = np.array([[[-2.0], [3.0]], [[0.5], [9.0]]])
    inside = np.array([[True, True], [True, False]])
    values = [-2.0, 3.0, 0.5]
    expected = np.log(np.mean(np.exp(4 * np.array(values)))) / 4
    assert pool_cells(logits, inside, sharpness=4.0)[0] == pytest.approx(expected)
    assert pool_cells(logits, inside, sharpness=1e-6)[0] == pytest.approx(np.mean(values), abs=1e-4)
    assert pool_cells(logits, inside, sharpness=500.0)[0] == pytest.approx(3.0, abs=0.01)
    assert pool_cells(logits, ~inside & False, sharpness=4.0)[0] == -np.inf


@pytest.fixture(scope="module")
def trained():
    """Slides, and the scores of two trainings of the same seed, patches first, at the end."""
    slides = [picture(number) for number in range(6)]
    settings = WholeSlideSettings(steps=30, checkpoints=2, patch_px=32, learning_rate=0.01)
    found = []
    for _ in range(2):
        course = train_whole_slides(
            slides, settings, seed=3, has_patches=True, has_blur=True, side_px=128
        )
        steps = []
        for step, model in course:
            steps.append(step)
            scores = [model.predict(one) for one in slides]
            pooled = model.network.pooled.predict_on_batch(
                [np.full((1, 128, 128, 3), 200, np.float32), np.ones((1, 8, 8), np.float32)]
            )
            cells = model.network.maps.predict_on_batch(np.full((1, 128, 128, 3), 200, np.float32))
        found.append((steps, scores, np.asarray(pooled), np.asarray(cells)))
    return slides, found


def test_a_network_learns_and_its_map_shows_where(trained):
    slides, ((steps, scores, pooled, cells), _) = trained
    assert steps == [15, 30]
    slide_scores = np.array([one.slide[0] for one in scores])
    assert slide_scores[1::2].min() > slide_scores[::2].max()
    for one, slide in zip(scores[1::2], slides[1::2], strict=True):
        found, truth = one.cells[..., 0], slide.tumor == 1
        near = binary_dilation(truth, np.ones((3, 3)), iterations=2)  # what a cell looks at
        assert near.ravel()[found.argmax()]
        assert found[truth].min() > found[~near].max() + 0.2
    again = pool_cells(cells[0], np.ones((8, 8), bool), sharpness=4.0)
    np.testing.assert_allclose(pooled[0], again, rtol=1e-4, atol=1e-5)


def test_equal_seeds_give_equal_scores_whatever_was_trained_before(trained):
    _, ((_, first, *_), (_, second, *_)) = trained
    for one, two in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.cells, two.cells)


def test_a_training_begins_with_given_weights_and_keeps_their_normalisation(tmp_path):
    spec = InputSpec(patch_px=64, centre_px=32, mpps=(1.0,))
    network: Any = build_network("efficientnet_lite0", spec)
    tower = network.get_layer("efficientnet_lite0")
    rng = np.random.default_rng(4)
    for variable in tower.variables:
        if "moving_mean" in variable.path:
            variable.assign(rng.normal(0, 0.1, variable.shape))
    network.save_weights(tmp_path / "given.weights.h5")
    slides = [picture(number) for number in range(4)]
    settings = WholeSlideSettings(
        architecture="efficientnet_lite0", steps=2, checkpoints=2, patch_px=32
    )
    ends = []
    for _ in range(2):
        course = train_whole_slides(
            slides,
            settings,
            seed=1,
            has_patches=False,
            has_blur=False,
            side_px=128,
            initial_weights=str(tmp_path / "given.weights.h5"),
        )
        for _, model in course:
            found = {one.path: np.array(one) for one in model.network.maps.variables}
        ends.append(model.predict(slides[1]).cells)
    assert ends[0].shape == (5, 8, 1)
    np.testing.assert_array_equal(*ends)  # the second training does not begin where one ended
    given = {one.path: np.array(one) for one in tower.variables}
    shared = given.keys() & found.keys()
    assert len(shared) > 100
    for name in shared:
        is_same = np.array_equal(given[name], found[name])
        assert is_same == ("_bn/" in name), name


def test_patches_tell_of_tumour_alone():
    slides = [replace(picture(number), findings=np.array([number % 2, 0])) for number in (0, 1)]
    settings = WholeSlideSettings(patch_px=32, patches_per_step=4)
    pictures = Pictures(slides=slides, settings=settings, side_px=128, has_blur=False)
    batch = next(pictures.patches(np.random.default_rng(0)))
    np.testing.assert_array_equal(batch.labels, [[1, -1], [0, -1]] * 2)
    whole = next(pictures.whole(np.random.default_rng(0)))
    np.testing.assert_array_equal(whole.labels, [[1, 0], [0, 0]] * 2)


def test_patches_hold_what_their_label_says():
    slides = [picture(number, side=(5, 9)) for number in range(4)]
    unknown = replace(slides[3], tumor=np.where(slides[3].tumor == 1, 1, -1).astype(np.int8))
    settings = WholeSlideSettings(patch_px=32, patches_per_step=6)
    pictures = Pictures(
        slides=[*slides[:3], unknown], settings=settings, side_px=144, has_blur=False
    )
    batches = pictures.patches(np.random.default_rng(0))
    for _ in range(5):
        batch = next(batches)
        assert batch.images.shape == (6, 32, 32, 3)
        is_dark = (batch.images.mean(axis=3) < 90).any(axis=(1, 2))
        np.testing.assert_array_equal(batch.labels[:, 0] == 1, is_dark)
        assert (batch.labels[::2, 0] == 1).all()
    whole = next(pictures.whole(np.random.default_rng(0)))
    assert whole.images.shape == (4, 144, 144, 3)
    assert whole.cells.sum(axis=(1, 2)).tolist() == [45] * 4
    np.testing.assert_array_equal(whole.labels[:, 0], [1, 0, 1, 0])
    np.testing.assert_array_equal((whole.images.mean(axis=3) < 90).any(axis=(1, 2)), [1, 0, 1, 0])


def test_a_third_of_the_pictures_is_blurred_and_a_third_sharpened():
    image = np.random.default_rng(1).integers(60, 200, (40, 56, 3)).astype(np.uint8)
    rng, contrast = np.random.default_rng(2), []
    for _ in range(90):
        changed = blur_or_sharpen(image, rng)
        assert changed.shape == image.shape
        contrast.append(changed.std() / image.std())
    blurred, sharp = np.mean(np.array(contrast) < 0.9), np.mean(np.array(contrast) > 1.1)
    assert 0.2 < blurred < 0.47
    assert 0.2 < sharp < 0.47


def test_a_curriculum_needs_outlined_tumour_and_both_classes():
    settings = WholeSlideSettings(steps=2, patch_px=32)
    normal = [picture(number) for number in (0, 2)]
    blind = replace(picture(1), tumor=np.full((5, 8), -1, np.int8))
    for slides, has_patches, words in (
        (normal, False, "no tumour one"),
        ([*normal, blind], True, "no outlined tumour"),
    ):
        with pytest.raises(SettingsError, match=words):
            next(
                train_whole_slides(
                    slides,
                    settings,
                    seed=0,
                    has_patches=has_patches,
                    has_blur=False,
                    side_px=128,
                )
            )
