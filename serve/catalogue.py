"""Facts of all slides for the list: size, µm/px and score, read in the background."""

import json
import logging
import queue
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..cohort import CohortSlide
from ..storage import GigaslideError, format_location
from ..wsi import Heatmap, open_slide

__all__ = ["Catalogue", "SlideFacts", "heatmap_path", "heatmap_stamp", "hide_path"]

logger = logging.getLogger(__name__)

THRESHOLD = "operating_threshold.json"
DEFAULT_THRESHOLD = 0.5


@dataclass(frozen=True, kw_only=True)
class SlideFacts:
    """Facts of one slide; None where unknown."""

    width: int | None = None
    """Level-0 px, as height."""
    height: int | None = None
    mpp: float | None = None
    """µm per level-0 px."""
    score: float | None = None
    """Tumour score of the prediction, in [0, 1]."""
    problem: str = ""
    """Reason why the slide cannot be opened."""


class Catalogue:
    """Facts of slides by id. A thread reads them, one slide after the other."""

    def __init__(self, slides: Mapping[str, CohortSlide], predictions: Path | None) -> None:
        self._slides = slides
        self._predictions = predictions
        self._facts: dict[str, SlideFacts] = {}
        self._stamps: dict[str, int] = {}
        self._scores: dict[str, float | None] = {}
        self._asked: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._read_all, daemon=True, name="catalogue")

    def start(self) -> None:
        for name in self._slides:
            self._asked.put(name)
        self._thread.start()

    def stop(self) -> None:
        self._asked.put(None)

    @property
    def is_complete(self) -> bool:
        return len(self._facts) == len(self._slides)

    @property
    def threshold(self) -> float:
        """Operating threshold of the predictions."""
        if self._predictions is None:
            return DEFAULT_THRESHOLD
        try:
            plain = json.loads((self._predictions / THRESHOLD).read_text(encoding="utf-8"))
            value = float(plain["value"])
        except (OSError, ValueError, KeyError, TypeError):
            return DEFAULT_THRESHOLD
        return value if 0 <= value <= 1 else DEFAULT_THRESHOLD

    def facts(self, name: str) -> SlideFacts:
        """Return what is known of a slide by now."""
        if heatmap_stamp(self._predictions, name) != self._stamps.get(name, 0):
            self._asked.put(name)
        return self._facts.get(name, SlideFacts())

    def _read_all(self) -> None:
        while (name := self._asked.get()) is not None:
            try:
                self._facts[name] = self._read(name)
            except Exception:
                logger.exception("%s: facts of the slide cannot be read", name)
                self._facts[name] = SlideFacts(problem="cannot be read")

    def _read(self, name: str) -> SlideFacts:
        slide, known = self._slides[name], self._facts.get(name)
        stamp = heatmap_stamp(self._predictions, name)
        score = None if known is None else known.score
        if self._predictions is not None and stamp != self._stamps.get(name, 0):
            score = _read_score(heatmap_path(self._predictions, name))
        self._stamps[name] = stamp
        try:
            with open_slide(slide.path, mpp=slide.mpp, fallback_mpp=1.0) as opened:
                return SlideFacts(
                    width=opened.info.width,
                    height=opened.info.height,
                    mpp=slide.mpp or opened.info.file_mpp,
                    score=score,
                )
        except GigaslideError as error:
            return SlideFacts(score=score, problem=hide_path(str(error), slide))


def hide_path(words: str, slide: CohortSlide) -> str:
    """Name the slide by its id in words for the page."""
    return words.replace(format_location(slide.path), slide.id)


def _read_score(path: Path) -> float | None:
    try:
        return Heatmap.load(path).slide_score if path.is_dir() else None
    except GigaslideError as error:
        logger.info("%s", error)
        return None


def heatmap_path(predictions: Path, name: str) -> Path:
    """Return where the heatmap of a slide lies, if there is one."""
    return predictions / name / "heatmap.zarr"


def heatmap_stamp(predictions: Path | None, name: str) -> int:
    """Return the time of a heatmap, to see a new one; 0 if there is none, or if the slide's id
    would lead out of the folder."""
    if predictions is None or "/" in name:
        return 0
    try:
        return (heatmap_path(predictions, name) / "zarr.json").stat().st_mtime_ns
    except OSError:
        return 0
