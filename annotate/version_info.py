"""A version of a slide's outlines, and what is known of it: who made it, and from what."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from .identity import SlideIdentity
from .outlines import DrawnOutline

__all__ = ["FORMAT", "MADE_BY_MODEL", "SaveFacts", "Version", "VersionInfo"]

FORMAT = "gigaslide-annotations/1"
MADE_BY_MODEL = "propose"


@dataclass(frozen=True, kw_only=True)
class SaveFacts:
    """Facts of a version that whoever saves it states."""

    annotator: str = ""
    accepted: bool = False
    """True: a person answers for every outline; training and evaluation may use it."""
    blind: bool = False
    """True: drawn without sight of the outlines of others; it serves agreement only, and is
    nobody's newest version."""
    mode: str = ""
    """scratch or corrected; see `deal`."""
    made_by: str = ""
    """Command that made it, such as propose."""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    """Further facts of that command, plain JSON."""
    restored_from: int | None = None

    @property
    def is_proposal(self) -> bool:
        """True: a model made it, and no person changed or accepted it."""
        return self.made_by == MADE_BY_MODEL


@dataclass(frozen=True, kw_only=True)
class VersionInfo:
    """A version without its outlines."""

    slide: str
    number: int
    parent: int
    """Number of the version that it was made from; 0 if from none."""
    made: str
    """UTC, ISO 8601."""
    outlines: int
    identity: SlideIdentity
    facts: SaveFacts

    def to_json(self) -> dict[str, Any]:
        facts = asdict(self.facts)
        own = {"slide": self.slide, "version": self.number, "parent": self.parent}
        counts = {"made": self.made, "outlines": self.outlines}
        return {"format": FORMAT, **own, **counts, "identity": self.identity.to_json(), **facts}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "VersionInfo":
        names = SaveFacts.__dataclass_fields__
        return cls(
            slide=plain["slide"],
            number=plain["version"],
            parent=plain["parent"],
            made=plain["made"],
            outlines=plain["outlines"],
            identity=SlideIdentity.from_json(plain["identity"]),
            facts=SaveFacts(**{name: plain[name] for name in names if name in plain}),
        )


@dataclass(frozen=True, kw_only=True)
class Version:
    """A version with its outlines."""

    info: VersionInfo
    outlines: tuple[DrawnOutline, ...]
    notes: tuple[str, ...] = ()
    """Changes that were needed to make the outlines valid."""
