"""A TCP proxy in front of an HTTP service that spoils chosen answers, as networks do."""

from __future__ import annotations

import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from typing import NamedTuple

_BLOCK_BYTES = 1 << 20
_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)


class Request(NamedTuple):
    """A request that passes: `number` counts all of them, from 1."""

    number: int
    method: str
    path: str


class Spoil(Enum):
    """What becomes of a request."""

    NOTHING = "it passes"
    ANSWER_LOST = "the service does it, and the connection is reset before the answer"
    ANSWER_CUT = "the connection is reset in the middle of the answer"
    BUSY = "the service is not asked, the answer is 503"


Choose = Callable[[Request], Spoil]


class Proxy:
    """Passes HTTP/1.1 connections on to a port of 127.0.0.1. `choose` is asked at each request."""

    def __init__(self, port: int, choose: Choose) -> None:
        self._target = port
        self._choose = choose
        self._count = 0
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.spoiled: list[Request] = []

    @classmethod
    @contextmanager
    def running(cls, port: int, choose: Choose) -> Iterator[Proxy]:
        """Accept connections until the block ends."""
        proxy = cls(port, choose)
        thread = threading.Thread(target=proxy._accept, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            proxy._listener.shutdown(socket.SHUT_RDWR)
            proxy._listener.close()
            with proxy._lock:
                for connection in proxy._open:
                    _reset(connection)
            thread.join(10)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self._open.append(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError), client:
            data = b""
            while True:
                head, data = _until_blank_line(client, data)
                if not head:
                    return
                method, path, _ = head.split(b" ", 2)
                with self._lock:
                    self._count += 1
                    request = Request(self._count, method.decode(), path.decode())
                spoil = self._choose(request)
                if spoil is not Spoil.NOTHING:
                    with self._lock:
                        self.spoiled.append(request)
                found = _LENGTH.search(head)
                body, data = _exactly(client, data, int(found[1]) if found else 0)
                if spoil is Spoil.BUSY:
                    client.sendall(b"HTTP/1.1 503 Server Busy\r\nContent-Length: 0\r\n\r\n")
                    continue
                # Each on a connection of its own: the service closes idle ones, unseen by the client.
                with socket.create_connection(("127.0.0.1", self._target)) as service:
                    service.sendall(head + body)
                    if not _answer(service, client, spoil, method == b"HEAD"):
                        return


def _answer(service: socket.socket, client: socket.socket, spoil: Spoil, bare: bool) -> bool:
    """Pass one answer on. False where the connection is of no more use."""
    head, data = _until_blank_line(service, b"")
    if not head or spoil is Spoil.ANSWER_LOST:
        _reset(client)
        return False
    found = _LENGTH.search(head)
    if spoil is Spoil.ANSWER_CUT:
        client.sendall(head + data[: len(data) // 2])
        _reset(client)
        return False
    client.sendall(head + data)
    left = (int(found[1]) if found and not bare else 0) - len(data)
    if not found and b"chunked" in head.lower() and not bare:
        while not data.endswith(b"0\r\n\r\n"):
            block = service.recv(_BLOCK_BYTES)
            data = (data + block)[-16:]
            client.sendall(block)
        return True
    while left > 0:
        block = service.recv(_BLOCK_BYTES)
        if not block:
            return False
        client.sendall(block)
        left -= len(block)
    return True


def _until_blank_line(connection: socket.socket, data: bytes) -> tuple[bytes, bytes]:
    """The head of a message and what came behind it; two empty texts where the connection ended."""
    while b"\r\n\r\n" not in data:
        block = connection.recv(_BLOCK_BYTES)
        if not block:
            return b"", b""
        data += block
    head, _, rest = data.partition(b"\r\n\r\n")
    return head + b"\r\n\r\n", rest


def _exactly(connection: socket.socket, data: bytes, length: int) -> tuple[bytes, bytes]:
    blocks, have = [data], len(data)
    while have < length:
        block = connection.recv(_BLOCK_BYTES)
        if not block:
            raise ConnectionResetError
        blocks.append(block)
        have += len(block)
    data = b"".join(blocks)
    return data[:length], data[length:]


def _reset(connection: socket.socket) -> None:
    """Close a connection the hard way: the other end sees a reset, not an end."""
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RD)
        connection.close()
