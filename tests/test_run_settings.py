"""Settings of `gigaslide run`: those that stages share, and those of one stage."""

from command_lines import write_cohort
from gigaslide.cli import main
from gigaslide.cli.stages.run_settings import (
    STAGES,
    RunSettings,
)
from gigaslide.eval import EvaluateSettings
from gigaslide.inference import PredictSettings
from gigaslide.wsi import TissueSettings


def test_shared_settings_reach_every_stage_that_has_them():
    grey = TissueSettings(method="grey")
    settings = RunSettings(
        mpp=0.4,
        slide_mpp=0.25,
        allow_upsampling=True,
        tissue=grey,
        min_tissue=0.3,
        groups={"Krebs": "tumor"},
        seed=3,
        predict=PredictSettings(threshold=0.7),
    )
    tile, predict, evaluate = settings.tile, settings.predict, settings.evaluate
    for stage in (tile, predict):
        assert (stage.slide_mpp, stage.allow_upsampling) == (0.25, True)
        assert (stage.tissue, stage.min_tissue) == (grey, 0.3)
    assert predict.threshold == 0.7
    assert tile.mpp == 0.4
    assert (tile.groups, evaluate.groups) == ({"Krebs": "tumor"}, {"Krebs": "tumor"})
    assert (tile.seed, evaluate.seed, settings.train.seed) == (3, 3, 3)


def test_a_setting_of_a_stage_wins_even_where_it_is_the_default():
    settings = RunSettings(
        min_tissue=0.3,
        slide_mpp=0.25,
        seed=3,
        tissue=TissueSettings(method="grey"),
        predict=PredictSettings(min_tissue=0.5, tissue={"mpp": 4}),
        evaluate=EvaluateSettings(seed=0),
    )
    assert (settings.predict.min_tissue, settings.predict.slide_mpp) == (0.5, 0.25)
    assert settings.predict.tissue == TissueSettings(method="grey", mpp=4)
    assert (settings.evaluate.seed, settings.train.seed) == (0, 3)


def test_shared_settings_have_the_defaults_of_every_stage():
    shared = {name: getattr(RunSettings(), name) for name in RunSettings.model_fields}
    shared = {name: value for name, value in shared.items() if name not in STAGES}
    assert RunSettings(**shared).model_dump() == RunSettings().model_dump()


def test_run_passes_what_was_given_on_the_command_line(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "gigaslide.cli.commands.run.run_stages",
        lambda cohort, out, plan, batch: seen.append(plan) or 0,
    )
    cohort = str(write_cohort(tmp_path, ["t.tif,,tumor,a,train,"]))
    options = [
        "--groups.Krebs",
        "tumor",
        "--slide-mpp",
        "0.25",
        "--tissue.method",
        "grey",
        "--min-tissue",
        "0.3",
    ]
    stage = [
        "--allow-upsampling",
        "--seed",
        "3",
        "--predict.min-tissue",
        "0.5",
        "--train.seed",
        "0",
    ]
    assert main(["run", cohort, str(tmp_path / "out"), *options, *stage]) == 0
    predict, evaluate = seen[0].predict, seen[0].evaluate
    assert (predict.slide_mpp, predict.allow_upsampling, predict.tissue.method) == (
        0.25,
        True,
        "grey",
    )
    assert predict.min_tissue == 0.5
    assert (evaluate.groups, evaluate.seed, seen[0].train.seed) == ({"Krebs": "tumor"}, 3, 0)
