"""Files that hold the link of a server, with its token: for the owner only, and gone at its end."""

import json
import os
import secrets
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from html import escape
from pathlib import Path

from ..storage import StoreError

__all__ = ["link_page", "server_file"]

SERVER_FILE = ".server.json"
SNAPS = Path("/snap/bin")
ONLY_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW


@contextmanager
def server_file(folder: Path, url: str) -> Iterator[Path]:
    """Keep a file in a folder that tells programs where the server listens; yield its path.

    That of an earlier server is replaced. At the end the file is removed, unless another server
    has replaced it.

    Raises:
        StoreError: it cannot be written.
    """
    path = folder / SERVER_FILE
    facts = {"url": url, "pid": os.getpid(), "host": socket.gethostname()}
    partial = folder / f"{SERVER_FILE}.{secrets.token_hex(8)}.partial"
    try:
        with os.fdopen(os.open(partial, ONLY_NEW, 0o600), "w", encoding="utf-8") as file:
            json.dump(facts, file)
        partial.replace(path)  # of a link, the link itself
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise StoreError(f"{path}: cannot be written ({error.strerror or error})") from error
    try:
        yield path
    finally:
        if _read(path) == facts:
            with suppress(OSError):
                path.unlink()


def _read(path: Path) -> object:
    try:
        number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        with os.fdopen(number, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError):
        return None


@contextmanager
def link_page(url: str) -> Iterator[Path]:
    """Keep a page that leads a browser to a link; yield its path. So the token does not stand in
    the command line of the browser, which everybody on the machine can read."""
    # A browser installed as a snap sees its own /tmp, and no hidden folder of the home.
    folder = Path.home() if SNAPS.is_dir() else None
    number, name = tempfile.mkstemp(prefix="gigaslide-", suffix=".html", dir=folder)  # 0600
    path = Path(name)
    try:
        with os.fdopen(number, "w", encoding="utf-8") as file:
            file.write(
                '<!doctype html><meta charset="utf-8"><title>gigaslide</title>'
                '<meta name="referrer" content="no-referrer">'
                f'<meta http-equiv="refresh" content="0; url={escape(url)}">'
            )
        yield path
    finally:
        path.unlink(missing_ok=True)
