"""Credentials of Azure: each kind works, a wrong or missing one is told in seconds, none ever shows."""

from __future__ import annotations

import json
import logging
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from azure.storage.blob import (
    AccountSasPermissions,
    BlobServiceClient,
    ContainerSasPermissions,
    ResourceTypes,
    generate_account_sas,
    generate_container_sas,
)

from dataver.errors import BadInputError, NotPermittedError, StoreError
from dataver.repository import init, open_repository
from dataver.store import open_store
from dataver.store.azure_client import credential_name
from tests.azurite import ACCOUNT, ACCOUNT_KEY, Azurite

CANARY = "c2VjcmV0LWNhbmFyeS1vZi1hLXRlc3Q="
DEAD_HOST_S_MAX = 20.0


def sas_string(azurite: Azurite, token: str) -> str:
    endpoint = f"http://127.0.0.1:{azurite.port}/{ACCOUNT}"
    return f"BlobEndpoint={endpoint};SharedAccessSignature={token}"


def soon() -> datetime:
    return datetime.now(UTC) + timedelta(hours=1)


def program(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    import os

    return subprocess.run(
        [sys.executable, "-m", "dataver.cli", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "a").write_text("a")
    return folder


def test_a_connection_string_of_the_environment_or_as_an_option(
    azurite: Azurite, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"az://{azurite.container()}"
    options = {"connection_string": azurite.connection_string}
    init(url, storage_options=options).commit("d", data)
    with pytest.raises(NotPermittedError, match="no Azure account is named"):
        open_repository(url)
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", azurite.connection_string)
    assert open_repository(url).version("d").read("a") == b"a"
    done = program(
        "--repo", url, "--storage-option", f"connection_string={azurite.connection_string}", "list"
    )
    assert (done.returncode, done.stdout.split()[:2]) == (0, ["d@v1", open_repository(url).show("d").id[:8]])


def test_signatures_with_all_rights_and_with_few(
    azurite: Azurite, azure: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = init(azure)
    repository.commit("d", data)
    container = azure.split("/")[2]
    whole = generate_account_sas(
        ACCOUNT,
        ACCOUNT_KEY,
        ResourceTypes(container=True, object=True),
        AccountSasPermissions(read=True, write=True, list=True, create=True),
        soon(),
    )
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", sas_string(azurite, whole))
    assert open_repository(azure).commit("d", data, allow_empty=True).version == "v2"

    few = generate_container_sas(
        ACCOUNT,
        container,
        ACCOUNT_KEY,
        permission=ContainerSasPermissions(read=True, list=True),
        expiry=soon(),
    )
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", sas_string(azurite, few))
    reader = open_repository(azure)
    assert reader.version("d").read("a") == b"a"
    assert reader.verify(deep=True).ok
    with pytest.raises(NotPermittedError, match="403"):
        reader.commit("d", data, allow_empty=True)
    done = program("--repo", azure, "tag", "d", "no")
    assert done.returncode == 8
    assert few not in done.stderr + done.stdout

    past = generate_container_sas(
        ACCOUNT,
        container,
        ACCOUNT_KEY,
        permission=ContainerSasPermissions(read=True),
        expiry=datetime.now(UTC) - timedelta(days=1),
    )
    done = program("--repo", azure, "list", AZURE_STORAGE_CONNECTION_STRING=sas_string(azurite, past))
    assert done.returncode == 8
    assert "its expiry" in done.stderr
    assert past not in done.stderr


def test_a_public_container_is_read_by_anybody(
    azurite: Azurite, azure: str, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = BlobServiceClient.from_connection_string(azurite.connection_string)
    with service:
        service.create_container(azure.split("/")[2], public_access="container")
    init(azure).commit("d", data)
    endpoint = f"BlobEndpoint=http://127.0.0.1:{azurite.port}/{ACCOUNT}"
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", endpoint)
    assert open_repository(azure).version("d").read("a") == b"a"


def test_a_wrong_key_is_told_in_seconds_and_no_secret_shows(
    azurite: Azurite, azure: str, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = azurite.connection_string.replace(ACCOUNT_KEY, CANARY)
    started = time.monotonic()
    for arguments in (["list"], ["list", "--json"], ["--debug", "list"], ["doctor"], ["doctor", "--json"]):
        done = program("--repo", azure, *arguments, AZURE_STORAGE_CONNECTION_STRING=wrong)
        assert done.returncode == (8 if "doctor" not in arguments else done.returncode)
        assert done.returncode != 0
        shown = done.stdout + done.stderr
        assert CANARY not in shown
        if "doctor" not in arguments:
            assert "the connection string of AZURE_STORAGE_CONNECTION_STRING" in shown
    assert time.monotonic() - started < 60
    with caplog.at_level(logging.DEBUG), pytest.raises(NotPermittedError) as caught:
        init(azure, storage_options={"connection_string": wrong})
    assert "Traceback" not in str(caught.value)
    assert CANARY not in caplog.text + str(caught.value) + repr(caught.value.__cause__)


def test_no_secret_is_in_the_repository_or_the_cache(azurite: Azurite, azure: str, data: Path) -> None:
    from dataver.config import cache_folder

    repository = init(azure, storage_options={"connection_string": azurite.connection_string})
    repository.commit("d", data)
    store = repository.session.store
    for info in store.list(""):
        assert ACCOUNT_KEY.encode() not in store.get(info.key)
        assert ACCOUNT_KEY[:20].encode() not in store.get(info.key)
    for path in cache_folder().rglob("*"):
        assert not path.is_file() or ACCOUNT_KEY.encode() not in path.read_bytes()
    assert ACCOUNT_KEY not in repr(repository) + repr(store) + repository.url + store.identity


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"connection_string": f"AccountName=x;AccountKey={CANARY}"[:30]}, "malformed"),
        ({"connection_string": "nonsense"}, "the connection string that was given as connection_string"),
        ({"account_name": "x", "account_key": "not base64!"}, "account key that was given as account_key"),
    ],
)
def test_malformed_credentials(options: dict[str, str], message: str) -> None:
    with pytest.raises(NotPermittedError, match=message) as caught:
        open_repository("az://container/path", storage_options=options)
    assert CANARY[:10] not in str(caught.value)


def test_options_that_adlfs_does_not_know_are_refused() -> None:
    with pytest.raises(BadInputError, match="'acount_key' is no storage option"):
        open_store("az://container", {"acount_key": CANARY})
    with pytest.raises(BadInputError, match="max_concurrency takes a whole number"):
        open_store("az://container", {"max_concurrency": "many"})
    for url in ("az://", "az://C", "az://under_score/x"):
        with pytest.raises(BadInputError, match="names no container"):
            open_store(url, {"account_name": "x", "anon": "true"})


def test_where_no_login_is_found_all_that_was_tried_is_told() -> None:
    started = time.monotonic()
    done = program("--repo", "az://container/path", "list", AZURE_STORAGE_ACCOUNT_NAME="account")
    assert time.monotonic() - started < 60
    assert (done.returncode, done.stdout) == (8, "")
    for words in ("DefaultAzureCredential", "EnvironmentCredential", "ManagedIdentityCredential", "az login"):
        assert words in done.stderr
    assert len(done.stderr) < 2_000
    assert "Traceback" not in done.stderr


def test_a_service_principal_without_a_network_is_a_failure_of_the_network() -> None:
    secret = {"AZURE_STORAGE_CLIENT_ID": "id", "AZURE_STORAGE_CLIENT_SECRET": CANARY}
    tenant = {"AZURE_STORAGE_TENANT_ID": "11111111-1111-1111-1111-111111111111"}
    done = program(
        "--repo", "az://container", "list", "--json", AZURE_STORAGE_ACCOUNT_NAME="a", **secret, **tenant
    )
    assert done.returncode in (7, 8)
    assert CANARY not in done.stdout + done.stderr
    assert json.loads(done.stderr)["error"]["code"] == done.returncode


def test_a_dead_host_is_told_soon() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    where = Azurite(port).connection_string
    started = time.monotonic()
    with pytest.raises(StoreError, match="cannot be reached"):
        open_repository("az://container/path", storage_options={"connection_string": where})
    assert time.monotonic() - started < DEAD_HOST_S_MAX


def test_which_credential_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert credential_name({}) == "DefaultAzureCredential"
    assert credential_name({"anon": True}) == "anonymous access"
    assert credential_name({"account_key": "k"}) == "the account key that was given as account_key"
    monkeypatch.setenv("AZURE_STORAGE_ANON", "true")
    assert credential_name({}) == "anonymous access"
    monkeypatch.setenv("AZURE_STORAGE_CLIENT_ID", "id")
    assert credential_name({}) == "the service principal of AZURE_STORAGE_CLIENT_ID"
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", "t")
    assert credential_name({}) == "the SAS token of AZURE_STORAGE_SAS_TOKEN"
