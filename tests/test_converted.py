"""Converted networks in the cache: found again without Keras, never where anything differs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from gigaslide.models import (
    ARCHITECTURES,
    WEIGHTS,
    ModelCard,
    build_network,
    hash_weights,
    load_predictor,
    parameter_counts,
)
from gigaslide.models.converted import KEPT, find_converted, keep_converted
from gigaslide.wsi import InputSpec
from tiny_network import TINY

SPEC = InputSpec(patch_px=48, centre_px=16, mpps=(0.5,))
LOAD = """
import sys
from pathlib import Path
import numpy as np
from gigaslide.models import load_predictor
predictor = load_predictor(Path(sys.argv[1]))
np.save(sys.argv[2], predictor(np.load(sys.argv[3])))
print(predictor.runtime, "keras" in sys.modules, "tensorflow" in sys.modules)
"""


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("GIGASLIDE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def card_of(**changes) -> ModelCard:
    """Card of a network of which only the card exists."""
    facts = {
        "architecture": "compact",
        "input_spec": SPEC,
        "parameters": {},
        "training": {},
        "weights_sha256": "0" * 64,
    }
    return ModelCard(**{**facts, **changes})


def save_text(path: Path) -> None:
    path.write_text("network")
    path.with_suffix(".bin").write_text("numbers")


def test_a_second_start_needs_no_keras_and_gives_the_same_bits(tmp_path, cache):
    folder = tmp_path / "model"
    folder.mkdir()
    keras.utils.set_random_seed(3)
    network = build_network("compact", SPEC)
    network.save_weights(folder / WEIGHTS)
    card = card_of(weights_sha256=hash_weights(folder), parameters=parameter_counts(network))
    card.save(folder)
    patches = np.random.default_rng(0).integers(0, 256, (5, *SPEC.shape), dtype=np.uint8)
    np.save(tmp_path / "patches.npy", patches)
    first = load_predictor(folder)
    assert first.runtime == "openvino"
    command = [sys.executable, "-c", LOAD, str(folder), *(str(tmp_path / n) for n in ("s.npy",))]
    command.append(str(tmp_path / "patches.npy"))
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert again.stdout.split() == ["openvino", "False", "False"]
    assert np.array_equal(np.load(tmp_path / "s.npy"), first(patches))
    (kept,) = (cache / "openvino").iterdir()
    assert json.loads((kept / "recipe.json").read_text())["of"]["architecture"] == "compact"


@pytest.mark.parametrize(
    "changes",
    [
        {"weights_sha256": "1" * 64},
        {"options": {"shrink": 2}},
        {"input_spec": SPEC.model_copy(update={"patch_px": 64})},
        {"architecture": "efficientnet_lite0"},
    ],
)
def test_another_card_is_another_network(changes):
    keep_converted(card_of(), save_text)
    assert find_converted(card_of()) is not None
    assert find_converted(card_of(**changes)) is None


def test_another_library_or_other_code_is_another_network(monkeypatch):
    keep_converted(card_of(), save_text)
    for name in ("_version", "_hash_code"):
        with monkeypatch.context() as patch:
            patch.setattr(f"gigaslide.models.converted.{name}", lambda *_: "another")
            assert find_converted(card_of()) is None
    assert find_converted(card_of()) is not None


@pytest.mark.parametrize("name", ["network.xml", "network.bin", "recipe.json"])
@pytest.mark.parametrize("change", ["cut", "flip", "gone"])
def test_a_damaged_network_is_not_found_and_can_be_kept_again(cache, name, change):
    keep_converted(card_of(), save_text)
    (kept,) = (cache / "openvino").iterdir()
    content = (kept / name).read_bytes()
    changed = content[:-2] if change == "cut" else bytes([content[0] ^ 1, *content[1:]])
    (kept / name).write_bytes(changed)
    if change == "gone":
        (kept / name).unlink()
    assert find_converted(card_of()) is None
    keep_converted(card_of(), save_text)
    assert find_converted(card_of()) is not None


def test_the_cache_is_bounded_and_keeps_what_was_used_last(cache):
    cards = [card_of(weights_sha256=f"{n + 1:064}") for n in range(KEPT + 2)]
    for n, card in enumerate(cards):
        keep_converted(card, save_text)
        path = find_converted(card)
        assert path is not None
        os.utime(path.parent, (n, n))
    find_converted(cards[2])  # used now
    keep_converted(card_of(), save_text)
    found = [n for n, card in enumerate(cards) if find_converted(card) is not None]
    assert found == [2, *range(4, KEPT + 2)]
    assert len(list((cache / "openvino").iterdir())) == KEPT


def test_nothing_is_kept_where_that_is_not_possible_or_not_wished(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    for given in ("", str(tmp_path / "file")):
        monkeypatch.setenv("GIGASLIDE_CACHE", given)
        keep_converted(card_of(), save_text)
        assert find_converted(card_of()) is None


def test_networks_of_other_code_are_not_kept(monkeypatch, cache):
    monkeypatch.setitem(ARCHITECTURES, "compact", TINY)
    keep_converted(card_of(), save_text)
    assert not cache.exists()
