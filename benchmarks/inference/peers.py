"""Speed of prediction against a tile classifier in PyTorch on the same windows of one slide, with
the same network: ratios of medians, rounds in turn.

    python -m venv peers && peers/bin/pip install torch==2.13.0 openslide-python openslide-bin
    python benchmarks/inference/peers.py peers/bin/python [--networks compact] [--rounds 3]

Install it outside gigaslide's environment; pip's CPU build of torch takes 200 MB to fetch. The loop
is that of WSInfer as its public description says (`torch_peer.py`), kinder in one thing: all
orientations of a window come from one read. Its network has the layers and weights of ours, and the
largest difference of the scores is printed. The slide has the network's µm/px, so nothing is
resized. TIAToolbox's loop is the same one with more around it, and it needs gigabytes: left out.
"""

import argparse
import json
import os
import subprocess
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from gigaslide.inference import PredictSettings, predict_slide
from gigaslide.inference.score import score_windows
from gigaslide.models import keep_large_buffers, load_predictor, prepare_keras
from gigaslide.wsi import open_slide
from prediction import (
    build_trained,
    cells_inside,
    find_corners,
    make_phantoms,
    save_model,
    take_turns,
    tell,
)

KEPT = {
    "Rescaling": ("scale", "offset"),
    "Conv2D": ("strides", "padding"),
    "BatchNormalization": ("epsilon",),
    "MaxPooling2D": ("pool_size", "strides", "padding"),
    "AveragePooling2D": ("pool_size", "strides", "padding"),
}
"""Facts of a layer that its kernel does not tell."""


class Peer:
    """The process of `torch_peer.py`."""

    def __init__(self, python: Path, folder: Path) -> None:
        program = Path(__file__).with_name("torch_peer.py")
        self.running = subprocess.Popen(
            [str(python), str(program), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, *words: object) -> float:
        assert self.running.stdin
        assert self.running.stdout
        self.running.stdin.write(" ".join(map(str, words)) + "\n")
        self.running.stdin.flush()
        return float(self.running.stdout.readline())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("python", type=Path, help="Python of the environment with torch")
    parser.add_argument("--networks", nargs="*", default=("compact", "inception_v3_small"))
    parser.add_argument("--cells", type=int, default=128, help="a multiple of 64 fills batches")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    keep_large_buffers()
    prepare_keras()
    with tempfile.TemporaryDirectory() as folder:
        (path,) = make_phantoms(Path(folder) / "slide", slides=1, size_px=3000)
        for name in arguments.networks:
            compare(Path(folder) / name, path, name, arguments)


def compare(folder: Path, path: Path, name: str, arguments: argparse.Namespace) -> None:
    model = save_model(folder, name)
    predictor = load_predictor(model)
    side = predictor.spec.patch_px
    with open_slide(path) as slide:
        heatmap = predict_slide(
            slide, predictor, PredictSettings(mode="fastest", first_pass="coarse"), slide_id="s"
        )
        heatmap.status[heatmap.scored] = 1
        cells = cells_inside(heatmap, side)[: arguments.cells]
        corners = find_corners(slide, predictor.spec, cells)
    write_network(build_trained(model, name), folder, patch_px=side)
    np.save(folder / "corners.npy", corners)
    peer = Peer(arguments.python, folder)
    batch = np.random.default_rng(0).integers(0, 256, (64, *predictor.spec.shape), dtype=np.uint8)
    for turns in (1, 8):
        calls = -(-len(cells) * turns // len(batch))
        ways: dict[str, Callable[[], Any]] = {
            "ours": partial(score, path, predictor, corners, turns),
            "peer": partial(peer.ask, "slide", turns, path),
            "our network": lambda n=calls: [predictor(batch) for _ in range(n)],
            "its network": partial(peer.ask, "alone", turns),
        }
        found = {way: run() for way, run in ways.items()}  # warms up
        difference = np.abs(found["ours"] - np.load(folder / "scores.npy")).max()
        took = take_turns(ways, arguments.rounds)
        tell(
            f"{name}, {len(cells)} cells, {turns} orientation(s): peer ÷ ours "
            f"{took['peer'] / took['ours']:.1f}; networks alone "
            f"{took['its network'] / took['our network']:.1f}; alone ÷ end to end: ours "
            f"{took['our network'] / took['ours']:.2f}, peer "
            f"{took['its network'] / took['peer']:.2f}; largest difference {difference:.1g}"
        )
    peer.running.communicate()


def score(path: Path, predictor: Any, corners: np.ndarray, orientations: Any) -> np.ndarray:
    settings = PredictSettings(orientations=orientations)
    threads = min(4, len(os.sched_getaffinity(0)))
    with open_slide(path) as slide:
        return score_windows(slide, corners, predictor, settings, threads=threads).probability


def write_network(network: Any, folder: Path, *, patch_px: int) -> None:
    """Write the layers of a Keras network, nested ones laid flat, and their weights."""
    layers: list[dict[str, Any]] = []
    weights: dict[str, np.ndarray] = {}
    _flatten(network, -1, layers, weights)
    content = {"patch_px": patch_px, "layers": layers}
    (folder / "network.json").write_text(json.dumps(content))
    np.savez(folder / "weights.npz", **weights)


def _flatten(
    network: Any, given: int, layers: list[dict[str, Any]], weights: dict[str, np.ndarray]
) -> int:
    """Append the layers of a network; return the number of the last one."""
    numbers: dict[str, int] = {}
    name = ""
    for item in network.get_config()["layers"]:
        name, kind = item["name"], item["class_name"]
        inputs = [numbers[source] for source in _sources(item["inbound_nodes"])]
        layer = network.get_layer(name)
        if kind == "InputLayer":
            numbers[name] = given
        elif kind == "Functional":
            numbers[name] = _flatten(layer, inputs[0], layers, weights)
        elif kind == "Reshape":
            numbers[name] = inputs[0]
        else:
            number = len(layers)
            arrays = _arrays(layer, kind)
            weights |= {f"{number}_{k}": array for k, array in enumerate(arrays)}
            facts = {fact: getattr(layer, fact) for fact in KEPT.get(kind, ())}
            kind = "Activation" if kind == "ReLU" else kind
            layers.append(
                {
                    "number": number,
                    "kind": kind,
                    "inputs": inputs,
                    "weights": len(arrays),
                    **facts,
                }
            )
            numbers[name] = number
    return numbers[name]


def _sources(node: Any) -> list[str]:
    """Names of the layers that a layer takes, in order."""
    if isinstance(node, dict):
        history = node.get("config", {}).get("keras_history")
        return [history[0]] if history else _sources(list(node.values()))
    return (
        [name for one in node for name in _sources(one)] if isinstance(node, list | tuple) else []
    )


def _arrays(layer: Any, kind: str) -> list[np.ndarray]:
    if kind != "BatchNormalization":
        return [np.asarray(array) for array in layer.get_weights()]
    mean, variance = np.asarray(layer.moving_mean), np.asarray(layer.moving_variance)
    gamma = np.ones_like(mean) if layer.gamma is None else np.asarray(layer.gamma)
    return [gamma, np.asarray(layer.beta), mean, variance]


if __name__ == "__main__":
    main()
