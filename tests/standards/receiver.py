"""A receiver of events by HTTP, on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any


@dataclass(slots=True)
class Receiver:
    """What was posted: paths and documents, and the authorization of each; what is answered.

    While `hold` is not set, no answer is given.
    """

    url: str = ""
    status: int = 200
    received: list[tuple[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    hold: Event = field(default_factory=Event)


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver that answers while the body runs."""
    receiver = Receiver()
    receiver.hold.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.hold.wait(60)
            receiver.received.append((self.path, json.loads(data)))
            receiver.keys.append(self.headers.get("Authorization", ""))
            self.send_response(receiver.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        receiver.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield receiver
        finally:
            receiver.hold.set()
            server.shutdown()
