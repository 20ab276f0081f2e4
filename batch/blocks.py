"""How a slide's work splits: planned, done block by block, finished. What is done is read from the
disk."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

from .outcome import SlideOutcome

__all__ = ["BlockPlan", "BlockWork", "HasId", "Task", "WholeSlides"]


class HasId(Protocol):
    """Anything that stands for one slide."""

    @property
    def id(self) -> str: ...


SlideT = TypeVar("SlideT", bound=HasId)
Contra = TypeVar("Contra", bound=HasId, contravariant=True)


@dataclass(frozen=True, kw_only=True)
class BlockPlan:
    """What is left to do on one slide."""

    blocks: int
    """All blocks of the slide, numbered from 0."""
    pending: tuple[int, ...]
    """Those that are not on disk yet."""
    counts: dict[str, int] | None = None
    """What the others hold, for the bar: {"tumor": 300}."""


class BlockWork(Protocol[Contra]):
    """Work on slides in blocks of 1 to 10 s. Pickles small: it goes to the workers with every task.

    Each method may be called again after it was cut off anywhere, in another process, and must then
    come to the same. What a block makes is a piece of its own on disk, whole or absent (see
    `Pieces`); its pixels never travel.
    """

    def plan(self, slide: Contra) -> BlockPlan | SlideOutcome:
        """Decide on the blocks, the same for the same slide and settings, and look which are done.

        The outcome instead where nothing is left to do. Cheap against the blocks: at most a few
        seconds.
        """
        ...

    def block(self, slide: Contra, number: int) -> dict[str, int]:
        """Do one block; return what it made, counted: {"tumor": 119}."""
        ...

    def finish(self, slide: Contra) -> SlideOutcome | BlockPlan:
        """Make the slide's output whole, all blocks being done; or say which of them did not
        last."""
        ...

    def identity(self, slide: Contra) -> str | None:
        """What a failure holds for: a slide that failed is tried again when this has changed. None:
        always."""
        ...


def _none(slide: HasId) -> None:
    return None


@dataclass(frozen=True)
class WholeSlides(Generic[SlideT]):
    """Work that takes a slide whole, as work without blocks."""

    work: Callable[[SlideT], SlideOutcome]
    identity_of: Callable[[SlideT], str | None] = _none

    def plan(self, slide: SlideT) -> SlideOutcome:
        return self.work(slide)

    def block(self, slide: SlideT, number: int) -> dict[str, int]:
        raise TypeError(
            f"{slide.id}: work that takes a slide whole has no block {number}"
        )  # plan has done it all

    def finish(self, slide: SlideT) -> SlideOutcome:
        raise TypeError(f"{slide.id}: work that takes a slide whole has nothing to finish")

    def identity(self, slide: SlideT) -> str | None:
        return self.identity_of(slide)


@dataclass(frozen=True)
class Task(Generic[SlideT]):
    """One thing to do, in one process, in one go."""

    slide: SlideT
    step: Literal["plan", "block", "finish"]
    number: int = 0

    @property
    def key(self) -> str:
        """Unique in a run."""
        return f"{self.slide.id}/{self.step}/{self.number}"

    def __str__(self) -> str:
        return (
            f"{self.slide.id}, block {self.number}"
            if self.step == "block"
            else f"{self.slide.id}, {self.step}"
        )
