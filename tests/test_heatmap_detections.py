"""Heatmaps and detections: round trips, what NaN means, and files that were damaged."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr
from gigaslide.storage import ScoreError, StoreError
from gigaslide.wsi import CellStatus, Detections, Heatmap, row_column


def heatmap(rows: int = 700, columns: int = 530, **changes) -> Heatmap:
    rng = np.random.default_rng(6)
    status = rng.integers(0, 5, (rows, columns)).astype(np.uint8)
    probability = np.where(status == CellStatus.SCORED, rng.random((rows, columns)), np.nan).astype(
        np.float32
    )
    fields = {
        "slide": "组织 a",
        "probability": probability,
        "status": status,
        "origin_level0": (3.5, -7.25),
        "stride_level0": 130.6,
        "centre_level0": 130.6,
        "centre_px": 128,
        "slide_size": (70_000, 91_000),
        "slide_mpp": 0.2431,
        "model_hash": "abc",
    }
    return Heatmap(**{**fields, **changes})


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("heatmap") / "a.zarr"
    heatmap().save(path)
    return path


def test_round_trip_is_exact(saved):
    first, second = heatmap(), Heatmap.load(saved)
    for name in first.__dataclass_fields__:
        mine, its = getattr(first, name), getattr(second, name)
        if isinstance(mine, np.ndarray):
            assert mine.dtype == its.dtype
            assert np.array_equal(mine, its, equal_nan=mine.dtype.kind == "f")
        else:
            assert mine == its
            assert type(mine) is type(its)


def test_any_zarr_reader_finds_the_arrays(saved):
    group = zarr.open_group(saved, mode="r")
    assert group.metadata.zarr_format == 3
    assert np.array_equal(group["probability"][:], heatmap().probability, equal_nan=True)
    assert group["status"].dtype == np.uint8
    assert np.isnan(group["probability"].fill_value)
    assert group.attrs["stride_level0"] == 130.6


def test_zero_is_a_score_and_nan_is_none(tmp_path):
    """Fault 44: not looked at differs from 0 everywhere."""
    status = np.array([[1, 2, 0], [3, 4, 1]], np.uint8)
    probability = np.array([[0, np.nan, np.nan], [np.nan, np.nan, 0.25]], np.float32)
    made = heatmap(probability=probability, status=status)
    made.save(tmp_path / "a.zarr")
    loaded = Heatmap.load(tmp_path / "a.zarr")
    assert loaded.scored.tolist() == [[True, False, False], [False, False, True]]
    assert np.isnan(loaded.probability).tolist() == [[False, True, True], [True, True, False]]
    assert [loaded.count(kind) for kind in CellStatus] == [1, 2, 1, 1, 1, 0]
    assert loaded.slide_score == 0.25


@pytest.mark.parametrize(("spread", "number"), [(None, 3), (0.125, 4)])
def test_a_cell_of_the_first_pass_has_a_probability_and_a_status_of_its_own(
    tmp_path, spread, number
):
    status = np.array([[1, 2, 5], [3, 4, 5]], np.uint8)
    probability = np.array([[0.5, np.nan, 0.75], [np.nan, np.nan, 0.25]], np.float32)
    spreads = None if spread is None else np.where(np.isnan(probability), np.nan, spread)
    made = replace(heatmap(probability=probability, status=status), spread=spreads)
    made.save(tmp_path / "a.zarr")
    assert zarr.open_group(tmp_path / "a.zarr").attrs["format"] == f"gigaslide-heatmap/{number}"
    loaded = Heatmap.load(tmp_path / "a.zarr")
    assert loaded.scored.tolist() == [[True, False, True], [False, False, True]]
    assert (loaded.count(CellStatus.FIRST_PASS), loaded.slide_score) == (2, 0.75)
    assert (loaded.spread is None) == (spread is None)


def test_exactly_the_scored_cells_have_a_probability():
    scored = np.full((2, 3), CellStatus.SCORED, np.uint8)
    with pytest.raises(StoreError, match="scored cells"):
        heatmap(probability=np.array([[0, 0, np.nan], [0, 0, 0]], np.float32), status=scored)
    with pytest.raises(StoreError, match="scored cells"):
        heatmap(probability=np.zeros((2, 3), np.float32), status=scored * 2)
    with pytest.raises(StoreError, match=r"\(2, 3\).*\(3, 2\)"):
        heatmap(probability=np.zeros((2, 3), np.float32), status=scored.T)


def test_slide_without_scored_cells_scores_zero():
    empty = heatmap(
        probability=np.full((4, 5), np.nan, np.float32), status=np.full((4, 5), 2, np.uint8)
    )
    assert empty.slide_score == 0.0


def test_cell_centres_and_row_column_are_inverse():
    made = heatmap()
    cells = np.array([(0, 0), (3, 2), (699, 529), (17, 400)])
    centres = made.cell_centres(cells)
    assert centres[1].tolist() == pytest.approx([2.5 * 130.6 + 3.5, 3.5 * 130.6 - 7.25])
    back = row_column(centres, origin_level0=made.origin_level0, stride_level0=made.stride_level0)
    assert back.tolist() == cells.tolist()


def _chunk(path: Path) -> Path:
    return sorted((path / "probability" / "c").rglob("*"))[-1]


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


def _set_attribute(path: Path, **attributes) -> None:
    plain = json.loads((path / "zarr.json").read_text())
    plain["attributes"].update(attributes)
    (path / "zarr.json").write_text(json.dumps(plain))


DAMAGE = {
    "no folder": lambda path: shutil.rmtree(path),
    "no metadata": lambda path: (path / "zarr.json").unlink(),
    "metadata is no json": lambda path: (path / "zarr.json").write_text("{"),
    "no array": lambda path: shutil.rmtree(path / "status"),
    "flipped byte (27)": lambda path: _flip(_chunk(path)),
    "cut chunk (28)": lambda path: _chunk(path).write_bytes(_chunk(path).read_bytes()[:-9]),
    "another format": lambda path: _set_attribute(path, format="gigaslide-heatmap/99"),
    "an unknown field": lambda path: _set_attribute(path, colour="red"),
    "a field of another kind": lambda path: _set_attribute(path, slide_size=None),
    "deleted chunk (28)": lambda path: _chunk(path).unlink(),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_fault_27_28_damaged_heatmap_is_an_error(saved, tmp_path, damage):
    path = tmp_path / "a.zarr"
    shutil.copytree(saved, path)
    DAMAGE[damage](path)
    with pytest.raises(StoreError, match=r"a\.zarr|heatmap"):
        Heatmap.load(path)


@pytest.mark.parametrize("name", ["probability", "status"])
def test_fault_28_deleted_chunk_without_a_score_is_an_error_too(tmp_path, name):
    path = tmp_path / "a.zarr"
    shape = (20, 600)  # two chunks; glass all over
    glass = np.full(shape, CellStatus.BACKGROUND, np.uint8)
    heatmap(probability=np.full(shape, np.nan, np.float32), status=glass).save(path)
    assert Heatmap.load(path).count(CellStatus.BACKGROUND) == 12_000
    (path / name / "c" / "0" / "1").unlink()
    with pytest.raises(StoreError, match=rf"a\.zarr.*{name}"):
        Heatmap.load(path)


def test_saving_again_replaces_the_whole(saved, tmp_path):
    path = tmp_path / "a.zarr"
    heatmap().save(path)
    small = np.full((3, 4), 0.5, np.float32)
    heatmap(probability=small, status=np.ones((3, 4), np.uint8)).save(path)
    assert Heatmap.load(path).probability.shape == (3, 4)
    assert [p.name for p in tmp_path.iterdir()] == ["a.zarr"]


def detections() -> Detections:
    first = Detections.of_slide(
        "a", np.array([(1.5, 2.25), (3e5, 1e-3)]), np.array([0.1 + 0.2, 1.0])
    )
    return Detections.concatenate(
        [first, Detections.of_slide('b,"\n', np.array([(5, 6)]), np.array([0.0]))]
    )


def test_detections_round_trip(tmp_path):
    detections().save(tmp_path / "d.csv")
    loaded = Detections.load(tmp_path / "d.csv")
    assert loaded.slide.tolist() == ["a", "a", 'b,"\n']
    assert loaded.x.tolist() == [1.5, 3e5, 5]
    assert loaded.y.tolist() == [2.25, 1e-3, 6]
    assert loaded.probability.tolist() == [0.1 + 0.2, 1, 0]
    loaded.save(tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "d.csv").read_bytes()


@pytest.mark.parametrize("name", ["007", "NA", "nan", "None", "1e5", "-", "TRUE", "null"])
def test_slide_names_that_look_like_something_else_stay_names(tmp_path, name):
    Detections.of_slide(name, np.array([(1, 2)]), np.array([0.5])).save(tmp_path / "d.csv")
    assert Detections.load(tmp_path / "d.csv").slide.tolist() == [name]


def test_no_detections_are_a_table_too(tmp_path):
    Detections.concatenate([]).save(tmp_path / "d.csv")
    assert (tmp_path / "d.csv").read_text() == "slide,x,y,probability\n"
    assert len(Detections.load(tmp_path / "d.csv")) == 0


def test_detections_of_one_slide():
    assert detections().on("a").x.tolist() == [1.5, 3e5]
    assert len(detections().on("none")) == 0


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("slide,x,y\na,1,2\n", "not a table of detections"),
        ("slide,x,y,probability\na,1,2,1.5\n", r"probability 1\.5 is not in \[0, 1\]"),
        ("slide,x,y,probability\na,1,2,-0.1\n", "is not in"),
        ("slide,x,y,probability\na,1,2,nan\n", "probability nan is not in"),
        ("slide,x,y,probability\na,1,inf,0.5\n", "not finite"),
        ("slide,x,y,probability\na,1,two,0.5\n", "not a table of detections"),
        ("slide,x,y,probability\na,1,,0.5\n", "not a table of detections"),
        ("", "not a table of detections"),
        ("slide,x,y,probability\na,1,2,0.5\nb,1,2,0.5,9,9,9\n", "not a table of detections"),
    ],
)
def test_bad_detections_are_named_errors(tmp_path, content, words):
    (tmp_path / "d.csv").write_text(content)
    with pytest.raises(ScoreError, match=words) as info:
        Detections.load(tmp_path / "d.csv")
    assert "d.csv" in str(info.value)
    with pytest.raises(ScoreError, match=r"gone\.csv"):
        Detections.load(tmp_path / "gone.csv")


def test_columns_of_different_length_are_refused():
    with pytest.raises(ScoreError, match="length"):
        Detections(slide=np.array(["a"]), x=np.zeros(2), y=np.zeros(1), probability=np.zeros(1))


def test_workers_do_not_pay_for_matplotlib():
    code = "import sys, gigaslide.batch, gigaslide.patching; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=120, check=False).returncode == 0
