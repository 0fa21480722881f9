"""A project of real DVC.

These tests run in an environment of their own, where DVC is: `make test` makes it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

# Where there is no DVC, the rest of the tests runs.
collect_ignore_glob = [] if find_spec("dvc") else ["test_*.py"]

PROGRAMS = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def pytest_configure(config: pytest.Config) -> None:
    """Warnings that DVC itself gives or brings about are not ours to mend."""
    config.addinivalue_line("filterwarnings", r"ignore:::(dvc|dvc_.*|scmrepo|dulwich|sqltrie)(\..*)?$")


class Project:
    """A git repository with a project of DVC at `folder`, which may be below its top."""

    def __init__(self, top: Path, inner: str = "") -> None:
        self.top = top
        self.folder = top / inner
        self.folder.mkdir(parents=True)
        self.git("init", "-q", "-b", "trunk", str(top))
        self.git("config", "user.name", "Bob Example")
        self.git("config", "user.email", "bob@example.org")
        self.dvc("init", "-q", *(["--subdir"] if inner else []))
        self.dvc("config", "core.autostage", "true")
        self.moment = 1_700_000_000
        self.commit("begin")

    def git(self, *arguments: str, **variables: str) -> str:
        return self._run("git", *arguments, **variables)

    def dvc(self, *arguments: str) -> None:
        """A command of DVC, in this process: to start another one takes a second each time."""
        from dvc.cli import main

        before = os.getcwd()
        os.chdir(self.folder)
        try:
            assert main(list(arguments)) == 0, f"dvc {' '.join(arguments)} failed"
        finally:
            os.chdir(before)

    def _run(self, *command: str, **variables: str) -> str:
        done = subprocess.run(
            command, cwd=self.folder, env=os.environ | {"PATH": PROGRAMS} | variables,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def write(self, path: str, data: bytes) -> Path:
        place = self.folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.is_symlink() or place.exists():
            place.unlink()  # It may be a link to what DVC keeps.
        place.write_bytes(data)
        return place

    def commit(self, message: str, *, tag: str = "") -> str:
        """Commit all; each a day later than the last one. The commit's id."""
        self.git("add", "-A")
        self.moment += 86_400
        when = f"{self.moment} +0200"
        self.git(
            "commit", "-q", "-m", message,
            GIT_AUTHOR_NAME="Ada Example", GIT_AUTHOR_EMAIL="ada@example.org", GIT_AUTHOR_DATE=when,
            GIT_COMMITTER_DATE=when,
        )  # fmt: skip
        if tag:
            self.git("tag", tag)
        return self.git("rev-parse", "HEAD").strip()


@pytest.fixture(autouse=True)
def quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the user's own settings, and no telemetry."""
    (tmp_path / "home").mkdir()
    for name, value in {
        "HOME": str(tmp_path / "home"),
        "DVC_NO_ANALYTICS": "1",
        "DVC_GLOBAL_CONFIG_DIR": str(tmp_path / "home" / "dvc-global"),
        "DVC_SYSTEM_CONFIG_DIR": str(tmp_path / "home" / "dvc-system"),
        "DVC_SITE_CACHE_DIR": str(tmp_path / "home" / "dvc-site"),
        "DATAVER_CACHE_DIR": str(tmp_path / "cache"),
        "DATAVER_AUTHOR": "Importer <importer@example.org>",
        "GIT_CONFIG_NOSYSTEM": "1",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "project")


class Program:
    """The command line on one repository."""

    def __init__(self, repository: Path) -> None:
        self.repository = str(repository)
        self.run("init", self.repository)

    def run(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        """Standard output and standard error."""
        from click.testing import CliRunner

        from dataver.cli import main

        done = CliRunner().invoke(main, ["--repo", self.repository, *arguments])
        assert done.exit_code == code, f"{done.stdout}{done.stderr}"
        return done.stdout, done.stderr

    def json(self, *arguments: str) -> dict[str, Any]:
        """The document of a verb."""
        document: dict[str, Any] = json.loads(self.run(*arguments, "--json")[0])
        return document


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path / "repository")


def files_below(folder: Path) -> dict[str, tuple[bytes, bool]]:
    """Bytes and executable bit of each file, by path."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), bool(path.stat().st_mode & 0o100))
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def served() -> Iterator[Callable[[Path], str]]:
    """Serves folders on 127.0.0.1; gives their URL."""
    from functools import partial
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
    from threading import Thread

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    servers = []

    def serve(folder: Path) -> str:
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
        servers.append(server)
        Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()
