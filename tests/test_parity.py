"""`gigaslide predict --compare exact`: the exact mode beside a fast one, and their parity."""

import json
from pathlib import Path

import keras
import pytest
from conftest import asap_xml, stained_slide, write_tiff
from gigaslide.cli import main
from gigaslide.models import ARCHITECTURES, WEIGHTS, ModelCard, build_network, hash_weights
from gigaslide.wsi import InputSpec
from tiny_network import TINY

SPEC = InputSpec(patch_px=75, centre_px=32, mpps=(0.5,))
QUICK = ["--stride-px", "64", "--mode", "fastest", "--runtime", "keras", "--allow-tumor-on-glass"]


@pytest.fixture(autouse=True)
def tiny(monkeypatch) -> None:
    monkeypatch.setitem(ARCHITECTURES, "tiny", TINY)


@pytest.fixture
def words(tmp_path, monkeypatch) -> list[str]:
    """Words of a fast prediction of two slides that another split has a third of."""
    monkeypatch.chdir(tmp_path)
    for seed in (1, 2):
        write_tiff(tmp_path / f"s{seed}.tif", stained_slide(seed)[:400, :500])
    keras.utils.set_random_seed(0)
    network = build_network("tiny", SPEC)
    Path("model").mkdir()
    network.save_weights(Path("model") / WEIGHTS)
    ModelCard(
        architecture="tiny",
        input_spec=SPEC,
        parameters={"all": 1},
        training={},
        weights_sha256=hash_weights(Path("model")),
    ).save(Path("model"))
    return ["predict", "cohort.csv", "model", "out", *QUICK, "--compare", "exact"]


def write_cohort(*labels: str) -> None:
    rows = [f"s{n},{label},test" for n, label in enumerate(labels, 1)]
    rows = [row.replace(",", ".tif,", 1) for row in rows]
    Path("cohort.csv").write_text("\n".join(["slide,label,split", *rows, "gone.tif,tumor,train"]))


def mode_of(folder: str) -> str:
    path = Path(folder, "s1", "heatmap.zarr", "zarr.json")
    return json.loads(path.read_text())["attributes"]["mode"]


def test_a_fast_mode_is_compared_with_the_exact_one(words, capsys):
    write_cohort("tumor", "normal")
    assert main(words) == 0
    assert (mode_of("out"), mode_of("out-exact")) == ("fastest", "exact")
    found = json.loads(Path("out-comparison", "comparison.json").read_text())
    assert found["names"] == ["out-exact", "out"]
    assert found["slides"] == ["s1", "s2"]
    assert found["heatmaps"]["cells"] > 30
    assert found["heatmaps"]["correlation"] < 1
    assert "slide_auc" in found["differences"]
    assert found["seconds"]["slides"] == 2
    capsys.readouterr()
    assert main(words) == 0  # nothing is predicted again
    assert capsys.readouterr().out.count("0 done, 2 skipped") == 2


def test_slides_without_labels_are_compared_by_their_heatmaps(words, capsys):
    write_cohort("", "")
    assert main(words) == 0
    assert not Path("out-comparison").exists()
    shown = capsys.readouterr().out
    assert "heatmaps: correlation 0." in shown
    assert "out-exact took" in shown


def test_the_exact_mode_is_not_compared_with_itself(words, capsys):
    write_cohort("tumor", "normal")
    assert main(["exact" if word == "fastest" else word for word in words]) == 1
    assert "--mode fast" in capsys.readouterr().err
    assert not Path("out").exists()


def test_annotation_groups_of_the_comparison_are_given_their_meaning(words, capsys):
    write_cohort("tumor", "normal")
    outline = asap_xml([("1", "Stroma", [(10, 10), (200, 10), (200, 200), (10, 200)])])
    Path("s1.xml").write_text(outline)
    table = Path("cohort.csv").read_text().splitlines()
    table = [f"{row},{'s1.xml' if row.startswith('s1') else ''}" for row in table[1:]]
    Path("cohort.csv").write_text("\n".join(["slide,label,split,annotation", *table]))
    comparison = Path("out-comparison", "comparison.json")
    assert main(words) == 2
    assert "group 'Stroma' means other" in capsys.readouterr().err
    assert json.loads(comparison.read_text())["slides"] == ["s2"]
    assert main([*words, "--groups.Stroma", "tumor"]) == 0
    assert json.loads(comparison.read_text())["slides"] == ["s1", "s2"]
    assert main([*words[:-2], "--groups.Stroma", "tumor"]) == 1
    assert "--compare exact" in capsys.readouterr().err
