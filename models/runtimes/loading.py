"""Loading of models, by one thread at a time: it sets what the whole process shares."""

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["LOADING", "refuse_partial_weights", "without_telemetry"]

LOADING = threading.RLock()
"""Held by whoever loads or converts a model. Threads that ask for the same one load it once."""
SAVING = r"keras\.src\.saving\."
"""Modules of Keras whose warnings tell of a layer that stays as it was."""


@contextmanager
def refuse_partial_weights() -> Iterator[None]:
    """Raise, instead of warning, where Keras leaves a layer as it was.

    Filters of warnings are those of the process: only Keras's modules of saving, which nothing but
    a loader calls, are concerned.
    """
    with LOADING, warnings.catch_warnings():
        warnings.filterwarnings("error", category=UserWarning, module=SAVING)
        yield


@contextmanager
def without_telemetry() -> Iterator[None]:
    """Keep OpenVINO's converter from reporting its use to its maker, as it does outside a CI."""
    with LOADING:
        before = os.environ.get("CI")
        os.environ["CI"] = "true"
        try:
            yield
        finally:
            if before is None:
                os.environ.pop("CI", None)
            else:
                os.environ["CI"] = before
