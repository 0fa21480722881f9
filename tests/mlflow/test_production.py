"""A model that answers in production: what it is asked is captured, committed, and compared with its data."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen
from wsgiref.simple_server import WSGIRequestHandler, make_server

import mlflow
import pytest
from mlflow.pyfunc import scoring_server

import dataver
from dataver.repository import Repository
from dataver.serving import Capture
from dataver.serving.spool import folder_of, is_free, read, waiting
from dataver.serving.tables import timed
from tests.mlflow.conftest import dataver_program, free_port, serving
from tests.mlflow.data import COLUMNS, a_repository, log_model, train

APP = """\
from dataver.serving import Capture
from mlflow.pyfunc.scoring_server.app import app

app = Capture("served", model="model:irism@v1", window=10).asgi(app)
"""
ANSWER_S = 60


@pytest.fixture
def model(tmp_path: Path, tracking: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Repository, Path]:
    """A model of irises that a run of both tools made, and its files."""
    repository, version = a_repository(tmp_path)
    monkeypatch.setenv("DATAVER_REPO", repository.url)
    monkeypatch.setenv("DATAVER_SERVED_DIR", str(tmp_path / "served"))
    with dataver.run("train") as run, mlflow.start_run():
        logged = log_model(
            train(run.use("iris@v1", "training")), "irism", registered_model_name=f"irism-{version.id[:8]}"
        )
    assert [str(made) for made in run.models] == ["irism@v1"]
    return repository, Path(
        mlflow.artifacts.download_artifacts(logged.model_uri, dst_path=str(tmp_path / "m"))
    )


def waits() -> list[Any]:
    """What was captured and is not committed."""
    found: list[Any] = json.loads(dataver_program("served", "served", "--json"))["waiting"]
    return found


def ask(url: str, rows: list[list[float]]) -> list[int]:
    body = json.dumps({"dataframe_split": {"columns": COLUMNS, "data": rows}}).encode()
    request = Request(f"{url}/invocations", body, {"Content-Type": "application/json"})
    with urlopen(request, timeout=ANSWER_S) as answer:
        predictions: list[int] = json.load(answer)["predictions"]
        return predictions


def wait_for_rows(capture: Capture, rows: int) -> None:
    """A request is captured when its answer is sent, of which the client may know sooner."""
    deadline = time.monotonic() + ANSWER_S
    while capture.counts.rows < rows:
        assert time.monotonic() < deadline, capture.counts
        time.sleep(0.02)


def flowers(repository: Repository, grown: float) -> list[list[float]]:
    """The irises that the model was trained on, with sepals that much longer."""
    rows = repository.version("iris@v1").to_arrow().to_pylist()
    return [[row[name] + (grown if name == "sepal_length" else 0) for name in COLUMNS] for row in rows]


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - the name that it has there
        pass


@pytest.fixture
def proxy() -> Iterator[Callable[[Any], str]]:
    """Serves a WSGI application on a port of this machine; gives its URL."""
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


def forward(url: str) -> Callable[..., Iterable[bytes]]:
    """A proxy before a server that cannot be changed."""

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        request = Request(url + environ["PATH_INFO"], body, {"Content-Type": environ["CONTENT_TYPE"]})
        with urlopen(request, timeout=ANSWER_S) as answer:
            start_response("200 OK", [("Content-Type", answer.headers["Content-Type"])])
            return [answer.read()]

    return app


def test_what_is_asked_behind_a_proxy_is_compared_with_what_was_learned(
    model: tuple[Repository, Path], proxy: Callable[[Any], str], tmp_path: Path
) -> None:
    repository, folder = model
    port = free_port()
    command = [
        sys.executable, "-m", "mlflow", "models", "serve", "-m", str(folder), "--env-manager", "local",
        "--host", "127.0.0.1", "--port", str(port),
    ]  # fmt: skip
    capture = Capture("served", model="model:irism@v1")
    with serving(command, f"http://127.0.0.1:{port}/ping", tmp_path):
        url = proxy(capture.wsgi(forward(f"http://127.0.0.1:{port}")))
        usual = ask(url, flowers(repository, 0))
        assert len(usual) == 150
        wait_for_rows(capture, 150)
        served = capture.commit()
        assert served is not None
        assert (served.rows, served.dropped) == (150, {})
        report = json.loads(
            dataver_program("drift", "model:irism@v1", "served@latest", "--fail-on", "drift", "--json")
        )
        assert (report["model"], report["baseline"]["ref"]) == ("model:irism@v1", "iris@v1")
        assert report["left_out"] == ["id", "species", "served_time", "other"]
        ask(url, flowers(repository, 3))
        wait_for_rows(capture, 300)
        capture.commit()
    message = tmp_path / "drift.md"
    told = dataver_program(
        "drift", "model:irism@v1", "served@latest", "--fail-on", "drift", "--markdown", str(message), code=9
    )
    assert "sepal_length drifted from iris@v1" in told
    assert message.read_text().startswith("served@v2 against model:irism@v1: sepal_length drifted\n")
    by_uri = repository.drift(f"models:/irism-{repository.version('iris@v1').id[:8]}/1", "served")
    assert (by_uri.model, by_uri.drifted) == ("model:irism@v1", ("sepal_length",))


def test_the_server_of_mlflow_captures_by_itself(model: tuple[Repository, Path], tmp_path: Path) -> None:
    repository, folder = model
    (tmp_path / "served_app.py").write_text(APP)
    port = free_port()
    setting = f"{scoring_server._SERVER_MODEL_PATH}={folder.as_uri()}"
    command = [
        "/usr/bin/env", setting, sys.executable, "-m", "uvicorn", "served_app:app",
        "--app-dir", str(tmp_path), "--host", "127.0.0.1", "--port", str(port),
    ]  # fmt: skip
    with serving(command, f"http://127.0.0.1:{port}/ping", tmp_path):
        assert len(ask(f"http://127.0.0.1:{port}", flowers(repository, 3))) == 150
        # The window of 10 rows is over, so the server has them committed by itself.
        deadline = time.monotonic() + ANSWER_S
        while (
            json.loads(dataver_program("served", "served", "--json"))["waiting"]
            or not repository.datasets()[1:]
        ):
            assert time.monotonic() < deadline, "nothing is committed"
            time.sleep(0.1)
    assert repository.version("served").to_arrow().num_rows == 150
    assert repository.drift("model:irism@v1", "served").drifted == ("sepal_length",)


WORKERS = """\
import json
from dataver.serving import Capture

def predict(environ, start_response):
    body = environ["wsgi.input"].read() or b'{"dataframe_records": []}'
    rows = json.loads(body)["dataframe_records"]
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"predictions": [0] * len(rows)}).encode()]

app = Capture("served", window="1h").wsgi(predict, paths=["/score"])
"""


def test_the_workers_of_gunicorn_share_a_version_and_may_be_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = dataver.init(tmp_path / "repository")
    monkeypatch.setenv("DATAVER_REPO", repository.url)
    monkeypatch.setenv("DATAVER_SERVED_DIR", str(tmp_path / "served"))
    (tmp_path / "workers_app.py").write_text(WORKERS)
    port = free_port()
    command = [
        sys.executable, "-m", "gunicorn", "--workers", "3", "--preload", "--bind", f"127.0.0.1:{port}",
        "--pythonpath", str(tmp_path), "workers_app:app",
    ]  # fmt: skip
    folder = Path(folder_of(repository.url, "served"))

    def one(number: int) -> None:
        body = json.dumps({"dataframe_records": [{"number": number}]}).encode()
        request = Request(f"http://127.0.0.1:{port}/score", body, {"Content-Type": "application/json"})
        with urlopen(request, timeout=ANSWER_S) as answer:
            assert json.load(answer) == {"predictions": [0]}

    def on_disk() -> int:
        return sum(len(list(timed(read(file.path)))) for file in waiting(str(folder)))

    with serving(command, f"http://127.0.0.1:{port}", tmp_path):
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(one, range(120)))
        deadline = time.monotonic() + ANSWER_S
        while on_disk() < 120:
            assert time.monotonic() < deadline, f"{on_disk()} rows are on disk"
            time.sleep(0.1)
    assert repository.datasets() == []
    # The first of them is gone when its server is waited for, the others soon after.
    deadline = time.monotonic() + ANSWER_S
    while not all(is_free(file.path) for file in waiting(str(folder))):
        assert time.monotonic() < deadline, "a worker that was killed lives on"
        time.sleep(0.1)
    done = json.loads(dataver_program("served", "served", "--commit", "--json"))
    assert (done["rows"], done["version"], done["dropped"]) == (120, "v1", {})
    numbers = repository.version("served").to_arrow()["number"].to_pylist()
    assert sorted(numbers) == [float(number) for number in range(120)]
