"""The short way to tiles answers as the routes of Starlette do, and behind the same guard.

Starlette answers HEAD, the short way GET.
"""

import pytest
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.serve import slides as slide_routes
from serving import make_slide, make_workspace, serve

TILE = "/api/slides/a/tiles/3/2/1.jpg"


def test_a_tile_comes_with_the_headers_of_the_other_way(shown):
    version = shown.ask("/api/slides/a").plain["v"]
    for query in ("", f"?v={version}"):
        quick, other = shown.ask(f"{TILE}{query}"), shown.ask(f"{TILE}{query}", method="HEAD")
        assert (quick.status, other.status) == (200, 200)
        assert len(quick.content) == int(other.headers["content-length"])
        for answer in (quick, other):
            answer.headers.pop("date")
        assert quick.headers == other.headers


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/slides/c/tiles/3/2/1.jpg", 404),
        ("/api/slides/a/tiles/3/6/0.jpg", 404),
        (f"{TILE}?v=old", 410),
    ],
)
def test_a_refusal_is_that_of_the_other_way(shown, path, status):
    quick, other = shown.ask(path), shown.ask(path, method="HEAD")
    assert (quick.status, other.status) == (status, status)
    assert quick.plain["error"]
    for answer in (quick, other):
        answer.headers.pop("date")
    assert quick.headers == other.headers


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": ""}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Host": "evil.example"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
def test_what_the_guard_refuses_is_never_read(shown, monkeypatch, headers, status):
    monkeypatch.setattr(slide_routes, "read_jpeg_tile", None)
    answer = shown.ask(TILE, **headers)
    assert (answer.status, answer.headers["cache-control"]) == (status, "no-store")


@pytest.mark.parametrize(
    "path",
    [
        "/api/slides/a/../a/tiles/3/2/1.jpg",
        "/api/slides/a/tiles/3/2/1.jpg/",
        "/api/slides/a/tiles/3/2/%D9%A1.jpg",  # an Arabic digit
        "/api/slides/a/tiles/3%2F2/1.jpg",
        "//api/slides/a/tiles/3/2/1.jpg",
    ],
)
def test_paths_that_only_resemble_a_tile_are_absent(shown, path):
    assert shown.ask(path).status == 404


def test_an_id_with_a_slash_is_found_below_a_base_url(tmp_path):
    path = make_slide(tmp_path / "slide.tif")
    workspace = make_workspace(tmp_path, cohort=Cohort(slides=(CohortSlide(id="p/7", path=path),)))
    for served in serve(workspace, tmp_path, base_url="/proxy/8000"):
        for base in ("", "/proxy/8000"):
            answer = served.ask(f"{base}/api/slides/p%2F7/tiles/3/2/1.jpg")
            assert (answer.status, answer.headers["content-type"]) == (200, "image/jpeg")
            assert served.ask(f"{base}/api/slides/p/7/tiles/3/2/1.jpg").status == 404


def test_a_slide_that_cannot_be_read_is_tried_once_for_a_request(served, monkeypatch):
    tries = []

    def read_jpeg_tile(*_arguments):
        tries.append(1)
        raise OSError("the mount hangs")

    monkeypatch.setattr(slide_routes, "read_jpeg_tile", read_jpeg_tile)
    answer = served.ask(TILE)
    assert (answer.status, len(tries)) == (503, 1)
    assert int(answer.headers["retry-after"]) > 0


def test_a_fault_of_the_server_is_logged_without_the_token(served, monkeypatch, caplog):
    monkeypatch.setattr(slide_routes, "read_jpeg_tile", None)
    token = served.listener.token
    answer = served.ask(f"{TILE}?token={token}")
    assert (answer.status, "log" in answer.plain["error"]) == (500, True)
    assert "/tiles/3/2/1.jpg failed" in caplog.text
    assert token not in caplog.text
