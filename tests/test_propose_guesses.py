"""The table proposed from a folder of slides: annotation, label, patient and split of each."""

from collections import Counter

from gigaslide.cohort import propose_cohort
from slide_folders import proposed, touch


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
