"""Errors of the operating system that end a command: the place, the fact, what to do next."""

import errno
import os
import subprocess
import sys

import pytest
from gigaslide.cli import main
from gigaslide.cli.terminal.errors import describe_error
from gigaslide.storage import SettingsError, require_writable


def os_error(number: int, path: str | None = None) -> OSError:
    return OSError(number, os.strerror(number), *([path] if path else []))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_fault_26_a_full_disk_says_what_to_do_with_and_without_a_path(number):
    # A write fails without a path, an open or a mkdir with one.
    for shown in (describe_error(os_error(number)), describe_error(os_error(number, "o/a.csv"))):
        assert "disk of the output is full" in shown
        assert os.strerror(number) in shown
        assert "free some space" in shown
    assert describe_error(os_error(number, "o/a.csv")).startswith("o/a.csv: ")


def test_a_reader_that_ends_early_as_head_does_is_no_error(tmp_path):
    for k in range(3):
        (tmp_path / f"slide{k}.tif").touch()
    command = [sys.executable, "-m", "gigaslide.cli", "cohort", str(tmp_path)]
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as closed:
        ended = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, text=True)
    assert ended.returncode == 1
    assert "Broken pipe" not in ended.stderr


def test_other_errors_of_the_system_keep_their_path_or_tell_how_to_find_it():
    assert describe_error(os_error(errno.EROFS, "o/a.csv")) == (
        f"o/a.csv: {os.strerror(errno.EROFS)}; give another path"
    )
    assert "--verbose" in describe_error(os_error(errno.EFBIG))


def test_a_file_in_place_of_the_output_folder_is_named():
    shown = describe_error(os_error(errno.EEXIST, "cohort.csv"))
    assert shown.startswith("cohort.csv: is a file, but the output is a folder")


def test_a_message_names_the_output_and_not_the_hidden_file_that_it_is_written_to():
    assert describe_error(os_error(errno.EROFS, "o/.a.csv.0123abcd.partial")).startswith(
        "o/a.csv: "
    )


def test_an_output_that_cannot_be_written_is_refused_before_the_work(tmp_path, monkeypatch):
    out = tmp_path / "new" / "report"
    require_writable(out)
    assert not out.parent.exists()
    asked = []
    monkeypatch.setattr(os, "access", lambda path, mode: asked.append(path))  # root may write all
    with pytest.raises(SettingsError, match="cannot be written to") as info:
        require_writable(out)
    assert str(out) in str(info.value)
    assert asked == [tmp_path]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["train", "s", "m", "--architecture", "compct"], "compct; did you mean compact?"),
        (["tile", "c.csv", "s", "--seed", "1", "--mpp", "500"], "--mpp: expected less than"),
        (["tile", "c.csv", "s", "--config", "FILE"], "settings.yaml: unknown setting mmp"),
    ],
)
def test_a_mistyped_word_is_told_under_the_name_that_the_user_gave(capsys, tmp_path, words, told):
    config = tmp_path / "settings.yaml"
    config.write_text("tile: {mmp: 0.5}")
    assert main([str(config) if word == "FILE" else word for word in words]) == 1
    assert told in capsys.readouterr().err
