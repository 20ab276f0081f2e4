"""All that the routes of one server share: slides, predictions, annotations, threads."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from starlette.requests import Request

from ..annotate import AnnotationFolder, Deal, SlideVersions, is_slide_id
from ..cohort import Cohort, CohortSlide
from ..storage import SettingsError, SlideError
from .answers import Problem
from .catalogue import Catalogue, hide_path
from .guard import ENCODED_SLASH
from .heatmaps import Heatmaps
from .jobs.desk import JobDesk
from .shelf import OpenSlide, SlideShelf
from .work import WorkQueue

__all__ = ["Workspace", "whole_number"]

RETRY_S = "5"
_NUMBER = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True)
class Workspace:
    """A cohort with its predictions and annotations, as a server shows it."""

    cohort: Cohort
    predictions: Path | None = None
    """Folder of gigaslide predict."""
    annotations: AnnotationFolder | None = None
    """None: nothing can be drawn."""
    annotator: str = ""
    read_only: bool = False
    desk: JobDesk | None = None
    """Models and their jobs; None: the server has no models."""

    @cached_property
    def slides(self) -> dict[str, CohortSlide]:
        return {slide.id: slide for slide in self.cohort}

    @cached_property
    def shelf(self) -> SlideShelf:
        return SlideShelf(self.slides)

    @cached_property
    def catalogue(self) -> Catalogue:
        return Catalogue(self.slides, self.predictions)

    @cached_property
    def heatmaps(self) -> Heatmaps:
        return Heatmaps(self.predictions)

    @cached_property
    def pictures(self) -> WorkQueue:
        """Threads that decode tiles."""
        return WorkQueue()

    @cached_property
    def orders(self) -> WorkQueue:
        """The thread that orders regions, which reads all heatmaps."""
        return WorkQueue(threads=1, most_waiting=4)

    @cached_property
    def edits(self) -> WorkQueue:
        """Threads that edit outlines."""
        return WorkQueue(most_waiting=16)

    @cached_property
    def saves(self) -> WorkQueue:
        """Threads that save versions and drafts: few, because a request is up to 64 MB large and
        several times that in memory."""
        return WorkQueue(threads=2, most_waiting=14)

    @property
    def deal(self) -> Deal:
        """Deal of the slides between ways to annotate."""
        return self.annotations.deal if self.annotations else Deal()

    @property
    def can_save(self) -> bool:
        return self.annotations is not None and not self.read_only

    def slide(self, request: Request) -> CohortSlide:
        """Return the slide that a request names by its id.

        Raises:
            Problem: the cohort has no such slide.
        """
        return self.slide_named(request.path_params["id"])

    def slide_named(self, name: str) -> CohortSlide:
        """Return the slide of an id, as a path has it.

        Raises:
            Problem: the cohort has no such slide.
        """
        found = self.slides.get(name) or self.slides.get(name.replace(ENCODED_SLASH, "/"))
        if found is None:
            raise Problem(404, "the cohort has no such slide")
        return found

    def desk_in_use(self) -> JobDesk:
        """Return the models and their jobs.

        Raises:
            Problem: the server has none.
        """
        if self.desk is None:
            raise Problem(404, "this server has no models; start gigaslide serve")
        return self.desk

    def desk_to_change(self) -> JobDesk:
        """Return the models and their jobs, to add or remove one.

        Raises:
            Problem: the server has none, or only shows them.
        """
        if self.read_only:
            raise Problem(403, "nothing can be changed: the server was started with --read-only")
        return self.desk_in_use()

    @contextmanager
    def borrow(self, slide: CohortSlide) -> Iterator[OpenSlide]:
        """Yield a slide, open.

        Raises:
            Problem: it cannot be opened.
        """
        try:
            with self.shelf.borrow(slide.id) as held:
                yield held
        except (SlideError, OSError) as error:  # it may come back: a mount, a store of objects
            words = hide_path(str(error), slide)
            raise Problem(503, words, headers={"Retry-After": RETRY_S}) from error

    def versions(self, slide: CohortSlide) -> SlideVersions | None:
        """Return the versions of a slide's outlines; None without a folder of annotations, or if
        the slide's id cannot name a folder in it."""
        if self.annotations is None or not is_slide_id(slide.id):
            return None
        return self.annotations.versions(slide.id)

    def versions_to_change(self, slide: CohortSlide) -> SlideVersions:
        """Return the versions of a slide's outlines, to save one.

        Raises:
            Problem: nothing may be saved, or nothing of this slide.
        """
        if self.annotations is None:
            raise Problem(403, "nothing can be saved: the server was started without --annotations")
        if self.read_only:
            raise Problem(403, "nothing can be saved: the server was started with --read-only")
        try:
            return self.annotations.versions(slide.id)
        except SettingsError as error:
            raise Problem(422, str(error)) from error


def whole_number(request: Request, name: str) -> int:
    """Return a number of a path.

    Raises:
        Problem: it is none.
    """
    text = request.path_params[name]
    if not _NUMBER.fullmatch(text):
        raise Problem(404, "no such number")
    return int(text)
