"""Page of a training on regions: the preview of any epoch by a slider, beside the figures."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..report.plots import EpochCurve
from ..report.report import page_beside
from ..task.page import TaskPage
from .history import RegionRow
from .preview import Preview, preview_name
from .settings import RegionSettings

__all__ = ["RegionPage"]

TEMPLATES = files("gigaslide.training.regions").joinpath("templates")
QUALITY = 80
MOST_PX = 1200  # width of a preview on the page
MOST_SHOWN = 40  # epochs on the slider; evenly chosen among more
COLUMNS = {
    "train_loss": "training loss",
    "preview_dice": "preview Dice",
    "validation_loss": "validation loss",
    "validation_dice": "validation Dice",
}
CURVES = {
    "Loss": EpochCurve(("train_loss", "training (augmented)"), ("validation_loss", "validation")),
    "Dice": EpochCurve(
        ("preview_dice", "preview of training slides"),
        ("validation_dice", "validation"),
        highest=1,
    ),
}


@dataclass(frozen=True)
class RegionPage:
    """The page of one training."""

    page: TaskPage

    @classmethod
    def beside(cls, folder: Path, settings: RegionSettings, *, seed: int) -> "RegionPage":
        """Return the page of a training into a model folder, beside it."""
        return cls(
            TaskPage(
                path=page_beside(folder),
                model=folder.name,
                settings=settings,
                seed=seed,
                examples=settings.epochs * settings.steps * settings.batch_size,
                unit="crops",
                columns=COLUMNS,
                curves=CURVES,
            )
        )

    def save(
        self, history: Sequence[RegionRow], best: RegionRow, previews: Path, preview: Preview
    ) -> None:
        """Write the page after an epoch; previews is the folder of the pictures."""
        self.page.write(
            TEMPLATES.joinpath("regions.html.j2"),
            history,
            best,
            script=TEMPLATES.joinpath("slider.js").read_text(encoding="utf-8"),
            pictures=_read_pictures(history, previews),
            slides=preview.crops.slides,
            training=preview.training,
        )


def _read_pictures(history: Sequence[RegionRow], previews: Path) -> list[tuple[int, bytes]]:
    """Previews as JPEG by epoch; those that are missing are passed over."""
    epochs = [row.epoch for row in history if (previews / preview_name(row.epoch)).exists()]
    if len(epochs) > MOST_SHOWN:
        places = np.unique(np.linspace(0, len(epochs) - 1, MOST_SHOWN).astype(int))
        epochs = [epochs[place] for place in places]
    return [(epoch, _as_jpeg(previews / preview_name(epoch))) for epoch in epochs]


def _as_jpeg(path: Path) -> bytes:
    picture: Any = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    if picture.shape[1] > MOST_PX:
        size = (MOST_PX, round(picture.shape[0] * MOST_PX / picture.shape[1]))
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
