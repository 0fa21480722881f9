"""Middleware for WSGI and ASGI applications: what is posted and answered with success is captured.

A body is taken as the application reads it, and goes nowhere before the answer is under way.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, MutableMapping
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataver.serving.capture import Capture

__all__ = ["Asgi", "Wsgi"]

Message = MutableMapping[str, Any]


class _Body:
    """What was read of a body, up to as much as is captured."""

    def __init__(self, bytes_max: int) -> None:
        self.pieces: list[bytes] = []
        self.size_bytes = 0
        self._bytes_max = bytes_max

    @property
    def is_long(self) -> bool:
        """Whether it has more than is captured."""
        return self.size_bytes > self._bytes_max

    def add(self, piece: bytes) -> None:
        """This is read, too."""
        self.size_bytes += len(piece)
        if self.is_long:
            self.pieces = []
        elif piece:
            self.pieces.append(piece)

    def hand_over(self, capture: Capture, content_type: str) -> None:
        """Capture it."""
        if self.is_long:
            capture.drop("too long")
        elif self.pieces:
            capture.body(content_type, b"".join(self.pieces))


class _Input:
    """`wsgi.input`, with what is read of it taken down."""

    def __init__(self, file: Any, body: _Body) -> None:
        self._file = file
        self._body = body

    def read(self, *size: int) -> bytes:
        """As the file below."""
        return self._took(self._file.read(*size))

    def readline(self, *size: int) -> bytes:
        """As the file below."""
        return self._took(self._file.readline(*size))

    def readlines(self, *hint: int) -> list[bytes]:
        """As the file below."""
        return [self._took(line) for line in self._file.readlines(*hint)]

    def __iter__(self) -> Iterator[bytes]:
        return (self._took(line) for line in self._file)

    def __getattr__(self, name: str) -> Any:
        """What only some servers' files have; of these two reads as well, as text wrappers call them."""
        found = getattr(self._file, name)
        if name == "read1":
            return lambda *size: self._took(found(*size))
        return partial(self._read_into, found) if name == "readinto" else found

    def _read_into(self, read: Callable[[Any], int | None], buffer: Any) -> int | None:
        count = read(buffer)
        self._took(bytes(memoryview(buffer).cast("B")[: count or 0]))
        return count

    def _took(self, data: bytes) -> bytes:
        self._body.add(data)
        return data


class _Answer:
    """What a WSGI application answers; the request is captured when the server has sent it."""

    def __init__(self, answer: Iterable[bytes], done: Callable[[], None]) -> None:
        self._answer = answer
        self._done = done

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._answer)

    def __len__(self) -> int:
        return len(self._answer)  # type: ignore[arg-type] # servers ask, and may be told that there is none

    def __bool__(self) -> bool:
        return True

    def close(self) -> None:
        """Nothing more is to be sent."""
        try:
            close = getattr(self._answer, "close", None)
            if close is not None:
                close()
        finally:
            self._done()


class Wsgi:
    """A WSGI application around another one."""

    def __init__(self, capture: Capture, app: Any, paths: Collection[str]) -> None:
        self._capture = capture
        self._app = app
        self._paths = paths

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
        if environ.get("REQUEST_METHOD") != "POST" or path not in self._paths:
            answer: Iterable[bytes] = self._app(environ, start_response)
            return answer
        body, status = _Body(self._capture.body_bytes_max), [""]

        def starting(told: str, *more: Any) -> Any:
            status[0] = told
            return start_response(told, *more)

        def done() -> None:
            if status[0].startswith("2"):
                body.hand_over(self._capture, environ.get("CONTENT_TYPE", ""))

        environ["wsgi.input"] = _Input(environ["wsgi.input"], body)
        return _Answer(self._app(environ, starting), done)


class Asgi:
    """An ASGI application around another one."""

    def __init__(self, capture: Capture, app: Any, paths: Collection[str]) -> None:
        self._capture = capture
        self._app = app
        self._paths = paths

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] not in self._paths:
            await self._app(scope, receive, send)
            return
        body, status = _Body(self._capture.body_bytes_max), [0]

        async def receiving() -> Message:
            message = await receive()
            if message["type"] == "http.request":
                body.add(message.get("body", b""))
            return message

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                status[0] = message["status"]
            await send(message)

        await self._app(scope, receiving, sending)
        if 200 <= status[0] < 300:
            headers = {name.lower(): value for name, value in scope.get("headers", ())}
            body.hand_over(self._capture, headers.get(b"content-type", b"").decode("latin-1"))
