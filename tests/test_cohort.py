"""The table of slides, and the one proposed from a folder."""

import csv
import io
import itertools
from collections import Counter
from pathlib import Path

import pytest
from conftest import REAL_DATA, as_cohort
from gigaslide.wsi import Cohort, CohortSlide, SettingsError, propose_cohort


def row(name: str, **fields) -> CohortSlide:
    return CohortSlide(id=Path(name).stem, path=Path(name), **fields)


def table(tmp_path: Path, *lines: str, header: str = "slide,annotation,label,patient,split,mpp") -> Path:
    path = tmp_path / "cohort.csv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_a_table_is_read_with_paths_relative_to_it(tmp_path):
    path = table(
        tmp_path,
        "slides/a.tif,drawn/a.xml,Tumour,p1,train,0.25",
        "/abs/b.svs,,normal,p2,TEST,",
        "../c.ndpi, , ,, validation , 0.5 ",
    )
    a, b, c = Cohort.load(path)
    assert a == CohortSlide(
        id="a", path=tmp_path / "slides/a.tif", annotation=tmp_path / "drawn/a.xml", label="tumor", patient="p1",
        split="train", mpp=0.25,
    )  # fmt: skip
    assert b == CohortSlide(id="b", path=Path("/abs/b.svs"), label="normal", patient="p2", split="test")
    assert c == CohortSlide(id="c", path=tmp_path / "../c.ndpi", split="validation", mpp=0.5)


def test_only_the_slide_column_is_needed_and_others_are_left_alone(tmp_path):
    path = tmp_path / "c.csv"
    path.write_text("\ufeffscanner,slide\nX1,a.tif\nX2,b.tif\n", encoding="utf-8")
    assert [slide.id for slide in Cohort.load(path)] == ["a", "b"]
    assert {slide.label + slide.split + slide.patient for slide in Cohort.load(path)} == {""}


def test_round_trip_keeps_every_field(tmp_path):
    cohort = as_cohort(
        row(str(tmp_path / "in" / "a.tif"), annotation=tmp_path / "a.xml", label="tumor", patient="p", split="train"),
        row("/elsewhere/b, with comma.tif", label="normal", mpp=0.2431),
        row(str(tmp_path / 'quo"te.tif'), split="test"),
    )
    cohort.save(tmp_path / "cohort.csv")
    assert Cohort.load(tmp_path / "cohort.csv") == cohort
    with (tmp_path / "cohort.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["slide", "annotation", "label", "patient", "split", "mpp"]
    assert [r[0] for r in rows[1:]] == ["in/a.tif", "/elsewhere/b, with comma.tif", 'quo"te.tif']
    assert rows[1][1] == "a.xml"


def test_of_split_and_length():
    cohort = as_cohort(row("a.tif", split="train"), row("b.tif", split="test"), row("c.tif", split="train"))
    assert len(cohort) == 3
    assert [slide.id for slide in cohort.of_split("train")] == ["a", "c"]


NASTY = [
    "a b.tif",
    "quo'te\".tif",
    "new\nline.tif",
    "-dash.tif",
    "组织切片.tif",
    "ткань.svs",
    "..dots.tif",
    "__zarr.tif",
    "x;rm.tif",
    "$(x).tif",
    " lead.tif",
    "cr\rret.tif",
]


def test_fault_13_names_give_safe_ids_and_survive_the_csv(tmp_path):
    cohort = as_cohort(*(row(str(tmp_path / name)) for name in NASTY))
    ids = [slide.id for slide in cohort]
    assert len(set(ids)) == len(NASTY)
    for name in ids:
        assert not set(name) & set(" /\\\n\r\"'`$;|&<>*?\0")
        assert name[0] not in "-._"
    assert "组织切片" in ids
    assert "ткань" in ids
    cohort.save(tmp_path / "cohort.csv")
    loaded = Cohort.load(tmp_path / "cohort.csv")
    assert [slide.path for slide in loaded] == [slide.path for slide in cohort]
    assert [slide.id for slide in loaded] == ids


def test_fault_14_same_name_in_two_folders_gets_distinct_ids(tmp_path):
    cohort = as_cohort(row("/x/one/a.tif"), row("/x/two/a.tif"), row("/x/two/A.tif"), row("/x/two/b.tif"))
    ids = [slide.id for slide in cohort]
    assert len({name.casefold() for name in ids}) == 4
    assert all(name.startswith(("a-", "A-")) for name in ids[:3])
    assert ids[3] == "b"
    moved = as_cohort(row("/y/z/one/a.tif"), row("/y/z/two/a.tif"), row("/y/z/two/A.tif"), row("/y/z/two/b.tif"))
    assert [slide.id for slide in moved] == ids  # moving the cohort does not rename its outputs
    turned = as_cohort(*reversed([row("/x/one/a.tif"), row("/x/two/a.tif"), row("/x/two/A.tif"), row("/x/two/b.tif")]))
    assert [slide.id for slide in turned] == ids[::-1]


def test_unrelated_slide_renames_no_outputs(tmp_path):
    lines = ["data/one/a.tif,,,,,", "data/two/a.tif,,,,,"]
    first = [slide.id for slide in Cohort.load(table(tmp_path, *lines))]
    assert len(set(first)) == 2
    more = Cohort.load(table(tmp_path, "/elsewhere/b.tif,,,,,", *lines, "c.tif,,,,,"))
    assert [slide.id for slide in more] == ["b", *first, "c"]
    fewer = [row(str(tmp_path / line.split(",")[0])) for line in lines]
    assert [slide.id for slide in Cohort.of_rows(fewer, base=tmp_path)] == first
    (tmp_path / "moved").mkdir()
    assert [slide.id for slide in Cohort.load(table(tmp_path / "moved", *lines))] == first


@pytest.mark.parametrize("letter", ["n", "é", "切", "𠀋"])
def test_ids_fit_a_file_name_in_bytes(letter):
    (slide,) = as_cohort(row(f"/x/a{letter * 200}.tif"))
    assert 147 <= len(slide.id.encode()) <= 150
    assert slide.id == "a" + letter * (len(slide.id) - 1)


def test_names_that_become_alike_when_made_safe_stay_apart():
    names = ["a b.tif", "a?b.tif", "n" * 200 + "1.tif", "n" * 200 + "2.tif"]
    ids = [slide.id for slide in as_cohort(*(row(f"/x/{name}") for name in names))]
    assert len(set(ids)) == 4
    assert max(map(len, ids)) < 200


def test_a_file_listed_twice_is_refused():
    with pytest.raises(SettingsError, match=r"/x/a\.tif is listed 2 times"):
        as_cohort(row("/x/a.tif"), row("/x/b.tif"), row("/x/a.tif"))


def test_a_patient_on_two_sides_is_a_leak():
    with pytest.raises(SettingsError, match="patient p7 is in test and train"):
        as_cohort(row("a.tif", patient="p7", split="train"), row("b.tif", patient="p7", split="test"))
    as_cohort(row("a.tif", patient="p7", split="train"), row("b.tif", patient="p7"))  # not on any side
    as_cohort(row("a.tif", split="train"), row("b.tif", split="test"))  # unknown patients


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("b.tif,,maybe,,,", r"line 3: label is 'maybe'; use tumor, normal"),
        ("b.tif,,,,holdout,", r"line 3: split is 'holdout'; use train, validation, test"),
        ("b.tif,,,,,fine", r"line 3: mpp is 'fine'; give µm/px as a number"),
        (",,tumor,,,", r"line 3: the slide column is empty"),
    ],
)
def test_bad_values_are_told_with_their_line(tmp_path, line, words):
    with pytest.raises(SettingsError, match=words) as info:
        Cohort.load(table(tmp_path, "a.tif,,,,,", line))
    assert "cohort.csv" in str(info.value)


def test_tables_that_are_none(tmp_path):
    with pytest.raises(SettingsError, match="no column named slide"):
        Cohort.load(table(tmp_path, "x", header="image"))
    with pytest.raises(SettingsError, match="no slides"):
        Cohort.load(table(tmp_path))
    with pytest.raises(SettingsError, match="cannot be read"):
        Cohort.load(tmp_path / "gone.csv")
    (tmp_path / "utf16.csv").write_bytes("slide\na.tif".encode("utf-16"))
    with pytest.raises(SettingsError, match=r"utf16\.csv"):
        Cohort.load(tmp_path / "utf16.csv")
    (tmp_path / "nothing.csv").write_bytes(b"")
    with pytest.raises(ValueError, match="no column named slide"):  # what a stranger would catch
        Cohort.load(tmp_path / "nothing.csv")


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


# Proposals


def proposed(folder: Path) -> dict[str, CohortSlide]:
    return {slide.path.relative_to(folder).as_posix(): slide for slide in propose_cohort(folder)}


def test_slides_are_found_by_suffix_wherever_they_lie(tmp_path):
    slides = ["a.tif", "b.TIFF", "deep/er/c.SVS", "d.ndpi", "e.mrxs", "f.scn", "g.bif", "h.vms", "i.vmu", "j.svslide"]
    touch(tmp_path, *slides, "note.txt", "k.png", "e/Data0001.dat", ".hidden.tif", ".cache/l.tif", "m.tif.partial")
    touch(tmp_path, "masks/n.tif", "Masks/o.tif", "p_mask.tif", "q_Mask.TIF")
    assert sorted(proposed(tmp_path)) == sorted(slides)


def test_a_folder_of_dicom_files_is_one_slide(tmp_path):
    touch(tmp_path, "one/level0.dcm", "one/level1.dcm", "one/label.dcm", "two/x.dcm", "one.xml", "three.tif")
    (tmp_path / "one/level0.dcm").write_bytes(b"x" * 100)
    found = proposed(tmp_path)
    assert sorted(found) == ["one/level0.dcm", "three.tif", "two/x.dcm"]
    assert found["one/level0.dcm"].annotation == tmp_path / "one.xml"


def test_annotations_match_by_stem_without_case(tmp_path):
    touch(tmp_path, "slides/Tumor_A.tif", "xml/tumor_a.XML", "slides/b.svs", "c/B.geojson", "d.tif", "d_annotation.xml")
    touch(tmp_path, "e.ndpi", "e.ndpi.geojson", "f.ome.tif", "f.xml", "g.tif", "other.xml", "gg.xml", "h.tif", "H.json")
    found = {name: slide.annotation and slide.annotation.name for name, slide in proposed(tmp_path).items()}
    assert found == {
        "slides/Tumor_A.tif": "tumor_a.XML", "slides/b.svs": "B.geojson", "d.tif": "d_annotation.xml",
        "e.ndpi": "e.ndpi.geojson", "f.ome.tif": "f.xml", "g.tif": None, "h.tif": "H.json",
    }  # fmt: skip


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
    assert {name: slide.label for name, slide in found.items()} == {"a.tif": "tumor", "b.tif": "", "normal_003.tif": ""}
    assert [found[name].split for name in ("b.tif", "normal_003.tif")] == ["", ""]
    assert found["a.tif"].split


def test_camelyon16_old_layout(tmp_path):
    touch(tmp_path, "training/normal/Normal_001.tif", "training/tumor/Tumor_001.tif", "training/tumor/tumor_002.tif")
    touch(tmp_path, "training/lesion_annotations/tumor_001.xml", "training/lesion_annotations/Tumor_002.xml")
    touch(tmp_path, *(f"testing/images/test_00{i}.tif" for i in (1, 2, 3)), "testing/lesion_annotations/Test_001.xml")
    (tmp_path / "testing/reference.csv").write_text("Test_001,Tumor,IDC,Macro\ntest_002.tif,Normal,None,None\n")
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
    assert {slide.split for name, slide in found.items() if name.startswith("training")} <= {"train", "validation"}
    assert found["training/tumor/Tumor_001.tif"].annotation == tmp_path / "training/lesion_annotations/tumor_001.xml"
    assert found["testing/images/test_001.tif"].annotation == tmp_path / "testing/lesion_annotations/Test_001.xml"


def test_camelyon16_new_layout(tmp_path):
    numbers = range(1, 61)
    touch(tmp_path, *(f"images/{kind}_{i:03}.tif" for kind in ("normal", "tumor", "test") for i in numbers))
    touch(tmp_path, *(f"annotations/tumor_{i:03}.xml" for i in numbers), "annotations/test_001.xml")
    touch(tmp_path, *(f"masks/tumor_{i:03}_mask.tif" for i in numbers))
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "evaluation/reference.csv").write_text("image,type\ntest_001,tumor\ntest_002,normal\n")
    found = {slide.id: slide for slide in propose_cohort(tmp_path)}
    assert len(found) == 180
    assert Counter(slide.label for slide in found.values()) == {"normal": 61, "tumor": 61, "": 58}
    assert Counter(slide.split for slide in found.values())["test"] == 60
    assert all(slide.split == "test" for name, slide in found.items() if name.startswith("test"))
    validation = {name for name, slide in found.items() if slide.split == "validation"}
    assert 12 <= len(validation) <= 36
    assert any(name.startswith("normal") for name in validation)
    assert any(name.startswith("tumor") for name in validation)


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
    touch(tmp_path / "two/elsewhere", *(f"{name}.tif" for name in names[::3]), *(f"{name}.xml" for name in names[::3]))
    touch(tmp_path / "two", "new.tif", "new.xml")
    second = {slide.id: slide for slide in propose_cohort(tmp_path / "two")}
    assert all(second[name].split == first[name].split for name in names[::3])


def test_patients_of_tcga(tmp_path):
    touch(tmp_path, "TCGA-3C-AALI-01A-01-TS1.7E.svs", "tcga-3c-aali-01Z-00-DX2.svs", "TCGA-3CXX.svs", "plain.svs")
    found = {name: slide.patient for name, slide in proposed(tmp_path).items()}
    assert found == {
        "TCGA-3C-AALI-01A-01-TS1.7E.svs": "TCGA-3C-AALI", "tcga-3c-aali-01Z-00-DX2.svs": "TCGA-3C-AALI",
        "TCGA-3CXX.svs": "", "plain.svs": "",
    }  # fmt: skip


def test_fault_15_symlink_loops_end_and_links_are_followed_once(tmp_path):
    folder = tmp_path / "slides"
    touch(folder, "sub/a.tif")
    touch(tmp_path, "elsewhere/b.tif")
    (folder / "sub" / "up").symlink_to(folder, target_is_directory=True)
    (folder / "self").symlink_to(folder / "self")
    (folder / "broken.tif").symlink_to(tmp_path / "gone.tif")
    (folder / "linked").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (folder / "again").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (folder / "copy of a.tif").symlink_to(folder / "sub" / "a.tif")
    assert sorted(slide.path.resolve().name for slide in propose_cohort(folder)) == ["a.tif", "b.tif"]


def test_a_folder_without_slides_says_what_was_looked_for(tmp_path):
    touch(tmp_path, "a.xml", "masks/b.tif", "c.jpg")
    with pytest.raises(SettingsError, match=r"no slide found") as info:
        propose_cohort(tmp_path)
    assert all(suffix in str(info.value) for suffix in (".svs", ".tif", ".ndpi", ".dcm"))
    with pytest.raises(SettingsError, match="no such folder"):
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
def test_the_real_cohort_is_proposed_as_it_is_listed():
    listed = {slide.path.resolve(): slide for slide in Cohort.load(REAL_DATA / "colon" / "cohort.csv")}
    found = propose_cohort(REAL_DATA / "colon")
    assert len(found) == len(listed) == 50
    for slide in found:
        truth = listed[slide.path.resolve()]
        assert slide.patient == truth.patient
        assert (slide.annotation and slide.annotation.resolve()) == (truth.annotation and truth.annotation.resolve())
        assert (slide.label == "tumor") == (truth.label == "tumor")
    text = io.StringIO()
    found.write(text, REAL_DATA.resolve() / "colon")
    assert "\nslides/patient_01_slide_1.tif,annotations/patient_01_slide_1.xml,tumor,patient_01," in text.getvalue()
