"""Versions of outlines: numbered, append-only, whole or absent; identity, provenance, shapes."""

import json
from dataclasses import replace

import numpy as np
import pytest
from annotating import IDENTITY, PERSON, RING, area, collection, outline, save
from conftest import as_cohort
from gigaslide.annotate import (
    AnnotationFolder,
    SaveFacts,
    SlideChangedError,
    SlideIdentity,
    SlideVersions,
    VersionConflictError,
    new_id,
    parse_features,
)
from gigaslide.annotate.identity import file_fingerprint
from gigaslide.cohort import CohortSlide
from gigaslide.storage import AnnotationError, SettingsError, StoreError
from gigaslide.wsi import Annotation
from shapely.geometry import Polygon, box, mapping


@pytest.fixture
def versions(tmp_path) -> SlideVersions:
    return SlideVersions(tmp_path / "s", "s")


def test_versions_are_numbered_kept_and_read_back_equal(versions):
    first = save(versions, RING)
    content = versions.path(1).read_bytes()
    second = save(versions, box(5, 6, 70, 90), RING)
    assert [first.number, second.number, second.parent] == [1, 2, 1]
    assert versions.path(1).read_bytes() == content
    assert [info.outlines for info in versions.history()] == [1, 2]
    loaded = versions.load(2)
    assert loaded.info == second
    assert loaded.outlines[1].shape.equals(RING)
    assert loaded.outlines[0].shape.bounds == (5, 6, 70, 90)
    assert not loaded.notes


def test_a_version_is_what_qupath_and_the_stages_read(versions):
    save(versions, RING)
    plain = json.loads(versions.path(1).read_text())
    assert plain["type"] == "FeatureCollection"
    assert plain["gigaslide"]["annotator"] == "Ada"
    (feature,) = plain["features"]
    assert feature["properties"]["objectType"] == "annotation"
    assert feature["properties"]["classification"] == {"name": "Tumor", "color": [200, 0, 0]}
    assert feature["properties"]["metadata"] == {"origin": "drawn"}
    assert len(feature["geometry"]["coordinates"]) == 2
    assert Annotation.load(versions.path(1)).tumor.equals(RING)


def test_v6_a_replaced_slide_or_another_mpp_must_be_confirmed(versions):
    save(versions, RING)
    for change, word in (
        ({"fingerprint": "g"}, "another file"),
        ({"mpp": 0.25}, "µm/px: 0.5 → 0.25"),
        ({"width": 3002}, "width: 3001 → 3002"),
    ):
        now = replace(IDENTITY, **change)
        with pytest.raises(SlideChangedError, match=word):
            versions.save([outline()], PERSON, parent=1, identity=now)
    assert versions.numbers() == [1]
    now = replace(IDENTITY, fingerprint="g")
    saved = versions.save([outline()], PERSON, parent=1, identity=now, slide_changed=True)
    assert saved.identity == now
    moved = replace(now, name="elsewhere.tif")
    assert versions.save([outline()], PERSON, parent=2, identity=moved).number == 3


def test_v6_the_identity_is_that_of_the_pixels_not_of_the_path(coded_slide, tmp_path):
    copied = tmp_path / "other name.tif"
    copied.write_bytes(coded_slide.read_bytes())
    (first,), (second,) = (
        as_cohort(CohortSlide(id="s", path=path)).slides for path in (coded_slide, copied)
    )
    one, two = SlideIdentity.of_slide(first), SlideIdentity.of_slide(second)
    assert one.differences(two) == []
    assert (one.width, one.height, one.mpp) == (1531, 1127, pytest.approx(0.5))
    content = bytearray(copied.read_bytes())
    content[len(content) // 2] ^= 1
    copied.write_bytes(content)
    assert one.differences(SlideIdentity(fingerprint=file_fingerprint(copied), name="x"))
    assert file_fingerprint(tmp_path / "gone.tif") == ""


def test_restore_makes_a_new_version_with_the_old_origins(versions):
    proposed = [outline(RING, origin="proposed"), outline(box(0, 0, 50, 20), origin="proposed")]
    facts = SaveFacts(made_by="propose")
    versions.save(proposed, facts, parent=0, identity=IDENTITY, keep_origins=True)
    save(versions, box(1, 1, 2, 2))
    restored = versions.restore(1, parent=2, annotator="Bob")
    assert (restored.number, restored.parent, restored.facts.restored_from) == (3, 2, 1)
    assert [one.origin for one in versions.load(3).outlines] == ["proposed", "proposed"]
    assert not restored.facts.accepted
    accepted = versions.restore(3, parent=3, accepted=True)
    assert [one.origin for one in versions.load(accepted.number).outlines] == ["accepted"] * 2
    with pytest.raises(VersionConflictError):
        versions.restore(1, parent=3)


def test_origins_come_from_the_comparison_and_not_from_the_sender(versions):
    kept, moved, cut = (outline(box(x, 0, x + 50, 20), origin="proposed") for x in (0, 100, 200))
    facts = SaveFacts(made_by="propose")
    versions.save([kept, moved, cut], facts, parent=0, identity=IDENTITY, keep_origins=True)
    liar = replace(moved, shape=box(100, 0, 150, 21), origin="accepted")
    piece = outline(box(200, 0, 210, 20), metadata={"parent": cut.id})
    new = outline(box(900, 900, 950, 950), origin="accepted")
    turned = replace(kept, shape=Polygon([(50, 20), (0, 20), (0, 0), (50, 0)]))
    outlines = [turned, liar, piece, new]
    versions.save(outlines, SaveFacts(annotator="A"), parent=1, identity=IDENTITY)
    assert [one.origin for one in versions.load(2).outlines] == [
        "proposed",
        "corrected",
        "corrected",
        "drawn",
    ]
    versions.restore(2, parent=2, accepted=True)
    assert [one.origin for one in versions.load(3).outlines] == [
        "accepted",
        "corrected",
        "corrected",
        "drawn",
    ]


def test_newest_accepted_passes_over_proposals_and_blind_versions(versions):
    assert versions.newest() is None
    save(versions, RING, accepted=False)
    assert versions.newest(accepted=True) is None
    save(versions, RING)
    save(versions, RING, blind=True)
    save(versions, RING, accepted=False)
    newest, accepted = versions.newest(), versions.newest(accepted=True)
    assert newest is not None
    assert accepted is not None
    assert (newest.number, accepted.number) == (4, 2)


def test_a_blind_version_is_nobodys_parent(versions):
    proposed = outline(RING, origin="proposed")
    facts = SaveFacts(made_by="propose")
    versions.save([proposed], facts, parent=0, identity=IDENTITY, keep_origins=True)
    bob = SaveFacts(annotator="Bob", accepted=True, blind=True)
    for _ in range(2):
        blind = versions.save([proposed], bob, parent=0, identity=IDENTITY)
        assert blind.parent == 0
        assert [one.origin for one in versions.load(blind.number).outlines] == ["drawn"]
    with pytest.raises(VersionConflictError) as refused:
        save(versions, RING, parent=3)
    assert refused.value.newest == 1
    own = versions.save([proposed], PERSON, parent=1, identity=IDENTITY)
    assert (own.number, own.parent) == (4, 1)
    assert [one.origin for one in versions.load(4).outlines] == ["accepted"]
    with pytest.raises(StoreError, match="version 2 is blind"):
        versions.restore(2, parent=4, accepted=True)
    with pytest.raises(SlideChangedError):
        versions.save([], bob, parent=0, identity=replace(IDENTITY, width=3002))


def test_cells_and_tiles_of_qupath_are_no_outlines():
    cells = collection(box(0, 0, 5, 5), objectType="cell")["features"] * 3
    tile = {"type": "Feature", "id": "PathTileObject", "geometry": mapping(RING)}
    drawn = collection(RING, objectType="annotation")["features"]
    outlines, notes = parse_features([*cells, tile, *drawn], "sent")
    assert [one.shape.area for one in outlines] == [RING.area]
    assert any("3 cells left out" in note for note in notes)
    assert any("1 tile left out" in note for note in notes)


def test_polygons_of_collections_count():
    inner = {"type": "GeometryCollection", "geometries": [mapping(box(50, 0, 60, 20))]}
    parts = [mapping(RING), {"type": "Point", "coordinates": [1, 2]}, inner]
    geometry = {"type": "GeometryCollection", "geometries": parts}
    ((one,), notes) = parse_features([{"geometry": geometry}], "sent")
    assert one.shape.area == RING.area + 200
    assert not notes


def test_texts_that_no_file_can_encode_are_kept(versions):
    name = json.loads('"\\ud800"')
    outlines, _ = parse_features(collection(RING, name=name), "sent")
    facts = SaveFacts(annotator=name)
    versions.save(outlines, facts, parent=0, identity=IDENTITY)
    loaded = versions.load(1)
    assert (loaded.outlines[0].name, loaded.info.facts.annotator) == (name, name)
    versions.drafts.save("t", collection(RING, name=name))
    draft = versions.drafts.load("t")
    assert draft is not None
    assert draft["features"][0]["properties"]["name"] == name


def test_v7_bad_shapes_are_repaired_left_out_or_refused_by_name(versions):
    bow = Polygon([(0, 0), (100, 100), (100, 0), (0, 100)])
    features = collection(bow, name="bow")["features"]
    features += [
        {"geometry": {"type": "Polygon", "coordinates": [[[3, 4]]]}, "properties": {"name": "dot"}},
        {"geometry": {"type": "Point", "coordinates": [3, 4]}, "properties": None},
        {"geometry": None},
    ]
    outlines, notes = parse_features(features, "sent")
    assert [one.shape.area for one in outlines] == [5000]
    assert outlines[0].shape.is_valid
    assert any("bow crossed itself" in note for note in notes)
    assert any("dot" in note and "no area" in note for note in notes)
    for ring in ([[0, 0], [1, "x"], [2, 2]], [[0, 0], [float("nan"), 1], [5, 5]], [[0], [1], [2]]):
        damaged = [{"geometry": {"type": "Polygon", "coordinates": [ring]}}]
        with pytest.raises(AnnotationError, match="outline 1"):
            parse_features(damaged, "sent")
    with pytest.raises(AnnotationError, match="FeatureCollection"):
        parse_features({"features": "many"}, "sent")


@pytest.mark.slow
def test_v7_a_million_corners_and_ten_thousand_holes_take_seconds(versions):
    angles = np.linspace(0, 2 * np.pi, 1_000_000, endpoint=False)
    radius = 40_000 + 500 * np.sin(997 * angles)
    ring = np.stack([50_000 + radius * np.cos(angles), 50_000 + radius * np.sin(angles)], axis=1)
    corners = [ring.tolist()]
    for x in range(25_000, 75_000, 500):
        for y in range(25_000, 75_000, 500):
            corners.append([[x, y], [x + 90, y], [x + 90, y + 90], [x, y + 90]])
    assert len(corners) == 10_001
    plain = [{"geometry": {"type": "Polygon", "coordinates": corners}, "properties": {}}]
    outlines, _ = parse_features(plain, "sent")
    assert versions.save(outlines, PERSON, parent=0, identity=IDENTITY).outlines == 1
    crossed = {"type": "Polygon", "coordinates": [[*corners[0], ring[1000].tolist()], *corners[1:]]}
    with pytest.raises(AnnotationError, match=r"big .*simplify"):
        parse_features([{"geometry": crossed, "properties": {"name": "big"}}], "sent")
    assert outlines[0].shape.area == pytest.approx(Polygon(ring).area - 10_000 * 8100, rel=1e-6)


def test_ids_stay_and_copies_get_their_own():
    one = outline()
    plain = {"features": [json.loads(json.dumps(f)) for f in collection(RING, RING)["features"]]}
    for feature in plain["features"]:
        feature["id"] = one.id
    first, second = parse_features(plain, "sent")[0]
    assert first.id == one.id
    assert second.id != one.id
    assert second.parent == one.id


@pytest.mark.parametrize("slide", ["../x", "a/b", "", ".hidden", "a\0b", "..", "x" * 201, "-a"])
def test_v10_only_ids_name_a_folder(tmp_path, slide):
    folder = AnnotationFolder.create(tmp_path / "a")
    with pytest.raises(SettingsError):
        folder.versions(slide)
    with pytest.raises(SettingsError):
        folder.versions("s").drafts.save(slide + "/..", {})


def test_a_foreign_file_or_folder_is_named_and_left_alone(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x.txt").write_text("mine")
    with pytest.raises(SettingsError, match="left as it is"):
        AnnotationFolder.create(tmp_path / "data")
    with pytest.raises(StoreError, match="no annotations"):
        AnnotationFolder.open(tmp_path / "data")
    folder = AnnotationFolder.create(tmp_path / "a")
    versions = folder.versions("s")
    save(versions, RING)
    versions.path(2).write_text(json.dumps(collection(RING)))
    with pytest.raises(StoreError, match=r"0002\.geojson: not a version"):
        versions.newest()
    (tmp_path / "a" / "my notes").mkdir()
    assert folder.slides() == ["s"]


def test_ten_thousand_outlines_are_saved_whole(versions):
    angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    circle = np.stack([20 * np.cos(angles), 13 * np.sin(angles)], axis=1)
    shapes = [Polygon(np.add(circle, (100 * (n % 100), 70 * (n // 100)))) for n in range(10_000)]
    info = versions.save(
        [outline(shape, id=new_id()) for shape in shapes], PERSON, parent=0, identity=IDENTITY
    )
    assert info.outlines == 10_000
    assert area(versions, 1) == pytest.approx(sum(shape.area for shape in shapes), rel=1e-4)


def test_shapes_of_one_request_stay_with_their_outlines():
    square, holed = box(10, 20, 40, 90), box(0, 0, 90, 60) - box(10, 10, 20, 40) - box(30, 5, 50, 9)
    parts = [mapping(box(100, 0, 130, 10)), mapping(box(200, 0, 210, 40))]
    several = {"type": "GeometryCollection", "geometries": parts}
    line = {"type": "Polygon", "coordinates": [[[0, 0], [9, 9], [0.001, 0.002]]]}
    deep = {"type": "Polygon", "coordinates": [[[1, 2, 7], [5, 2, 7], [5, 9, 7]], [[1, 2]]]}
    shapes = [mapping(square), line, mapping(holed), several, deep]
    names = ["square", "line", "holed", "several", "deep"]
    features = [
        {"type": "Feature", "geometry": shape, "properties": {"name": name}}
        for shape, name in zip(shapes, names, strict=True)
    ]
    outlines, notes = parse_features(features, "s")
    wanted = {
        "square": square,
        "holed": holed,
        "several": box(100, 0, 130, 10) | box(200, 0, 210, 40),
        "deep": Polygon([(1, 2), (5, 2), (5, 9)]),
    }
    assert [one.name for one in outlines] == list(wanted)
    assert all(one.shape.equals(wanted[one.name]) for one in outlines)
    assert notes == ["outline 2 (line) encloses no area and is left out"]
    features[3]["geometry"] = mapping(box(0, 0, 5, 2e8))
    with pytest.raises(AnnotationError, match=r"several.* on no slide"):
        parse_features(features, "s")
