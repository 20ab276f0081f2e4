"""Open slides, at most so many at a time, that several threads read from."""

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from ..wsi import Slide

__all__ = ["OpenSlides"]


@dataclass(eq=False)
class _Handle:
    slide: Slide
    users: int = 0
    is_kept: bool = True


class OpenSlides:
    """Slides by id, kept open after use; the one unused for the longest time is closed first, the
    rest with this object."""

    def __init__(self, open_slide: Callable[[str], Slide], *, most: int) -> None:
        self._open_slide, self._most = open_slide, most
        self._lock = threading.Lock()
        self._handles: OrderedDict[str, _Handle] = OrderedDict()
        weakref.finalize(self, _close, self._handles)

    @contextmanager
    def borrow(self, slide_id: str) -> Iterator[Slide]:
        """Open a slide, or take an open one; it stays open while it is in use."""
        handle = self._take(slide_id)
        try:
            yield handle.slide
        finally:
            with self._lock:
                handle.users -= 1
                if not handle.is_kept and not handle.users:
                    handle.slide.close()

    def forget(self, slide_id: str) -> None:
        """Have a slide opened anew at its next use."""
        with self._lock:
            self._drop(slide_id)

    def _take(self, slide_id: str) -> _Handle:
        with self._lock:
            handle = self._handles.get(slide_id)
            if handle is not None:
                return self._use(slide_id, handle)
        opened = self._open_slide(slide_id)  # takes a while: other threads go on
        with self._lock:
            handle = self._handles.get(slide_id)
            if handle is not None:  # another thread was faster
                opened.close()
                return self._use(slide_id, handle)
            handle = self._handles[slide_id] = _Handle(opened)
            self._use(slide_id, handle)
            unused = [name for name, one in self._handles.items() if not one.users]
            for name in unused[: max(0, len(self._handles) - self._most)]:
                self._drop(name)
            return handle

    def _use(self, slide_id: str, handle: _Handle) -> _Handle:
        self._handles.move_to_end(slide_id)
        handle.users += 1
        return handle

    def _drop(self, slide_id: str) -> None:
        handle = self._handles.pop(slide_id, None)
        if handle is not None:
            handle.is_kept = False
            if not handle.users:
                handle.slide.close()


def _close(handles: Mapping[str, _Handle]) -> None:
    for handle in handles.values():
        handle.slide.close()
