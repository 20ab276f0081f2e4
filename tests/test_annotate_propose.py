"""Proposals from heatmaps: aligned, valid, near the cells; and who may overwrite whom."""

import gzip
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely
from annotating import IDENTITY, PERSON, RING, outline
from conftest import HEIGHT, MPP, WIDTH, as_cohort, geojson, stained_slide, write_tiff
from exporting import GEOMETRIES, Geometry, heatmap_of
from gigaslide.annotate import (
    AnnotationFolder,
    ProposeSettings,
    SaveFacts,
    SlideIdentity,
    use_versions,
)
from gigaslide.annotate.propose import propose_outlines
from gigaslide.cli import main
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.patching import PatchStore
from gigaslide.storage import AnnotationError
from gigaslide.wsi import CellStatus, find_contours
from shapely.geometry import box

EXACT = ProposeSettings(min_area_um2=0, min_hole_um2=0, tolerance_um=0)
NOISE = Geometry((9973, 14_407), 130.6, mpp=0.2431)


def union(outlines) -> shapely.Geometry:
    return shapely.union_all([one.shape for one in outlines])


def noise(seed: int, share: float) -> dict[tuple[int, int], float]:
    rng = np.random.default_rng(seed)
    return {(r, c): 0.9 for r in range(50) for c in range(40) if rng.random() < share}


@pytest.mark.parametrize("name", GEOMETRIES)
def test_outlines_are_the_squares_of_cells_at_all_corners(name):
    geometry = GEOMETRIES[name]
    cells = dict.fromkeys(geometry.corner_cells, 0.9)
    found = propose_outlines(heatmap_of(geometry, cells), EXACT)
    boxes = shapely.union_all([box(*geometry.box(*cell)) for cell in cells])
    assert union(found).symmetric_difference(boxes).area < 0.02 * boxes.length
    assert {one.origin for one in found} == {"proposed"}


@pytest.mark.parametrize("share", [0.3, 0.55, 0.8])
@pytest.mark.parametrize("tolerance_um", [16.0, 50.0, 200.0])
def test_simplified_outlines_are_valid_and_within_the_tolerance(share, tolerance_um):
    heatmap = heatmap_of(NOISE, noise(int(100 * share), share))
    settings = EXACT.model_copy(update={"tolerance_um": tolerance_um})
    outlines = propose_outlines(heatmap, settings)
    assert all(one.shape.is_valid and one.shape.area > 0 for one in outlines)
    exact = list(find_contours(heatmap, level=0.5))
    simple = list(find_contours(heatmap, level=0.5, simplify_um=tolerance_um))
    assert len(exact) == len(simple) > 0
    corners = 0
    for before, after in zip(exact, simple, strict=True):
        sides = (before.shape.boundary, after.shape.boundary)
        far = [
            shapely.distance(shapely.points(shapely.get_coordinates(mine)), other).max()
            for mine, other in (sides, sides[::-1])
        ]
        assert max(far) * NOISE.mpp <= tolerance_um + 1e-6
        corners += shapely.get_num_coordinates(after.shape)
    assert sum(shapely.get_num_coordinates(one.shape) for one in outlines) == corners


def test_small_areas_and_small_holes_go_and_large_ones_stay():
    cells = {(r, c): 0.9 for r in range(3, 12) for c in range(2, 15)}
    del cells[5, 4]
    for hole in ((7, 8), (7, 9), (8, 8), (8, 9)):
        del cells[hole]
    cells[40, 40] = 0.9
    heatmap = heatmap_of(NOISE, cells)
    cell_um2 = (NOISE.stride * NOISE.mpp) ** 2
    settings = ProposeSettings(
        min_area_um2=1.5 * cell_um2, min_hole_um2=1.5 * cell_um2, tolerance_um=0
    )
    (one,) = propose_outlines(heatmap, settings)
    assert len(one.shape.interiors) == 1
    assert one.shape.area * NOISE.mpp**2 == pytest.approx((9 * 13 - 4) * cell_um2, rel=1e-3)
    assert len(propose_outlines(heatmap, EXACT)) == 2


def test_cells_without_a_score_are_never_proposed():
    heatmap = heatmap_of(NOISE, {(4, 5): 0.9, (4, 6): 0.9})
    probability, status = heatmap.probability.copy(), heatmap.status.copy()
    probability[4, 6], status[4, 6] = np.nan, CellStatus.UNREADABLE
    damaged = replace(heatmap, probability=probability, status=status)
    (one,) = propose_outlines(damaged, EXACT)
    assert one.shape.bounds == pytest.approx(NOISE.box(4, 5), abs=0.01)


@pytest.fixture
def bench(tmp_path) -> Path:
    """cohort.csv of three slides without labels, of which two have a heatmap."""
    geometry = Geometry((WIDTH, HEIGHT), 64.0, mpp=MPP)
    for number, name in enumerate(("a", "b", "c")):
        pixels = stained_slide(number)
        write_tiff(tmp_path / f"{name}.tif", pixels)
        if name != "c":
            hot = {(r, c): 0.9 for r in range(4, 8) for c in range(3, 14 + number)}
            heatmap = heatmap_of(geometry, hot, slide=name)
            heatmap.save(tmp_path / "predictions" / name / "heatmap.zarr")
    (tmp_path / "cohort.csv").write_text("slide,split\na.tif,train\nb.tif,train\nc.tif,test\n")
    return tmp_path


def propose(bench: Path, *words: str) -> int:
    given = [str(bench / "cohort.csv"), str(bench / "ann")]
    return main(["propose", *given, "--predictions", str(bench / "predictions"), *words])


def test_propose_writes_version_1_and_leaves_what_a_person_saved(bench, capsys):
    assert propose(bench) == 0
    folder = AnnotationFolder.open(bench / "ann")
    assert folder.slides() == ["a", "b"]
    (one,) = folder.versions("b").load(1).outlines
    assert one.shape.bounds == (192, 256, 960, 512)
    info = folder.versions("b").info(1)
    assert (info.identity.width, info.identity.height, info.identity.mpp) == (
        WIDTH,
        HEIGHT,
        pytest.approx(MPP),
    )
    assert not info.facts.accepted
    capsys.readouterr()
    assert propose(bench) == 0
    assert "0 done, 2 unchanged" in capsys.readouterr().out
    person = folder.versions("a")
    person.save([outline()], PERSON, parent=1, identity=person.info(1).identity)
    assert propose(bench, "--threshold", "0.6") == 0
    shown = capsys.readouterr().out
    assert "1 done, 0 unchanged, 1 skipped" in shown
    assert "a: version 2 is by Ada" in shown
    assert folder.versions("a").numbers() == folder.versions("b").numbers() == [1, 2]


def test_another_deal_of_a_folder_is_named_and_ignored(bench, capsys):
    assert propose(bench, "--deal.scratch", "0.3") == 0
    assert propose(bench, "--deal.scratch", "0.3") == 0
    assert "--deal" not in capsys.readouterr().err
    assert propose(bench, "--deal.scratch", "0.4") == 0
    assert "scratch 0.3" in capsys.readouterr().err
    assert AnnotationFolder.open(bench / "ann").deal.scratch == 0.3


def test_a_damaged_heatmap_fails_its_slide_only(bench, capsys):
    (bench / "predictions" / "a" / "heatmap.zarr" / "zarr.json").write_text("{")
    assert propose(bench) == 2
    assert "a: " in capsys.readouterr().out
    assert AnnotationFolder.open(bench / "ann").slides() == ["b"]


def test_stages_take_the_newest_accepted_version(bench):
    propose(bench)
    cohort, ann = Cohort.load(bench / "cohort.csv"), bench / "ann"
    assert use_versions(cohort, ann) == cohort
    assert main(["annotations", "accept", str(ann), "a", "--annotator", "Eve"]) == 0
    versions = AnnotationFolder.open(ann).versions("b")
    identity = versions.info(1).identity
    versions.save([outline(group="Region*")], PERSON, parent=1, identity=identity)
    a, b, c = use_versions(cohort, ann)
    assert (a.annotation, a.label, a.exhaustive) == (ann / "a" / "0002.geojson", "tumor", True)
    assert (b.annotation, b.label, b.exhaustive) == (ann / "b" / "0002.geojson", "", False)
    assert (c.annotation, c.label) == (None, "")
    tumor = a.load_tumor({})
    assert tumor is not None
    assert tumor.bounds == (192, 256, 896, 512)
    versions.save([], PERSON, parent=2, identity=identity)
    assert use_versions(cohort, ann).slides[1].label == "normal"


@pytest.mark.parametrize("group", ["", "None", "Gleason 4"])
def test_an_outline_of_unclear_class_makes_no_slide_normal(bench, caplog, group):
    versions = AnnotationFolder.create(bench / "ann").versions("a")
    drawn = [outline(group=group), outline(group="Normal")]
    versions.save(drawn, PERSON, parent=0, identity=SlideIdentity())
    assert use_versions(Cohort.load(bench / "cohort.csv"), bench / "ann").slides[0].label == ""
    assert f"--groups.{group}" in caplog.text


def test_a_heatmap_of_another_slide_is_not_proposed(bench, capsys):
    write_tiff(bench / "a.tif", stained_slide(0)[:-16])
    (bench / "cohort.csv").write_text("slide,mpp\na.tif,\nb.tif,0.25\n")
    assert propose(bench) == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert f"height: {HEIGHT} → {HEIGHT - 16} px" in shown
    assert "µm/px: 0.5 → 0.25" in shown
    assert AnnotationFolder.open(bench / "ann").slides() == []


def test_unknown_spacing_is_not_recorded_as_one(bench):
    write_tiff(bench / "d.tif", stained_slide(1), mpp=None)
    (row,) = as_cohort(CohortSlide(id="d", path=bench / "d.tif")).slides
    assert SlideIdentity.of_slide(row).mpp == 0
    assert SlideIdentity.of_slide(replace(row, mpp=0.3)).mpp == 0.3


def test_blind_versions_are_shown_as_blind_and_never_accepted(bench, capsys):
    propose(bench)
    versions = AnnotationFolder.open(bench / "ann").versions("a")
    bob = SaveFacts(annotator="Bob", accepted=True, blind=True)
    versions.save([outline()], bob, parent=0, identity=versions.info(1).identity)
    capsys.readouterr()
    assert main(["annotations", "list", str(bench / "ann"), "a"]) == 0
    assert [line.split()[2] for line in capsys.readouterr().out.splitlines()[-2:]] == [
        "no",
        "blind",
    ]
    assert main(["annotations", "accept", str(bench / "ann"), "a", "2"]) == 1
    assert "version 2 is blind" in capsys.readouterr().err
    assert main(["annotations", "accept", str(bench / "ann"), "a"]) == 0
    info = versions.info(3)
    assert (info.parent, info.facts.restored_from) == (1, 1)


def test_v6_a_slide_replaced_after_drawing_is_refused(bench):
    propose(bench)
    main(["annotations", "accept", str(bench / "ann"), "a"])
    (bench / "a.tif").write_bytes((bench / "c.tif").read_bytes())
    with pytest.raises(AnnotationError, match="version 2 of a"):
        use_versions(Cohort.load(bench / "cohort.csv"), bench / "ann")


def test_tile_with_annotations_cuts_patches_from_them(bench, capsys):
    propose(bench)
    main(["annotations", "accept", str(bench / "ann"), "a"])
    words = ["tile", str(bench / "cohort.csv"), str(bench / "store"), "--workers", "0"]
    words += ["--mpp", "1", "--patch-px", "75", "--centre-px", "32"]
    assert main([*words, "--annotations", str(bench / "ann")]) == 0
    shown = capsys.readouterr().out
    assert "2 slides not tiled" in shown
    counts = re.search(r"(\d+) tumour and (\d+) normal patches", shown)
    assert counts is not None
    assert min(map(int, counts.groups())) > 10


def test_a_slide_looked_at_in_part_gives_normal_patches_in_its_rectangles_only(bench):
    propose(bench)
    versions = AnnotationFolder.open(bench / "ann").versions("a")
    region = box(500, 480, 900, 860)
    drawn = [*versions.load(1).outlines, outline(region, group="Region*")]
    versions.save(drawn, PERSON, parent=1, identity=versions.info(1).identity)
    words = ["tile", str(bench / "cohort.csv"), str(bench / "store"), "--workers", "0"]
    words += ["--mpp", "1", "--patch-px", "75", "--centre-px", "32"]
    assert main([*words, "--annotations", str(bench / "ann")]) == 0
    store = PatchStore(bench / "store")
    normal, tumor = (store.windows("a", kind).xy for kind in ("normal", "tumor"))
    assert min(len(normal), len(tumor)) > 5
    start = normal + (75 + 16 - 32) / 2 / MPP
    assert (start >= (500, 480)).all()
    assert (start + 32 / MPP <= (900, 860)).all()
    assert tumor[:, 0].min() < 300


@pytest.mark.parametrize("label", ["", "tumor"])
def test_rectangles_without_tumour_give_normal_patches(bench, label):
    region = box(500, 480, 900, 860)
    versions = AnnotationFolder.create(bench / "ann").versions("a")
    drawn = [outline(region, group="Region*")]
    versions.save(drawn, PERSON, parent=0, identity=SlideIdentity())
    (bench / "cohort.csv").write_text(f"slide,split,label\na.tif,train,{label}\n")
    words = ["tile", str(bench / "cohort.csv"), str(bench / "store"), "--workers", "0"]
    words += ["--mpp", "1", "--patch-px", "75", "--centre-px", "32"]
    assert main([*words, "--annotations", str(bench / "ann")]) == 0
    store = PatchStore(bench / "store")
    start = store.windows("a", "normal").xy + (75 + 16 - 32) / 2 / MPP
    assert len(start) > 5
    assert (start >= (500, 480)).all()
    assert len(store.windows("a", "tumor").xy) == 0


def test_a_file_of_qupath_becomes_the_next_version(bench, capsys):
    propose(bench)
    ann = bench / "ann"
    plain = json.loads((ann / "a" / "0001.geojson").read_text())
    plain["features"][0]["geometry"]["coordinates"][0][0] = [190.0, 250.0]
    plain["features"][0]["geometry"]["coordinates"][0][-1] = [190.0, 250.0]
    plain["features"] += geojson()["features"]
    drawn = bench / "qupath.geojson.gz"
    drawn.write_bytes(gzip.compress(json.dumps(plain).encode()))
    words = ["annotations", "save", str(bench / "cohort.csv"), str(ann), "a", str(drawn)]
    assert main(words) == 1
    assert "give --parent" in capsys.readouterr().err
    assert main([*words, "--annotator", "Eve", "--parent", "3"]) == 1
    assert "version 1" in capsys.readouterr().err
    assert main([*words, "--annotator", "Eve", "--parent", "1"]) == 0
    version = AnnotationFolder.open(ann).versions("a").load(2)
    assert [one.origin for one in version.outlines] == ["corrected", "drawn", "drawn"]
    assert main(["annotations", "list", str(ann)]) == 0
    shown = capsys.readouterr().out
    assert "1 corrected, 2 drawn" in shown
    assert "Eve" in shown
    assert main(["annotations", "restore", str(ann), "a", "1"]) == 0
    assert main(["annotations", "list", str(ann), "a"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 5


@pytest.mark.parametrize("to", ["geojson", "asap", "imagescope"])
def test_versions_come_out_as_files_that_are_read_back_equal(bench, to, capsys):
    folder = AnnotationFolder.create(bench / "ann")
    versions = folder.versions("a")
    versions.save([outline()], PERSON, parent=0, identity=IDENTITY)
    facts = SaveFacts(annotator="Bob")
    versions.save([outline(), outline(box(0, 0, 9, 9))], facts, parent=1, identity=IDENTITY)
    words = ["annotations", "export", str(bench / "ann"), str(bench / "out"), "--to", to]
    assert main([*words[:3], str(bench / "ann" / "a"), "--to", to]) == 1
    assert "give another folder" in capsys.readouterr().err
    assert main(words) == 0
    (path,) = (bench / "out").iterdir()
    cohort = as_cohort(CohortSlide(id="a", path=bench / "a.tif", annotation=path, label="tumor"))
    tumor = cohort.slides[0].load_tumor({"Tumor": "tumor"})
    assert tumor is not None
    assert tumor.symmetric_difference(RING).area < 1
