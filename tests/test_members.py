"""An ensemble from the command line: members trained one after another, continued, predicted,
evaluated."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from conftest import TUMOR_RINGS, geojson, stained_slide, write_tiff
from gigaslide.cli import main
from gigaslide.models import ARCHITECTURES, ENSEMBLE, Ensemble, ModelCard, load_network
from gigaslide.patching import PatchStore
from gigaslide.training import TrainSettings, train
from gigaslide.wsi import Heatmap
from tiny_network import TINY

SMALL = [
    *("--mpp", "0.5", "--tile.patch-px", "75", "--tile.centre-px", "32", "--tile.margin-px", "8"),
    *("--tile.tumor-per-slide", "20", "--tile.normal-per-slide", "20", "--workers", "0"),
    *("--train.examples", "48", "--train.batch-size", "16", "--train.validation-patches", "32"),
    *("--predict.orientations", "1", "--predict.stride-px", "96", "--predict.runtime", "keras"),
    *("--evaluate.resamples", "0", "--seed", "3"),
]


@pytest.fixture(scope="module", autouse=True)
def tiny():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ARCHITECTURES, "compact", TINY)
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> tuple[Path, list[str], int]:
    """A run with two members: its folder, its command, its exit status."""
    folder = tmp_path_factory.mktemp("run")
    rows = ["slide,annotation,label,patient,split,mpp"]
    for number, split in enumerate(("train", "validation", "test")):
        write_tiff(folder / f"{split}.tif", stained_slide(number))
        (folder / f"{split}.geojson").write_text(json.dumps(geojson(TUMOR_RINGS)))
        rows.append(f"{split}.tif,{split}.geojson,tumor,{split},{split},")
    (folder / "cohort.csv").write_text("\n".join(rows))
    command = ["run", str(folder / "cohort.csv"), str(folder / "out"), *SMALL]
    return folder / "out", command, main([*command, "--members", "2"])


def changed(folder: Path) -> dict[str, int]:
    return {
        path.relative_to(folder).as_posix(): path.stat().st_mtime_ns
        for path in folder.rglob("*.weights.h5")
    }


def are_equal(folder: Path, other: Path) -> bool:
    """Tell if two model folders have the same weights, bit for bit."""
    pair = (load_network(one, ModelCard.load(one)).get_weights() for one in (folder, other))
    return all(map(np.array_equal, *pair))


@pytest.mark.slow
def test_a_run_trains_predicts_and_evaluates_an_ensemble(run, capsys):
    out, command, status = run
    assert status == 0
    ensemble = Ensemble.load(out / "model")
    assert [folder.name for folder in ensemble.folders] == ["member_1", "member_2"]
    settings = [card.training["settings"] for card in ensemble.cards]
    assert [one["seed"] for one in settings] == [3, 4]
    assert ensemble.operating_threshold.origin.startswith("not chosen: 1 tumour")
    assert (out / "predictions" / "operating_threshold.json").exists()
    heatmap = Heatmap.load(out / "predictions" / "test" / "heatmap.zarr")
    assert heatmap.model_hash == ensemble.hash
    assert (heatmap.spread[heatmap.scored] > 0).any()
    before = changed(out / "model")
    assert main([*command, "--members", "2"]) == 0
    assert "train 2/2 unchanged" in capsys.readouterr().out
    assert changed(out / "model") == before


def test_a_member_is_trained_as_if_it_were_alone(run, tmp_path):
    out, _, _ = run
    member = out / "model" / "member_2"
    card = ModelCard.load(member)
    settings = TrainSettings(**{**card.training["settings"], "seed": 4, "members": 1})
    alone = train(PatchStore(out / "store"), tmp_path / "alone", settings)
    assert are_equal(member, tmp_path / "alone")
    assert not are_equal(member, out / "model" / "member_1")
    assert alone.best.validation_auc == card.training["best"]["validation_auc"]


@pytest.mark.slow
def test_members_are_added_and_a_missing_one_is_trained_again(run, capsys):
    out, command, _ = run
    model = out / "model"
    before, two = changed(model), Ensemble.load(model).hash
    assert main([*command, "--members", "3"]) == 0
    told = capsys.readouterr()
    assert "train 3/3 trained" in told.out
    assert re.search(r"patches/s, loss \d\.\d{3}", told.err)
    after = changed(model)
    assert {name: after[name] for name in before} == before
    ensemble = Ensemble.load(model)
    assert len(ensemble.folders) == 3
    assert ensemble.operating_threshold is not None
    assert ensemble.hash != two
    (model / "member_2").rename(model / "member_2.old-1")
    store, predictions = str(out / "store"), str(out.parent / "others")
    cohort = str(out.parent / "cohort.csv")
    assert main(["predict", cohort, str(model), predictions]) == 1
    assert "2 of 3 members" in capsys.readouterr().err
    options = [f"--{word}" for word in ("examples=48", "batch-size=16", "validation-patches=32")]
    assert main(["train", store, str(model), *options, "--seed=3", "--members=3"]) == 0
    assert are_equal(model / "member_2", model / "member_2.old-1")
    assert main(["train", store, str(model), *options, "--seed=3"]) == 1
    assert "3 members" in capsys.readouterr().err
    assert (model / ENSEMBLE).exists()
