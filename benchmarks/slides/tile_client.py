"""Client for benchmarks of the viewer's server: several connections in one thread, which costs the
machine a tenth of what http.client does, so that it is the server that is measured."""

import selectors
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

CLIENTS = 8  # as many connections as a browser has, and two
BUFFER = bytearray(2**20)


@dataclass
class Connection:
    """One connection, and the answer that it receives."""

    socket: socket.socket
    answer: bytearray = field(default_factory=bytearray)

    def send(self, path: str, headers: str) -> None:
        self.answer.clear()
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n".encode())

    def receive(self) -> bool:
        """Take what has come; return whether the answer is whole."""
        length = self.socket.recv_into(BUFFER)
        assert length, "the server closed the connection"
        self.answer += memoryview(BUFFER)[:length]
        head, found, _ = self.answer.partition(b"\r\n\r\n")
        if not found:
            return False
        assert head.startswith(b"HTTP/1.1 200"), bytes(head)
        size = head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]
        return len(self.answer) >= len(head) + len(found) + int(size)


def get_all(port: int, headers: dict[str, str], paths: list[str]) -> float:
    """Request all paths; return the seconds."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    waiting: Iterator[str] = iter(paths)
    begin = time.perf_counter()
    with selectors.DefaultSelector() as selector:
        for path in islice(waiting, CLIENTS):
            connection = Connection(socket.create_connection(("127.0.0.1", port)))
            selector.register(connection.socket, selectors.EVENT_READ, connection)
            connection.send(path, lines)
        while selector.get_map():
            for key, _ in selector.select():
                connection = key.data
                if not connection.receive():
                    continue
                path = next(waiting, None)
                if path is None:
                    selector.unregister(connection.socket)
                    connection.socket.close()
                else:
                    connection.send(path, lines)
    return time.perf_counter() - begin
