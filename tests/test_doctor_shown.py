"""Outputs of the doctor: the table in the terminal, the page, and the command."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from checkups import HEAD, TILE, checked, drawn, slide
from conftest import TUMOR_RINGS
from gigaslide.cli import main
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.doctor import CohortCheckup, Finding, SlideCheckup, format_checkup, save_checkup
from predictions import Page

NASTY = "<script>alert('1')</script>\"&\n\x1b[31m"
OPTIONS = [
    f"--tile.{name.replace('_', '-')}={getattr(TILE, name)}"
    for name in sorted(TILE.model_fields_set)
]


@pytest.fixture(scope="module")
def mixed(good, tmp_path_factory) -> CohortCheckup:
    """A slide that is missing, one whose tumour lies mostly beside the tissue, and four good
    ones."""
    folder = tmp_path_factory.mktemp("mixed")
    rows = list(Cohort.load(good))
    beside = [([(5, 1000), (300, 1000), (300, 1100), (5, 1100)], []), TUMOR_RINGS[1]]
    rows[0] = replace(rows[0], annotation=drawn(folder / "beside.tif", beside))
    rows[3] = replace(rows[3], path=folder / "gone.tif", id="gone")
    return checked(Cohort(slides=tuple(rows)))


@pytest.fixture(scope="module")
def nasty(tmp_path_factory) -> tuple[CohortCheckup, Path]:
    """A slide and an annotation whose names are attacks, one group's too; and the folder of their
    check-up."""
    folder = tmp_path_factory.mktemp("nasty")
    name = NASTY.replace("/", "_")
    row = slide(folder / f"{name}.tif", 3, tumor=True)
    row = replace(row, id="s", patient=NASTY, annotation=drawn(folder / f"{name}.tif", group=NASTY))
    other = CohortSlide(
        id="t", path=folder / f"{name}2.tif", patient=NASTY, label="tumor", split="validation"
    )
    checkup = checked(Cohort(slides=(row, other)), groups={NASTY: "tumor"})
    save_checkup(checkup, folder / "out")
    return checkup, folder / "out"


def lines(checkup: CohortCheckup, width: int) -> list[str]:
    return list(format_checkup(checkup, width=width))


@pytest.mark.parametrize("width", [66, 80, 140])
def test_no_line_is_wider_than_the_terminal(mixed, nasty, width):
    for checkup in (mixed, nasty[0]):
        assert max(map(len, lines(checkup, width))) <= width


@pytest.mark.parametrize("width", [80, 140])
def test_every_finding_says_which_slide_what_is_wrong_and_what_to_do(mixed, width):
    text = " ".join(" ".join(lines(mixed, width)).split())
    for checkup in mixed.slides:
        for finding in checkup.findings:
            assert finding.advice
            assert f"{finding.check}: {finding.message} ({checkup.id}) → {finding.advice}" in text
    for finding in mixed.findings:
        assert f"{finding.check}: {finding.message}" in text
        assert finding.advice in text


def test_the_worst_slides_come_first_with_the_names_of_their_checks(mixed):
    rows = [line.split() for line in lines(mixed, 140)[1:7]]
    assert [row[:2] for row in rows[:2]] == [["error", "gone"], ["warning", "train-tumor"]]
    assert {row[0] for row in rows[2:]} == {"good"}
    assert rows[0][-1] == "open"
    assert " ".join(rows[1]).endswith("on tissue, lesions")


def test_the_json_holds_every_number_of_the_table(mixed, tmp_path):
    save_checkup(mixed, tmp_path / "out")
    content = json.loads((tmp_path / "out" / "checkup.json").read_text())
    shown = lines(mixed, 140)
    table = {line.split()[1]: line for line in shown[1:7]}
    for one in content["slides"]:
        cells = [
            one["pixels"] and f"{one['pixels']['mpp']:.4g}",
            one["pixels"] and str(len(one["pixels"]["level_downsamples"])),
            one["tiles"] and f"{one['tiles']['mpx_per_s']:.0f}",
            one["tissue_mm2"] and f"{one['tissue_mm2']:.3g}",
            one["annotation"] and f"{one['annotation']['tumor_mm2']:.3g}",
            one["tile"] and str(one["tile"]["tumor_patches"] + one["tile"]["normal_patches"]),
            one["predict"] and f"{one['predict']['windows']:,}",
        ]
        assert table[one["id"]].split()[2:9] == [cell or "–" for cell in cells]
    counts = content["counts"]
    assert (
        f"6 slides: {counts['error']} with errors, {counts['warning']} with warnings, "
        f"{counts['good']} good" in shown
    )
    for side in content["splits"]:
        numbers = [side[key] for key in ("slides", "tumor", "normal")]
        others = [side[key] or "–" for key in ("patients", "tumor_patches", "normal_patches")]
        assert [side["split"], *map(str, numbers + others)] in [line.split() for line in shown]
    for one in content["estimates"]:
        [line] = [
            line for line in shown if line.startswith(one["stage"]) and f" {one['unit']} " in line
        ]
        slides, items = line.split()[1:3]
        assert int(slides) == one["slides"]
        assert float(items.replace(",", "")) == pytest.approx(one["items"], rel=0.05)
    assert f"{content['cores']} cores" in "\n".join(shown)


def made(slides: list[tuple[str, tuple[Finding, ...]]]) -> CohortCheckup:
    """A check-up of slides with those findings and nothing else."""
    fields = {"path": "p", "label": "", "patient": "", "split": ""}
    checkups = tuple(
        SlideCheckup(id=name, findings=findings, **fields) for name, findings in slides
    )
    empty = {"findings": (), "splits": (), "estimates": (), "cores": 2, "settings": {}}
    return CohortCheckup(cohort="c", slides=checkups, **empty)


def test_findings_alike_are_told_once_and_good_slides_up_to_a_number():
    def found(says: str) -> tuple[Finding, ...]:
        return (Finding(severity="error", check="scale", message=says, advice="do this"),)

    same = lines(made([(f"s{n}", found("too coarse")) for n in range(7)]), 80)
    assert [line for line in same if "too coarse" in line] == [
        "error   scale: too coarse (s0, s1, s2, s3 and 3 more)"
    ]
    unlike = lines(made([(f"s{n}", found(f"{n} µm/px")) for n in range(3)]), 80)
    assert [line for line in unlike if "scale:" in line] == [
        "error   scale: 0 µm/px (s0); likewise s1, s2"
    ]
    many = lines(made([(f"s{n}", ()) for n in range(100)]), 80)
    assert any("40 more" in line for line in many)
    assert len([line for line in many if line.startswith("good")]) == 60


def test_fault_51_names_are_escaped_on_the_page_and_harmless_in_the_terminal(nasty):
    checkup, out = nasty
    assert checkup.slides[0].annotation is not None
    html = (out / "checkup.html").read_text(encoding="utf-8")
    page = Page(html)
    assert not page.open
    assert "script" not in page.tags
    assert not [link for link in page.links if link]
    assert "<script" not in html
    assert page.text.count("alert('1')") >= 4  # path, patient, group, leak
    text = "\n".join(lines(checkup, 80))
    assert all(letter.isprintable() or letter == "\n" for letter in text)
    assert "\n" not in "".join(lines(checkup, 80))
    json.loads((out / "checkup.json").read_text(encoding="utf-8"))


def test_the_page_shows_what_the_checkup_found(mixed, tmp_path):
    page = Page(save_checkup(mixed, tmp_path / "out").read_text(encoding="utf-8"))
    text = " ".join(page.text.split())
    assert not page.open
    for checkup in mixed.slides:
        assert checkup.path in text
        for finding in checkup.findings:
            assert finding.message in text
            assert finding.advice[1:] in text
        if checkup.pixels is not None:
            assert f"{checkup.pixels.width:,} × {checkup.pixels.height:,}" in text
            assert checkup.pixels.reader_reason in text
    assert "Tumor = tumor (2)" in text
    assert all(one.basis in text for one in mixed.estimates)
    assert re.search(r"with errors ?1 with warnings ?1 good ?4", text)


def command(cohort: Path, out: Path) -> int:
    return main(["doctor", str(cohort), str(out), "--workers=0", *OPTIONS])


def test_the_command_ends_with_the_page_and_the_status(good, tmp_path, capsys):
    assert command(good, tmp_path / "out") == 0
    shown = capsys.readouterr().out
    assert "6 slides: 0 with errors, 0 with warnings, 6 good" in shown
    assert shown.endswith(f"{tmp_path / 'out' / 'checkup.html'}\n")
    content = json.loads((tmp_path / "out" / "checkup.json").read_text())
    assert content["settings"]["tile"]["patch_px"] == TILE.patch_px
    assert content["cohort"] == str(good)


def test_the_command_says_when_some_or_all_slides_are_bad(good, tmp_path, capsys):
    (tmp_path / "empty.tif").touch()
    bad = f"{tmp_path / 'empty.tif'},,normal,p9,train,\n"
    (tmp_path / "all.csv").write_text(HEAD + bad)
    assert command(tmp_path / "all.csv", tmp_path / "out") == 1
    (tmp_path / "some.csv").write_text(
        HEAD + bad + f"{good.parent / 'test-normal.tif'},,normal,p5,test,\n"
    )
    assert command(tmp_path / "some.csv", tmp_path / "out") == 2
    assert "not a slide: the file is empty" in capsys.readouterr().out


def test_the_command_refuses_a_folder_of_something_else_and_a_missing_table(good, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    assert command(good, tmp_path / "out") == 1
    assert (tmp_path / "out" / "thesis.txt").exists()
    assert command(tmp_path / "none.csv", tmp_path / "new") == 1
    assert not (tmp_path / "new").exists()
    assert "none.csv" in capsys.readouterr().err
