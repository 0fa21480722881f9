"""What a version may say of itself, and how changes of two sides meet."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from dataver.errors import BadInputError, DamagedError
from dataver.format.limits import TIME_US_MAX, TIME_US_MIN, VERSION_TEXTS_BYTES_MAX
from dataver.format.version import VersionRecord, decode_version
from dataver.hashing import blake3_digest
from dataver.repository import Repository, open_repository
from tests.repositories import memory_repository


@pytest.fixture
def repository() -> Repository:
    return memory_repository()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "file").write_text("1")
    return folder


# What a version says of itself


@pytest.mark.parametrize(
    "label",
    [
        {"message": "\udcff"},
        {"message": b"bytes"},
        {"message": None},
        {"meta": {"key": "\ud800"}},
        {"meta": {"\udcff": "value"}},
        {"meta": {"key": 1}},
        {"meta": {1: "value", "key": "value"}},
        {"message": "x" * (VERSION_TEXTS_BYTES_MAX + 1)},
        {"message": "\u2603" * (VERSION_TEXTS_BYTES_MAX // 3 + 1)},
        {"meta": {"key": "x" * VERSION_TEXTS_BYTES_MAX}},
        {"time": "yesterday"},
        {"time": "0001-01-01T00:00:00+00:01"},
        {"time": "9999-12-31T23:59:59-00:01"},
        {"time": datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1)))},
        {"author": "two\nlines"},
        {"author": "\udcff"},
        {"tags": ["v1"]},
        {"tags": ["same", "same"]},
        {"tags": ["main"]},
        {"branch": "latest"},
        {"branch": "../x"},
        {"base": "other@v1"},
        {"into": "/absolute"},
        {"into": "../x"},
        {"into": "a/.dataver/b"},
        {"jobs": 0},
    ],
)
def test_labels_that_no_version_can_have(
    repository: Repository, data: Path, label: dict[str, object]
) -> None:
    with pytest.raises(BadInputError):
        repository.commit("d", data, **label)  # type: ignore[arg-type]
    assert repository.datasets() == []
    assert repository.session.log.tail().entry.number == 0
    repository.commit("d", data)


def test_labels_come_back_as_they_were_given(repository: Repository, data: Path) -> None:
    message = "two\nlines \u2603\0" + "x" * (VERSION_TEXTS_BYTES_MAX - 100)
    meta = {"b": "2", "a": "", "": "no key", "\u2603": "\n"}
    time = datetime(1, 1, 1, tzinfo=UTC)
    done = repository.commit(
        "d", data, message=message, meta=meta, time=time, author="Zo\u00eb <z@e>", tags=["t"]
    )
    info = repository.show("d@t")
    assert (info.id, info.message, info.meta, info.time) == (done.id, message, meta, time)
    assert info.author == "Zo\u00eb <z@e>"
    (data / "file").write_text("2")
    last = datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    repository.commit("d", data, time="9999-12-31T23:59:59.999999Z")
    assert [version.time for version in repository.log("d")] == [last, time]


@pytest.mark.parametrize("time_us", [TIME_US_MIN - 1, TIME_US_MAX + 1, -(2**63), 2**63 - 1])
def test_a_time_that_no_calendar_has_is_damage(time_us: int) -> None:
    record = VersionRecord(blake3_digest(b""), (), time_us, "a", "m")
    with pytest.raises(DamagedError, match="years"):
        decode_version(record.encode(), "it")


@pytest.mark.parametrize(
    "at", ["2", "9" * 30, "9" * 5_000, "-1", "\u00b2", "", "0001-01-01T00:00:00+23:59", "1e3"]
)
def test_moments_that_the_log_does_not_have(repository: Repository, data: Path, at: str) -> None:
    repository.commit("d", data)
    with pytest.raises(BadInputError):
        open_repository(repository.url, at=at)


def test_a_moment_shows_what_was_then(repository: Repository, data: Path) -> None:
    repository.commit("d", data)
    before = datetime.now(UTC).isoformat()
    (data / "file").write_text("2")
    repository.commit("d", data, tags=["new"])
    for at in ("1", before):
        then = open_repository(repository.url, at=at)
        assert [version.version for version in then.log("d")] == ["v1"]
        assert then.refs("d")[0].name == "main"
        assert len(then.refs("d")) == 1
        assert then.version("d").read("file") == b"1"
        writes: list[Callable[[Repository], object]] = [
            lambda it: it.commit("d", data),
            lambda it: it.tag("d", "t"),
            lambda it: it.rename("d", "e"),
            lambda it: it.revert("d"),
            lambda it: it.delete_dataset("d"),
        ]
        for write in writes:
            with pytest.raises(BadInputError):
                write(then)
    assert open_repository(repository.url, at="0").datasets() == []
