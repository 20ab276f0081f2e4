"""Batches of bags for training: standardised, shuffled, sampled, padded to few sizes."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ...models import bucket_size
from ...storage import SettingsError, format_count
from .settings import BagSettings

__all__ = ["BagBatch", "Examples"]

CLASS_NAMES = ("normal", "tumour")
ROWS_AT_ONCE = 8_192


@dataclass(frozen=True, kw_only=True)
class BagBatch:
    """Bags of one training step, padded to one size N."""

    features: np.ndarray
    """(B, N, D) float32, standardised; 0 where padded."""
    mask: np.ndarray
    """(B, N) bool, False where padded."""
    labels: np.ndarray
    """(B, 1) float32: 0 normal, 1 tumour."""
    weights: np.ndarray
    """(B,) float32, equal in sum for both classes over an epoch."""


@dataclass(frozen=True)
class Examples:
    """Examples of a training: bags with a label each, or single windows as bags of one."""

    bags: Sequence[np.ndarray]
    """(N, D) features of each slide."""
    where: np.ndarray
    """(M, 2) int64 (bag, window) of each example; the window is -1 where the bag is one example."""
    labels: np.ndarray
    """(M,) bool."""
    settings: BagSettings

    @classmethod
    def of(
        cls,
        bags: Sequence[np.ndarray],
        labels: Sequence[Any] | np.ndarray,
        settings: BagSettings,
        *,
        purpose: str = "training",
    ) -> "Examples":
        """Check bags and labels, see `fit_bags`; empty bags are left out.

        Raises:
            SettingsError: labels that do not go with the bags, features of different lengths or
                that are not finite, or examples of one class only.
        """
        _check_bags(bags, labels)
        if settings.labels == "slides":
            _refuse_other_labels(labels)
            found = [
                (number, -1, label) for number, label in enumerate(labels) if len(bags[number])
            ]
            table = np.array(found, np.int64).reshape(-1, 3)
        else:
            table = _list_windows(bags, labels)
        examples = cls(bags, table[:, :2], table[:, 2] == 1, settings)
        examples._refuse_one_class(purpose)
        return examples

    def _refuse_one_class(self, purpose: str) -> None:
        tumor, total = int(self.labels.sum()), len(self.labels)
        if not 0 < tumor < total:
            kind = "slide" if self.settings.labels == "slides" else "window"
            only = f"only {CLASS_NAMES[int(tumor > 0)]} ones" if total else "none at all"
            raise SettingsError(
                f"{purpose} needs tumour and normal {kind}s, and has {format_count(total, kind)}, "
                f"{only}; check labels and splits"
            )

    @property
    def length(self) -> int:
        """Number of features of a window."""
        return self.bags[0].shape[1]

    @cached_property
    def standard(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of each feature over the windows to learn from, float32
        (D,); a feature that never changes has 1."""
        count, total, squares = 0, np.zeros(self.length), np.zeros(self.length)
        shift = np.asarray(self.bags[int(self.where[0, 0])][0], np.float64)
        for number in np.unique(self.where[:, 0]):
            rows = self.where[self.where[:, 0] == number, 1]
            bag = self.bags[number] if rows[0] < 0 else self.bags[number][rows]
            for first in range(0, len(bag), ROWS_AT_ONCE):
                part = bag[first : first + ROWS_AT_ONCE].astype(np.float64) - shift
                count, total = count + len(part), total + part.sum(axis=0)
                squares += np.einsum("nd,nd->d", part, part)
        mean = total / count
        deviation = np.sqrt(np.maximum(squares / count - mean**2, 0))
        deviation[deviation < 1e-6] = 1.0
        return (mean + shift).astype(np.float32), deviation.astype(np.float32)

    @property
    def steps_per_epoch(self) -> int:
        return -(-len(self.labels) // self.settings.examples_per_step)

    def order(self, rng: np.random.Generator) -> np.ndarray:
        """Draw the examples of all steps, (steps, B): every one is seen once before any is seen
        again."""
        size = self.settings.examples_per_step
        needed = self.settings.epochs * self.steps_per_epoch * size
        rounds = -(-needed // len(self.labels))
        drawn = np.concatenate([rng.permutation(len(self.labels)) for _ in range(rounds)])
        return drawn[:needed].reshape(-1, size)

    def batch(self, chosen: np.ndarray, rng: np.random.Generator) -> BagBatch:
        """Make the batch of these examples, with windows drawn from each bag."""
        parts = [self._draw(bag, window, rng) for bag, window in self.where[chosen].tolist()]
        size = 1 if self.settings.labels == "windows" else bucket_size(max(map(len, parts)))
        features = np.zeros((len(parts), size, self.length), np.float32)
        mask = np.zeros((len(parts), size), bool)
        mean, deviation = self.standard
        factors = self._drop_features(len(parts), rng) / deviation
        for row, ((bag, _), part) in enumerate(zip(self.where[chosen], parts, strict=True)):
            for first in range(0, len(part), ROWS_AT_ONCE):  # a copy of the whole bag costs memory
                chosen_rows = part[first : first + ROWS_AT_ONCE]
                inside = features[row, first : first + len(chosen_rows)]
                np.subtract(self.bags[bag][chosen_rows], mean, out=inside)
                inside *= factors[row]
            mask[row, : len(part)] = True
        labels = self.labels[chosen]
        return BagBatch(
            features=features,
            mask=mask,
            labels=labels[:, None].astype(np.float32),
            weights=self._class_weights[labels.astype(int)],
        )

    def _drop_features(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Draw the features that each of so many examples keeps, (count, D) float32: 0 where one is
        left out, above 1 for the others, so that their mean is 1."""
        share = self.settings.feature_dropout
        kept = rng.random((count, self.length), np.float32) >= share
        return kept.astype(np.float32) / np.float32(1 - share)

    def _draw(self, bag: int, window: int, rng: np.random.Generator) -> np.ndarray:
        """Draw the windows of an example, by their indices."""
        if window >= 0:
            return np.array([window])
        count = len(self.bags[bag])
        kept = max(1, round(count * (1 - self.settings.window_dropout)))
        return np.sort(rng.permutation(count)[: min(kept, self.settings.max_windows)])

    @cached_property
    def _class_weights(self) -> np.ndarray:
        share = self.labels.mean()
        return np.array([0.5 / (1 - share), 0.5 / share], np.float32)


def _check_bags(bags: Sequence[np.ndarray], labels: Sequence[Any] | np.ndarray) -> None:
    if len(labels) != len(bags) or not len(bags):
        raise SettingsError(f"{len(bags)} bags with {len(labels)} labels; give one for each")
    lengths = sorted({bag.shape[1] if bag.ndim == 2 else -1 for bag in bags})
    if len(lengths) > 1 or lengths[0] < 1:
        raise SettingsError(
            f"bags are (windows, features) of one encoder, these have {lengths} features; take "
            "all slides from one folder of gigaslide features"
        )
    for number, bag in enumerate(bags):
        if not np.isfinite(bag).all():
            raise SettingsError(
                f"bag {number}: features that are not finite; leave out these windows, or encode "
                "the slide again"
            )


def _refuse_other_labels(labels: Sequence[Any] | np.ndarray) -> None:
    for number, label in enumerate(labels):
        if np.shape(label) or label not in (0, 1):
            raise SettingsError(
                f"bag {number}: the label of a slide is 1 (tumour) or 0 (normal), not {label!r}; "
                "leave out slides without"
            )


def _list_windows(bags: Sequence[np.ndarray], labels: Sequence[Any] | np.ndarray) -> np.ndarray:
    """(M, 3) int64 (bag, window, label) of the windows that have a label."""
    rows = []
    for number, (bag, of_bag) in enumerate(zip(bags, labels, strict=True)):
        if np.shape(of_bag) != (len(bag),):
            raise SettingsError(
                f"bag {number}: {len(bag)} windows with labels of shape {np.shape(of_bag)}; give "
                "1, 0 or -1 (no label) for each window"
            )
        if not np.isin(of_bag, (-1, 0, 1)).all():
            raise SettingsError(
                f"bag {number}: has labels besides 1 (tumour), 0 (normal) and -1 (no label)"
            )
        known = np.flatnonzero(np.asarray(of_bag) >= 0)
        rows.append(
            np.stack([np.full(len(known), number), known, np.asarray(of_bag)[known]], axis=1)
        )
    return np.concatenate(rows).astype(np.int64)
