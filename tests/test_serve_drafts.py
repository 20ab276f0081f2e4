"""Drafts through the server, and saves that meet a full disk: nothing is lost."""

import errno
import math
import os
import time

import pytest
from gigaslide.storage import atomic
from serving import feature, make_workspace, serve


def circle(corners: int, radius: float = 300.0) -> list:
    angles = [2 * math.pi * n / corners for n in range(corners)]
    ring = [[700 + radius * math.cos(t), 500 + radius * math.sin(t)] for t in angles]
    return [*ring, ring[0]]


def test_v2_a_draft_of_each_tab_outlives_the_server_and_goes_with_the_save(tmp_path):
    for served in serve(make_workspace(tmp_path), tmp_path):
        for tab in ("one", "two"):
            plain = {"type": "FeatureCollection", "features": [feature()], "parent": 0, "tab": tab}
            answer = served.ask(f"/api/slides/a/drafts/{tab}", method="PUT", body=plain)
            assert answer.status == 204
    for served in serve(make_workspace(tmp_path), tmp_path):
        found = served.ask("/api/slides/a/drafts").plain["drafts"]
        assert [one["tab"] for one in found] == ["two", "one"]
        assert abs(found[0]["saved"] - time.time()) < 60
        assert served.ask("/api/slides/a/drafts/one").plain["tab"] == "one"
        assert served.ask("/api/slides").plain["slides"][0]["versions"] == 0
        served.save("a", [feature()], parent=0, tab="one")
        assert served.ask("/api/slides/a/drafts/one").status == 404
        assert served.ask("/api/slides/a/drafts/two").status == 200
        assert served.ask("/api/slides/a/drafts/two", method="DELETE").status == 204
        assert served.ask("/api/slides/a/drafts").plain == {"drafts": []}


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"null", b"\xff", b"[" * 100_000])
def test_v2_a_damaged_draft_is_refused_and_the_old_one_stays(shown, body):
    path = "/api/slides/b/drafts/tab"
    assert shown.ask(path, method="PUT", body={"kept": 1}).status == 204
    assert shown.ask(path, method="PUT", body=body).status == 422
    assert shown.ask(path).plain == {"kept": 1}


def test_v4_a_full_disk_is_told_and_nothing_is_changed(served, monkeypatch):
    served.save("a", [feature()], parent=0)
    served.ask("/api/slides/a/drafts/tab", method="PUT", body={"kept": 1})
    real = atomic.sync_file

    def full(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(atomic, "sync_file", full)
    answer = served.save("a", [feature(circle(9))], parent=1, tab="tab")
    assert answer.status == 507
    assert "not" in answer.plain["error"] or "nothing" in answer.plain["error"]
    assert str(served.folder) not in answer.plain["error"]
    assert served.ask("/api/slides/a/versions").plain["newest"] == 1
    assert served.ask("/api/slides/a/drafts/tab").plain == {"kept": 1}
    monkeypatch.setattr(atomic, "sync_file", real)
    assert served.save("a", [feature(circle(9))], parent=1, tab="tab").status == 201


def test_v4_a_full_disk_while_a_draft_is_kept(served, monkeypatch):
    path = "/api/slides/a/drafts/tab"
    served.ask(path, method="PUT", body={"kept": 1})

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.write_bytes", full)
        assert served.ask(path, method="PUT", body={"kept": 2}).status == 507
    assert served.ask(path).plain == {"kept": 1}
