"""Receivers of telemetry, and the program, which sends it to them.

These tests run in an environment of their own, where the exporters are: `make test` makes it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.telemetry.receivers import Collector, Ingestion

PROJECT = Path(__file__).parents[2]
WAIT_S = 60
Program = Callable[..., subprocess.CompletedProcess[str]]


def installed() -> bool:
    """Whether what these tests speak to is there."""
    try:
        return bool(find_spec("azure.monitor.opentelemetry.exporter") and find_spec("duckdb_kql"))
    except ModuleNotFoundError:
        return False


# Where there are no exporters, the rest of the tests runs.
collect_ignore_glob = [] if installed() else ["test_*.py"]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, empty, and an environment that says nothing of telemetry."""
    for name in list(os.environ):
        if name.startswith(("OTEL_", "APPLICATIONINSIGHTS_", "TRACE")):
            monkeypatch.delenv(name)
    # Tests of what arrives, save those of the end, are not to hang on how busy the machine is.
    monkeypatch.setenv("DATAVER_TELEMETRY_WAIT", str(WAIT_S))
    folder = tmp_path / "place"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def program() -> Program:
    """The program, run to its end, with more of an environment. It must end well unless told otherwise."""

    def start(*arguments: str, code: int | None = 0, **environment: str) -> subprocess.CompletedProcess[str]:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", "dataver.cli", *arguments],
            env={**os.environ, "PATH": path, "PYTHONPATH": str(PROJECT), **environment},
            capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        assert code is None or done.returncode == code, done.stderr
        return done

    return start


@pytest.fixture
def ingestion() -> Iterator[Ingestion]:
    """What stands for Application Insights."""
    from tests.telemetry.receivers import ingesting

    with ingesting() as found:
        yield found


@pytest.fixture
def azure_monitor(ingestion: Ingestion) -> dict[str, str]:
    """The environment that sends to it."""
    return {
        "DATAVER_TELEMETRY": "azuremonitor",
        "APPLICATIONINSIGHTS_CONNECTION_STRING": ingestion.connection_string,
    }


@pytest.fixture
def collector() -> Iterator[Collector]:
    """What stands for a collector."""
    from tests.telemetry.receivers import collecting

    with collecting() as found:
        yield found


@pytest.fixture
def otlp(collector: Collector) -> dict[str, str]:
    """The environment that sends to it."""
    return {"DATAVER_TELEMETRY": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}


@pytest.fixture
def iris(place: Path) -> Path:
    """`iris@v1` and `iris@v2` in a repository here, of the folder that is given; nothing is sent of it."""
    import dataver

    folder = place / "data"
    folder.mkdir()
    repository = dataver.init()
    for name in ("a", "b"):
        (folder / f"{name}.csv").write_text(f"{name}\n1\n")
        repository.commit("iris", folder)
    return folder


@pytest.fixture(scope="session")
def life_at_application_insights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ingestion]:
    """What a life of some datasets sent to Application Insights, with columns named."""
    from tests.telemetry.life import live
    from tests.telemetry.receivers import ingesting

    folder = tmp_path_factory.mktemp("life")
    with ingesting() as found:
        more = {
            "DATAVER_CACHE_DIR": str(folder / "cache"),
            "DATAVER_TELEMETRY_WAIT": str(WAIT_S),
            "DATAVER_TELEMETRY": "azuremonitor",
            "DATAVER_TELEMETRY_COLUMNS": "1",
            "APPLICATIONINSIGHTS_CONNECTION_STRING": found.connection_string,
        }
        live(folder / "place", more)
        # What a request did not deliver waits a minute for a later command; here it counts as sent.
        for kept in sorted((folder / "cache" / "telemetry").glob("*.blob*")):
            found.take([json.loads(line) for line in kept.read_text(encoding="utf-8").splitlines()])
        yield found


@pytest.fixture(scope="session")
def life_at_a_collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    """The same at a collector, with no columns named."""
    from tests.telemetry.life import live
    from tests.telemetry.receivers import collecting

    folder = tmp_path_factory.mktemp("life")
    with collecting() as found:
        more = {
            "DATAVER_CACHE_DIR": str(folder / "cache"),
            "DATAVER_TELEMETRY_WAIT": str(WAIT_S),
            "DATAVER_TELEMETRY": "otlp",
            "OTEL_EXPORTER_OTLP_ENDPOINT": found.url,
        }
        live(folder / "place", more)
        yield found
