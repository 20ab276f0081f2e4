"""Page of a training straight from a cohort, training.html: progress, pictures, figures by epoch,
settings. It needs no other file and no network."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from markupsafe import Markup

from ...storage import atomic_file, gigaslide_version
from ..report.page import make_environment
from ..report.plots import EpochCurve, epoch_curves_svg
from ..report.report import flatten_settings

__all__ = ["TaskPage"]


@dataclass(frozen=True, kw_only=True)
class TaskPage:
    """The page of one training in epochs."""

    path: Path
    model: str
    """Name of the model folder."""
    settings: Any
    """Settings of the training, with a number of epochs."""
    seed: int
    examples: int
    """Number of examples that the training will see."""
    unit: str
    """Name of the examples, in the plural: crops, slides."""
    columns: Mapping[str, str]
    """Figures of the table of epochs: name in the history, and words."""
    curves: Mapping[str, EpochCurve]
    """Plots by their title."""

    def write(
        self,
        template: Traversable,
        history: Sequence[Any],
        best: Any,
        *,
        script: str = "",
        **shown: Any,
    ) -> None:
        """Write the page after an epoch.

        template: Jinja, extends task.html.j2; script: the only JavaScript that may run; shown: what
        the template shows besides.
        """
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        environment = make_environment()
        text = environment.from_string(template.read_text(encoding="utf-8")).render(
            page=self,
            policy="default-src 'none'; img-src data:; style-src 'unsafe-inline'"
            + (f"; script-src 'sha256-{digest}'" if script else ""),
            script=Markup(script),  # ours, and the policy lets no other run
            history=history,
            last=history[-1],
            best=best,
            finished=history[-1].epoch >= self.settings.epochs,
            columns=self.columns,
            curves=epoch_curves_svg(
                history, self.curves, best=best, examples=self.examples, unit=self.unit
            ),
            shown_settings=flatten_settings(self.settings) | {"seed": self.seed},
            version=gigaslide_version(),
            **shown,
        )
        with atomic_file(self.path) as partial:
            partial.write_text(text, encoding="utf-8", errors="backslashreplace")
