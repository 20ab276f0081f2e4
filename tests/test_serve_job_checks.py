"""Checks of requests for jobs, which open slides, keep nothing else waiting."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from gigaslide.serve.jobs import job_routes
from serving import Served, serve, wait_until
from test_serve_jobs import make_desk, post

POSTS = 50  # more than the threads that the rest of the server shares


@pytest.fixture
def desk_server(tmp_path) -> Iterator[Served]:
    yield from serve(make_desk(tmp_path), tmp_path)


def test_v12_slides_that_hang_as_jobs_are_checked_do_not_keep_the_list_waiting(
    desk_server, monkeypatch
):
    go, desk = threading.Event(), desk_server.workspace.desk
    monkeypatch.setattr(job_routes, "check_request", lambda *_: go.wait(60))
    with ThreadPoolExecutor(POSTS) as clients:
        asked = [clients.submit(post, desk_server, number=number) for number in range(POSTS)]
        wait_until(lambda: desk.checks.inside == POSTS, 30)
        assert desk_server.ask("/api/slides").status == 200
        assert desk_server.ask("/api/jobs").plain["jobs"] == []
        go.set()
    statuses = {one.result().status for one in asked}
    assert 202 in statuses
    assert statuses <= {202, 429}
