"""A network of the user's own: built from module:function, checked, and never imported unasked."""

import json
import re
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from conftest import TUMOR_RINGS, geojson, stained_slide, write_tiff
from gigaslide.cli import main
from gigaslide.cli.stages.run_settings import RunSettings
from gigaslide.models import (
    WEIGHTS,
    Ensemble,
    ModelCard,
    build_network,
    find_architecture,
    hash_weights,
    load_network,
    load_predictor,
    parameter_counts,
)
from gigaslide.storage import ModelError
from gigaslide.training import TrainSettings
from gigaslide.wsi import Heatmap, InputSpec

SPEC = InputSpec(patch_px=75, centre_px=32, mpps=(0.5,))
TWO_SCALES = SPEC.model_copy(update={"mpps": (0.5, 1.0)})
PATCHES = np.random.default_rng(0).integers(0, 256, (3, *SPEC.shape), dtype=np.uint8)
PAGE = Path(__file__).resolve().parents[1] / "docs" / "networks.md"
EXAMPLE = "my_network:build"
NETWORKS = """
import keras
from keras.layers import AveragePooling2D, Dense, Flatten, Rescaling, Reshape

def sequential(spec, options):
    layers = [Reshape(spec.shape[1:]), AveragePooling2D(25), Flatten(), Rescaling(1 / 255)]
    return keras.Sequential([keras.Input(spec.shape), *layers, Dense(2, activation="softmax")])

def two_inputs(spec, options):
    both = [keras.Input(spec.shape), keras.Input(spec.shape)]
    return keras.Model(both, Dense(2, activation="softmax")(Flatten()(both[0])))

def scaleless(spec, options):
    patches = keras.Input(spec.shape[1:])
    return keras.Model(patches, Dense(2, activation="softmax")(Flatten()(patches)))

def three_classes(spec, options):
    patches = keras.Input(spec.shape)
    return keras.Model(patches, Dense(3, activation="softmax")(Flatten()(patches)))

def logits(spec, options):
    patches = keras.Input(spec.shape)
    return keras.Model(patches, Dense(2)(Flatten()(patches)))

def nothing(spec, options):
    pass

def failing(spec, options):
    raise KeyError("depth")

class Subclassed(keras.Model):
    def call(self, patches):
        return patches

def subclassed(spec, options):
    return Subclassed()

NUMBER = 3
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    """A current folder with modules; what is imported from it is forgotten afterwards."""
    example = re.search(r"```python\n# (my_network\.py)\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / example[1]).write_text(example[2])
    (tmp_path / "networks.py").write_text(NETWORKS)
    (tmp_path / "canary.py").write_text(
        "import pathlib\npathlib.Path('sung').touch()\ndef build(spec, options): pass\n"
    )
    (tmp_path / "broken.py").write_text("import no_such_package\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in ("my_network", "networks", "canary", "broken"):
        sys.modules.pop(name, None)


def save_model(folder: Path, name: str, *, trusted: str = "") -> Path:
    """A model folder whose card names an architecture; compact's weights if it is not trusted."""
    folder.mkdir()
    keras.utils.set_random_seed(1)
    network = build_network(trusted or "compact", SPEC, trusted=trusted)
    network.save_weights(folder / WEIGHTS)
    ModelCard(
        architecture=name,
        input_spec=SPEC,
        parameters=parameter_counts(network),
        training={},
        weights_sha256=hash_weights(folder),
    ).save(folder)
    return folder


@pytest.mark.parametrize("name", [EXAMPLE, "networks:sequential"])
@pytest.mark.parametrize("runtime", ["keras", "openvino"])
def test_a_network_of_ones_own_is_saved_and_predicts(folder, name, runtime):
    made = save_model(folder / "model", name, trusted=name)
    predictor = load_predictor(made, runtime=runtime, architecture=name)
    keras.utils.set_random_seed(1)
    expected = np.asarray(build_network(name, SPEC, trusted=name)(PATCHES))
    np.testing.assert_allclose(predictor(PATCHES), expected, atol=1e-5)
    assert np.ptp(expected[:, 1]) > 1e-7


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("networks:scaleless", ["input", "(None, 75, 75, 3)", "(None, 1, 75, 75, 3)"]),
        ("networks:three_classes", ["output", "(None, 3)", "(None, 2)", "normal, tumor"]),
        ("networks:logits", ["sum is 1", "softmax"]),
        ("networks:two_inputs", ["2 inputs", "1 outputs"]),
        ("networks:nothing", ["NoneType", "keras.Model"]),
        ("networks:subclassed", ["Subclassed", "keras.Model(inputs, outputs)"]),
        ("networks:failing", ["KeyError", "depth", "(spec, options)"]),
        ("networks:NUMBER", ["no function NUMBER"]),
        ("networks:missing", ["no function missing", "networks.py"]),
        ("broken:build", ["broken", "no_such_package"]),
        ("nowhere:build", ["nowhere", "ModuleNotFoundError"]),
    ],
)
def test_a_network_that_does_not_fit_is_refused_with_the_reason(name, facts):
    with pytest.raises(ModelError) as caught:
        build_network(name, SPEC, trusted=name)
    assert all(fact in str(caught.value) for fact in [*facts, name.split(":")[0]])


def test_two_scales_need_a_network_that_takes_both():
    network = build_network(EXAMPLE, TWO_SCALES, trusted=EXAMPLE)
    assert network.input_shape == (None, *TWO_SCALES.shape)


def test_a_model_folder_never_makes_gigaslide_import_code(folder):
    made = save_model(folder / "model", "canary:build")
    for given in ("", "my_network:build", "canary:other"):
        with pytest.raises(ModelError, match="canary:build"):
            load_predictor(made, runtime="keras", architecture=given)
    with pytest.raises(ModelError, match="--architecture canary:build"):
        Ensemble.load(made).check_architecture("")
    with pytest.raises(ModelError, match="canary:build"):
        load_network(made, ModelCard.load(made))
    with pytest.raises(ModelError, match="canary:build"):
        build_network("canary:build", SPEC)
    find_architecture("canary:build")
    (folder / "slide.svs").write_bytes(b"x")
    assert main(["predict", "slide.svs", "model", "out"]) == 1
    assert main(["model", "info", "model"]) == 0
    assert main(["model", "check", "model"]) == 1
    assert main(["model", "export", "model", "exported", "--format", "openvino"]) == 1
    assert "canary" not in sys.modules
    assert not (folder / "sung").exists()
    with pytest.raises(ModelError, match="NoneType"):
        load_predictor(made, runtime="keras", architecture="canary:build")
    assert (folder / "sung").exists()


def test_an_architecture_that_no_model_has_is_refused(folder):
    made = save_model(folder / "model", "compact")
    with pytest.raises(ModelError, match=r"compact.*my_network:build"):
        load_predictor(made, runtime="keras", architecture=EXAMPLE)


def test_names_are_checked_before_anything_runs():
    for wrong in ("nonsense", "a:b:c", "a/b:c", ":build", "module:", "a:b()"):
        with pytest.raises(ValueError, match="architecture"):
            TrainSettings(architecture=wrong)
    run = RunSettings(train=TrainSettings(architecture=EXAMPLE))
    assert run.predict.architecture == EXAMPLE
    assert RunSettings(train=TrainSettings(architecture="Xception")).predict.architecture == ""


@pytest.mark.slow
def test_the_example_trains_continues_and_predicts(folder, capsys):
    rows = ["slide,annotation,label,patient,split,mpp"]
    for number, split in enumerate(("train", "validation")):
        write_tiff(folder / f"{split}.tif", stained_slide(number))
        (folder / f"{split}.geojson").write_text(json.dumps(geojson(TUMOR_RINGS)))
        rows.append(f"{split}.tif,{split}.geojson,tumor,{split},{split},")
    (folder / "cohort.csv").write_text("\n".join(rows))
    tiles = ["--mpp=0.5", "--patch-px=75", "--centre-px=32", "--margin-px=8", "--workers=0"]
    assert main(["tile", "cohort.csv", "store", *tiles, "--tumor-per-slide=16"]) == 0
    short = ["--batch-size=16", "--validation-patches=32", "--stain=none"]
    train = ["train", "store", "model", *short]
    own = f"--architecture={EXAMPLE}"
    assert main([*train, "--examples=32", own]) == 0
    assert ModelCard.load(folder / "model").architecture == EXAMPLE
    assert main([*train, "--examples=48"]) == 1
    assert f"--architecture {EXAMPLE}" in capsys.readouterr().err
    assert not (folder / "model.old-1").exists()
    assert main([*train, "--examples=48", own]) == 0
    assert main(["model", "check", "model"]) == 1
    assert main(["model", "check", "model", own]) in (0, 2)  # 2: it has learnt little
    capsys.readouterr()
    predict = ["predict", "cohort.csv", "model", "out", "--splits=train", "--stride-px=128"]
    assert main([*predict, "--orientations=1", "--workers=0"]) == 1
    assert EXAMPLE in capsys.readouterr().err
    allow = "--allow-tumor-on-glass"  # it has learnt little
    assert main([*predict, "--orientations=1", "--workers=0", own, allow]) == 0
    assert Heatmap.load(folder / "out" / "train" / "heatmap.zarr").scored.any()
