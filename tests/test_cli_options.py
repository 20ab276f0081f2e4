"""Options of the command line: their panels, the help, and settings as YAML and back."""

import io
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from cyclopts import App
from gigaslide.batch import BatchSettings
from gigaslide.cli import main
from gigaslide.cli.main import COMMANDS, build_app
from gigaslide.cli.options.everyday import EVERYDAY
from gigaslide.cli.options.panels import GENERAL, PANELS
from gigaslide.cli.terminal.plain_letters import use_plain_letters
from gigaslide.storage import Settings

MAX_EVERYDAY_LINES = 15
GROUPS = ("store", "cohort", "model", "annotations", "study")
STUDIES = (
    "study labels",
    "study size",
    "study noise",
    "study transfer",
    "study curriculum",
    "study finetune",
    "study weak",
)
OPTIONED = [*(name for name in COMMANDS if name not in GROUPS), *STUDIES]


def command_of(path: str, *, in_full: bool = True) -> App:
    """The command that a user types as path, such as "study labels"."""
    words = path.split()
    app = build_app(words[0], in_full=in_full)
    for word in words:
        app = app[word]
    return app


def is_settings(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Settings)


def settings_classes() -> dict[str, type[Settings]]:
    """Every settings class that some command takes, those inside others included."""
    commands = [command_of(name) for name in OPTIONED]
    hints = [one.hint for command in commands for one in command.assemble_argument_collection()]
    return {hint.__name__: hint for hint in hints if is_settings(hint)}


def options_of(name: str, *, in_full: bool) -> list:
    arguments = command_of(name, in_full=in_full).assemble_argument_collection()
    return [one for one in arguments if one.show and one.index is None]


def help_of(capsys, *words: str) -> str:
    assert main([*words]) == 0
    return capsys.readouterr().out


def test_every_field_of_every_settings_class_stands_in_one_panel():
    fields = {
        (name, field)
        for name, one in settings_classes().items()
        for field, info in one.model_fields.items()
        if not is_settings(info.annotation)
    }
    listed = [
        (name, field)
        for members in PANELS.values()
        for name, some in members.items()
        for field in some
    ]
    assert len(listed) == len(set(listed))
    assert sorted(fields - set(listed)) == [], "add these fields to PANELS"
    assert sorted(set(listed) - fields) == [], "these fields are gone: take them out of PANELS"


@pytest.mark.parametrize("name", OPTIONED)
def test_help_shows_few_options_and_help_all_every_one(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    short = help_of(capsys, *name.split(), "--help")
    *_, options = short.partition("\nArguments\n")
    shown = options.split("\n\n", 1)[1].splitlines()
    lines = [line for line in shown if line and "--help-all" not in line]
    assert len(lines) <= MAX_EVERYDAY_LINES, "\n".join(lines)
    assert max(map(len, short.splitlines())) <= 100
    everyday = {one.names[0].removeprefix("--") for one in options_of(name, in_full=False)}
    assert everyday == set(EVERYDAY[name])
    full = help_of(capsys, *name.split(), "--help-all")
    every = options_of(name, in_full=True)
    further = len(every) - len(everyday)
    assert f"{further} more options: gigaslide {name} --help-all" in short or further < 2
    full = full.replace("[no-]", "").replace(".NAME", "")
    assert not [one.names[0] for one in every if f"  {one.names[0]}" not in full]
    assert "--config" in full
    assert "--verbose" in full


@pytest.mark.parametrize("name", [*OPTIONED, "cohort"])
def test_every_option_is_explained_and_has_a_panel(name):
    for argument in command_of(name).assemble_argument_collection():
        if argument.show:
            assert argument.parameter.help, argument.names
            assert [group.name for group in argument.parameter.group] != ["Parameters"]
            assert argument.parameter.help[0].isupper() or argument.parameter.help[0] == "µ"


def test_panels_stand_in_their_order_whatever_defines_their_options():
    panels = [
        group.name
        for one in sorted(
            (one for one in command_of("train").assemble_argument_collection() if one.show),
            key=lambda one: one.parameter.group[0].sort_key,
        )
        for group in one.parameter.group
        if group.name in PANELS
    ]
    assert list(dict.fromkeys(panels)) == [name for name in PANELS if name in panels]
    assert {"Training", "Slide labels (--task slides)"} <= set(panels)


def test_the_usage_has_a_line_for_each_way_to_train():
    ways = build_app("train")["train"].usage.splitlines()
    assert len(ways) == 5
    assert all(way.strip().removeprefix("Usage: ").startswith("gigaslide train ") for way in ways)
    assert sum("--task slides" in way for way in ways) == 1


def test_the_example_of_groups_has_the_prefix_of_its_option():
    for argument in command_of("train").assemble_argument_collection():
        if (name := argument.names[0]).endswith(".groups"):
            assert f"Example: {name}." in argument.parameter.help


def test_no_option_of_a_command_has_two_meanings():
    for name in OPTIONED:
        names = [one.names[0] for one in options_of(name, in_full=True)]
        assert len(names) == len(set(names)), name


def test_inputs_come_first_and_the_output_last():
    usages = {name: build_app(name)[name].usage.splitlines()[0] for name in COMMANDS}
    usages = {name: usage.split(" ", 3)[-1] for name, usage in usages.items()}
    assert usages == {
        "demo": "[OUT] [OPTIONS]",
        "run": "COHORT OUT [OPTIONS]",
        "cohort": "DIR [COHORT] [OPTIONS]",
        "doctor": "COHORT [OUT] [OPTIONS]",
        "tile": "COHORT STORE [OPTIONS]",
        "store": "COMMAND …",
        "train": "STORE MODEL [OPTIONS]",
        "model": "COMMAND …",
        "predict": "SLIDES MODEL PREDICTIONS [OPTIONS]",
        "export": "PREDICTIONS [OPTIONS]",
        "view": "COHORT [OPTIONS]",
        "propose": "COHORT DIR [OPTIONS]",
        "annotations": "COMMAND …",
        "next": "COHORT DIR [OPTIONS]",
        "minutes": "DIR [OPTIONS]",
        "serve": "MODELS [OPTIONS]",
        "features": "COHORT OUT [OPTIONS]",
        "evaluate": "COHORT PREDICTIONS REPORT [OPTIONS]",
        "compare": "COHORT PREDICTIONS-A PREDICTIONS-B OUT [OPTIONS]",
        "study": "COMMAND …",
        "phantom": "OUT [OPTIONS]",
    }


OPTIONS = {
    "tile": ["--mpp", "0.5", "--groups.Krebs", "tumor", "--phase-px", "1", "2", "--stain", "hsd"],
    "train": ["--augment.hue", "0", "--examples", "7"],
    "predict": ["--stride-px", "32", "--splits", "train", "--orientations", "1"],
    "evaluate": ["--subgroups", "scanner", "--split", ""],
    "compare": ["--resamples", "9"],
    "phantom": ["--slides", "3", "--tile-px", "128"],
    "run": [
        *("--mpp", "0.5", "--seed", "4", "--tissue.method", "grey", "--groups.Krebs", "tumor"),
        *("--predict.tissue.mpp", "4", "--train.seed", "0", "--tile.further-mpp", "1"),
        *("--job-directives=--qos=long", "--cluster", "slurm", "--walltime", "12:00:00"),
    ],
    "study labels": ["--weak-labels", "6", "--weak-labels", "9", "--groups.a", "other"],
    "study transfer": ["--encoders.one", "a", "--encoders.two", "b"],
    "study finetune": ["--starts.imagenet", "a", "--freeze", "none", "--learning-rates", "0.01"],
    "study weak": ["--source", "outlines", "--slides", "3", "--slides", "9"],
    "study curriculum": ["--mpp", "4", "--augmentation", "none", "--findings", "polyp"],
    "study noise": ["--flipped", "0.1", "--learners", "weak", "--workers", "0"],
    "doctor": ["--sample.tiles", "5", "--mpp", "0.5", "--evaluate.groups.a", "other"],
}


@pytest.mark.parametrize("name", OPTIONS)
def test_dry_run_prints_the_settings_and_config_takes_them_back(
    name, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    inputs = ["x"] * sum(one.required for one in command_of(name).assemble_argument_collection())
    words = name.split()
    assert main([*words, *inputs, *OPTIONS[name], "--dry-run"]) == 0
    text = capsys.readouterr().out
    Path("settings.yaml").write_text(text)
    assert main([*words, *inputs, "--config", "settings.yaml", "--dry-run"]) == 0
    assert capsys.readouterr().out == text
    assert list(yaml.safe_load(text)) == words[:1]
    assert {path.name for path in tmp_path.iterdir()} == {"settings.yaml"}


@pytest.mark.parametrize("words", [["cohort", "."], ["store", "verify", "store"]])
def test_dry_run_of_a_command_without_settings_is_refused(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([*words, "--dry-run"]) == 1
    assert "--dry-run" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_run_from_its_dry_run_has_equal_settings(tmp_path, monkeypatch, capsys):
    seen = []
    (tmp_path / "cohort.csv").write_text("slide\nt.tif\n")
    monkeypatch.setattr(
        "gigaslide.cli.commands.run.run_stages", lambda *given: seen.append(given[2:]) or 0
    )
    words = ["run", str(tmp_path / "cohort.csv"), str(tmp_path / "out")]
    assert main([*words, *OPTIONS["run"]]) == 0
    assert main([*words, *OPTIONS["run"], "--dry-run"]) == 0
    config = tmp_path / "settings.yaml"
    config.write_text(capsys.readouterr().out)
    assert main([*words, "--config", str(config)]) == 0
    (settings, batch), (settings_again, batch_again) = seen
    assert settings.model_dump() == settings_again.model_dump()
    assert settings.predict.tissue.model_dump(include={"method", "mpp"}) == {
        "method": "grey",
        "mpp": 4,
    }
    assert (
        batch
        == batch_again
        == BatchSettings(cluster="slurm", walltime="12:00:00", job_directives=("--qos=long",))
    )


def test_terminals_without_unicode_get_ascii(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    use_plain_letters()
    print("299 × 299 px at 0.25 µm/px ≥ … 東")
    sys.stdout.flush()
    assert raw.getvalue() == b"299 x 299 px at 0.25 um/px >= ... ?\n"


def test_help_is_quick_because_it_imports_nothing_heavy():
    heavy = {
        "tensorflow",
        "keras",
        "dask",
        "openslide",
        "pandas",
        "zarr",
        "cv2",
        "numpy",
        "pydantic",
    }
    code = (
        f"import sys; from gigaslide.cli import main; main(['--help']); heavy = {heavy} & "
        "set(sys.modules); sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in COMMANDS:
        assert f"\n  {name} " in done.stdout
    assert "Exit status: 0" in done.stdout


@pytest.mark.slow
def test_help_of_a_command_imports_neither_a_network_library_nor_plots_nor_statistics():
    code = (
        "import sys; from gigaslide.cli import main\n"
        f"for name in {list(COMMANDS)}: main([name, '--help'])\n"
        "heavy = {'tensorflow', 'keras', 'openvino', 'matplotlib', 'sklearn', 'scipy.stats'} & "
        "set(sys.modules); sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("word", ["tiel", "--tile"])
def test_an_unknown_command_is_one_line(word, capsys):
    assert main([word]) == 1
    shown = capsys.readouterr().err
    assert word in shown
    assert len(shown.splitlines()) == 1
    assert "Available" not in shown  # a list cut short would hide the right one


def test_general_is_the_last_panel():
    assert list(PANELS)[-1] == GENERAL
