"""Interruption of threads: nothing is lost, left running or waited for too long."""

import ctypes
import os
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import pytest
from gigaslide.batch import thread_executor
from gigaslide.batch.blocks import Task
from gigaslide.batch.task import TaskTerms
from gigaslide.batch.thread_executor import ThreadExecutor
from gigaslide.models.runtimes.apart import _run
from gigaslide.models.runtimes.tiles import _Compiled
from sums import Column, Sums

TILE = np.zeros((1, 8, 8, 3), np.uint8)
CHILD = "import os, sys, time; open(sys.argv[1], 'w').write(f'{os.getpid()} '); time.sleep(60)"


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_an_interruption_kills_the_process_that_converts(tmp_path):
    note = tmp_path / "pid"

    def convert() -> None:
        with suppress(KeyboardInterrupt):
            _run([sys.executable, "-c", CHILD, str(note)])

    thread = threading.Thread(target=convert)
    thread.start()
    while not (note.exists() and note.read_text().endswith(" ")):
        time.sleep(0.02)
    assert thread.ident is not None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread.ident), ctypes.py_object(KeyboardInterrupt)
    )
    thread.join(timeout=10)
    assert not thread.is_alive()
    assert not is_running(int(note.read_text()))


def test_a_process_tells_its_status_and_its_errors():
    command = "import sys; print('x' * 10**6); sys.stderr.write('y' * 10**6); sys.exit(3)"
    assert _run([sys.executable, "-c", command]) == (3, "y" * 10**6)


@dataclass
class Compiled:
    """A compiled network that counts its requests; the first calls are interrupted."""

    interruptions: int = 1
    made: int = 0

    def create_infer_request(self) -> "Compiled":
        self.made += 1
        return self

    def infer(self, tiles):
        self.interruptions -= 1
        if self.interruptions >= 0:
            raise KeyboardInterrupt
        return [tiles[0] + 1]


def test_an_interrupted_tile_gives_its_request_back_and_a_lost_one_is_made_again():
    network = _Compiled(
        compiled=(compiled := Compiled()), free=threading.Semaphore(1), is_small=True
    )
    with pytest.raises(KeyboardInterrupt):
        network.compute([TILE])
    assert (len(network.requests), compiled.made) == (1, 1)
    network.requests.clear()  # as if an interruption came before the tile began
    assert network.compute([TILE]).max() == 1
    assert (len(network.requests), compiled.made) == (1, 2)


@dataclass(frozen=True)
class Deaf(Sums):
    """Tasks in a library that does not return soon."""

    def block(self, context, number_):
        time.sleep(4)
        return super().block(context, number_)


def test_all_threads_together_are_waited_for_once(tmp_path, monkeypatch):
    monkeypatch.setattr(thread_executor, "GRACE_S", 0.5)
    terms = TaskTerms(run="r", max_attempts=1, timeout_s=None, log_level=0)
    executor = ThreadExecutor(Deaf(tmp_path), terms, threads=3)
    slides = [Column(name) for name in "abc"]
    for step in ("prepare", "block"):
        for slide in slides:
            executor.submit(Task(slide, step, 0))
        while step == "prepare" and slides and executor.wait(20) is None:
            pass
    time.sleep(0.5)
    start = time.monotonic()
    executor.close()
    assert 0.5 <= time.monotonic() - start < 1.4
