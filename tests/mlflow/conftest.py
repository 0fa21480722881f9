"""A real MLflow server, started once, and an experiment of its own for each test.

These tests run in an environment of their own, where MLflow is: `make test` makes it.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen
from uuid import uuid4

import pytest

# Where there is no MLflow, the rest of the tests runs.
collect_ignore_glob = [] if find_spec("mlflow") else ["test_*.py"]

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # workers that no test has a job for
}
START_S = 120


def pytest_configure(config: pytest.Config) -> None:
    """Warnings that MLflow itself gives or brings about are not ours to mend."""
    config.addinivalue_line("filterwarnings", r"ignore:::mlflow(\..*)?$")


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens at."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@contextmanager
def serving(command: list[str], probe: str, folder: Path) -> Iterator[None]:
    """A server that answers at the URL `probe` while the body runs; what it says is in `folder`."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    log = folder / f"{uuid4().hex}.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            command, cwd=folder, env=os.environ | QUIET | {"PATH": path}, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        wait_for(probe, server, log)
        yield
    finally:
        # The server starts processes of its own, in the group that it leads. It takes its time to end, and
        # has nothing to save.
        with suppress(ProcessLookupError):  # It may have failed by itself, which is told then.
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    """Return when the URL answers."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text(errors="replace")
        try:
            with urlopen(url, timeout=5):
                return
        except (URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
    raise AssertionError(f"{url} does not answer: {log.read_text(errors='replace')}")


@pytest.fixture(scope="session", autouse=True)
def quiet() -> Iterator[None]:
    """No telemetry, and nothing of the user's own trackers."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("MLFLOW_", "DATABRICKS_")):
                patch.delenv(name)
        for name, value in QUIET.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the server has its runs."""
    return tmp_path_factory.mktemp("mlflow-server") / "mlflow.db"


@pytest.fixture(scope="session")
def server(database: Path, quiet: None) -> Iterator[str]:
    """The URL of a server whose runs are in sqlite."""
    folder, port = database.parent, free_port()
    command = [
        sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{database}",
        "--artifacts-destination", str(folder / "artifacts"), "--host", "127.0.0.1", "--port", str(port),
        "--workers", "1",
    ]  # fmt: skip
    with serving(command, f"http://127.0.0.1:{port}/health", folder):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def tracking(server: str) -> Iterator[str]:
    """The server as the one that MLflow talks to, with a new experiment. Its URL."""
    import mlflow

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", server)
        mlflow.set_tracking_uri(server)
        mlflow.set_registry_uri(None)
        mlflow.set_experiment(f"experiment-{uuid4().hex}")
        yield server
        while mlflow.active_run():
            mlflow.end_run()
        mlflow.set_tracking_uri(None)


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """That of a program started by a test, with the programs of this environment on PATH."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, **more}


def run_program(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The program, run to its end."""
    project = str(Path(__file__).parents[2])
    return subprocess.run(
        [sys.executable, "-m", "dataver.cli", *arguments],
        env=environment({"PYTHONPATH": project}), capture_output=True, text=True, check=False,
    )  # fmt: skip


def dataver_program(*arguments: str, code: int = 0) -> str:
    """What the command line prints, in this process; its errors where it is to fail."""
    from click.testing import CliRunner

    from dataver.cli import main

    done = CliRunner().invoke(main, list(arguments))
    assert done.exit_code == code, done.output
    return done.stderr if code else done.stdout
