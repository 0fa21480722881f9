"""The border to fsspec: what its file systems raise, leave out or cut short."""

from __future__ import annotations

import errno
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fsspec
import pytest

from dataver.errors import (
    BadInputError,
    DamagedError,
    DataverError,
    NotPermittedError,
    ObjectMissingError,
    StoreError,
)
from dataver.store import open_store
from dataver.store.clients import public_url
from dataver.store.failures import from_client_error, from_os_error, redact
from dataver.store.fsspec_ import FsspecStore
from dataver.store.local import LocalStore
from dataver.store.memory import MemoryStore
from dataver.testing import bucket
from dataver.testing.bucket import BucketFileSystem

CANARY = "c4n4ry"


bucket.register()


@pytest.fixture
def store(tmp_path: Path) -> FsspecStore:
    store = FsspecStore(f"bucket://{tmp_path}/repository")
    store.put_new("packs/aa/1", b"0123456789")
    store.put_new("packs/bb/2", b"01234")
    store.put_new("log/0", b"entry")
    return store


class HttpResponseError(Exception):
    """As client libraries raise: no OSError, a status, and a URL with its signature in the text."""

    def __init__(self, status: int) -> None:
        super().__init__(f"{status} for https://a.example/c/log/0?sv=1&sig={CANARY}&se=2\nBearer {CANARY}")
        self.status_code = status


def root_of(store: FsspecStore) -> str:
    return store.url.partition("://")[2]


def raising(error: Exception) -> Callable[..., Any]:
    def method(*_: Any, **__: Any) -> Any:
        raise error

    return method


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (HttpResponseError(503), StoreError),
        (HttpResponseError(401), NotPermittedError),
        (HttpResponseError(403), NotPermittedError),
        (PermissionError("no"), NotPermittedError),
        (OSError(errno.EACCES, "no"), NotPermittedError),
        (TimeoutError(), StoreError),
        (ConnectionResetError(errno.ECONNRESET, "reset"), StoreError),
        (RuntimeError("loop is closed"), StoreError),
    ],
)
def test_what_clients_raise_becomes_ours_and_tells_no_secret(
    store: FsspecStore, monkeypatch: pytest.MonkeyPatch, error: Exception, expected: type[DataverError]
) -> None:
    for name in ("cat_file", "cat_ranges", "info", "pipe_file", "rm_file", "ls"):
        monkeypatch.setattr(BucketFileSystem, name, raising(error))
    calls: list[Callable[[], object]] = [
        lambda: store.get("log/0"),
        lambda: store.get_ranges("log/0", [(0, 1)]),
        lambda: store.get_suffix("log/0", 1),
        lambda: store.put_new("log/0", b""),
        lambda: store.put_hint("log/0", b""),
        lambda: store.delete("log/0"),
        lambda: list(store.list("log/")),
    ]
    for call in calls:
        with pytest.raises(expected) as raised:
            call()
        assert type(raised.value) is expected
        assert "log/" in str(raised.value)
        assert CANARY not in "".join(traceback.format_exception(raised.value))


def test_a_missing_file_is_a_missing_object_only_when_reading(
    store: FsspecStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ObjectMissingError):
        store.get("log/1")
    monkeypatch.setattr(BucketFileSystem, "pipe_file", raising(FileNotFoundError("the bucket is gone")))
    with pytest.raises(StoreError):
        store.put_new("log/1", b"")


def test_a_folder_that_cannot_be_listed_is_not_an_empty_one(
    store: FsspecStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """fsspec's own `find` would say that packs/bb/2 is not there."""
    listed = BucketFileSystem.ls
    failure: Exception

    def ls(self: BucketFileSystem, path: str, **kwargs: Any) -> Any:
        if path.endswith("bb"):
            raise failure
        return listed(self, path, **kwargs)

    monkeypatch.setattr(BucketFileSystem, "ls", ls)
    for failure in (OSError("503"), FileNotFoundError("vanished")):  # noqa: B007 - read by `ls`
        with pytest.raises(StoreError):
            list(store.list("packs/"))
    assert [info.key for info in store.list("log/")] == ["log/0"]


def test_a_file_systems_own_find_is_used(store: FsspecStore, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {f"{root_of(store)}/packs/aa/9": {"size": 3, "LastModified": datetime(2026, 1, 2, tzinfo=UTC)}}
    monkeypatch.setattr(BucketFileSystem, "find", lambda *_, **__: names)
    assert [*store.list("packs/")] == [("packs/aa/9", 3, datetime(2026, 1, 2, tzinfo=UTC).timestamp())]
    assert [*store.list("packs/b")] == []
    monkeypatch.setattr(BucketFileSystem, "find", raising(FileNotFoundError()))
    assert [*store.list("index/")] == []
    monkeypatch.setattr(BucketFileSystem, "find", raising(OSError("503")))
    with pytest.raises(StoreError):
        list(store.list("packs/"))


@pytest.mark.parametrize(
    "value",
    [
        {"last_modified": datetime(2026, 1, 2, tzinfo=UTC)},
        {"LastModified": datetime(2026, 1, 2)},  # noqa: DTZ001 - some clients give UTC without a zone
        {"updated": "2026-01-02T00:00:00Z"},
        {"updated": "not a time", "mtime": 1767312000},
    ],
)
def test_the_store_time_under_its_many_names(
    store: FsspecStore, monkeypatch: pytest.MonkeyPatch, value: dict[str, Any]
) -> None:
    found = {f"{root_of(store)}/log/0": {"size": 5, **value}}
    monkeypatch.setattr(BucketFileSystem, "find", lambda *_, **__: found)
    assert next(store.list("log/")).stored_at == 1767312000


def test_a_store_that_tells_no_time_has_only_young_objects(
    store: FsspecStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BucketFileSystem, "find", lambda *_, **__: {f"{root_of(store)}/log/0": {"size": 5}})
    assert next(store.list("log/")).stored_at > datetime(2026, 1, 2, tzinfo=UTC).timestamp()


def test_short_answers_are_damage(store: FsspecStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BucketFileSystem, "cat_ranges", lambda *_, **__: [b"012"])
    with pytest.raises(DamagedError, match="gave 3 bytes where 4"):
        store.get_ranges("packs/aa/1", [(0, 4)])


def test_a_refused_range_is_damage_only_if_the_object_is_too_short(
    store: FsspecStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BucketFileSystem, "cat_ranges", raising(OSError("416 or 503")))
    with pytest.raises(DamagedError, match="has 10 bytes"):
        store.get_ranges("packs/aa/1", [(8, 3)])
    with pytest.raises(StoreError, match="416 or 503"):
        store.get_ranges("packs/aa/1", [(8, 2)])


# URLs


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("s3://key:secret@bucket/p/", "s3://key@bucket/p"),
        ("az://container@account.dfs.core.windows.net/p", "az://container@account.dfs.core.windows.net/p"),
        ("az://c/p?sv=1&sig=secret", "az://c/p"),
        ("https://host/p#secret", "https://host/p"),
    ],
)
def test_a_url_is_shown_without_credentials(url: str, shown: str) -> None:
    assert public_url(url) == shown


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "empty"),
        ("nope://bucket", "nope"),
        ("dataver://iris@v3", "names a version"),
        ("simplecache::bucket:///folder", "not the URL"),
        ("file://relative", "file:///FOLDER"),
        (f"nope://key:{CANARY}@bucket?sig={CANARY}", "nope"),
    ],
)
def test_urls_without_a_meaning(url: str, why: str) -> None:
    with pytest.raises(BadInputError, match=why) as raised:
        open_store(url)
    assert CANARY not in str(raised.value)


def test_a_protocol_whose_package_is_missing() -> None:
    fsspec.register_implementation(
        "notinstalled", "no_such_package.FileSystem", errtxt="install nsp", clobber=True
    )
    with pytest.raises(BadInputError, match="install nsp"):
        open_store("notinstalled://bucket")


def test_what_opens_what(tmp_path: Any) -> None:
    kinds = {str(tmp_path): LocalStore, f"file://{tmp_path}": LocalStore, "memory://x": MemoryStore}
    for url, kind in kinds.items():
        assert isinstance(open_store(url).inner, kind)  # type: ignore[attr-defined]
    assert open_store("memory://x/").url == "memory://x"
    assert open_store("bucket:///folder/repository/").url == "bucket:///folder/repository"


# Messages


@pytest.mark.parametrize(
    "text",
    [
        f"https://a.example/c?sv=2&sig={CANARY}&se=1",
        f"DefaultEndpointsProtocol=https;AccountName=a;AccountKey={CANARY};EndpointSuffix=x",
        f"SharedAccessSignature={CANARY}",
        f"Authorization: Bearer {CANARY}",
        f"s3://key:{CANARY}@bucket/x",
        f"https://b.example/x?X-Amz-Signature={CANARY}&X-Amz-Credential={CANARY}",
        f"password = '{CANARY}'",
        f'{{"token": "{CANARY}"}}',
    ],
)
def test_redacted(text: str) -> None:
    assert CANARY not in redact(text)
    assert CANARY not in str(from_client_error(ValueError(text), "read", "it"))


def test_harmless_text_is_left_alone() -> None:
    text = "object packs/ab/1 of az://container@account.dfs.core.windows.net/x: 503 Server busy"
    assert redact(text) == text


@pytest.mark.parametrize(
    ("code", "reading", "expected", "advice"),
    [
        (errno.ENOENT, True, ObjectMissingError, "there is no"),
        (errno.ENOTDIR, True, ObjectMissingError, "there is no"),
        (errno.ENOENT, False, StoreError, "reachable"),
        (errno.EACCES, True, NotPermittedError, "permissions"),
        (errno.EPERM, False, NotPermittedError, "permissions"),
        (errno.EROFS, False, NotPermittedError, "read-only"),
        (errno.ENOSPC, False, StoreError, "free space"),
        (errno.EDQUOT, False, StoreError, "quota"),
        (errno.EMFILE, True, StoreError, "ulimit"),
        (errno.EIO, True, StoreError, "disk"),
        (errno.ETIMEDOUT, True, StoreError, "reachable"),
    ],
)
def test_the_operating_systems_errors(
    code: int, reading: bool, expected: type[DataverError], advice: str
) -> None:
    error = from_os_error(OSError(code, "reason"), "read", "object x of /y", reading=reading)
    assert type(error) is expected
    assert advice in str(error)
    assert "object x of /y" in str(error)
