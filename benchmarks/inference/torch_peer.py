"""A tile classifier in PyTorch, run by `peers.py` in an environment of its own.

    python benchmarks/inference/torch_peer.py FOLDER

The loop is that of WSInfer's documentation: a DataLoader over coordinates, whose workers read each
patch by OpenSlide's `read_region`; a network in eval mode under `inference_mode`. FOLDER holds
network.json (its layers), weights.npz and corners.npy. A command a line: `slide ORIENTATIONS PATH`
or `alone ORIENTATIONS`; each is answered by its seconds.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import torch  # pyright: ignore[reportMissingImports]
from torch import nn  # pyright: ignore[reportMissingImports]
from torch.nn import functional as F  # pyright: ignore[reportMissingImports]  # noqa: N812

BATCH, WORKERS = 64, 2


class Patches(torch.utils.data.Dataset):
    """Patches of a slide by their corners; all orientations of one from a single read."""

    def __init__(self, path: str, corners: np.ndarray, side: int, orientations: int) -> None:
        self.path, self.corners, self.side, self.orientations = path, corners, side, orientations
        self.slide: Any = None

    def __len__(self) -> int:
        return len(self.corners)

    def __getitem__(self, number: int) -> Any:
        self.slide = self.slide or openslide.OpenSlide(self.path)
        x, y = self.corners[number].tolist()
        image = self.slide.read_region((x, y), 0, (self.side, self.side)).convert("RGB")
        pixels = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float()
        turns = [torch.rot90(pixels, turn, (1, 2)) for turn in range(4)]
        turns += [torch.flip(one, (2,)) for one in turns]
        return torch.stack(turns[: self.orientations])


class Network(nn.Module):
    """A network of the layers that `peers.py` writes."""

    def __init__(self, layers: list[dict[str, Any]], weights: Any) -> None:
        super().__init__()
        self.layers, self.parts = layers, nn.ModuleDict()
        for layer in layers:
            number = str(layer["number"])
            given = [torch.from_numpy(weights[f"{number}_{k}"]) for k in range(layer["weights"])]
            if layer["kind"] == "Conv2D":
                kernel = given[0].permute(3, 2, 0, 1).contiguous()
                filters, channels, rows, columns = kernel.shape
                same = layer["padding"] == "same"
                conv = nn.Conv2d(
                    channels,
                    filters,
                    (rows, columns),
                    stride=tuple(layer["strides"]),
                    padding=(rows // 2, columns // 2) if same else 0,
                    bias=False,
                )
                conv.weight.data = kernel
                self.parts[number] = conv
            elif layer["kind"] == "BatchNormalization":
                gamma, beta, mean, variance = given
                norm = nn.BatchNorm2d(len(mean), eps=layer["epsilon"])
                norm.weight.data, norm.bias.data = gamma, beta
                norm.running_mean, norm.running_var = mean, variance
                self.parts[number] = norm
            elif layer["kind"] == "Dense":
                dense = nn.Linear(*given[0].shape)
                dense.weight.data, dense.bias.data = given[0].T.contiguous(), given[1]
                self.parts[number] = dense

    def forward(self, pixels: Any) -> Any:
        found = {-1: pixels}
        for layer in self.layers:
            inputs = [found[number] for number in layer["inputs"]]
            found[layer["number"]] = self.compute(layer, inputs)
        return found[self.layers[-1]["number"]]

    def compute(self, layer: dict[str, Any], inputs: list[Any]) -> Any:
        kind, x = layer["kind"], inputs[0]
        if kind == "Rescaling":
            return x * layer["scale"] + layer["offset"]
        if kind == "Activation":
            return F.relu(x, inplace=True)
        if kind == "Concatenate":
            return torch.cat(inputs, 1)
        if kind == "GlobalAveragePooling2D":
            return x.mean((2, 3))
        pad = layer.get("pool_size", [0])[0] // 2 if layer.get("padding") == "same" else 0
        if kind == "MaxPooling2D":
            return F.max_pool2d(x, layer["pool_size"], layer["strides"], pad)
        if kind == "AveragePooling2D":
            size, strides = layer["pool_size"], layer["strides"]
            return F.avg_pool2d(x, size, strides, pad, count_include_pad=False)
        y = self.parts[str(layer["number"])](x)
        return torch.softmax(y, 1) if kind == "Dense" else y


def main() -> None:
    folder = Path(sys.argv[1])
    described = json.loads((folder / "network.json").read_text())
    network = Network(described["layers"], np.load(folder / "weights.npz")).eval()
    corners, side = np.load(folder / "corners.npy"), described["patch_px"]
    for line in sys.stdin:
        what, orientations, *path = line.split()
        start = time.perf_counter()
        with torch.inference_mode():
            if what == "alone":
                score_noise(network, len(corners) * int(orientations), side)
            else:
                scores = score_slide(network, path[0], corners, side, int(orientations))
                np.save(folder / "scores.npy", scores)
        sys.stdout.write(f"{time.perf_counter() - start}\n")
        sys.stdout.flush()


def score_slide(
    network: Network, path: str, corners: np.ndarray, side: int, orientations: int
) -> np.ndarray:
    patches = Patches(path, corners, side, orientations)
    loader = torch.utils.data.DataLoader(
        patches, batch_size=BATCH // orientations, num_workers=WORKERS
    )
    found = []
    for batch in loader:
        scores = network(batch.flatten(0, 1))[:, 1].reshape(-1, orientations)
        found.append(scores.mean(1).numpy())
    return np.concatenate(found)


def score_noise(network: Network, count: int, side: int) -> None:
    batch = torch.randint(0, 256, (BATCH, 3, side, side)).float()
    for _ in range(-(-count // BATCH)):
        network(batch)


if __name__ == "__main__":
    main()
