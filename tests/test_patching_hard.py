"""Hard negatives: normal patches where a heatmap was wrong, beside what the store holds, once for
each heatmap."""

import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr
from conftest import TUMOR_RINGS, as_cohort, brute_fraction, stained_slide
from gigaslide.batch import BatchSettings, open_run_folder
from gigaslide.cli import main
from gigaslide.cohort import Cohort
from gigaslide.patching import HardSettings, PatchStore, add_hard_negatives, verify_store
from gigaslide.patching import hard_negatives as hard_module
from gigaslide.storage import ClusterError, SettingsError, SlideError, StoreError
from gigaslide.wsi import CellStatus, Heatmap
from tiling import CENTRE_OFFSET, SIDE, made_slide, tile

STRIDE, ORIGIN = 30.5, (3.0, 7.0)  # level-0 px; no cell lies on the store's own grid


def write_heatmap(folder: Path, slide_id: str, *, seed: int = 0) -> Heatmap:
    """Probabilities at random over tissue, tumour or not; the upper rows were not looked at."""
    rng = np.random.default_rng(seed)
    probability = rng.random((36, 50)).astype(np.float32)
    probability[:4] = np.nan
    made = Heatmap(
        slide=slide_id,
        probability=probability,
        status=np.where(np.isnan(probability), CellStatus.BACKGROUND, CellStatus.SCORED).astype(
            np.uint8
        ),
        origin_level0=ORIGIN,
        stride_level0=STRIDE,
        centre_level0=32.0,
        centre_px=32,
        slide_size=(1531, 1127),
        slide_mpp=0.5,
        model_hash=f"model {seed}",
    )
    made.save(folder / slide_id / "heatmap.zarr")
    return made


@pytest.fixture
def heatmaps(tmp_path) -> Path:
    for slide_id in ("ill", "well", "ill_2"):  # the last is for validation
        write_heatmap(tmp_path / "predictions", slide_id)
    return tmp_path / "predictions"


def add(cohort: Cohort, store: PatchStore, heatmaps: Path, **changes):
    settings = HardSettings(**{"threshold": 0.9, "per_slide": 30, **changes})
    return add_hard_negatives(cohort, store.path, heatmaps, settings, BatchSettings(workers=0))


def files_of(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_hard_negatives_are_the_worst_normal_cells_and_nothing_is_rewritten(
    cohort, copied, heatmaps
):
    before = {
        path: stamp for path, stamp in files_of(copied.path).items() if path.parent != copied.path
    }
    first = {slide.id: slide.counts for slide in copied.slides}
    summary = add(cohort, copied, heatmaps)
    assert {o.slide: o.status for o in summary.outcomes} == {"ill": "done", "well": "done"}
    after = files_of(copied.path)
    assert {path: after[path] for path in before} == before
    store = PatchStore(copied.path)
    probability = Heatmap.load(heatmaps / "ill" / "heatmap.zarr").probability
    for slide in store.slides:
        added = slide.counts["normal"] - first[slide.id]["normal"]
        assert slide.counts["tumor"] == first[slide.id]["tumor"]
        assert added == (0 if slide.id == "ill_2" else 30)
        if not added:
            continue
        xy = store.windows(slide.id, "normal").xy[-added:]
        patches = store.read(slide.id, "normal", np.arange(-added, 0))
        pixels = stained_slide({"ill": 1, "well": 2}[slide.id])
        rings = TUMOR_RINGS if slide.id == "ill" else []
        held = store.windows(slide.id, "normal").xy[:-added]
        for (x, y), patch in zip(xy.tolist(), patches, strict=True):
            assert np.array_equal(patch, pixels[y : y + SIDE, x : x + SIDE])
            column = (x + SIDE / 2 - ORIGIN[0]) / STRIDE - 0.5
            row = (y + SIDE / 2 - ORIGIN[1]) / STRIDE - 0.5
            assert abs(column - round(column)) < 0.02
            assert abs(row - round(row)) < 0.02
            assert probability[round(row), round(column)] >= 0.9
            corner = (x + CENTRE_OFFSET + 1e-3, y + CENTRE_OFFSET + 1e-3)
            assert brute_fraction(rings, corner, side_level0=32, side_px=32) == 0
            assert np.abs(held - (x, y)).max(axis=1).min() >= 16
        cells = np.rint((xy + SIDE / 2 - ORIGIN) / STRIDE - 0.5).astype(int)
        assert (
            probability[cells[:, 1], cells[:, 0]].min() > 0.93
        )  # the worst: there are many more over 0.9
    assert not verify_store(store).damaged


def test_adding_again_adds_nothing_and_another_model_adds_more(cohort, copied, heatmaps):
    add(cohort, copied, heatmaps)
    once, stamps = PatchStore(copied.path).slides, files_of(copied.path / "ill")
    assert {o.status for o in add(cohort, copied, heatmaps).outcomes} == {"skipped"}
    assert PatchStore(copied.path).slides == once
    assert files_of(copied.path / "ill") == stamps
    write_heatmap(heatmaps, "well", seed=1)
    assert {o.slide: o.status for o in add(cohort, copied, heatmaps).outcomes} == {
        "ill": "skipped",
        "well": "done",
    }
    store = PatchStore(copied.path)
    counts = {slide.id: slide.counts["normal"] for slide in store.slides}
    assert counts == {"ill": 80, "well": 110, "ill_2": 50}
    corners = store.windows("well", "normal").xy
    assert len({tuple(corner) for corner in corners.tolist()}) == 110
    assert {slide.id: slide.sha256 for slide in once}["ill"] == {
        slide.id: slide.sha256 for slide in store.slides
    }["ill"]
    assert {slide.id: slide.sha256 for slide in once}["well"] != {
        s.id: s.sha256 for s in store.slides
    }["well"]


def test_every_file_is_on_disk_when_its_group_gets_its_name(
    cohort, heatmaps, tmp_path, monkeypatch
):
    synced, fsync = set(), os.fsync

    def seen(number: int) -> None:
        synced.add(os.fstat(number).st_ino)
        fsync(number)

    monkeypatch.setattr(os, "fsync", seen)
    well = cohort.slides[1]
    assert tile(as_cohort(well), tmp_path / "store").exit_status == 0
    assert add(as_cohort(well), PatchStore(tmp_path / "store"), heatmaps).exit_status == 0
    files = [path for path in (tmp_path / "store" / "well").rglob("*") if path.is_file()]
    assert sum("hard-" in str(path) and path.parent.name == "0" for path in files) >= 1
    assert [path for path in files if path.stat().st_ino not in synced] == []


def test_zarr_python_reads_them_and_their_recipe(cohort, copied, heatmaps):
    add(cohort, copied, heatmaps)
    (name,) = PatchStore(copied.path).attributes["slides"]["ill"]["further"]
    group = zarr.open_group(copied.path / "ill" / name, mode="r")
    recipe = group.attrs["recipe"]
    assert recipe["stage"] == "hard negatives"
    assert recipe["settings"]["hard"] == {"threshold": 0.9, "per_slide": 30}
    assert recipe["inputs"]["model"] == "model 0"
    assert group["normal/images"].shape == (30, SIDE, SIDE, 3)


def test_slides_annotated_in_part_and_without_heatmaps_give_none(cohort, copied, heatmaps):
    partly = Cohort(slides=(replace(cohort.slides[0], exhaustive=False), *cohort.slides[1:]))
    assert [o.slide for o in add(partly, copied, heatmaps).outcomes] == ["well"]
    shutil.rmtree(heatmaps / "well")
    with pytest.raises(SettingsError, match=r"no heatmap\.zarr of a training slide"):
        add(partly, copied, heatmaps)


def test_damaged_heatmap_fails_its_slide_and_the_run_is_told_as_any(cohort, copied, heatmaps):
    for chunk in (heatmaps / "ill" / "heatmap.zarr" / "probability").rglob("c/**/*"):
        if chunk.is_file():
            chunk.write_bytes(chunk.read_bytes()[:-9])
    summary = add(cohort, copied, heatmaps)
    assert {o.slide: o.status for o in summary.outcomes} == {"ill": "failed", "well": "done"}
    assert "heatmap.zarr" in summary.outcomes[0].reason
    table = (copied.path / "hard-summary.csv").read_text().splitlines()
    assert [row.split(",")[:2] for row in table[1:]] == [["ill", "failed"], ["well", "done"]]
    assert "well" in (copied.path / "hard-run.html").read_text()
    assert not (copied.path / ".run.lock").exists()


@pytest.fixture
def own(tmp_path) -> Cohort:
    """Two slides whose files are this test's alone."""
    ill = made_slide(tmp_path, "ill.tif", seed=1, label="tumor", patient="p1", split="train")
    well = made_slide(tmp_path, "well.tif", seed=2, label="normal", patient="p2", split="train")
    return as_cohort(ill, well)


def test_fault_16_slide_or_annotation_that_changed_since_the_tiling_is_refused_until_it_is_tiled_again(  # noqa: E501
    own, tmp_path
):
    store = tmp_path / "store"
    for slide in own:
        write_heatmap(tmp_path / "predictions", slide.id)
    tile(own, store)
    opened = PatchStore(store)
    assert {o.status for o in add(own, opened, tmp_path / "predictions").outcomes} == {"done"}
    (first,) = PatchStore(store).attributes["slides"]["ill"]["further"]
    annotation = own.slides[0].annotation
    assert annotation is not None
    os.utime(annotation, (1, 1))  # drawn anew
    ill, well = add(own, opened, tmp_path / "predictions").outcomes
    assert (ill.status, well.status) == ("failed", "skipped")
    assert re.search(
        r"changed since it was tiled \(inputs\.annotation\.modified: .*; tile it again first",
        ill.reason,
    )
    assert [o.status for o in tile(own, store).outcomes] == ["done", "skipped"]
    ill, well = add(own, PatchStore(store), tmp_path / "predictions").outcomes
    assert (ill.status, well.status) == ("done", "skipped")
    further = PatchStore(store).attributes["slides"]["ill"]["further"]
    assert (
        len(set(further) - {first}) == 1
    )  # under another name: it is made from another annotation


def test_failure_is_kept_through_a_tiling_until_the_row_is_mended_and_its_tables_are_apart(
    own, tmp_path, monkeypatch
):
    store = tmp_path / "store"
    for slide in own:
        write_heatmap(tmp_path / "predictions", slide.id)
    tile(own, store)
    before = {name: (store / name).read_bytes() for name in ("summary.csv", "run.html")}
    asked: list[str] = []

    def failing(slide, row, *_, **__):
        asked.append(row.id)
        raise SlideError(f"{row.id}: bad weather")

    monkeypatch.setattr(hard_module, "find_hard_negatives", failing)
    assert {o.status for o in add(own, PatchStore(store), tmp_path / "predictions").outcomes} == {
        "failed"
    }
    assert {name: (store / name).read_bytes() for name in before} == before
    assert not (store / "failures.txt").exists()
    assert "bad weather" in (store / "hard-failures.txt").read_text()
    assert "hard-failures.txt" in (store / "hard-run.html").read_text()
    tile(own, store)  # "unchanged" of the tiling is not the hard negatives' outcome
    assert {o.status for o in add(own, PatchStore(store), tmp_path / "predictions").outcomes} == {
        "failed"
    }
    assert asked == ["ill", "well"]
    mended = as_cohort(own.slides[0], replace(own.slides[1], mpp=0.5))
    tile(mended, store)
    add(mended, PatchStore(store), tmp_path / "predictions")
    assert asked == ["ill", "well", "well"]


def test_fault_25_hard_negatives_wait_for_who_tiles_the_store(cohort, copied, heatmaps):
    before = (copied.path / "zarr.json").read_text()
    refused = pytest.raises(ClusterError, match="another run works on this output")
    with open_run_folder(copied.path, BatchSettings()), refused:
        add(cohort, copied, heatmaps)
    assert (copied.path / "zarr.json").read_text() == before
    with pytest.raises(StoreError, match="no such folder"):
        add_hard_negatives(
            cohort, copied.path / "no" / "such", heatmaps, HardSettings(), BatchSettings()
        )
    assert not (copied.path / "no").exists()  # no lock is left where nothing is


def test_command_takes_the_stores_own_settings(cohort, copied, heatmaps, tmp_path, capsys):
    cohort.save(tmp_path / "cohort.csv")
    command = [
        "tile",
        str(tmp_path / "cohort.csv"),
        str(copied.path),
        "--from-heatmaps",
        str(heatmaps),
    ]
    command += ["--hard.threshold", "0.9", "--workers", "0"]
    assert main([*command, "--mpp", "0.25"]) == 1
    assert "was tiled with another --mpp" in capsys.readouterr().err
    assert main([*command, "--mpp", "0.5"]) == 0
    assert "hard negatives" in capsys.readouterr().out
    rows = json.loads((copied.path / "zarr.json").read_text())["attributes"]["slides"]
    assert [len(row.get("further", [])) for row in rows.values()] == [1, 1, 0]
