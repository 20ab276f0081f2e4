"""Tables of other programs: which column is which, and what cannot be told is refused."""

from pathlib import Path

import pytest
from gigaslide.storage import CsvColumn, CsvTable, ScoreError, fold_name

COLUMNS = (
    CsvColumn(name="slide", aliases=("image", "name")),
    CsvColumn(name="x", aliases=("x_level0",)),
    CsvColumn(name="probability", also=("p",), aliases=("score", "confidence")),
)
ORDER = ("slide", "x", "probability")


def load(tmp_path: Path, content: str | bytes, *, orders=(ORDER,)) -> CsvTable:
    path = tmp_path / "t.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return CsvTable.load(path, COLUMNS, required=ORDER, orders=orders, error=ScoreError)


def read(table: CsvTable) -> list[tuple]:
    return [
        (row.line, row.text("slide"), row.number("x"), row.number("probability")) for row in table
    ]


def refused(tmp_path: Path, content: str | bytes, **options) -> str:
    with pytest.raises(ScoreError) as caught:
        read(load(tmp_path, content, **options))
    assert "t.csv" in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "header",
    [
        "slide,x,probability",
        " SLIDE , X ,Probability",
        "Image,X_Level0,Score",
        "name,x level0,p",
    ],
)
def test_columns_are_found_by_name(tmp_path, header):
    assert read(load(tmp_path, f"{header}\n\na,7,0.5\n")) == [(3, "a", 7, 0.5)]


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("slide,x,probability,score", "a,7,0.5,0.9"),
        ("score,probability,x,slide", "0.9,0.5,7,a"),
        ("slide,x,p,score,confidence", "a,7,0.5,0.9,0.8"),
        ("slide,x,probability,p", "a,7,0.5,0.01"),
        ("slide,x,probability,name", "a,7,0.5,Tumor"),
        ("name,image,slide,x,probability", "Tumor,i.png,a,7,0.5"),
    ],
)
def test_a_documented_column_wins_and_the_others_are_told(tmp_path, caplog, header, row):
    with caplog.at_level("INFO", logger="gigaslide"):
        assert read(load(tmp_path, f"{header}\n{row}\n")) == [(2, "a", 7, 0.5)]
    assert "not used" in caplog.text


@pytest.mark.parametrize(
    ("header", "names"),
    [
        ("slide,x,score,confidence", ("'score'", "'confidence'", "probability")),
        ("Image,Name,x,p", ("'Image'", "'Name'", "slide")),
        ("slide,x,X,p", ("'x'", "'X'")),
    ],
)
def test_two_columns_of_one_meaning_are_refused(tmp_path, header, names):
    message = refused(tmp_path, f"{header}\na,1,0.5,0.6\n")
    assert "line 1" in message
    for name in names:
        assert name in message


def test_a_missing_column_is_told_with_those_there_are(tmp_path):
    message = refused(tmp_path, "file,x,probabilty\na,1,0.5\n")
    for fact in ("line 1", "'file'", "'probabilty'", "no column slide, probability"):
        assert fact in message
    assert "'probabilty' may be meant as probability" in message


@pytest.mark.parametrize("name", ["probabilities", "tumor probability", "Probability_2"])
def test_a_column_like_a_missing_one_is_told(tmp_path, caplog, name):
    path = tmp_path / "t.csv"
    path.write_text(f"slide,{name},scanner\na,0.5,X1\n")
    (row,) = CsvTable.load(path, COLUMNS, required=["slide"], error=ScoreError)
    assert row.further == {name: "0.5", "scanner": "X1"}
    assert repr(name) in caplog.text
    assert "scanner" not in caplog.text


@pytest.mark.parametrize(
    "content",
    [
        "a,1234.5,0.25\n",
        "a;1234,5;0,25\n",
        "a;1234.5;0.25\n",
        "a\t1234.5\t0,25\n",
        'a,"1234,5","0,25"\n',
        "sep=;\na;1234,5;0,25\n",
    ],
)
def test_separators_and_decimal_commas_without_a_header(tmp_path, content):
    [(line, *values)] = read(load(tmp_path, content))
    assert values == ["a", 1234.5, 0.25]
    assert line == content.count("\n")


def test_a_number_that_may_be_two_is_refused(tmp_path):
    assert "1234 or 1.234" in refused(tmp_path, "slide\tx\tprobability\na\t1,234\t0.5\n")
    assert read(load(tmp_path, "slide;x;p\na;1,234;0,5\n")) == [(2, "a", 1.234, 0.5)]


@pytest.mark.parametrize("header", ["", "slide,x,probability\n"])
def test_decimal_commas_between_commas_do_not_shift_the_columns(tmp_path, header):
    message = refused(tmp_path, header + "a,7,0,9\n")
    for fact in (f"line {1 + bool(header)}", "4 values", "expected 3", "slide,x,probability"):
        assert fact in message
    assert read(load(tmp_path, "slide,x,p\na,7,0.5,,\n")) == [(2, "a", 7, 0.5)]  # as Excel does


@pytest.mark.parametrize(
    ("content", "fact"),
    [
        (b"PK\x03\x04\x14\0\6\0", "workbook"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "workbook"),
        (b"\x1f\x8b\x08\0\0\0\0\0", "gzip"),
        (b"II*\0\x08\0\0\0", "TIFF"),
        (bytes(range(1, 60)) + b"\0", "binary"),
        ("\ufeffslide".encode("utf-16-le")[:-1], "utf-16"),
        ('slide,x,p\na,1,0.5\n"b,1,0.5\nc,1,0.5\n', "after line 2"),
    ],
)
def test_what_is_no_csv_is_named(tmp_path, content, fact):
    assert fact in refused(tmp_path, content)


def test_text_that_is_not_utf8_is_told_with_a_line_to_check(tmp_path, caplog):
    content = "slide,x,p\na,1,0.5\nL\u00e4sion,7,0.5\n"
    assert read(load(tmp_path, content.encode("cp1252")))[1] == (3, "L\u00e4sion", 7, 0.5)
    assert "line 3: L\u00e4sion" in caplog.text
    caplog.clear()
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32"):
        assert read(load(tmp_path, content.encode(encoding)))[1][1] == "L\u00e4sion"
    assert not caplog.records


def test_the_order_without_a_header_is_that_of_as_many_values(tmp_path):
    (tmp_path / "t.csv").write_text("0.5,7\n")
    orders = (ORDER, ("probability", "x"))
    (row,) = CsvTable.load(
        tmp_path / "t.csv", COLUMNS, required=ORDER[1:], orders=orders, error=ScoreError
    )
    assert (row.number("x"), row.number("probability")) == (7, 0.5)


def test_an_empty_file_has_no_rows_only_where_no_header_is_needed(tmp_path):
    assert read(load(tmp_path, "\n \n")) == []
    assert "empty" in refused(tmp_path, "", orders=())


def test_names_are_compared_without_case_blanks_and_unicode_form():
    assert fold_name("  Scanner_ \u00c4 ") == fold_name("scanner a\u0308") == "scanner \u00e4"
