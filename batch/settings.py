"""Settings of the batch room."""

from pydantic import Field

from ..wsi import Settings

__all__ = ["BatchSettings"]


class BatchSettings(Settings):
    """How slides are spread over processes."""

    workers: int | None = Field(default=None, ge=0)
    """Worker processes; 0 = work in this process; by default one a core, at most one a slide."""
    memory_gb: float | None = Field(default=None, gt=0)
    """Memory limit of one worker (GB); by default an equal share of this machine's."""
