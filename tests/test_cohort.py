"""The table of slides: read, written, and refused where it contradicts itself."""

import csv
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import as_cohort
from gigaslide.cohort import Cohort, CohortSlide
from gigaslide.storage import SettingsError


def row(name: str, **fields) -> CohortSlide:
    return CohortSlide(id=Path(name).stem, path=Path(name), **fields)


def table(
    tmp_path: Path, *lines: str, header: str = "slide,annotation,label,patient,split,mpp"
) -> Path:
    path = tmp_path / "cohort.csv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def test_a_table_is_read_with_paths_relative_to_it(tmp_path):
    path = table(
        tmp_path,
        "slides/a.tif,drawn/a.xml,Tumour,p1,train,0.25",
        "/abs/b.svs,,normal,p2,TEST,",
        "../c.ndpi, , ,, validation , 0.5 ",
    )
    a, b, c = Cohort.load(path)
    assert a == CohortSlide(
        id="a",
        path=tmp_path / "slides/a.tif",
        annotation=tmp_path / "drawn/a.xml",
        label="tumor",
        patient="p1",
        split="train",
        mpp=0.25,
    )
    assert b == CohortSlide(
        id="b", path=Path("/abs/b.svs"), label="normal", patient="p2", split="test"
    )
    assert c == CohortSlide(id="c", path=tmp_path / "../c.ndpi", split="validation", mpp=0.5)


def test_columns_in_any_case_mean_the_same(tmp_path):
    lines = ["a.tif,a.xml,Tumor,p1,train,0.25,no", "b.tif,,normal,p2,train,,"]
    header = "slide,annotation,label,patient,split,mpp,exhaustive"
    lower = Cohort.load(table(tmp_path, *lines, header=header))
    assert not lower.slides[0].exhaustive
    for written in (header.title(), header.upper(), header.replace(",", " , ")):
        assert Cohort.load(table(tmp_path, *lines, header=written)) == lower
    leak = table(tmp_path, "a.tif,,,p1,train", "b.tif,,,p1,test", header=header.upper())
    with pytest.raises(SettingsError, match="p1"):
        Cohort.load(leak)


def test_a_further_column_is_found_in_any_case(tmp_path):
    (slide,) = Cohort.load(table(tmp_path, "a.tif,Macro,X1", header="slide,Stage,scanner type"))
    assert slide.column("stage") == "Macro"
    assert slide.column("Scanner_Type") == "X1"
    assert dict(slide.further) == {"Stage": "Macro", "scanner type": "X1"}


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("slide;annotation;label;mpp", "a, b.tif;x.xml;tumor;0,25"),
        ("slide\tannotation\tlabel\tmpp", "a, b.tif\tx.xml\ttumor\t0.25"),
        ("slide,annotation,label,mpp", '"a, b.tif",x.xml,tumor,"0,25"'),
        ("sep=|\nSlide|Annotation|Label|MPP", "a, b.tif|x.xml|tumor|0.25"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
def test_separators_and_encodings_of_spreadsheets(tmp_path, header, row, encoding):
    path = tmp_path / "cohort.csv"
    path.write_bytes(f"{header}\r\n{row}\r\nL\u00e4sion.tif\r\n".encode(encoding))
    first, second = Cohort.load(path)
    assert (first.path.name, first.annotation, first.label, first.mpp) == (
        "a, b.tif",
        tmp_path / "x.xml",
        "tumor",
        0.25,
    )
    assert second.path.name == "L\u00e4sion.tif"


def test_a_blank_behind_a_path_is_dropped_unless_it_is_in_the_name(tmp_path):
    (tmp_path / "b.tif ").write_bytes(b"")
    a, b = Cohort.load(table(tmp_path, "a.tif ,,tumor", "b.tif ,,normal"))
    assert (a.path.name, b.path.name) == ("a.tif", "b.tif ")


@pytest.mark.parametrize(
    "written",
    [
        "Gr\u00f6\u00dfe #1\\50%\\S 1.tif",
        ".\\Gr\u00f6\u00dfe #1/50%\\S 1.tif",
        '"""Gr\u00f6\u00dfe #1/50%/S 1.tif"""',
        '"""Gr\u00f6\u00dfe #1\\50%\\S 1.tif"" "',
        "file://localhost{folder}/Gr\u00f6\u00dfe #1/50%25/S%201.tif",
    ],
)
def test_paths_of_other_systems_are_found_where_the_file_exists(tmp_path, written):
    file = tmp_path / "Gr\u00f6\u00dfe #1" / "50%" / "S 1.tif"
    file.parent.mkdir(parents=True)
    file.touch()
    cell = written.format(folder=tmp_path)
    (slide,) = Cohort.load(table(tmp_path, f"{cell},{cell},tumor,,,"))
    assert slide.path.samefile(file)
    assert slide.annotation.samefile(file)
    assert slide.id == "S_1"


def test_a_path_that_no_file_has_stays_as_written(tmp_path):
    (tmp_path / "a\\b.tif").touch()
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.tif").touch()
    cells = ["a\\b.tif", "D:\\slides\\b.tif", "c'd.tif"]
    assert [s.path for s in Cohort.load(table(tmp_path, *cells, header="slide"))] == [
        tmp_path / cell for cell in cells
    ]


def test_a_slide_named_without_its_suffix_is_found_if_one_file_has_the_name(tmp_path):
    files = ("7.SVS", "7.xml", "b.2.tif", "b.2.png", "c.tif", "c.svs", "d-1.tif")
    for name in files:
        (tmp_path / name).touch()
    cohort = Cohort.load(table(tmp_path, "7", "b.2", "c", "d", "e.tif", header="slide"))
    assert [slide.path.name for slide in cohort] == ["7.SVS", "b.2.tif", "c", "d", "e.tif"]
    assert [slide.id for slide in cohort][:2] == ["7", "b.2"]
    with pytest.raises(SettingsError, match="listed 2 times"):
        Cohort.load(table(tmp_path, "7", "7.SVS", header="slide"))


@pytest.mark.parametrize("word", ["NA", "nan", "#N/A", "<NA>", " n/a "])
def test_words_of_a_missing_value_are_none(tmp_path, word):
    header = "slide,patient,annotation,label,split,mpp,exhaustive,width,height,scanner"
    (slide,) = Cohort.load(table(tmp_path, "a.tif," + f",{word}" * 8, header=header))
    plain = CohortSlide(id="a", path=tmp_path / "a.tif")
    assert slide == replace(plain, further=(("scanner", word.strip()),))
    for line in (f"{word},p", f"a.tif,{word}"):
        with pytest.raises(SettingsError, match=rf"line 2: (slide|patient) is '{word.strip()}'"):
            Cohort.load(table(tmp_path, line, header=header))


def test_an_annotation_at_a_url_is_refused_with_its_line(tmp_path):
    with pytest.raises(SettingsError, match=r"line 2: annotation .* s3://b/a\.xml; copy"):
        Cohort.load(table(tmp_path, "a.tif,s3://b/a.xml,,,,"))


def test_only_the_slide_column_is_needed_and_others_are_left_alone(tmp_path):
    path = tmp_path / "c.csv"
    path.write_text("\ufeffscanner,slide\nX1,a.tif\nX2,b.tif\n", encoding="utf-8")
    assert [slide.id for slide in Cohort.load(path)] == ["a", "b"]
    assert {slide.label + slide.split + slide.patient for slide in Cohort.load(path)} == {""}


def test_round_trip_keeps_every_field(tmp_path):
    cohort = as_cohort(
        row(
            str(tmp_path / "in" / "a.tif"),
            annotation=tmp_path / "a.xml",
            label="tumor",
            patient="p",
            split="train",
        ),
        row("/elsewhere/b, with comma.tif", label="normal", mpp=0.2431, exhaustive=False),
        row(str(tmp_path / 'quo"te.tif'), split="test"),
    )
    cohort.save(tmp_path / "cohort.csv")
    assert Cohort.load(tmp_path / "cohort.csv") == cohort
    with (tmp_path / "cohort.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["slide", "annotation", "label", "patient", "split", "mpp", "exhaustive"]
    assert [r[6] for r in rows[1:]] == ["", "no", ""]
    assert [r[0] for r in rows[1:]] == ["in/a.tif", "/elsewhere/b, with comma.tif", 'quo"te.tif']
    assert rows[1][1] == "a.xml"


def test_width_and_height_are_read_and_saved_where_a_slide_has_them(tmp_path):
    header = "slide,Height,width,mpp,scanner"
    cohort = Cohort.load(table(tmp_path, "a.tif,700,900,2.0,X1", "b.tif,,,,X2", header=header))
    assert [slide.size for slide in cohort] == [(900, 700), None]
    assert [slide.column("scanner") for slide in cohort] == ["X1", "X2"]
    cohort.save(tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_text().splitlines()[0].endswith("width,height,scanner")
    assert Cohort.load(tmp_path / "again.csv") == cohort


@pytest.mark.parametrize("cells", ["900,", ",700", "900,0", "-900,700", "900.5,700", "many,700"])
def test_a_size_that_is_none_is_refused_with_its_line(tmp_path, cells):
    path = table(tmp_path, "a.tif,900,700", f"b.tif,{cells}", header="slide,width,height")
    with pytest.raises(SettingsError, match=r"line 3: (width|height)"):
        Cohort.load(path)


def test_further_columns_are_kept_as_text_and_saved(tmp_path):
    path = tmp_path / "c.csv"
    path.write_text(
        "scanner,slide,label,centre\n X1 ,a.tif,tumor,07\n,b.tif,,3\nX2,c.tif\n", encoding="utf-8"
    )
    cohort = Cohort.load(path)
    assert [slide.column("scanner") for slide in cohort] == ["X1", "", "X2"]
    assert [slide.column("centre") for slide in cohort] == ["07", "3", ""]
    assert cohort.slides[0].column("label") == cohort.slides[0].column("nothing") == ""
    cohort.save(tmp_path / "again.csv")
    assert (
        (tmp_path / "again.csv")
        .read_text()
        .splitlines()[0]
        .endswith("split,mpp,exhaustive,scanner,centre")
    )
    assert Cohort.load(tmp_path / "again.csv") == cohort


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
    cohort = as_cohort(
        row("/x/one/a.tif"), row("/x/two/a.tif"), row("/x/two/A.tif"), row("/x/two/b.tif")
    )
    ids = [slide.id for slide in cohort]
    assert len({name.casefold() for name in ids}) == 4
    assert all(name.startswith(("a-", "A-")) for name in ids[:3])
    assert ids[3] == "b"
    moved = as_cohort(
        row("/y/z/one/a.tif"), row("/y/z/two/a.tif"), row("/y/z/two/A.tif"), row("/y/z/two/b.tif")
    )
    assert [slide.id for slide in moved] == ids  # moving the cohort does not rename its outputs
    turned = as_cohort(
        *reversed(
            [row("/x/one/a.tif"), row("/x/two/a.tif"), row("/x/two/A.tif"), row("/x/two/b.tif")]
        )
    )
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
    with pytest.raises(SettingsError, match=r"/x/a\.tif.* 2 times"):
        as_cohort(row("/x/a.tif"), row("/x/b.tif"), row("/x/a.tif"))


def linked_folders(tmp_path: Path) -> None:
    """a.tif, far/a.tif and link → far/sub: link/../a.tif is far/a.tif."""
    (tmp_path / "far" / "sub").mkdir(parents=True)
    (tmp_path / "link").symlink_to("far/sub")
    (tmp_path / "a.tif").write_bytes(b"1")
    (tmp_path / "far" / "a.tif").write_bytes(b"22")


def test_two_files_have_two_ids_behind_a_linked_folder_too(tmp_path):
    linked_folders(tmp_path)
    cohort = Cohort.load(table(tmp_path, "a.tif,,,,,", "link/../a.tif,,,,,"))
    assert [slide.path.stat().st_size for slide in cohort] == [1, 2]
    plain = Cohort.load(table(tmp_path, "a.tif,,,,,", "far/a.tif,,,,,"))
    assert cohort.slides[0].id == plain.slides[0].id
    assert len({slide.id for slide in cohort}) == 2
    cohort.save(tmp_path / "again.csv")
    assert [slide.path.stat().st_size for slide in Cohort.load(tmp_path / "again.csv")] == [1, 2]


def test_ids_do_not_change_where_the_cohort_lies_behind_a_link(tmp_path):
    lines = ["../x/a.tif,,,,,", "../y/a.tif,,,,,"]
    (tmp_path / "real" / "in").mkdir(parents=True)
    (tmp_path / "linked").symlink_to("real")
    first = Cohort.load(table(tmp_path / "real" / "in", *lines))
    second = Cohort.load(tmp_path / "linked" / "in" / "cohort.csv")
    assert [slide.id for slide in first] == [slide.id for slide in second]


@pytest.mark.parametrize("other", ["far/../a.tif", "soft.tif", "hard.tif", "link/../../a.tif"])
def test_one_file_under_two_names_is_refused(tmp_path, other):
    linked_folders(tmp_path)
    (tmp_path / "soft.tif").symlink_to("a.tif")
    (tmp_path / "hard.tif").hardlink_to(tmp_path / "a.tif")
    with pytest.raises(SettingsError) as caught:
        Cohort.load(table(tmp_path, "a.tif,,,p1,train,", f"{other},,,p2,validation,"))
    for fact in ("a.tif", other, "2 times", "train and validation"):
        assert fact in str(caught.value)


def test_ids_that_would_share_a_folder_are_refused():
    name = "L\u00e4sion"
    decomposed = unicodedata.normalize("NFD", name)
    for pair in (("s", "S"), (name, decomposed)):
        b, c = (replace(row(path), id=of) for path, of in zip(("/x/b", "/y/c"), pair, strict=True))
        with pytest.raises(SettingsError, match=r"/x/b.*/y/c"):
            Cohort(slides=(b, c))


def test_a_patient_on_two_sides_is_a_leak():
    with pytest.raises(SettingsError, match=r"p7.* test.* train"):
        as_cohort(
            row("a.tif", patient="p7", split="train"), row("b.tif", patient="p7", split="test")
        )
    with pytest.raises(SettingsError, match=r"P_7 or p 7 .*test.* train"):
        as_cohort(
            row("a.tif", patient="p 7", split="train"), row("b.tif", patient="P_7", split="test")
        )
    as_cohort(
        row("a.tif", patient="p7", split="train"), row("b.tif", patient="p7")
    )  # not on any side
    as_cohort(row("a.tif", split="train"), row("b.tif", split="test"))  # unknown patients


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("b.tif,,maybe,,,", r"line 3.*label.*'maybe'.*tumor, normal"),
        ("b.tif,,,,holdout,", r"line 3.*split.*'holdout'.*train, validation, test"),
        ("b.tif,,,,,fine", r"line 3.*mpp.*'fine'"),
        (",,tumor,,,", r"line 3.*slide"),
        ("b.tif,,,,,,perhaps", r"line 3.*exhaustive.*'perhaps'.*yes, no"),
    ],
)
def test_bad_values_are_told_with_their_line(tmp_path, line, words):
    header = "slide,annotation,label,patient,split,mpp,exhaustive"
    with pytest.raises(SettingsError, match=words) as info:
        Cohort.load(table(tmp_path, "a.tif,,,,,", line, header=header))
    assert "cohort.csv" in str(info.value)


def test_tables_that_are_none(tmp_path):
    with pytest.raises(SettingsError, match="slide"):
        Cohort.load(table(tmp_path, "x", header="image"))
    with pytest.raises(SettingsError, match="slide"):
        Cohort.load(table(tmp_path))
    with pytest.raises(SettingsError, match=r"\.csv"):
        Cohort.load(tmp_path / "gone.csv")
    (tmp_path / "nothing.csv").write_bytes(b"")
    with pytest.raises(ValueError, match="slide"):  # what a stranger would catch
        Cohort.load(tmp_path / "nothing.csv")
