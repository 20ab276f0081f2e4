"""Preview of a training: a few crops, always the same, with what the network finds in them."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ...storage import atomic_file
from .crops import Crops, CropSource
from .settings import RegionSettings

__all__ = ["PREVIEWS", "Preview", "preview_name"]

PREVIEWS = "previews"
FOUND, TRUTH = (0, 90, 220), (20, 160, 60)  # RGB
TINT = 0.35  # of the colour in which what is found is shown
EDGE_PX = 4
ACROSS = 4  # crops in a row
THRESHOLD = 0.5


def preview_name(epoch: int) -> str:
    """Return the file name of the preview of an epoch."""
    return f"epoch_{epoch:04}.png"


@dataclass(frozen=True, kw_only=True)
class Preview:
    """Crops that every epoch predicts: those of training slides first, then those of others."""

    crops: Crops
    training: int
    """Number of crops that lie on training slides."""

    @classmethod
    def of(
        cls, train: CropSource, others_from: CropSource, settings: RegionSettings, *, others: int
    ) -> "Preview":
        """Choose a crop of each training slide, up to the settings' number, and a few of others."""
        mine = train.fixed(min(settings.previews, len(train)), positive=True)
        theirs = others_from.fixed(others, positive=True)
        crops = Crops(
            np.concatenate([mine.images, theirs.images]),
            np.concatenate([mine.known, theirs.known]),
            mine.slides + theirs.slides,
        )
        return cls(crops=crops, training=len(mine))

    @property
    def on_training(self) -> slice:
        """Crops of training slides."""
        return slice(0, self.training)

    def save(self, scores: np.ndarray, folder: Path, epoch: int) -> None:
        """Write the picture of an epoch as PNG; scores are probabilities (N, S, S)."""
        folder.mkdir(parents=True, exist_ok=True)
        picture = self.draw(scores)
        _, data = cv2.imencode(".png", np.ascontiguousarray(picture[..., ::-1]))
        with atomic_file(folder / preview_name(epoch)) as partial:
            partial.write_bytes(data.tobytes())

    def draw(self, scores: np.ndarray) -> np.ndarray:
        """Draw the crops in rows: what is found tinted and lined in blue, what is wanted lined in
        green, what was not looked at greyed: (rows, columns, 3) uint8 RGB."""
        shown = [
            _draw(*one) for one in zip(self.crops.images, self.crops.known, scores, strict=True)
        ]
        across = min(ACROSS, len(shown))
        blank = np.full_like(shown[0], 255)
        shown += [blank] * (-len(shown) % across)
        lines = [np.concatenate(shown[i : i + across], 1) for i in range(0, len(shown), across)]
        return np.concatenate(lines)


def _draw(image: np.ndarray, known: np.ndarray, scores: np.ndarray) -> np.ndarray:
    wanted, looked_at = known[..., 0].astype(bool), known[..., 1].astype(bool)
    picture = image.astype(np.float32)
    grey = picture.mean(axis=-1, keepdims=True) * 0.5 + 100
    picture = np.where(looked_at[..., None], picture, grey)
    found = scores > THRESHOLD
    picture[found] = (1 - TINT) * picture[found] + TINT * np.array(FOUND, np.float32)
    drawn = np.clip(picture, 0, 255).astype(np.uint8)
    for mask, colour in ((wanted, TRUTH), (found, FOUND)):
        lines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(drawn, lines, -1, colour, 2)
    return cv2.copyMakeBorder(
        drawn, 0, EDGE_PX, 0, EDGE_PX, cv2.BORDER_CONSTANT, value=(255, 255, 255)
    )
