"""CPU seconds of a training step of the small network, without and with `keep_large_buffers`, in
one process.

    python benchmarks/training/allocator.py
"""

import os
import resource
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from gigaslide.models import build_network, keep_large_buffers
from gigaslide.wsi import InputSpec

PATCH_PX, BATCH, STEPS = 299, 32, 4


def cpu_seconds() -> np.ndarray:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return np.array([usage.ru_utime, usage.ru_stime])


def main() -> None:
    spec = InputSpec(patch_px=PATCH_PX, centre_px=128, mpps=(0.25,))
    network = build_network("inception_v3_small", spec)
    network.compile(
        keras.optimizers.RMSprop(0.05, epsilon=1.0, momentum=0.9), "sparse_categorical_crossentropy"
    )
    patches = np.random.default_rng(0).integers(0, 256, (BATCH, *spec.shape), dtype=np.uint8)
    labels = np.arange(BATCH) % 2

    def per_step() -> np.ndarray:
        start = cpu_seconds()
        for _ in range(STEPS):
            network.train_on_batch(patches, labels)
        return (cpu_seconds() - start) / STEPS

    per_step()  # compiles
    before = per_step()
    keep_large_buffers()
    per_step()  # fills the heap
    after = per_step()
    for name, (user, system) in (("before", before), ("after", after)):
        sys.stdout.write(
            f"{name:<8}{user:6.2f} s user {system:6.2f} s system a step of {BATCH} patches\n"
        )
    sys.stdout.write(f"ratio   {before.sum() / after.sum():6.2f}\n")


if __name__ == "__main__":
    main()
