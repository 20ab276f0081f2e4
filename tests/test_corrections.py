"""Patches of what a person corrected in a proposal: where they lie, how they are labelled, and
their share of a training batch."""

import json
from dataclasses import replace

import numpy as np
import pytest
import shapely
from annotating import outline
from conftest import HEIGHT, TUMOR_RINGS, WIDTH, brute_fraction, geojson
from gigaslide.annotate import (
    AnnotationFolder,
    SaveFacts,
    SlideIdentity,
    find_corrections,
    use_versions,
)
from gigaslide.annotate.version_info import MADE_BY_MODEL
from gigaslide.batch import BatchSettings
from gigaslide.cli import main
from gigaslide.patching import (
    CorrectedSlide,
    CorrectionSettings,
    PatchStore,
    add_corrections,
    inventory,
)
from gigaslide.patching.corrections import find_corrected
from gigaslide.storage import SettingsError
from gigaslide.training import Sampler
from gigaslide.wsi import open_slide
from shapely.geometry import MultiPolygon, Polygon, box
from tiling import CENTRE_OFFSET, SETTINGS, tile

SIDE = 32  # of the centre square, level-0 px
IDENTITY = SlideIdentity(width=WIDTH, height=HEIGHT, mpp=0.5)
LESION = Polygon(TUMOR_RINGS[0][0], [TUMOR_RINGS[0][1]])
SMALL_LESION = Polygon(TUMOR_RINGS[1][0])
ALARM = box(300, 200, 470, 330)  # the model's, mostly outside the lesions


def propose(versions, *shapes) -> int:
    facts = SaveFacts(made_by=MADE_BY_MODEL)
    outlines = [outline(shape, origin="proposed") for shape in shapes]
    return versions.save(outlines, facts, parent=0, identity=IDENTITY, keep_origins=True).number


def accept(versions, parent: int, *shapes, **further) -> int:
    facts = SaveFacts(annotator="Ada", accepted=True)
    outlines = [outline(shape) for shape in shapes]
    outlines += [outline(shape, group=name) for name, shape in further.items()]
    return versions.save(outlines, facts, parent=parent, identity=IDENTITY).number


@pytest.fixture
def folder(tmp_path) -> AnnotationFolder:
    return AnnotationFolder.create(tmp_path / "annotations")


def squares_of(candidates) -> np.ndarray:
    start = candidates.xy + CENTRE_OFFSET
    return np.asarray(shapely.box(*start.T, *(start + SIDE).T), object)


def test_corrections_are_the_difference_of_proposal_and_accepted_version(folder):
    versions = folder.versions("ill")
    first = propose(versions, LESION, ALARM)
    second = accept(versions, first, LESION, SMALL_LESION)
    accept(versions, second, LESION, SMALL_LESION)
    found = find_corrections(versions)
    assert found is not None
    assert (found.proposed, found.accepted) == (1, 3)
    assert found.missed.equals(SMALL_LESION)
    assert found.false_alarms.symmetric_difference(ALARM.difference(LESION)).area < 1e-6


def test_only_regions_that_were_looked_at_are_corrected(folder):
    versions = folder.versions("ill")
    looked_at = box(280, 180, 400, 900)
    accept(versions, propose(versions, ALARM), LESION, **{"Region*": looked_at})
    found = find_corrections(versions)
    assert found is not None
    both = (found.missed, LESION.difference(ALARM)), (found.false_alarms, ALARM.difference(LESION))
    for area, whole in both:
        assert area.symmetric_difference(whole.intersection(looked_at)).area < 1e-6


def test_exclusions_are_false_alarms_and_what_was_not_proposed_or_accepted_is_nothing(folder):
    versions = folder.versions("ill")
    hole = box(400, 300, 450, 340)
    accept(versions, propose(versions, LESION), LESION, exclusion=hole)
    found = find_corrections(versions)
    assert found is not None
    assert found.missed.is_empty
    assert found.false_alarms.symmetric_difference(hole.intersection(LESION)).area < 1e-6
    drawn = folder.versions("drawn")
    assert find_corrections(drawn) is None
    accept(drawn, 0, LESION)
    assert find_corrections(drawn) is None
    unaccepted = folder.versions("unaccepted")
    propose(unaccepted, LESION)
    assert find_corrections(unaccepted) is None
    kept = folder.versions("kept")
    propose(kept, LESION)
    kept.restore(1, parent=1, annotator="Ada", accepted=True)
    found = find_corrections(kept)
    assert found is not None
    assert found.is_empty


@pytest.mark.parametrize("group", ["Ignore*", "ignore*", "", "None"])
def test_a_proposal_that_nobody_called_no_tumour_is_no_false_alarm(folder, group):
    versions = folder.versions("ill")
    part = box(300, 200, 400, 330)
    accept(versions, propose(versions, ALARM), **{group: part})
    found = find_corrections(versions)
    assert found is not None
    assert found.missed.is_empty
    assert found.false_alarms.symmetric_difference(ALARM.difference(part)).area < 1e-6


def add(store: PatchStore, *corrected: CorrectedSlide, per_slide: int = 30):
    settings = CorrectionSettings(per_slide=per_slide)
    return add_corrections(list(corrected), store.path, settings, BatchSettings(workers=0))


def corrected_slide(cohort, name="ill", **fields) -> CorrectedSlide:
    (row,) = [slide for slide in cohort if slide.id == name]
    row = replace(row, **fields.pop("row", {}))
    areas = {"missed": MultiPolygon([SMALL_LESION]), "false_alarms": MultiPolygon([ALARM])}
    return CorrectedSlide(slide=row, **{**areas, **fields})


def added_windows(store: PatchStore, name: str, label: str, before: dict[str, int]):
    windows = PatchStore(store.path).windows(name, label)
    return windows.take(np.arange(before.get(label, 0), len(windows)))


def counts_of(store: PatchStore, name: str) -> dict[str, int]:
    (slide,) = [slide for slide in PatchStore(store.path).slides if slide.id == name]
    return slide.counts


def test_missed_tumour_and_false_alarms_become_patches_of_their_class(cohort, copied):
    before = counts_of(copied, "ill")
    summary = add(copied, corrected_slide(cohort))
    assert [(one.slide, one.status) for one in summary.outcomes] == [("ill", "done")]
    tumor = added_windows(copied, "ill", "tumor", before)
    normal = added_windows(copied, "ill", "normal", before)
    assert 0 < len(tumor) <= 30
    assert 0 < len(normal) <= 30
    assert (shapely.area(shapely.intersection(squares_of(tumor), SMALL_LESION)) > 0).all()
    share = shapely.area(shapely.intersection(squares_of(normal), ALARM)) / SIDE**2
    assert (share >= 0.5).all()
    for (x, y), fraction in zip(tumor.xy.tolist(), tumor.tumor_fraction, strict=True):
        corner = (x + CENTRE_OFFSET + 1e-3, y + CENTRE_OFFSET + 1e-3)
        assert brute_fraction(TUMOR_RINGS, corner, side_level0=SIDE, side_px=SIDE) == (
            pytest.approx(float(fraction), abs=0.02)
        )
    for x, y in normal.xy.tolist():
        corner = (x + CENTRE_OFFSET + 1e-3, y + CENTRE_OFFSET + 1e-3)
        assert brute_fraction(TUMOR_RINGS, corner, side_level0=SIDE, side_px=SIDE) == 0
    again = add(copied, corrected_slide(cohort))
    assert [one.status for one in again.outcomes] == ["skipped"]
    table = inventory(PatchStore(copied.path)).set_index("slide")
    assert table.loc["ill", "of corrections"] == len(tumor) + len(normal)
    assert table.loc["ill", "hard negatives"] == 0


def test_normal_patches_lie_in_regions_or_wholly_in_false_alarms(cohort, copied, tmp_path):
    before = counts_of(copied, "ill")
    (row,) = [slide for slide in cohort if slide.id == "ill"]
    assert row.annotation is not None
    partial = corrected_slide(cohort, row={"exhaustive": False})
    summary = add(copied, partial)
    assert [one.status for one in summary.outcomes] == ["failed"]  # tiled as another slide
    settings = SETTINGS.model_copy(update={"normal_per_slide": 0})
    region = box(300, 180, 420, 330)
    plain = geojson()
    ring = [list(point) for point in region.exterior.coords]
    plain["features"].append(
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [ring]},
            "properties": {"objectType": "annotation", "classification": {"name": "Region*"}},
        }
    )
    path = tmp_path / "with_region.geojson"
    path.write_text(json.dumps(plain))
    looked = corrected_slide(
        cohort, row={"annotation": path, "exhaustive": False, "has_regions": True}
    )
    with open_slide(row.path) as opened:
        inside = find_corrected(opened, looked, settings, CorrectionSettings())["normal"]
        covered = find_corrected(opened, partial, settings, CorrectionSettings())["normal"]
    assert len(inside)
    assert len(covered)
    assert shapely.covers(region, squares_of(inside)).all()
    assert shapely.covers(ALARM.buffer(1e-6), squares_of(covered)).all()
    assert counts_of(copied, "ill") == before


def test_without_a_corrected_training_slide_nothing_is_added(cohort, copied):
    for name in ("ill_2", "unknown"):
        with pytest.raises(SettingsError, match="accepted version"):
            add(copied, corrected_slide(cohort, name))


def sampler(store: PatchStore, **changes) -> Sampler:
    fields = {"split": "train", "spec": SETTINGS.input_spec, "batch_size": 16, "seed": 5}
    return Sampler(store=PatchStore(store.path), augment=None, **{**fields, **changes})


def test_a_share_of_each_batch_comes_from_corrections_and_none_changes_nothing(cohort, copied):
    plain = [sampler(copied).draw_places(number)[0] for number in range(5)]
    with_share = [sampler(copied, corrected=0.25).draw_places(number)[0] for number in range(5)]
    assert plain == with_share  # the store has none yet
    before = counts_of(copied, "ill")
    add(copied, corrected_slide(cohort), per_slide=7)
    without = [sampler(copied, corrected=0.0).draw_places(number) for number in range(5)]
    assert all(len(places) == 16 for places, _ in without)
    for share, wanted in ((0.25, 4), (0.5, 8), (1.0, 16)):
        for number in range(6):
            places, labels = sampler(copied, corrected=share).draw_places(number)
            names = np.array(["normal", "tumor"])[labels]
            assert [place[1] for place in places] == names.tolist()
            assert labels.sum() == 8
            of_corrections = [
                slide == "ill" and index >= before[name] for slide, name, index in places
            ]
            assert sum(of_corrections) >= wanted
            assert share < 1 or all(of_corrections)


def cohort_table(cohort, path):
    lines = ["slide,annotation,label,patient,split"]
    lines += [
        f"{row.path},{row.annotation or ''},{row.label},{row.patient},{row.split}" for row in cohort
    ]
    path.write_text("\n".join(lines))
    return path


def test_the_command_takes_the_meaning_of_classes_from_the_store(cohort, tmp_path, capsys):
    folder = AnnotationFolder.create(tmp_path / "annotations")
    versions = folder.versions("ill")
    accept(versions, propose(versions, LESION), LESION, Carcinoma=SMALL_LESION)
    store = tmp_path / "store"
    (ill,) = [row for row in cohort if row.id == "ill"]
    few = replace(cohort, slides=(ill,))
    tile(use_versions(few, folder.path), store, groups={"Carcinoma": "tumor"})
    table = cohort_table(few, tmp_path / "cohort.csv")
    words = ["tile", str(table), str(store), "--from-corrections", str(folder.path)]
    assert main([*words, "--workers", "0"]) == 0
    assert "of corrections on 1 slide" in capsys.readouterr().out
    parts = {part.group for slide in PatchStore(store).slides for part in slide.parts["tumor"]}
    assert any("corrected-" in group for group in parts)


def test_the_command_tiles_what_changed_and_adds_corrections(cohort, tmp_path, capsys):
    folder = AnnotationFolder.create(tmp_path / "annotations")
    versions = folder.versions("ill")
    first = propose(versions, LESION, ALARM)
    accept(versions, first, LESION, SMALL_LESION)
    store = tmp_path / "store"
    tile(use_versions(cohort, folder.path), store)
    table = cohort_table(cohort, tmp_path / "cohort.csv")
    words = ["tile", str(table), str(store), "--from-corrections", str(folder.path)]
    assert main([*words, "--workers", "0"]) == 0
    out = capsys.readouterr().out
    assert "of corrections on 1 slide" in out
    counts = counts_of(PatchStore(store), "ill")
    assert main([*words, "--workers", "0"]) == 0
    assert counts_of(PatchStore(store), "ill") == counts
    assert main([*words, "--mpp", "1"]) == 1
    assert "--mpp" in capsys.readouterr().err
    assert main([*words, "--from-heatmaps", str(tmp_path)]) == 1
    accept(versions, 2, LESION)  # the small lesion is none after all
    assert main([*words, "--workers", "0"]) == 0
    again = PatchStore(store)
    parts = {part.group for slide in again.slides for part in slide.parts["tumor"]}
    assert not any("corrected-" in group for group in parts)
