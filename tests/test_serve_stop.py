"""Files that a server leaves to programs and browsers, and their end with it."""

import json
import os
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from gigaslide.serve import link_page, open_browser, server_file
from serving import make_slide, wait_until

ENDING = """
import signal, sys
import uvicorn
from pathlib import Path
from gigaslide.serve import Listener, ServerSettings, end_on_sigterm, run_server

moment, loop_factory = sys.argv[1], uvicorn.Config.get_loop_factory

def interrupt(now):
    if now == moment:
        signal.raise_signal(signal.SIGTERM)

def make_loop(config):
    interrupt("loop")
    return loop_factory(config)

async def app(scope, receive, send):
    for name in ("startup", "shutdown"):
        await receive()
        print(name, end=" ")
        interrupt(name)
        await send({"type": f"lifespan.{name}.complete"})

uvicorn.Config.get_loop_factory = make_loop
listener = Listener.open(ServerSettings(socket=Path(sys.argv[2])))
with end_on_sigterm():
    run_server(app, listener)
"""
"""A server that gets a signal while its loop is made or while it starts."""
URL = "http://127.0.0.1:1/?token=abc&x=1"


def test_the_file_with_the_token_is_for_the_owner_only_and_ends_with_the_server(tmp_path):
    with server_file(tmp_path, URL) as path:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        plain = json.loads(path.read_text())
        assert (plain["url"], plain["pid"]) == (URL, os.getpid())
    assert not list(tmp_path.iterdir())


def test_a_file_of_an_earlier_server_is_replaced_and_that_of_a_later_one_stays(tmp_path):
    target = tmp_path / "target"
    target.write_text("kept")
    path = tmp_path / ".server.json"
    path.symlink_to(target)
    with server_file(tmp_path, URL):
        assert not path.is_symlink()
        other = json.loads(path.read_text()) | {"pid": os.getpid() + 1}
        path.write_text(json.dumps(other))
    assert json.loads(path.read_text()) == other
    with server_file(tmp_path, URL):
        assert json.loads(path.read_text())["pid"] == os.getpid()
    assert target.read_text() == "kept"
    assert list(tmp_path.iterdir()) == [target]


def test_the_browser_gets_a_private_page_instead_of_the_token(monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    with link_page(URL) as path:
        open_browser(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert 'content="0; url=http://127.0.0.1:1/?token=abc&amp;x=1"' in path.read_text()
    (given,) = opened
    assert (given, "abc" in given) == (path.as_uri(), False)
    assert not path.exists()


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["loop", "startup"])
def test_a_signal_at_any_moment_lets_the_server_end_in_order(tmp_path, moment):
    socket = tmp_path / "socket"
    ended = subprocess.run(
        [sys.executable, "-c", ENDING, moment, str(socket)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (143, "startup shutdown ", "")
    assert not socket.exists()


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_command_and_leaves_no_file(tmp_path, number, status):
    slide = make_slide(tmp_path / "s.tif")
    (tmp_path / "c.csv").write_text(f"slide\n{slide}\n")
    folder, socket = tmp_path / "annotations", tmp_path / "socket"
    words = ["view", str(tmp_path / "c.csv"), "--annotations", str(folder), "--socket", str(socket)]
    # A child of a shell's background job would begin with SIGINT ignored.
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from gigaslide.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        file = folder / ".server.json"
        wait_until(lambda: file.exists() or process.poll() is not None, 60)
        process.send_signal(number)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == status, out
    assert not file.exists()
    assert not Path(socket).exists()
    assert not re.search("Traceback|run the same command", out)
    if number == signal.SIGINT:
        assert out.splitlines()[-1] == "stopped"
