"""A training on one page, training.html: curves, what the network is fed, mistakes, calibration,
settings. It needs no other file and no network."""

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import cv2
import jinja2
import numpy as np

from ...storage import atomic_file, gigaslide_version
from ...wsi import CLASSES, InputSpec
from ..sampler import Batch
from .figures import measure_calibration
from .history import HistoryRow, rank_key
from .plots import calibration_svg, curves_svg

__all__ = ["PAGE", "TrainingPage", "ValidationScores", "encode_picture", "make_environment"]

PAGE = "training.html"
TEMPLATES = files("gigaslide.training.report").joinpath("templates")
TEMPLATE = "training.html.j2"
SHOWN_PX = 184
"""Largest side of a patch on the page."""
PICTURES = 24
"""Most pictures in each gallery."""
MOST_OF_A_SLIDE = 3
"""Most mistakes of one slide and class. Neighbouring patches look alike."""
QUALITY = 88
NARROW_SPACE = "\u202f"
WORDS = {"tumor": "tumour"}


@dataclass(frozen=True, kw_only=True)
class ValidationScores:
    """The validation patches and their tumour probabilities (N,) at one validation."""

    batch: Batch
    scores: np.ndarray
    is_last: bool
    """True for the last validation of the training."""


@dataclass(frozen=True, kw_only=True)
class TrainingPage:
    """The page of one training."""

    path: Path
    model: str
    """Name of the model folder."""
    examples: int
    """Number of examples that the training will see."""
    spec: InputSpec
    parameters: int
    settings: Mapping[str, Any]
    changed: frozenset[str]
    """Names of the settings that are not those of the recipe."""

    def save(
        self, history: Sequence[HistoryRow], fed: Batch | None, validation: ValidationScores
    ) -> None:
        """Write the page after a validation; fed is the batch of the last step."""
        best = max(history, key=lambda row: rank_key(row, self.settings["best"]))
        calibration = measure_calibration(validation.scores, validation.batch.labels)
        text = (
            make_environment()
            .get_template(TEMPLATE)
            .render(
                page=self,
                history=history,
                last=history[-1],
                best=best,
                finished=validation.is_last,
                whole_slides=any(row.slide_auc is not None for row in history),
                curves=curves_svg(history, best=best, examples=self.examples),
                calibration=calibration_svg(calibration),
                brier=calibration.brier,
                fed=[] if fed is None else _choose_fed(fed, self._count(PICTURES)),
                colours=None if fed is None else _describe_colours(fed.patches),
                shown_px=min(SHOWN_PX, self.spec.patch_px),
                centres=[
                    100 * self.spec.centre_px / self.spec.patch_px * self.spec.mpp / mpp
                    for mpp in self.spec.mpps
                ],
                mistakes=[
                    (name, _find_mistakes(validation, label, self._count(PICTURES // 2)))
                    for label, name in enumerate(map(_word, self.spec.classes))
                ],
                patches=len(validation.scores),
                most_of_a_slide=MOST_OF_A_SLIDE,
                version=gigaslide_version(),
            )
        )
        with atomic_file(self.path) as partial:
            partial.write_text(text, encoding="utf-8", errors="backslashreplace")

    def _count(self, pictures: int) -> int:
        """Return how many patches that many pictures show."""
        return max(2, pictures // len(self.spec.mpps))


def make_environment() -> jinja2.Environment:
    """Make the environment of templates of training pages, with their filters."""
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=jinja2.FunctionLoader(
            lambda name: TEMPLATES.joinpath(name).read_text(encoding="utf-8")
        ),
    )
    environment.filters.update(
        spaced=_separate_thousands,
        duration=_format_duration,
        figure=_format_figure,
        percent=_format_percent,
        data_uri=_make_data_uri,
    )
    return environment


@dataclass(frozen=True, kw_only=True)
class _ShownPatch:
    pictures: list[bytes]
    """JPEG of each scale."""
    label: str
    slide: str
    score: float | None = None


def _choose_fed(batch: Batch, count: int) -> list[_ShownPatch]:
    """Choose patches of a batch, as many of each class, tumour first."""
    each = [np.flatnonzero(batch.labels == label)[: count // 2] for label in range(len(CLASSES))]
    return [_show(batch, index) for index in np.concatenate(each[::-1])]


def _find_mistakes(validation: ValidationScores, label: int, count: int) -> list[_ShownPatch]:
    """Find the patches of a class with the most confident wrong scores, the worst first. A patch
    that the validation holds twice is shown once."""
    batch, scores = validation.batch, validation.scores
    is_tumor = CLASSES[label] == "tumor"
    wrong = (batch.labels == label) & ((scores > 0.5) != is_tumor)
    order = np.argsort(scores if is_tumor else -scores, kind="stable")
    found, seen, of_slide = [], set(), Counter()
    for index in order[wrong[order]].tolist():
        slide, pixels = batch.slides[index], batch.patches[index].tobytes()
        if of_slide[slide] == MOST_OF_A_SLIDE or pixels in seen:
            continue
        seen.add(pixels)
        of_slide[slide] += 1
        found.append(_show(batch, index, score=float(scores[index])))
        if len(found) == count:
            break
    return found


def _show(batch: Batch, index: int, *, score: float | None = None) -> _ShownPatch:
    return _ShownPatch(
        pictures=[encode_picture(scale) for scale in batch.patches[index]],
        label=_word(CLASSES[batch.labels[index]]),
        slide=batch.slides[index],
        score=score,
    )


def encode_picture(patch: np.ndarray) -> bytes:
    """Encode a patch (P, P, 3) uint8 as JPEG of at most SHOWN_PX."""
    if len(patch) > SHOWN_PX:
        patch = cv2.resize(patch, (SHOWN_PX, SHOWN_PX), interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(".jpg", patch[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return data.tobytes()


def _describe_colours(patches: np.ndarray) -> str:
    """Mean and standard deviation of red, green and blue in words."""
    pixels = patches.reshape(-1, 3)[:: max(1, patches.size // 3_000_000)]
    means, spreads = pixels.mean(axis=0), pixels.std(axis=0)
    channels = zip(("red", "green", "blue"), means, spreads, strict=True)
    return ", ".join(f"{name} {mean:.0f} ± {spread:.0f}" for name, mean, spread in channels)


def _word(name: str) -> str:
    return WORDS.get(name, name)


def _separate_thousands(value: float) -> str:
    return f"{value:,.0f}".replace(",", NARROW_SPACE)


def _format_duration(seconds: float) -> str:
    """Format seconds: 45 s, 12 min, 1 h 05 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _format_figure(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _format_percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f}{NARROW_SPACE}%"


def _make_data_uri(content: bytes | str, kind: str) -> str:
    data = content.encode() if isinstance(content, str) else content
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
