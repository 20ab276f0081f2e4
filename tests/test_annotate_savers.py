"""Saves of a version that meet another saver, are killed, or find a full disk."""

import errno
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from annotating import RING, area, collection, save
from gigaslide.annotate import (
    SlideVersions,
    VersionConflictError,
    parse_features,
)
from gigaslide.storage import StoreError, atomic, is_disk_full
from shapely.geometry import box


@pytest.fixture
def versions(tmp_path) -> SlideVersions:
    return SlideVersions(tmp_path / "s", "s")


def test_v1_the_second_of_two_savers_is_refused_and_keeps_its_work(versions):
    save(versions, RING)
    save(versions, box(0, 0, 9, 9), parent=1)
    versions.drafts.save("second", collection(RING))
    with pytest.raises(VersionConflictError) as refused:
        save(versions, RING, parent=1)
    assert refused.value.newest == 2
    assert versions.numbers() == [1, 2]
    assert versions.drafts.load("second") == json.loads(json.dumps(collection(RING)))
    assert save(versions, RING, parent=2).number == 3


def test_v1_of_many_savers_at_once_each_version_has_one(versions):
    save(versions, RING)
    results: list[object] = []

    def try_to_save(number: int) -> None:
        try:
            results.append(save(versions, box(0, 0, 10 + number, 10), parent=1).number)
        except VersionConflictError as error:
            results.append(error)

    threads = [threading.Thread(target=try_to_save, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results.count(2) == 1
    assert sum(isinstance(one, VersionConflictError) for one in results) == 7
    assert versions.numbers() == [1, 2]


def test_a_file_system_without_links_gives_one_version_too(versions, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EOPNOTSUPP, "no links here")

    monkeypatch.setattr(atomic.os, "link", refuse)
    monkeypatch.setattr(atomic, "CLAIM_S", 0.1)
    save(versions, RING)
    with pytest.raises(FileExistsError), atomic.new_file(versions.path(1)) as partial:
        partial.write_bytes(b"other")
    assert area(versions, 1) == RING.area
    assert [path.name for path in versions.folder.iterdir()] == ["0001.geojson"]
    claim = versions.folder / ".0002.geojson.claim"
    claim.touch()
    os.utime(claim, (0, 0))
    with pytest.raises(StoreError, match=r"remove it.*0002\.geojson\.claim"):
        save(versions, RING)
    assert claim.exists()
    claim.unlink()
    assert save(versions, RING).number == 2


def test_a_file_in_the_place_of_the_folder_is_no_conflict(versions):
    versions.folder.write_text("mine")
    with pytest.raises(StoreError, match="where the slide's folder should be"):
        save(versions, RING)
    assert versions.folder.read_text() == "mine"


def test_v2_the_last_draft_of_each_tab_is_offered(versions):
    versions.drafts.save("a", collection(RING))
    versions.drafts.save("b", {"features": [{"geometry": {"type": "Polygon"}}]})
    versions.drafts.save("a", collection(box(0, 0, 1, 2)))
    assert sorted(versions.drafts.tabs()) == ["a", "b"]
    draft = versions.drafts.load("a")
    assert draft is not None
    assert parse_features(draft, "draft")[0][0].shape.area == 2
    versions.drafts.remove("a")
    assert versions.drafts.tabs() == ["b"]
    assert versions.numbers() == []


def test_v3_a_save_killed_at_any_change_leaves_the_version_whole_or_absent(tmp_path):
    script = Path(__file__).with_name("annotating.py")
    done = subprocess.run(
        [sys.executable, script, tmp_path, "1"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) > 3
    whole = [RING.area, 1200 + RING.area]
    for line in lines:
        assert line["areas"] == whole[: len(line["numbers"])]
        assert line["draft"] == {"features": ["kept"]}
        assert line["next"] == len(line["numbers"]) + 1
    assert {len(line["numbers"]) for line in lines} == {1, 2}
    assert not lines[-1]["killed"]


@pytest.mark.parametrize("at", ["write", "sync", "link"])
def test_v4_a_full_disk_leaves_version_and_draft_and_a_retry_works(versions, monkeypatch, at):
    save(versions, RING)
    versions.drafts.save("t", collection(RING))

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    target = {
        "write": "gigaslide.annotate.versions.write_version",
        "sync": "gigaslide.storage.atomic.sync_file",
        "link": "gigaslide.storage.atomic.os.link",
    }[at]
    with monkeypatch.context() as patched:
        patched.setattr(target, full)
        with pytest.raises(StoreError, match="disk is full") as failed:
            save(versions, RING, RING)
    assert is_disk_full(failed.value)
    assert sorted(path.name for path in versions.folder.iterdir()) == [
        "0001.geojson",
        "draft-t.geojson",
    ]
    assert save(versions, RING).number == 2


def test_a_blind_version_that_comes_meanwhile_is_no_conflict(versions, monkeypatch):
    save(versions, RING)
    write, came = SlideVersions._write_new, []

    def write_after_bob(self, info, outlines):
        if not came:
            came.append(info.number)
            save(versions, RING, blind=True)
        return write(self, info, outlines)

    monkeypatch.setattr(SlideVersions, "_write_new", write_after_bob)
    assert save(versions, RING, parent=1).number == 3
    assert versions.info(2).facts.blind
