"""Outlines through the server: versions, conflicts, and outlines that must be repaired."""

import gzip
import json
import math
import threading
import time
from dataclasses import replace
from urllib.parse import quote

import pytest
from gigaslide.annotate import AnnotationFolder
from serving import SQUARE, feature, make_slide, make_workspace, serve
from shapely.geometry import shape

PATH = "/api/slides/a/outlines"


def areas(plain: dict) -> list[float]:
    return [shape(one["geometry"]).area for one in plain["features"]]


def circle(corners: int, radius: float = 300.0) -> list:
    angles = [2 * math.pi * n / corners for n in range(corners)]
    ring = [[700 + radius * math.cos(t), 500 + radius * math.sin(t)] for t in angles]
    return [*ring, ring[0]]


def test_a_saved_version_comes_back_as_it_was(served):
    hole = [[200, 250], [300, 250], [300, 300], [200, 250]]
    answer = served.save("a", [feature(SQUARE, hole, name="x")], parent=0, accepted=True)
    assert (answer.status, answer.headers["etag"]) == (201, '"1"')
    assert answer.plain == {"version": 1, "parent": 0, "outlines": 1, "notes": []}
    shown = served.ask(PATH)
    assert shown.headers["etag"] == '"1"'
    (one,) = shown.plain["features"]
    assert one["geometry"]["coordinates"] == [SQUARE, hole]
    assert one["properties"]["metadata"]["origin"] == "drawn"
    about = shown.plain["gigaslide"]
    assert (about["annotator"], about["accepted"], about["mode"]) == ("Ada", True, "corrected")
    assert about["identity"]["width"] == 1531
    row = served.ask("/api/slides").plain["slides"][0]
    assert (row["state"], row["versions"], row["newest"]) == ("accepted", 1, 1)


def test_the_file_is_sent_as_it_lies_there_and_compressed(served):
    served.save("a", [feature(circle(500))], parent=0)
    stored = served.workspace.annotations.versions("a").path(1).read_bytes()
    assert served.ask(PATH).content == stored
    packed = served.ask(PATH, Accept_Encoding="gzip")
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.content) == stored
    kept = served.ask(f"{PATH}.geojson")
    assert (kept.content, "a-0001.geojson" in kept.headers["content-disposition"]) == (stored, True)


@pytest.mark.parametrize("name", ["slide 10", "a&b", "x, (2) #1%", "a%2Fb"])
def test_a_slide_of_any_name_is_listed_shown_and_outlined(tmp_path, name):
    workspace = make_workspace(tmp_path)
    renamed = replace(workspace.cohort.slides[0], id=name)
    cohort = replace(workspace.cohort, slides=(renamed, workspace.cohort.slides[1]))
    for server in serve(replace(workspace, cohort=cohort), tmp_path):
        assert [row["id"] for row in server.ask("/api/slides").plain["slides"]] == [name, "b"]
        path = f"/api/slides/{quote(name, safe='')}"
        assert server.ask(path).plain["width"] == 1531
        assert server.save(quote(name, safe=""), [feature()], parent=0).status == 201
        assert areas(server.ask(f"{path}/outlines").plain) == [shape(feature()["geometry"]).area]
        assert server.ask("/api/slides").plain["slides"][0]["newest"] == 1
    assert (tmp_path / "annotations" / name / "0001.geojson").is_file()
    assert AnnotationFolder.open(tmp_path / "annotations").slides() == [name]


@pytest.mark.parametrize("name", [".hidden", "-rf", "a/b", "/a", "a\\b", "a\nb", "ü" * 101])
def test_only_outlines_of_a_slide_that_can_name_no_folder_are_refused(tmp_path, name):
    workspace = make_workspace(tmp_path)
    renamed = replace(workspace.cohort.slides[0], id=name)
    cohort = replace(workspace.cohort, slides=(renamed, workspace.cohort.slides[1]))
    for server in serve(replace(workspace, cohort=cohort), tmp_path):
        assert [row["state"] for row in server.ask("/api/slides").plain["slides"]] == ["none"] * 2
        path, other = quote(name, safe=""), server.save("b", [feature()], parent=0)
        assert other.status == 201
        for part in ("", "/tiles/0/0/0.jpg", "/outlines", "/versions", "/drafts"):
            assert server.ask(f"/api/slides/{path}{part}").status == 200
        refused = server.save(path, [feature()], parent=0)
        assert (refused.status, "folder" in refused.plain["error"]) == (422, True)
        draft = server.ask(f"/api/slides/{path}/drafts/t", method="PUT", body={"features": []})
        assert draft.status == 422
    assert sorted(one.name for one in (tmp_path / "annotations").iterdir() if one.is_dir()) == ["b"]


def test_outlines_of_a_part_of_the_slide(served):
    far = [[1000, 900], [1100, 900], [1100, 1000], [1000, 900]]
    served.save("a", [feature(), feature(far)], parent=0)
    assert areas(served.ask(f"{PATH}?bbox=0,0,420,360").plain) == [45_000]
    assert areas(served.ask(f"{PATH}?bbox=1050,950,1051,951").plain) == [5_000]
    assert areas(served.ask(f"{PATH}?bbox=0,0,10,10").plain) == []
    for bad in ("1,2,3", "a,b,c,d", "nan,nan,nan,x"):
        assert served.ask(f"{PATH}?bbox={bad}").status == 422


def test_v1_of_two_tabs_the_second_gets_409_and_both_are_on_disk(served):
    served.save("a", [feature()], parent=0)
    first = served.save("a", [feature(), feature()], parent=1)
    second = served.save("a", [feature(circle(20))], parent=1)
    assert (first.status, second.status, second.plain["newest"]) == (201, 409, 2)
    assert len(served.ask(f"{PATH}?version=2").plain["features"]) == 2
    assert served.save("a", [feature(circle(20))], parent=2).plain["version"] == 3
    assert [len(served.ask(f"{PATH}?version={n}").plain["features"]) for n in (1, 2, 3)] == [
        1,
        2,
        1,
    ]


def test_v1_of_ten_saves_at_once_one_succeeds(served):
    answers: list[int] = []
    threads = [
        threading.Thread(
            target=lambda: answers.append(served.save("a", [feature()], parent=0).status)
        )
        for _ in range(10)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [201] + [409] * 9
    assert served.ask("/api/slides/a/versions").plain["newest"] == 1


@pytest.mark.parametrize(
    ("status", "stated"), [(428, ""), (422, "x"), (422, '"-1"'), (422, "*"), (409, '"7"')]
)
def test_v1_a_save_states_the_version_it_builds_on(shown, status, stated):
    body = {"outlines": {"features": [feature()]}}
    assert shown.ask(PATH, method="POST", body=body, If_Match=stated).status == status


def test_v6_outlines_of_a_replaced_slide_are_saved_once_confirmed(served):
    served.save("a", [feature()], parent=0)
    assert served.ask("/api/slides/a").plain["changed"] == []
    path = served.workspace.slides["a"].path
    make_slide(path.with_name("other.tif"), seed=2).replace(path)
    (change,) = served.ask("/api/slides/a").plain["changed"]
    assert "another file" in change
    answer = served.save("a", [feature()], parent=1)
    assert answer.status == 410
    assert served.ask("/api/slides/a/versions").plain["newest"] == 1
    assert served.save("a", [feature()], parent=1, slide_changed=True).status == 201
    assert served.ask("/api/slides/a").plain["changed"] == []


def test_v6_another_spacing_is_another_slide(tmp_path):
    workspace = make_workspace(tmp_path)
    for served in serve(workspace, tmp_path):
        served.save("a", [feature()], parent=0)
    slides = tuple(replace(one, mpp=0.25) for one in workspace.cohort)
    corrected = make_workspace(tmp_path, cohort=replace(workspace.cohort, slides=slides))
    for served in serve(corrected, tmp_path):
        assert served.ask("/api/slides/a").plain["mpp"] == 0.25
        assert "0.5" in served.ask("/api/slides/a").plain["changed"][0]
        assert served.save("a", [feature()], parent=1).status == 410


def test_v7_many_corners_are_refused_or_saved_in_bounded_time(served):
    begin = time.monotonic()
    answer = served.save("a", [feature(circle(200_000), name="huge")], parent=0)
    assert answer.status == 201
    assert time.monotonic() - begin < 60


@pytest.mark.parametrize(
    ("rings", "status"),
    [
        ([[[5, 5]]], 201),
        ([[[5, 5], [6, 6]]], 201),
        ([[]], 201),
        ([[[0, 0], [100, 100], [100, 0], [0, 100], [0, 0]]], 201),
        ([[[0, 0], [1e12, 0], [0, 1e12]]], 422),
        ([[["x", "y"], [1, 2], [3, 4]]], 422),
        ([[[None, 1], [1, 2], [3, 4]]], 422),
        ([5], 422),
    ],
)
def test_v7_points_and_crossings_are_repaired_or_named(shown, rings, status):
    newest = shown.ask("/api/slides/b/versions").plain["newest"]
    answer = shown.save("b", [feature(), feature(*rings, name="odd one")], parent=newest)
    assert answer.status == status
    if status == 201:
        assert answer.plain["outlines"] in (1, 2)
        assert answer.plain["notes"]
        assert "odd one" in " ".join(answer.plain["notes"])
    else:
        assert "odd one" in answer.plain["error"]
        assert shown.ask("/api/slides/b/versions").plain["newest"] == newest


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"outlines": 5}',
        b'{"outlines": {"features": 5}}',
        b'{"outlines": {"features": [5]}}',
        b'{"outlines": {}, "further": 1}',
        b'{"outlines": {"features": []}, "accepted": "perhaps"}',
        b'{"outlines": {"features": [' + b"[" * 50_000 + b"]}}",
        b"\xff\xfe",
    ],
)
def test_v7_a_request_that_is_none_of_ours_is_refused(shown, body):
    assert shown.ask(PATH, method="POST", body=body, If_Match='"0"').status == 422
    assert shown.ask("/api/slides/a/versions").plain["newest"] == 0


def test_v7_a_body_past_the_limit_is_refused(shown):
    body = {"events": [{"slide": "a", "kind": "open", "tab": "x" * 200}] * 2000}
    assert shown.ask("/api/events", method="POST", body=body).status == 413


def test_v8_ten_thousand_outlines_are_saved_in_a_second(served):
    features = []
    for number in range(10_000):
        x, y = number % 100 * 15, number // 100 * 11
        ring = [[x + 5 + dx, y + 5 + dy] for dx, dy in ((-4, -4), (4, -4), (4, 4), (0, 1), (-4, 4))]
        features.append(feature([*ring, ring[0]]))
    assert served.save("a", features, parent=0).status == 201
    assert len(served.ask(PATH).plain["features"]) == 10_000


def test_restoring_makes_a_new_version(served):
    served.save("a", [feature()], parent=0)
    served.save("a", [feature(circle(30))], parent=1, accepted=True)
    path = "/api/slides/a/versions/1/restore"
    assert served.ask(path, method="POST", body={}, If_Match='"1"').status == 409
    answer = served.ask(path, method="POST", body={}, If_Match='"2"')
    assert (answer.status, answer.plain["version"], answer.plain["parent"]) == (201, 3, 2)
    assert areas(served.ask(PATH).plain) == [45_000]
    history = served.ask("/api/slides/a/versions").plain
    assert (history["newest"], history["versions"][2]["restored_from"]) == (3, 1)
    missing = "/api/slides/a/versions/9/restore"
    assert served.ask(missing, method="POST", body={}, If_Match='"3"').status == 404
    assert served.ask(f"{PATH}?version=9").status == 404


def test_without_a_version_the_annotation_of_the_cohort_is_shown(tmp_path):
    workspace = make_workspace(tmp_path)
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature()]}))
    slides = (replace(workspace.slides["a"], annotation=path, label="tumor"),)
    workspace = make_workspace(tmp_path, cohort=replace(workspace.cohort, slides=slides))
    for served in serve(workspace, tmp_path):
        answer = served.ask(PATH)
        assert (answer.headers["etag"], areas(answer.plain)) == ('"0"', [45_000])
        served.save("a", [], parent=0)
        assert served.ask(PATH).plain["features"] == []


@pytest.mark.parametrize("reason", ["read-only", "no folder"])
def test_nothing_can_be_changed_where_nothing_may_be(tmp_path, reason):
    fields = {"read_only": True} if reason == "read-only" else {"annotations": None}
    for served in serve(make_workspace(tmp_path, **fields), tmp_path):
        assert served.ask("/api/slides").plain["read_only"] is True
        assert served.save("a", [feature()], parent=0).status == 403
        draft = "/api/slides/a/drafts/tab"
        assert served.ask(draft, method="PUT", body={}).status == 403
        assert served.ask(draft, method="DELETE").status == 403
        restore = "/api/slides/a/versions/1/restore"
        assert served.ask(restore, method="POST", body={}, If_Match='"0"').status == 403
        events = {"events": [{"slide": "a", "kind": "open"}]}
        assert served.ask("/api/events", method="POST", body=events).status == 403
        assert served.ask(PATH).headers["etag"] == '"0"'
        assert served.ask(draft).status == 404
        assert not list((tmp_path / "annotations").glob("*/*"))
