"""The files that `gigaslide predict` writes beside each heatmap: detections and a picture."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from ...storage import Output
from ...wsi import Heatmap, Slide
from ..detect import find_detections
from ..prediction_folder import DETECTIONS, HEATMAP, exports_recipe
from ..settings import PredictSettings
from .pictures import write_beside_slide
from .source import ExportSource

__all__ = ["BESIDE_HEATMAP", "beside_output", "write_beside_heatmap"]

BESIDE_HEATMAP: dict[str, Callable[[ExportSource, Path], None]] = {
    DETECTIONS: lambda source, path: source.detections.save(path),
    "heatmap.png": write_beside_slide,
}
"""By file name in the slide's folder of predictions. Optional formats are in `exporters`.

If one needs a setting that leaves the heatmap as it is, add the setting's name to EXPORT_SETTINGS
in prediction_folder.py too; else the network runs again when it changes.
"""


def beside_output(folder: Path, heatmap_sha256: str, settings: PredictSettings) -> Output:
    """Return these files of one slide as an output, which shares its folder with the heatmap.

    Its recipe names the heatmap by its content, so other files never run the network again.
    """
    recipe = exports_recipe(settings.model_dump(mode="json"), heatmap_sha256)
    return Output(location=folder, recipe=recipe, files=tuple(BESIDE_HEATMAP), shares_folder=True)


def write_beside_heatmap(
    folder: Path,
    heatmap_sha256: str,
    settings: PredictSettings,
    *,
    open_slide: Callable[[], AbstractContextManager[Slide]],
) -> tuple[int, str]:
    """Bring these files of one slide up to date with its heatmap.

    Return the number of detections, and why they were made again, "" if they were not.

    Raises:
        SettingsError: the folder holds an output of another stage.
        StoreError: the heatmap is damaged.
    """
    output = beside_output(folder, heatmap_sha256, settings)
    state = output.state()
    if state.is_unchanged:
        return state.attributes["detections"], ""
    heatmap = Heatmap.load(folder / HEATMAP)
    detections = find_detections(heatmap, settings)
    source = ExportSource(
        id=heatmap.slide,
        load_heatmap=lambda: heatmap,
        load_detections=lambda: detections,
        open_slide=open_slide,
    )
    with output.write({"detections": len(detections)}) as partial:
        for name, write in BESIDE_HEATMAP.items():
            write(source, Path(partial) / name)
    return len(detections), "; ".join(state.differences)
