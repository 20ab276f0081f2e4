"""Converted networks in the cache: found again without Keras, never where anything differs."""

import hashlib
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
    TOLERANCES,
    WEIGHTS,
    ModelCard,
    build_network,
    hash_weights,
    load_dense_predictor,
    load_predictor,
    parameter_counts,
)
from gigaslide.models.dense.load import convert_dense
from gigaslide.models.runtimes.apart import convert_apart
from gigaslide.models.runtimes.converted import KEPT, find_converted, keep_converted
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


def save_model(folder: Path) -> Path:
    folder.mkdir()
    keras.utils.set_random_seed(3)
    network = build_network("compact", SPEC)
    network.save_weights(folder / WEIGHTS)
    card = card_of(weights_sha256=hash_weights(folder), parameters=parameter_counts(network))
    card.save(folder)
    return folder


def test_a_second_start_needs_no_keras_and_gives_the_same_bits(tmp_path, cache):
    folder = save_model(tmp_path / "model")
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


@pytest.mark.slow
def test_a_first_start_leaves_keras_to_another_process(tmp_path, cache):
    folder = tmp_path / "model"
    folder.mkdir()
    network = build_network("compact", SPEC)
    network.save_weights(folder / WEIGHTS)
    card_of(weights_sha256=hash_weights(folder), parameters=parameter_counts(network)).save(folder)
    patches = np.random.default_rng(0).integers(0, 256, (5, *SPEC.shape), dtype=np.uint8)
    np.save(tmp_path / "patches.npy", patches)
    words = (folder, tmp_path / "s.npy", tmp_path / "patches.npy")
    command = [sys.executable, "-c", LOAD, *map(str, words)]
    first = subprocess.run(command, capture_output=True, text=True, check=True)
    assert first.stdout.split() == ["openvino", "False", "False"]
    assert len(list((cache / "openvino").iterdir())) == 1
    np.testing.assert_allclose(np.load(tmp_path / "s.npy"), network(patches), atol=1e-5)


def test_a_network_is_converted_here_where_no_other_process_can(monkeypatch):
    calls = []

    def fail(command: list[str]) -> tuple[int, str]:
        calls.append(command)
        return 1, "no memory"

    monkeypatch.setattr("gigaslide.models.runtimes.apart._run", fail)
    arguments = {"folder": "m", "stride_px": 16, "runtime": "auto"}
    assert not convert_apart(convert_dense, card_of(), **arguments)
    assert not calls  # Keras is loaded here: a process of its own would save nothing
    monkeypatch.delitem(sys.modules, "keras")
    assert not convert_apart(convert_dense, card_of(), **arguments)
    assert json.loads(calls[0][-1])[1:] == ["convert_dense", arguments]
    monkeypatch.setenv("GIGASLIDE_CACHE", "")
    assert not convert_apart(convert_dense, card_of(), **arguments)
    assert len(calls) == 1  # nothing would be left of it


def tamper(kept: Path) -> None:
    """Shrink the numbers of a kept network, and make its checksums fit."""
    numbers = np.frombuffer((kept / "network.bin").read_bytes(), np.float32)
    size = np.abs(numbers)  # not those of shapes, whole numbers that look tiny
    changed = np.where((size > 1e-9) & (size < 1), numbers * np.float32(0.9), numbers)
    (kept / "network.bin").write_bytes(changed.tobytes())
    recipe = json.loads((kept / "recipe.json").read_text())
    recipe["sha256"]["network.bin"] = hashlib.sha256(changed.tobytes()).hexdigest()
    (kept / "recipe.json").write_text(json.dumps(recipe))


@pytest.mark.parametrize("is_dense", [False, True])
def test_a_kept_network_that_computes_something_else_is_converted_again(
    tmp_path, cache, caplog, is_dense
):
    folder = save_model(tmp_path / "model")

    def load(threads: int):  # another number of threads is another predictor
        if is_dense:
            return load_dense_predictor(folder, stride_px=16, threads=threads)
        return load_predictor(folder, threads=threads)

    first = load(1)
    assert 0 < first.difference <= TOLERANCES["float32"]
    (kept,) = (cache / "openvino").iterdir()
    tamper(kept)
    before = hashlib.sha256((kept / "network.bin").read_bytes()).hexdigest()
    again = load(2)
    assert "differ from Keras's by" in caplog.text
    assert again.runtime == "openvino"
    assert again.difference <= TOLERANCES["float32"]
    (kept,) = (cache / "openvino").iterdir()
    assert hashlib.sha256((kept / "network.bin").read_bytes()).hexdigest() != before
    caplog.clear()
    assert load(3).difference <= TOLERANCES["float32"]  # measured again
    assert not caplog.text


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
            patch.setattr(f"gigaslide.models.runtimes.converted.{name}", lambda *_: "another")
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
