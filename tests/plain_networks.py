"""A small network whose dense pass equals its windows, and a slide for it."""

from pathlib import Path

import numpy as np
import pytest
from conftest import stained_slide, write_tiff
from gigaslide.models import (
    ARCHITECTURES,
    WEIGHTS,
    Architecture,
    ModelCard,
    build_network,
    hash_weights,
)
from gigaslide.wsi import InputSpec

SIDE, CENTRE = 71, 32


def tower(pixels, _options, suffix):
    """No padding, and features whose middle is that of a patch of 71 px: dense equals exact."""
    import keras  # not earlier: it takes seconds

    x = keras.layers.Rescaling(1 / 127.5, offset=-1, name=f"scaled{suffix}")(pixels)
    x = keras.layers.Conv2D(6, 7, strides=4, activation="relu", name=f"first{suffix}")(x)
    return keras.layers.Conv2D(8, 3, strides=2, activation="relu", name=f"last{suffix}")(x)


@pytest.fixture
def plain_network(monkeypatch) -> None:
    found = Architecture(
        tower=tower, min_patch_px=SIDE, preprocessing="", parameters=1, windows_per_s=1.0
    )
    monkeypatch.setitem(ARCHITECTURES, "plain", found)


def write_network(folder: Path, *, seed: int = 0, mpps=(0.5,), stain=None) -> Path:
    import keras

    keras.utils.set_random_seed(seed)
    spec = InputSpec(patch_px=SIDE, centre_px=CENTRE, mpps=mpps, stain=stain)
    network = build_network("plain", spec)
    head = network.get_layer("classifier")
    head.set_weights([head.get_weights()[0] * 6, np.zeros(2)])
    folder.mkdir(parents=True)
    network.save_weights(folder / WEIGHTS)
    ModelCard(
        architecture="plain",
        input_spec=spec,
        parameters={"all": 1},
        training={},
        weights_sha256=hash_weights(folder),
    ).save(folder)
    return folder


def write_networks(folder: Path, kind: str) -> list[Path]:
    """Model folders of a kind of model."""
    if kind == "ensemble":
        return [write_network(folder / str(seed), seed=seed) for seed in (1, 2)]
    facts = {"scales": {"mpps": (0.5, 1.0)}, "stain": {"stain": "reinhard"}}.get(kind, {})
    return [write_network(folder / "m", **facts)]


@pytest.fixture(scope="module")
def plain_slide(tmp_path_factory) -> Path:
    pixels = stained_slide(1)[100:480, 100:632]
    sizes = ((266, 190),)
    return write_tiff(tmp_path_factory.mktemp("slide") / "s.tif", pixels, level_sizes=sizes)
