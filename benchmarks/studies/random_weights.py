"""Make a random network whose features are not all zero, as a baseline for pretrained encoders.

A random network without statistics in its normalisation layers has features too small for float16.
They are set here on every eighth window of every sixth slide; no label is used.

    python benchmarks/studies/random_weights.py cohort.csv features random.weights.h5
"""

import argparse
from pathlib import Path

import keras
import numpy as np
from gigaslide.cohort import Cohort
from gigaslide.models import ARCHITECTURES, build_network
from gigaslide.wsi import InputSpec, SlideFeatures, open_slide

SLIDES, WINDOWS, MOST = 6, 8, 64


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cohort", type=Path)
    parser.add_argument("features", type=Path, help="features of the cohort: where the windows are")
    parser.add_argument("out", type=Path, help="a .weights.h5 file")
    parser.add_argument(
        "--architecture", default="efficientnet_lite0", choices=sorted(ARCHITECTURES)
    )
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    patch_px, mpp, windows = read_windows(arguments.cohort, arguments.features)
    keras.utils.set_random_seed(arguments.seed)
    spec = InputSpec(patch_px=patch_px, centre_px=patch_px // 2, mpps=(mpp,))
    network = build_network(arguments.architecture, spec)
    spread = set_statistics(network, windows)
    network.save_weights(arguments.out)
    print(
        f"{arguments.out}: statistics of {len(windows)} windows, deviation of scores {spread:.3g}"
    )


def read_windows(cohort: Path, features: Path) -> tuple[int, float, np.ndarray]:
    """Read patch side (px), µm/px and some windows (N, P, P, 3) float32."""
    found, side, mpp = [], 0, 0.0
    for slide in list(Cohort.load(cohort))[::SLIDES]:
        positions = SlideFeatures.load(features / f"{slide.id}.zarr")
        side, mpp = positions.patch_px, positions.mpp
        with open_slide(slide.path, mpp=slide.mpp) as opened:
            chosen = positions.xy[::WINDOWS]
            found += [window for _, window in opened.read_windows(chosen, size=side, mpp=mpp)]
    return side, mpp, np.stack(found[:MOST]).astype(np.float32)


def set_statistics(network: keras.Model, windows: np.ndarray) -> float:
    """Set the means and variances of all normalisation layers; return the scores' deviation."""
    for layer in network._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    inputs = windows[:, None]
    for _ in range(2):
        network(inputs, training=True)
    return float(np.asarray(network(inputs, training=False)).std())


if __name__ == "__main__":
    main()
