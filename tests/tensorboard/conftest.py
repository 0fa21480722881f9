"""A real TensorBoard over log folders of runs, with either of its loaders.

These tests run in an environment of their own, where TensorBoard is: `make test` makes it.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest

import dataver
from dataver.repository import Repository
from tests.mlflow.conftest import free_port, serving

# Where there is no TensorBoard, the rest of the tests runs.
collect_ignore_glob = [] if find_spec("tensorboard") else ["test_*.py"]

LOADERS = ("--load_fast=true", "--load_fast=false")
WAIT_S = 60


def pytest_configure(config: pytest.Config) -> None:
    """Warnings that TensorBoard itself gives are not ours to mend."""
    config.addinivalue_line("filterwarnings", r"ignore:::tensorboard(\..*)?$")


class Board:
    """A TensorBoard that is on, asked as its pages ask it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str, **query: str) -> Any:
        with urlopen(f"{self.url}/data/{path}?{urlencode(query)}", timeout=WAIT_S) as answer:
            return json.load(answer)

    def sessions(self, *filters: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """The sessions that pass all filters on hyperparameters, by the name of the run."""
        asked = {
            "experimentName": "",
            "allowedStatuses": ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"],
            "colParams": list(filters), "startIndex": 0, "sliceSize": 100,
        }  # fmt: skip
        request = Request(
            f"{self.url}/data/plugin/hparams/session_groups",
            json.dumps(asked).encode(),
            {"Content-Type": "application/json"},
        )
        with urlopen(request, timeout=WAIT_S) as answer:
            groups = json.load(answer).get("sessionGroups", [])
        return {session["name"]: {**session, **group} for group in groups for session in group["sessions"]}

    def points(self, run: str, tag: str) -> list[float]:
        """The values of a scalar so far."""
        if tag not in self.get("plugin/scalars/tags").get(run, {}):
            return []
        return [value for _, _, value in self.get("plugin/scalars/scalars", run=run, tag=tag)]

    def until(self, seen: Callable[[Board], Any]) -> Any:
        """What `seen` gives once that is something: TensorBoard looks at its folder every second."""
        deadline = time.monotonic() + WAIT_S
        while not (found := seen(self)):
            assert time.monotonic() < deadline, "TensorBoard does not show it"
            time.sleep(0.1)
        return found


@contextmanager
def board(folder: Path, loader: str) -> Iterator[Board]:
    """TensorBoard over the log folders below a folder."""
    port = free_port()
    command = [
        sys.executable, "-m", "tensorboard.main", "--logdir", str(folder), "--host", "127.0.0.1",
        "--port", str(port), "--reload_interval", "1", loader,
    ]  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    with serving(command, f"{url}/data/environment", folder.parent):
        yield Board(url)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """One with two versions of `iris`, that is found in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATAVER_REPO", str(tmp_path / "repository"))
    found = dataver.init(tmp_path / "repository")
    data = tmp_path / "data"
    data.mkdir()
    for content in ("1\n", "2\n"):
        (data / "a.csv").write_text(content)
        found.commit("iris", data)
    return found
