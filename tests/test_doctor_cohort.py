"""The doctor between slides: duplicates, leaks, classes, the exit status, and estimates against a
real tiling."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from checkups import TILE, DeadlyPath, checked, checked_csv, settings, slide
from conftest import as_cohort
from gigaslide.batch import BatchSettings
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.doctor import (
    CohortCheckup,
    SampleSettings,
    Severity,
    SlideCheckup,
    examine_cohort,
    load_cohort,
    save_checkup,
)
from gigaslide.doctor.estimate import estimate_stages
from gigaslide.models import ARCHITECTURES
from gigaslide.patching import tile_cohort
from gigaslide.training import TrainSettings
from gigaslide.wsi import TissueSettings, open_slide, tissue_mask


@pytest.fixture(scope="module")
def good_checkup(good) -> CohortCheckup:
    cohort, known = load_cohort(good)
    return checked(cohort, known=known)


@pytest.fixture(scope="module")
def pair(good) -> tuple[CohortSlide, CohortSlide]:
    """A tumour slide and a normal one of train."""
    tumor, normal, *_ = Cohort.load(good)
    return tumor, normal


def between(checkup: CohortCheckup, severity: Severity | None = None) -> dict[str, str]:
    """Words by check."""
    return {
        found.check: found.message
        for found in checkup.findings
        if severity in (None, found.severity)
    }


def test_a_good_cohort_has_no_finding(good_checkup):
    assert good_checkup.findings == ()
    assert [slide.findings for slide in good_checkup.slides] == [()] * 6
    assert good_checkup.exit_status == 0
    assert [(s.split, s.slides, s.tumor, s.normal, s.patients) for s in good_checkup.splits] == [
        ("train", 2, 1, 1, 2),
        ("validation", 2, 1, 1, 2),
        ("test", 2, 1, 1, 2),
    ]


def test_a_group_that_no_annotation_has_is_a_warning(pair):
    cohort = Cohort(slides=pair)
    mistyped = checked(cohort, groups={"TUMOR": "tumor", "Strona": "other"})
    [words] = [found.message for found in mistyped.findings if found.check == "annotation"]
    assert "'Strona'" in words
    assert "'TUMOR'" not in words
    assert "annotation" not in between(checked(cohort, groups={"TUMOR": "tumor"}))


def test_patches_are_those_of_a_tiling_and_their_bytes_nearly(good, good_checkup, tmp_path):
    store = tmp_path / "store"
    summary = tile_cohort(Cohort.load(good), store, TILE, BatchSettings(workers=0))
    by_id = {checkup.id: checkup for checkup in good_checkup.slides}
    for outcome in summary.outcomes:
        tile = by_id[outcome.slide].tile
        assert outcome.counts == {"tumor": tile.tumor_patches, "normal": tile.normal_patches}
    estimates = {one.stage: one for one in good_checkup.estimates}
    assert estimates["tile"].items == summary.total("tumor") + summary.total("normal")
    stored = sum(file.stat().st_size for file in store.rglob("*") if file.is_file())
    assert estimates["tile"].bytes == pytest.approx(stored, rel=0.15)
    sides = {side.split: side.tumor_patches + side.normal_patches for side in good_checkup.splits}
    assert (sides["train"] + sides["validation"], sides["test"]) == (estimates["tile"].items, 0)


def test_windows_are_the_cells_over_tissue(good, good_checkup):
    # A cell of 32 px at 0.5 µm/px is 2 × 2 px of the tissue mask, whose 8 µm are 16 px.
    tests = [
        (row, checkup)
        for row, checkup in zip(Cohort.load(good), good_checkup.slides, strict=True)
        if row.split == "test"
    ]
    for row, checkup in tests:
        with open_slide(row.path) as opened:
            mask = tissue_mask(opened, TissueSettings())
        assert mask.scale_level0 == pytest.approx(16, rel=1e-3)
        padded = np.pad(mask.mask, [(0, -length % 2) for length in mask.mask.shape])
        share = padded.reshape(padded.shape[0] // 2, 2, -1, 2).mean(axis=(1, 3))
        assert checkup.predict.windows == pytest.approx((share >= 0.5).sum(), rel=0.02)
    assert [checkup.predict is None for checkup in good_checkup.slides] == [True] * 4 + [False] * 2


def test_every_stage_is_estimated(good_checkup):
    estimates = {one.stage: one for one in good_checkup.estimates}
    assert list(estimates) == ["tile", "train", "predict", "evaluate"]
    assert [one.slides for one in estimates.values()] == [4, 2, 2, 2]
    assert all(one.items and one.bytes and one.hours and one.basis for one in estimates.values())
    assert estimates["predict"].items == sum(
        s.predict.windows for s in good_checkup.slides if s.predict
    )
    assert estimates["evaluate"].items == 1  # the other outline is isolated cells


def test_the_network_takes_its_time_with_examples_orientations_and_cores(pair):
    def hours(**changes) -> list[float]:
        cohort = as_cohort(
            *(
                replace(row, split=side, patient="")
                for row, side in zip(pair, ("train", "test"), strict=True)
            )
        )
        return [one.hours for one in checked(cohort, **changes).estimates]

    plain, single = hours(), hours(predict={"orientations": 1})
    fastest = hours(predict={"mode": "fastest"})
    assert 0.1 < fastest[2] / plain[2] < 0.2
    assert 0.1 < single[2] / plain[2] < 0.2  # the reading stays
    twice = hours(train={"examples": 80_000, "validation_patches": 2, "validate_every": 80_000})
    once = hours(train={"examples": 40_000, "validation_patches": 2, "validate_every": 40_000})
    assert twice[1] == pytest.approx(2 * once[1], rel=0.01)


def test_a_network_that_is_only_in_the_registry_is_estimated(good_checkup, monkeypatch):
    small = ARCHITECTURES["compact"]
    slower = replace(small, parameters=10**7, windows_per_s=small.windows_per_s / 10)
    monkeypatch.setitem(ARCHITECTURES, "another", slower)
    train = TrainSettings()
    known, another = (
        estimate_stages(
            good_checkup.slides,
            settings().model_copy(
                update={"train": train.model_copy(update={"architecture": name})}
            ),
            cores=2,
            workers=1,
        )[1]
        for name in (train.architecture, "another")
    )
    assert another.hours == pytest.approx(10 * known.hours)
    assert another.bytes > 4e7 > known.bytes
    assert another.basis.startswith("another at")


def test_fault_41_one_class_only_is_an_error(pair):
    tumor, normal = pair
    checkup = checked(
        as_cohort(normal, replace(normal, id="v", path=tumor.path, patient="v", split="validation"))
    )
    [found] = [
        found
        for found in checkup.findings
        if found.check == "classes" and found.severity == "error"
    ]
    assert "no tumour patch in train and none in validation" in found.message
    assert "annotations" in found.advice
    estimates = {one.stage: one for one in checkup.estimates}
    assert estimates["train"].items == 0
    assert checkup.exit_status == 2


def test_classes_missing_because_of_broken_slides_are_told_so(pair, tmp_path):
    tumor, normal = pair
    broken = replace(tumor, path=tmp_path / "gone.tif")
    checkup = checked(as_cohort(broken, normal))
    found = {
        one.message: one.advice
        for one in checkup.findings
        if (one.check, one.severity) == ("classes", "error")
    }
    missing, empty = sorted(found)
    assert "no slide in validation" in missing
    assert "split column" in found[missing]
    assert "no tumour patch in train" in empty
    assert "errors" in found[empty]


def test_test_needs_slides_of_both_labels(pair):
    tumor, normal = pair
    assert "no slide in test" in between(checked(as_cohort(tumor, normal)), "warning")["classes"]
    checkup = checked(as_cohort(tumor, replace(normal, split="test")))
    assert "no slide labelled tumour in test" in between(checkup, "warning")["classes"]


def test_a_cohort_without_labels_or_sides_is_only_a_note(pair):
    cohort = as_cohort(
        *(replace(row, label="", split="", annotation=None, patient="") for row in pair)
    )
    checkup = checked(cohort)
    assert [(found.severity, found.check) for found in checkup.findings] == [("note", "classes")]
    assert checkup.exit_status == 0
    assert all(slide.predict is not None for slide in checkup.slides)


def test_a_patient_on_two_sides_is_an_error_with_the_slides(good):
    rows = [row.replace(",p5,", ",p0,") for row in absolute(good)]
    checkup = checked_csv(good.parent.parent, rows, name="leak.csv")
    [leak] = [found for found in checkup.findings if found.check == "leak"]
    assert (leak.severity, leak.message) == ("error", "patient p0 is in test and train")
    assert leak.slides == ("train-tumor", "test-normal")
    assert checkup.exit_status == 2


def absolute(good: Path) -> list[str]:
    """The rows of the good cohort with paths that hold anywhere."""
    rows = good.read_text().splitlines()[1:]
    return [
        ",".join(
            str(good.parent / cell) if cell.endswith((".tif", ".geojson")) else cell
            for cell in row.split(",")
        )
        for row in rows
    ]


def test_slides_of_no_patient_and_of_no_side_are_warnings(good):
    rows = absolute(good)
    rows[0], rows[5] = rows[0].replace(",p0,", ",,"), rows[5].replace(",p5,test,", ",p5,,")
    checkup = checked_csv(good.parent.parent, rows, name="nobody.csv")
    found = {one.check: one for one in checkup.findings if one.severity == "warning"}
    assert found["leak"].slides == ("train-tumor",)
    assert found["leak"].message.startswith("1 of 6 slides")
    assert found["split"].slides == ("test-normal",)
    assert checkup.exit_status == 0


def test_a_slide_listed_twice_is_kept_once(good):
    rows = absolute(good)
    checkup = checked_csv(
        good.parent.parent, [*rows, rows[3].replace(",validation,", ",train,")], name="twice.csv"
    )
    assert len(checkup.slides) == 6
    [found] = [found for found in checkup.findings if found.check == "duplicate"]
    assert (found.severity, "listed twice" in found.message) == ("error", True)
    assert "validation-normal.tif" in found.message


def test_a_link_to_a_listed_slide_is_listed_twice(good):
    rows = absolute(good)
    link = good.parent.parent / "link.tif"
    link.symlink_to(rows[3].split(",")[0])
    checkup = checked_csv(
        link.parent, [*rows, f"{link},,normal,other,test,"], name="with_a_link.csv"
    )
    assert len(checkup.slides) == 6
    [found] = [found for found in checkup.findings if found.check == "duplicate"]
    assert found.severity == "error"
    for fact in (str(link), "validation-normal.tif", "validation and test"):
        assert fact in found.message


def test_copies_of_one_slide_are_errors(pair, tmp_path):
    tumor, normal = pair
    copy = tmp_path / "copy.tif"
    copy.write_bytes(Path(tumor.path).read_bytes())
    cohort = as_cohort(
        tumor, normal, replace(tumor, id="copy", path=copy, split="test", patient="x")
    )
    found = [one for one in checked(cohort).findings if one.check == "duplicate"]
    assert [(one.severity, one.slides) for one in found] == [("error", (tumor.id, "copy"))]
    assert "test and train" in found[0].message


def test_fault_14_one_name_in_two_folders_is_a_note(pair, tmp_path):
    _, normal = pair
    other = slide(tmp_path / "b" / f"{normal.id}.tif", 77)
    checkup = checked_csv(
        tmp_path, [f"{normal.path},,normal,a,train,", f"{other.path},,normal,b,train,"]
    )
    [found] = [found for found in checkup.findings if found.check == "names"]
    assert found.severity == "note"
    assert len(set(found.slides)) == 2
    assert all(name.startswith(f"{normal.id}-") for name in found.slides)


def test_one_slide_of_another_scale_is_a_warning_and_many_are_not(tmp_path):
    normal = slide(tmp_path / "silent.tif", mpp=None)  # else its own µm/px is the warning

    def mpps(*values: float) -> list[list[bool]]:
        rows = [replace(normal, id=f"s{n}", mpp=mpp, split="test") for n, mpp in enumerate(values)]
        checkups = checked(
            Cohort(slides=tuple(rows)), allow_upsampling=True, predict={"allow_upsampling": True}
        ).slides
        return [["0.51" in f.message for f in c.findings if "most" in f.message] for c in checkups]

    assert mpps(0.5, 0.51, 1.9) == [[], [], [True]]
    assert mpps(0.5, 0.5, 0.5, 0.25, 0.25) == [[]] * 5
    assert mpps(0.5, 1.0) == [[]] * 2


def test_exit_status_is_1_where_nothing_opens_and_2_where_some_do_not(pair, tmp_path):
    gone = [replace(pair[0], id=name, path=tmp_path / name) for name in ("a.tif", "b.tif")]
    assert checked(as_cohort(*gone)).exit_status == 1
    some = checked(as_cohort(gone[0], *pair))
    assert some.exit_status == 2
    assert [slide.pixels is None for slide in some.slides] == [True, False, False]


def test_a_crash_of_one_check_is_an_error_of_that_slide_alone(pair, monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError("by chance")

    monkeypatch.setattr("gigaslide.doctor.examine_slide.measure_prediction", broken)
    tumor, normal = pair
    [crashed, well] = checked(as_cohort(replace(tumor, split="test"), normal)).slides
    [found] = crashed.findings
    assert (found.severity, found.check) == ("error", "crash")
    assert "ZeroDivisionError: by chance" in found.message
    assert "by chance" in crashed.traceback
    assert well.findings == ()
    assert well.pixels is not None


def test_a_folder_is_a_proposed_cohort(good):
    cohort, [found] = load_cohort(good.parent)
    assert len(cohort) == 6
    assert (found.severity, found.check) == ("note", "cohort")


def test_the_json_is_the_whole_checkup(good_checkup, tmp_path):
    page = save_checkup(good_checkup, tmp_path / "out")
    content = json.loads((tmp_path / "out" / "checkup.json").read_text())
    assert page == tmp_path / "out" / "checkup.html"
    assert content["exit_status"] == 0
    assert content["counts"] == {"error": 0, "warning": 0, "good": 6}
    assert [slide["id"] for slide in content["slides"]] == [
        slide.id for slide in good_checkup.slides
    ]
    assert (
        content["slides"][0]["tile"]["tumor_patches"] == good_checkup.slides[0].tile.tumor_patches
    )
    assert content["settings"] == settings().model_dump(mode="json")
    assert len(content["estimates"]) == 4


def test_fault_07_a_slide_that_hangs_is_given_up(pair, tmp_path):
    pipe = tmp_path / "hangs.tif"
    os.mkfifo(pipe)  # opening it waits for a writer who never comes
    hanging = replace(pair[0], id="hangs", path=pipe)
    [hung] = checked(as_cohort(hanging), sample=SampleSettings(minutes=0.005)).slides
    [found] = hung.findings
    assert (found.severity, found.check) == ("error", "time")
    assert "0.005 min" in found.message
    assert 0.3 <= hung.seconds < 5
    with pipe.open("wb"):
        pass  # so that the thread left behind can end


@pytest.mark.slow
def test_fault_07_hanging_and_crashing_slides_do_not_stop_the_others(pair, good_checkup, tmp_path):
    pipe = tmp_path / "hangs.tif"
    os.mkfifo(pipe)
    hanging = replace(pair[0], id="hangs", path=pipe)
    crashing = replace(pair[0], id="crashes", path=DeadlyPath(pair[0].path))
    ill = settings(sample=SampleSettings(minutes=0.1))
    # One worker, the bad ones first: what follows comes after both.
    batch = BatchSettings(workers=1, memory_gb=1.0)
    checkup = examine_cohort(
        Cohort(slides=(hanging, crashing, *pair)), ill, batch, name="cohort", known=[]
    )
    told = [[(found.severity, found.check) for found in slide.findings] for slide in checkup.slides]
    assert told == [[("error", "time")], [("error", "crash")], [], []]
    assert checkup.exit_status == 2
    assert "process" in checkup.slides[1].findings[0].message
    assert not [
        child for child in psutil.Process().children() if "spawn_main" in " ".join(child.cmdline())
    ]
    # And what a worker sees is what is seen here.
    assert [measured(one) for one in checkup.slides[2:]] == [
        measured(one) for one in good_checkup.slides[:2]
    ]


def measured(checkup: SlideCheckup) -> tuple:
    tile = checkup.tile and (
        checkup.tile.tumor_patches,
        checkup.tile.normal_patches,
        checkup.tile.patch_bytes,
    )
    return checkup.pixels, checkup.tissue_mm2, checkup.annotation, checkup.fingerprint, tile
