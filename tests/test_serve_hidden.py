"""Tests that annotators who draw blind or from scratch get nothing of the model or of others."""

import json
import math
from dataclasses import replace

from conftest import HEIGHT, MPP, WIDTH
from gigaslide.annotate import (
    AnnotationFolder,
    Deal,
    DrawnOutline,
    SaveFacts,
    SlideIdentity,
    new_id,
)
from serving import feature, heatmap_of, make_workspace, serve
from shapely.geometry import box

PATH = "/api/slides/a/outlines"


def circle(corners: int, radius: float = 300.0) -> list:
    angles = [2 * math.pi * n / corners for n in range(corners)]
    ring = [[700 + radius * math.cos(t), 500 + radius * math.sin(t)] for t in angles]
    return [*ring, ring[0]]


def test_a_blind_version_is_nobodys_newest(served):
    served.save("a", [feature()], parent=0)
    assert served.save("a", [feature(circle(30))], parent=0, blind=True).status == 201
    assert served.ask(PATH).headers["etag"] == '"1"'
    rows = served.ask("/api/slides/a/versions").plain["versions"]
    assert [one["blind"] for one in rows] == [False, True]


def test_the_second_annotator_of_a_blind_slide_gets_nothing_of_others(tmp_path):
    folder = AnnotationFolder.create(tmp_path / "annotations", Deal(blind=1.0))
    workspace = make_workspace(tmp_path, annotations=folder, annotator="Berta")
    heatmap_of("b").save(tmp_path / "predictions" / "b" / "heatmap.zarr")
    for first in serve(replace(workspace, annotator="Ada"), tmp_path):
        assert first.ask("/api/slides/a").plain["blind"] is False
        assert first.save("a", [feature()], parent=0).status == 201
        draft = {"features": [], "annotator": "Ada"}
        path = "/api/slides/a/drafts/hers"
        assert first.ask(path, method="PUT", body=draft).status == 204
        assert first.ask("/api/slides/a/heatmap").status == 200  # the first one is not blind
    for second in serve(workspace, tmp_path):
        row, other = second.ask("/api/slides").plain["slides"]
        assert (row["blind"], row["has_heatmap"], row["score"]) == (True, False, None)
        assert other["blind"] is False  # nobody has drawn there yet
        assert second.ask("/api/slides/a").plain["newest"] == 0
        assert second.ask(PATH).plain["features"] == []
        assert second.ask(PATH).headers["etag"] == '"0"'
        hidden = ("/outlines?version=1", "/drafts/hers", "/heatmap", "/heatmap.png")
        for part in (*hidden, "/heatmap-grey.png", "/detections"):
            assert second.ask(f"/api/slides/a{part}").status == 404, part
        assert second.ask("/api/slides/a/outlines.geojson").plain["features"] == []
        assert second.ask("/api/slides/a/drafts").plain["drafts"] == []
        assert second.ask("/api/slides/a/versions").plain == {"newest": 0, "versions": []}
        restore = "/api/slides/a/versions/1/restore"
        assert second.ask(restore, method="POST", body={}, If_Match='"1"').status == 404
        regions = second.ask("/api/next?order=random&count=9").plain["regions"]
        assert {region["slide"] for region in regions} == {"b"}

        # Whatever the client says, the version is blind; and the own one is shown from now on.
        saved = second.save("a", [feature(circle(30))], parent=0, blind=False)
        assert (saved.status, saved.plain["version"]) == (201, 2)
        assert folder.versions("a").info(2).facts.blind
        assert folder.versions("a").newest().number == 1
        mine = second.ask(PATH)
        assert (mine.headers["etag"], len(mine.plain["features"])) == ('"2"', 1)
        rows = second.ask("/api/slides/a/versions").plain["versions"]
        assert [one["version"] for one in rows] == [2]
        assert second.ask("/api/slides/a/outlines?version=1").status == 404
        assert second.save("a", [], parent=2).plain["version"] == 3
    for reader in serve(replace(workspace, annotator="", read_only=True), tmp_path):
        assert len(reader.ask("/api/slides/a/versions").plain["versions"]) == 3
        assert reader.ask("/api/slides/a/heatmap").status == 200


def propose(folder: AnnotationFolder, slide: str) -> None:
    """Write a proposal as version 1."""
    identity = SlideIdentity(width=WIDTH, height=HEIGHT, mpp=MPP)
    proposed = DrawnOutline(id=new_id(), shape=box(300, 300, 700, 500), origin="proposed")
    facts = SaveFacts(made_by="propose")
    folder.versions(slide).save([proposed], facts, parent=0, identity=identity, keep_origins=True)


def test_a_slide_from_scratch_tells_nothing_of_the_model_until_it_is_accepted(tmp_path):
    folder = AnnotationFolder.create(tmp_path / "annotations", Deal(scratch=1.0))
    workspace = make_workspace(tmp_path, annotations=folder, annotator="Ada")
    propose(folder, "a")
    parts = ("heatmap", "heatmap.png", "heatmap-grey.png", "detections", "outlines?version=1")
    for served in serve(workspace, tmp_path):
        for version, accepted in ((2, False), (3, True)):
            row = served.ask("/api/slides").plain["slides"][0]
            known = (row["model_hidden"], row["has_heatmap"], row["score"])
            assert known == (True, False, None)
            assert (row["state"], row["versions"]) == (("none", "saved")[version - 2], version - 2)
            about = served.ask("/api/slides/a").plain
            assert (about["model_hidden"], about["has_heatmap"]) == (True, False)
            for part in parts:
                assert served.ask(f"/api/slides/a/{part}").status == 404, part
            assert served.ask("/api/next?order=random&count=9").plain["regions"] == []
            shown = served.ask(PATH)
            assert shown.headers["etag"] == f'"{version - 1}"'
            assert len(shown.plain["features"]) == version - 2
            versions = served.ask("/api/slides/a/versions").plain["versions"]
            assert [one["version"] for one in versions] == list(range(2, version))
            restore = "/api/slides/a/versions/1/restore"
            answer = served.ask(restore, method="POST", body={}, If_Match=f'"{version - 1}"')
            assert answer.status == 404
            saved = served.save("a", [feature()], parent=version - 1, accepted=accepted)
            assert (saved.status, saved.plain["version"]) == (201, version)
        row = served.ask("/api/slides").plain["slides"][0]
        assert (row["model_hidden"], row["score"], row["state"]) == (False, 1.0, "accepted")
        assert [served.ask(f"/api/slides/a/{part}").status for part in parts] == [200] * 5
    for reader in serve(replace(workspace, read_only=True), tmp_path):
        assert reader.ask("/api/slides/b").plain["model_hidden"] is False


def test_a_slide_from_scratch_begins_without_the_outlines_of_the_cohort(tmp_path):
    workspace = make_workspace(tmp_path)
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature()]}))
    slides = (replace(workspace.slides["a"], annotation=path, label="tumor"),)
    cohort = replace(workspace.cohort, slides=slides)
    for scratch, count in ((0.0, 1), (1.0, 0)):
        folder = AnnotationFolder.create(tmp_path / f"dealt-{count}", Deal(scratch=scratch))
        dealt = make_workspace(tmp_path, cohort=cohort, annotations=folder)
        for served in serve(dealt, tmp_path):
            assert len(served.ask(PATH).plain["features"]) == count
