"""`gigaslide cohort` and `tile` as a user types them."""

import json
from pathlib import Path

from command_lines import SMALL, write_cohort
from conftest import TUMOR_RINGS, geojson, stained_slide, tile_place, write_tiff
from gigaslide.cli import main
from gigaslide.patching import PatchStore, TileSettings


def test_fault_08_missing_spacing_says_how_to_give_it(tmp_path, capsys):
    write_tiff(tmp_path / "t.tif", stained_slide(1), mpp=None)
    (tmp_path / "t.geojson").write_text(json.dumps(geojson(TUMOR_RINGS)))
    cohort = write_cohort(tmp_path, ["t.tif,t.geojson,tumor,a,train,"])
    assert main(["tile", str(cohort), str(tmp_path / "store"), *SMALL]) == 1
    shown = capsys.readouterr().out
    assert "t.tif" in shown
    assert "mpp column" in shown
    assert "--slide-mpp" in shown
    assert main(["tile", str(cohort), str(tmp_path / "store"), *SMALL, "--slide-mpp", "0.5"]) == 0
    recipe = json.loads((tmp_path / "store" / "t" / "zarr.json").read_text())["attributes"][
        "recipe"
    ]
    assert recipe["settings"]["slide_mpp"] == 0.5


def test_cohort_proposes_a_table_that_tile_takes(tmp_path, capsys, monkeypatch):
    write_tiff(tmp_path / "in" / "A.tif", stained_slide(1))
    (tmp_path / "in" / "a.geojson").write_text(json.dumps(geojson(TUMOR_RINGS)))
    monkeypatch.chdir(tmp_path)
    header = "slide,annotation,label,patient,split,mpp,exhaustive\n"
    for words in (["in"], ["in", "-"], ["--dir", "in"], ["in", "--verbose"]):
        assert main(["cohort", *words]) == 0
        assert capsys.readouterr().out.startswith(header + "in/A.tif,in/a.geojson,tumor,")
    assert main(["cohort", "in", "in/cohort.csv"]) == 0
    assert Path("in/cohort.csv").read_text().startswith(header + "A.tif,a.geojson,tumor,")
    Path("in/cohort.csv").write_text("edited")
    assert main(["cohort", "in", "in/cohort.csv"]) == 1
    assert "in/cohort.csv: exists" in capsys.readouterr().err
    assert Path("in/cohort.csv").read_text() == "edited"


def test_a_slide_that_lost_many_tiles_has_one_line(tmp_path, capfd):
    path = write_tiff(tmp_path / "torn.tif", stained_slide(1), tile_px=64)
    content = bytearray(path.read_bytes())
    for place in range(24 * 7, 24 * 9):  # two rows of tiles
        start, length = tile_place(path, place)
        content[start : start + length] = b"\x55" * length
    path.write_bytes(content)
    cohort = write_cohort(tmp_path, ["torn.tif,,normal,a,train,"])
    words = ["tile", str(cohort), str(tmp_path / "store"), *SMALL[:-1], "2"]  # workers
    assert main(words) == 2
    said = capfd.readouterr()
    assert said.err.count("cannot decode") == 1
    assert said.out.count("partial: torn") == 1


def test_a_store_without_finished_slides_and_none_at_all_are_told(tmp_path, capsys):
    PatchStore.describe(tmp_path, settings=TileSettings().model_dump(mode="json"), slides={})
    assert main(["store", "info", str(tmp_path)]) == 0
    assert "no slide is finished yet" in capsys.readouterr().out
    assert main(["store", "info", str(tmp_path / "none")]) == 1
    assert "no such folder" in capsys.readouterr().err
