"""Stages of features as the command shares them: where they run, a bar, one call, their results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...batch import BatchSettings, describe_workers
from ...cohort import Cohort
from ...storage import format_count
from ..terminal.progress import print_line, print_stage_line, progress_bar, slide_bar
from ..terminal.tables import print_summary, print_time
from ..terminal.windows_bar import windows_bar

if TYPE_CHECKING:
    from ...inference import FeatureFormat, FeatureSettings, ForeignFeatures

__all__ = ["export_stage", "features_stage", "import_stage"]


def features_stage(
    cohort: Cohort, out: Path, settings: FeatureSettings, batch: BatchSettings
) -> int:
    from ...inference import extract_features, slides_to_encode, with_encoder_defaults
    from ...models import describe_encoder

    card = describe_encoder(settings.source).card  # a missing one is reported before Keras loads
    batch = with_encoder_defaults(batch)
    print_line(f"features: {describe_workers(batch)}")
    print_stage_line("", f"{card.name}, windows of {card.patch_px} px at {card.mpp:g} µm/px")
    slides = len(slides_to_encode(cohort, settings))
    with windows_bar("features", slides=slides) as bar:
        summary = extract_features(
            cohort,
            out,
            settings,
            batch,
            listener=bar.listener,
        )
    print_summary("features", summary)
    print_stage_line("", f"{format_count(summary.total('windows'), 'window')} in {out}")
    print_time(summary.pace)
    return summary.exit_status


def import_stage(cohort: Cohort, given: ForeignFeatures, out: Path) -> int:
    from ...inference import import_features

    with slide_bar("import", len(cohort)) as listener:
        summary = import_features(cohort, given, out, listener=listener)
    print_summary("import", summary)
    print_stage_line("", f"{format_count(summary.total('windows'), 'window')} in {out}")
    return summary.exit_status


def export_stage(features: Path, out: Path, to: FeatureFormat) -> int:
    from ...inference import export_features, find_features

    with progress_bar("export", len(find_features(features)), " slides") as progress:

        def advance(_: Path) -> None:
            progress.update()

        files = export_features(features, out, to=to, on_slide=advance)
    for folder in sorted({path.parent for path in files}):
        print_stage_line("export", str(folder))
    return 0
