"""Warnings of a logger, captured as text."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["capture_warnings"]


class _MessageHandler(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@contextmanager
def capture_warnings(name: str) -> Iterator[list[str]]:
    """Collect the warnings of a logger and its children, and keep them from other handlers."""
    logger, handler = logging.getLogger(name), _MessageHandler()
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    try:
        yield handler.messages
    finally:
        logger.setLevel(level)
        logger.propagate = propagate
        logger.removeHandler(handler)
