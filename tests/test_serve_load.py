"""The server under many requests and slow slides: bounded work, none for clients that left."""

import asyncio
import http.client
import socket
import threading
import time
from collections import Counter

import pytest
from gigaslide.serve import slides as slide_routes
from gigaslide.serve.work import MOST_WAITING, WorkQueue
from serving import Served, wait_until


class SlowReader:
    """Tiles that wait until they may be read; counts them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go, self.read = threading.Event(), 0
        real = slide_routes.read_jpeg_tile

        def read_jpeg_tile(*arguments):
            self.read += 1
            assert self.go.wait(60)
            return real(*arguments)

        monkeypatch.setattr(slide_routes, "read_jpeg_tile", read_jpeg_tile)


@pytest.fixture
def slow(monkeypatch) -> SlowReader:
    return SlowReader(monkeypatch)


def ask_without_waiting(served: Served, path: str) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", served.listener.port))
    words = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n"
    client.sendall(f"{words}Authorization: Bearer {served.listener.token}\r\n\r\n".encode())
    return client


def status_of(client: socket.socket) -> int:
    client.settimeout(60)
    answer = http.client.HTTPResponse(client)
    answer.begin()
    answer.read()
    client.close()
    return answer.status


def test_v12_past_the_queue_requests_are_told_to_try_again(slow, served):
    workspace = served.workspace
    most = workspace.pictures.threads + MOST_WAITING
    path = "/api/slides/a/tiles/3/1/1.jpg"
    clients = [ask_without_waiting(served, path) for _ in range(most)]
    wait_until(lambda: workspace.pictures.inside == most, 30)
    refused = served.ask(path)
    assert (refused.status, refused.headers["retry-after"]) == (503, "1")
    assert refused.plain["error"]
    assert served.ask("/api/slides").status == 200  # the rest of the page works
    slow.go.set()
    assert Counter(map(status_of, clients)) == {200: most}
    assert served.ask(path).status == 200


def test_v12_tiles_of_clients_that_left_are_not_decoded(slow, served):
    workspace = served.workspace
    path = "/api/slides/a/tiles/3/1/1.jpg"
    threads = workspace.pictures.threads
    busy = [ask_without_waiting(served, path) for _ in range(threads)]
    wait_until(lambda: slow.read == threads, 30)
    left = [ask_without_waiting(served, path) for _ in range(50)]
    wait_until(lambda: workspace.pictures.inside == threads + 50, 30)
    for client in left:
        client.close()
    time.sleep(0.2)  # the server hears of it
    slow.go.set()
    assert [status_of(client) for client in busy] == [200] * threads
    wait_until(lambda: workspace.pictures.inside == 0, 30)
    assert slow.read == threads
    assert served.ask(path).status == 200


def test_v12_one_slow_slide_does_not_keep_the_list_waiting(slow, served):
    path = "/api/slides/a/tiles/3/1/1.jpg"
    clients = [ask_without_waiting(served, path) for _ in range(20)]
    assert served.ask("/api/slides/b").status == 200
    assert served.ask("/api/slides/b/outlines").status == 200
    assert served.ask("/health").status == 200
    slow.go.set()
    assert set(map(status_of, clients)) == {200}


def test_work_that_ends_after_its_server_leaves_the_threads_usable():
    queue, go = WorkQueue(threads=1), threading.Event()

    async def leave() -> None:
        task = asyncio.create_task(queue.finish(go.wait))
        await asyncio.sleep(0.01)
        task.cancel()

    asyncio.run(leave())
    go.set()
    assert asyncio.run(asyncio.wait_for(queue.finish(int), 20)) == 0


def test_what_fails_on_a_thread_is_raised_to_who_waits():
    async def ask() -> list:
        queue = WorkQueue(threads=2)
        some = (int, lambda: 1 // 0, lambda: next(iter(())), str)
        asked = [queue.finish(work) for work in some]
        return await asyncio.gather(*asked, return_exceptions=True)

    number, error, stopped, text = asyncio.run(asyncio.wait_for(ask(), 20))
    assert (number, text) == (0, "")
    assert (type(error), type(stopped)) == (ZeroDivisionError, RuntimeError)
