"""The table proposed from a folder of slides: which slides are found, and what is left out."""

import io
import itertools
import struct
from pathlib import Path

import pytest
from conftest import REAL_DATA
from gigaslide.cohort import Cohort, CohortSlide, propose_cohort
from gigaslide.storage import SettingsError
from slide_folders import proposed, touch


def test_linked_slides_keep_the_name_they_are_listed_under(tmp_path):
    touch(tmp_path, "store/9f8e7d", "store/1a2b3c")
    (tmp_path / "slides").mkdir()
    (tmp_path / "slides" / "normal_001.tif").symlink_to("../store/9f8e7d")
    (tmp_path / "slides" / "normal_001.xml").symlink_to("../store/1a2b3c")
    cohort = propose_cohort(tmp_path / "slides")
    cohort.save(tmp_path / "cohort.csv")
    (slide,) = Cohort.load(tmp_path / "cohort.csv")
    assert slide.id == "normal_001"
    assert slide.annotation == tmp_path / "slides" / "normal_001.xml"


def test_slides_are_found_by_suffix_wherever_they_lie(tmp_path):
    slides = [
        "a.tif",
        "b.TIFF",
        "deep/er/c.SVS",
        "d.ndpi",
        "e.mrxs",
        "f.scn",
        "g.bif",
        "h.vms",
        "i.vmu",
        "j.svslide",
    ]
    touch(
        tmp_path,
        *slides,
        "note.txt",
        "k.png",
        "e/Data0001.dat",
        ".hidden.tif",
        ".cache/l.tif",
        "m.tif.partial",
    )
    touch(tmp_path, "masks/n.tif", "Masks/o.tif", "p_mask.tif", "q_Mask.TIF")
    assert sorted(proposed(tmp_path)) == sorted(slides)


def test_json_that_is_no_geojson_is_no_annotation(tmp_path, caplog):
    touch(tmp_path, "a.tif", "b.tif")
    (tmp_path / "a.json").write_text('{"scanner": "X1", "slide": 1}')
    (tmp_path / "b.json").write_text('{"type": "FeatureCollection", "features": []}')
    a, b = propose_cohort(tmp_path)
    assert a.annotation is None
    assert not a.label
    assert b.annotation == tmp_path / "b.json"
    assert "1 JSON file left out" in caplog.text
    assert "a.json" in caplog.text


def test_a_folder_of_dicom_files_is_one_slide(tmp_path):
    touch(
        tmp_path,
        "one/level0.dcm",
        "one/level1.dcm",
        "one/label.dcm",
        "two/x.dcm",
        "one.xml",
        "three.tif",
    )
    (tmp_path / "one/level0.dcm").write_bytes(b"x" * 100)
    found = proposed(tmp_path)
    assert sorted(found) == ["one/level0.dcm", "three.tif", "two/x.dcm"]
    assert found["one/level0.dcm"].annotation == tmp_path / "one.xml"


def dicom(path: Path, series: str, *, image_type: str = "VOLUME", size: int = 0) -> None:
    """Write the head of a file as scanners do, with a reference to a series before its own."""

    def element(group: int, number: int, kind: str, value: bytes) -> bytes:
        value += b"\0" * (len(value) % 2)
        return struct.pack("<HH2sH", group, number, kind.encode(), len(value)) + value

    referred = element(0x20, 0xE, "UI", b"1.2.99")
    item = struct.pack("<HHI", 0xFFFE, 0xE000, len(referred)) + referred
    sequence = struct.pack("<HH2sHI", 0x8, 0x1115, b"SQ", 0, len(item)) + item
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        b"\0" * 128
        + b"DICM"
        + element(0x8, 0x8, "CS", f"ORIGINAL\\PRIMARY\\{image_type}\\NONE".encode())
        + sequence
        + element(0x20, 0xD, "UI", b"1.2.3")
        + element(0x20, 0xE, "UI", series.encode())
        + bytes(size)
    )


def test_each_dicom_series_of_a_folder_is_one_slide(tmp_path):
    study = tmp_path / "study"
    dicom(study / "1.dcm", "1.2.7", size=50)
    dicom(study / "2.dcm", "1.2.7", size=90)
    dicom(study / "3.dcm", "1.2.8", size=10)
    dicom(study / "4.dcm", "1.2.8", image_type="LABEL", size=99)
    dicom(study / "5.dcm", "1.2.9", image_type="OVERVIEW", size=99)
    assert sorted(proposed(tmp_path)) == ["study/2.dcm", "study/3.dcm"]
    twice = [CohortSlide(id=name, path=study / f"{name}.dcm") for name in "12"]
    with pytest.raises(SettingsError, match=r"1\.dcm.*2\.dcm.*2 times"):
        Cohort.of_rows(twice)
    assert len(Cohort.of_rows([twice[0], CohortSlide(id="3", path=study / "3.dcm")])) == 2


def test_what_is_left_out_is_told_with_counts_and_names(tmp_path, caplog):
    touch(tmp_path, "a.tif", "a.xml", "b.tif", "b_mask.tif", "c_tumor.xml", "d.xml", "e.xml")
    touch(tmp_path, "f.xml", "g.JPEG", "h.ome.zarr/.zgroup", "h.ome.zarr/0/i.xml", "j.xml.zip")
    touch(tmp_path, "k.txt", "notes.gz", "p/heatmap.zarr/zarr.json")
    (tmp_path / "l.tif").symlink_to("gone.tif")
    assert sorted(proposed(tmp_path)) == ["a.tif", "b.tif"]
    told = " / ".join(caplog.messages)
    for facts in (
        ("4 annotations", "c_tumor.xml", "d.xml", "e.xml, \u2026"),
        ("2 images", "g.JPEG", "h.ome.zarr"),
        ("1 mask", "b_mask.tif"),
        ("1 compressed file", "j.xml.zip"),
        ("1 link", "l.tif"),
        ("1 of 2 slides", "b.tif"),
    ):
        assert any(all(fact in line for fact in facts) for line in caplog.messages), facts
    for name in ("f.xml", "i.xml", "k.txt", "notes.gz", "heatmap"):
        assert name not in told


def test_nothing_is_told_where_nothing_is_left_out(tmp_path, caplog):
    touch(tmp_path, "a.1.tif", "a.1.GeoJSON.gz", "v/b.vms", "v/b.jpg", "v/b.xml")
    found = proposed(tmp_path)
    assert len(found) == 2
    assert found["a.1.tif"].annotation == tmp_path / "a.1.GeoJSON.gz"
    assert not caplog.messages


def test_slides_alone_are_not_told_of_annotations(tmp_path, caplog):
    touch(tmp_path, "a.tif", "a.xml", "other.xml", "b.png")
    (slide,) = propose_cohort(tmp_path, with_annotations=False)
    assert slide.annotation is None
    (told,) = caplog.messages
    assert "b.png" in told


def test_fault_15_symlink_loops_end_and_links_are_followed_once(tmp_path, caplog):
    folder = tmp_path / "slides"
    touch(folder, "sub/a.tif")
    touch(tmp_path, "elsewhere/b.tif")
    (folder / "sub" / "up").symlink_to(folder, target_is_directory=True)
    (folder / "self").symlink_to(folder / "self")
    (folder / "broken.tif").symlink_to(tmp_path / "gone.tif")
    (folder / "linked").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (folder / "again").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (folder / "copy of a.tif").symlink_to(folder / "sub" / "a.tif")
    assert sorted(slide.path.resolve().name for slide in propose_cohort(folder)) == [
        "a.tif",
        "b.tif",
    ]
    (told,) = [text for text in caplog.messages if "another name" in text]
    assert told.startswith("1 name left out")
    assert told.endswith(": a.tif")


def test_a_folder_without_slides_says_what_was_looked_for(tmp_path):
    touch(tmp_path, "a.xml", "masks/b.tif", "c.jpg")
    with pytest.raises(SettingsError, match=r"\.svs") as info:
        propose_cohort(tmp_path)
    for fact in (".svs", ".tif", ".ndpi", ".dcm", "1 .jpg"):
        assert fact in str(info.value)
    with pytest.raises(SettingsError, match="folder"):
        propose_cohort(tmp_path / "gone")


def test_proposal_does_not_depend_on_the_order_of_the_folder(tmp_path, monkeypatch):
    import os

    touch(tmp_path, *(f"{a}/{b}.tif" for a, b in itertools.product("zyx", "cab")), "x/c.xml")
    first = propose_cohort(tmp_path)
    walk = os.walk

    def backwards(*args, **options):
        for place, folders, names in walk(*args, **options):
            folders.reverse()
            yield place, folders, names[::-1]

    monkeypatch.setattr(os, "walk", backwards)
    assert propose_cohort(tmp_path) == first


@pytest.mark.real
@pytest.mark.skipif(not REAL_DATA.exists(), reason="no ../shared/data beside the repository")
def test_the_real_cohort_is_proposed_as_it_is_listed(tmp_path):
    # Beside them lie outlines of every gland, benign ones too, in a folder of their own.
    for name in ("slides", "annotations"):
        (tmp_path / name).symlink_to(REAL_DATA / "colon" / name)
    listed = {
        slide.path.resolve(): slide for slide in Cohort.load(REAL_DATA / "colon" / "cohort.csv")
    }
    found = propose_cohort(tmp_path)
    assert len(found) == len(listed) == 50
    for slide in found:
        truth = listed[slide.path.resolve()]
        assert slide.patient == truth.patient
        assert (slide.annotation and slide.annotation.resolve()) == (
            truth.annotation and truth.annotation.resolve()
        )
        assert (slide.label == "tumor") == (truth.label == "tumor")
    text = io.StringIO()
    found.write(text, tmp_path)
    assert (
        "\nslides/patient_01_slide_1.tif,annotations/patient_01_slide_1.xml,tumor,patient_01,"
        in text.getvalue()
    )
