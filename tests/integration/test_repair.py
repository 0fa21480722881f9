"""Repair: what can be had is whole again, what cannot is told, and nothing that was whole is harmed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dataver.digest import Digest
from dataver.format.pack import HEADER_BYTES, TRAILER_BYTES
from dataver.keys import PACK_PREFIX, SEGMENT_PREFIX, pack_key, segment_key
from dataver.repair import RepairReport, repair
from dataver.repository import Repository
from dataver.store.base import Store
from tests.damage import change, commit, flip, harms, opened, place_of
from tests.repositories import memory_repository
from tests.worlds import noise, text

FILES = {"a": noise(1, 300_000), "b": noise(2, 9_000), "c": text(3, 400_000), "d": b"d\n"}


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    repository = memory_repository()
    commit(repository, tmp_path / "data", a=FILES["a"], b=FILES["b"])
    commit(repository, tmp_path / "data", c=FILES["c"], d=FILES["d"])
    return repository


def mend(repository: Repository, *args: object, **options: object) -> RepairReport:
    """Repair as another process would, and see that a dry run says the same and changes nothing."""
    before = contents(repository.session.store)
    forecast = repair(opened(repository).session, *args, **options)  # type: ignore[arg-type]
    assert contents(repository.session.store) == before
    assert not forecast.done
    report = repair(opened(repository).session, *args, yes=True, **options)  # type: ignore[arg-type]
    after = contents(repository.session.store)
    assert before.items() <= {**after, "log/HINT": before["log/HINT"]}.items()
    said, did = forecast.to_json(), report.to_json()
    assert {**said, "done": True} == did
    return report


def contents(store: Store) -> dict[str, bytes]:
    return {info.key: store.get(info.key) for info in store.list("")}


def is_whole(repository: Repository) -> bool:
    report = opened(repository).verify(deep=True)
    assert report.ok, report.damaged
    version = opened(repository).version("iris")
    return {entry.path: version.read(entry.path) for entry in version.files()} == FILES


def keys(repository: Repository, prefix: str) -> list[str]:
    return [info.key for info in repository.session.store.list(prefix)]


def data_pack(repository: Repository, path: str) -> str:
    entry = repository.version("iris").entry(path)
    digest = entry.digest if entry.chunks is None else entry.chunks
    place = repository.session.index().find(digest)
    assert place is not None
    return pack_key(place.pack)


def test_nothing_is_done_where_all_is_whole(repository: Repository) -> None:
    report = mend(repository)
    assert report.ok
    assert (report.damaged, report.segments, report.marked) == ([], 0, [])
    assert len(keys(repository, "log/0")) == 3


@pytest.mark.parametrize("deep", [True, False])
@pytest.mark.parametrize("how", ["missing", "cut", "flipped"])
def test_a_segment_is_built_again_from_the_packs(repository: Repository, how: str, deep: bool) -> None:
    store = repository.session.store
    for key in keys(repository, SEGMENT_PREFIX):
        data = store.get(key)
        spoiled = {"missing": None, "cut": data[:-7], "flipped": data[:-1] + bytes([data[-1] ^ 1])}[how]
        change(store, key, spoiled)
    assert not opened(repository).verify().ok
    report = mend(repository, deep=deep)
    assert report.ok
    assert report.segments == 2
    assert (report.salvaged, report.healed, report.lost) == (0, 0, [])
    assert report.found > 0
    assert len(report.marked) == (0 if how == "missing" else 2)
    assert is_whole(repository)


def test_what_is_whole_in_a_damaged_pack_is_copied_and_the_rest_is_told(repository: Repository) -> None:
    key, offset = place_of(repository, "b")
    flip(repository.session.store, key, offset)
    report = mend(repository)
    assert not report.ok
    assert [damage.object for damage in report.damaged] == [key]
    assert report.marked == [key]
    digest = Digest(repository.version("iris").entry("b").digest)
    (lost,) = report.lost
    assert lost.object == f"chunk {digest}"
    assert [(h.dataset, h.version, h.path) for h in lost.harms] == [("iris", "v1", "b"), ("iris", "v2", "b")]
    after = opened(repository)
    assert after.version("iris").read("a") == FILES["a"]
    assert harms(after.verify(deep=True)).keys() == {lost.object}
    # A second one has nothing to do.
    again = mend(repository)
    assert (again.damaged, again.segments, again.marked) == ([], 0, [])
    assert again.lost == report.lost


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda data: b"x" + data[1:], id="first byte"),
        pytest.param(lambda data: data[: HEADER_BYTES + 1] + b"x" + data[HEADER_BYTES + 2 :], id="header"),
        pytest.param(lambda data: data[:-1] + b"x", id="last byte"),
        pytest.param(
            lambda data: data[: -TRAILER_BYTES - 9] + b"x" + data[-TRAILER_BYTES - 8 :], id="footer"
        ),
        pytest.param(lambda data: data[:-TRAILER_BYTES], id="no trailer"),
    ],
)
def test_damage_beside_the_chunks_loses_nothing(
    repository: Repository, spoil: Callable[[bytes], bytes]
) -> None:
    store = repository.session.store
    for key in keys(repository, PACK_PREFIX):
        change(store, key, spoil(store.get(key)))
    report = mend(repository)
    assert report.ok
    assert report.salvaged > 0
    assert len(report.marked) == len(report.damaged) == 4
    assert is_whole(repository)


def test_a_missing_pack_is_told_by_what_it_harms_and_what_is_committed_again_is_whole(
    repository: Repository, tmp_path: Path
) -> None:
    key = data_pack(repository, "d")
    change(repository.session.store, key, None)
    report = mend(repository)
    assert not report.ok
    assert report.marked == []
    assert {harm.path for damage in report.lost for harm in damage.harms} == {"c", "d"}
    commit(opened(repository), tmp_path / "again", c=FILES["c"], d=FILES["d"])
    assert is_whole_but_for_names(repository)


def is_whole_but_for_names(repository: Repository) -> bool:
    """Every version, whatever the newest one has."""
    report = opened(repository).verify(deep=True)
    assert report.ok, report.damaged
    return True


def test_what_another_pack_has_as_well_is_found_there(repository: Repository, tmp_path: Path) -> None:
    """Two writers that did not see each other stored the same file."""
    one, other = opened(repository), opened(repository)
    state = other.session.newest()
    other.session.index(state)
    commit(one, tmp_path / "one", shared=noise(9, 9_000))
    packs = set(keys(repository, PACK_PREFIX))
    digest = one.version("iris").entry("shared").digest
    place = one.session.index().find(digest)
    assert place is not None
    copy_of(repository, place.pack)
    change(repository.session.store, pack_key(place.pack), None)
    report = mend(repository)
    assert report.ok
    assert report.found > 0
    assert len(set(keys(repository, PACK_PREFIX)) - packs) == 1
    assert opened(repository).version("iris").read("shared") == noise(9, 9_000)


def copy_of(repository: Repository, name: bytes) -> Digest:
    """A pack with the same chunks and another nonce, which no segment names."""
    from dataver.gc.repack import _frames
    from dataver.packs import PackWriter, read_footer

    store = repository.session.store
    footer, _ = read_footer(store, name)
    writer = PackWriter(store, footer.kind)
    for found in _frames(footer):
        stored = store.get_ranges(pack_key(name), [(found.frame.offset, found.frame.stored_bytes)])[0]
        writer.add(found.frame.codec, [bytes(stored)], found.frame.raw_bytes, found.digests, found.lengths)
    (pack,) = writer.close()
    return pack.name


def test_index_and_footer_of_one_pack_may_be_damaged_at_once_and_others_are_not_touched(
    repository: Repository,
) -> None:
    store = repository.session.store
    (mine, other) = (
        s.name
        for s in sorted(
            repository.session.state().segments(),
            key=lambda s: pack_key_in(repository, s.name, data_pack(repository, "b")),
            reverse=True,
        )
    )
    change(store, segment_key(mine), None)
    key = data_pack(repository, "d")
    data = store.get(key)
    change(store, key, data[: HEADER_BYTES + 40] + b"x" + data[HEADER_BYTES + 41 :])
    report = mend(repository)
    assert report.segments == 2
    assert segment_key(other) in keys(repository, SEGMENT_PREFIX)
    assert opened(repository).version("iris").read("b") == FILES["b"]


def pack_key_in(repository: Repository, segment: bytes, key: str) -> bool:
    return key in map(pack_key, repository.session.index().segment(segment).packs())
