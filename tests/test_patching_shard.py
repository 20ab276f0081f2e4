"""Shards of our own making against TensorStore's and zarr-python's; patches read in bulk against
patches one by one."""

from pathlib import Path

import numpy as np
import pytest
import tensorstore
import zarr
from conftest import position_coded, write_tiff
from gigaslide.patching import Candidates, TileSettings
from gigaslide.patching import write as write_module
from gigaslide.patching.pixels import read_pixels
from gigaslide.patching.shard import Layout, build_shard, encode_row
from gigaslide.patching.write import create_arrays, shard_key, write_shards, write_stack
from gigaslide.storage import Recipe, StoreError, kvstore_spec
from gigaslide.wsi import Region, open_slide
from tiling import write_group

P = 29
PER_SHARD = 5
ARRAYS = {"images": (P, P, 3), "augmented": (4, P - 3, P - 3, 3)}
ROWS = 13
RECIPE = Recipe(stage="tile", settings={}, inputs={})


@pytest.fixture
def small_shards(monkeypatch):
    bytes_a_row = sum(int(np.prod(shape)) for shape in ARRAYS.values())
    monkeypatch.setattr(write_module, "SHARD_BYTES", PER_SHARD * bytes_a_row)


def patches(seed: int) -> dict[str, np.ndarray]:
    """Rows of every array, half noise and half a ramp, so that chunks differ in length."""
    rng = np.random.default_rng(seed)
    found = {}
    for name, shape in ARRAYS.items():
        rows = rng.integers(0, 256, (ROWS, *shape), dtype=np.uint8)
        rows[::2] = np.arange(np.prod(shape[-2:]), dtype=np.uint8).reshape(shape[-2:])
        found[name] = rows
    return found


def opened(place: Path):
    spec = {"driver": "zarr3", "kvstore": kvstore_spec(place), "fill_missing_data_reads": False}
    return tensorstore.open(spec, open=True).result()


def written(place: Path, rows: dict[str, np.ndarray], order: np.ndarray) -> list[int]:
    """All rows, in this order, those left out unreadable."""
    create_arrays(place, ROWS, ARRAYS)
    readable, _ = write_stack(
        place,
        write_module.layouts(ROWS, ARRAYS),
        range(ROWS),
        ((int(row), {name: values[row] for name, values in rows.items()}) for row in order),
    )
    return readable


def test_our_shards_hold_what_tensorstores_hold(tmp_path, small_shards):
    rows = patches(1)
    assert written(tmp_path / "ours", rows, np.random.default_rng(0).permutation(ROWS)) != list(
        range(ROWS)
    )
    create_arrays(tmp_path / "theirs", ROWS, ARRAYS)
    for name, values in rows.items():
        theirs = opened(tmp_path / "theirs" / name)
        for first in range(0, ROWS, PER_SHARD):
            stop = min(first + PER_SHARD, ROWS)
            theirs[first:stop].write(values[first:stop]).result()
        for place in (tmp_path / "ours" / name, tmp_path / "theirs" / name):
            assert np.array_equal(opened(place).read().result(), values)
            assert np.array_equal(zarr.open_array(place, mode="r")[:], values)
        # How well LZ4 compresses is each library's affair; the files are the same, and each reads
        # the other's.
        mine, its = (
            [tmp_path / who / name / shard_key(shard, ARRAYS[name]) for shard in range(3)]
            for who in ("ours", "theirs")
        )
        for one, other in zip(mine, its, strict=True):
            content = one.read_bytes(), other.read_bytes()
            one.write_bytes(content[1])
            other.write_bytes(content[0])
        for place in (tmp_path / "ours" / name, tmp_path / "theirs" / name):
            assert np.array_equal(opened(place).read().result(), values)
        assert sorted(
            path for path in (tmp_path / "ours" / name / "c").rglob("*") if path.is_file()
        ) == sorted(mine)


def test_unreadable_rows_are_black_and_are_there(tmp_path, small_shards):
    rows = patches(2)
    readable = np.array([12, 0, 3, 11, 4])
    assert written(tmp_path, rows, readable) == readable.tolist()
    for name, values in rows.items():
        expected = np.zeros_like(values)
        expected[readable] = values[readable]
        assert np.array_equal(opened(tmp_path / name).read().result(), expected)


def test_a_shard_ends_with_its_index_and_every_changed_byte_is_told(tmp_path, small_shards):
    rows = patches(3)
    written(tmp_path, rows, np.arange(ROWS))
    file = (
        tmp_path / "images" / shard_key(2, ARRAYS["images"])
    )  # holds rows 10 to 12, and places for two more
    content = file.read_bytes()
    index = np.frombuffer(content[-16 * PER_SHARD - 4 : -4], "<u8").reshape(PER_SHARD, 2)
    assert (index[3:] == 2**64 - 1).all()
    assert index[:3, 0].tolist() == [0, *np.cumsum(index[:2, 1]).tolist()]
    assert index[:3, 1].sum() == len(content) - 16 * PER_SHARD - 4
    parts = build_shard([encode_row(row) for row in rows["images"][10:]], per_shard=PER_SHARD)
    assert b"".join(parts) == content
    for position in (20, int(index[1, 0]) + 40, len(content) - 30, len(content) - 2):
        damaged = bytearray(content)
        damaged[position] ^= 4
        file.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"(?i)blosc|digest"):
            opened(tmp_path / "images")[10:13].read().result()


@pytest.mark.parametrize(("first", "count"), [(0, 4), (1, 5), (5, 9), (10, 2), (3, 2)])
def test_fault_24_parts_of_a_shard_are_refused(tmp_path, first, count):
    layout = Layout(rows=ROWS, per_shard=PER_SHARD, shape=(P, P, 3))
    with pytest.raises(StoreError, match=f"rows {first} to {first + count} .* shards of 5"):
        write_shards(tmp_path / "images", layout, first, [layout.black] * count)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("further", [(), (1.37,)])
def test_patches_in_bulk_are_the_patches_one_by_one(tmp_path, monkeypatch, further):
    """At the slide's µm/px by plain crops of what was drawn; between levels by the slide's own
    read_region."""
    drawn = position_coded()
    path = write_tiff(tmp_path / "slide.tif", drawn)
    settings = TileSettings(mpp=0.5, patch_px=75, centre_px=32, margin_px=4, further_mpp=further)
    rng = np.random.default_rng(5)
    xy = np.stack([rng.integers(150, 1280, 60), rng.integers(150, 900, 60)], axis=1)
    none = np.zeros(len(xy), np.float32)
    rows = Candidates(
        xy=xy, tumor_fraction=none, tissue_fraction=none, lesion=none.astype(np.int32)
    )
    monkeypatch.setattr("gigaslide.patching.write.BLOCK_ROWS", 17)
    monkeypatch.setattr(
        "gigaslide.patching.write.SHARD_BYTES", 17 * 83 * 83 * 3 * len(settings.arrays)
    )
    with open_slide(path) as slide:
        found = {
            row: {name: px.copy() for name, px in of.items()}
            for row, of in read_pixels(slide, rows, settings, group="g")
        }
        assert list(found) != sorted(found)
        assert [row // 17 for row in found] == sorted(row // 17 for row in found)
        for row, (x, y) in enumerate(xy.tolist()):
            assert np.array_equal(found[row]["images"], drawn[y : y + 83, x : x + 83])
            for mpp in further:
                side = 83 * mpp / 0.5
                corner = Region(
                    x=round(x - (side - 83) / 2),
                    y=round(y - (side - 83) / 2),
                    width=round(side),
                    height=round(side),
                )
                assert np.array_equal(
                    found[row][f"images_{mpp:g}"], slide.read_region(corner, mpp=mpp)
                )


BLACK = {name: np.zeros(shape, np.uint8) for name, shape in ARRAYS.items()}


@pytest.mark.parametrize(
    ("row", "changed", "words"),
    [
        (4, {}, "row 4 .*rows 5 to 10"),  # would land at index -1
        (10, {}, "row 10 .*rows 5 to 10"),
        (
            7,
            {"images": np.zeros((P, P + 1, 3), np.uint8)},
            r"images: row 7 .*\(29, 30, 3\), not uint8 .*\(29, 29, 3\)",
        ),
        (7, {"images": np.zeros((P, P, 3), np.int8)}, "row 7 is int8"),
        (7, {"augmented": BLACK["augmented"][:3]}, r"augmented: row 7 .*\(3, 26, 26, 3\)"),
        (7, {"images_2": BLACK["images"]}, "row 7 with images, augmented, images_2 "),
        (8, {}, "row 8 came twice"),
    ],
)
def test_pixels_that_are_not_the_planned_are_refused(tmp_path, small_shards, row, changed, words):
    planned = write_module.layouts(ROWS, ARRAYS)
    with pytest.raises(StoreError, match=words):
        write_stack(tmp_path, planned, range(5, 10), [(8, BLACK), (row, {**BLACK, **changed})])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("order", [[0, 7, 3], [3, -1], [-2], [2, ROWS + 5]])
def test_rows_out_of_order_are_refused_and_leave_no_slide(
    tmp_path, small_shards, monkeypatch, order
):
    monkeypatch.setattr(write_module, "BLOCK_ROWS", PER_SHARD)
    none = np.zeros(ROWS, np.float32)
    xy = np.zeros((ROWS, 2), np.int64)
    rows = Candidates(
        xy=xy, tumor_fraction=none, tissue_fraction=none, lesion=none.astype(np.int32)
    )
    classes = {"tumor": (rows, iter([(row, BLACK) for row in order]))}
    with pytest.raises(StoreError, match=rf"tumor: row {order[-1]} of 13 came out of order"):
        write_group(tmp_path / "ill", RECIPE, classes, ARRAYS)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("further", "copies"), [((), 0), ((), 10), ((), 40), ((1.0,), 0), ((1.0, 2.0, 4.0), 0)]
)
def test_memory_of_one_write_does_not_grow_with_copies_and_scales(further, copies):
    settings = TileSettings(mpp=0.5, further_mpp=further, copies=copies)
    patch, copy, shard = 315 * 315 * 3, 299 * 299 * 3, 32 * 2**20
    held = (
        patch * (1 + 2 * len(further)) + copies * copy
    )  # further scales wait as they are, and are held then
    at_once = write_module.rows_per_stack(10**6, settings.arrays)
    assert at_once % write_module.rows_per_shard(10**6, settings.arrays) == 0
    assert held * at_once <= 4 * shard
    assert held * at_once > shard  # and yet no block is tiny
    a_block = write_module.rows_per_block(10**6, settings.arrays)
    assert a_block % write_module.rows_per_shard(10**6, settings.arrays) == 0
    assert at_once <= a_block <= 2 * at_once  # and no block takes minutes, whatever a row holds
    assert write_module.rows_per_stack(10**6, {"images": (64, 64, 3)}) > 2000  # one shard at least
