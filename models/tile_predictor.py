"""Networks that score tiles, whatever a tile's scores stand for."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from ..wsi import InputSpec
from .runtimes.registry import StartedRuntime

__all__ = ["TileMember", "TilePredictor"]


@dataclass(frozen=True, kw_only=True)
class TileMember:
    """One network on tiles."""

    started: StartedRuntime


MemberT = TypeVar("MemberT", bound=TileMember)


@dataclass(frozen=True, kw_only=True)
class TilePredictor(Generic[MemberT]):
    """One network on tiles, or the members of an ensemble."""

    spec: InputSpec
    members: tuple[MemberT, ...]
    """One, or the members of an ensemble in the order of `Predictor.members`."""
    hash: str
    """`Predictor.hash` of the same models."""

    @property
    def runtime(self) -> str:
        """Names of what computes it."""
        return "+".join(sorted({member.started.name for member in self.members}))

    @property
    def difference(self) -> float:
        """See `Predictor.difference`."""
        return max(member.started.difference for member in self.members)
