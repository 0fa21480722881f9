"""What `lineage` and `audit` make of assets of a workspace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import dataver
from dataver.repository import Repository
from tests.azureml.stub import Stub

Run = Callable[..., Any]
JOB = "brave_cloud_1x2y3z"


@pytest.fixture
def asset(repository: Repository, arm: Stub, run: Run) -> str:
    """`iris@v1`, as it is registered. Its id."""
    from dataver.integrations.azureml.asset import asset_of
    from dataver.integrations.azureml.workspace import need_workspace

    version = repository.version("iris@v1")
    asset_of(version, "uri_folder", "azureml://datastores/blobs/paths/x/").register(need_workspace().client())
    return version.id


def add_model(arm: Stub, **properties: Any) -> None:
    arm.assets["models", "churn", "2"] = {
        "modelType": "custom_model",
        "modelUri": "",
        "flavors": {},
        **properties,
    }


def test_a_data_asset_is_its_version(asset: str, arm: Stub, run: Run) -> None:
    for text in ("azureml:iris:1", "azureml:data/iris:1"):
        found = run("audit", text, "--verify")
        assert found["status"] == "traced"
        assert [(given["node"], given["id"], given["verified"]) for given in found["data"]] == [
            ("iris@v1", asset, True)
        ]
        found = run("lineage", text)
        assert "iris@v1" in [node["id"] for node in found["nodes"]]


def test_a_data_asset_of_somebody_else_cannot_be_traced(repository: Repository, arm: Stub, run: Run) -> None:
    arm.assets["data", "iris", "1"] = {
        "dataType": "uri_folder",
        "dataUri": "azureml://datastores/blobs/paths/x",
    }
    run("audit", "azureml:iris:1", code=3)
    run("audit", "azureml:iris:2", code=3)
    run("audit", "azureml:models/iris:1", code=3)
    assert "azureml:NAME:VERSION" in run("audit", "azureml:iris", code=2)


def test_an_asset_of_other_bytes_is_damage(asset: str, arm: Stub, run: Run) -> None:
    arm.assets["data", "iris", "1"]["tags"]["dataver.digest"] = "0" * 64
    run("audit", "azureml:iris:1", code=5)


@pytest.mark.parametrize(
    "made",
    [
        {"jobName": JOB},
        {"modelUri": f"azureml://jobs/{JOB}/outputs/artifacts/paths/model"},
        {"modelUri": f"runs:/{JOB}/model"},
        {"modelUri": f"azureml://datastores/workspaceartifactstore/paths/ExperimentRun/dcid.{JOB}/model"},
    ],
)
def test_a_model_is_traced_by_the_job_that_made_it(
    made: dict[str, str], repository: Repository, arm: Stub, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_model(arm, **made)
    assert JOB in run("audit", "azureml:churn:2", code=3)
    monkeypatch.setenv("AZUREML_RUN_ID", JOB)
    with dataver.run("train") as here:
        dataver.resolve("iris@v1").to_arrow(format="csv")
    found = run("audit", "azureml:churn:2")
    assert (found["status"], found["run"]["id"]) == ("traced", here.id)
    assert [given["node"] for given in found["data"]] == ["iris@v1"]
    nodes = [node["id"] for node in run("lineage", "azureml:churn:2")["nodes"]]
    assert {"iris@v1", f"run:{here.id}"} <= set(nodes)


def test_a_model_says_itself_what_it_was_made_of(repository: Repository, arm: Stub, run: Run) -> None:
    id = repository.version("iris@v1").id
    add_model(arm, tags={"dataver.input.training": f"iris@v1#{id}", "dataver.input.x": "nonsense"})
    found = run("audit", "azureml:churn:2")
    assert [(given["role"], given["node"]) for given in found["data"]] == [("training", "iris@v1")]
    edges = run("lineage", "azureml:churn:2")["edges"]
    assert {"from": "iris@v1", "to": "azureml:churn:2", "kind": "read"}.items() <= edges[0].items()


def test_a_model_comes_before_data_of_its_name(asset: str, arm: Stub, run: Run) -> None:
    arm.assets["models", "iris", "1"] = {"modelType": "custom_model", "modelUri": "", "flavors": {}}
    run("audit", "azureml:iris:1", code=3)
    assert run("audit", "azureml:data/iris:1")["status"] == "traced"


def test_without_a_workspace(repository: Repository, run: Run) -> None:
    assert "workspace" in run("audit", "azureml:iris:1", code=2)


def test_a_dataset_may_be_called_so(repository: Repository, run: Run, tmp_path: Any) -> None:
    repository.commit("azureml", tmp_path / "data")
    assert run("lineage", "azureml@v1")["nodes"]
