"""Files with several images: the largest is the slide, and its µm/px is its own."""

import logging
from contextlib import closing
from pathlib import Path

import imagecodecs
import numpy as np
import openslide
import pytest
import tifffile
import zarr
from checkups import alone
from conftest import REAL_DATA, block_means
from gigaslide.cohort import CohortSlide
from gigaslide.storage import SlideError
from gigaslide.wsi.readers import open_reader
from gigaslide.wsi.readers.openslide_reader import OpenSlideReader
from test_readers_omezarr import PIXELS as ZARR_PIXELS
from test_readers_omezarr import write_ome_zarr
from test_readers_tiff import SIZES, stained, whole_level

WIDTH, HEIGHT = SIZES[0]
PIXELS = stained(WIDTH, HEIGHT)
LEVELS = tuple(block_means(PIXELS, columns=columns, rows=rows) for columns, rows in SIZES)
TILED = {"tile": (240, 256), "compression": "deflate", "photometric": "rgb", "metadata": None}
STRIPED = {"photometric": "rgb", "metadata": None}
GLASS = np.full((300, 700, 3), 90, np.uint8)


def resolution(mpp: float) -> dict:
    return {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": "CENTIMETER"}


def thumbnail_first(path: Path) -> Path:
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(GLASS, subfiletype=1, **STRIPED, **resolution(9.0))
        tiff.write(LEVELS[0], **TILED, **resolution(0.5))
        for level in LEVELS[1:]:
            tiff.write(level, subfiletype=1, **TILED)
    return path


def coarsest_first(path: Path) -> Path:
    with tifffile.TiffWriter(path) as tiff:
        for number in (2, 1, 0):
            mpp = 0.5 * 2**number
            tiff.write(LEVELS[number], subfiletype=int(number > 0), **TILED, **resolution(mpp))
    return path


def tiled_macro_among_levels(path: Path) -> Path:
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(LEVELS[0], **TILED, **resolution(0.5))
        tiff.write(LEVELS[1], subfiletype=1, **TILED)
        tiff.write(GLASS, subfiletype=1, **TILED, **resolution(9.0))
        tiff.write(LEVELS[2], subfiletype=1, **TILED)
    return path


def label_first(path: Path) -> Path:
    options = {"tile": (240, 256), "photometric": "rgb"}
    with tifffile.TiffWriter(path, ome=True) as tiff:
        for pixels, subifds, mpp in ((GLASS, 0, 9.0), (LEVELS[0], 2, 0.5)):
            size = {"axes": "YXS", "PhysicalSizeX": mpp, "PhysicalSizeY": mpp}
            tiff.write(pixels, subifds=subifds, metadata=size, **options)
        for level in LEVELS[1:]:
            tiff.write(level, subfiletype=1, **options)
    return path


FILES = {
    "thumbnail.tif": thumbnail_first,
    "coarsest.tif": coarsest_first,
    "macro.tif": tiled_macro_among_levels,
    "label.ome.tif": label_first,
}


@pytest.mark.parametrize("place", ["on disk", "in a bucket"])
@pytest.mark.parametrize("name", FILES)
def test_the_largest_image_is_the_slide_with_its_levels_and_its_scale(
    tmp_path, bucket, name, place
):
    path = FILES[name](tmp_path / name)
    reader, _ = open_reader(path if place == "on disk" else bucket.upload(path, name))
    with closing(reader):
        found = [(level.width, level.height) for level in reader.pyramid.levels]
        assert found == list(SIZES)
        assert reader.pyramid.mpp_xy == pytest.approx((0.5, 0.5), rel=1e-3)
        for number, expected in enumerate(LEVELS):
            assert np.array_equal(whole_level(reader, number), expected)


@pytest.mark.parametrize("name", ["thumbnail.tif", "macro.tif", "label.ome.tif"])
def test_what_is_left_out_is_logged_once(tmp_path, caplog, name):
    path = FILES[name](tmp_path / name)
    with caplog.at_level(logging.INFO, "gigaslide"):
        open_reader(path)[0].close()
    (line,) = (text for text in caplog.messages if "700 × 300 px" in text and name in text)
    assert "image 3" in line if name == "macro.tif" else "image 1" in line


def two_scans(path: Path, *, mpp: float) -> Path:
    """An OME-TIFF of two pyramids, as programs make it from a file with two scenes."""
    options = {"tile": (240, 256), "photometric": "rgb"}
    with tifffile.TiffWriter(path, ome=True) as tiff:
        for levels, scale in ((LEVELS[1:], mpp), (LEVELS[:2], 0.5)):
            size = {"axes": "YXS", "PhysicalSizeX": scale, "PhysicalSizeY": scale}
            tiff.write(levels[0], subifds=1, metadata=size, **options)
            tiff.write(levels[1], subfiletype=1, **options)
    return path


@pytest.mark.parametrize(("mpp", "warnings"), [(0.5, 1), (1.0, 0)])
def test_a_further_scan_of_the_same_scale_is_told(tmp_path, caplog, mpp, warnings):
    path = two_scans(tmp_path / "scenes.ome.tif", mpp=mpp)
    with closing(open_reader(path)[0]) as reader:
        assert (reader.pyramid.levels[0].width, reader.pyramid.levels[0].height) == SIZES[0]
    told = [text for text in caplog.messages if "scenes.ome.tif" in text]
    assert ["image 1 (766 × 564 px)" in text for text in told] == [True] * warnings


def test_the_doctor_warns_of_a_further_scan(tmp_path):
    path = two_scans(tmp_path / "scenes.ome.tif", mpp=0.5)
    found = alone(CohortSlide(id="scenes", path=path, label="normal", split="train"))
    (told,) = [finding for finding in found if "766 × 564 px" in finding[2]]
    assert told[:2] == ("warning", "reader")


def test_a_further_scan_in_an_ome_zarr_is_told(tmp_path, caplog):
    group = zarr.open_group(tmp_path / "scenes.zarr", mode="w", zarr_format=3)
    group.attrs["ome"] = {"version": "0.5", "bioformats2raw.layout": 3}
    for number, mpp in enumerate((0.25, 0.25, 4.0)):
        write_ome_zarr(tmp_path / "scenes.zarr" / str(number), ZARR_PIXELS, mpp=mpp)
    open_reader(tmp_path / "scenes.zarr")[0].close()
    (told,) = caplog.messages
    assert "image 2 (" in told
    assert "image 3" not in told


def test_openslide_skips_the_macro_among_its_levels(tmp_path):
    path = tiled_macro_among_levels(tmp_path / "slide.tif")
    with openslide.OpenSlide(path) as handle:
        assert (700, 300) in handle.level_dimensions
    with closing(OpenSlideReader(path)) as reader:
        for number, expected in enumerate(LEVELS):
            assert np.array_equal(whole_level(reader, number), expected)


def test_slide_that_is_not_first_and_has_no_readable_tiles_is_refused(tmp_path):
    path = tmp_path / "slide.tif"
    planar = np.moveaxis(PIXELS, 2, 0).copy()
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(GLASS, **TILED)
        tiff.write(planar.astype(np.uint16), **TILED, planarconfig="separate")
    with pytest.raises(SlideError, match=r"slide\.tif.*16 bits"):
        open_reader(path)


def test_directory_of_made_up_size_is_not_the_slide(tmp_path):
    """One changed byte makes the label a thousand times as wide."""
    path = tmp_path / "slide.tif"
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(PIXELS, **TILED, **resolution(0.5))
        tiff.write(GLASS, **TILED)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages[1].aspage().tags["ImageWidth"].overwrite(700_000)
    with closing(open_reader(path)[0]) as reader:
        assert np.array_equal(whole_level(reader, 0), PIXELS)


def test_the_largest_image_of_bioformats2raw_is_the_slide(tmp_path, caplog):
    path = write_ome_zarr(tmp_path / "slide.zarr", version=2, axes="cyx", inside="1")
    root = zarr.open_group(path, mode="a")
    root.attrs["bioformats2raw.layout"] = 3
    macro = root.create_group("0")
    macro.create_array("0", shape=(3, 300, 400), dtype="u1", chunks=(3, 256, 256))
    (slide,) = root["1"].attrs["multiscales"]
    scale = {"type": "scale", "scale": [1.0, 16.4, 16.4]}
    dataset = {"path": "0", "coordinateTransformations": [scale]}
    macro.attrs["multiscales"] = [slide | {"datasets": [dataset]}]
    with caplog.at_level(logging.INFO, "gigaslide"), closing(open_reader(path)[0]) as reader:
        assert reader.pyramid.mpp_xy == pytest.approx((0.25, 0.25))
        assert [level.width for level in reader.pyramid.levels] == [1131, 565, 188]
        assert np.array_equal(whole_level(reader, 0), ZARR_PIXELS)
    (line,) = (text for text in caplog.messages if "400 × 300 px" in text)
    assert "image 1" in line


def test_levels_of_ome_zarr_are_sorted_and_have_the_shape_of_the_slide(tmp_path):
    path = write_ome_zarr(tmp_path / "slide.zarr")
    group = zarr.open_group(path, mode="a")
    group.create_array("macro", shape=(400, 300, 3), dtype="u1", chunks=(256, 256, 3))
    ome = group.attrs["ome"]
    (multiscale,) = ome["multiscales"]
    finest, half, sixth = multiscale["datasets"]
    multiscale["datasets"] = [sixth, finest | {"path": "macro"}, finest, half]
    group.attrs["ome"] = ome
    with closing(open_reader(path)[0]) as reader:
        assert [level.width for level in reader.pyramid.levels] == [1131, 565, 188]
        assert reader.pyramid.mpp_xy == pytest.approx((0.25, 0.25))


@pytest.mark.parametrize("axes", [None, ["c", "y", "x"]], ids=["0.2", "0.3"])
def test_old_ome_zarr_is_refused_by_its_version(tmp_path, axes):
    path = write_ome_zarr(tmp_path / "old.zarr", version=2, axes="cyx")
    group = zarr.open_group(path, mode="a")
    (multiscale,) = group.attrs["multiscales"]
    del multiscale["axes"]
    version = "0.3" if axes else "0.2"
    multiscale |= {"version": version} | ({"axes": axes} if axes else {})
    group.attrs["multiscales"] = [multiscale]
    with pytest.raises(SlideError, match=rf"old\.zarr.*{version}.*0\.4 or 0\.5"):
        open_reader(path)


@pytest.mark.parametrize("colours", ["0000FF 00FF00 FF0000", "00FFFF FF00FF FFFF00"])
def test_channels_of_other_colours_are_no_red_green_and_blue(tmp_path, colours):
    path = write_ome_zarr(tmp_path / "stains.zarr", version=2, axes="cyx")
    group = zarr.open_group(path, mode="a")
    group.attrs["omero"] = {"channels": [{"color": colour} for colour in colours.split()]}
    with pytest.raises(SlideError, match=r"stains\.zarr.*brightfield"):
        open_reader(path)
    group.attrs["omero"] = {"channels": [{"color": c} for c in ("FF0000", "00FF00", "0000ff")]}
    open_reader(path)[0].close()


@pytest.mark.parametrize("missing", ["folder", "Slidedat.ini"])
def test_mirax_without_its_folder_names_what_is_missing(tmp_path, missing):
    path = tmp_path / "slide.mrxs"
    path.write_bytes(imagecodecs.jpeg8_encode(PIXELS[:40, :60]))
    if missing == "Slidedat.ini":
        (tmp_path / "slide").mkdir()
    expected = "slide/Slidedat.ini" if missing == "Slidedat.ini" else "slide/"
    with pytest.raises(SlideError, match=rf"no {tmp_path}/{expected},"):
        open_reader(path)


@pytest.mark.real
@pytest.mark.skipif(not REAL_DATA.exists(), reason="no ../shared/data beside the repository")
def test_any_file_of_a_dicom_folder_opens_its_own_series(tmp_path):
    """Two series in one folder, of which the second has fewer levels."""
    source = sorted((REAL_DATA / "formats" / "dicom-CMU-1-Small-Region").glob("*.dcm"))
    uid = b"\x20\x00\x0e\x00UI"  # SeriesInstanceUID, explicit little endian
    for number, path in enumerate(source):
        content = path.read_bytes()
        (tmp_path / f"A-{path.name}").write_bytes(content)
        if number < 3:
            at = content.index(uid) + len(uid)
            length = int.from_bytes(content[at : at + 2], "little")
            series = content[at + 2 : at + 2 + length].rstrip(b"\0")
            other = series[:-1] + (b"1" if series[-1:] != b"1" else b"2")
            (tmp_path / f"B-{path.name}").write_bytes(content.replace(series, other))
    counts = {"A": set(), "B": set()}
    for path in tmp_path.glob("*.dcm"):
        with closing(open_reader(path)[0]) as reader:
            counts[path.name[0]].add(len(reader.pyramid.levels))
    assert all(len(found) == 1 for found in counts.values())
    assert counts["A"] != counts["B"]
