"""A headless Chromium, driven over its debugging pipe: no port, no driver program, nothing to
install beside it.

The DevTools protocol is JSON; on a pipe each message ends with a zero byte (chrome
--remote-debugging-pipe).
"""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

__all__ = ["Browser", "Tab", "find_chromium"]

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
PATIENCE_S = 60


def find_chromium() -> str | None:
    """The path of a Chromium, or None; GIGASLIDE_CHROMIUM goes before what is on the path."""
    return os.environ.get("GIGASLIDE_CHROMIUM") or next(
        filter(None, map(shutil.which, NAMES)), None
    )


class Browser:
    """A Chromium of its own profile; leave the `with` block and it is gone."""

    def __init__(self, program: str, profile: Path) -> None:
        theirs, self._to = os.pipe()
        self._from, answers = os.pipe()
        # The browser reads from descriptor 3 and writes to 4: a shell moves ours there, from
        # numbers out of the way.
        theirs_in, theirs_out = (fcntl.fcntl(one, fcntl.F_DUPFD, 10) for one in (theirs, answers))
        moved = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out} {theirs_in}<&- {theirs_out}>&-'
        words = [
            program,
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
            "--remote-debugging-pipe",
            f"--user-data-dir={profile}",
        ]
        self._process = subprocess.Popen(
            ["bash", "-c", moved, "bash", *words],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for one in (theirs, answers, theirs_in, theirs_out):
            os.close(one)
        self._number, self._rest, self.events = 0, b"", []

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_) -> None:
        try:
            self.ask("Browser.close")
        except (OSError, EOFError, TimeoutError):
            self._process.kill()
        self._process.wait(PATIENCE_S)
        os.close(self._to)
        os.close(self._from)

    def ask(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """The answer to one command; what happens meanwhile is added to `events`."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._to, data) :]
        while True:
            found = self.next_message()
            if found.get("id") == self._number:
                if "error" in found:
                    raise RuntimeError(f"{method}: {found['error']}")
                return found["result"]
            self.events.append(found)

    def next_message(self) -> dict[str, Any]:
        end = time.monotonic() + PATIENCE_S
        parts = [self._rest]
        while b"\0" not in parts[-1]:
            if not select.select([self._from], [], [], max(0.0, end - time.monotonic()))[0]:
                raise TimeoutError(f"chromium said nothing for {PATIENCE_S} s")
            parts.append(os.read(self._from, 1 << 20))
            if not parts[-1]:
                raise EOFError("chromium ended")
        message, _, self._rest = b"".join(parts).partition(b"\0")
        return json.loads(message)

    def tab(self, *, width: int = 1280, height: int = 900, mobile: bool = False) -> "Tab":
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        tab = Tab(self, session)
        for domain in ("Page", "Runtime", "Network", "Log"):
            tab.ask(f"{domain}.enable")
        tab.resize(width=width, height=height, mobile=mobile)
        return tab


class Tab:
    """One page of a browser."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser, self._session = browser, session

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._browser.ask(method, self._session, **parameters)

    def resize(self, *, width: int, height: int, mobile: bool = False) -> None:
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=mobile,
        )

    def open(self, path: Path) -> None:
        """Load a file, and wait until it has."""
        del self._browser.events[:]
        self.ask("Page.navigate", url=path.resolve().as_uri())
        while not any(e.get("method") == "Page.loadEventFired" for e in self._browser.events):
            self._browser.events.append(self._browser.next_message())

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression; a promise is awaited."""
        found = self.ask(
            "Runtime.evaluate",
            expression=script,
            returnByValue=True,
            awaitPromise=True,
            userGesture=True,
        )
        if "exceptionDetails" in found:
            raise RuntimeError(f"{script}: {found['exceptionDetails']}")
        return found["result"].get("value")

    def press(self, key: str) -> None:
        """One key, as from a keyboard: Enter, Escape or a character."""
        code, text = {"Enter": (13, "\r"), "Escape": (27, "")}.get(key, (ord(key[0].upper()), key))
        pressed = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.ask("Input.dispatchKeyEvent", type="keyDown", text=text, **pressed)
        self.ask("Input.dispatchKeyEvent", type="keyUp", **pressed)

    def complaints(self) -> list[Any]:
        """What the console and the log showed since the page was opened, and exceptions nobody
        caught."""
        named = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [e["params"] for e in self._browser.events if e.get("method") in named]

    def requests(self) -> list[str]:
        """Addresses asked for since the page was opened."""
        sent = [
            e["params"]
            for e in self._browser.events
            if e.get("method") == "Network.requestWillBeSent"
        ]
        return [one["request"]["url"] for one in sent]

    def picture(self, *, whole: bool = False) -> bytes:
        """A PNG of what is to be seen, or of the whole page."""
        found = self.ask(
            "Page.captureScreenshot", format="png", captureBeyondViewport=whole, **self._clip(whole)
        )
        return base64.b64decode(found["data"])

    def _clip(self, whole: bool) -> dict[str, Any]:
        if not whole:
            return {}
        size = self.ask("Page.getLayoutMetrics")["cssContentSize"]
        return {
            "clip": {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        }

    def pdf(self) -> bytes:
        """The page as paper."""
        return base64.b64decode(
            self.ask("Page.printToPDF", preferCSSPageSize=True, printBackground=True)["data"]
        )
