"""A training on regions on one page, training.html: figures by epoch, and the preview of any epoch
by a slider. It needs no other file and no network."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from markupsafe import Markup

from ...storage import atomic_file, gigaslide_version
from ..report.page import make_environment
from ..report.plots import region_curves_svg
from .history import RegionRow
from .preview import Preview, preview_name
from .settings import RegionSettings

__all__ = ["RegionPage"]

TEMPLATES = files("gigaslide.training.regions").joinpath("templates")
QUALITY = 80
MOST_PX = 1200  # width of a preview on the page
MOST_SHOWN = 40  # epochs on the slider; evenly chosen among more


@dataclass(frozen=True, kw_only=True)
class RegionPage:
    """The page of one training."""

    path: Path
    model: str
    """Name of the model folder."""
    settings: RegionSettings
    seed: int

    @property
    def _examples(self) -> int:
        """Crops that the training will see."""
        return self.settings.epochs * self.settings.steps * self.settings.batch_size

    def save(
        self, history: Sequence[RegionRow], best: RegionRow, previews: Path, preview: Preview
    ) -> None:
        """Write the page after an epoch; previews is the folder of the pictures."""
        script = TEMPLATES.joinpath("slider.js").read_text(encoding="utf-8")
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        text = (
            make_environment()
            .from_string(TEMPLATES.joinpath("regions.html.j2").read_text(encoding="utf-8"))
            .render(
                page=self,
                policy=f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src "
                f"'sha256-{digest}'",
                script=Markup(script),  # ours, and the policy lets no other run
                history=history,
                last=history[-1],
                best=best,
                finished=history[-1].epoch >= self.settings.epochs,
                pictures=_read_pictures(history, previews),
                slides=preview.crops.slides,
                training=preview.training,
                curves=region_curves_svg(history, best=best, examples=self._examples),
                shown_settings=_flatten(self.settings.model_dump(mode="json"))
                | {"seed": self.seed},
                version=gigaslide_version(),
            )
        )
        with atomic_file(self.path) as partial:
            partial.write_text(text, encoding="utf-8", errors="backslashreplace")


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


def _flatten(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, dict) and value:
            flat |= _flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
