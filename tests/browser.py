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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["Browser", "Tab", "find_chromium"]

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
PATIENCE_S = 60
KEY_CODES = {
    "Enter": 13,
    "Escape": 27,
    "Tab": 9,
    "Backspace": 8,
    "Delete": 46,
    "PageUp": 33,
    "PageDown": 34,
    "ArrowLeft": 37,
    "ArrowUp": 38,
    "ArrowRight": 39,
    "ArrowDown": 40,
    ",": 188,
    ".": 190,
    "[": 219,
    "]": 221,
}


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
        end = time.monotonic() + PATIENCE_S
        while True:
            if time.monotonic() > end:
                raise TimeoutError(f"chromium did not answer {method} for {PATIENCE_S} s")
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
        tab = Tab(self, session, target)
        for domain in ("Page", "Runtime", "Network", "Log"):
            tab.ask(f"{domain}.enable")
        tab.resize(width=width, height=height, mobile=mobile)
        return tab


class Tab:
    """One page of a browser."""

    def __init__(self, browser: Browser, session: str, target: str) -> None:
        self._browser, self._session, self._target = browser, session, target

    def close(self) -> None:
        self._browser.ask("Target.closeTarget", targetId=self._target)

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

    def open(self, place: Path | str) -> None:
        """Load a file or an address, and wait until it has."""
        del self._browser.events[:]
        url = place.resolve().as_uri() if isinstance(place, Path) else place
        self.ask("Page.navigate", url=url)
        self._wait_for_load()

    def reload(self) -> None:
        del self._browser.events[:]
        self.ask("Page.reload")
        self._wait_for_load()

    def show(self) -> None:
        """Bring the tab to the front; one behind another draws nothing."""
        self.ask("Page.bringToFront")

    def _wait_for_load(self) -> None:
        while not self.events("Page.loadEventFired"):
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

    def wait_for(self, script: str, *, patience_s: float = 15) -> Any:
        """The value of an expression as soon as it is true."""
        end = time.monotonic() + patience_s
        while not (value := self._run_on_page(script)):
            if time.monotonic() > end:
                raise TimeoutError(f"never true: {script}")
            time.sleep(0.03)
        return value

    def _run_on_page(self, script: str) -> Any:
        """The value of an expression; None while the tab goes from one page to the next."""
        try:
            return self.run(script)
        except RuntimeError as error:
            if "navigated or closed" not in str(error):
                raise
            return None

    def press(self, key: str, *, control: bool = False, shift: bool = False) -> None:
        """One key, as from a keyboard: a name of KEY_CODES or a character."""
        code = KEY_CODES.get(key, ord(key[0].upper()))
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 and not control else "")
        pressed = {
            "key": key,
            "code": key,
            "windowsVirtualKeyCode": code,
            "modifiers": 2 * control + 8 * shift,
        }
        self.ask("Input.dispatchKeyEvent", type="keyDown", text=text, **pressed)
        self.ask("Input.dispatchKeyEvent", type="keyUp", **pressed)

    def mouse(self, kind: str, x: float, y: float, *, button: str = "left", **more: Any) -> None:
        """One event of the mouse: Moved, Pressed or Released, at a px of the view."""
        held = {"left": 1, "right": 2, "middle": 4}[button] if kind != "Released" else 0
        facts = {"button": button, "buttons": held, "clickCount": 1}
        if kind == "Moved":
            facts = {"button": "none", "buttons": more.pop("buttons", 0)}
        self.ask("Input.dispatchMouseEvent", type=f"mouse{kind}", x=x, y=y, **facts, **more)

    def click(self, x: float, y: float, *, button: str = "left", modifiers: int = 0) -> None:
        """modifiers: 1 Alt, 2 Control, 8 Shift."""
        self.mouse("Moved", x, y, modifiers=modifiers)
        self.mouse("Pressed", x, y, button=button, modifiers=modifiers)
        self.mouse("Released", x, y, button=button, modifiers=modifiers)

    def drag(self, *points: tuple[float, float], release: bool = True) -> None:
        """Press at the first point, move over the others, release at the last."""
        self.mouse("Moved", *points[0])
        self.mouse("Pressed", *points[0])
        for x, y in points[1:]:
            self.mouse("Moved", x, y, buttons=1)
        if release:
            self.mouse("Released", *points[-1])

    def touch(self, *fingers: Sequence[tuple[float, float]]) -> None:
        """Put fingers down, each at the first of its places, move them over the others, and lift
        them; all have as many places."""
        for number, places in enumerate(zip(*fingers, strict=True)):
            kind = "touchMove" if number else "touchStart"
            points = [{"x": x, "y": y, "id": k} for k, (x, y) in enumerate(places)]
            if not number:
                for k in range(1, len(points)):
                    self.ask("Input.dispatchTouchEvent", type=kind, touchPoints=points[:k])
            self.ask("Input.dispatchTouchEvent", type=kind, touchPoints=points)
            self.run("new Promise((done) => requestAnimationFrame(() => done()))")  # one a frame
        self.ask("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def go_offline(self, offline: bool = True) -> None:
        self.ask(
            "Network.emulateNetworkConditions",
            offline=offline,
            latency=0,
            downloadThroughput=-1,
            uploadThroughput=-1,
        )

    def complaints(self) -> list[Any]:
        """What the console and the log showed since the page was opened, and exceptions nobody
        caught."""
        named = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [e["params"] for e in self._own_events() if e.get("method") in named]

    def events(self, method: str) -> list[dict[str, Any]]:
        """What the browser told of one kind since a page was opened."""
        return [e["params"] for e in self._own_events() if e.get("method") == method]

    def _own_events(self) -> list[dict[str, Any]]:
        return [e for e in self._browser.events if e.get("sessionId") == self._session]

    def requests(self) -> list[str]:
        """Addresses asked for since the page was opened."""
        sent = self.events("Network.requestWillBeSent")
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
