"""Exports of a prediction: files made from a heatmap, its detections and its slide."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import cv2
import numpy as np

from ..storage import Output, StoreError
from ..wsi import Detections, Heatmap, Slide, overlay_heatmap, shrink
from .detect import find_detections
from .prediction_folder import DETECTIONS, HEATMAP, exports_recipe
from .settings import PredictSettings

__all__ = ["EXPORTERS", "Exporter", "export_prediction", "exports_output"]

PICTURE_PX = 1200

Exporter = Callable[[Heatmap, Detections, Slide, Path], None]
"""Writes one file at a path."""


def write_detections(_heatmap: Heatmap, detections: Detections, _slide: Slide, path: Path) -> None:
    """Write a CSV of the detections, see `Detections.save`."""
    detections.save(path)


def write_picture(heatmap: Heatmap, _detections: Detections, slide: Slide, path: Path) -> None:
    """Write a PNG: left the slide, right its heatmap in viridis (dark 0, yellow 1), hatched where
    cells have no probability."""
    longest_um = max(slide.size) * slide.info.mpp
    overview = shrink(slide.overview(longest_um / PICTURE_PX), PICTURE_PX)
    gap = np.full((overview.image.shape[0], 12, 3), 255, np.uint8)
    both = np.concatenate([overview.image, gap, overlay_heatmap(overview, heatmap)], axis=1)
    is_encoded, png = cv2.imencode(".png", both[..., ::-1])
    if not is_encoded:
        raise StoreError(f"{path}: a picture of shape {both.shape} cannot be written as PNG")
    path.write_bytes(png.tobytes())


EXPORTERS: dict[str, Exporter] = {
    DETECTIONS: write_detections,
    "heatmap.png": write_picture,
}
"""Exports by file name in the slide's folder of predictions. A new one is added here.

An exporter gets no settings. If it needs one that leaves the heatmap as it is, add the setting's
name to EXPORT_SETTINGS in prediction_folder.py too; else the network runs again when it changes.
"""


def exports_output(folder: Path, heatmap_sha256: str, settings: PredictSettings) -> Output:
    """Return the exports of one slide as an output, which shares its folder with the heatmap.

    Its recipe names the heatmap by its content, so other exports never run the network again.
    """
    recipe = exports_recipe(settings.model_dump(mode="json"), heatmap_sha256)
    return Output(location=folder, recipe=recipe, files=tuple(EXPORTERS), shares_folder=True)


def export_prediction(
    folder: Path,
    heatmap_sha256: str,
    settings: PredictSettings,
    *,
    open_slide: Callable[[], AbstractContextManager[Slide]],
) -> tuple[int, str]:
    """Bring the exports of one slide up to date with its heatmap.

    Return the number of detections, and why they were made again, "" if they were not.

    Raises:
        SettingsError: the folder holds an output of another stage.
        StoreError: the heatmap is damaged.
    """
    output = exports_output(folder, heatmap_sha256, settings)
    state = output.state()
    if state.is_unchanged:
        return state.attributes["detections"], ""
    heatmap = Heatmap.load(folder / HEATMAP)
    detections = find_detections(heatmap, settings)
    with output.write({"detections": len(detections)}) as partial, open_slide() as slide:
        for name, export in EXPORTERS.items():
            export(heatmap, detections, slide, Path(partial) / name)
    return len(detections), "; ".join(state.differences)
