"""All that the routes of jobs share: models, uploads, the queue."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import ValidationError

from ..answers import Problem, describe_fault
from ..work import WorkQueue
from .job import ServedModel
from .job_queue import JobQueue
from .uploads import Uploads

__all__ = ["JobDesk"]


@dataclass(frozen=True)
class JobDesk:
    """Models, uploads and jobs of a server."""

    jobs: JobQueue
    uploads: Uploads

    @cached_property
    def checks(self) -> WorkQueue:
        """Threads that check requests for jobs, which opens their slides: threads of their own, so
        that a store of slides that hangs does not keep the rest of the server waiting."""
        return WorkQueue(threads=4, most_waiting=128)

    @cached_property
    def results(self) -> WorkQueue:
        """Threads that read results."""
        return WorkQueue(threads=2, most_waiting=32)

    def start(self) -> None:
        self.uploads.start()
        self.jobs.start()

    def model(self, name: str, *, status: int = 404) -> ServedModel:
        """Return a model by its id.

        Raises:
            Problem: there is none.
        """
        found = self.jobs.models.get(name)
        if found is None:
            raise Problem(status, "the server has no such model; see api/models")
        return found


def parse_settings(model: ServedModel, given: dict[str, Any]) -> dict[str, Any]:
    """Return all settings of a job, plain JSON, from those that a request gives.

    Raises:
        Problem: an unknown one, one that belongs to the server, or a wrong value.
    """
    for name in given:
        if name in model.own_settings:
            raise Problem(422, f"settings.{name}: belongs to the server; leave it out")
    try:
        parsed = model.settings.model_validate(given)
        return parsed.model_dump(mode="json", exclude={*model.own_settings})
    except ValidationError as error:
        words = describe_fault(error, "settings")
        raise Problem(422, f"{words}; api/models/{model.id} lists the settings") from error
