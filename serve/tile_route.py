"""Short way to tiles, behind the guard and before Starlette: a page asks for hundreds of tiles, and
Starlette's middleware and routing take longer than it takes to read a stored one."""

import re

from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from .answers import Problem, answer_problem
from .slides import JPEG, read_slide_tile
from .workspace import Workspace

__all__ = ["TileRoute"]

_TILE = re.compile(r"/api/slides/([^/]+)/tiles/([0-9]{1,9})/([0-9]{1,9})/([0-9]{1,9})\.jpg")


class TileRoute:
    """ASGI application that answers requests for tiles, and passes all others on to another one.

    An unexpected error is passed on too: the other application has the same route, logs the error
    and answers."""

    def __init__(self, app: ASGIApp, workspace: Workspace) -> None:
        self._app = app
        self._workspace = workspace

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_get = scope["type"] == "http" and scope["method"] == "GET"
        asked = _TILE.fullmatch(scope["path"]) if is_get else None
        if asked is None:
            return await self._app(scope, receive, send)
        name, *numbers = asked.groups()
        z, x, y = map(int, numbers)
        request, workspace = Request(scope, receive), self._workspace
        try:
            slide = workspace.slide_named(name)
            content, headers = await read_slide_tile(workspace, request, slide, (z, x, y))
        except ClientDisconnect:
            return None
        except Problem as problem:
            return await answer_problem(request, problem)(scope, receive, send)
        except Exception:
            return await self._app(scope, receive, send)
        lines = {"Content-Type": JPEG, "Content-Length": str(len(content)), **headers}
        raw = [(key.lower().encode(), value.encode("latin-1")) for key, value in lines.items()]
        await send({"type": "http.response.start", "status": 200, "headers": raw})
        await send({"type": "http.response.body", "body": content})
