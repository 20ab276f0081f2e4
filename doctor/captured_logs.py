"""What is only logged, heard as words."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["heard"]


class _Words(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.words: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.words.append(record.getMessage())


@contextmanager
def heard(name: str) -> Iterator[list[str]]:
    """Warnings that the logger of this name and those below it give meanwhile; they go nowhere
    else."""
    logger, handler = logging.getLogger(name), _Words()
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    try:
        yield handler.words
    finally:
        logger.setLevel(before[0])
        logger.propagate = before[1]
        logger.removeHandler(handler)
