"""A job: its request, its id, its state, and the file that tells that its results are whole."""

import hashlib
import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from ...annotate import file_fingerprint
from ...cohort import CohortSlide
from ...storage import Settings, atomic_file
from ...wsi import Region

__all__ = ["Job", "JobFacts", "JobRecipe", "JobTask", "ServedModel", "State"]

JOB = "job.json"
FORMAT = "gigaslide-job/1"
State = Literal["queued", "running", "done", "failed", "cancelled"]
ENDED = ("done", "failed", "cancelled")


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """A model that jobs may name by its id."""

    id: str
    hash: str
    folder: Path
    """Model folder, or the folder of an ensemble's members."""
    card: dict[str, Any]
    """Facts about the model, plain JSON."""
    settings: type[Settings]
    """Settings of its stage, by which those of a request are parsed."""
    own_settings: frozenset[str] = frozenset()
    """Settings that a request may not have: they belong to the server."""


@dataclass(frozen=True, kw_only=True)
class JobTask:
    """Task of the child process; it pickles."""

    folder: Path
    """Folder of the job's results."""
    model: Path
    slide: CohortSlide
    settings: dict[str, Any]
    within: Region | None


@dataclass(frozen=True, kw_only=True)
class JobFacts:
    """Result of the child process."""

    counts: dict[str, int]
    reason: str = ""
    """Reason for which parts have no result, such as unreadable cells; empty if all have one."""


@dataclass(frozen=True, kw_only=True)
class JobRecipe:
    """All that the results of a job depend on; plain values."""

    model: str
    """Id of the model."""
    model_hash: str
    slide: str
    """Id of the cohort's slide, or of an upload."""
    is_upload: bool
    slide_identity: str
    mpp: float | None
    """µm per level-0 px that the cohort states."""
    region: tuple[int, int, int, int] | None
    """Left, top, width, height in level-0 px; None: the whole slide."""
    settings: dict[str, Any]

    @classmethod
    def of(
        cls,
        model: ServedModel,
        slide: CohortSlide,
        *,
        is_upload: bool,
        region: tuple[int, int, int, int] | None,
        settings: dict[str, Any],
    ) -> "JobRecipe":
        """Make the recipe of a job, from the slide's file as it is now."""
        return cls(
            model=model.id,
            model_hash=model.hash,
            slide=slide.id,
            is_upload=is_upload,
            slide_identity=file_fingerprint(slide.path),
            mpp=slide.mpp,
            region=region,
            settings=settings,
        )

    @property
    def id(self) -> str:
        """Hash of what the results depend on: the same request is the same job."""
        plain = asdict(self)
        del plain["model"]  # another name of the same weights
        text = json.dumps({"format": FORMAT, **plain}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(kw_only=True)
class Job:
    """A job and how far it is. The queue's lock guards it."""

    recipe: JobRecipe
    task: JobTask | None = None
    """None: of an earlier run of the server."""
    state: State = "queued"
    reason: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    made: float = field(default_factory=time.time)
    """Seconds since 1970, as ended."""
    ended: float | None = None
    windows: int = 0
    """Windows to score; 0 while unknown."""
    scored: int = 0
    began: float = 0.0
    """Time at which the windows were known, of a clock that only runs forward (s)."""

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED

    def end(self, state: State, reason: str = "") -> None:
        """Note the end of the job."""
        self.state, self.reason, self.ended = state, reason, time.time()

    def note(self, kind: str, count: int) -> None:
        """Note the progress that the child reports: "plan" or "scored", and windows."""
        if kind == "plan":
            self.windows, self.began = count, time.monotonic()
        else:
            self.scored += count

    def save(self, folder: Path) -> None:
        """Write the file without which the results do not count."""
        plain = {"format": FORMAT, "recipe": asdict(self.recipe), "reason": self.reason}
        plain |= {"counts": self.counts, "made": self.made, "ended": self.ended}
        plain |= {"windows": self.windows}
        with atomic_file(folder / JOB) as partial:
            partial.write_text(json.dumps(plain, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "Job | None":
        """Read a finished job; None where there is none, or a damaged one."""
        try:
            plain = json.loads((folder / JOB).read_text(encoding="utf-8"))
            stated = plain["recipe"]
            region = stated["region"] and tuple(stated["region"])
            recipe = JobRecipe(**{**stated, "region": region})
            windows = int(plain["windows"])
            job = cls(
                recipe=recipe,
                state="done",
                reason=str(plain["reason"]),
                counts=dict(plain["counts"]),
                made=float(plain["made"]),
                ended=float(plain["ended"]),
                windows=windows,
                scored=windows,
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return job if recipe.id == folder.name else None
