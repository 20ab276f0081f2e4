"""Random changes of a patch against slow twins: explicit turns, plain crops, and colour one pixel at a time."""

import colorsys

import numpy as np
import pytest
from conftest import position_coded
from gigaslide.patching import Augmentation, AugmentSettings, centre_crop, draw_augmentation
from gigaslide.wsi import ORIENTATIONS, oriented

STILL = {"shift_px": (0, 0), "orientation": 0, "brightness": 0.0, "saturation": 1.0, "hue_turn": 0.0, "contrast": 1.0}


def augmentation(**changes) -> Augmentation:
    return Augmentation(**{**STILL, **changes})


def patch(side: int = 40) -> np.ndarray:
    return np.random.default_rng(9).integers(0, 256, (side, side, 3), dtype=np.uint8)


def test_eight_orientations_are_distinct_and_are_the_turns_and_mirrors():
    image = patch(7)
    explicit = [
        image,
        image.transpose(1, 0, 2)[::-1],  # a quarter turn against the clock
        image[::-1, ::-1],
        image.transpose(1, 0, 2)[:, ::-1],
        image[:, ::-1],  # left to right
        image[:, ::-1].transpose(1, 0, 2)[::-1],
        image[::-1],
        image[:, ::-1].transpose(1, 0, 2)[:, ::-1],
    ]
    made = [oriented(image, k) for k in range(ORIENTATIONS)]
    for mine, its in zip(explicit, made, strict=True):
        assert np.array_equal(mine, its)
        assert sorted(its.reshape(-1, 3).tolist()) == sorted(image.reshape(-1, 3).tolist())
    assert len({image.tobytes() for image in map(np.ascontiguousarray, made)}) == ORIENTATIONS == 8


def test_orientation_of_a_batch_is_that_of_each_patch():
    batch = np.stack([patch(9), patch(9)[::-1]])
    for k in range(ORIENTATIONS):
        assert np.array_equal(oriented(batch, k), np.stack([oriented(image, k) for image in batch]))


def test_nothing_drawn_is_nothing_changed():
    settings = AugmentSettings(jitter_px=0, orientations=False, brightness=0, saturation=0, hue=0, contrast=0)
    image = patch(315)
    for seed in range(3):
        drawn = draw_augmentation(np.random.default_rng(seed), settings)
        assert drawn == augmentation()
        assert np.array_equal(drawn.apply(image, side_px=299), image[8:307, 8:307])


@pytest.mark.parametrize("shift", [(0, 0), (8, -8), (-3, 5), (-8, -8), (7, 0)])
@pytest.mark.parametrize("side", [75, 74])
def test_jitter_crops_exactly(shift, side):
    image = position_coded(91, 91)
    x, y = shift
    top, left = 8 + y, 8 + x
    assert np.array_equal(centre_crop(image, side_px=side, shift_px=shift), image[top : top + side, left : left + side])
    made = augmentation(shift_px=shift).apply(image, side_px=side)
    assert made.shape == (side, side, 3)
    assert (made[0, 0, 0], made[0, 0, 1]) == (8 + x, 8 + y)  # red is x, green is y


def slow_colour(image: np.ndarray, made: Augmentation) -> np.ndarray:
    """Brightness, saturation, hue, contrast about the mean, clip: with Python's own colorsys, a pixel at a time."""
    moved = np.zeros(image.shape)
    for row, column in np.ndindex(*image.shape[:2]):
        rgb = [value / 255 + made.brightness for value in image[row, column].tolist()]
        hue, saturation, value = colorsys.rgb_to_hsv(*rgb)
        saturation = min(max(saturation * made.saturation, 0), 1)
        moved[row, column] = colorsys.hsv_to_rgb((hue + made.hue_turn) % 1, saturation, value)
    mean = moved.mean(axis=(0, 1))
    return np.clip((moved - mean) * made.contrast + mean, 0, 1) * 255


@pytest.mark.parametrize(
    "changes",
    [
        {"brightness": 0.2},
        {"saturation": 0.75},
        {"saturation": 1.25},
        {"hue_turn": 0.04},
        {"hue_turn": -0.04},
        {"contrast": 0.25},
        {"contrast": 1.75},
        {"brightness": 0.17, "saturation": 1.2, "hue_turn": -0.03, "contrast": 1.6},
        {"brightness": 0.24, "saturation": 0.8, "hue_turn": 0.02, "contrast": 0.4},
    ],
)
def test_colour_equals_the_slow_twin(changes):
    # Bright enough that colours stay ≥ 0, where every definition of hue agrees.
    image = np.random.default_rng(3).integers(40, 256, (24, 24, 3), dtype=np.uint8)
    image[:4] = image[:4, :, :1]  # greys: no hue at all
    made = augmentation(**changes)
    assert np.abs(made.apply(image, side_px=24) - slow_colour(image, made)).max() <= 1.0


def test_darkened_colours_equal_the_slow_twin_where_they_stay_positive():
    image = np.random.default_rng(4).integers(80, 256, (24, 24, 3), dtype=np.uint8)
    made = augmentation(brightness=-64 / 255, saturation=1.1, hue_turn=0.03, contrast=1.3)
    assert np.abs(made.apply(image, side_px=24) - slow_colour(image, made)).max() <= 1.0


def test_brightness_alone_is_an_addition_and_contrast_keeps_the_mean():
    image = np.random.default_rng(3).integers(100, 150, (24, 24, 3), dtype=np.uint8)
    assert np.array_equal(augmentation(brightness=30 / 255).apply(image, side_px=24), image + 30)
    low = augmentation(contrast=0.5).apply(image, side_px=24).astype(float)
    assert low.mean(axis=(0, 1)) == pytest.approx(image.mean(axis=(0, 1)), abs=0.5)
    assert low.std() == pytest.approx(image.std() / 2, rel=0.05)


@pytest.mark.parametrize("brightness", [-64 / 255, 64 / 255])
def test_black_and_white_stay_finite_and_in_range(brightness):
    image = np.zeros((20, 20, 3), np.uint8)
    image[10:] = 255
    made = augmentation(brightness=brightness, saturation=1.25, hue_turn=0.04, contrast=1.75).apply(image, side_px=20)
    assert np.ptp(made, axis=2).max() <= 1  # grey stays grey
    assert made[:10].max() < made[10:].min()


def test_same_draw_same_pixels_and_another_seed_another_draw():
    image, settings = patch(315), AugmentSettings()
    draws = [draw_augmentation(np.random.default_rng(5), settings) for _ in range(2)]
    assert draws[0] == draws[1]
    assert np.array_equal(draws[0].apply(image, side_px=299), draws[1].apply(image, side_px=299))
    assert draw_augmentation(np.random.default_rng(6), settings) != draws[0]


def test_draws_fill_their_ranges_and_stay_inside():
    rng, settings = np.random.default_rng(0), AugmentSettings()
    draws = [draw_augmentation(rng, settings) for _ in range(3000)]
    for name, low, high in (
        ("brightness", -64 / 255, 64 / 255),
        ("saturation", 0.75, 1.25),
        ("hue_turn", -0.04, 0.04),
        ("contrast", 0.25, 1.75),
    ):
        values = np.array([getattr(draw, name) for draw in draws])
        assert low <= values.min() < low + 0.01 * (high - low)
        assert high >= values.max() > high - 0.01 * (high - low)
        assert values.mean() == pytest.approx((low + high) / 2, abs=0.03 * (high - low))
    shifts = np.array([draw.shift_px for draw in draws])
    assert set(shifts[:, 0]) == set(shifts[:, 1]) == set(range(-8, 9))
    assert abs(np.corrcoef(shifts.T)[0, 1]) < 0.1
    assert {draw.orientation for draw in draws} == set(range(8))


def test_stored_patch_is_not_touched():
    image = patch()
    before = image.copy()
    augmentation(brightness=0.1, orientation=5, contrast=1.5).apply(image, side_px=40)
    assert np.array_equal(image, before)
