"""Check of a model on windows that hold no tumour, whatever it was trained on."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ...storage import atomic_file
from ...wsi import InputSpec
from ..card import ModelCard
from ..runtimes.forward import Forward
from .pictures import DRAWN_TISSUE, blur, draw_pictures

__all__ = [
    "CHECK",
    "UNCHOSEN",
    "CheckRow",
    "ModelCheck",
    "check_model",
    "describe_called",
    "score_in_batches",
]

CHECK = "check.json"
"""Name of the file in a model folder."""
UNCHOSEN = 0.5  # threshold of a model for which none was chosen
MOST_CALLED = 0.5  # share of a picture's windows that may be called tumour
SATURATED = 1e-6  # a probability as near to 0 or 1
MOST_SATURATED = 0.95  # share of all probabilities
BATCH = 32


@dataclass(frozen=True, kw_only=True)
class CheckRow:
    """Probabilities of the windows of one picture."""

    picture: str
    windows: int
    is_tumor: bool
    """True for tumour patches of a store; no drawn picture holds tumour."""
    mean: float
    """Mean tumour probability; NaN if one is not a number."""
    lowest: float
    highest: float
    called: int
    """Windows at or above the threshold."""

    @property
    def looks_like_tumor(self) -> bool:
        """True if half of the windows or more are called tumour and none should be."""
        return not self.is_tumor and self.called >= MOST_CALLED * self.windows


@dataclass(frozen=True, kw_only=True)
class ModelCheck:
    """Result of a check."""

    threshold: float
    """Probability from which a window counts as called tumour: the operating threshold of the
    card, or 0.5."""
    rows: tuple[CheckRow, ...]
    warnings: tuple[str, ...]
    model_hash: str
    """`ModelCard.hash` of the model."""

    def save(self, folder: Path) -> None:
        """Write check.json into a model folder; NaN becomes null."""
        plain = asdict(self)
        for row in plain["rows"]:
            row |= {name: None for name in ("mean", "lowest", "highest") if np.isnan(row[name])}
        with atomic_file(folder / CHECK) as partial:
            partial.write_text(json.dumps(plain, indent=1), encoding="utf-8")


def check_model(
    predict: Forward,
    card: ModelCard,
    *,
    normal: np.ndarray | None = None,
    tumor: np.ndarray | None = None,
    batch_size: int = BATCH,
) -> ModelCheck:
    """Score drawn pictures without tumour, and patches of a store where they are given, which then
    stand for the drawn tissue.

    predict gives the probabilities of a model with this card. normal, tumor: (N, scales, P, P, 3)
    uint8 RGB as the network takes them. A picture is warned of if half of its windows or more are
    called tumour.
    """
    spec = card.input_spec
    pictures = draw_pictures(spec)
    if normal is not None:
        pictures = {name: pictures[name] for name in pictures if DRAWN_TISSUE not in name}
        pictures["normal patches"] = normal
        pictures["normal patches, blurred"] = _blur_each(normal, spec)
    if tumor is not None:
        pictures["tumour patches"] = tumor
    windows = np.concatenate(list(pictures.values()))
    scores = score_in_batches(predict, windows, batch_size)[:, spec.tumor]
    chosen = card.operating_threshold
    threshold = UNCHOSEN if chosen is None else chosen.value
    ends = np.cumsum([len(part) for part in pictures.values()])
    parts = np.split(scores, ends[:-1])
    rows = tuple(
        _row(name, part, threshold, is_tumor=pictures[name] is tumor)
        for name, part in zip(pictures, parts, strict=True)
    )
    return ModelCheck(
        threshold=threshold,
        rows=rows,
        warnings=(*_warn_of_pictures(rows, threshold), *_warn_of_all(scores)),
        model_hash=card.hash,
    )


def score_in_batches(predict: Forward, patches: np.ndarray, size: int) -> np.ndarray:
    """Return the probabilities of patches, (N, classes) float64. Every call has the same number of
    patches, the last one filled up, so that a network is compiled once."""
    padded = np.resize(patches, (len(patches) + -len(patches) % size, *patches.shape[1:]))
    parts = [np.asarray(predict(padded[i : i + size])) for i in range(0, len(padded), size)]
    return np.concatenate(parts)[: len(patches)].astype(np.float64)


def _blur_each(patches: np.ndarray, spec: InputSpec) -> np.ndarray:
    return np.array(
        [
            [blur(window, mpp) for window, mpp in zip(patch, spec.mpps, strict=True)]
            for patch in patches
        ],
        np.uint8,
    )


def _row(name: str, scores: np.ndarray, threshold: float, *, is_tumor: bool) -> CheckRow:
    return CheckRow(
        picture=name,
        windows=len(scores),
        is_tumor=is_tumor,
        mean=float(scores.mean()),
        lowest=float(scores.min()),
        highest=float(scores.max()),
        called=int((scores >= threshold).sum()),
    )


def _warn_of_pictures(rows: Sequence[CheckRow], threshold: float) -> list[str]:
    names = [f"{row.picture} ({row.mean:.3f})" for row in rows if row.looks_like_tumor]
    if not names:
        return []
    return [describe_called(names, threshold)]


def describe_called(names: Sequence[str], threshold: float) -> str:
    """Describe pictures that are called tumour, each by its name and mean probability."""
    return (
        f"finds tumour, with a probability of {threshold:g} or more, in pictures that have none: "
        f"{', '.join(names)}; train longer, or add slides that show such places, labelled normal"
    )


def _warn_of_all(scores: np.ndarray) -> list[str]:
    wrong = int((~np.isfinite(scores)).sum())
    if wrong:
        return [
            f"{wrong} of {len(scores)} probabilities are not numbers; train with a lower learning "
            "rate"
        ]
    if np.ptp(scores) < SATURATED:
        return [
            f"all {len(scores)} probabilities are {scores[0]:.3g}; the network sees no difference "
            "between pictures: train longer or with a lower learning rate"
        ]
    extreme = float(((scores < SATURATED) | (scores > 1 - SATURATED)).mean())
    if extreme >= MOST_SATURATED:
        return [
            f"{extreme:.0%} of the probabilities are within {SATURATED:g} of 0 or 1; heatmaps will "
            "have no shades: train with --label-smoothing or --calibrate"
        ]
    return []
