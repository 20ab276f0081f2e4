"""Label masks: raster to polygons and back is the same raster, at every level and any size of
strip."""

import resource
import time

import numpy as np
import pytest
import shapely
import tifffile
from bombs import claim, swell
from gigaslide.eval.camelyon16.lesions import read_level_5
from gigaslide.storage import AnnotationError
from gigaslide.wsi import DEFAULT_GROUPS, Annotation, PolygonRaster, SlideFrame
from gigaslide.wsi.annotations import mask as mask_module
from PIL import Image
from scipy import ndimage
from shapely.geometry import MultiPolygon

SQUARE_32 = np.ones((32, 32), bool)


def ragged(seed: int = 0, shape: tuple[int, int] = (301, 437)) -> np.ndarray:
    """Pieces of 1 and 2 with holes, islands in holes, px that meet by their corners, and px at the
    border."""
    rng = np.random.default_rng(seed)
    labels = np.where(ndimage.gaussian_filter(rng.normal(size=shape), 4) > 0.01, 2, 0).astype(
        np.uint8
    )
    labels[50:90, 30:100][::2, ::2] = 1
    labels[rng.random(shape) < 0.02] = 1
    labels[-1, -9:], labels[0, :7] = 2, 1
    return labels


def write(path, labels, *levels, **options):
    options = {"tile": (64, 80), "compression": "deflate", **options}
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(labels, metadata=None, subifds=0, **options)
        for level in levels:
            tiff.write(level, subfiletype=1, metadata=None, **options)
    return path


def drawn_again(
    annotation: Annotation, value: int, shape: tuple[int, int], *, px_level0: float = 1.0
) -> np.ndarray:
    # Pieces touch where px meet by their corners, never more.
    pieces = MultiPolygon([o.polygon for o in annotation.outlines if o.group == f"mask-{value}"])
    return PolygonRaster(pieces).window((0.0, 0.0), px_level0=px_level0, shape=shape)


@pytest.mark.parametrize(
    "options", [{}, {"tile": None, "rowsperstrip": 37}, {"compression": "lzw"}, {"tile": (16, 16)}]
)
def test_raster_to_polygons_to_raster_is_the_same(tmp_path, options, monkeypatch):
    monkeypatch.setattr(mask_module, "BLOCK_PX", 437 * 11)
    labels = ragged()
    annotation = Annotation.load(write(tmp_path / "mask.tif", labels, **options))
    for value in (1, 2):
        assert np.array_equal(drawn_again(annotation, value, labels.shape), labels == value)
    pieces = [o.polygon for o in annotation.outlines if o.group == "mask-2"]
    assert shapely.is_valid(np.array(pieces)).all()
    assert len(pieces) == ndimage.label(labels == 2)[1]  # pyright: ignore
    assert any(len(piece.interiors) for piece in pieces)
    assert annotation.tumor.area == (labels == 2).sum()


def test_the_finest_level_that_is_small_enough_is_read(tmp_path, monkeypatch):
    labels = ragged(1, (303, 439))
    reduced = labels[::4, ::4]
    path = write(tmp_path / "mask.tif", labels, labels[::2, ::2], reduced)
    monkeypatch.setattr(mask_module, "LARGEST_PX", reduced.size + 5)
    annotation = Annotation.load(path)
    assert np.array_equal(drawn_again(annotation, 2, reduced.shape, px_level0=4.0), reduced == 2)
    monkeypatch.setattr(mask_module, "LARGEST_PX", reduced.size - 5)
    with pytest.raises(AnnotationError, match="439 × 303 px"):
        Annotation.load(path)


def test_the_largest_image_of_a_file_is_the_mask(tmp_path):
    labels = ragged(3, (303, 439))
    path = write(tmp_path / "thumbnail first.tif", labels[::8, ::8], labels, labels[::2, ::2])
    assert np.array_equal(drawn_again(Annotation.load(path), 2, labels.shape), labels == 2)


def test_a_small_mask_is_fitted_to_its_slide(tmp_path):
    labels = np.zeros((90, 130), np.uint8)
    labels[10:30, 50:90] = 255
    path = write(tmp_path / "mask.tif", labels)
    frame = SlideFrame(width=130 * 32, height=90 * 32)
    assert Annotation.load(path, slide=frame).tumor.bounds == (50 * 32, 10 * 32, 90 * 32, 30 * 32)
    assert Annotation.load(path).tumor.bounds == (50, 10, 90, 30)
    padded = SlideFrame(width=129, height=89)
    assert Annotation.load(path, slide=padded).tumor.bounds == (50, 10, 90, 30)
    with pytest.raises(AnnotationError, match=r"\d+ × \d+.*\d+ × \d+"):
        Annotation.load(path, slide=SlideFrame(width=900, height=1300))


def test_what_values_mean(tmp_path):
    labels = ragged(2)
    assert not Annotation.load(
        write(tmp_path / "a.tif", (labels == 2) * np.uint8(255))
    ).tumor.is_empty
    binary = write(tmp_path / "b.tif", (labels == 2).astype(np.uint8))
    with pytest.raises(AnnotationError, match="binary-1"):
        Annotation.load(binary)
    assert (
        Annotation.load(binary, groups={**DEFAULT_GROUPS, "binary-1": "tumor"}).tumor.area
        == (labels == 2).sum()
    )
    with pytest.raises(AnnotationError, match="mask-7"):
        Annotation.load(
            write(tmp_path / "c.tif", labels + np.where(labels == 2, 5, 0).astype(np.uint8))
        )
    assert not Annotation.load(write(tmp_path / "d.tif", labels * 0)).outlines


def photometric_files(folder, shown: np.ndarray) -> dict[str, bool]:
    """Write a mask in every way that viewers show alike; True where it has the values 0 and 1."""
    image = Image.fromarray(shown)
    image.save(folder / "g4-white.tif", compression="group4", tiffinfo={262: 0})
    image.save(folder / "g4-black.tif", compression="group4", tiffinfo={262: 1})
    image.save(folder / "bits.tif", compression="raw")
    grey = np.where(shown, 255, 0).astype(np.uint8)
    tifffile.imwrite(folder / "u8-white.tif", 255 - grey, photometric="miniswhite")
    tifffile.imwrite(folder / "u8-black.tif", grey, photometric="minisblack")
    tifffile.imwrite(folder / "u16.tif", 65535 - grey.astype(np.uint16) * 257, photometric=0)
    colours = np.zeros((3, 256), np.uint16)
    colours[:, 0], colours[0, 1] = 65535, 40000  # a white background and dark red
    options = {"photometric": "palette", "colormap": colours}
    tifffile.imwrite(folder / "palette.tif", shown.astype(np.uint8), **options)
    is_binary = {"g4-white.tif", "g4-black.tif", "bits.tif", "palette.tif"}
    return {path.name: path.name in is_binary for path in folder.glob("*.tif")}


def test_a_mask_is_read_as_viewers_show_it(tmp_path):
    shown = np.zeros((90, 130), bool)
    shown[10:30, 50:90], shown[40:60, 7:13] = True, True
    for name, is_binary in photometric_files(tmp_path, shown).items():
        if name == "u16.tif":
            groups = {"mask-65535": "tumor"}
        else:
            groups = {"binary-1": "tumor"} if is_binary else DEFAULT_GROUPS
        annotation = Annotation.load(tmp_path / name, groups=groups)
        drawn = PolygonRaster(annotation.tumor).window((0.0, 0.0), px_level0=1, shape=(90, 130))
        assert np.array_equal(drawn, shown), name


def test_level_5_of_a_mask_is_read_as_viewers_show_it(tmp_path):
    shown = np.zeros((9, 13), bool)
    shown[2:5, 6:11] = True
    whole, part = (np.where(m, 0, 255).astype(np.uint8) for m in (np.kron(shown, SQUARE_32), shown))
    path = write(tmp_path / "a.tif", whole, part, photometric="miniswhite", tile=(64, 80))
    level = read_level_5(path, slide_size=(416, 288), slide_mpp=0.25, groups=DEFAULT_GROUPS)
    assert level is not None
    assert np.array_equal(level.tumor, shown)


def test_labels_under_white_is_zero_are_refused(tmp_path):
    path = write(tmp_path / "a.tif", ragged(3), photometric="miniswhite")
    with pytest.raises(AnnotationError, match=r"values 0, 1, 2 .*WhiteIsZero"):
        Annotation.load(path)


def test_what_is_no_mask_is_refused(tmp_path, coded_slide):
    rng = np.random.default_rng(0)
    with pytest.raises(AnnotationError, match=r"3.*uint8"):
        Annotation.load(coded_slide)
    with pytest.raises(AnnotationError, match=" 16 values"):
        Annotation.load(write(tmp_path / "a.tif", rng.integers(0, 256, (90, 130), np.uint8)))
    with pytest.raises(AnnotationError, match=r"1.*float32"):
        Annotation.load(write(tmp_path / "b.tif", rng.random((90, 130), np.float32)))
    (tmp_path / "cut.tif").write_bytes((tmp_path / "b.tif").read_bytes()[:8])
    with pytest.raises(AnnotationError, match=r"cut\.tif: a TIFF without images"):
        Annotation.load(tmp_path / "cut.tif")
    with pytest.raises(AnnotationError, match=r"gone\.tif"):
        Annotation.load(tmp_path / "gone.tif")


@pytest.mark.parametrize("claimed", [None, (65520, 65520), (23040, 23040)])
def test_fault_52_a_bomb_as_a_mask_is_refused_in_little_memory(tmp_path, claimed):
    path = write(tmp_path / "bomb.tif", np.ones((256, 320), np.uint8))
    if claimed is None:
        swell(path)
    else:
        width, height = claimed
        claim(path, ImageWidth=width, ImageLength=height, TileWidth=width, TileLength=height)
    assert path.stat().st_size < 6e6
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(AnnotationError, match=r"bomb\.tif"):
        Annotation.load(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kB
    assert time.process_time() - start < 2


def test_fault_52_noise_as_a_mask_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(mask_module, "MOST_CORNERS", 1000)
    noise = (np.random.default_rng(0).random((300, 400)) < 0.5).astype(np.uint8)
    with pytest.raises(AnnotationError, match="corners"):
        Annotation.load(write(tmp_path / "noise.tif", noise))
    smooth = np.zeros((150, 200), np.uint8)
    smooth[20:90, 30:150] = 2
    path = write(tmp_path / "noisy.tif", noise, smooth)
    assert Annotation.load(path).tumor.bounds == (60, 40, 300, 180)  # of the coarser level
