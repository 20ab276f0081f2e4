"""The web application: routes put together behind the guard."""

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from anyio import to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from ..storage import GigaslideError, gigaslide_version
from .answers import Problem, answer_bytes, answer_json, answer_problem
from .assets import Assets
from .drawing.drafts import DRAFT_OPERATIONS
from .drawing.outlines import OUTLINE_OPERATIONS
from .drawing.review import REVIEW_OPERATIONS
from .drawing.saves import SAVE_OPERATIONS
from .guard import Access, Guard
from .jobs.job_routes import JOB_OPERATIONS
from .jobs.model_routes import MODEL_OPERATIONS
from .jobs.result_routes import RESULT_OPERATIONS
from .jobs.upload_routes import UPLOAD_OPERATIONS
from .openapi import api_page, make_openapi
from .operation import Operation
from .predictions import PREDICTION_OPERATIONS
from .qupath_script import QUPATH_SCRIPT, make_qupath_script
from .schema import Health
from .slides import SLIDE_OPERATIONS
from .tile_route import TileRoute
from .workspace import Workspace

__all__ = ["DESK_OPERATIONS", "OPERATIONS", "make_app"]

logger = logging.getLogger(__name__)

LEFT = 499  # the client left; it gets no answer
STATIC_CACHE = "no-cache"


async def tell_health(_workspace: Workspace, request: Request) -> Response:
    return answer_json(request, Health(version=gigaslide_version()))


OPERATIONS = (
    Operation(
        method="GET",
        path="/health",
        handler=tell_health,
        summary="Whether the server runs; needs no token.",
        answer=Health,
    ),
    *SLIDE_OPERATIONS,
    *PREDICTION_OPERATIONS,
    *OUTLINE_OPERATIONS,
    *SAVE_OPERATIONS,
    *DRAFT_OPERATIONS,
    *REVIEW_OPERATIONS,
)
DESK_OPERATIONS = (*MODEL_OPERATIONS, *UPLOAD_OPERATIONS, *JOB_OPERATIONS, *RESULT_OPERATIONS)


def make_app(workspace: Workspace, access: Access, assets: Assets | None = None) -> ASGIApp:
    """Make the application of a workspace.

    assets: files of the page; by default those of this package.
    """
    files = assets or Assets()
    operations = OPERATIONS if workspace.desk is None else (*OPERATIONS, *DESK_OPERATIONS)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        workspace.catalogue.start()
        if workspace.desk is not None:
            workspace.desk.start()
        yield
        workspace.catalogue.stop()
        if workspace.desk is not None:
            await to_thread.run_sync(workspace.desk.jobs.close)
        await to_thread.run_sync(workspace.shelf.close)

    app = Starlette(
        routes=[*_page_routes(files, operations), *map(_route(workspace), operations)],
        exception_handlers={
            Problem: _answer_problem,
            HTTPException: _answer_http,
            ClientDisconnect: _answer_left,
            GigaslideError: _answer_error,
            Exception: _answer_fault,
        },
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    return Guard(TileRoute(app, workspace), access)


def _route(workspace: Workspace):
    def make(operation: Operation) -> Route:
        async def endpoint(request: Request) -> Response:
            return await operation.handler(workspace, request)

        return Route(operation.path, endpoint, methods=[operation.method])

    return make


def _page_routes(files: Assets, operations: Sequence[Operation]) -> Sequence[Route]:
    async def page(request: Request) -> Response:
        return _file(request, "index.html")

    async def static(request: Request) -> Response:
        return _file(request, request.path_params["name"])

    def _file(request: Request, name: str) -> Response:
        found = files.read(name)
        if found is None:
            raise Problem(404, "no such page")
        return answer_bytes(request, *found, headers={"Cache-Control": STATIC_CACHE})

    async def schema(request: Request) -> Response:
        return answer_json(request, make_openapi(operations))

    async def docs(request: Request) -> Response:
        return answer_bytes(request, api_page(operations).encode(), "text/html; charset=utf-8")

    async def script(request: Request) -> Response:
        headers = {"Content-Disposition": f'attachment; filename="{QUPATH_SCRIPT}"'}
        kind = "text/plain; charset=utf-8"
        return answer_bytes(request, make_qupath_script(), kind, headers=headers)

    return [
        Route("/", page),
        Route(f"/{QUPATH_SCRIPT}", script),
        Route("/static/{name:path}", static),
        Route("/openapi.json", schema),
        Route("/docs", docs),
    ]


async def _answer_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return answer_problem(request, error)


async def _answer_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    words = {404: "no such address", 405: "this address takes no such request"}
    plain = {"error": words.get(error.status_code, error.detail)}
    return answer_json(request, plain, status=error.status_code, headers=error.headers)


async def _answer_error(request: Request, error: Exception) -> Response:
    return answer_json(request, {"error": str(error)}, status=422)


async def _answer_left(_request: Request, _error: Exception) -> Response:
    return Response(status_code=LEFT)


async def _answer_fault(request: Request, error: Exception) -> Response:
    # The path has ids only, and no query: a token never comes into the log.
    logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return answer_json(request, {"error": "the server failed; its log says why"}, status=500)
