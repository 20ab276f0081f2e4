"""Saves, drafts and waiting strokes of the page: its modules in Node, with a simulated server."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

STATIC = Path(__file__).resolve().parents[1] / "serve" / "static"
PROGRAM = Path(__file__).with_name("saving_page.mjs")


@pytest.fixture(scope="module")
def modules(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("modules")
    for path in STATIC.glob("*.js"):
        shutil.copy(path, folder)
    (folder / "package.json").write_text('{"type": "module"}')
    return folder


@pytest.fixture
def play(modules):
    """Play a scenario; return what came of it."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node")

    def run(scenario: str) -> dict[str, Any]:
        done = subprocess.run(
            [node, PROGRAM, modules, scenario], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def test_a_stroke_that_waits_counts_as_unsaved_and_is_saved_later(play):
    found = play("strokes count and are kept")
    assert found["without"]["unsaved"]
    assert found["without"]["state"] == "waiting"
    (step,) = found["without"]["steps"]
    assert (step["label"], step["stroke"]["radius"], step["group"]) == ("Brush", 3, "Tumor")
    assert found["versions"] == [1]
    assert (found["state"], found["kept"], found["drafts"]) == ("saved", 0, 0)


def test_a_stroke_waits_where_the_server_may_take_it_later(play):
    found = play("a refused session keeps the stroke")
    assert found["found"] == [1, 1, 1, 0]  # 401, 503, 500, 422
    assert any("gigaslide view printed now" in words for words in found["words"])


def test_a_save_keeps_the_draft_of_work_done_while_it_ran(play):
    found = play("work done during a save is kept")
    assert found["meanwhile"] == {"drafts": 1, "kept": 1, "unsaved": True}
    assert found["versions"] == [1, 2]
    assert (found["drafts"], found["kept"]) == (0, 0)


def test_a_save_right_after_a_refusal_is_made(play):
    found = play("a save after a refusal is made")
    assert (found["versions"], found["state"]) == ([1], "saved")


def test_a_lost_answer_to_a_save_is_no_conflict(play):
    found = play("a lost answer is no conflict")
    assert found["versions"] == [1, 2]
    assert (found["state"], found["version"]) == ("saved", 2)


def test_v1_to_use_theirs_saves_mine_first(play):
    found = play("theirs is used and mine stays")
    assert found["versions"] == [1, 2, 1]
    assert (found["state"], found["shown"]) == ("saved", ["3"])


def test_one_draft_is_written_and_one_waits(play):
    assert play("drafts do not queue up")["puts"] == [1, 20]


def test_only_a_small_draft_is_sent_when_the_page_goes(play):
    found = play("only a small last draft outlives the page")
    assert found["keepalive"] == [False, True]
    assert found["up"]


def test_leaving_keeps_the_unfinished_outline_of_this_slide_only(play):
    found = play("leaving keeps the unfinished outline")
    assert found["sketch"] == [[1, 2], [3, 4], [5, 6]]
    assert found["none"] is None
