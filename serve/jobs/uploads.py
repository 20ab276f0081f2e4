"""Slides that clients uploaded: each under the hash of its content, a name that is ours."""

import hashlib
import os
import re
import shutil
import threading
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from anyio import to_thread

from ...cohort import CohortSlide
from ...storage import is_disk_full
from ..answers import Problem

__all__ = ["SlideFormat", "Uploads"]

SlideFormat = Literal["tif", "svs", "ndpi", "scn", "bif", "svslide", "dcm", "png", "jpg"]
"""Formats of a slide that is one file."""
_NAME = re.compile(r"([0-9a-f]{32})\.([a-z]+)")
SPARE_BYTES = 2**30  # that an upload leaves free on the disk


@dataclass(eq=False)
class Uploads:
    """Uploaded slides of a folder, by id."""

    folder: Path
    most_bytes: int
    _paths: dict[str, Path] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self) -> None:
        """Find the uploads of earlier runs; remove what interrupted ones left."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(self.folder.iterdir()):
            found = _NAME.fullmatch(path.name)
            if found and found[2] in get_args(SlideFormat) and not path.is_symlink():
                self._paths[found[1]] = path
            elif path.name.startswith(".upload-"):
                path.unlink(missing_ok=True)

    def find(self, name: str) -> CohortSlide | None:
        """Return an upload as a slide; None if there is none of that id."""
        with self._lock:
            path = self._paths.get(name)
        return None if path is None else CohortSlide(id=name, path=path)

    async def save(self, parts: AsyncIterator[bytes], kind: SlideFormat) -> tuple[str, int]:
        """Write the content of a slide as it comes; return its id and its bytes.

        Raises:
            Problem: it is empty or too large, or the disk is full.
        """
        partial = self.folder / f".upload-{uuid.uuid4().hex}"
        digest, size = hashlib.sha256(), 0
        try:
            with partial.open("xb") as file:
                async for part in parts:
                    size += len(part)
                    if size > self.most_bytes:
                        raise Problem(413, f"an upload has at most {self.most_bytes} bytes")
                    if shutil.disk_usage(self.folder).free < SPARE_BYTES + len(part):
                        raise Problem(507, "the disk is full; nothing was kept")
                    await to_thread.run_sync(_add, file, digest, part)
                if not size:
                    raise Problem(422, "the upload is empty; send the bytes of a slide")
                await to_thread.run_sync(os.fsync, file.fileno())
            name = digest.hexdigest()[:32]
            path = self.folder / f"{name}.{kind}"
            partial.replace(path)
        except OSError as error:
            if not is_disk_full(error):
                raise
            raise Problem(507, "the disk is full; nothing was kept") from error
        finally:
            partial.unlink(missing_ok=True)
        with self._lock:
            before = self._paths.get(name)
            self._paths[name] = path
        if before is not None and before != path:
            before.unlink(missing_ok=True)  # the same bytes, said to be of another format
        return name, size

    def remove(self, name: str) -> bool:
        """Remove an upload; return False if there is none of that id."""
        with self._lock:
            path = self._paths.pop(name, None)
        if path is not None:
            path.unlink(missing_ok=True)
        return path is not None


def _add(file, digest, part: bytes) -> None:
    file.write(part)
    digest.update(part)
