"""The same networks through Keras and through OpenVINO on this CPU: windows per CPU second and by
the clock, the ratio.

    python benchmarks/predicting.py [--batch 64] [--rounds 5]

Weights are random, which does not change the speed. The largest difference of a probability is
printed beside.
"""

import argparse
import os
import statistics
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from gigaslide.models import build_classifier, keep_large_buffers
from gigaslide.models.on_cpu import on_cpu

NETWORKS = (("small", 139), ("small", 299), ("full", 299))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    keep_large_buffers()
    for width, side_px in NETWORKS:
        network = build_classifier(width=width, patch_px=side_px)
        network.compile()
        start = time.perf_counter()
        engines = {"Keras": network.predict_on_batch, "OpenVINO": on_cpu(network)}
        seconds = time.perf_counter() - start
        windows = np.random.default_rng(0).integers(
            0, 256, (arguments.batch, side_px, side_px, 3), dtype=np.uint8
        )
        first, second = (
            np.asarray(engine(windows)) for engine in engines.values()
        )  # compiles, too
        took: dict[str, list[tuple[float, float]]] = {name: [] for name in engines}
        for _ in range(arguments.rounds):
            for name, engine in engines.items():
                clock, cpu = time.perf_counter(), time.process_time()
                engine(windows)
                took[name].append((time.perf_counter() - clock, time.process_time() - cpu))
        clocks, cpus = (
            {name: statistics.median(pair[which] for pair in pairs) for name, pairs in took.items()}
            for which in (0, 1)
        )
        sys.stdout.write(f"{width}, {side_px} px (converted in {seconds:.0f} s)\n")
        for name in engines:
            rates = arguments.batch / clocks[name], arguments.batch / cpus[name]
            sys.stdout.write(
                f"  {name:<9}{rates[0]:7.1f} windows/s{rates[1]:7.1f} windows per CPU second\n"
            )
        ratios = clocks["Keras"] / clocks["OpenVINO"], cpus["Keras"] / cpus["OpenVINO"]
        sys.stdout.write(f"  ratio    {ratios[0]:7.2f} {ratios[1]:17.2f}    largest difference ")
        sys.stdout.write(f"{np.abs(first - second).max():.1g}\n")


if __name__ == "__main__":
    main()
