"""Routes of predictions: heatmaps and detections."""

import math
from collections import Counter

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response

from ..cohort import CohortSlide
from ..storage import GigaslideError
from ..wsi import CellStatus
from .answers import Problem, answer_json, answer_picture
from .drawing.hidden import refuse_hidden_model
from .heatmaps import HeatmapPicture
from .operation import Operation
from .schema import Detection, DetectionList, HeatmapFacts, PictureQuery
from .workspace import Workspace

__all__ = ["PREDICTION_OPERATIONS"]

PNG = "image/png"


def _heatmap(workspace: Workspace, slide: CohortSlide) -> HeatmapPicture:
    refuse_hidden_model(workspace, slide)
    try:
        found = workspace.heatmaps.load(slide.id)
    except GigaslideError as error:
        raise Problem(422, f"the heatmap of {slide.id} is damaged; predict it again") from error
    if found is None:
        raise Problem(404, f"{slide.id} has no heatmap")
    return found


async def show_heatmap_facts(workspace: Workspace, request: Request) -> Response:
    slide = workspace.slide(request)
    return answer_json(request, await to_thread.run_sync(_heatmap_facts, workspace, slide))


def _heatmap_facts(workspace: Workspace, slide: CohortSlide) -> HeatmapFacts:
    picture = _heatmap(workspace, slide)
    heatmap = picture.heatmap
    rows, columns = heatmap.status.shape
    (x, y), stride = heatmap.origin_level0, heatmap.stride_level0
    found = Counter(heatmap.status.ravel().tolist())
    with workspace.borrow(slide) as held:
        fits = heatmap.slide_size == held.slide.size
    return HeatmapFacts(
        rows=rows,
        columns=columns,
        origin=(x, y),
        stride=stride,
        extent=(x, y, x + columns * stride, y + rows * stride),
        score=heatmap.slide_score,
        threshold=workspace.catalogue.threshold,
        model=heatmap.model_hash,
        v=picture.version,
        fits=fits,
        counts={status.name.lower(): found.get(int(status), 0) for status in CellStatus},
    )


async def show_heatmap(workspace: Workspace, request: Request) -> Response:
    picture, known = await _picture_of(workspace, request)
    content = await to_thread.run_sync(lambda: picture.colour_png)
    return answer_picture(content, PNG, is_certain=known)


async def show_grey_heatmap(workspace: Workspace, request: Request) -> Response:
    picture, known = await _picture_of(workspace, request)
    content = await to_thread.run_sync(lambda: picture.grey_png)
    return answer_picture(content, PNG, is_certain=known)


async def _picture_of(workspace: Workspace, request: Request) -> tuple[HeatmapPicture, bool]:
    """The heatmap that a request names, and whether it names its version."""
    slide = workspace.slide(request)
    picture = await to_thread.run_sync(_heatmap, workspace, slide)
    known = request.query_params.get("v", "")
    if known and known != picture.version:
        raise Problem(410, "the heatmap was replaced; load it again", v=picture.version)
    return picture, bool(known)


async def list_detections(workspace: Workspace, request: Request) -> Response:
    slide = workspace.slide(request)
    return answer_json(request, await to_thread.run_sync(_detections, workspace, slide))


def _detections(workspace: Workspace, slide: CohortSlide) -> DetectionList:
    refuse_hidden_model(workspace, slide)
    try:
        found = workspace.heatmaps.detections(slide.id)
    except GigaslideError as error:
        words = f"the detections of {slide.id} are damaged; predict it again"
        raise Problem(422, words) from error
    if found is None:
        return DetectionList(detections=[])
    unknown = [math.nan] * len(found)
    areas = unknown if found.area_um2 is None else found.area_um2.tolist()
    longest = unknown if found.longest_um is None else found.longest_um.tolist()
    columns = (found.x.tolist(), found.y.tolist(), found.probability.tolist(), areas, longest)
    return DetectionList(
        detections=[
            Detection(
                x=x,
                y=y,
                probability=probability,
                area_um2=None if math.isnan(area) else area,
                longest_um=None if math.isnan(length) else length,
            )
            for x, y, probability, area, length in zip(*columns, strict=True)
        ]
    )


PREDICTION_OPERATIONS = (
    Operation(
        method="GET",
        path="/api/slides/{id}/heatmap",
        handler=show_heatmap_facts,
        summary="Place and meaning of the heatmap's pictures.",
        answer=HeatmapFacts,
        problems=(404, 422, 503),
    ),
    Operation(
        method="GET",
        path="/api/slides/{id}/heatmap.png",
        handler=show_heatmap,
        summary="The heatmap in colours, one px per cell.",
        query=PictureQuery,
        answer=PNG,
        problems=(404, 410, 422),
    ),
    Operation(
        method="GET",
        path="/api/slides/{id}/heatmap-grey.png",
        handler=show_grey_heatmap,
        summary="The heatmap as numbers: 0 no score, 1 lost, 2 to 255 probability 0 to 1.",
        query=PictureQuery,
        answer=PNG,
        problems=(404, 410, 422),
    ),
    Operation(
        method="GET",
        path="/api/slides/{id}/detections",
        handler=list_detections,
        summary="Detections of a slide.",
        answer=DetectionList,
        problems=(404, 422),
    ),
)
