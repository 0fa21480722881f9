"""An SSH agent for tests: Ed25519 keys in this process, asked over a socket as OpenSSH's is.

It speaks the protocol with real signatures, so that no test needs OpenSSH on the machine.
"""

from __future__ import annotations

import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KIND = b"ssh-ed25519"
FAILURE = b"\x05"

Answer = Callable[[bytes], bytes]


def string(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def blob(key: Ed25519PrivateKey) -> bytes:
    return string(KIND) + string(key.public_key().public_bytes_raw())


class Agent:
    """What an agent answers: its keys with comments, and their signatures."""

    def __init__(self, keys: Sequence[tuple[Ed25519PrivateKey, str]], *, refuses: bool = False) -> None:
        self.keys = keys
        self.refuses = refuses
        self.signed: list[bytes] = []

    def __call__(self, request: bytes) -> bytes:
        if request[:1] == b"\x0b":
            # A key of another kind stands among them, as they do in real life.
            other = string(string(b"ssh-rsa") + string(b"\1\0\1")) + string(b"rsa@example.org")
            listed = [string(blob(key)) + string(comment.encode()) for key, comment in self.keys]
            return b"\x0c" + (len(listed) + 1).to_bytes(4, "big") + other + b"".join(listed)
        if request[:1] == b"\x0d" and not self.refuses:
            wanted, rest = take(request[1:])
            data, flags = take(rest)
            assert flags == bytes(4)
            for key, _ in self.keys:
                if blob(key) == wanted:
                    self.signed.append(data)
                    return b"\x0e" + string(string(KIND) + string(key.sign(data)))
        return FAILURE


def take(data: bytes) -> tuple[bytes, bytes]:
    length = int.from_bytes(data[:4], "big")
    return data[4 : 4 + length], data[4 + length :]


@contextmanager
def listening(answer: Answer) -> Iterator[str]:
    """The path of a socket at which `answer` is given what is asked, a message a connection."""
    # Not below `tmp_path`: the path of a socket has 107 bytes at most.
    with tempfile.TemporaryDirectory(prefix="agent-") as folder, socket.socket(socket.AF_UNIX) as server:
        path = str(Path(folder) / "s")
        server.bind(path)
        server.listen()
        thread = threading.Thread(target=_serve, args=(server, answer), daemon=True)
        thread.start()
        try:
            yield path
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def _serve(server: socket.socket, answer: Answer) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection, suppress(OSError):
            head = connection.recv(4, socket.MSG_WAITALL)
            request = connection.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL)
            connection.sendall(answer(request))


def framed(answer: Answer) -> Answer:
    """An answer with its length before it."""
    return lambda request: string(answer(request))
