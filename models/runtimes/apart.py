"""Conversion of a network in a process of its own, whose memory the system has back when it
ends."""

import json
import logging
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Any

from ..card import ModelCard
from .backend import choose_backend
from .converted import is_kept

__all__ = ["convert_apart"]

logger = logging.getLogger(__name__)

POLL_S = 0.2  # between two looks at the process
PROGRAM = f"from {__name__} import convert_here; convert_here()"


def convert_apart(convert: Callable[..., Any], card: ModelCard, **arguments: Any) -> bool:
    """Call a function of a module, which converts the network of a card and keeps it in the cache,
    in a new process; True if it succeeded. arguments: plain JSON.

    Keras, its backend and the network stay in memory as long as a process: 2.4 GB for both forms of
    InceptionV3. Nothing happens where they are here anyway, or where the network cannot be kept.
    """
    if "keras" in sys.modules or not is_kept(card) or choose_backend() == "jax":
        return False
    call = json.dumps([convert.__module__, convert.__name__, arguments])
    command = [sys.executable, "-c", PROGRAM, call]
    status, told = _run(command)
    if status:
        logger.info("the network is converted here; another process failed: %s", told)
    return status == 0


def _run(command: list[str]) -> tuple[int, str]:
    """Run a command; return its exit status and what it wrote to standard error.

    It is killed if this thread is interrupted, which takes effect between two waits.
    """
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            while True:
                with suppress(subprocess.TimeoutExpired):
                    _, told = process.communicate(timeout=POLL_S)
                    return process.returncode, told
        except BaseException:
            process.kill()
            process.wait()
            raise


def convert_here() -> None:
    """Make the call of `convert_apart` in its process."""
    from .backend import prepare_keras

    prepare_keras()
    module, name, arguments = json.loads(sys.argv[1])
    getattr(import_module(module), name)(**arguments)
