"""Identity of a slide that outlines were drawn on: of its pixels' file, its size and its µm/px."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..cohort import CohortSlide
from ..storage import Location, file_identity
from ..wsi import Slide, open_slide

__all__ = ["SlideIdentity", "file_fingerprint"]

SAMPLE = 2**16  # bytes at the beginning, in the middle and at the end of the file


@dataclass(frozen=True, kw_only=True)
class SlideIdentity:
    """A slide as it was when outlines were drawn; empty and 0 stand for unknown."""

    name: str = ""
    """File name, for messages; another name alone makes no other slide."""
    fingerprint: str = ""
    """See `file_fingerprint`."""
    width: int = 0
    """Level-0 px, as height."""
    height: int = 0
    mpp: float = 0.0
    """µm per level-0 px; 0 where neither the file nor the cohort states it."""

    @classmethod
    def of_slide(cls, slide: CohortSlide) -> "SlideIdentity":
        """Read the identity of a cohort's slide.

        Raises:
            SlideError: it cannot be opened.
        """
        with open_slide(slide.path, mpp=slide.mpp, fallback_mpp=1.0) as opened:
            return cls.of_open_slide(slide, opened)

    @classmethod
    def of_open_slide(cls, slide: CohortSlide, opened: Slide) -> "SlideIdentity":
        """Read the identity of a cohort's slide that is open already."""
        return cls(
            name=_name(slide.path),
            fingerprint=file_fingerprint(slide.path),
            width=int(opened.info.width),
            height=int(opened.info.height),
            mpp=float(slide.mpp or opened.info.file_mpp or 0.0),
        )

    def differences(self, other: "SlideIdentity") -> list[str]:
        """Return what differs, as text: ["width: 1531 → 1600 px"]; unknown parts do not count."""
        found = []
        if self.fingerprint and other.fingerprint and self.fingerprint != other.fingerprint:
            found.append(f"another file: {self.name} → {other.name}")
        for name in ("width", "height"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine and theirs and mine != theirs:
                found.append(f"{name}: {mine} → {theirs} px")
        if self.mpp and other.mpp and abs(self.mpp - other.mpp) > 1e-6 * self.mpp:
            found.append(f"µm/px: {self.mpp:g} → {other.mpp:g}")
        return found

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> "SlideIdentity":
        return cls(**{name: plain[name] for name in cls.__dataclass_fields__ if name in plain})


def file_fingerprint(location: Location) -> str:
    """Return a hash of a file's size and of three samples of its bytes: the same for a copy, and
    another one for a replaced file. For a URL, of the service's mark of change; for a Zarr folder,
    of its metadata. Empty if the file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        if isinstance(location, str) or location.is_dir():
            plain = file_identity(location)
            digest.update(json.dumps(plain, sort_keys=True, default=str).encode())
            return digest.hexdigest()[:32]
        size = location.stat().st_size
        digest.update(str(size).encode())
        with location.open("rb") as file:
            for start in (0, max(0, size // 2 - SAMPLE // 2), max(0, size - SAMPLE)):
                file.seek(start)
                digest.update(file.read(SAMPLE))
    except (OSError, ValueError):
        return ""
    return digest.hexdigest()[:32]


def _name(location: Location) -> str:
    return location.name if isinstance(location, Path) else location.rsplit("/", 1)[-1]
