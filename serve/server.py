"""The server: its socket, its link with the token, and its end."""

import logging
import os
import secrets
import signal
import socket
import stat
import threading
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from ..storage import SettingsError
from .guard import Access
from .settings import ServerSettings

__all__ = [
    "Listener",
    "describe_link",
    "end_on_sigterm",
    "make_server",
    "open_browser",
    "run_server",
]

logger = logging.getLogger(__name__)

BACKLOG = 512
ANY_ADDRESS = ("0.0.0.0", "::", "")
STOP_S = 3
END_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, kw_only=True)
class Listener:
    """A socket that listens, and the access that belongs to it."""

    socket: socket.socket
    settings: ServerSettings
    token: str
    inode: int = 0
    """Number of a Unix socket's file."""

    @classmethod
    def open(cls, settings: ServerSettings) -> "Listener":
        """Listen as the settings say, with a new token.

        Raises:
            SettingsError: the address is taken or not of this machine.
        """
        opened = _unix_socket(settings.socket) if settings.socket else _tcp_socket(settings)
        return cls(
            socket=opened,
            settings=settings,
            token=secrets.token_urlsafe(32),
            inode=settings.socket.lstat().st_ino if settings.socket else 0,
        )

    @cached_property
    def port(self) -> int:
        """Port; 0 for a Unix socket."""
        return 0 if self.settings.socket else self.socket.getsockname()[1]

    @property
    def access(self) -> Access:
        settings = self.settings
        own = () if settings.host in ANY_ADDRESS else (_in_url(settings.host),)
        return Access.of(
            self.token,
            port=self.port,
            hosts=(*settings.allow_host, *own),
            base_url=settings.base_url,
            origins=settings.allow_host,
        )

    @property
    def url(self) -> str:
        """Link to the page, with the token."""
        host = "127.0.0.1" if self.settings.host in ANY_ADDRESS else _in_url(self.settings.host)
        place = "localhost:8000" if self.settings.socket else f"{host}:{self.port}"
        base = self.settings.base_url.rstrip("/")
        return f"http://{place}{base}/?token={self.token}"

    def close(self) -> None:
        """Close the socket, and remove a Unix socket's file unless it is another server's."""
        self.socket.close()
        path = self.settings.socket
        if path:
            with suppress(OSError):
                if path.lstat().st_ino == self.inode:
                    path.unlink()


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _tcp_socket(settings: ServerSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # With its protocol named, asyncio sends small answers at once (TCP_NODELAY).
    opened = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((settings.host, settings.port))
        opened.listen(BACKLOG)
    except OSError as error:
        opened.close()
        raise SettingsError(
            f"{settings.host}:{settings.port}: cannot listen there ({error.strerror or error}); "
            "give another --port, or 0 for a free one"
        ) from error
    return opened


def _unix_socket(path: Path) -> socket.socket:
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)  # nobody else may connect, not even before chmod
    try:
        if _is_left_over(path):
            path.unlink()
        opened.bind(str(path))
        opened.listen(BACKLOG)
    except OSError as error:
        opened.close()
        raise SettingsError(
            f"{path}: cannot listen there ({error.strerror or error}); give another --socket"
        ) from error
    finally:
        os.umask(before)
    path.chmod(0o600)
    return opened


def _is_left_over(path: Path) -> bool:
    """Tell whether a socket lies there that nobody listens on."""
    if not (path.exists() and stat.S_ISSOCK(path.stat().st_mode)):
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as attempt:
        return attempt.connect_ex(str(path)) != 0


def describe_link(listener: Listener) -> list[str]:
    """Return the lines that tell how to open the page, with the token."""
    settings, lines = listener.settings, [listener.url]
    here = socket.gethostname()
    if settings.socket:
        lines = [
            f"listening on {settings.socket}; on your own machine:",
            f"  ssh -N -L 8000:{settings.socket.absolute()} {here}",
            f"  then open {listener.url}",
        ]
    elif os.environ.get("SSH_CONNECTION"):
        port = listener.port
        lines += [
            "from your own machine, with the same link:",
            f"  ssh -N -L {port}:127.0.0.1:{port} {here}",
        ]
    return [*lines, "stop with Ctrl+C"]


class Server(uvicorn.Server):
    """A server that takes signals from before its event loop begins until after it has ended, and
    passes on the first one then. A signal that raises inside the loop would leave tasks behind."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to `wait_for_signal`, around the whole loop."""
        yield

    @contextmanager
    def wait_for_signal(self) -> Iterator[None]:
        """Let SIGINT and SIGTERM end the server in this context, and pass on the first at its end.
        Outside the main thread, which alone receives signals, do nothing."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        taken: list[int] = []

        def take(number: int, frame: FrameType | None) -> None:
            taken.append(number)
            self.handle_exit(number, frame)

        before = {number: signal.signal(number, take) for number in END_SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        if taken:
            signal.raise_signal(taken[0])


def make_server(app: ASGIApp) -> Server:
    """Return a server that writes no log of requests: the first one carries the token."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        timeout_graceful_shutdown=STOP_S,
    )
    return Server(config)


def run_server(
    app: ASGIApp, listener: Listener, *, started: Callable[[], None] | None = None
) -> None:
    """Answer requests until SIGINT or SIGTERM, then close the socket."""
    if started is not None:
        threading.Thread(target=started, daemon=True).start()
    server = make_server(app)
    try:
        with server.wait_for_signal():
            server.run(sockets=[listener.socket])
    finally:
        listener.close()


@contextmanager
def end_on_sigterm() -> Iterator[None]:
    """Make SIGTERM raise SystemExit in this context, so that files and sockets are removed. Outside
    the main thread, which alone receives signals, it does nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _end(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def open_browser(page: Path) -> None:
    """Open a page of this desk in its browser, if there is one."""
    with suppress(webbrowser.Error):
        webbrowser.open(page.as_uri())
