"""Every class name can be mapped: on the command line, in a settings file, and as --dry-run prints
it."""

import json
import shlex

import pytest
import yaml
from conftest import asap_xml
from gigaslide.cli import main
from gigaslide.storage import AnnotationError
from gigaslide.wsi import Annotation

NAMES = ("1. Tumor", "a=b", "a=tumor", "", "1", "1.50", "yes", "null", "~", "2024-01-01", "Ünï ß")


def groups_of(capsys, *words: str, command: str = "tile") -> dict[str, str]:
    assert main([command, "c.csv", "out", *words, "--dry-run"]) == 0
    section = yaml.safe_load(capsys.readouterr().out)[command]
    return section["groups"] if command == "tile" else section["tile"]["groups"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", ["two words", "one word", "json"])
def test_any_name_can_be_an_option(capsys, name, form):
    words = {
        "two words": [f"--groups.{name}", "exclusion"],
        "one word": [f"--groups.{name}=exclusion"],
        "json": ["--groups", json.dumps({name: "exclusion", "b": "other"})],
    }[form]
    # An equals sign and a meaning at the end are no part of a name.
    if (name, form) == ("a=tumor", "two words"):
        return
    more = [] if form == "json" else ["--groups.b", "other"]
    assert groups_of(capsys, *more, *words) == {name: "exclusion", "b": "other"}


@pytest.mark.parametrize("is_quoted", [True, False])
def test_any_name_can_stand_in_a_settings_file(capsys, tmp_path, is_quoted):
    names = NAMES if is_quoted else ("1. Tumor", "a=b", "1", "1.50", "yes", "null", "~", "=")
    config = tmp_path / "c.yaml"
    lines = [f"    {json.dumps(name) if is_quoted else name}: tumor" for name in names]
    config.write_text("\n".join(["tile:", "  groups:", *lines]), encoding="utf-8")
    assert groups_of(capsys, "--config", str(config)) == dict.fromkeys(names, "tumor")
    assert groups_of(capsys, "--config", str(config), "--groups.c", "other") == {"c": "other"}
    assert main(["tile", "c.csv", "out", "--config", str(config), "--dry-run"]) == 0
    config.write_text(capsys.readouterr().out, encoding="utf-8")
    assert groups_of(capsys, "--config", str(config)) == dict.fromkeys(names, "tumor")


def test_stages_of_a_run_may_have_groups_of_their_own(capsys, tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text("run:\n  groups: {1.: tumor}\n  tile: {groups: {2.b: other}}\n")
    words = ["--config", str(config)]
    assert groups_of(capsys, *words, command="run") == {"1.": "tumor", "2.b": "other"}
    words = ["--groups.1.", "tumor", "--tile.groups.2.b", "other"]
    assert groups_of(capsys, *words, command="run") == {"1.": "tumor", "2.b": "other"}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--mpp", "0.5", "--groups.a.b", "tumr"], "--groups.a.b: expected 'tumor', 'exclusion'"),
        (["--groups.a.b"], "--groups"),
        (["--groups.a", "tumor", "--groups.a", "other"], "--groups.a"),
    ],
)
def test_a_group_without_one_meaning_is_told(capsys, words, told):
    assert main(["tile", "c.csv", "out", *words]) == 1
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("group", ["1. Tumor", "a=b", "Krebs", "l'aire", "#ff0000"])
def test_the_option_that_a_message_shows_can_be_pasted(make_file, group):
    path = make_file("a.xml", asap_xml([("a", group, [(1.0, 2.0), (9.0, 2.0), (9.0, 30.0)])]))
    with pytest.raises(AnnotationError) as info:
        Annotation.load(path)
    shown = str(info.value).partition("for example ")[2]
    assert shlex.split(shown) == [f"--groups.{group}", "tumor"]
