"""A repository behind a plain web server, which knows neither ranges nor writes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from dataver.errors import DataverError, StoreError
from dataver.repository import init, open_repository
from tests.worlds import noise, text

FILES = {"a.txt": text("a", 3_000), "noise.bin": noise("n", 700_000)}


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "data").mkdir()
    for name, data in FILES.items():
        (tmp_path / "data" / name).write_bytes(data)
    init(str(tmp_path / "repository")).commit("d", tmp_path / "data")
    handler = partial(Quiet, directory=str(tmp_path / "repository"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_it_is_read_and_never_written(url: str, tmp_path: Path) -> None:
    repository = open_repository(url)
    version = repository.version("d@v1")
    assert {entry.path: version.read(entry.path) for entry in version.files()} == FILES
    assert version.checkout(tmp_path / "out").files == 2
    assert repository.verify(deep=True).ok
    with pytest.raises(StoreError, match="cannot write object probe/"):
        repository.tag("d@v1", "no")


def test_one_that_is_not_there_is_a_failure_of_ours(url: str) -> None:
    with pytest.raises(DataverError):
        open_repository(f"{url}/nothing")


def test_it_can_be_pulled_from(url: str, tmp_path: Path) -> None:
    here = init(str(tmp_path / "here"))
    assert here.pull(source=url).versions == 1
    version = here.version("d@v1")
    assert {entry.path: version.read(entry.path) for entry in version.files()} == FILES
    assert here.verify(deep=True).ok
    (tmp_path / "data" / "more").write_text("more")
    here.commit("d", tmp_path / "data")
    with pytest.raises(StoreError):
        here.push(to=url)
