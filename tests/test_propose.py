"""The table proposed from a folder of slides: what is found, and what is guessed of it."""

import io
import itertools
import struct
from collections import Counter
from pathlib import Path

import pytest
from conftest import REAL_DATA
from gigaslide.cohort import Cohort, CohortSlide, propose_cohort
from gigaslide.storage import SettingsError


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def proposed(folder: Path) -> dict[str, CohortSlide]:
    return {slide.path.relative_to(folder).as_posix(): slide for slide in propose_cohort(folder)}


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


def test_names_match_in_every_unicode_form_and_with_underscores_for_blanks(tmp_path):
    touch(tmp_path, "L\u00e4sion.tif", "La\u0308sion.xml", "S 1.svs", "S_1.xml")
    touch(tmp_path, "x/T 1.tif", "x/T_1.tif", "x/T 1.json", "x/t_1.xml")
    found = {
        name: one.annotation and one.annotation.name for name, one in proposed(tmp_path).items()
    }
    assert found == {
        "L\u00e4sion.tif": "La\u0308sion.xml",
        "S 1.svs": "S_1.xml",
        "x/T 1.tif": "T 1.json",
        "x/T_1.tif": "t_1.xml",
    }


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


def test_annotations_match_by_stem_without_case(tmp_path):
    touch(
        tmp_path,
        "slides/Tumor_A.tif",
        "xml/tumor_a.XML",
        "slides/b.svs",
        "c/B.geojson",
        "d.tif",
        "d_annotation.xml",
    )
    touch(
        tmp_path,
        "e.ndpi",
        "e.ndpi.geojson",
        "f.ome.tif",
        "f.xml",
        "g.tif",
        "other.xml",
        "gg.xml",
        "h.tif",
        "H.json",
    )
    found = {
        name: slide.annotation and slide.annotation.name
        for name, slide in proposed(tmp_path).items()
    }
    assert found == {
        "slides/Tumor_A.tif": "tumor_a.XML",
        "slides/b.svs": "B.geojson",
        "d.tif": "d_annotation.xml",
        "e.ndpi": "e.ndpi.geojson",
        "f.ome.tif": "f.xml",
        "g.tif": None,
        "h.tif": "H.json",
    }


def test_annotations_of_halo_and_hamamatsu_are_found(tmp_path):
    touch(
        tmp_path,
        "slide.ndpi",
        "slide.ndpi.ndpa",
        "other.svs",
        "other.annotations",
        "both.svs",
        "both.xml",
    )
    touch(tmp_path, "both.annotations")
    found = {
        name: slide.annotation and slide.annotation.name
        for name, slide in proposed(tmp_path).items()
    }
    assert found == {
        "slide.ndpi": "slide.ndpi.ndpa",
        "other.svs": "other.annotations",
        "both.svs": "both.xml",
    }


def test_of_two_slides_of_one_name_the_nearer_gets_the_annotation(tmp_path, caplog):
    touch(
        tmp_path,
        "centre_1/a.tif",
        "centre_1/drawn/a.xml",
        "centre_2/a.tif",
        "centre_2/drawn/a.geojson",
        "centre_3/a.tif",
    )
    found = proposed(tmp_path)
    assert found["centre_1/a.tif"].annotation == tmp_path / "centre_1/drawn/a.xml"
    assert found["centre_2/a.tif"].annotation == tmp_path / "centre_2/drawn/a.geojson"
    assert found["centre_3/a.tif"].annotation is None
    touch(tmp_path, "other/x/b.tif", "other/y/b.tif", "drawn/b.xml")
    assert proposed(tmp_path)["other/x/b.tif"].annotation is None
    assert any("b.xml may belong to several slides" in message for message in caplog.messages)


def test_what_nobody_annotated_is_unknown_and_on_no_side(tmp_path):
    touch(tmp_path, "a.tif", "a.xml", "b.tif", "normal_003.tif")
    found = proposed(tmp_path)
    assert {name: slide.label for name, slide in found.items()} == {
        "a.tif": "tumor",
        "b.tif": "",
        "normal_003.tif": "",
    }
    assert [found[name].split for name in ("b.tif", "normal_003.tif")] == ["", ""]
    assert found["a.tif"].split


def test_camelyon16_old_layout(tmp_path):
    touch(
        tmp_path,
        "training/normal/Normal_001.tif",
        "training/tumor/Tumor_001.tif",
        "training/tumor/tumor_002.tif",
    )
    touch(
        tmp_path,
        "training/lesion_annotations/tumor_001.xml",
        "training/lesion_annotations/Tumor_002.xml",
    )
    touch(
        tmp_path,
        *(f"testing/images/test_00{i}.tif" for i in (1, 2, 3)),
        "testing/lesion_annotations/Test_001.xml",
    )
    (tmp_path / "testing/reference.csv").write_text(
        "Test_001,Tumor,IDC,Macro\ntest_002.tif,Normal,None,None\n"
    )
    found = proposed(tmp_path)
    assert {name: slide.label for name, slide in found.items()} == {
        "training/normal/Normal_001.tif": "normal",
        "training/tumor/Tumor_001.tif": "tumor",
        "training/tumor/tumor_002.tif": "tumor",
        "testing/images/test_001.tif": "tumor",
        "testing/images/test_002.tif": "normal",
        "testing/images/test_003.tif": "",  # the reference does not name it
    }
    assert {slide.split for name, slide in found.items() if name.startswith("testing")} == {"test"}
    assert {slide.split for name, slide in found.items() if name.startswith("training")} <= {
        "train",
        "validation",
    }
    assert (
        found["training/tumor/Tumor_001.tif"].annotation
        == tmp_path / "training/lesion_annotations/tumor_001.xml"
    )
    assert (
        found["testing/images/test_001.tif"].annotation
        == tmp_path / "testing/lesion_annotations/Test_001.xml"
    )


def test_camelyon16_new_layout(tmp_path):
    numbers = range(1, 61)
    touch(
        tmp_path,
        *(f"images/{kind}_{i:03}.tif" for kind in ("normal", "tumor", "test") for i in numbers),
    )
    touch(tmp_path, *(f"annotations/tumor_{i:03}.xml" for i in numbers), "annotations/test_001.xml")
    touch(tmp_path, *(f"masks/tumor_{i:03}_mask.tif" for i in numbers))
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "evaluation/reference.csv").write_text(
        "image,type\ntest_001,tumor\ntest_002,normal\n"
    )
    found = {slide.id: slide for slide in propose_cohort(tmp_path)}
    assert len(found) == 180
    assert Counter(slide.label for slide in found.values()) == {"normal": 61, "tumor": 61, "": 58}
    assert Counter(slide.split for slide in found.values())["test"] == 60
    assert all(slide.split == "test" for name, slide in found.items() if name.startswith("test"))
    validation = {name for name, slide in found.items() if slide.split == "validation"}
    assert 12 <= len(validation) <= 36
    assert any(name.startswith("normal") for name in validation)
    assert any(name.startswith("tumor") for name in validation)
    in_part = sorted(int(name[-3:]) for name, slide in found.items() if not slide.exhaustive)
    assert in_part == [10, 15, 18, 20, 25, 29, 33, 34, 44, 46, 51, 54, 55, 56]  # of 1 to 60
    assert not found["tumor_010"].exhaustive
    assert found["normal_010"].exhaustive


def test_split_follows_the_patient_and_stays_when_slides_are_added(tmp_path):
    names = [f"patient_{p:03}_node_{n}" for p in range(100) for n in range(2)]
    touch(tmp_path / "one", *(f"{name}.tif" for name in names), *(f"{name}.xml" for name in names))
    first = {slide.id: slide for slide in propose_cohort(tmp_path / "one")}
    assert len({slide.patient for slide in first.values()}) == 100
    assert first["patient_007_node_1"].patient == "patient_007"
    for p in range(100):
        assert first[f"patient_{p:03}_node_0"].split == first[f"patient_{p:03}_node_1"].split
    count = Counter(slide.split for slide in first.values())
    assert 90 <= count["train"] <= 150
    assert 20 <= count["validation"] <= 60
    assert 20 <= count["test"] <= 60
    touch(
        tmp_path / "two/elsewhere",
        *(f"{name}.tif" for name in names[::3]),
        *(f"{name}.xml" for name in names[::3]),
    )
    touch(tmp_path / "two", "new.tif", "new.xml")
    second = {slide.id: slide for slide in propose_cohort(tmp_path / "two")}
    assert all(second[name].split == first[name].split for name in names[::3])


def test_patients_of_tcga(tmp_path):
    touch(
        tmp_path,
        "TCGA-3C-AALI-01A-01-TS1.7E.svs",
        "tcga-3c-aali-01Z-00-DX2.svs",
        "TCGA-3CXX.svs",
        "plain.svs",
    )
    found = {name: slide.patient for name, slide in proposed(tmp_path).items()}
    assert found == {
        "TCGA-3C-AALI-01A-01-TS1.7E.svs": "TCGA-3C-AALI",
        "tcga-3c-aali-01Z-00-DX2.svs": "TCGA-3C-AALI",
        "TCGA-3CXX.svs": "",
        "plain.svs": "",
    }


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
