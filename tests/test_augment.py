"""Random changes of a patch against slow twins: explicit turns, plain crops, and colour one pixel
at a time."""

import colorsys
from dataclasses import replace

import cv2
import numpy as np
import pytest
from conftest import position_coded
from gigaslide.patching import (
    Augmentation,
    AugmentSettings,
    TileSettings,
    centre_crop,
    draw_augmentation,
    patch_rng,
)
from gigaslide.wsi import ORIENTATIONS, orient

STILL = {
    "shift_px": (0, 0),
    "orientation": 0,
    "brightness": 0.0,
    "saturation": 1.0,
    "hue_turn": 0.0,
    "contrast": 1.0,
}


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
    made = [orient(image, k) for k in range(ORIENTATIONS)]
    for mine, its in zip(explicit, made, strict=True):
        assert np.array_equal(mine, its)
        assert sorted(its.reshape(-1, 3).tolist()) == sorted(image.reshape(-1, 3).tolist())
    assert len({image.tobytes() for image in map(np.ascontiguousarray, made)}) == ORIENTATIONS == 8


def test_orientation_of_a_batch_is_that_of_each_patch():
    batch = np.stack([patch(9), patch(9)[::-1]])
    for k in range(ORIENTATIONS):
        assert np.array_equal(orient(batch, k), np.stack([orient(image, k) for image in batch]))


def test_nothing_drawn_is_nothing_changed():
    settings = AugmentSettings(
        jitter_px=0, orientations=False, brightness=0, saturation=0, hue=0, contrast=0
    )
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
    assert np.array_equal(
        centre_crop(image, side_px=side, shift_px=shift),
        image[top : top + side, left : left + side],
    )
    made = augmentation(shift_px=shift).apply(image, side_px=side)
    assert made.shape == (side, side, 3)
    assert (made[0, 0, 0], made[0, 0, 1]) == (8 + x, 8 + y)  # red is x, green is y


def slow_colour(image: np.ndarray, made: Augmentation) -> np.ndarray:
    """Brightness, saturation, hue, contrast about the mean, clip: with Python's own colorsys, a
    pixel at a time."""
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
    made = augmentation(brightness=brightness, saturation=1.25, hue_turn=0.04, contrast=1.75).apply(
        image, side_px=20
    )
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


def slow_stain(
    image: np.ndarray, factors: tuple[float, float], shifts: tuple[float, float]
) -> np.ndarray:
    """Unmix, change and mix one pixel at a time, by Cramer's rule."""
    h, e = np.array([0.65, 0.70, 0.29]), np.array([0.07, 0.99, 0.11])
    stains = [v / np.sqrt((v * v).sum()) for v in (h, e, np.cross(h, e))]
    whole = np.linalg.det(np.column_stack(stains))
    changed = np.zeros(image.shape)
    for place in np.ndindex(*image.shape[:2]):
        density = -np.log10((image[place].astype(float) + 1) / 256)
        amounts = []
        for k in range(3):
            columns = list(stains)
            columns[k] = density
            amounts.append(np.linalg.det(np.column_stack(columns)) / whole)
        amounts = [
            amounts[0] * factors[0] + shifts[0],
            amounts[1] * factors[1] + shifts[1],
            amounts[2],
        ]
        mixed = sum(amount * stain for amount, stain in zip(amounts, stains, strict=True))
        changed[place] = 256 * 10 ** -np.array(mixed) - 1
    return np.clip(changed, 0, 255)


@pytest.mark.parametrize(
    ("factors", "shifts"),
    [
        ((1.2, 0.9), (0.0, 0.0)),
        ((1.0, 1.0), (0.05, -0.02)),
        ((0.8, 1.15), (-0.03, 0.04)),
        ((1.3, 1.0), (0.0, 0.0)),
    ],
)
def test_stain_equals_the_slow_twin(factors, shifts):
    image = np.random.default_rng(5).integers(20, 250, (12, 15, 3), dtype=np.uint8)[:, :12]
    made = augmentation(stain_factors=factors, stain_shifts=shifts).apply(image, side_px=12)
    assert np.abs(made - slow_stain(image, factors, shifts)).max() <= 1.0


def test_more_haematoxylin_darkens_blue_nuclei_and_leaves_glass():
    glass, nucleus = np.full((9, 9, 3), 255, np.uint8), np.full((9, 9, 3), (90, 70, 140), np.uint8)
    more = augmentation(stain_factors=(1.3, 1.0))
    assert np.array_equal(more.apply(glass, side_px=9), glass)
    assert (more.apply(nucleus, side_px=9)[0, 0] < nucleus[0, 0]).all()


def test_blur_equals_an_explicit_gaussian():
    image = np.random.default_rng(6).integers(0, 256, (31, 31, 3), dtype=np.uint8)
    made = augmentation(blur_px=1.2).apply(image, side_px=31)
    reach = np.arange(-8, 9)
    weights = np.exp(-(reach**2) / (2 * 1.2**2))
    weights /= weights.sum()
    expected = sum(
        weights[k] * image.astype(float)[8 + reach[k] : 23 + reach[k]] for k in range(17)
    )
    expected = sum(weights[k] * expected[:, 8 + reach[k] : 23 + reach[k]] for k in range(17))
    assert np.abs(made[8:23, 8:23] - expected).max() <= 1.5  # OpenCV's kernel ends sooner


def test_jpeg_artefacts_grow_as_quality_falls():
    y, x = np.mgrid[:96, :96]
    image = np.stack(
        [128 + 90 * np.sin(x / 7), 128 + 90 * np.cos(y / 5), 128 + 60 * np.sin((x + y) / 9)], axis=2
    )
    image = np.rint(image).astype(np.uint8)
    off = [
        np.abs(augmentation(jpeg_quality=q).apply(image, side_px=96) - image.astype(float)).mean()
        for q in (95, 60, 20)
    ]
    assert 0 < off[0] < off[1] < off[2] < 20
    assert np.array_equal(augmentation(jpeg_quality=100).apply(image, side_px=96), image)


def test_new_changes_are_off_by_default_and_fill_their_ranges_when_on():
    rng = np.random.default_rng(0)
    plain = [draw_augmentation(rng, AugmentSettings()) for _ in range(50)]
    assert {(d.stain_factors, d.stain_shifts, d.blur_px, d.jpeg_quality) for d in plain} == {
        ((1, 1), (0, 0), 0, 100)
    }
    on = AugmentSettings(stain=0.2, stain_shift=0.05, blur_px=1.5, jpeg_quality=60)
    draws = [draw_augmentation(rng, on) for _ in range(2000)]
    factors, shifts = (
        np.array([getattr(d, name) for d in draws]) for name in ("stain_factors", "stain_shifts")
    )
    assert 0.8 <= factors.min() < 0.805 < 1.195 < factors.max() <= 1.2
    assert -0.05 <= shifts.min() < -0.049 < 0.049 < shifts.max() <= 0.05
    assert abs(np.corrcoef(factors.T)[0, 1]) < 0.1
    assert {d.jpeg_quality for d in draws} == set(range(60, 101))
    assert 0 <= min(d.blur_px for d in draws) < 0.01 < 1.49 < max(d.blur_px for d in draws) <= 1.5


def test_what_was_drawn_before_the_new_changes_is_drawn_still():
    on = AugmentSettings(stain=0.2, stain_shift=0.05, blur_px=1.5, jpeg_quality=60)
    one, other = (draw_augmentation(np.random.default_rng(7), s) for s in (AugmentSettings(), on))
    assert (one.shift_px, one.orientation, one.contrast) == (
        other.shift_px,
        other.orientation,
        other.contrast,
    )


def test_draws_belong_to_seed_slide_row_and_copy():
    places = [
        (0, "a/tumor", 3, 1),
        (1, "a/tumor", 3, 1),
        (0, "a/normal", 3, 1),
        (0, "a/tumor", 4, 1),
        (0, "a/tumor", 3, 2),
    ]
    draws = [
        draw_augmentation(patch_rng(seed=s, group=g, row=r, copy=c), AugmentSettings())
        for s, g, r, c in places * 2
    ]
    assert draws[:5] == draws[5:]
    assert len({draw.contrast for draw in draws}) == 5


def plain_apply(made: Augmentation, image: np.ndarray, side: int) -> np.ndarray:
    """All changes but JPEG, step by step in NumPy, each on the whole patch."""
    placed = orient(centre_crop(image, side_px=side, shift_px=made.shift_px), made.orientation)
    colour = placed.astype(np.float32) / 255
    if made.stain_factors != (1, 1) or made.stain_shifts != (0, 0):
        h, e = np.array([0.65, 0.70, 0.29]), np.array([0.07, 0.99, 0.11])
        stains = np.stack([v / np.linalg.norm(v) for v in (h, e, np.cross(h, e))])
        density = -np.log10((placed.astype(np.float64) + 1) / 256)
        amounts = density @ np.linalg.inv(stains)
        amounts = amounts * [*made.stain_factors, 1] + [*made.stain_shifts, 0]
        colour = np.clip((256 * 10 ** -(amounts @ stains) - 1) / 255, 0, 1).astype(np.float32)
    hsv = cv2.cvtColor(colour + np.float32(made.brightness), cv2.COLOR_RGB2HSV)
    hsv[..., 0] = np.mod(hsv[..., 0] + np.float32(360 * made.hue_turn), np.float32(360))
    hsv[..., 1] = np.clip(hsv[..., 1] * np.float32(made.saturation), 0, 1)
    colour = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    mean = np.array(cv2.mean(colour)[:3], np.float32)
    colour = (colour - mean) * np.float32(made.contrast) + mean
    if made.blur_px:
        colour = cv2.GaussianBlur(colour, (0, 0), made.blur_px, borderType=cv2.BORDER_REFLECT_101)
    return np.rint(np.clip(colour, 0, 1) * 255).astype(np.uint8)


WIDE = AugmentSettings(brightness=0.6, saturation=1, hue=0.5, contrast=1, blur_px=1.2)


def many_colours() -> np.ndarray:
    """(91, 91, 3) noise, greys, black, white and pure colours."""
    image = np.random.default_rng(11).integers(0, 256, (91, 91, 3), dtype=np.uint8)
    image[20:30] = image[20:30, :, :1]
    image[30:40] = np.where(image[30:40] > 128, 255, 0)
    image[40:45] = 0
    image[45:50] = 255
    return image


@pytest.mark.parametrize("settings", [AugmentSettings(), WIDE])
def test_the_changes_equal_plain_numpy_to_the_bit(settings):
    image = many_colours()
    for seed in range(64):
        made = draw_augmentation(np.random.default_rng(seed), settings)
        made = replace(made, orientation=seed % ORIENTATIONS)
        assert np.array_equal(made.apply(image, side_px=75), plain_apply(made, image, 75))


def test_other_amounts_of_stain_equal_plain_numpy_but_for_rounding():
    image, settings = many_colours(), AugmentSettings(stain=0.3, stain_shift=0.05)
    off = []
    for seed in range(64):
        made = draw_augmentation(np.random.default_rng(seed), settings)
        changed = made.apply(image, side_px=75).astype(int)
        off.append(np.abs(changed - plain_apply(made, image, 75)))
    assert np.max(off) <= 1
    assert np.mean(off) < 1e-4


def test_stores_tell_how_their_copies_were_stained():
    stained = TileSettings(copies=1, augment=AugmentSettings(stain=0.1))
    assert "stain_change" in stained.of_recipe()
    for settings in (TileSettings(copies=1), stained.model_copy(update={"copies": 0})):
        assert "stain_change" not in settings.of_recipe()
