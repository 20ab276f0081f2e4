"""A server that is killed in the middle of a save, at every change that it makes to the disk."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_v3_a_server_killed_at_any_change_leaves_the_version_whole_or_absent(tmp_path):
    script = Path(__file__).with_name("saving_server.py")
    done = subprocess.run(
        [sys.executable, script, tmp_path], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) > 4
    for line in lines:
        assert line["before"] == [201, 204]
        assert line["outlines"] == [1, 2][: len(line["numbers"])]
        assert line["newest"] == len(line["numbers"])
        # The draft goes with a whole save only: what the person drew is somewhere in any case.
        assert line["drafts"] == ["t"] or len(line["numbers"]) == 2
        status, saved = line["next"]
        assert (status, saved["version"]) == (201, len(line["numbers"]) + 1)
    assert {len(line["numbers"]) for line in lines} == {1, 2}
    assert [line["status"] for line in lines] == [0] * (len(lines) - 1) + [201]
