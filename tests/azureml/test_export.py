"""`export azureml`, with the real client, over TLS, and real blobs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import dataver
from dataver.errors import StoreError
from dataver.integrations.azureml.asset import asset_of
from dataver.integrations.azureml.copying import copy_version
from dataver.integrations.azureml.places import MEMORY_BYTES_MAX, BlobPlace
from dataver.integrations.azureml.workspace import Workspace, find_workspace
from dataver.repository import Repository
from dataver.version import Version
from tests.azureml import stub
from tests.azureml.stub import Stub
from tests.azurite import Azurite
from tests.proxy import Proxy, Spoil

Run = Callable[..., Any]
ASSET = f"{stub.WORKSPACE_ID}/data/iris/versions/1"


@pytest.fixture
def blobs(azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A container of its own, by the SDK's client."""
    from azure.storage.blob import BlobServiceClient

    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", azurite.connection_string)
    with (
        BlobServiceClient.from_connection_string(azurite.connection_string) as service,
        service.get_container_client(azurite.container()) as container,
    ):
        container.create_container()
        yield container


@pytest.fixture
def container(blobs: Any, arm: Stub) -> str:
    """Its name; the workspace has it as its default datastore `blobs`."""
    arm.add_datastore("blobs", blobs.container_name, default=True)
    return str(blobs.container_name)


def names(blobs: Any) -> dict[str, str]:
    """What is in the container: names and etags."""
    return {blob.name: blob.etag for blob in blobs.list_blobs()}


def test_a_version_is_put_and_registered_once(
    repository: Repository, container: str, blobs: Any, arm: Stub, run: Run
) -> None:
    version = repository.version("iris@v1")
    done = run("export", "azureml", "iris@v1")
    prefix = f"dataver-exports/iris/{version.id}"
    assert done["asset"] == "azureml:iris:1"
    assert done["path"] == f"azureml://datastores/blobs/paths/{prefix}/"
    assert (done["created"], done["workspace"]) == (True, "ws")
    assert (done["written_files"], done["written_bytes"]) == (2, 16)
    first = names(blobs)
    assert set(first) == {f"{prefix}/{name}" for name in ("a.csv", "train/b.csv", ".dataver.json")}
    assert blobs.download_blob(f"{prefix}/train/b.csv").readall() == b"x,y\n3,4\n"
    (body,) = arm.bodies
    told = body["properties"]
    assert told["dataType"] == "uri_folder"
    assert told["dataUri"] == done["path"]
    assert told["description"] == "iris@v1: first"
    assert told["tags"] == {
        "dataver.digest": version.id,
        "dataver.dataset": "iris",
        "dataver.version": "v1",
        "dataver.tree": version.tree,
        "dataver.repository": repository.id,
        "dataver.url": repository.url,
    }
    assert told["properties"] == {**told["tags"], "dataver.files": "2", "dataver.bytes": "16"}

    again = run("export", "azureml", "iris@v1")
    assert (again["created"], again["written_files"], again["asset"]) == (False, 0, "azureml:iris:1")
    assert arm.puts() == [ASSET], "the asset is not put again"
    assert names(blobs) == first, "nor are any bytes"


def test_other_names_and_places(
    repository: Repository, container: str, blobs: Any, arm: Stub, run: Run
) -> None:
    version = repository.version("iris@v1")
    done = run("export", "azureml", "iris@v1", "--name", "flowers", "--asset-version", "2026-01")
    assert done["asset"] == "azureml:flowers:2026-01"
    done = run(
        "export", "azureml", "iris", "--to", "azureml://datastores/blobs/paths/my/place", "--name", "a"
    )
    assert done["path"] == f"azureml://datastores/blobs/paths/my/place/iris/{version.id}/"
    to = f"az://{container}/other"
    done = run("export", "azureml", "iris", "--to", to, "--datastore", "blobs", "--name", "b")
    assert done["path"] == f"azureml://datastores/blobs/paths/other/iris/{version.id}/"
    assert done["written_files"] == 2
    done = run("export", "azureml", "iris", "--to", to, "--name", "c")
    assert done["path"].endswith(f"/devstoreaccount1/{container}/other/iris/{version.id}/")
    assert done["written_files"] == 0
    assert "container" in run(
        "export", "azureml", "iris", "--to", "az://elsewhere", "--datastore", "blobs", code=2
    )
    assert "nothing" in run("export", "azureml", "iris", "--datastore", "nothing", code=3)
    arm.datastores["files"] = {
        **arm.datastores["blobs"],
        "datastoreType": "AzureFile",
        "fileShareName": "share",
    }
    assert "container" in run("export", "azureml", "iris", "--datastore", "files", code=2)


def test_a_repository_in_a_container_exports_beside_itself(
    repository: Repository, container: str, blobs: Any, run: Run, tmp_path: Path
) -> None:
    url = f"az://{container}/ml/repository"
    there = dataver.init(url)
    there.commit("vision/iris", tmp_path / "data")
    there.tag("vision/iris@v1", "paper")
    done = run("-R", url, "export", "azureml", "vision/iris@paper")
    assert done["asset"] == "azureml:vision-iris:1"
    id = there.version("vision/iris").id
    assert f"dataver-exports/vision/iris/{id}/.dataver.json" in names(blobs)
    assert done["url"] == f"az://{container}/dataver-exports/vision/iris/{id}"
    assert dataver.open(url).gc().unknown == []


def test_a_version_off_main_is_named_by_its_id(
    repository: Repository, container: str, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "data" / "c.csv").touch()
    repository.commit("iris", tmp_path / "data", branch="side")
    done = run("export", "azureml", "iris@side")
    id = repository.version("iris@side").id
    assert done["version"] == id[:16]
    assert done["tags"]["dataver.digest"] == id
    assert "dataver.version" not in done["tags"]


def test_one_file(repository: Repository, container: str, arm: Stub, run: Run) -> None:
    done = run("export", "azureml", "one", "--type", "uri_file")
    assert done["path"].endswith(f"/one/{repository.version('one').id}/one.csv")
    assert arm.bodies[0]["properties"]["dataType"] == "uri_file"
    assert "2 files" in run("export", "azureml", "iris", "--type", "uri_file", code=2)


def test_one_file_of_an_odd_name(
    repository: Repository, container: str, arm: Stub, run: Run, tmp_path: Path
) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    (folder / "a b#%41?.csv").touch()
    repository.commit("odd", folder)
    asked = ["export", "azureml", "odd", "--type", "uri_file", "--to", f"az://{container}/x"]
    assert run(*asked)["path"].endswith("/a%20b%23%2541%3F.csv")
    assert run(*asked, "--datastore", "blobs", "--name", "b")["path"].endswith("/a b#%41?.csv")


def test_a_table(
    repository: Repository, container: str, blobs: Any, arm: Stub, run: Run, tmp_path: Path
) -> None:
    run("export", "azureml", "iris")
    done = run("export", "azureml", "iris", "--type", "mltable", "--asset-version", "1-table")
    assert done["written_files"] == 1
    assert arm.bodies[-1]["properties"]["dataType"] == "mltable"
    prefix = f"dataver-exports/iris/{repository.version('iris').id}"
    assert b"./train/b.csv" in blobs.download_blob(f"{prefix}/MLTable").readall()
    assert (
        run("export", "azureml", "iris", "--type", "mltable", "--asset-version", "1-table")["created"]
        is False
    )
    (tmp_path / "data" / "a.csv").unlink()
    (tmp_path / "data" / "train" / "b.csv").rename(tmp_path / "data" / "b.txt")
    repository.commit("iris", tmp_path / "data")
    assert "no tables" in run("export", "azureml", "iris", "--type", "mltable", code=2)
    (tmp_path / "data" / "MLTable").write_text("type: mltable\npaths:\n  - file: ./b.txt\n")
    repository.commit("iris", tmp_path / "data")
    assert run("export", "azureml", "iris", "--type", "mltable")["written_files"] == 2, (
        "its own is one of its files"
    )


def test_an_asset_of_something_else_is_left_alone(
    repository: Repository, container: str, blobs: Any, arm: Stub, run: Run
) -> None:
    arm.assets["data", "iris", "1"] = {
        "dataType": "uri_folder",
        "dataUri": "azureml://datastores/blobs/paths/x",
    }
    assert "none of dataver" in run("export", "azureml", "iris", code=4)
    arm.assets["data", "iris", "1"]["tags"] = {"dataver.digest": "0" * 64}
    assert "0" * 64 in run("export", "azureml", "iris", code=4)
    assert names(blobs) == {}, "nothing is written before"
    assert arm.puts() == []
    arm.assets.clear()
    run("export", "azureml", "iris")
    assert "cannot be moved" in run("export", "azureml", "iris", "--to", f"az://{container}/other", code=4)


def test_an_export_that_was_cut_short_goes_on(
    repository: Repository, container: str, blobs: Any, run: Run
) -> None:
    version = repository.version("iris@v1")
    place = BlobPlace(f"az://{container}/dataver-exports/iris/{version.id}")
    place.put_bytes("a.csv", b"x,y\n1,2\n")
    place.put_bytes("train/b.csv", b"x,y\n9,9\n")
    before = names(blobs)
    done = run("export", "azureml", "iris@v1")
    assert (done["written_files"], done["created"]) == (1, True)
    assert place.read("train/b.csv") == b"x,y\n3,4\n"
    kept = f"{place.prefix}/a.csv"
    assert names(blobs)[kept] == before[kept]


def test_a_half_export_is_never_registered(
    repository: Repository,
    container: str,
    blobs: Any,
    arm: Stub,
    azurite: Azurite,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The service refuses one file for good: neither list nor asset is there, and the next export goes on."""
    from dataver.integrations.azureml.export import export
    from dataver.integrations.azureml.workspace import need_workspace

    version = repository.version("iris@v1")

    def choose(request: Any) -> Spoil:
        return Spoil.BUSY if request.method == "PUT" and "train/b.csv" in request.path else Spoil.NOTHING

    with Proxy.running(azurite.port, choose) as proxy:
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", azurite.through(proxy.port))
        with pytest.raises(StoreError):
            export(version, workspace=need_workspace(), jobs=1)
    assert not any(name.endswith(".dataver.json") for name in names(blobs))
    assert arm.puts() == []
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", azurite.connection_string)
    assert export(version, workspace=need_workspace()).written.files == 1
    assert arm.puts() == [ASSET]


@pytest.mark.parametrize("what", ["cut", "gone", "more", "list", "other", "table"])
def test_an_export_that_was_changed_is_found(
    what: str, repository: Repository, container: str, blobs: Any, run: Run
) -> None:
    done = run("export", "azureml", "iris@v1", "--type", "mltable")
    prefix = done["url"].removeprefix(f"az://{container}/")
    if what == "cut":
        blobs.upload_blob(f"{prefix}/a.csv", b"x", overwrite=True)
    elif what == "gone":
        blobs.delete_blob(f"{prefix}/a.csv")
    elif what == "more":
        blobs.upload_blob(f"{prefix}/c.csv", b"x")
    elif what == "list":
        blobs.upload_blob(f"{prefix}/.dataver.json", b"{}", overwrite=True)
    elif what == "table":
        blobs.upload_blob(f"{prefix}/MLTable", b"type: mltable\n", overwrite=True)
    else:
        listed = repository.version("one").list_file()
        blobs.upload_blob(f"{prefix}/.dataver.json", listed, overwrite=True)
    assert "move it away" in run("export", "azureml", "iris@v1", "--type", "mltable", code=5)


def test_what_is_in_the_way_is_not_covered_up(
    repository: Repository, container: str, blobs: Any, run: Run
) -> None:
    blobs.upload_blob(f"dataver-exports/iris/{repository.version('iris').id}/stranger", b"x")
    assert "stranger" in run("export", "azureml", "iris", code=5)


def test_any_file_that_a_version_may_have(
    container: str, blobs: Any, run: Run, tmp_path: Path, repository: Repository
) -> None:
    data = tmp_path / "odd"
    data.mkdir()
    names_ = ["a b", "ü?#%41&+", "new\nline", "sub/q=1;v", "empty"]
    for name in names_:
        (data / name).parent.mkdir(exist_ok=True)
        (data / name).write_text(name)
    (data / "empty").write_bytes(b"")
    with (data / "large").open("wb") as file:
        file.truncate(MEMORY_BYTES_MAX + 1)
        file.write(b"begin")
    (data / "link").symlink_to("sub/q=1;v")
    repository.commit("odd", data)
    done = run("export", "azureml", "odd")
    prefix = done["url"].removeprefix(f"az://{container}/")
    found = tmp_path / "found"
    for name in names(blobs):
        place = found / name.removeprefix(f"{prefix}/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(blobs.download_blob(name).readall())
    assert run("verify", "odd", "--at", str(found))["files"] == 7
    assert run("export", "azureml", "odd")["written_files"] == 0


@pytest.mark.parametrize("target", ["nothing", "train", "../secret"])
def test_a_link_that_blobs_cannot_be(
    target: str, container: str, run: Run, tmp_path: Path, repository: Repository
) -> None:
    (tmp_path / "data" / "link").symlink_to(target)
    repository.commit("iris", tmp_path / "data")
    assert "link" in run("export", "azureml", "iris", code=2)


def test_a_version_with_a_list_of_its_own_is_refused(
    container: str, run: Run, tmp_path: Path, repository: Repository
) -> None:
    (tmp_path / "data" / ".dataver.json").write_text("{}")
    repository.commit("iris", tmp_path / "data")
    assert ".dataver.json" in run("export", "azureml", "iris", code=2)


# Without a workspace


def test_a_file_for_az_ml(
    repository: Repository, blobs: Any, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from azure.ai.ml import load_data

    id = repository.version("iris").id
    to = f"az://{blobs.container_name}/exports"
    done = run("export", "azureml", "iris@v1", "--to", to, "--datastore", "blobs", "--yaml", "iris.yml")
    assert (done["workspace"], done["created"], done["yaml"]) == (None, False, "iris.yml")
    loaded = load_data("iris.yml")
    assert (loaded.name, loaded.version, loaded.type) == ("iris", "1", "uri_folder")
    assert loaded.path == f"azureml://datastores/blobs/paths/exports/iris/{id}/"
    assert loaded.tags == done["tags"]
    assert loaded.tags["dataver.digest"] == id
    assert "--to" in run("export", "azureml", "iris", "--yaml", "iris.yml", code=2)
    assert "datastore blobs" in run(
        "export", "azureml", "iris", "--datastore", "blobs", "--yaml", "i.yml", code=2
    )


@pytest.mark.parametrize("kind", ["uri_folder", "uri_file", "mltable"])
def test_a_folder_for_az_ml_to_upload(kind: str, repository: Repository, run: Run, tmp_path: Path) -> None:
    from azure.ai.ml import load_data

    done = run("export", "azureml", "one", "--to", str(tmp_path / "out"), "--type", kind, "--yaml", "one.yml")
    loaded = load_data("one.yml")
    assert loaded.type == kind
    place = Path(loaded.path)
    assert place.is_file() == (kind == "uri_file")
    id = repository.version("one").id
    assert run("verify", f"one@{id}", "--at", str(loaded.path))["ok"] is True
    assert (
        run("export", "azureml", "one", "--to", str(tmp_path / "out"), "--yaml", "a.yml")["written_files"]
        == 0
    )
    assert done["written_files"] == (2 if kind == "mltable" else 1)


def test_hostile_texts_stay_texts(repository: Repository, tmp_path: Path) -> None:
    from azure.ai.ml import load_data

    message = 'a: "b"\n- c # \\ \x1b ü \N{GRINNING FACE}'
    repository.commit("iris", tmp_path / "data", message=message, allow_empty=True)
    asset = asset_of(repository.version("iris"), "uri_folder", "azureml://datastores/a/paths/b", "x", "1.0")
    (tmp_path / "a.yml").write_bytes(asset.to_yaml())
    loaded = load_data(tmp_path / "a.yml")
    assert loaded.description == f"iris@v2: {message}"
    assert loaded.version == "1.0"


def test_a_workspace_cannot_read_a_folder_of_this_machine(
    repository: Repository, arm: Stub, run: Run
) -> None:
    assert "--yaml" in run("export", "azureml", "iris", "--to", "out", code=2)
    assert not Path("out").exists()
    assert "az://" in run("export", "azureml", "iris", "--to", "s3://bucket/x", code=2)


# Which workspace


def test_the_workspace_comes_from_options_environment_or_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, repository: Repository, run: Run
) -> None:
    assert find_workspace() is None
    assert "config.json" in run("export", "azureml", "iris", code=2)
    Path("config.json").write_text("[1]")
    assert find_workspace() is None
    told = {"subscription_id": "s", "resource_group": "g", "workspace_name": "w"}
    (tmp_path / ".azureml").mkdir()
    (tmp_path / ".azureml" / "config.json").write_text(json.dumps(told))
    assert find_workspace() == Workspace("s", "g", "w")
    Path("config.json").write_text(json.dumps({**told, "workspace_name": "here"}))
    assert find_workspace() == Workspace("s", "g", "here")
    monkeypatch.setenv("AZUREML_ARM_WORKSPACE_NAME", "variable")
    assert find_workspace() == Workspace("s", "g", "variable")
    assert find_workspace(name="option") == Workspace("s", "g", "option")
    monkeypatch.chdir("/")
    assert "AZUREML_ARM_SUBSCRIPTION" in run("export", "azureml", "iris", code=2)


@pytest.mark.parametrize(("status", "code"), [(401, 8), (403, 8), (409, 7)])
def test_errors_of_the_service(
    status: int, code: int, repository: Repository, container: str, arm: Stub, run: Run
) -> None:
    arm.refuse = status
    told = run("export", "azureml", "iris", code=code)
    assert "azureml:iris:1" in told
    assert "\n" not in told


def test_a_service_that_is_not_there(
    repository: Repository, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARM_CLOUD_METADATA_URL", "https://127.0.0.1:9/metadata/endpoints")
    monkeypatch.setenv("AZUREML_CURRENT_CLOUD", "Nowhere")
    named = ["--subscription", "s", "--resource-group", "g", "--workspace", "w"]
    run("export", "azureml", "iris", *named, code=2)


def test_copies_are_the_same_from_two_at_once(repository: Repository, container: str, blobs: Any) -> None:
    from concurrent.futures import ThreadPoolExecutor

    version: Version = repository.version("iris@v1")
    url = f"az://{container}/twice/{version.id}"
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: copy_version(version, BlobPlace(url)), range(4)))
    assert copy_version(version, BlobPlace(url)).files == 0
    assert len(names(blobs)) == 3


def test_a_name_that_azure_does_not_take(repository: Repository, run: Run) -> None:
    to = ["--to", "out", "--yaml", "a.yml"]
    assert "--name" in run("export", "azureml", "iris", *to, "--name", "a/b", code=2)
    assert "version" in run("export", "azureml", "iris", *to, "--asset-version", "a:b", code=2)
