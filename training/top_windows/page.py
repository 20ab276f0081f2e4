"""Page of a training from slide labels: the windows that taught in the last step and those by which
validation slides are ranked, beside the figures."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from ..report.page import encode_picture
from ..report.plots import EpochCurve
from ..report.report import page_beside
from ..task.page import TaskPage
from .choose import TopWindows
from .history import TopWindowRow
from .settings import TopWindowSettings
from .slides import SlideWindows

__all__ = ["ScoredSlide", "TopWindowPage"]

TEMPLATE = files("gigaslide.training.top_windows").joinpath("templates", "top_windows.html.j2")
MOST_TAUGHT = 4  # slides whose windows of the last step are shown
MOST_WINDOWS = 8  # of each of them
MOST_RANKED = 12  # validation slides of each class
COLUMNS = {
    "train_loss": "training loss",
    "validation_loss": "validation loss",
    "slide_auc": "validation slide AUC",
}
CURVES = {
    "Loss": EpochCurve(("train_loss", "training (augmented)"), ("validation_loss", "validation")),
    "Slide AUC": EpochCurve(None, ("slide_auc", "validation slides"), highest=1),
}


@dataclass(frozen=True, kw_only=True)
class ScoredSlide:
    """A slide with some of its highest-scoring windows, as pictures."""

    id: str
    is_tumor: bool
    windows: tuple[tuple[float, bytes], ...]
    """Score and JPEG, the highest first."""

    @classmethod
    def of(cls, slide: SlideWindows, top: TopWindows, *, most: int) -> "ScoredSlide":
        """Keep the pictures of so many windows."""
        pairs = zip(top.scores[:most].tolist(), top.pixels[:most, 0], strict=True)
        shown = tuple((score, encode_picture(pixels)) for score, pixels in pairs)
        return cls(id=slide.row.id, is_tumor=slide.is_tumor, windows=shown)

    @property
    def score(self) -> float:
        """Highest score of the slide."""
        return self.windows[0][0]


@dataclass(frozen=True)
class TopWindowPage:
    """The page of one training."""

    page: TaskPage

    @classmethod
    def beside(cls, folder: Path, settings: TopWindowSettings, *, seed: int) -> "TopWindowPage":
        """Return the page of a training into a model folder, beside it."""
        return cls(
            TaskPage(
                path=page_beside(folder),
                model=folder.name,
                settings=settings,
                seed=seed,
                examples=settings.epochs * settings.steps * settings.slides_per_step,
                unit="slides",
                columns=COLUMNS,
                curves=CURVES,
            )
        )

    def save(
        self,
        history: Sequence[TopWindowRow],
        best: TopWindowRow,
        *,
        taught: Sequence[ScoredSlide],
        validation: Sequence[ScoredSlide],
    ) -> None:
        """Write the page after an epoch. taught: slides of its last step; validation: slides as
        they were scored, in any order."""
        normal = sorted((s for s in validation if not s.is_tumor), key=lambda slide: -slide.score)
        tumor = sorted((s for s in validation if s.is_tumor), key=lambda slide: slide.score)
        self.page.write(
            TEMPLATE,
            history,
            best,
            taught=taught,
            ranked={
                "Normal slides, the highest score first": normal[:MOST_RANKED],
                "Slides with tumour, the lowest score first": tumor[:MOST_RANKED],
            },
            validation_slides=len(validation),
        )
