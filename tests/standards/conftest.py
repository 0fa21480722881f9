"""Where the libraries of the standards are, what is exported is read by them.

These tests run in an environment of their own: `make test` makes it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.standards.data import World, made_world
from tests.standards.receiver import Receiver, receiving

LIBRARIES = ("openlineage", "mlcroissant", "cyclonedx", "prov")
# Where they are not, the rest of the tests runs.
collect_ignore_glob = [] if all(map(find_spec, LIBRARIES)) else ["test_*.py"]


def pytest_configure(config: pytest.Config) -> None:
    """Warnings that the libraries give are not ours to mend."""
    config.addinivalue_line("filterwarnings", r"ignore:::(mlcroissant|rdflib)(\..*)?$")


@pytest.fixture(autouse=True)
def quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the user's own, and nothing sent anywhere."""
    for name in list(os.environ):
        if name.startswith(("OPENLINEAGE", "DATAVER_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DATAVER_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("DATAVER_SPOOL_DIR", str(tmp_path / "spool"))
    monkeypatch.setenv("DATAVER_AUTHOR", "Ada Example <ada@example.org>")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A repository with three versions and a model, and the folder of it as the working one."""
    monkeypatch.chdir(tmp_path)
    return made_world(tmp_path)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Somebody to send events to."""
    with receiving() as found:
        yield found
