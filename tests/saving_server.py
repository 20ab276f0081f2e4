"""Saves through servers that are killed at changes to the disk, each followed by one that runs on.

    python saving_server.py FOLDER

Prints a line of JSON for each kill. It forks, which wants a process without threads.
"""

import http.client
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from gigaslide.annotate import AnnotationFolder
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.serve import Listener, ServerSettings, Workspace, make_app
from gigaslide.serve.server import make_server
from serving import SQUARE, WRITE, feature, make_slide
from sums import CHANGES

OTHER = [[700, 300], [900, 300], [900, 500], [700, 500], [700, 300]]
SLIDE = "/api/slides/a"


class ServerProcess:
    """A server in a child. change: it dies before this change of the disk, counted from the moment
    in which the file `armed` is there."""

    def __init__(self, folder: Path, change: int | None = None) -> None:
        listener = Listener.open(ServerSettings())
        self._port, self._token = listener.port, listener.token
        self._pid = os.fork()
        if self._pid == 0:
            if change is not None:
                sys.addaudithook(_Death(folder / "armed", change))
            slide = CohortSlide(id="a", path=folder.parent / "a.tif")
            annotations = AnnotationFolder.create(folder / "annotations")
            workspace = Workspace(
                cohort=Cohort(slides=(slide,)), annotations=annotations, annotator="Ada"
            )
            make_server(make_app(workspace, listener.access)).run(sockets=[listener.socket])
            os._exit(0)
        listener.socket.close()

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Status and JSON of the answer; 0 and None where the server died."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        sent = {"Authorization": f"Bearer {self._token}", **WRITE}
        sent |= {name.replace("_", "-"): text for name, text in headers.items()}
        try:
            connection.request(method, path, json.dumps(body).encode(), sent)
            answer = connection.getresponse()
            content = answer.read()
        except (http.client.HTTPException, ConnectionError):
            return 0, None
        finally:
            connection.close()
        return answer.status, json.loads(content) if content else None

    def save(self, *rings: list, parent: int, **fields: Any) -> tuple[int, Any]:
        outlines = {"type": "FeatureCollection", "features": [feature(ring) for ring in rings]}
        body = {"outlines": outlines, **fields}
        return self.ask("POST", f"{SLIDE}/outlines", body, If_Match=f'"{parent}"')

    def end(self) -> None:
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)


class _Death:
    """Audit hook that kills its process before a change of the disk."""

    def __init__(self, armed: Path, change: int) -> None:
        self._armed, self._left = str(armed), change

    def __call__(self, event: str, args: tuple) -> None:
        writes = event == "open" and isinstance(args[2], int) and args[2] & os.O_ACCMODE
        if (writes or event in CHANGES) and os.path.exists(self._armed):  # noqa: PTH110 - quick
            self._left -= 1
            if self._left < 0:
                os.kill(os.getpid(), signal.SIGKILL)


def save_and_die(folder: Path, change: int) -> dict[str, Any]:
    """Save a version, keep a draft, and save again while the server dies; then ask another one."""
    folder.mkdir()
    first = ServerProcess(folder, change)
    before = first.save(SQUARE, parent=0)[0], first.ask("PUT", f"{SLIDE}/drafts/t", {"kept": 1})[0]
    (folder / "armed").touch()
    status, _ = first.save(SQUARE, OTHER, parent=1, tab="t")
    first.end()
    second = ServerProcess(folder)
    versions = second.ask("GET", f"{SLIDE}/versions")[1]
    numbers = [one["version"] for one in versions["versions"]]
    shown = [second.ask("GET", f"{SLIDE}/outlines?version={n}")[1] for n in numbers]
    facts = {
        "before": before,
        "status": status,
        "numbers": numbers,
        "newest": versions["newest"],
        "outlines": [len(one["features"]) for one in shown],
        "drafts": [one["tab"] for one in second.ask("GET", f"{SLIDE}/drafts")[1]["drafts"]],
        "next": second.save(SQUARE, parent=versions["newest"]),
    }
    second.end()
    return facts


if __name__ == "__main__":
    root, change, status = Path(sys.argv[1]), 0, 0
    make_slide(root / "a.tif")
    while status != 201:
        found = save_and_die(root / str(change), change)
        status, change = found["status"], change + 1
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()
