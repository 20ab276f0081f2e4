"""Batches of a sampler as Keras takes them."""

import keras
import numpy as np

from ..wsi import CLASSES
from .report.input_monitor import InputMonitor
from .sampler import Sampler

__all__ = ["BatchDataset", "one_hot"]

THREADS = 2  # decoding and OpenCV release the GIL
QUEUE = 4  # batches drawn ahead


class BatchDataset(keras.utils.PyDataset):
    """Batches `start` to `stop` - 1 of a sampler, in order, drawn ahead on threads."""

    def __init__(
        self,
        sampler: Sampler,
        *,
        start: int,
        stop: int,
        threads: int = THREADS,
        monitor: InputMonitor | None = None,
    ) -> None:
        super().__init__(workers=threads, use_multiprocessing=False, max_queue_size=QUEUE)
        self.sampler, self.start, self.stop = sampler, start, stop
        self.monitor = monitor
        self.problem: Exception | None = None
        """Error of a batch that could not be drawn, which Keras passes on without its cause."""

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw one batch: patches (N, scales, P, P, 3) uint8, and for each class whether a patch is
        of it: (N, classes) float32."""
        try:
            batch = self.sampler.draw(self.start + index)
        except Exception as error:
            self.problem = self.problem or error
            raise
        if self.monitor is not None:
            self.monitor.add(index, batch)
        return batch.patches, one_hot(batch.labels)


def one_hot(labels: np.ndarray) -> np.ndarray:
    """Class numbers (N,) to (N, classes) float32, 1 in the column of the class."""
    return np.eye(len(CLASSES), dtype=np.float32)[labels]
