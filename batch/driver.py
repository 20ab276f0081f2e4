"""Driver of slide work in blocks: skip, continue, replace and complete the output of one slide."""

import hashlib
import json
import logging
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic

from ..storage import (
    BlockRecord,
    Output,
    OutputState,
    PartialOutput,
    Recipe,
    SlideError,
    StoreError,
    format_count,
)
from .blocks import BlockPlan, BlockWork, LostBlocksError, PendingBlocks, SlideContext, SlideT
from .outcome import SlideOutcome

__all__ = ["BlockDriver", "close_kept_slide"]

logger = logging.getLogger(__name__)

_kept = threading.local()
"""The slide context that this thread keeps between tasks: tasks share nothing else."""


def close_kept_slide() -> None:
    """Close the slide that this thread keeps open between tasks."""
    context: SlideContext[Any] | None = _kept.__dict__.pop("context", None)
    if context is not None:
        context.stack.close()


@dataclass(frozen=True)
class BlockDriver(Generic[SlideT]):
    """The steps of `BlockWork` on one slide, each callable from any process."""

    work: BlockWork[SlideT]
    run: str = field(default_factory=lambda: uuid.uuid4().hex)
    sync_blocks: bool = False
    """Processes may be on several machines: see `FolderPartial`."""

    def complete(self, slide: SlideT) -> SlideOutcome:
        """Do all steps here."""
        try:
            state = self.prepare(slide)
            while isinstance(state, PendingBlocks):
                for number in state.pending:
                    self.block(slide, number)
                state = self.assemble(slide)
            return state
        finally:
            close_kept_slide()

    def prepare(self, slide: SlideT) -> PendingBlocks | SlideOutcome:
        """Skip an unchanged output, continue one that was begun, set aside a changed one.

        Raises:
            SettingsError: something that is not ours is at the output's location.
        """
        close_kept_slide()
        output = self.work.output(slide)
        state = output.state()
        if state.status == "foreign":
            raise output.foreign()
        if state.is_unchanged:
            outcome = self.work.outcome(slide, state.attributes)
            # What is lost is lost the second time too, and the exit status must say so again.
            status = "skipped" if outcome.status == "done" else outcome.status
            return replace(outcome, status=status, reason=_join("unchanged", outcome.reason))
        replaced = _set_aside(output, state) if state.status == "changed" else ""
        partial = output.partial(sync_blocks=self.sync_blocks)
        saved = partial.load_plan() if partial.is_begun() else None
        if saved is not None:
            return _find_pending(partial, saved)
        _warn_of_lost_blocks(partial, output.recipe)
        return self._begin(slide, output, replaced)

    def _begin(self, slide: SlideT, output: Output, replaced: str) -> PendingBlocks | SlideOutcome:
        """Plan the blocks of a new partial output; discard it if there is nothing to do."""
        partial = output.partial(sync_blocks=self.sync_blocks)
        partial.begin()
        context = self._keep(slide, output, BlockPlan(blocks=0), partial.begun(), replaced)
        try:
            plan = self.work.prepare(context)
        except Exception:
            partial.discard()
            raise
        if isinstance(plan, SlideOutcome):
            partial.discard()
            return plan
        counts = dict(plan.counts)
        partial.save_plan(
            {
                "blocks": plan.blocks,
                "data": dict(plan.data),
                "counts": counts,
                "replaced": replaced,
            }
        )
        context.plan = plan
        return PendingBlocks(blocks=plan.blocks, pending=tuple(range(plan.blocks)), counts=counts)

    def block(self, slide: SlideT, number: int) -> BlockRecord:
        """Do one block; return its record, without files and notes.

        Raises:
            SlideError: the slide changed, or another run started its output again.
        """
        try:
            context = self._context(slide)
            record = self.work.block(context, number)
            self._refuse_change(context)
            context.partial.save_record(number, record)
        except BaseException:
            close_kept_slide()  # the next attempt opens the slide again
            raise
        return BlockRecord(counts=record.counts, seconds=record.seconds)

    def assemble(self, slide: SlideT) -> SlideOutcome | PendingBlocks:
        """Make the slide's output whole; or return the blocks whose files did not last.

        Raises:
            SlideError: the slide changed, or another run started its output again.
        """
        output = self.work.output(slide)
        if output.state().is_unchanged:  # an earlier attempt was interrupted while cleaning up
            return self._committed(slide, output)
        try:
            context = self._context(slide)
            records = context.partial.records()
            gone = tuple(k for k in range(context.plan.blocks) if k not in records)
            if gone:
                return PendingBlocks(blocks=context.plan.blocks, pending=gone)
            try:
                attributes = self.work.assemble(context, records)
            except LostBlocksError as error:
                return PendingBlocks(blocks=context.plan.blocks, pending=error.numbers)
            self._refuse_change(context)
            output.commit(context.partial, attributes)
        except Exception:
            if not output.state().is_unchanged:
                raise
            # A process of a run that was taken for dead made it whole meanwhile.
            return self._committed(slide, output)
        finally:
            close_kept_slide()
        outcome = self.work.outcome(slide, attributes)
        return replace(outcome, reason=_join(context.replaced, outcome.reason))

    def failure_identity(self, slide: SlideT) -> str | None:
        """Digest of the slide's recipe, for which a failure holds; None if nothing is known of it,
        so that the slide is tried again."""
        try:
            recipe = self.work.output(slide).recipe.to_json()
        except Exception:
            return None
        text = json.dumps(recipe, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _committed(self, slide: SlideT, output: Output) -> SlideOutcome:
        attributes = output.state().attributes
        output.clean_up()
        return self.work.outcome(slide, attributes)

    def _context(self, slide: SlideT) -> SlideContext[SlideT]:
        """The kept context if it is still valid, else a new one."""
        kept: SlideContext[SlideT] | None = getattr(_kept, "context", None)
        is_same = kept is not None and (kept.run, kept.slide.id) == (self.run, slide.id)
        if kept is not None and is_same and kept.begun == kept.partial.begun():
            return kept
        output = self.work.output(slide)
        partial = output.partial(sync_blocks=self.sync_blocks)
        begun, saved = partial.begun(), partial.load_plan()
        if not begun or saved is None:
            raise StoreError(
                f"{partial.folder}: the plan is gone; leave the output alone while it is made, and "
                "run again"
            )
        _refuse(slide, Recipe.from_json(json.loads(begun)).differences(output.recipe))
        plan = BlockPlan(blocks=saved["blocks"], data=saved["data"])
        return self._keep(slide, output, plan, begun, saved["replaced"])

    def _keep(
        self, slide: SlideT, output: Output, plan: BlockPlan, begun: bytes, replaced: str
    ) -> SlideContext[SlideT]:
        close_kept_slide()
        _kept.context = SlideContext(
            slide=slide,
            partial=output.partial(sync_blocks=self.sync_blocks),
            plan=plan,
            open=lambda: self.work.open(slide),
            recipe=output.recipe,
            run=self.run,
            begun=begun,
            replaced=replaced,
        )
        return _kept.context

    def _refuse_change(self, context: SlideContext[SlideT]) -> None:
        _refuse(context.slide, context.recipe.differences(self.work.output(context.slide).recipe))
        if context.partial.begun() != context.begun:
            _refuse(context.slide, ["another run started its output again"])


def _set_aside(output: Output, state: OutputState) -> str:
    """Move an output of another recipe aside; return why it is made again."""
    replaced = f"made again: {'; '.join(state.differences)}"
    logger.info(
        "%s: %s; the old one is kept in %s until the new one is whole",
        output.location,
        replaced,
        output.set_aside(),
    )
    return replaced


def _find_pending(partial: PartialOutput, saved: Mapping[str, Any]) -> PendingBlocks:
    """Find the blocks of a saved plan that are not done, and what they will count."""
    done = partial.check_records()
    counts = dict(saved["counts"])
    for record in done.values():
        counts = {name: count - record.counts.get(name, 0) for name, count in counts.items()}
    pending = tuple(k for k in range(saved["blocks"]) if k not in done)
    return PendingBlocks(blocks=saved["blocks"], pending=pending, counts=counts)


def _warn_of_lost_blocks(partial: PartialOutput, recipe: Recipe) -> None:
    done = len(partial.records())
    if not done:
        return
    try:
        changes = Recipe.from_json(json.loads(partial.begun())).differences(recipe)
    except (ValueError, KeyError):  # an interrupted beginning
        return
    logger.warning(
        "%s: started again, %s are lost: %s",
        partial.location,
        format_count(done, "finished block"),
        "; ".join(changes) or "another version or another size of blocks",
    )


def _refuse(slide: Any, changes: list[str]) -> None:
    if changes:
        raise SlideError(
            f"{slide.id}: changed while it was worked on ({'; '.join(changes)}); run again"
        )


def _join(*reasons: str) -> str:
    return "; ".join(filter(None, reasons))
