"""Services that capture what they are asked: of threads, of processes, killed, and asked for too much."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen
from wsgiref.simple_server import WSGIRequestHandler, make_server

import numpy
import pytest

import dataver
from dataver.errors import NotFoundError
from dataver.repository import Repository
from dataver.serving import Capture
from dataver.serving.committer import BUSY, Committer
from dataver.serving.committing import commit_waiting
from dataver.serving.spool import LOCK, Spool, held, is_free, waiting

WAIT_S = 60
BODY = json.dumps({"dataframe_records": [{"age": 41, "country": "DE"}]}).encode()


@pytest.fixture(autouse=True)
def served_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAVER_SERVED_DIR", str(tmp_path / "served"))


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return dataver.init(tmp_path / "repository")


def until(seen: Callable[[], Any]) -> Any:
    """What `seen` gives once that is something."""
    deadline = time.monotonic() + WAIT_S
    while not (found := seen()):
        assert time.monotonic() < deadline, "it does not come to pass"
        time.sleep(0.02)
    return found


def rows_of(repository: Repository) -> list[dict[str, Any]]:
    """All rows that were committed; none before there is a version."""
    try:
        rows: list[dict[str, Any]] = repository.version("served").to_arrow().to_pylist()
    except NotFoundError:
        return []
    return rows


# Middleware


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answers with the length of what it was sent, or refuses it."""
    size = int(environ.get("CONTENT_LENGTH") or 0)
    body = environ["wsgi.input"].read(size) if size else b""
    refused = b"refuse" in body
    start_response("400 Bad Request" if refused else "200 OK", [("Content-Type", "text/plain")])
    return [str(len(body)).encode()]


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - the name that it has there
        pass


@pytest.fixture
def serve() -> Iterator[Callable[[Any], str]]:
    """Serves WSGI applications on ports of this machine; gives their URLs."""
    servers = []

    def start(app: Any) -> str:
        server = make_server("127.0.0.1", 0, app, handler_class=Quiet)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


def post(url: str, body: bytes, kind: str = "application/json") -> bytes:
    with urlopen(Request(url, body, {"Content-Type": kind}), timeout=WAIT_S) as answer:
        data: bytes = answer.read()
        return data


def test_a_wsgi_server_is_captured(repository: Repository, serve: Callable[[Any], str]) -> None:
    capture = Capture("served", repo=repository.url, body_bytes_max=1000, model="model:churn@v1")
    url = serve(capture.wsgi(application))
    with urlopen(
        Request(f"{url}/invocations", BODY, {"Content-Type": "application/json"}), timeout=WAIT_S
    ) as found:
        assert found.read() == str(len(BODY)).encode()
        assert found.headers["Content-Length"] == "2"  # as without the middleware
    assert post(f"{url}/invocations", b"age,country\n7,FR\n", "text/csv")
    with pytest.raises(HTTPError):
        post(f"{url}/invocations", b'{"instances": [{"age": "refuse"}]}')
    post(f"{url}/elsewhere", BODY)
    post(f"{url}/invocations", b"x" * 2000)
    post(f"{url}/invocations", b"no json")
    with urlopen(f"{url}/invocations", timeout=WAIT_S) as answer:
        assert answer.read() == b"0"
    until(lambda: sum(capture.counts.dropped.values()) == 2)
    assert capture.counts.dropped == {"too long": 1, "not understood": 1}
    served = capture.commit()
    assert served is not None
    assert (served.rows, served.dropped) == (2, {"too long": 1, "not understood": 1})
    first, second = rows_of(repository)
    assert (first["age"], first["country"], first["other"]) == (41.0, "DE", None)
    assert (second["age"], second["country"], second["other"]) == (7.0, "FR", None)
    shown = repository.show("served")
    assert shown.message.endswith("not captured: too long 1, not understood 1")
    assert (shown.meta["served.rows"], shown.meta["served.dropped"]) == ("2", "2")
    assert shown.meta["served.model"] == "model:churn@v1"
    (path,) = [str(entry.path) for entry in repository.version("served").files()]
    assert path.startswith(f"date={first['served_time']:%Y-%m-%d}/hour={first['served_time']:%H}/")


@pytest.mark.parametrize(
    "read",
    [
        lambda file: file.read(),
        lambda file: b"".join(iter(lambda: file.read1(7), b"")),
        b"".join,
        lambda file: b"".join(file.readlines()),
        lambda file: b"".join(iter(file.readline, b"")),
        lambda file: io.TextIOWrapper(file, newline="").read().encode(),
        lambda file: io.BufferedReader(file).read(),
    ],
    ids=["read", "read1", "lines", "readlines", "readline", "text", "buffered"],
)
def test_a_body_is_captured_however_it_is_read(repository: Repository, read: Callable[[Any], bytes]) -> None:
    capture = Capture("served", repo=repository.url)
    seen = []

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        seen.append(read(environ["wsgi.input"]))
        start_response("200 OK", [])
        return [b""]

    body = b"a,b\n" + b"1,x\n2,y\n" * 20
    answer: Any = capture.wsgi(app)(
        {
            "REQUEST_METHOD": "POST", "PATH_INFO": "/invocations", "CONTENT_TYPE": "text/csv",
            "wsgi.input": io.BytesIO(body),
        },
        lambda *_: None,
    )  # fmt: skip
    assert list(answer) == [b""]
    answer.close()
    assert seen == [body]
    capture.close()
    assert capture.counts.rows == 40


def test_an_asgi_application_is_captured(repository: Repository) -> None:
    capture = Capture("served", repo=repository.url)

    async def app(
        scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        more = scope["type"] == "http"
        while more:
            more = (await receive()).get("more_body", False)
        status = 500 if scope.get("query_string") else 200
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    async def ask(**scope: Any) -> list[Any]:
        pieces = iter([BODY[:9], BODY[9:]])
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            piece = next(pieces)
            return {"type": "http.request", "body": piece, "more_body": piece != BODY[9:]}

        async def send(message: Any) -> None:
            sent.append(message)

        http = {"type": "http", "method": "POST", "path": "/invocations"}
        headers = [(b"Content-Type", b"application/json")]
        await capture.asgi(app)({**http, "headers": headers, **scope}, receive, send)
        return sent

    for scope in ({}, {"path": "/ping"}, {"method": "GET"}, {"query_string": b"x"}, {"type": "lifespan"}):
        assert [message["type"] for message in asyncio.run(ask(**scope))][-1] == "http.response.body"
    served = capture.commit()
    assert served is not None
    assert served.rows == 1
    assert [(row["age"], row["country"]) for row in rows_of(repository)] == [(41.0, "DE")]


# Under load


def test_a_full_queue_is_counted_and_nobody_waits(repository: Repository) -> None:
    capture = Capture("served", repo=repository.url, queue_max=2)
    held_up, go_on = threading.Event(), threading.Event()

    class Slow(list[Any]):
        def __iter__(self) -> Iterator[Any]:
            held_up.set()
            assert go_on.wait(WAIT_S)
            return super().__iter__()

    capture.rows(Slow([{"a": 0}]))
    assert held_up.wait(WAIT_S)
    for number in range(10):
        capture.rows([{"a": number}])
    assert capture.counts.dropped == {"queue full": 8}
    go_on.set()
    served = capture.commit()
    assert served is not None
    assert (served.rows, served.dropped) == (3, {"queue full": 8})


def test_large_bodies_fill_the_queue_sooner(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dataver.serving.capture.QUEUE_BYTES_MAX", 3 * len(BODY))
    capture = Capture("served", repo=repository.url)
    held_up, go_on = threading.Event(), threading.Event()

    class Slow(list[Any]):
        def __iter__(self) -> Iterator[Any]:
            held_up.set()
            assert go_on.wait(WAIT_S)
            return super().__iter__()

    capture.rows(Slow())
    assert held_up.wait(WAIT_S)
    for _ in range(5):
        capture.body("application/json", BODY)
    assert capture.counts.dropped == {"queue full": 2}
    go_on.set()
    until(lambda: capture.counts.rows == 3)
    capture.body("application/json", BODY)
    served = capture.commit()
    assert served is not None
    assert served.rows == 4


def test_a_full_spool_is_counted(
    repository: Repository, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    capture = Capture("served", repo=repository.url, window=1, spool_bytes_max=1, columns=["a"])
    repository_place, away = Path(repository.url), tmp_path / "away"
    repository_place.rename(away)  # What is captured cannot be committed, and has to wait.
    with caplog.at_level(logging.WARNING, "dataver.serving"):
        capture.rows([{"a": 1, "b": 2}])
        until(lambda: capture.counts.rows == 1)
        capture.rows([{"a": 2}])
        until(lambda: capture.counts.dropped == {"disk full": 1})
        until(lambda: "could not be committed" in caplog.text)
    away.rename(repository_place)
    served = capture.commit()
    assert served is not None
    assert served.rows == 1
    assert {name: row for name, row in rows_of(repository)[0].items() if name != "served_time"} == {
        "a": 1.0,
        "other": None,
    }


def test_a_commit_that_cannot_be_started_is_told_and_rows_wait(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("sys.executable", str(Path(repository.url) / "python"))
    capture = Capture("served", repo=repository.url, window=1)
    with caplog.at_level(logging.WARNING, "dataver.serving"):
        capture.rows([{"a": 1}])
        until(lambda: "rows of served wait in" in caplog.text)
    capture.rows([{"a": 2}])
    monkeypatch.undo()
    served = capture.commit()
    assert served is not None
    assert (served.rows, served.dropped) == (2, {})


def test_no_request_keeps_others_from_being_committed(repository: Repository) -> None:
    capture = Capture("served", repo=repository.url)
    for body in (b'{"a": "\\ud800"}', b'{"\\udfff": 1}', b'{"a": ["\\ud800"]}', b'{"a": "x"}'):
        capture.body("application/json", body)
    capture.rows([{"a": numpy.array([1, 2])}])
    capture.rows([{"a": {(1, 2): 3}}])
    served = capture.commit()
    assert served is not None
    assert (served.rows, served.dropped) == (5, {"not understood": 1})
    assert [row["a"] for row in rows_of(repository)] == ["?", None, '["?"]', "x", "[1, 2]"]


def test_what_cannot_be_written_is_counted_and_told(
    repository: Repository, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "served").write_text("a file where the folder is to be")
    capture = Capture("served", repo=repository.url)
    with caplog.at_level(logging.WARNING, "dataver.serving"):
        capture.rows([{"a": 1}])
        capture.close()
    assert capture.counts.dropped == {"cannot be written": 1}
    assert f"cannot be written to {capture.folder}" in caplog.text


def test_a_share_of_requests_is_taken(repository: Repository) -> None:
    capture = Capture("served", repo=repository.url, fraction=0.25, queue_max=10_000)
    for number in range(4000):
        capture.rows([{"a": number}])
    served = capture.commit()
    assert served is not None
    assert 800 < served.rows < 1200
    assert repository.show("served").meta["served.fraction"] == "0.25"


# By itself, from many processes, and after a crash


def test_a_window_that_is_full_is_committed_by_itself(repository: Repository) -> None:
    capture = Capture("served", repo=repository.url, window=5, author="service")
    for number in range(10):
        capture.rows([{"a": number}])
    found = until(lambda: len(rows_of(repository)) >= 5 and rows_of(repository))
    assert {row["a"] for row in found} <= set(map(float, range(10)))
    assert repository.show("served").author == "service"
    capture.commit()
    assert sorted(row["a"] for row in rows_of(repository)) == list(map(float, range(10)))
    assert not waiting(capture.folder)


def test_workers_start_no_process_after_the_other_while_one_commits(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("dataver.serving.committer.RETRY_S", 3600.0)
    monkeypatch.setattr("dataver.serving.committer.GATHER_S", 0.0)
    spool = Spool(str(tmp_path / "spool"), {}, 0, 1, 1 << 20)
    for _ in range(2):
        spool.add(1, [{"a": 1}], {})
    document: dict[str, Any] = {
        "url": repository.url, "dataset": "served", "folder": spool.folder, "author": None,
        "storage_options": {},
    }  # fmt: skip
    started = tmp_path / "started"
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho x >> "{started}"\n"{sys.executable}" "$@"\necho $? >> "{started}"\n'
                      f'exit $(tail -n 1 "{started}")\n')  # fmt: skip
    python.chmod(0o700)
    committer = Committer(spool, document, str(python))

    def tick() -> bool:
        committer.tick(time.time())
        return started.exists() and started.read_text().count("\n") > 1

    with held(os.path.join(spool.folder, LOCK), make=True) as ours:
        assert ours
        until(tick)
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:
            tick()
    assert started.read_text() == f"x\n{BUSY}\n"
    assert not caplog.records
    committer.close()
    spool.close()


def ask_some(capture: Capture, worker: int) -> None:
    for number in range(50):
        capture.rows([{"worker": worker, "number": number}])
    capture.close()


def test_many_processes_serve_at_once(repository: Repository) -> None:
    capture = Capture("served", repo=repository.url, window=20)
    capture.rows([{"worker": -1, "number": 0}])
    until(lambda: capture.counts.rows == 1)
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=ask_some, args=(capture, number)) for number in range(4)]
    with pytest.warns(DeprecationWarning, match="fork") if sys.version_info >= (3, 12) else nullcontext():
        for worker in workers:
            worker.start()
    for worker in workers:
        worker.join(WAIT_S)
        assert worker.exitcode == 0
    capture.close()
    wanted = {(-1.0, 0.0), *((float(worker), float(number)) for worker in range(4) for number in range(50))}

    def everything() -> bool:
        commit_waiting(repository, "served", capture.folder)
        return not waiting(capture.folder)

    until(everything)
    found = [(row["worker"], row["number"]) for row in rows_of(repository)]
    assert len(found) == len(wanted)
    assert set(found) == wanted


def test_rows_of_a_killed_server_are_committed_by_the_next_one(repository: Repository) -> None:
    code = (
        "import sys, time\n"
        "from dataver.serving import Capture\n"
        "capture = Capture('served', repo=sys.argv[1], window=1000)\n"
        "for number in range(10): capture.rows([{'a': number}])\n"
        "while capture.counts.rows < 10: time.sleep(0.01)\n"
        "print('captured', flush=True); time.sleep(600)\n"
    )
    server = subprocess.Popen([sys.executable, "-c", code, repository.url], stdout=subprocess.PIPE)
    assert server.stdout is not None
    assert server.stdout.readline() == b"captured\n"
    os.kill(server.pid, signal.SIGKILL)
    server.wait()
    server.stdout.close()
    assert rows_of(repository) == []
    capture = Capture("served", repo=repository.url, window=1000)
    capture.rows([{"a": -1}])
    until(lambda: len(rows_of(repository)) == 10)
    capture.commit()
    assert sorted(row["a"] for row in rows_of(repository)) == list(map(float, range(-1, 10)))


def test_rows_of_a_killed_server_do_not_wait_for_its_children(repository: Repository) -> None:
    code = (
        "import os, sys, time\n"
        "from dataver.serving import Capture\n"
        "capture = Capture('served', repo=sys.argv[1], window=1000)\n"
        "capture.rows([{'a': 1}])\n"
        "while capture.counts.rows < 1: time.sleep(0.01)\n"
        "if os.fork() == 0:\n"
        "    print('child', os.getpid(), flush=True)\n"
        "time.sleep(600)\n"
    )
    server = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code, repository.url], stdout=subprocess.PIPE
    )
    assert server.stdout is not None
    child = int(server.stdout.readline().split()[1])
    try:
        folder = Capture("served", repo=repository.url).folder
        (file,) = waiting(folder)
        assert not is_free(file.path)  # The child has it open no more, and it is the server's still.
        os.kill(server.pid, signal.SIGKILL)
        server.wait()
        served = commit_waiting(repository, "served", folder)
        assert served is not None
        assert served.rows == 1
    finally:
        os.kill(child, signal.SIGKILL)
        server.stdout.close()


def test_what_is_committed_twice_is_there_once(repository: Repository, tmp_path: Path) -> None:
    capture = Capture("served", repo=repository.url)
    capture.rows([{"a": 1}])
    capture.close()
    shutil.copytree(capture.folder, tmp_path / "copy")
    first = capture.commit()
    shutil.rmtree(capture.folder)
    shutil.copytree(tmp_path / "copy", capture.folder)
    again = capture.commit()
    assert first is not None
    assert again is not None
    assert first.result is not None
    assert again.result is not None
    assert (first.result.created, again.result.created) == (True, False)
    assert len(rows_of(repository)) == 1


def test_windows_of_other_days_have_the_same_columns(repository: Repository) -> None:
    capture = Capture("served", repo=repository.url)
    capture.rows([{"a": 1, "b": "x"}])
    capture.commit()
    capture.rows([{"b": 2, "c": True}])
    capture.commit()
    assert repository.version("served").schema().names == ["served_time", "a", "b", "other"]
    rows = sorted(rows_of(repository), key=lambda row: row["served_time"])
    assert [(row["a"], row["b"]) for row in rows] == [(1.0, "x"), (None, None)]
    assert json.loads(rows[1]["other"]) == {"b": 2, "c": True}
