"""Jobs of a server whose work is a stand-in: V13, and V10 of uploads."""

import http.client
import io
import os
import re
import signal
import socket
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.serve import JobDesk, Uploads, Workspace
from gigaslide.serve.app import DESK_OPERATIONS
from gigaslide.serve.openapi import make_openapi
from job_work import fake_queue
from PIL import Image
from serving import Answer, Served, make_slide, serve, wait_until
from test_serve_guard import BAD_NAMES

MOST_BYTES = 5_000_000
RESULTS = (
    "heatmap.zip",
    "heatmap.png",
    "detections.csv",
    "detections.geojson",
    "outlines.geojson",
)


def make_desk(folder: Path, **fields) -> Workspace:
    desk = JobDesk(fake_queue(folder / "out", **fields), Uploads(folder / "out/uploads", 5_000_000))
    slide = CohortSlide(id="a", path=make_slide(folder / "slides" / "a.tif"))
    return Workspace(cohort=Cohort(slides=(slide,)), desk=desk)


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("jobs")
    yield from serve(make_desk(folder), folder)


def post(served: Served, **fields) -> Answer:
    settings = {name: fields.pop(name) for name in list(fields) if name in ORDERS}
    body = {"model": "tiny", "slide": "a", "settings": settings, **fields}
    return served.ask("/api/jobs", method="POST", body=body)


ORDERS = ("steps", "pause_s", "end", "number")


def end_of(served: Served, name: str) -> dict:
    """Wait for the end of a job; return its last state."""

    def ended() -> bool:
        return state_of(served, name)["state"] not in ("queued", "running")

    wait_until(ended, 60)
    return state_of(served, name)


def state_of(served: Served, name: str) -> dict:
    return served.ask(f"/api/jobs/{name}").plain


def wait_for_state(served: Served, name: str, state: str) -> None:
    wait_until(lambda: state_of(served, name)["state"] == state, 60)


def upload(served: Served, content: bytes, query: str = "", **headers: str) -> Answer:
    sent = {"Content-Type": "application/octet-stream", **headers}
    return served.ask(f"/api/uploads{query}", method="POST", body=content, **sent)


def test_v13_a_job_goes_from_its_request_to_whole_results(jobs):
    answer = post(jobs, number=1)
    assert answer.status == 202
    name = answer.plain["id"]
    state = end_of(jobs, name)
    assert (state["state"], state["fraction"], state["windows"]) == ("done", 1.0, 20)
    assert state["counts"] == {"cells": 15}
    assert sorted(state["results"]) == sorted(RESULTS)
    found = {one: jobs.ask(f"/{state['results'][one]}") for one in RESULTS}
    assert {one.status for one in found.values()} == {200}
    archive = zipfile.ZipFile(io.BytesIO(found["heatmap.zip"].content))
    assert "heatmap.zarr/zarr.json" in archive.namelist()
    assert Image.open(io.BytesIO(found["heatmap.png"].content)).size == (5, 3)
    assert found["detections.csv"].content.startswith(b"slide,x,y")
    assert found["outlines.geojson"].plain["type"] == "FeatureCollection"


def test_v13_the_same_request_twice_is_one_job(jobs):
    first = post(jobs, number=2, steps=5, pause_s=0.1)
    second = post(jobs, number=2, steps=5, pause_s=0.1)
    assert (first.status, second.status) == (202, 202)
    name = first.plain["id"]
    assert second.plain["id"] == name
    end_of(jobs, name)
    third = post(jobs, number=2, steps=5, pause_s=0.1, outputs=["heatmap.png"])
    assert (third.status, third.plain["id"], third.plain["state"]) == (200, name, "done")
    assert list(third.plain["results"]) == ["heatmap.png"]
    runs = (jobs.folder / "out" / "jobs" / name / "pids").read_text().split()
    assert len(runs) == 1
    # A default that is written out is the same request; a region or a slide is another one.
    assert post(jobs, number=2, steps=5, pause_s=0.1, end="done").plain["id"] == name
    assert post(jobs, number=2, steps=5, pause_s=0.1, region=[0, 0, 9, 9]).plain["id"] != name


def test_a_running_job_tells_how_far_it_is(jobs):
    name = post(jobs, number=3, steps=20, pause_s=0.1).plain["id"]
    wait_until(lambda: 0 < state_of(jobs, name)["fraction"] < 1, 60)
    state = state_of(jobs, name)
    assert state["state"] == "running"
    assert 20 < state["windows_per_s"] < 101  # 10 windows in a tenth of a second
    assert 0 < state["eta_s"] < 10
    assert jobs.ask(f"/api/jobs/{name}/heatmap.zip").status == 409
    assert jobs.ask(f"/api/jobs/{name}", method="DELETE").status == 204
    assert end_of(jobs, name)["state"] == "cancelled"


def test_v13_a_cancelled_job_ends_at_once_and_the_next_one_runs(jobs):
    long = post(jobs, number=4, steps=1, pause_s=60).plain["id"]
    after = post(jobs, number=5).plain["id"]
    waiting = post(jobs, number=6).plain["id"]
    wait_for_state(jobs, long, "running")
    assert jobs.ask(f"/api/jobs/{waiting}", method="DELETE").status == 204
    assert jobs.ask(f"/api/jobs/{long}", method="DELETE").status == 204
    assert end_of(jobs, after)["state"] == "done"
    assert state_of(jobs, long)["state"] == state_of(jobs, waiting)["state"] == "cancelled"
    for name in (long, waiting):
        assert not (jobs.folder / "out" / "jobs" / name).exists()
        assert jobs.ask(f"/api/jobs/{name}/heatmap.png").status == 409
    assert post(jobs, number=6).status == 202  # asked for again
    again = end_of(jobs, waiting)
    assert (again["state"], again["reason"]) == ("done", "")


@pytest.mark.parametrize(
    ("end", "reason"),
    [("memory", "SIGKILL.*memory"), ("fault", "KeyError"), ("nan", "^a: .*NaN for 4 cells")],
)
def test_v13_a_job_that_fails_keeps_its_reason_and_the_server_lives(jobs, end, reason):
    name = post(jobs, number=7, end=end).plain["id"]
    state = end_of(jobs, name)
    assert state["state"] == "failed"
    assert re.search(reason, state["reason"])
    assert str(jobs.folder) not in state["reason"]
    assert state["results"] == {}
    assert jobs.ask(f"/api/jobs/{name}/heatmap.zip").status == 409
    assert end_of(jobs, post(jobs, number=8, end="done", steps=3).plain["id"])["state"] == "done"


def test_v13_a_child_that_somebody_kills_fails_its_job_only(jobs):
    name = post(jobs, number=9, steps=1, pause_s=60).plain["id"]
    wait_for_state(jobs, name, "running")
    assert jobs.workspace.desk is not None
    os.kill(jobs.workspace.desk.jobs.child_pid, signal.SIGTERM)
    state = end_of(jobs, name)
    assert (state["state"], "SIGTERM" in state["reason"]) == ("failed", True)
    assert end_of(jobs, post(jobs, number=10).plain["id"])["state"] == "done"


def test_v13_of_a_hundred_jobs_those_past_the_queue_are_refused(jobs):
    running = post(jobs, number=11, steps=1, pause_s=60).plain["id"]
    wait_for_state(jobs, running, "running")
    answers = [post(jobs, number=100 + number) for number in range(100)]
    statuses = [answer.status for answer in answers]
    assert statuses == [202] * 32 + [429] * 68
    assert int(answers[-1].headers["retry-after"]) > 0
    last = answers[31].plain["id"]
    assert state_of(jobs, last)["before"] == 31
    assert post(jobs, number=100).status == 202  # it waits already
    for answer in answers[:32]:
        assert jobs.ask(f"/api/jobs/{answer.plain['id']}", method="DELETE").status == 204
    assert jobs.ask(f"/api/jobs/{running}", method="DELETE").status == 204
    listed = jobs.ask("/api/jobs").plain["jobs"]
    assert len({job["id"] for job in listed}) == len(listed) >= 33


def test_finished_jobs_are_answered_after_a_restart_and_torn_ones_are_not(tmp_path):
    for served in serve(make_desk(tmp_path), tmp_path):
        done, torn = (post(served, number=number).plain["id"] for number in (1, 2))
        assert end_of(served, done)["state"] == end_of(served, torn)["state"] == "done"
        before = served.ask(f"/api/jobs/{done}/heatmap.zip").content
        cut = post(served, number=3, steps=1, pause_s=60).plain["id"]
        begun = tmp_path / "out" / "jobs" / cut / "a" / "begun"
        wait_until(begun.exists, 60)
    record = tmp_path / "out" / "jobs" / torn / "job.json"
    record.write_bytes(record.read_bytes()[:50])
    for served in serve(make_desk(tmp_path), tmp_path):
        again = post(served, number=1)
        assert (again.status, again.plain["id"]) == (200, done)
        assert served.ask(f"/api/jobs/{done}/heatmap.zip").content == before
        for name in (torn, cut):
            assert served.ask(f"/api/jobs/{name}").status == 404
        assert served.ask(f"/api/jobs/{done}", method="DELETE").status == 204
        assert served.ask(f"/api/jobs/{done}").status == 404
        assert not record.parent.with_name(done).exists()


@pytest.mark.parametrize(
    ("words", "fields"),
    [
        ("model", {"model": "other"}),
        ("model", {"model": "../model"}),
        ("slide", {"slide": "b"}),
        ("slide", {"slide": "/etc/passwd"}),
        ("slide", {"slide": None}),
        ("upload", {"slide": None, "upload": "../../slides/a.tif"}),
        ("either", {"upload": "0" * 32}),
        ("region", {"region": [0, 0, 0, 5]}),
        ("region", {"region": [0, -1, 5, 5]}),
        ("region", {"region": [0, 0, 5]}),
        ("outputs", {"outputs": ["../secret"]}),
        ("path", {"path": "/etc/passwd"}),
        ("settings.unknown", {"settings": {"unknown": 1}}),
        ("settings.steps", {"settings": {"steps": "many"}}),
        ("settings.architecture", {"settings": {"architecture": "os:system"}}),
    ],
)
def test_a_request_that_cannot_be_used_is_refused_with_its_fault(jobs, words, fields):
    answer = post(jobs, **fields)
    assert answer.status == 422
    assert words in answer.plain["error"]


def test_models_are_told_without_a_path(jobs):
    listed = jobs.ask("/api/models").plain["models"]
    assert [one["id"] for one in listed] == ["tiny"]
    found = jobs.ask("/api/models/tiny")
    assert "steps" in found.plain["settings"]["properties"]
    assert "architecture" not in found.plain["settings"]["properties"]
    assert str(jobs.folder).encode() not in found.content
    assert jobs.ask("/api/models/other").status == 404


def test_v10_an_upload_gets_a_name_of_ours(jobs, tmp_path):
    content = make_slide(tmp_path / "x.tif", 3).read_bytes()
    answer = upload(jobs, content, "?format=tif&name=../../evil.tif", X_File_Name="../evil")
    assert answer.status == 201
    name = answer.plain["upload"]
    assert re.fullmatch("[0-9a-f]{32}", name)
    assert answer.plain["bytes"] == len(content)
    folder = jobs.folder / "out" / "uploads"
    assert [path.name for path in folder.iterdir()] == [f"{name}.tif"]
    assert not list(jobs.folder.rglob("*evil*"))
    assert upload(jobs, content).plain["upload"] == name  # the same slide
    job = end_of(jobs, post(jobs, slide=None, upload=name).plain["id"])
    assert (job["state"], job["upload"], job["slide"]) == ("done", name, None)
    assert jobs.ask(f"/api/uploads/{name}", method="DELETE").status == 204
    assert not list(folder.iterdir())
    assert post(jobs, slide=None, upload=name, number=1).status == 422


def test_v10_uploads_of_wrong_kind_or_size_leave_nothing(jobs):
    folder = jobs.folder / "out" / "uploads"
    assert upload(jobs, b"").status == 422
    for query in ("?format=../../x", "?format=exe", "?format=mrxs", "?format=%00"):
        assert upload(jobs, b"x", query).status == 422
    assert upload(jobs, b"x", Content_Type="application/json").status == 415
    assert upload(jobs, b"x", Content_Type="multipart/form-data").status == 415
    assert upload(jobs, b"x", X_Gigaslide="").status == 403
    assert upload(jobs, b"x", Origin="http://evil.example").status == 403
    assert upload(jobs, b"x", Authorization="").status == 401
    assert upload(jobs, b"x" * (MOST_BYTES + 1)).status == 413
    assert not list(folder.iterdir())


def test_v10_an_upload_that_hides_its_length_is_cut_at_the_limit(jobs):
    connection = http.client.HTTPConnection("127.0.0.1", jobs.listener.port, timeout=30)
    headers = {
        "Authorization": f"Bearer {jobs.listener.token}",
        "X-Gigaslide": "1",
        "Content-Type": "application/octet-stream",
    }
    parts = (b"x" * 1_000_000 for _ in range(6))
    connection.request("POST", "/api/uploads", body=parts, headers=headers, encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()
    assert not list((jobs.folder / "out" / "uploads").iterdir())


def test_an_upload_whose_client_leaves_is_not_kept(jobs):
    words = (
        "POST /api/uploads HTTP/1.1\r\nHost: localhost\r\nX-Gigaslide: 1\r\n"
        f"Authorization: Bearer {jobs.listener.token}\r\nContent-Length: 4000000\r\n"
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    folder = jobs.folder / "out" / "uploads"
    with socket.create_connection(("127.0.0.1", jobs.listener.port)) as client:
        client.sendall(words.encode() + b"x" * 1_000_000)
        wait_until(lambda: bool(list(folder.iterdir())))
    wait_until(lambda: not list(folder.iterdir()))


@pytest.mark.parametrize("one", DESK_OPERATIONS, ids=lambda one: f"{one.method} {one.path}")
def test_v9_v11_every_address_of_jobs_is_guarded(jobs, one):
    path = one.path.format(id="0" * 32)
    kind = {"Content-Type": one.takes}
    for status, headers in (
        (401, {"Authorization": ""}),
        (403, {"Host": "evil.example"}),
        (403, {"Origin": "null"}),
        (403, {"Sec-Fetch-Site": "cross-site"}),
    ):
        answer = jobs.ask(path, method=one.method, body={}, **{**kind, **headers})
        assert answer.status == status
    if one.method != "GET":
        assert jobs.ask(path, method=one.method, body={}, X_Gigaslide="").status == 403


@pytest.mark.parametrize("name", BAD_NAMES)
def test_v10_a_path_in_a_route_of_jobs_leads_nowhere(jobs, name):
    for one in DESK_OPERATIONS:
        if "{id}" in one.path:
            answer = jobs.ask(one.path.replace("{id}", name), method=one.method)
            assert answer.status in (400, 404, 405)
            assert b"root:" not in answer.content


def test_a_server_without_models_has_no_jobs_and_a_read_only_one_takes_none(shown, tmp_path):
    assert shown.ask("/api/jobs").status == shown.ask("/api/models").status == 404
    workspace = make_desk(tmp_path)
    closed = Workspace(cohort=workspace.cohort, desk=workspace.desk, read_only=True)
    for served in serve(closed, tmp_path):
        assert post(served).status == upload(served, b"x").status == 403
        assert served.ask("/api/jobs").plain == {"jobs": []}


def test_the_schema_has_the_jobs(jobs):
    plain = jobs.ask("/openapi.json").plain
    submit = plain["paths"]["/api/jobs"]["post"]
    assert {"200", "202", "422", "429", "503"} <= submit["responses"].keys()
    sent = plain["paths"]["/api/uploads"]["post"]["requestBody"]["content"]
    assert list(sent) == ["application/octet-stream"]
    names = [one["operationId"] for path in plain["paths"].values() for one in path.values()]
    assert len(names) == len(set(names))
    assert make_openapi(DESK_OPERATIONS)["paths"].keys() <= plain["paths"].keys()


def test_the_child_ends_with_its_server(tmp_path):
    for served in serve(make_desk(tmp_path), tmp_path):
        assert served.workspace.desk is not None
        pid = served.workspace.desk.jobs.child_pid
        assert pid
        time.sleep(0.1)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
