"""Routes of slides: list, geometry, tiles, thumbnail."""

import threading

from anyio import to_thread
from cachetools import LRUCache
from starlette.requests import Request
from starlette.responses import Response

from ..annotate import COLOURS
from ..cohort import CohortSlide
from ..storage import GigaslideError, gigaslide_version, name_of
from .answers import FOREVER, Problem, answer_json, answer_picture
from .catalogue import hide_path
from .drawing.hidden import draws_blind, hides_model, newest_shown, shown_versions
from .operation import Operation
from .schema import (
    ClassColour,
    Geometry,
    PictureQuery,
    SlideList,
    SlideRow,
)
from .tiles import encode_jpeg, read_jpeg_tile, read_thumbnail
from .workspace import Workspace, whole_number

__all__ = ["JPEG", "SLIDE_OPERATIONS", "read_slide_tile"]

THUMBNAIL_PX = 256
KEPT_BYTES = 16 * 2**20
JPEG = "image/jpeg"
CLASSES = ("Tumor", "Normal", "Necrosis", "Exclusion", "Region*")

_thumbnails: LRUCache[tuple[str, str], bytes] = LRUCache(KEPT_BYTES, getsizeof=len)
_thumbnails_lock = threading.Lock()


async def list_slides(workspace: Workspace, request: Request) -> Response:
    return answer_json(request, await to_thread.run_sync(_list, workspace))


def _list(workspace: Workspace) -> SlideList:
    rows = [_row(workspace, slide) for slide in workspace.cohort]
    return SlideList(
        slides=rows,
        complete=workspace.catalogue.is_complete,
        classes=[ClassColour(name=name, colour=COLOURS[name.casefold()]) for name in CLASSES],
        read_only=not workspace.can_save,
        annotator=workspace.annotator,
        threshold=workspace.catalogue.threshold,
        version=gigaslide_version(),
    )


def _row(workspace: Workspace, slide: CohortSlide) -> SlideRow:
    facts = workspace.catalogue.facts(slide.id)
    versions = workspace.versions(slide)
    count, newest, problem, blind, hidden = 0, None, facts.problem, False, False
    if versions is not None:
        try:
            blind, hidden = draws_blind(workspace, slide), hides_model(workspace, slide)
            newest = newest_shown(workspace, slide)
            shown = shown_versions(workspace, slide) if hidden else versions.numbers()
            count = len(shown)
        except GigaslideError as error:
            problem = problem or str(error)
    state = "none"
    if newest is not None and newest.facts.is_proposal:
        state = "none" if hidden else "proposed"
    elif newest is not None:
        state = "accepted" if newest.facts.accepted else "saved"
    deal = workspace.deal
    return SlideRow(
        id=slide.id,
        file=name_of(slide.path),
        label=slide.label,
        split=slide.split,
        patient=slide.patient,
        width=facts.width,
        height=facts.height,
        mpp=facts.mpp,
        score=None if hidden else facts.score,
        state=state,
        versions=count,
        newest=newest.number if newest else 0,
        annotator=newest.facts.annotator if newest else "",
        mode=deal.mode_of(slide.id),
        blind=blind,
        model_hidden=hidden,
        has_heatmap=workspace.heatmaps.has(slide.id) and not hidden,
        problem=problem,
    )


async def show_geometry(workspace: Workspace, request: Request) -> Response:
    slide = workspace.slide(request)
    return answer_json(request, await to_thread.run_sync(_geometry, workspace, slide))


def _geometry(workspace: Workspace, slide: CohortSlide) -> Geometry:
    newest, hidden = newest_shown(workspace, slide), hides_model(workspace, slide)
    with workspace.borrow(slide) as held:
        info, bounds = held.slide.info, held.slide.info.bounds
        grid = held.grid
        return Geometry(
            id=slide.id,
            width=info.width,
            height=info.height,
            mpp=held.identity.mpp or None,
            tile_px=grid.tile_px,
            resolutions=list(grid.resolutions),
            v=held.version,
            bounds=None if bounds is None else (bounds.x, bounds.y, bounds.width, bounds.height),
            background=info.background,
            vendor=info.vendor,
            label=slide.label,
            split=slide.split,
            mode=workspace.deal.mode_of(slide.id),
            blind=draws_blind(workspace, slide),
            model_hidden=hidden,
            has_heatmap=workspace.heatmaps.has(slide.id) and not hidden,
            newest=newest.number if newest else 0,
            changed=newest.identity.differences(held.identity) if newest else [],
            unreadable=[
                (one.region.x, one.region.y, one.region.width, one.region.height)
                for one in held.slide.unreadable
            ],
        )


async def show_tile(workspace: Workspace, request: Request) -> Response:
    slide = workspace.slide(request)
    z, x, y = (whole_number(request, name) for name in "zxy")
    content, headers = await read_slide_tile(workspace, request, slide, (z, x, y))
    return Response(content, headers=headers, media_type=JPEG)


async def read_slide_tile(
    workspace: Workspace, request: Request, slide: CohortSlide, place: tuple[int, int, int]
) -> tuple[bytes, dict[str, str]]:
    """Read the tile (z, x, y): JPEG, and headers of the answer.

    Raises:
        Problem: there is none, or it cannot be read now.
        ClientDisconnect: the client left before its turn.
    """
    known = request.query_params.get("v", "")
    content, lost = await workspace.pictures.run(request, _tile, workspace, slide, place, known)
    if lost:
        return content, {"X-Unreadable": lost}
    return content, {"Cache-Control": FOREVER if known else "no-store"}


def _tile(
    workspace: Workspace, slide: CohortSlide, place: tuple[int, int, int], known: str
) -> tuple[bytes, str]:
    """JPEG of a tile, and why parts of it are hatched."""
    with workspace.borrow(slide) as held:
        _refuse_old(known, held.version)
        grid = held.grid
        region = grid.region(*place)
        if region is None:
            raise Problem(404, "the slide has no such tile")
        content, lost = read_jpeg_tile(held.slide, region, grid.resolutions[place[0]])
    return content, _header(lost, slide)


def _header(words: str, slide: CohortSlide) -> str:
    """Make words fit for a header, without paths."""
    shown = hide_path(words, slide).encode("ascii", "replace").decode()
    return "".join(letter if letter.isprintable() else " " for letter in shown)[:200]


def _refuse_old(known: str, version: str) -> None:
    if known and known != version:
        raise Problem(410, "the slide was replaced; load it again", v=version)


async def show_thumbnail(workspace: Workspace, request: Request) -> Response:
    slide = workspace.slide(request)
    known = request.query_params.get("v", "")
    content = await workspace.pictures.run(request, _thumbnail, workspace, slide, known)
    return answer_picture(content, JPEG, is_certain=bool(known))


def _thumbnail(workspace: Workspace, slide: CohortSlide, known: str) -> bytes:
    with workspace.borrow(slide) as held:
        _refuse_old(known, held.version)
        key = slide.id, held.version
        with _thumbnails_lock:
            found = _thumbnails.get(key)
        if found is None:
            found = encode_jpeg(read_thumbnail(held.slide, longest_px=THUMBNAIL_PX))
            with _thumbnails_lock:
                _thumbnails[key] = found
        return found


SLIDE_OPERATIONS = (
    Operation(
        method="GET",
        path="/api/slides",
        handler=list_slides,
        summary="List the slides.",
        answer=SlideList,
    ),
    Operation(
        method="GET",
        path="/api/slides/{id}",
        handler=show_geometry,
        summary="Size, µm/px and tiles of a slide.",
        answer=Geometry,
        problems=(404, 422, 503),
    ),
    Operation(
        method="GET",
        path="/api/slides/{id}/tiles/{z}/{x}/{y}.jpg",
        handler=show_tile,
        summary="A tile; z 0 is the coarsest.",
        query=PictureQuery,
        answer=JPEG,
        problems=(404, 410, 503),
    ),
    Operation(
        method="GET",
        path="/api/slides/{id}/thumbnail.jpg",
        handler=show_thumbnail,
        summary="The whole slide in a small picture.",
        query=PictureQuery,
        answer=JPEG,
        problems=(404, 410, 503),
    ),
)
