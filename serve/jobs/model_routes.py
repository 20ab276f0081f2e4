"""Routes of models."""

from starlette.requests import Request
from starlette.responses import Response

from ..answers import answer_json
from ..operation import Operation
from ..workspace import Workspace
from .job import ServedModel
from .shapes import ModelAnswer, ModelList, ModelRow

__all__ = ["MODEL_OPERATIONS"]


async def list_models(workspace: Workspace, request: Request) -> Response:
    models = workspace.desk_in_use().jobs.models.values()
    return answer_json(request, ModelList(models=[ModelRow(**_facts(one)) for one in models]))


async def show_model(workspace: Workspace, request: Request) -> Response:
    model = workspace.desk_in_use().model(request.path_params["id"])
    schema = model.settings.model_json_schema()
    for name in model.own_settings:
        schema["properties"].pop(name, None)
    return answer_json(request, ModelAnswer(**_facts(model), card=model.card, settings=schema))


def _facts(model: ServedModel) -> dict:
    card, spec = model.card, model.card["input_spec"]
    chosen = card.get("operating_threshold")
    return {
        "id": model.id,
        "hash": model.hash,
        "task": card.get("task", "patches"),
        "architecture": card["architecture"],
        "mpp": list(spec["mpps"]),
        "patch_px": spec["patch_px"],
        "threshold": chosen["value"] if chosen else None,
    }


MODEL_OPERATIONS = (
    Operation(
        method="GET",
        path="/api/models",
        handler=list_models,
        summary="List the models.",
        answer=ModelList,
    ),
    Operation(
        method="GET",
        path="/api/models/{id}",
        handler=show_model,
        summary="A model, its card, and the settings of its jobs.",
        answer=ModelAnswer,
        problems=(404,),
    ),
)
