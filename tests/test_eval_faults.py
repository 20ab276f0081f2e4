"""Numbered faults as an evaluation meets them: names that lead elsewhere, bombs, NaN, masks of any
values."""

import json
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from bombs import claim, swell
from gigaslide.cohort import Cohort
from gigaslide.eval import DetectionFiles, EvaluateSettings, SlideStatus, evaluate_cohort
from gigaslide.storage import ScoreError, SettingsError
from predictions import LESION, QUICK, Bench

STRANGE = [
    "../t",
    "..%2ft",
    "%2e%2e/t",
    "/etc/passwd",
    "t/../../t",
    "t\0",
    "http://127.0.0.1/t",
    "who",
]


@pytest.mark.parametrize("name", STRANGE)
@pytest.mark.parametrize("suffix", ["", ".tif"])
def test_fault_49_a_table_cannot_name_what_the_cohort_does_not_list(tmp_path, name, suffix):
    path = tmp_path / "all.csv"
    path.write_text(
        f'slide,x,y,p\nt,1,2,0.5\n"{name}{suffix}",1,2,0.5\n', encoding="utf-8", newline=""
    )
    with pytest.raises(ScoreError) as caught:
        DetectionFiles.load(path, ["t"])
    assert "\n" not in str(caught.value)
    assert "all.csv, line" in str(caught.value)


def test_fault_49_predictions_are_read_from_their_folder_only(plain: Bench, tmp_path):
    """A heatmap that lies beside the folder, asked for by an id that leads there."""
    plain.predictions = plain.folder / "elsewhere"
    plain.predict("t", points=[(600, 200, 0.9)])
    plain.predictions = plain.folder / "predictions"
    assert (plain.predictions / "../elsewhere/t/heatmap.zarr").exists()
    plain.rows[0] = replace(plain.rows[0], id="../elsewhere/t")
    got = plain.evaluate()
    assert got.results[0].status == SlideStatus.FAILED
    assert "../elsewhere/t" in got.results[0].reason
    assert got.results[1].in_figures


def test_fault_49_nothing_is_written_outside_the_report(bench: Bench):
    name = "../../x<b>"
    bench.slide(name, "normal")
    given = bench.folder / "all.csv"
    given.write_text(f'slide,x,y,p\n"{name}",1,2,0.5\n')
    before = {
        path for path in bench.folder.parent.rglob("*") if bench.folder / "out" not in path.parents
    }
    evaluate_cohort(Cohort(slides=tuple(bench.rows)), given, bench.folder / "out", QUICK)
    after = {
        path for path in bench.folder.parent.rglob("*") if bench.folder / "out" not in path.parents
    }
    assert after - before == {bench.folder / "out"}
    assert all(path.parent == bench.folder / "out" for path in (bench.folder / "out").iterdir())


def mask_in_two_levels(path):
    """Of 2 560 × 1 792 px, with a level 5."""
    mask = np.zeros((56, 80), np.uint8)
    mask[10:30, 20:50] = 2
    with tifffile.TiffWriter(path) as tiff:
        for index, level in enumerate((np.kron(mask, np.ones((32, 32), np.uint8)), mask)):
            tiff.write(
                level,
                tile=(128, 128),
                compression="zlib",
                subfiletype=int(index > 0),
                metadata=None,
            )
    return path


READ_BOMBS = """
import json, resource, sys, time
from pathlib import Path
from gigaslide.eval.camelyon16.lesions import read_level_5
from gigaslide.storage import AnnotationError

def peak_kb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

frame = {"slide_size": (2560, 1792), "slide_mpp": 0.25, "groups": {"mask-2": "tumor"}}
before, start = peak_kb(), time.process_time()
try:
    whole = read_level_5(Path(sys.argv[1]), **frame)
except AnnotationError as error:
    whole = str(error)
tiled = read_level_5(Path(sys.argv[2]), **frame)
seconds = time.process_time() - start
print(json.dumps({"whole": whole, "tiled": tiled, "grown_kb": peak_kb() - before, "seconds": seconds}))
"""  # in a process of its own: this one's peak may be higher already  # noqa: E501


def test_fault_52_a_bomb_in_a_masks_level_5_costs_little(tmp_path):
    whole, tiled = (
        mask_in_two_levels(tmp_path / "mask.tif"),
        mask_in_two_levels(tmp_path / "tiled.tif"),
    )
    swell(whole, page=1)
    claim(tiled, page=1, TileWidth=32_768, TileLength=32_768)
    command = [sys.executable, "-c", READ_BOMBS, str(whole), str(tiled)]
    told = json.loads(
        subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    )
    assert "mask.tif: its level of downsample 32 cannot be decoded" in told["whole"]
    assert told["tiled"] is None  # drawn from the outlines instead
    assert told["grown_kb"] < 300_000
    assert told["seconds"] < 3


def test_fault_52_a_slide_with_a_bomb_for_a_mask_is_left_out_and_the_others_are_not(plain: Bench):
    path = plain.folder / "mask.tif"
    tifffile.imwrite(path, np.full((256, 320), 255, np.uint8), tile=(128, 128), compression="zlib")
    claim(path, ImageWidth=65_520, ImageLength=65_520, TileWidth=65_520, TileLength=65_520)
    plain.slide("u", "tumor", patient="r")
    plain.rows[2] = replace(plain.rows[2], annotation=path)
    plain.predict("u")
    start = time.process_time()
    got = plain.evaluate()
    assert time.process_time() - start < 10
    assert [j.in_figures for j in got.results] == [True, True, False]
    assert "mask.tif" in got.results[2].reason


@pytest.mark.parametrize(
    "text", ["0.5,1,2\nnan,600,200\n", "0.5,1,2\nNaN,600,200\n", "0.5,1,2\n,600,200\n"]
)
def test_fault_44_a_nan_probability_is_refused_and_never_0(bench: Bench, text):
    bench.slide("t", "tumor", tumor=(LESION,))
    given = bench.folder / "given"
    given.mkdir()
    (given / "t.csv").write_text(text)
    with pytest.raises(ScoreError, match=r"t\.csv, line 2: probability is"):
        evaluate_cohort(Cohort(slides=tuple(bench.rows)), given, bench.folder / "out", QUICK)


@pytest.mark.parametrize("value", [1, 2, 255])
def test_masks_of_any_values_are_the_same_truth_from_file_to_score(bench: Bench, value):
    """0/1 only where --groups says what 1 means: in CAMELYON16 it is tissue."""
    path = bench.folder / f"mask-{value}.tif"
    mask = np.zeros((700, 900), np.uint8)
    mask[128:320, 512:768] = value
    tifffile.imwrite(path, mask, tile=(128, 128), compression="zlib", metadata=None)
    bench.slide("t", "tumor")
    bench.rows[0] = replace(bench.rows[0], annotation=path)
    bench.slide("n", "normal")
    given = bench.folder / "all.csv"
    given.write_text("slide,x,y,p\nt,600,200,0.9\nt,200,600,0.8\nn,5,5,0.7\n")
    if value == 1:
        left_out = evaluate_cohort(
            Cohort(slides=tuple(bench.rows)), given, bench.folder / "out", QUICK
        ).results[0]
        assert "group 'binary-1'" in left_out.reason
        assert "--groups" in left_out.reason
    settings = EvaluateSettings(resamples=20, groups={"binary-1": "tumor"} if value == 1 else {})
    got = evaluate_cohort(Cohort(slides=tuple(bench.rows)), given, bench.folder / "out", settings)
    assert got.results[0].lesions.drawn_mm2.tolist() == pytest.approx([256 * 192 * 4e-6])
    assert got.results[0].matches.match.tolist() == ["hit", "false positive"]


def test_a_patient_on_two_sides_of_the_split_is_refused_before_any_figure(bench: Bench):
    bench.slide("t", "tumor", tumor=(LESION,), patient="p")
    bench.slide("n", "normal", patient="p")
    rows = [bench.rows[0], replace(bench.rows[1], split="train")]
    Cohort(slides=tuple(rows)).save(bench.folder / "cohort.csv")
    with pytest.raises(SettingsError, match="patient p is in test and train"):
        Cohort.load(bench.folder / "cohort.csv")
