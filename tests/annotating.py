"""Annotations for tests, made without a browser.

As a file:  python annotating.py FOLDER EVERY  saves versions in children that are killed at changes
to the disk; prints a line of JSON for each kill. It forks, which wants a process without threads.
"""

import json
import sys
from pathlib import Path

import shapely
from gigaslide.annotate import DrawnOutline, SaveFacts, SlideIdentity, SlideVersions, new_id
from shapely.geometry import Polygon, box, mapping

IDENTITY = SlideIdentity(name="s.tif", fingerprint="f", width=3001, height=2003, mpp=0.5)
RING = Polygon(
    [(100, 200), (900, 200), (900, 500), (100, 500)],
    [[(300, 250), (450, 250), (450, 400), (300, 400)]],
)
PERSON = SaveFacts(annotator="Ada", accepted=True)


def outline(shape: Polygon | None = None, **fields) -> DrawnOutline:
    return DrawnOutline(**{"id": new_id(), "shape": shape or RING, **fields})


def collection(*shapes, **properties) -> dict:
    """Return a feature collection of shapes, all with the same properties."""
    features = [
        {"type": "Feature", "geometry": mapping(shape), "properties": properties}
        for shape in shapes
    ]
    return {"type": "FeatureCollection", "features": features}


def _newest(versions: SlideVersions) -> int:
    info = versions.newest()
    return info.number if info else 0


def save(versions: SlideVersions, *shapes: Polygon, parent: int | None = None, **facts):
    number = _newest(versions) if parent is None else parent
    chosen = SaveFacts(**{"annotator": "Ada", "accepted": True, **facts})
    outlines = [outline(shape) for shape in shapes]
    return versions.save(outlines, chosen, parent=number, identity=IDENTITY)


def area(versions: SlideVersions, number: int) -> float:
    return sum(shapely.area(one.shape) for one in versions.load(number).outlines)


def _kills(folder: Path, every: int) -> None:
    from sums import killed_at

    change, killed = 0, True
    while killed:
        versions = SlideVersions(folder / str(change), "s")
        save(versions, RING)
        versions.drafts.save("tab", {"features": ["kept"]})
        killed = killed_at(change, lambda v=versions: save(v, box(0, 0, 40, 30), RING))
        numbers = versions.numbers()
        line = {
            "killed": killed,
            "numbers": numbers,
            "areas": [area(versions, number) for number in numbers],
            "draft": versions.drafts.load("tab"),
            "next": save(versions, box(0, 0, 7, 5)).number,
            "names": sorted(p.name for p in versions.folder.iterdir() if p.name[0] != "."),
        }
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
        change += every


if __name__ == "__main__":
    _kills(Path(sys.argv[1]), int(sys.argv[2]))
