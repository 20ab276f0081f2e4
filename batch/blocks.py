"""Slide work in blocks: what a stage fills in, and the tasks into which it is split."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Generic, Literal, Protocol, TypeVar

from ..storage import BlockRecord, Output, PartialOutput, Recipe
from .outcome import SlideOutcome

__all__ = [
    "BlockPlan",
    "BlockWork",
    "HasId",
    "LostBlocksError",
    "PendingBlocks",
    "SlideContext",
    "SlideT",
    "Step",
    "Task",
]


class HasId(Protocol):
    """One slide and what the work needs to know of it."""

    @property
    def id(self) -> str: ...


SlideT = TypeVar("SlideT", bound=HasId)


@dataclass(frozen=True, kw_only=True)
class BlockPlan:
    """Blocks of one slide, and what they share."""

    blocks: int
    """Number of blocks, numbered from 0."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """Plain JSON; keep it small. Larger data belongs into a file in `SlideContext.partial`."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Sums of the counts that the blocks will record, where known: {"windows": 8123}."""


@dataclass(kw_only=True)
class SlideContext(Generic[SlideT]):
    """One slide in work in this process. Kept from block to block, so its plan is read once."""

    slide: SlideT
    partial: PartialOutput
    """Its `whole` is where blocks write; its `folder` keeps files until the output is whole."""
    plan: BlockPlan
    """Result of `prepare`."""
    open: Callable[[], AbstractContextManager[Any]]
    recipe: Recipe
    run: str
    begun: bytes
    """Content of the partial output's recipe file, different after each beginning."""
    replaced: str = ""
    """Reason why an earlier output is replaced; else empty."""
    stack: ExitStack = field(default_factory=ExitStack)

    @cached_property
    def opened(self) -> Any:
        """Result of `BlockWork.open`, opened at first use and kept open."""
        return self.stack.enter_context(self.open())


@dataclass(frozen=True, kw_only=True)
class PendingBlocks:
    """Blocks of one slide that are still to be done."""

    blocks: int
    """Number of all blocks of the slide."""
    pending: tuple[int, ...]
    counts: Mapping[str, int] = field(default_factory=dict)
    """Sums of the counts that the pending blocks will record, where known."""


class LostBlocksError(Exception):
    """Blocks of which files that `BlockWork.assemble` needs did not last: they are done again."""

    def __init__(self, numbers: Sequence[int]) -> None:
        super().__init__(f"files of blocks {', '.join(map(str, numbers))} did not last")
        self.numbers = tuple(numbers)


class BlockWork(Protocol[SlideT]):
    """Work on slides in blocks of 1 to 10 s, each done by any process, in any order.

    Pickles small, for it travels with every task. Each method may be called again after it was
    interrupted anywhere, in another process, and must give the same result.
    """

    def output(self, slide: SlideT) -> Output:
        """Return the location of the slide's output and its recipe, from the files as they are now.

        Raises:
            GigaslideError: a file of the slide is missing; its output stays as it is.
        """
        ...

    def open(self, slide: SlideT) -> AbstractContextManager[Any]:
        """Open what blocks read from. A process keeps it open between blocks of one slide."""
        ...

    def prepare(self, context: SlideContext[SlideT]) -> BlockPlan | SlideOutcome:
        """Decide on the blocks, and create below `context.partial.whole` what they write into.

        Return the outcome instead if there is nothing to make. Takes a few seconds at most.
        """
        ...

    def block(self, context: SlideContext[SlideT], number: int) -> BlockRecord:
        """Do one block: write its files below `context.partial.whole` and return their record."""
        ...

    def assemble(
        self, context: SlideContext[SlideT], records: Mapping[int, BlockRecord]
    ) -> Mapping[str, Any]:
        """Complete the output from the records of all blocks; return the attributes (plain JSON) to
        save with its recipe.

        Raises:
            LostBlocksError: something that blocks wrote did not last.
        """
        ...

    def outcome(self, slide: SlideT, attributes: Mapping[str, Any]) -> SlideOutcome:
        """Describe a whole output from its attributes: "done", or "partial" if pixels are lost."""
        ...


Step = Literal["slide", "prepare", "block", "assemble"]
"""slide: work that takes a slide whole. The others are the steps of `BlockWork`."""


@dataclass(frozen=True)
class Task(Generic[SlideT]):
    """One step on one slide, done by one process without interruption."""

    slide: SlideT
    step: Step
    number: int = 0
    """Number of the block."""

    @property
    def key(self) -> str:
        """Unique in a run."""
        return f"{self.slide.id}/{self.step}/{self.number}"

    def __str__(self) -> str:
        if self.step == "slide":
            return self.slide.id
        return f"{self.slide.id}, {'block ' * (self.step == 'block')}" + (
            str(self.number) if self.step == "block" else self.step
        )
