"""OME-Zarr written here by hand, in both versions and several layouts, read back pixel by pixel."""

import shutil
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import zarr
from conftest import block_means, position_coded
from gigaslide.storage import SlideError, UnreadableRegionError
from gigaslide.wsi.readers import open_reader
from test_readers_tiff import stained, whole_level

WIDTH, HEIGHT = 1131, 727
SIZES = ((1131, 727), (565, 363), (188, 121))  # by 2 and by 6, rounded down
PIXELS = position_coded(WIDTH, HEIGHT)


def write_ome_zarr(
    path: Path,
    pixels: np.ndarray = PIXELS,
    *,
    version: int = 3,
    axes: str = "yxc",
    unit: str | None = "micrometer",
    mpp: float = 0.25,
    chunk: tuple[int, ...] = (200, 256),
    whole_scale: float = 1.0,
    inside: str = "",
    **options,
) -> Path:
    """chunk is its (rows, columns); channels are kept together. whole_scale is a scale told of all
    levels at once."""
    root = zarr.open_group(path, mode="w", zarr_format=version)
    group = root.create_group(inside) if inside else root
    datasets = []
    for number, (columns, rows) in enumerate(SIZES):
        level = (
            block_means(pixels, columns=columns, rows=rows) if pixels.dtype == np.uint8 else pixels
        )
        order = [axis for axis in "yxc" if axis in axes]
        array = level.transpose(["yxc".index(axis) for axis in axes if axis in order])
        array = array[tuple(slice(None) if axis in order else None for axis in axes)]
        chunks = tuple(
            {"y": chunk[0], "x": chunk[1], "c": array.shape[axes.find("c")]}.get(axis, 1)
            for axis in axes
        )
        store = group.create_array(
            str(number),
            shape=array.shape,
            dtype=array.dtype,
            chunks=chunks,
            **({"fill_value": 0} | options),
        )
        store[:] = array
        factor = (1, 2, 6)[number]
        scale = [mpp * factor / whole_scale if axis in "yx" else 1.0 for axis in axes]
        datasets.append(
            {"path": str(number), "coordinateTransformations": [{"type": "scale", "scale": scale}]}
        )
    kinds = {"c": "channel", "t": "time"}
    names = [
        {"name": axis, "type": kinds.get(axis, "space")}
        | ({"unit": unit} if unit and axis in "zyx" else {})
        for axis in axes
    ]
    whole = [whole_scale if axis in "yx" else 1.0 for axis in axes]
    multiscale = {
        "axes": names,
        "datasets": datasets,
        "coordinateTransformations": [{"type": "scale", "scale": whole}],
    }
    if version == 2:
        group.attrs["multiscales"] = [multiscale | {"version": "0.4"}]
    else:
        group.attrs["ome"] = {"version": "0.5", "multiscales": [multiscale]}
    return path


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("axes", ["yxc", "cyx", "tczyx"])
def test_levels_scale_and_pixels(tmp_path, version, axes):
    path = write_ome_zarr(tmp_path / "slide.ome.zarr", version=version, axes=axes)
    reader, why = open_reader(path)
    assert (reader.name, why) == ("OME-Zarr chunks", "OME-Zarr, by its own chunks")
    with closing(reader):
        pyramid = reader.pyramid
        assert pyramid.mpp_xy == pytest.approx((0.25, 0.25))
        assert [(level.width, level.height) for level in pyramid.levels] == list(SIZES)
        assert [level.downsample for level in pyramid.levels] == pytest.approx([1, 2, 6])
        assert (pyramid.levels[0].tile_width, pyramid.levels[0].tile_height) == (256, 400)
        for level, (columns, rows) in enumerate(SIZES):
            assert np.array_equal(
                whole_level(reader, level), block_means(PIXELS, columns=columns, rows=rows)
            )


@pytest.mark.parametrize(
    "options",
    [
        {"version": 3, "shards": (800, 512, 3)},
        {"version": 3, "chunk": (64, 50)},
        {"version": 2, "chunk": (727, 1131)},
        {"version": 2, "chunk_key_encoding": {"name": "v2", "separator": "/"}},
        {"version": 3, "inside": "0"},
    ],
    ids=["shards", "small chunks", "one chunk", "nested", "bioformats2raw"],
)
def test_layouts(tmp_path, options):
    path = write_ome_zarr(tmp_path / "slide.zarr", **options)
    if "inside" in options:
        zarr.open_group(path, mode="a").attrs["ome"] = {
            "version": "0.5",
            "bioformats2raw.layout": 3,
        }
    with closing(open_reader(path)[0]) as reader:
        assert np.array_equal(whole_level(reader, 0), PIXELS)


@pytest.mark.parametrize(
    ("options", "mpp"),
    [
        ({"unit": "nanometer", "mpp": 250.0}, 0.25),
        ({"unit": "millimeter", "mpp": 0.00025}, 0.25),
        ({"whole_scale": 0.5}, 0.25),
        ({"unit": None}, None),
        ({"unit": "pixel"}, None),
    ],
)
def test_um_per_px_by_unit(tmp_path, options, mpp):
    with closing(open_reader(write_ome_zarr(tmp_path / "slide.zarr", **options))[0]) as reader:
        assert reader.pyramid.mpp_xy == (None if mpp is None else pytest.approx((mpp, mpp)))


def test_scale_that_cannot_be_is_not_believed(tmp_path):
    path = write_ome_zarr(tmp_path / "slide.zarr")
    group = zarr.open_group(path, mode="a")
    plain = group.attrs["ome"]
    for dataset in plain["multiscales"][0]["datasets"]:
        dataset["coordinateTransformations"] = [{"type": "scale", "scale": [0.25, 0.25, 1.0]}]
    group.attrs["ome"] = plain
    with closing(open_reader(path)[0]) as reader:
        assert [level.downsample for level in reader.pyramid.levels] == pytest.approx(
            [1, 2, 6], rel=0.01
        )


@pytest.mark.parametrize("version", [2, 3])
def test_fault_05_chunk_that_was_never_written_is_background(tmp_path, version):
    path = write_ome_zarr(
        tmp_path / "slide.zarr", stained(WIDTH, HEIGHT), version=version, chunk=(256, 256)
    )
    with closing(open_reader(path)[0]) as reader:
        expected = whole_level(reader, 0)
        assert reader.pyramid.background == (255, 255, 255)
    key = "0/c/1/2/0" if version == 3 else "0/1.2.0"
    (path / key).unlink()
    expected[256:512, 512:768] = 255
    with closing(open_reader(path)[0]) as reader:
        assert reader.tile(0, 1, 2) is None
        assert np.array_equal(whole_level(reader, 0), expected)


def test_fill_value_is_the_background(tmp_path):
    path = write_ome_zarr(tmp_path / "slide.zarr", fill_value=243)
    with closing(open_reader(path)[0]) as reader:
        assert reader.pyramid.background == (243, 243, 243)


@pytest.mark.parametrize("version", [2, 3])
def test_fault_03_damaged_chunk_is_unreadable_and_the_others_are_not(tmp_path, version):
    path = write_ome_zarr(
        tmp_path / "slide.zarr", stained(WIDTH, HEIGHT), version=version, chunk=(256, 256)
    )
    with closing(open_reader(path)[0]) as sound:
        expected = {place: sound.tile(0, *place) for place in np.ndindex(3, 5)}
    damaged = path / ("0/c/1/2/0" if version == 3 else "0/1.2.0")
    damaged.write_bytes(damaged.read_bytes()[:1000])
    with closing(open_reader(path)[0]) as reader:
        for place, tile in expected.items():
            if place == (1, 2):
                with pytest.raises(UnreadableRegionError):
                    reader.tile(0, *place)
            else:
                assert np.array_equal(reader.tile(0, *place), tile)


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        (PIXELS[..., :1], r"1 channel\(s\), expected red"),
        (np.concatenate([PIXELS, PIXELS], axis=2), r"6 channel\(s\), expected red"),
        (PIXELS.astype(np.uint16), "its pixels are uint16, expected uint8"),
    ],
)
def test_what_is_no_brightfield_slide_is_refused_by_name(tmp_path, pixels, words):
    path = write_ome_zarr(tmp_path / "cells.ome.zarr", pixels)
    with pytest.raises(SlideError, match=rf"cells\.ome\.zarr.*{words}"):
        open_reader(path)


def test_fault_02_folders_that_are_no_whole_image(tmp_path):
    with pytest.raises(SlideError, match="OME-Zarr"):
        open_reader(tmp_path)
    path = write_ome_zarr(tmp_path / "slide.zarr")
    shutil.rmtree(path / "2")
    with pytest.raises(SlideError, match=r"slide\.zarr"):
        open_reader(path)
    (path / "zarr.json").write_text("{")
    with pytest.raises(SlideError, match=r"slide\.zarr"):
        open_reader(path)
    zarr.open_group(tmp_path / "bare.zarr", mode="w")
    with pytest.raises(SlideError, match=r"bare\.zarr.*multiscales"):
        open_reader(tmp_path / "bare.zarr")


def test_fault_13_names(tmp_path):
    path = write_ome_zarr(tmp_path / "a folder" / "it's 切片 100%.zarr")
    with closing(open_reader(path)[0]) as reader:
        assert np.array_equal(whole_level(reader, 0), PIXELS)
