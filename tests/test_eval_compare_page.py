"""Several models on one cohort: who differs from the first, where they disagree most, and a page
that says it."""

import json
import re
import shlex
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from gigaslide.cli import main
from gigaslide.cohort import Cohort
from gigaslide.eval import EvaluateSettings, Resampling, compare, compare_cohort
from gigaslide.eval.scoring.exclusions import Exclusion
from gigaslide.storage import Recipe, SettingsError
from predictions import LESION, Bench, Page

QUICK = EvaluateSettings(resamples=60, picture_px=100, seed=3)
# Score of each slide by each model, and whether it finds the lesion (tumour) or marks something
# else (normal).
SCORES = {
    "agreed": ((0.9, 0.9, 0.9), (True, True, True)),
    "one & <b>": ((0.8, 0.3, 0.7), (True, False, True)),
    "apart": ((0.2, 0.45, 0.1), (False, False, False)),
    "counted": ((0.7, 0.7, 0.7), (True, True, False)),
}
LABELS = {"agreed": "tumor", "one & <b>": "tumor", "apart": "normal", "counted": "normal"}


@pytest.fixture
def three_models(bench: Bench) -> Bench:
    for index, (name, (scores, marks)) in enumerate(SCORES.items()):
        is_tumor = LABELS[name] == "tumor"
        bench.slide(name, LABELS[name], tumor=(LESION,) if is_tumor else (), patient=f"p{index}")
        for model, p, is_marked in zip("abc", scores, marks, strict=True):
            bench.predictions = bench.folder / model
            points = [(600, 200, p) if is_tumor else (96, 608, p)] if is_marked else []
            bench.predict(name, probability=np.full((11, 15), p, np.float32), points=points)
    bench.predictions = bench.folder / "a"
    return bench


def compared(bench: Bench, models: str):
    cohort = Cohort(slides=tuple(bench.rows))
    return compare_cohort(
        cohort, [bench.folder / one for one in models], bench.folder / "out", QUICK
    )


def test_slides_on_which_models_disagree_most_come_first(three_models):
    compared(three_models, "abc")
    out = three_models.folder / "out"
    rows = json.loads((out / "comparison.json").read_text(encoding="utf-8"))["disagreements"]
    assert [row["slide"] for row in rows] == ["one & <b>", "counted", "apart", "agreed"]
    assert [row["called_differently"] for row in rows] == [True, False, False, False]
    assert [row["count_spread"] for row in rows] == [1, 1, 0, 0]
    assert rows[2]["score_spread"] == pytest.approx(0.35)
    assert rows[1]["models"]["c"] == {
        "score": pytest.approx(0.7),
        "called_tumor": True,
        "lesions_found": 0,
        "false_positives": 0,
    }
    table = pd.read_csv(out / "disagreements.csv")
    assert table["model"].tolist() == list("abc") * 4
    assert table["lesions_found"].tolist()[:3] == [1, 0, 1]


def test_each_model_is_held_against_the_first(three_models):
    found = compared(three_models, "abc")
    assert [one.names for one in found] == [("a", "b"), ("a", "c")]
    # By hand: a ranks .9 .8 over .2 .7; b .9 .3 over .45 .7.
    aucs = [
        [one.differences["slide_auc"].first.value, one.differences["slide_auc"].second.value]
        for one in found
    ]
    assert aucs == [[1.0, 0.5], [1.0, 0.875]]
    out = three_models.folder / "out"
    table = pd.read_csv(out / "comparison.csv")
    assert table.groupby(["first_model", "second_model"], sort=False).ngroups == 2
    curves = pd.read_csv(out / "froc.csv").groupby("model")["sensitivity"].max()
    assert curves.to_dict() == {"a": 1, "b": 0.5, "c": 1}


def test_the_page_is_filled_from_what_is_saved_and_escapes_names(three_models):
    compared(three_models, "ab")
    out = three_models.folder / "out"
    html = (out / "compare.html").read_text(encoding="utf-8")
    page = Page(html)
    assert page.open == []
    assert page.tags.count("script") == 1
    assert "one & <b>" in page.text
    assert all(link.startswith(("data:image/", "#")) for link in page.links)
    assert (
        page.tags.count("img") == 2 + 4 * 3 + 1
    )  # curves; slide and two heatmaps each; what a click enlarges
    text = (out / "comparison.json").read_text(encoding="utf-8")
    saved = {float(one) for one in re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", text)}
    shown = {float(one) for one in re.findall(r'<data value="([^"]+)">', html)}
    assert len(shown) > 15
    assert shown <= saved


def test_few_patients_are_told_above_all_figures_here_too(three_models, monkeypatch):
    compared(three_models, "abc")
    page = three_models.folder / "out" / "compare.html"
    text = Page(page.read_text(encoding="utf-8")).text
    words = (
        "Only 2 patients with tumour and 2 patients without tumour. Intervals from so few come out "
        "too narrow"
    )
    assert text.count(words) == 1
    assert text.index(words) < text.index("Curves")
    told = iter(["Only x.", ""])  # of one pair alone: which
    monkeypatch.setattr(Resampling, "caution", property(lambda _: next(told)))
    compared(three_models, "abc")
    assert "a against b: Only x." in Page(page.read_text(encoding="utf-8")).text


def test_the_command_takes_further_models_and_tells_how_to_repeat_it(three_models, capsys):
    folder = three_models.folder
    for name in SCORES:
        for model in "abc":
            with (folder / f"{model}.csv").open("a") as file:
                file.write(f"slide-{list(SCORES).index(name)},600,200,0.{4 + ord(model) % 3}\n")
    Cohort(slides=tuple(three_models.rows)).save(folder / "cohort.csv")
    paths = [str(folder / name) for name in ("cohort.csv", "a.csv", "b.csv", "out")]
    words = ["compare", *paths, "--further", str(folder / "c.csv"), "--resamples", "9"]
    assert main(words) == 0
    told = capsys.readouterr().out
    assert "a.csv minus b.csv, 4 slides" in told
    assert "a.csv minus c.csv, 4 slides" in told
    assert (
        shlex.join(["gigaslide", *words])
        in Page((folder / "out" / "compare.html").read_text("utf-8")).text
    )


def test_the_same_predictions_twice_are_refused(three_models):
    with pytest.raises(SettingsError, match="the same predictions twice"):
        compared(three_models, "aa")
    with pytest.raises(SettingsError, match="give at least two"):
        compared(three_models, "a")


def test_a_link_leads_to_its_slide_also_where_others_have_no_picture(three_models, monkeypatch):
    monkeypatch.setattr("gigaslide.eval.compare_models.PICTURED", 3)
    three_models.rows[list(SCORES).index("one & <b>")].path.unlink()  # the first of the table
    compared(three_models, "ab")
    html = (three_models.folder / "out" / "compare.html").read_text(encoding="utf-8")
    links = dict(re.findall(r'<a href="#(slide-[^"]+)">(.+?)</a>', html))
    cards = dict(
        re.findall(
            r'<li class="card" id="(slide-[^"]+)">\s*<h3>(.+?), (?:tumour|normal)</h3>', html
        )
    )
    assert links == cards
    assert set(cards.values()) == {"agreed", "apart"}
    text = Page(html).text
    assert "Only the first 3 are pictured below, except 1 that could not be drawn." in text
    assert re.search(r", p = 0\.\d{3}", text)
    assert html.count("heatmap of b with detections") == 2


def test_no_p_is_zero_and_the_header_lists_few_left_out(three_models, monkeypatch):
    lost = tuple(
        Exclusion(
            slide=f"lost-{i:02}", kind="slide", excluded_from="every figure", reason="b: gone"
        )
        for i in range(13)
    )

    def compare_anew(*given, **options):
        found = compare(*given, **options)
        tiny = {name: replace(one, p_value=0.0004) for name, one in found.differences.items()}
        return replace(found, exclusions=lost, differences=tiny)

    monkeypatch.setattr("gigaslide.eval.compare_models.compare", compare_anew)
    compared(three_models, "ab")
    out = three_models.folder / "out"
    html = (out / "compare.html").read_text(encoding="utf-8")
    shown = re.findall(r'<data value="0.0004">([^<]+)</data>', html)
    assert len(shown) > 4
    assert set(shown) == {"&lt; 0.001"}
    text = Page(html).text
    assert text.count("p < 0.001") == 2
    assert "p = <" not in text
    assert "lost-09 (b: gone) and 3 more, 13 in all" in text
    assert "lost-10" not in text
    recipe = Recipe.load(out / "recipe.json")
    used, row = recipe.inputs["slides"]["agreed"], three_models.rows[0]
    assert used["slide"]["bytes"] == row.path.stat().st_size
    assert used["annotation"]["bytes"] == row.annotation.stat().st_size
    assert list(used["predictions"]) == ["a", "b"]
    assert all(any(one.values()) for one in used["predictions"].values())
    assert {"gigaslide", "numpy", "shapely"} <= recipe.made_with.keys()
    assert recipe.settings["seed"] == 3
