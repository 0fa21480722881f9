"""Azure Machine Learning's own clients, and what they talk to on this machine.

These tests run in an environment of their own, where the clients are: `make test` makes it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import dataver
from dataver.repository import Repository
from tests.azureml import stub
from tests.azureml.stub import Stub

# Where they are not, the rest of the tests runs.
collect_ignore_glob = [] if find_spec("azureml") and find_spec("azure.ai") else ["test_*.py"]

FOREIGN = r"(azure|azureml|mlflow|msrest|marshmallow|opentelemetry|pydash|jsonpickle|requests|adlfs)"


def pytest_configure(config: pytest.Config) -> None:
    """Warnings that the clients themselves give or bring about are not ours to mend."""
    config.addinivalue_line("filterwarnings", rf"ignore:::{FOREIGN}(\..*)?$")


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stub, Path]]:
    with stub.serving(tmp_path_factory.mktemp("stub")) as found:
        yield found


@pytest.fixture(autouse=True)
def no_workspace() -> Iterator[None]:
    """No workspace, tracker or login of the user's."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("AZUREML_", "ARM_", "IDENTITY_", "MSI_", "MLFLOW_")):
                patch.delenv(name)
        yield


@pytest.fixture
def arm(served: tuple[Stub, Path], monkeypatch: pytest.MonkeyPatch) -> Stub:
    """The resource manager with nothing in it; workspace and login are in the environment."""
    found, certificate = served
    found.clear()
    for name, value in workspace_environment(found, certificate).items():
        monkeypatch.setenv(name, value)
    # The client remembers in the environment which cloud it found.
    monkeypatch.setenv("AZUREML_CURRENT_CLOUD", "Here")
    return found


def workspace_environment(found: Stub, certificate: Path) -> dict[str, str]:
    """What leads to the stub, and to a workspace in it."""
    return {
        "ARM_CLOUD_METADATA_URL": f"{found.url}/metadata/endpoints?api-version=2019-05-01",
        "REQUESTS_CA_BUNDLE": str(certificate),
        "IDENTITY_ENDPOINT": f"{found.url}/msi/token",
        "IDENTITY_HEADER": "header",
        "AZUREML_ARM_SUBSCRIPTION": stub.SUBSCRIPTION,
        "AZUREML_ARM_RESOURCEGROUP": stub.GROUP,
        "AZUREML_ARM_WORKSPACE_NAME": stub.WORKSPACE,
    }


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """`iris@v1`, tables in a folder, and `one@v1`, a single file; found by its variable."""
    data = tmp_path / "data"
    (data / "train").mkdir(parents=True)
    (data / "a.csv").write_text("x,y\n1,2\n")
    (data / "train" / "b.csv").write_text("x,y\n3,4\n")
    (tmp_path / "one.csv").write_text("x\n1\n")
    made = dataver.init(tmp_path / "repository")
    made.commit("iris", data, message="first")
    made.commit("one", tmp_path / "one.csv")
    monkeypatch.setenv("DATAVER_REPO", made.url)
    (tmp_path / "place").mkdir()
    monkeypatch.chdir(tmp_path / "place")
    return made


@pytest.fixture
def run() -> Callable[..., Any]:
    """What the command line prints with `--json`, in this process; its error where it is to fail."""
    from click.testing import CliRunner

    from dataver.cli import main

    def invoke(*arguments: str, code: int = 0) -> Any:
        done = CliRunner().invoke(main, [*arguments, "--json"])
        assert done.exit_code == code, done.output
        return json.loads(done.stderr)["error"]["message"] if code else json.loads(done.stdout)

    return invoke
