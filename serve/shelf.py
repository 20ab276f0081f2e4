"""Open slides of a cohort: a few at a time, opened again where their file was replaced."""

import hashlib
import json
import stat
import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ..annotate import SlideIdentity
from ..cohort import CohortSlide
from ..storage import ZARR_METADATA, Location, SlideError
from ..wsi import Slide, TileCache, open_slide
from .tiles import TileGrid

__all__ = ["OpenSlide", "SlideShelf"]

MOST_OPEN = 16
CACHE_BYTES = 32 * 2**20  # decoded tiles, of each open slide


@dataclass(eq=False, kw_only=True)
class OpenSlide:
    """A slide that is open, and which one it is."""

    slide: Slide
    identity: SlideIdentity
    stamp: Hashable
    """Sign of the file on disk: another one, if the file may have been replaced."""
    users: int = 0
    is_old: bool = False
    """True: to be closed once nobody uses it."""

    @cached_property
    def grid(self) -> TileGrid:
        """Tiles of the slide for a page."""
        return TileGrid.of_slide(self.slide)

    @cached_property
    def version(self) -> str:
        """Short hash of the identity, for URLs."""
        facts = self.identity.to_json() | {"name": ""}
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


class SlideShelf:
    """The slides of a cohort, by id; safe to use from several threads."""

    def __init__(self, slides: Mapping[str, CohortSlide], *, most_open: int = MOST_OPEN) -> None:
        self._slides = slides
        self._most_open = most_open
        self._lock = threading.Lock()
        self._opening = {name: threading.Lock() for name in slides}
        self._open: OrderedDict[str, OpenSlide] = OrderedDict()

    @contextmanager
    def borrow(self, name: str) -> Iterator[OpenSlide]:
        """Yield an open slide, which stays open as long as somebody uses it.

        Raises:
            SlideError: it cannot be opened.
        """
        held = self._take(name)
        try:
            yield held
        finally:
            with self._lock:
                held.users -= 1
                self._close_unused(held)

    def close(self) -> None:
        """Close all slides."""
        with self._lock:
            for held in self._open.values():
                held.is_old = True
                self._close_unused(held)
            self._open.clear()

    def _take(self, name: str) -> OpenSlide:
        slide = self._slides[name]
        with self._opening[name]:  # one opens; the others wait for it
            stamp = _stamp(slide.path)
            with self._lock:
                held = self._open.get(name)
                if held is not None and held.stamp == stamp:
                    self._open.move_to_end(name)
                    held.users += 1
                    return held
                if held is not None:
                    self._retire(name)
            if stamp is None and isinstance(slide.path, Path):
                raise SlideError(f"{slide.path}: no such slide; put it back where it was")
            fresh = _open(slide, stamp)
            fresh.users = 1
            with self._lock:
                self._open[name] = fresh
                for other in [n for n, one in self._open.items() if not one.users]:
                    if len(self._open) > self._most_open:
                        self._retire(other)
            return fresh

    def _retire(self, name: str) -> None:
        held = self._open.pop(name)
        held.is_old = True
        self._close_unused(held)

    def _close_unused(self, held: OpenSlide) -> None:
        if held.is_old and held.users == 0:
            held.slide.close()


def _open(slide: CohortSlide, stamp: Hashable) -> OpenSlide:
    opened = open_slide(slide.path, mpp=slide.mpp, fallback_mpp=1.0, cache=TileCache(CACHE_BYTES))
    identity = SlideIdentity.of_open_slide(slide, opened)
    return OpenSlide(slide=opened, identity=identity, stamp=stamp)


def _stamp(path: Location) -> Hashable:
    """Size, time and number of a local file; None where there is none, and for a URL, whose slide
    is looked at once, when it is opened."""
    if not isinstance(path, Path):
        return None
    try:
        found = [path.stat()]  # of each tile, so one call for most
        if stat.S_ISDIR(found[0].st_mode):
            files = [path / name for name in ZARR_METADATA]
            found += [one.stat() for one in files if one.exists()]
    except OSError:
        return None
    return tuple((one.st_size, one.st_mtime_ns, one.st_ino) for one in found)
