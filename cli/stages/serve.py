"""`gigaslide serve`: the models that it offers, and the work of its child process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ...batch import BatchSettings, Listener, describe_workers
from ...cohort import Cohort
from ...storage import LOCK, FolderLock, ModelError, SlideError, format_count
from ..terminal.progress import print_line, quiet_tensorflow

if TYPE_CHECKING:
    from ...serve import JobFacts, JobTask, ServedModel, ServerSettings

__all__ = ["JobOptions", "load_models", "predict_job", "serve_stage"]

OWN_SETTINGS = frozenset({"architecture", "splits", "runtime", "xla", "batch_size"})
"""Settings of a prediction that a request may not have: code to import, and this machine's."""
PATIENCE_S = 20.0
"""Time in which a cancelled job ends its workers: twice what a run gives its tasks."""


@dataclass(frozen=True, kw_only=True)
class JobOptions:
    """Options for computing the jobs of a server."""

    upload_bytes: int
    """Largest upload."""
    architecture: str = ""
    """Network of somebody's own, module:function."""
    batch: BatchSettings = field(default_factory=BatchSettings)
    """Workers or cluster for the jobs; by default the server's child process computes them."""

    @property
    def runs_elsewhere(self) -> bool:
        """Tell whether worker processes, here or on other machines, compute the jobs."""
        batch = self.batch
        return bool(batch.scheduler or batch.cluster or batch.workers or batch.gpus)


def serve_stage(
    folders: Sequence[Path],
    cohort: Cohort,
    out: Path,
    settings: ServerSettings,
    options: JobOptions,
) -> int:
    """Offer models until Ctrl+C."""
    from ...serve import (
        JobDesk,
        JobQueue,
        Listener,
        Uploads,
        Workspace,
        describe_link,
        end_on_sigterm,
        make_app,
        run_server,
        server_file,
    )

    models = load_models(folders, options.architecture)
    command = partial(predict_job, architecture=options.architecture, batch=options.batch)
    patience_s = PATIENCE_S if options.runs_elsewhere else 0.0
    out = out.absolute()  # workers may have been started in another folder
    lock = FolderLock(out / LOCK, clear=options.batch.clear_lock)
    try:
        with lock, end_on_sigterm(), ExitStack() as opened:
            queue = JobQueue(out, models, command, patience_s=patience_s)
            desk = JobDesk(queue, Uploads(out / "uploads", options.upload_bytes))
            workspace = Workspace(cohort=cohort, read_only=settings.read_only, desk=desk)
            listener = opened.enter_context(closing(Listener.open(settings)))
            names = ", ".join(models)
            print_line(f"{names}; {format_count(len(cohort), 'slide')}; the token is in this link:")
            for line in describe_link(listener):
                print_line(line)
            if options.runs_elsewhere:
                print_line(f"jobs run in {describe_workers(options.batch)}")
            opened.enter_context(server_file(out, listener.url))
            run_server(make_app(workspace, listener.access), listener)
    except KeyboardInterrupt:
        print_line("stopped")
    return 0


def load_models(folders: Sequence[Path], architecture: str = "") -> dict[str, ServedModel]:
    """Read the cards of models, by an id made of their folder's name.

    Raises:
        ModelError: a folder that is no model, two of one name, or a model of features.
    """
    from ...inference import PredictSettings
    from ...models import Ensemble
    from ...serve import ServedModel

    found: dict[str, ServedModel] = {}
    for given in folders:
        folder = given.resolve()
        ensemble = Ensemble.load(folder)
        ensemble.check_architecture(architecture)
        if ensemble.features is not None:
            raise ModelError(f"{given}: takes features, not pixels; jobs are for models of pixels")
        if folder.name in found:
            raise ModelError(f"{given}: another model is called {folder.name}; rename one folder")
        card = ensemble.cards[0].model_dump(mode="json")
        threshold = ensemble.operating_threshold
        card["operating_threshold"] = threshold and threshold.model_dump(mode="json")
        card["members"] = len(ensemble.folders)
        # The settings of a training hold paths of this machine.
        card.pop("training", None)
        found[folder.name] = ServedModel(
            id=folder.name,
            hash=ensemble.hash,
            folder=folder,
            card=card,
            settings=PredictSettings,
            own_settings=OWN_SETTINGS,
        )
    return found


def predict_job(
    task: JobTask,
    report: Callable[[str, int], None],
    *,
    architecture: str = "",
    batch: BatchSettings = BatchSettings(),
) -> JobFacts:
    """Predict the slide of a job as `gigaslide predict` does: in the server's child process, or
    from there by the workers that batch asks for."""
    from ...serve import JobFacts

    with quiet_tensorflow():
        from ...inference import ExportSettings, PredictSettings, export_predictions, predict_cohort

    settings = PredictSettings.model_validate({**task.settings, "architecture": architecture})
    slide = replace(task.slide, split="", label="", annotation=None)
    cohort = Cohort(slides=(slide,))
    summary = predict_cohort(
        cohort,
        task.model,
        task.folder,
        settings,
        batch.model_copy(update={"retry_failed": True}),
        listener=Listener(
            on_plan=lambda counts: report("plan", counts["windows"]),
            on_block=lambda counts: report("scored", counts["windows"]),
        ),
        within=task.within,
    )
    (outcome,) = summary.outcomes
    if outcome.status == "failed":
        raise SlideError(outcome.reason)
    wanted = ExportSettings(to=("geojson",), level=(min(settings.threshold, 0.999),))
    here = BatchSettings(workers=0, retry_failed=True)
    exported = export_predictions(task.folder, task.folder, wanted, here, slides=cohort)
    if exported.outcomes[0].status == "failed":
        raise SlideError(exported.outcomes[0].reason)
    counts = {name: int(count) for name, count in outcome.counts.items()}
    reason = outcome.reason
    if task.within is not None:
        reason = reason.replace("no tissue", "no cell with tissue has its centre in the region")
    return JobFacts(counts=counts, reason=reason)
