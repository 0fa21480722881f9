"""Folders of a container as sources: what did not change is not read again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from azure.storage.blob import BlobServiceClient, ContainerClient

from dataver.repository import Repository, init
from dataver.source.remote import AHEAD_BYTES
from tests.azurite import Azurite
from tests.proxy import Proxy, Request, Spoil
from tests.worlds import noise

FILES = {"a.txt": b"a" * 3_000, "sub/b.bin": noise("b", 300_000), "odd name ü#?.txt": b"odd", "empty": b""}


@pytest.fixture
def container(azurite: Azurite) -> Iterator[ContainerClient]:
    service = BlobServiceClient.from_connection_string(azurite.connection_string)
    with service, service.create_container(azurite.container()) as client:
        for name, data in FILES.items():
            client.upload_blob(f"folder/{name}", data)
        yield client


@pytest.fixture
def requests(azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Request]]:
    """The requests that reach the service from here on."""
    seen: list[Request] = []

    def choose(request: Request) -> Spoil:
        seen.append(request)
        return Spoil.NOTHING

    with Proxy.running(azurite.port, choose) as proxy:
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", azurite.through(proxy.port))
        yield seen


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return init(str(tmp_path / "repository"))


@pytest.mark.parametrize("protocol", ["az", "abfs"])
def test_a_folder_is_committed_and_unchanged_blobs_are_not_read_again(
    container: ContainerClient, requests: list[Request], repository: Repository, protocol: str
) -> None:
    url = f"{protocol}://{container.container_name}/folder"
    assert repository.commit("d", url).changed.added == len(FILES)
    version = repository.version("d")
    assert {entry.path: version.read(entry.path) for entry in version.files()} == FILES

    def reads() -> set[str]:
        return {r.path.partition("?")[0] for r in requests if r.method == "GET" and "/folder/" in r.path}

    requests.clear()
    assert not repository.commit("d", url).created
    assert not repository.status("d", url)
    assert reads() == set()
    container.upload_blob("folder/a.txt", b"b" * 3_000, overwrite=True)
    container.delete_blob("folder/empty")
    done = repository.commit("d", url)
    assert (done.changed.modified, done.changed.deleted, done.new_bytes) == (1, 1, 3_000)
    assert {path.rpartition("/")[2] for path in reads()} == {"a.txt"}


def test_one_blob_larger_than_what_is_read_ahead(
    container: ContainerClient, requests: list[Request], repository: Repository
) -> None:
    big = noise("big", 3 * AHEAD_BYTES + 12_345)
    container.upload_blob("big.bin", big)
    repository.commit("d", f"az://{container.container_name}/big.bin")
    assert repository.version("d").read("big.bin") == big
    ranges = [request for request in requests if request.method == "GET" and "big.bin" in request.path]
    assert 4 <= len(ranges) <= 8


def test_blobs_by_reference(
    container: ContainerClient, requests: list[Request], repository: Repository
) -> None:
    done = repository.commit("d", f"az://{container.container_name}/folder", reference=True)
    assert done.new_bytes == 0
    version = repository.version("d")
    assert {entry.path: version.read(entry.path) for entry in version.files()} == FILES
    assert repository.verify(deep=True).ok
    container.upload_blob("folder/a.txt", b"b" * 3_000, overwrite=True)
    assert [damage.harms[0].path for damage in repository.verify(deep=True).damaged] == ["a.txt"]
