"""QuPath's script editor for tests: Groovy with stand-ins for the few classes that scripts use."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

__all__ = ["QuPath", "groovy_environment", "need_groovy"]

STAND_INS = Path(__file__).parent / "groovy"
INNER = "--add-exports=java.net.http/jdk.internal.net.http=ALL-UNNAMED"
"""Groovy 2.4, unlike QuPath's Groovy 4, calls methods of the class that implements an interface."""


def need_groovy() -> None:
    if not (shutil.which("groovy") and shutil.which("java")):
        pytest.skip("groovy is not installed; .ci/groovy install does it on Debian")


def groovy_environment() -> dict[str, str]:
    java = Path(shutil.which("java") or "").resolve().parents[1]
    return {**os.environ, "JAVA_HOME": str(java), "JAVA_OPTS": INNER}


class QuPath:
    """A QuPath with one image, which runs scripts."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            ["groovy", "-cp", str(STAND_INS), str(STAND_INS / "QuPathDriver.groovy")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=groovy_environment(),
        )

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.close()
            self._process.wait(60)
        finally:
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()

    def ask(self, order: str, **fields: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"order": order, **fields}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "Groovy ended; its words are above"
        answer = json.loads(line)
        assert "error" not in answer, answer["error"]
        return answer["answer"]

    def open(self, path: Path, size: tuple[int, int]) -> None:
        self.ask("open", path=str(path), width=size[0], height=size[1])

    def draw(self, *features: dict, selected: bool = False) -> None:
        self.ask("draw", features=features, selected=selected)

    def outlines(self) -> list[dict]:
        return self.ask("list")


@pytest.fixture(scope="module")
def qupath() -> Iterator[QuPath]:
    need_groovy()
    running = QuPath()
    try:
        yield running
    finally:
        running.close()
