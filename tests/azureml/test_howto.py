"""The page about Azure Machine Learning does what it shows, with the real clients."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.azureml.stub import Stub
from tests.integration.test_docs import PROJECT, run, steps

if TYPE_CHECKING:
    import pytest

    from tests.azurite import Azurite


def test_commands_do_what_the_page_shows(
    arm: Stub, azurite: Azurite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from azure.storage.blob import BlobServiceClient

    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", azurite.connection_string)
    name = azurite.container()
    with BlobServiceClient.from_connection_string(azurite.connection_string) as service:
        service.create_container(name).close()
    arm.add_datastore("workspaceblobstore", name)
    ids: dict[str, str] = {}
    for step in steps((PROJECT / "docs" / "howto" / "azureml.md").read_text(encoding="utf-8")):
        wrong = run(step, tmp_path, ids)
        assert wrong is None, wrong
    assert arm.puts() == [path for path in arm.puts() if "/data/iris/versions/" in path]
