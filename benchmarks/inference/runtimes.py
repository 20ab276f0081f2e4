"""Speed of the networks with Keras, OpenVINO and ONNX Runtime on this CPU: windows per CPU second
and per second, and how many times as long Keras takes. A runtime that is not installed is left out.

    python benchmarks/inference/runtimes.py [--batch 64] [--rounds 5]

Weights are random, which does not change the speed. The largest difference of a probability from
Keras's is printed beside.
"""

import argparse
import os
import statistics
import sys
import time
from contextlib import suppress

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from gigaslide.models import RUNTIMES, build_network, keep_large_buffers
from gigaslide.storage import ModelError
from gigaslide.wsi import InputSpec

NETWORKS = (("inception_v3_small", 139), ("inception_v3_small", 299), ("inception_v3", 299))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    keep_large_buffers()
    for name, side_px in NETWORKS:
        spec = InputSpec(patch_px=side_px, centre_px=side_px // 2, mpps=(0.5,))
        network = build_network(name, spec)
        network.compile()
        start = time.perf_counter()
        runtimes = {}
        for runtime, begin in RUNTIMES.items():
            with suppress(ModelError):
                runtimes[runtime] = begin(network, None)
        seconds = time.perf_counter() - start
        windows = np.random.default_rng(0).integers(
            0, 256, (arguments.batch, *spec.shape), dtype=np.uint8
        )
        found = {name: np.asarray(run(windows)) for name, run in runtimes.items()}  # compiles, too
        took: dict[str, list[tuple[float, float]]] = {runtime: [] for runtime in runtimes}
        for _ in range(arguments.rounds):
            for runtime, run in runtimes.items():
                clock, cpu = time.perf_counter(), time.process_time()
                run(windows)
                took[runtime].append((time.perf_counter() - clock, time.process_time() - cpu))
        clocks, cpus = (
            {
                runtime: statistics.median(pair[which] for pair in pairs)
                for runtime, pairs in took.items()
            }
            for which in (0, 1)
        )
        sys.stdout.write(f"{name}, {side_px} px (converted in {seconds:.0f} s)\n")
        for runtime in runtimes:
            rates = arguments.batch / clocks[runtime], arguments.batch / cpus[runtime]
            ratios = clocks["keras"] / clocks[runtime], cpus["keras"] / cpus[runtime]
            difference = np.abs(found[runtime] - found["keras"]).max()
            sys.stdout.write(
                f"  {runtime:<9}{rates[0]:7.1f} windows/s ({ratios[0]:.2f} ×){rates[1]:7.1f} "
                f"windows per CPU second ({ratios[1]:.2f} ×)  largest difference {difference:.1g}\n"
            )


if __name__ == "__main__":
    main()
