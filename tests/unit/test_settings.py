"""What is set for a whole repository, and what commits make of it."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import dataver
from dataver.errors import BadInputError
from dataver.format.operations import ConfigSet
from dataver.format.table_statistics import statistics_key
from dataver.repository import Repository
from dataver.settings import COMMIT_STATS, Setting


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return dataver.init(tmp_path / "repository")


def write(folder: Path, name: str, rows: int) -> Path:
    folder.mkdir(exist_ok=True)
    pq.write_table(pa.table({"n": range(rows)}), folder / name)
    return folder


def recorded(repository: Repository, ref: str, path: str) -> bool:
    """Whether the repository itself has the statistics of a file."""
    digest = bytes.fromhex(next(f.digest for f in repository.version(ref).files() if f.path == path))
    return bool(repository.session.index().find_many(statistics_key(digest))[0])


def test_a_setting_is_set_once_for_everybody(repository: Repository, tmp_path: Path) -> None:
    settings = repository.settings
    assert settings.get(COMMIT_STATS).value == "off"
    assert not settings.get(COMMIT_STATS).is_set
    assert settings.set(COMMIT_STATS, "on").previous is None
    entries = repository.session.log.tail().entry.number
    assert settings.set(COMMIT_STATS, "on").previous == "on"
    assert repository.session.log.tail().entry.number == entries
    other = dataver.open(tmp_path / "repository").settings
    [found] = other.all()
    assert (found.key, found.value, found.is_set) == (COMMIT_STATS, "on", True)
    assert other.unset(COMMIT_STATS).to_json() == {
        "key": COMMIT_STATS, "value": "off", "previous": "on", "default": "off", "set": False,
    }  # fmt: skip
    assert settings.get(COMMIT_STATS) == Setting(COMMIT_STATS, "off", "off", False, found.meaning)
    assert other.unset(COMMIT_STATS).previous is None


@pytest.mark.parametrize("value", ["", "ON", "yes", "on ", "\x1b[31m", True])
def test_a_value_that_cannot_be_is_refused(repository: Repository, value: str) -> None:
    with pytest.raises(BadInputError, match=r"^commit\.stats is on or off, not '"):
        repository.settings.set(COMMIT_STATS, value)
    assert not repository.settings.get(COMMIT_STATS).is_set


def test_a_key_that_is_not_known_is_refused(repository: Repository) -> None:
    with pytest.raises(BadInputError, match=r"'commit.stat' is no setting; commit\.stats is one"):
        repository.settings.set("commit.stat", "on")
    with pytest.raises(BadInputError, match=r"'' is no setting; there is commit\.stats"):
        repository.settings.get("")
    with pytest.raises(BadInputError, match="is no setting"):
        repository.settings.unset("colour")


def test_as_it_was(repository: Repository, tmp_path: Path) -> None:
    repository.settings.set(COMMIT_STATS, "on")
    repository.settings.unset(COMMIT_STATS)
    before = dataver.open(tmp_path / "repository", at="1")
    assert before.settings.get(COMMIT_STATS).value == "on"
    with pytest.raises(BadInputError, match="earlier time"):
        before.settings.set(COMMIT_STATS, "off")


def test_a_value_of_a_newer_release_counts_as_off(repository: Repository, tmp_path: Path) -> None:
    repository.session.log.append(
        lambda _: (ConfigSet(COMMIT_STATS, "often"), ConfigSet("colour", "red")), repository.session.who(None)
    )
    assert [setting.value for setting in repository.settings.all()] == ["often"]
    repository.commit("t", write(tmp_path / "data", "a.parquet", 10))
    assert not recorded(repository, "t", "a.parquet")


def test_commits_record_statistics_where_it_is_on(repository: Repository, tmp_path: Path) -> None:
    data = tmp_path / "data"
    repository.commit("t", write(data, "a.parquet", 10))
    assert not recorded(repository, "t", "a.parquet")
    repository.settings.set(COMMIT_STATS, "on")
    repository.commit("t", write(tmp_path / "new", "b.parquet", 20), add=True)
    assert recorded(repository, "t", "b.parquet")
    assert not recorded(repository, "t", "a.parquet")  # An append costs the new file alone.
    repository.commit("t", write(data, "c.parquet", 30), stats=False)
    assert not recorded(repository, "t", "c.parquet")
    repository.settings.set(COMMIT_STATS, "off")
    repository.commit("t", write(data, "d.parquet", 40))
    assert not recorded(repository, "t", "d.parquet")
    repository.commit("t", write(data, "e.parquet", 50), stats=True)
    assert recorded(repository, "t", "e.parquet")


def test_a_setting_stays_in_its_repository(repository: Repository, tmp_path: Path) -> None:
    repository.settings.set(COMMIT_STATS, "on")
    repository.commit("t", write(tmp_path / "data", "a.parquet", 10))
    other = dataver.init(tmp_path / "other")
    repository.push(to=other)
    assert not other.settings.get(COMMIT_STATS).is_set
    assert recorded(other, "t", "a.parquet")
