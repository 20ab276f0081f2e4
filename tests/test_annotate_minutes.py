"""Journal, active time, the deal of modes, minutes with intervals, agreement, the page."""

import json
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from annotating import IDENTITY, outline
from gigaslide.annotate import (
    AnnotationFolder,
    Deal,
    Journal,
    JournalEvent,
    SaveFacts,
    active_seconds,
    dice,
    measure_minutes,
)
from gigaslide.cli import main
from gigaslide.storage import StoreError
from shapely.geometry import MultiPolygon, box


def at(time: float, slide: str = "s", kind="input", annotator: str = "A", **facts) -> JournalEvent:
    return JournalEvent(time=time, slide=slide, kind=kind, annotator=annotator, **facts)


def test_v3_a_torn_line_is_ignored_and_spoils_no_other(tmp_path):
    journal = Journal(tmp_path / "a" / "journal.jsonl")
    journal.append(at(1.0), at(2.0, kind="save", version=3))
    whole = journal.path.read_bytes()
    for cut in range(1, len(whole.splitlines()[1])):
        journal.path.write_bytes(whole[: -1 - cut])
        assert [event.time for event in journal.events()] == [1.0]
        journal.append(at(9.0))
        assert [event.time for event in journal.events()] == [1.0, 9.0]
    endless = b'{"time": 1, "slide": "s", "kind": "save", "version": Infinity}\n'
    torn = b'{"time": "x", "kind": "input"}\n[1]\n{"kind": "no"}\n'
    journal.path.write_bytes(whole + endless + torn)
    assert journal.events() == [at(1.0), at(2.0, kind="save", version=3)]


def test_many_processes_append_whole_lines(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    children = []
    for number in range(4):
        child = os.fork()
        if child == 0:
            for turn in range(50):
                journal.append(at(turn, slide=f"slide-{number}" * 20))
            os._exit(0)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    counts = Counter(event.slide for event in journal.events())
    assert list(counts.values()) == [50] * 4


def test_v4_a_journal_on_a_full_disk_says_so(tmp_path, monkeypatch):
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append(at(1.0))
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", lambda *_: 0)
        with pytest.raises(StoreError):
            journal.append(at(2.0))
    with pytest.raises(StoreError):
        journal.append(at(2.0, tab="x" * 5000))
    assert len(journal.events()) == 1


def test_active_time_is_between_inputs_that_are_near():
    events = [at(t) for t in (0, 10, 40, 71, 75)]
    assert active_seconds(events) == {("s", "A", ""): 44}
    assert active_seconds([*events, at(5, tab="2"), at(38, tab="2")]) == {("s", "A", ""): 44}
    moved = [at(0), at(10, slide="t"), at(15, slide="t"), at(20)]
    assert active_seconds(moved) == {("s", "A", ""): 10, ("t", "A", ""): 10}
    other = [at(0), at(3, annotator="B"), at(8)]
    assert active_seconds(other) == {("s", "A", ""): 8, ("s", "B", ""): 0}
    assert active_seconds([at(0), at(5, kind="close"), at(9)]) == {("s", "A", ""): 5}
    two = [at(0, tab="1"), at(3, "t", tab="2"), at(5, tab="1", kind="close"), at(9, "t", tab="2")]
    assert active_seconds(two) == {("s", "A", ""): 3, ("t", "A", ""): 6}


def test_the_deal_depends_on_seed_and_slide_alone_and_keeps_its_shares():
    deal = Deal(scratch=0.3, blind=0.2, seed=5)
    modes = [deal.mode_of(f"slide {n}") for n in range(4000)]
    assert modes.count("scratch") / 4000 == pytest.approx(0.3, abs=0.03)
    blind = np.array([deal.is_blind(f"slide {n}") for n in range(4000)])
    assert blind.mean() == pytest.approx(0.2, abs=0.03)
    both = blind & (np.array(modes) == "scratch")
    assert both.mean() == pytest.approx(0.06, abs=0.02)
    assert modes != [Deal(scratch=0.3, seed=6).mode_of(f"slide {n}") for n in range(4000)]
    assert {Deal().mode_of(f"{n}") for n in range(50)} == {"corrected"}


def test_dice_is_that_of_areas():
    one, two = MultiPolygon([box(0, 0, 10, 10)]), MultiPolygon([box(5, 0, 15, 10)])
    assert dice(one, two) == 0.5
    assert dice(one, MultiPolygon()) == 0
    assert dice(MultiPolygon(), MultiPolygon()) == 1


@pytest.fixture
def folder(tmp_path) -> AnnotationFolder:
    """Six slides of Ada: three from scratch, of 10, 20 and 40 minutes, three corrected in 1, 2 and
    4; s0 also by Bob, blind. s6 was begun only."""
    made = AnnotationFolder.create(tmp_path / "ann", Deal(scratch=0.5, blind=0.1))
    clock = 1e9
    for number, minutes in enumerate((10, 20, 40, 1, 2, 4)):
        slide, mode = f"s{number}", "scratch" if number < 3 else "corrected"
        versions, drawn = made.versions(slide), outline(box(0, 0, 2000, 1000))
        parent = 0
        if mode == "corrected":
            half = outline(box(0, 0, 1000, 1000), origin="proposed")
            facts = SaveFacts(made_by="propose")
            versions.save([half], facts, parent=0, identity=IDENTITY, keep_origins=True)
            parent = 1
        ada = SaveFacts(annotator="Ada", accepted=True, mode=mode)
        saved = versions.save([drawn], ada, parent=parent, identity=IDENTITY)
        times = clock + np.arange(0, 60 * minutes + 1, 20.0)
        made.journal.append(*(at(t, slide, annotator="Ada", mode=mode) for t in times))
        event = at(times[-1], slide, "save", "Ada", mode=mode, version=saved.number)
        made.journal.append(event)
        clock = times[-1] + 1000
    bob = SaveFacts(annotator="Bob", accepted=True, blind=True)
    blind = [outline(box(0, 0, 2000, 500))]
    made.versions("s0").save(blind, bob, parent=1, identity=IDENTITY)
    made.journal.append(at(1e9, "s0", annotator="Bob", mode="scratch"))
    made.journal.append(at(clock + 9, "s6", annotator="Ada"))
    return made


def test_minutes_are_medians_by_mode_with_intervals(folder):
    found = measure_minutes(folder, resamples=300)
    by_slide = {(t.slide, t.annotator): t for t in found.tasks}
    assert by_slide["s1", "Ada"].minutes == pytest.approx(20)
    assert by_slide["s1", "Ada"].area_mm2 == pytest.approx(0.5)
    assert by_slide["s4", "Ada"].dice_before_after == pytest.approx(2 / 3)
    assert by_slide["s1", "Ada"].dice_before_after is None
    scratch = found.medians["minutes", "scratch"]
    corrected = found.medians["minutes", "corrected"]
    assert scratch.value == pytest.approx(20)
    assert found.count("scratch") == 3
    assert corrected.value == pytest.approx(2)
    assert corrected.low is not None
    assert corrected.high is not None
    assert 1 <= corrected.low <= 2 <= corrected.high <= 4
    assert found.saved.value == pytest.approx(18)
    assert found.medians["minutes_per_mm2", "corrected"].value == pytest.approx(4)
    assert found.between == {"s0": pytest.approx(2 / 3)}
    assert found.not_finished == 1


def test_a_later_look_in_another_mode_leaves_the_task_in_its_own(tmp_path):
    folder = AnnotationFolder.create(tmp_path / "ann")
    ada = SaveFacts(annotator="A", accepted=True)
    folder.versions("s").save([outline()], ada, parent=0, identity=IDENTITY)
    events = [at(t, mode="scratch") for t in (0, 20, 40)]
    saved = at(41, kind="save", mode="scratch", version=1)
    folder.journal.append(*events, saved, at(50, mode="corrected"))
    (task,) = measure_minutes(folder, resamples=10).tasks
    assert (task.mode, task.minutes) == ("scratch", pytest.approx(41 / 60))


def test_the_bootstrap_of_a_median_equals_drawing_by_hand():
    from gigaslide.annotate.minutes import _median_of

    rng = np.random.default_rng(0)
    values = rng.integers(0, 9, 7).astype(float)
    weights = rng.multinomial(7, np.full(7, 1 / 7), size=50)
    by_hand = [np.median(np.repeat(values, row)) for row in weights]
    assert _median_of(values)(weights)[:, 0].tolist() == by_hand


def test_minutes_prints_medians_and_writes_a_page_that_loads_nothing(folder, tmp_path, capsys):
    assert main(["minutes", str(folder.path), "--report", str(tmp_path / "r")]) == 0
    shown = capsys.readouterr().out
    assert "median minutes per slide, corrected  2.00 (" in shown
    assert "median minutes saved by correcting" in shown
    page = (tmp_path / "r" / "minutes.html").read_text()
    assert "18.0 min" in page
    assert '>Bob</td><td class="text">blind</td>' in page
    assert "1 tasks" not in page
    assert not [word for word in ("http:", "https:", "<script", "src=") if word in page]
    empty = AnnotationFolder.create(tmp_path / "empty")
    capsys.readouterr()
    assert main(["minutes", str(empty.path)]) == 1
    assert str(empty.path) in capsys.readouterr().err


def test_hostile_names_are_text_on_the_page(tmp_path):
    folder = AnnotationFolder.create(tmp_path / "ann")
    facts = SaveFacts(annotator="<script>alert(1)</script>", accepted=True)
    folder.versions("s").save([outline()], facts, parent=0, identity=IDENTITY)
    folder.journal.append(at(1, annotator="<script>alert(1)</script>"))
    assert main(["minutes", str(folder.path), "--report", str(tmp_path)]) == 0
    assert "<script" not in Path(tmp_path / "minutes.html").read_text()
    assert json.loads((folder.path / "annotations.json").read_text())["deal"]["seed"] == 0


def test_a_slide_from_scratch_is_timed_up_to_its_first_accepted_version(tmp_path):
    for scratch, wanted in ((1.0, (2, 20 / 60)), (0.0, (3, 40 / 60))):
        folder = AnnotationFolder.create(tmp_path / str(scratch), Deal(scratch=scratch))
        versions = folder.versions("s")
        for number in (1, 2, 3):
            facts = SaveFacts(annotator="A", accepted=number > 1)
            versions.save([outline()], facts, parent=number - 1, identity=IDENTITY)
        times = [at(time) for time in (0, 5, 15, 25, 35)]
        saves = [at(10.0 * n + 0.0, kind="save", version=n) for n in (1, 2)]
        folder.journal.append(*times, *saves, at(40, kind="save", version=3))
        (task,) = measure_minutes(folder).tasks
        assert (task.version, task.minutes) == (wanted[0], pytest.approx(wanted[1]))
