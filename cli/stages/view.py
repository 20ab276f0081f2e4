"""Commands that run a server, as far as they share it."""

from __future__ import annotations

import os
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ...cohort import Cohort
from ...storage import SettingsError, format_count
from ..terminal.progress import print_line

if TYPE_CHECKING:
    from ...serve import Listener, ServerSettings, Workspace

__all__ = ["view_stage"]


def view_stage(
    cohort: Cohort,
    predictions: Path | None,
    annotations: Path | None,
    annotator: str,
    settings: ServerSettings,
) -> int:
    """Show a cohort in a browser until Ctrl+C."""
    from ...annotate import AnnotationFolder
    from ...serve import Listener, Workspace, end_on_sigterm

    if predictions is not None and not predictions.is_dir():
        raise SettingsError(f"{predictions}: no such folder; give that of gigaslide predict")
    folder = None
    if annotations is not None:
        opened = AnnotationFolder.open if settings.read_only else AnnotationFolder.create
        folder = opened(annotations)
    workspace = Workspace(
        cohort=cohort,
        predictions=predictions,
        annotations=folder,
        annotator=annotator,
        read_only=settings.read_only,
    )
    try:
        with end_on_sigterm(), closing(Listener.open(settings)) as listener:
            _run(workspace, listener)
    except KeyboardInterrupt:
        print_line("stopped")
    return 0


def _run(workspace: Workspace, listener: Listener) -> None:
    """Tell the link, and serve until a signal."""
    from ...serve import (
        describe_link,
        link_page,
        make_app,
        open_browser,
        run_server,
        server_file,
    )

    settings, folder, started = listener.settings, workspace.annotations, None
    print_line(f"{format_count(len(workspace.cohort), 'slide')}; open this link:")
    for line in describe_link(listener):
        print_line(line)
    with ExitStack() as files:
        if folder is not None and workspace.can_save:
            files.enter_context(server_file(folder.path, listener.url))
        if settings.browser and not (settings.socket or os.environ.get("SSH_CONNECTION")):
            started = partial(open_browser, files.enter_context(link_page(listener.url)))
        run_server(make_app(workspace, listener.access), listener, started=started)
