"""Records of erasures, what caches drop, and which entries of the log make them drop it."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataver.digest import Digest
from dataver.erased import chunk_record, erased_error, erasures, file_record
from dataver.erasure import erase
from dataver.errors import ErasedDataError, ErasedError
from dataver.format.entry import CHECKPOINT_EVERY
from dataver.format.operations import ConfigSet, Erase
from dataver.hashing import blake3_digest
from dataver.keys import pack_key
from dataver.log.log import Log
from dataver.log.state import State
from dataver.repository import Repository
from dataver.store.disk_cache import DiskCache
from dataver.testing.stores import CountingStore
from tests.erased import traces
from tests.far import opened
from tests.repositories import memory_repository
from tests.worlds import noise, text


def state_with(records: dict[Digest, str]) -> State:
    session = memory_repository().session
    operations = tuple(Erase(digest, record) for digest, record in records.items())
    return session.log.append(lambda _: operations, session.who("Ana"))


def digest_of(what: str) -> Digest:
    return blake3_digest(what.encode())


def test_a_record_is_told_to_readers_and_writers() -> None:
    file, chunk = digest_of("file"), digest_of("chunk")
    record = file_record("Ana", "2026-01-02T03:04:05Z", "law", "faces", "ada.jpg")
    state = state_with({file: record, chunk: chunk_record(file)})
    for digest in (file, chunk):
        error = erased_error(state, digest)
        assert isinstance(error, ErasedError)
        for part in ("Ana", "2026-01-02T03:04:05Z", "law", "ada.jpg of faces"):
            assert part in str(error)
    assert erased_error(state, digest_of("other")) is None
    found = erasures(state)
    assert len(found) == 2
    assert found.chunks_of(file) == [chunk]
    assert isinstance(found.refusal(chunk, "x.jpg", "Go."), ErasedDataError)
    assert not erasures(memory_repository().session.log.state())


@pytest.mark.parametrize(
    "record",
    ["", "{", "[]", "1", '{"of":1}', '{"of":"xy"}', '{"of":"' + "ab" * 32 + '"}', '{"author":[],"reason":{}}',
     "[" * 5_000],
)  # fmt: skip
def test_a_record_that_nobody_vouches_for_is_told_all_the_same(record: str) -> None:
    digest = digest_of("file")
    error = erased_error(state_with({digest: record}), digest)
    assert error is not None
    assert "were erased" in str(error)


def test_a_record_that_names_itself_ends() -> None:
    digest = digest_of("file")
    assert erased_error(state_with({digest: chunk_record(digest)}), digest) is not None


def test_the_cache_drops_digests_and_frames_of_packs(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, 8 << 20)
    pack = bytes(digest_of("pack"))
    names = [bytes(digest_of(str(number))) for number in range(40)]
    for number, name in enumerate(names):
        cache.put(name, noise(number, 50_000))
    cache.put(bytes(digest_of("frame")), pack + noise("frame", 1_000))
    cache.put(names[3], noise(3, 50_000))  # Twice: the first copy is not what the table leads to.
    big = noise("big", 1_000_000)
    cache.put(bytes(digest_of("big")), big)
    cache.drop([names[3]], [pack])
    assert cache.get(names[3]) is None
    assert cache.get(bytes(digest_of("frame"))) is None
    held = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert noise(3, 50_000)[:64] not in held
    assert noise("frame", 1_000)[:64] not in held
    assert cache.get(bytes(digest_of("big"))) == big
    kept = [name for number, name in enumerate(names) if number != 3 and cache.get(name) is not None]
    assert kept, "only the slabs that had it go"
    cache.put(names[5], noise(5, 50_000))
    assert cache.get(names[5]) == noise(5, 50_000)


def test_a_slab_that_nobody_can_walk_goes(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, 8 << 20)
    cache.put(bytes(digest_of("a")), noise("a", 5_000))
    (slab,) = (tmp_path / "objects" / "slabs").iterdir()
    with open(slab, "ab") as file:
        file.write(b"torn")
    DiskCache(tmp_path, 0).drop([bytes(digest_of("other"))])
    assert not slab.exists()
    DiskCache(tmp_path / "none", 0).drop([bytes(digest_of("other"))])
    assert not (tmp_path / "none").exists()


class Told:
    """What a log passes on."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, int]] = []

    def __call__(self, erased: list[bytes], packs: list[bytes]) -> None:
        self.calls.append((len(erased), len(packs)))


def log_of(repository: Repository, told: Told) -> Log:
    log = Log(repository.session.store)
    log.forget = told
    return log


def committed(place: Path) -> Repository:
    folder = place / "source"
    folder.mkdir()
    (folder / "secret").write_bytes(noise("secret", 40_000))
    (folder / "kept").write_bytes(noise("kept", 40_000))
    repository = Repository(str(place / "repository"))
    repository.session.create()
    repository.commit("d", folder)
    return repository


def test_a_log_passes_on_what_is_new_to_it(tmp_path: Path) -> None:
    repository = committed(tmp_path)
    told = Told()
    log = log_of(repository, told)
    log.tail()
    assert told.calls == []
    erase(repository.session, "d", "secret", reason="law", yes=True)
    log.tail()
    assert told.calls == [(1, 1)]
    log.tail()
    repository.tag("d", "later")
    log.tail()
    assert told.calls == [(1, 1)], "nothing was erased since"


def test_a_log_that_saw_nothing_yet_passes_on_what_the_first_entry_erased() -> None:
    repository = memory_repository()
    session = repository.session
    session.log.append(lambda _: (Erase(digest_of("file"), "{}"),), session.who("Ana"))
    assert session.log.tail().entry.number == 1
    told = Told()
    log_of(repository, told).tail()
    assert told.calls == [(1, 0)]


def test_a_log_passes_on_what_the_last_entry_before_a_checkpoint_erased() -> None:
    repository = memory_repository()
    session = repository.session
    told = Told()
    log = log_of(repository, told)
    for number in range(1, CHECKPOINT_EVERY + 1):
        is_last = number == CHECKPOINT_EVERY - 1
        one = Erase(digest_of("file"), "{}") if is_last else ConfigSet("key", str(number))
        if is_last:
            log.tail()
        session.log.append(lambda _, one=one: (one,), session.who("Ana"))  # type: ignore[misc]
    assert told.calls == []
    assert len(log.tail().entry.steps) == 1
    assert told.calls == [(1, 0)]


def test_a_log_passes_on_what_is_behind_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = committed(tmp_path)
    told = Told()
    log = log_of(repository, told)
    log.tail()
    erase(repository.session, "d", "secret", reason="law", yes=True)
    for number in range(70):
        repository.tag("d", f"t{number}")
    log.tail()
    assert told.calls == [(1, 1)]
    # A machine that never saw the repository has nothing to drop, but nobody knows that.
    monkeypatch.setenv("DATAVER_CACHE_DIR", str(tmp_path / "machine"))
    fresh = Told()
    log_of(repository, fresh).tail()
    assert fresh.calls == [(1, 1)]


def test_where_nothing_was_erased_nothing_is_asked(tmp_path: Path) -> None:
    repository = committed(tmp_path)
    for number in range(70):
        repository.tag("d", f"t{number}")
    store = CountingStore(repository.session.store)
    told = Told()
    log = Log(store)
    log.forget = told
    log.tail()
    repository.tag("d", "once-more")
    store.reset()
    log.tail()
    assert told.calls == []
    assert {call.key.partition("/")[0] for call in store.calls} == {"log"}


def frame_of(repository: Repository, data: bytes) -> bytes:
    """The stored bytes of the frame that has these bytes as a chunk."""
    session = repository.session
    place = session.index().find(blake3_digest(data))
    assert place is not None
    span = (place.frame_offset, place.stored_bytes)
    return bytes(session.store.get_ranges(pack_key(place.pack), [span])[0])


def contents(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_the_cache_of_a_remote_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another machine read it; when it next reads the log, its cache has nothing of it."""
    monkeypatch.setenv("DATAVER_CACHE_MAX", "64M")
    folder = tmp_path / "source"
    folder.mkdir()
    secret = text("secret", 900)
    (folder / "secret").write_bytes(secret)
    for number in range(20):
        (folder / f"label{number}").write_bytes(text(number, 900))
    (folder / "large").write_bytes(noise("large", 400_000))
    here = memory_repository()
    here.commit("d", folder)
    reader_cache = tmp_path / "reader"
    monkeypatch.setenv("DATAVER_CACHE_DIR", str(reader_cache))
    far = opened(here.session.store)
    for path in ("label3", "secret", "large"):
        assert far.version("d").read(path) == (folder / path).read_bytes()
    frame = frame_of(here, secret)
    assert frame in contents(reader_cache), "the frame is kept for its neighbours"
    monkeypatch.setenv("DATAVER_CACHE_DIR", str(tmp_path / "eraser"))
    erase(here.session, "d", "secret", reason="law", yes=True)
    erase(here.session, "d", "large", reason="law", yes=True)
    monkeypatch.setenv("DATAVER_CACHE_DIR", str(reader_cache))
    large = noise("large", 400_000)
    assert traces(here.session.store, large, reader_cache)
    assert traces(here.session.store, large) == []
    opened(here.session.store).datasets()
    assert traces(here.session.store, large, reader_cache) == []
    assert frame not in contents(reader_cache)
    assert DiskCache(reader_cache, 64 << 20).get(bytes(blake3_digest(secret))) is None
    again = opened(here.session.store).version("d")
    assert again.read("label3") == (folder / "label3").read_bytes()
    for path in ("secret", "large"):
        with pytest.raises(ErasedError, match="law"):
            again.read(path)


def test_who_erases_from_afar_keeps_nothing_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAVER_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("DATAVER_CACHE_MAX", "64M")
    folder = tmp_path / "source"
    folder.mkdir()
    for number in range(20):
        (folder / f"label{number}").write_bytes(text(number, 900))
    (folder / "large").write_bytes(noise("large", 400_000))
    here = memory_repository()
    here.commit("d", folder)
    far = opened(here.session.store)
    assert far.version("d").read("large") == noise("large", 400_000)
    assert traces(here.session.store, noise("large", 400_000), tmp_path / "cache")
    report = erase(far.session, "d", "large", reason="law", yes=True)
    assert (report.undeleted, report.soft_delete_days) == ([], None)
    assert traces(here.session.store, noise("large", 400_000), tmp_path / "cache") == []
    assert opened(here.session.store).verify(deep=True).erased == 1
    assert opened(here.session.store).version("d").read("label7") == text(7, 900)
