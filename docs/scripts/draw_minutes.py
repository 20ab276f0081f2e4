"""Draw the picture of the page of `gigaslide minutes` for docs/annotate.md, from invented work.

    python docs/scripts/draw_minutes.py docs/view

Needs a Chromium.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import shapely
from draw_view import Browser, find_chromium, keep
from gigaslide.annotate import (
    AnnotationFolder,
    Deal,
    DrawnOutline,
    JournalEvent,
    SaveFacts,
    SlideIdentity,
    measure_minutes,
    new_id,
    save_minutes,
)

SLIDES, FIRST, SECOND = 9, "Dr A. Lind", "Dr B. Otero"
DEAL = Deal(scratch=0.4, blind=0.3, seed=5)
VIEW = {"width": 1100, "height": 1260}
IDENTITY = SlideIdentity(name="slide.svs", width=90_000, height=60_000, mpp=0.25)
MINUTES = {"scratch": 11.0, "corrected": 3.6}  # typical ones of the invented work
BEGIN_S, HOUR_S, GAP_S = 1.8e9, 3600.0, 12.0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    out: Path = parser.parse_args().out
    program = find_chromium()
    if program is None:
        raise SystemExit("no Chromium is installed; make test-pages installs one on Debian")
    with tempfile.TemporaryDirectory() as temporary:
        folder = AnnotationFolder.create(Path(temporary) / "annotations", DEAL)
        rng = np.random.default_rng(1)
        for number in range(1, SLIDES + 1):
            invent_work(folder, f"slide_{number:02d}", rng)
        page = save_minutes(
            measure_minutes(folder), Path(temporary), name="annotations", confidence=0.95
        )
        with Browser(program, Path(temporary) / "profile") as browser:
            tab = browser.tab(**VIEW)
            tab.open(page)
            keep(tab, out / "minutes.jpg")


def invent_work(folder: AnnotationFolder, slide: str, rng: np.random.Generator) -> None:
    """Write a proposal, what a person made of it, and, where chance says so, a second opinion."""
    radius = rng.uniform(2000, 6000)  # level-0 px, as all lengths here
    save(folder, slide, radius, SaveFacts(made_by="propose"))
    mode = DEAL.mode_of(slide)
    accepted = SaveFacts(annotator=FIRST, accepted=True, mode=mode)
    save(folder, slide, radius * rng.uniform(0.9, 1.2), accepted)
    tell_journal(folder, slide, accepted, MINUTES[mode] * rng.lognormal(0, 0.35))
    if DEAL.is_blind(slide):
        blind = SaveFacts(annotator=SECOND, accepted=True, mode="scratch", blind=True)
        save(folder, slide, radius * rng.uniform(0.9, 1.1), blind)
        tell_journal(folder, slide, blind, MINUTES["scratch"] * rng.lognormal(0, 0.35))


def save(folder: AnnotationFolder, slide: str, radius: float, facts: SaveFacts) -> None:
    versions = folder.versions(slide)
    newest = versions.newest()
    shape = shapely.Point(30_000, 20_000).buffer(radius)
    parent = newest.number if newest else 0
    versions.save([DrawnOutline(id=new_id(), shape=shape)], facts, parent=parent, identity=IDENTITY)


def tell_journal(
    folder: AnnotationFolder, slide: str, facts: SaveFacts, active_minutes: float
) -> None:
    who = {"annotator": facts.annotator, "mode": facts.mode}
    count = round(60 * active_minutes / GAP_S)
    begin = BEGIN_S + HOUR_S * len(folder.slides())  # one slide after the other
    events = [JournalEvent(time=begin + GAP_S * step, slide=slide, **who) for step in range(count)]
    end = begin + GAP_S * count
    number = max(folder.versions(slide).numbers())
    folder.journal.append(
        *events, JournalEvent(time=end, slide=slide, kind="save", version=number, **who)
    )


if __name__ == "__main__":
    main()
