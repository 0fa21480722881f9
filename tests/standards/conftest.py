"""Where the libraries of the standards are, what is exported is read by them.

These tests run in an environment of their own: `make test` makes it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

import dataver
from tests.standards.data import World, made_world
from tests.standards.receiver import Receiver, receiving

LIBRARIES = ("openlineage", "mlcroissant", "cyclonedx", "prov")
# Where they are not, the rest of the tests runs.
collect_ignore_glob = [] if all(map(find_spec, LIBRARIES)) else ["test_*.py"]


def pytest_configure(config: pytest.Config) -> None:
    """Warnings that the libraries give are not ours to mend."""
    config.addinivalue_line("filterwarnings", r"ignore:::(mlcroissant|rdflib)(\..*)?$")


def keep_quiet(patch: pytest.MonkeyPatch, home: Path) -> None:
    """Nothing of the user's own, and nothing sent anywhere."""
    for name in list(os.environ):
        if name.startswith(("OPENLINEAGE", "DATAVER_")):
            patch.delenv(name)
    patch.setenv("HOME", str(home / "home"))
    patch.setenv("DATAVER_CACHE_DIR", str(home / "cache"))
    patch.setenv("DATAVER_SPOOL_DIR", str(home / "spool"))
    patch.setenv("DATAVER_AUTHOR", "Ada Example <ada@example.org>")


@pytest.fixture(autouse=True)
def quiet(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home of the test's own."""
    keep_quiet(monkeypatch, tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def first_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The repository of all tests, which none of them changes."""
    folder = tmp_path_factory.mktemp("world")
    with pytest.MonkeyPatch.context() as patch:
        keep_quiet(patch, tmp_path_factory.mktemp("home"))
        patch.chdir(folder)
        return made_world(folder)


@pytest.fixture
def world(first_world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A repository with three versions and a model, and the folder of it as the working one."""
    shutil.copytree(first_world.folder, tmp_path, dirs_exist_ok=True, symlinks=True)
    monkeypatch.chdir(tmp_path)
    return replace(first_world, repository=dataver.open(tmp_path / ".dataver"), folder=tmp_path)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Somebody to send events to."""
    with receiving() as found:
        yield found
