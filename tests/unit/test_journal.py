"""The notes of writers: taken over from the dead alone, and never more than a hint."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dataver.compression import Codec
from dataver.digest import Digest
from dataver.format.pack import PackKind
from dataver.hashing import blake3_digest
from dataver.journal import AGE_S_MAX, Journal, ResumedIndex
from dataver.packs import PackWriter, StoredPack
from dataver.repository import Repository, init
from dataver.store.local import LocalStore
from tests.repositories import memory_repository
from tests.worlds import noise


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return init(str(tmp_path / "repository"))


def folder(repository: Repository) -> Path:
    return Path(os.environ["DATAVER_CACHE_DIR"], "uploads", repository.id)


def put(repository: Repository, seed: int, journal: Journal | None = None) -> tuple[StoredPack, bytes]:
    """Put a pack with one chunk, and note it."""
    data = noise(seed, 1_000)
    note = None if journal is None else journal.note
    writer = PackWriter(repository.session.store, PackKind.DATA, stored=note)
    writer.add(Codec.RAW, [data], len(data), blake3_digest(data), [len(data)])
    (pack,) = writer.close()
    return pack, data


def adopt(repository: Repository, journal: Journal) -> list[Digest]:
    state = repository.session.state()
    return [pack.name for pack in journal.adopt(state, repository.session.index(state, writing=True))]


def test_the_living_keep_what_is_theirs(repository: Repository) -> None:
    writer = Journal(repository.session)
    first, _ = put(repository, 1, writer)
    other = Journal(repository.session)
    assert adopt(repository, other) == []
    other.close(None)
    second, _ = put(repository, 2, writer)
    writer.close(None)
    one, two = Journal(repository.session), Journal(repository.session)
    assert adopt(repository, one) == [first.name, second.name]
    assert adopt(repository, two) == [], "two took the same"
    one.close({first.name})
    third = Journal(repository.session)
    assert adopt(repository, third) == [second.name]
    third.close({second.name})
    assert list(folder(repository).iterdir()) == []


def test_an_entry_ends_the_notes_of_its_writer(repository: Repository, tmp_path: Path) -> None:
    writer = Journal(repository.session)
    pack, _ = put(repository, 1, writer)
    assert len(list(folder(repository).iterdir())) == 1
    writer.close({pack.name})
    assert list(folder(repository).iterdir()) == []
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file").write_bytes(b"x")
    repository.commit("d", tmp_path / "data")
    assert list(folder(repository).iterdir()) == []


def test_packs_that_an_entry_names_are_of_no_more_interest(repository: Repository, tmp_path: Path) -> None:
    """Who was killed right behind the entry left a note of what is no longer to be noted."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file").write_bytes(noise(1, 50_000))
    repository.commit("d", tmp_path / "data")
    names = [info.key[-64:] for info in repository.session.store.list("packs/")]
    folder(repository).mkdir(parents=True, exist_ok=True)
    (folder(repository) / "left").write_text("".join(f"{name}\n" for name in names))
    journal = Journal(repository.session)
    assert adopt(repository, journal) == []
    journal.close(set())
    assert list(folder(repository).iterdir()) == []


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff" * 300, b"no digest\n", b"0" * 64, b"../../etc/passwd\n" * 5, b"f" * 64 + b"\n" * 3],
)
def test_notes_that_mean_nothing(repository: Repository, tmp_path: Path, content: bytes) -> None:
    folder(repository).mkdir(parents=True)
    (folder(repository) / "left").write_bytes(content)
    (folder(repository) / ".half").write_bytes(content)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file").write_bytes(b"x")
    assert repository.commit("d", tmp_path / "data").created
    assert repository.verify(deep=True).ok


def test_a_last_line_that_was_cut_short(repository: Repository) -> None:
    pack, _ = put(repository, 1)
    other, _ = put(repository, 2)
    folder(repository).mkdir(parents=True)
    (folder(repository) / "left").write_text(f"{pack.name}\n{str(other.name)[:40]}")
    journal = Journal(repository.session)
    assert adopt(repository, journal) == [pack.name]
    journal.close(None)


def test_old_notes_are_thrown_away(repository: Repository) -> None:
    writer = Journal(repository.session)
    put(repository, 1, writer)
    writer.close(None)
    (note,) = folder(repository).iterdir()
    then = time.time() - AGE_S_MAX - 60
    os.utime(note, (then, then))
    journal = Journal(repository.session)
    adopt(repository, journal)
    journal.close(None)
    assert not note.exists()


def test_a_cache_that_cannot_be_written_costs_only_the_notes(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    monkeypatch.setenv("DATAVER_CACHE_DIR", str(blocked))
    journal = Journal(repository.session)
    put(repository, 1, journal)
    assert adopt(repository, journal) == []
    journal.close(set())


def test_repositories_in_memory_leave_no_notes(tmp_path: Path) -> None:
    repository = memory_repository()
    journal = Journal(repository.session)
    put(repository, 1, journal)
    journal.close(None)
    assert not (Path(os.environ["DATAVER_CACHE_DIR"]) / "uploads").exists()


def test_what_is_adopted_is_durable_before_the_entry(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one who was killed may not have synced its names; who relies on them does."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file").write_bytes(noise(1, 10_000))
    other = Repository(repository.url)
    monkeypatch.setattr(other.session.log, "append", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        other.commit("d", tmp_path / "data")
    left = [info.key for info in repository.session.store.list("packs/")]
    relied: list[str] = []
    monkeypatch.setattr(LocalStore, "rely_on", lambda _, key: relied.append(key))
    repository.commit("d", tmp_path / "data")
    assert relied
    assert set(relied) <= set(left)


@pytest.mark.parametrize("many", [1, 1_000])
def test_an_index_of_adopted_packs(repository: Repository, many: int) -> None:
    """What the log names comes first, and only what was asked for is used."""
    session = repository.session
    packs = [put(repository, seed) for seed in range(3)]
    index = ResumedIndex(session.index(), session.store, [pack for pack, _ in packs])
    unknown = [blake3_digest(b"%d" % number) for number in range(many)]
    wanted = blake3_digest(packs[1][1])
    found = index.find_many(b"".join([*unknown, wanted]))
    assert found[:-1] == [None] * many
    place = found[-1]
    assert place is not None
    assert (place.pack, place.length) == (packs[1][0].name, 1_000)
    assert index.find(wanted) == place
    assert index.used == [packs[1][0]]
    assert (index.plain_bytes, index.stored_bytes) == (1_000, packs[1][0].size_bytes)


HOLDER = """
import sys
from dataver.digest import Digest
from dataver.journal import Journal
from dataver.repository import open_repository

journal = Journal(open_repository(sys.argv[1]).session)
journal.note(Digest.parse(sys.argv[2]))
print("noted", flush=True)
sys.stdin.read()
"""


def test_notes_of_another_process_while_it_lives_and_after_it_was_killed(repository: Repository) -> None:
    pack, _ = put(repository, 1)
    arguments = [sys.executable, "-c", HOLDER, repository.url, str(pack.name)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"noted\n"
        journal = Journal(repository.session)
        assert adopt(repository, journal) == []
        journal.close(None)
        child.kill()
        child.wait()
    journal = Journal(repository.session)
    assert adopt(repository, journal) == [pack.name]
    journal.close(None)
