"""Make the weights of an encoder that learnt from patches of another organ: PatchCamelyon.

The network begins with weights of photographs, or with random ones, and learns to tell lymph-node
patches with metastasis from others. A fifth of the patches is kept aside and scored; the patches
have no patients, so that figure flatters.

    python benchmarks/studies/pcam_weights.py pcam_2000.npz out.weights.h5 --initial-weights FILE
"""

import argparse
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
from gigaslide.models import build_network, fill_network
from gigaslide.wsi import ORIENTATIONS, InputSpec, orient
from scipy.stats import mannwhitneyu

PATCH_PX, TUMOR_PX, MPP = 96, 32, 0.97
BATCH, RATE, KEPT_ASIDE = 32, 3e-4, 5


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("patches", type=Path, help="an .npz file: data, offset, label")
    parser.add_argument("out", type=Path, help="a .weights.h5 file")
    parser.add_argument("--architecture", default="efficientnet_lite0")
    parser.add_argument("--initial-weights", default="", help="default: random")
    parser.add_argument("--steps", type=int, default=300, help="optimiser steps of 32 patches")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    patches, is_tumor = read_patches(arguments.patches)
    keras.utils.set_random_seed(arguments.seed)
    spec = InputSpec(patch_px=PATCH_PX, centre_px=TUMOR_PX, mpps=(MPP,))
    options = {"dropout": 0.3, "batch_norm_momentum": 0.9}
    network: Any = build_network(arguments.architecture, spec, options)
    if arguments.initial_weights:
        fill_network(network, arguments.architecture, arguments.initial_weights)
    rate = keras.optimizers.schedules.CosineDecay(RATE, arguments.steps)
    network.compile(
        keras.optimizers.AdamW(rate, weight_decay=0.01), loss="categorical_crossentropy"
    )
    rng = np.random.default_rng(arguments.seed)
    aside = np.arange(len(patches)) % KEPT_ASIDE == 0
    batches = draw_batches(patches[~aside], is_tumor[~aside], rng)
    for step in range(arguments.steps):
        images, wanted = next(batches)
        loss = network.train_on_batch(images, wanted)
        if (step + 1) % 50 == 0:
            print(f"{step + 1} steps: mean loss {float(np.ravel(loss)[0]):.3f}", flush=True)
    scores = network.predict(patches[aside][:, None], batch_size=BATCH, verbose=0)[:, 1]
    network.save_weights(arguments.out)
    print(f"{arguments.out}: AUC {roc_auc(scores, is_tumor[aside]):.3f} of {aside.sum()} patches")


def roc_auc(scores: np.ndarray, is_tumor: np.ndarray) -> float:
    """Area under the ROC curve, as the share of pairs in the right order."""
    higher = mannwhitneyu(scores[is_tumor], scores[~is_tumor]).statistic
    return float(higher / (is_tumor.sum() * (~is_tumor).sum()))


def read_patches(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read patches (N, 96, 96, 3) uint8 RGB, and (N,) bool: tumour in the centre."""
    with np.load(path) as file:
        data, offset, label = file["data"], file["offset"].astype(int), file["label"]
    found = [cv2.imdecode(data[first:end], cv2.IMREAD_COLOR) for first, end in pairwise(offset)]
    return np.stack(found)[..., ::-1], label.astype(bool)


def draw_batches(
    patches: np.ndarray, is_tumor: np.ndarray, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield batches without end: (B, 1, P, P, 3), and (B, 2) float32 of 0 and 1."""
    while True:
        chosen = rng.choice(len(patches), BATCH, replace=False)
        turned = [orient(patches[row], int(rng.integers(ORIENTATIONS))) for row in chosen]
        yield np.stack(turned)[:, None], np.eye(2, dtype=np.float32)[is_tumor[chosen].astype(int)]


if __name__ == "__main__":
    main()
