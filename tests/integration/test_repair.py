"""Repair: what can be had is whole again, what cannot is told, and nothing that was whole is harmed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dataver.digest import Digest
from dataver.errors import BadInputError, OfflineError
from dataver.format.operations import Erase
from dataver.format.pack import HEADER_BYTES, TRAILER_BYTES
from dataver.gc import collect
from dataver.keys import PACK_PREFIX, SEGMENT_PREFIX, pack_key, segment_key
from dataver.repair import RepairReport, repair
from dataver.repository import Repository
from dataver.store.base import Store
from tests.damage import append, change, commit, flip, harms, opened, place_of
from tests.far import opened as far_opened
from tests.repositories import memory_repository
from tests.worlds import noise, text

FILES = {"a": noise(1, 300_000), "b": noise(2, 9_000), "c": text(3, 400_000), "d": b"d\n"}


LAST_DIGEST = TRAILER_BYTES + 9
"""So far before its end the last digest of a pack ends."""


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
    """The pack of the chunk that a file is."""
    return place_of(repository, path)[0]


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
        pytest.param(lambda data: data[:-LAST_DIGEST] + b"x" + data[1 - LAST_DIGEST :], id="footer"),
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
    """Every version, whatever files the newest one has."""
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
    from dataver.gc.repack import frames_of
    from dataver.packs import PackWriter, read_footer

    store = repository.session.store
    footer, _ = read_footer(store, name)
    writer = PackWriter(store, footer.kind)
    for found in frames_of(footer):
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


def test_what_was_marked_is_collected_after_its_grace_and_what_was_saved_stays(
    repository: Repository,
) -> None:
    key = data_pack(repository, "b")
    store = repository.session.store
    change(store, key, store.get(key)[:-1] + b"x")
    assert mend(repository).marked == [key]
    collect(opened(repository).session, yes=True, grace_s=7 * 86_400.0)
    assert key in keys(repository, PACK_PREFIX)
    assert collect(opened(repository).session, yes=True, grace_s=0).swept >= 1
    assert key not in keys(repository, PACK_PREFIX)
    assert is_whole(repository)


def test_a_pack_that_comes_back_from_a_backup_is_named_again(repository: Repository) -> None:
    key = data_pack(repository, "b")
    store = repository.session.store
    data = store.get(key)
    change(store, key, None)
    assert not mend(repository).ok
    assert store.put_new(key, data)
    report = mend(repository)
    assert report.ok
    assert report.found > 0
    assert is_whole(repository)


def test_what_is_lost_stays_in_a_marked_pack_until_that_is_collected(repository: Repository) -> None:
    """As where a repair was given a wrong read: the next one looks there again."""
    key, offset = place_of(repository, "b")
    store = repository.session.store
    flip(store, key, offset)
    assert not mend(repository).ok
    flip(store, key, offset)
    report = mend(repository)
    assert report.ok
    assert is_whole(repository)


def test_quick_finds_what_the_ends_of_packs_tell(repository: Repository) -> None:
    key, offset = place_of(repository, "b")
    flip(repository.session.store, key, offset)
    assert repair(repository.session, deep=False).damaged == []
    change(repository.session.store, key, repository.session.store.get(key)[:-1])
    report = mend(repository, deep=False)
    assert [damage.object for damage in report.damaged] == [key]
    assert [harm.path for damage in report.lost for harm in damage.harms] == ["b", "b"]


# From elsewhere


def wreck(repository: Repository) -> None:
    """Take every pack away, data and metadata."""
    for key in keys(repository, PACK_PREFIX):
        change(repository.session.store, key, None)


def another(repository: Repository) -> Repository:
    """Another repository with all that this one has."""
    other = memory_repository()
    repository.push(to=other)
    return other


def test_another_repository_has_all_that_is_lost(repository: Repository) -> None:
    other = another(repository)
    wreck(repository)
    report = mend(repository, [other.session])
    assert report.ok
    assert report.sources == {other.url: report.healed}
    assert is_whole(repository)


def test_what_is_damaged_there_too_is_not_taken_and_the_rest_is(repository: Repository) -> None:
    other = another(repository)
    key, offset = place_of(other, "b")
    flip(other.session.store, key, offset)
    wreck(repository)
    report = mend(repository, [opened(other).session])
    assert [harm.path for harm in report.lost[0].harms] == ["b", "b"]
    assert opened(repository).version("iris").read("c") == FILES["c"]


def test_two_repositories_that_have_parts_make_one_whole(repository: Repository, tmp_path: Path) -> None:
    one, two = memory_repository(), memory_repository()
    repository.push(["iris@v1"], to=one)
    commit(two, tmp_path / "other", c=FILES["c"], d=FILES["d"])
    for key in {data_pack(repository, "b"), data_pack(repository, "d")}:
        change(repository.session.store, key, None)
    assert not repair(opened(repository).session, [one.session]).ok
    report = mend(repository, [one.session, two.session])
    assert report.ok
    assert report.sources.keys() == {one.url, two.url}
    assert is_whole(repository)


def test_a_folder_with_the_files_under_other_names_heals_their_chunks(
    repository: Repository, tmp_path: Path
) -> None:
    for key in {data_pack(repository, "b"), data_pack(repository, "d")}:
        change(repository.session.store, key, None)
    folder = tmp_path / "elsewhere" / "deep"
    folder.mkdir(parents=True)
    for name, data in {**FILES, "unrelated": noise(77, 200_000)}.items():
        (folder / f"{name}.old").write_bytes(data)
    report = mend(repository, (), [folder.parent])
    assert report.ok
    assert report.sources == {str(folder.parent): report.healed}
    assert report.healed_bytes == sum(map(len, FILES.values()))
    assert is_whole(repository)


def test_the_very_folder_of_a_version_heals_manifest_and_lists_of_chunks_too(
    repository: Repository, tmp_path: Path
) -> None:
    """The nodes are cut as they were, so that they are the very same."""
    entry = repository.version("iris").entry("c")
    assert entry.chunks is not None
    newest = repository.session.resolve("iris").version.manifest
    index = repository.session.index()
    for pack in {place.pack for place in map(index.find, (entry.chunks, newest)) if place is not None}:
        change(repository.session.store, pack_key(pack), None)
    report = mend(repository, (), [tmp_path / "data"])
    # The record of the version, with its time and author, is in no folder.
    assert [damage.object.split()[0] for damage in report.lost] == ["version"]
    assert report.healed == 2


def test_frames_that_neither_index_nor_footer_knows_are_found_by_their_headers(
    repository: Repository,
) -> None:
    store = repository.session.store
    for key in {data_pack(repository, "b"), data_pack(repository, "d")}:
        change(store, key, store.get(key)[: -TRAILER_BYTES - 20])
    for key in keys(repository, SEGMENT_PREFIX):
        change(store, key, None)
    report = mend(repository)
    assert report.ok, report.lost
    assert is_whole(repository)


def test_records_too_are_found_by_the_headers_of_their_frames(repository: Repository) -> None:
    store = repository.session.store
    for key in (*keys(repository, SEGMENT_PREFIX), *keys(repository, PACK_PREFIX)):
        data = store.get(key)
        change(store, key, data[:-TRAILER_BYTES])
    report = mend(repository)
    assert report.ok, report.lost
    assert is_whole(repository)


def test_the_repository_itself_is_no_source(repository: Repository) -> None:
    with pytest.raises(BadInputError, match="to be repaired"):
        repair(repository.session, [opened(repository).session])


def test_a_repository_without_any_pack_says_so_and_is_healed_later(repository: Repository) -> None:
    other = another(repository)
    wreck(repository)
    report = mend(repository)
    assert {damage.object.split()[0] for damage in report.lost} == {"version", "manifest"}
    assert not opened(repository).verify(deep=True).ok
    assert mend(repository, [other.session]).ok
    assert is_whole(repository)


def test_what_this_machine_read_before_is_in_its_cache(repository: Repository) -> None:
    store = repository.session.store
    far = far_opened(store)
    for entry in far.version("iris").files():
        far.version("iris").read(entry.path)
    key = data_pack(repository, "d")
    change(store, key, None)
    report = repair(far_opened(store).session, yes=True)
    assert report.lost == []
    assert report.sources.keys() == {"the cache of this machine"}
    assert is_whole(repository)
    assert repair(far_opened(store).session).ok


def test_what_cannot_write_does_not_begin(repository: Repository) -> None:
    at = Repository(repository.url, at="1")
    at._check()
    with pytest.raises(BadInputError, match="earlier"):
        repair(at.session)
    with pytest.raises(OfflineError):
        repair(far_opened(repository.session.store, offline=True).session)


# What was erased


def test_what_was_erased_is_not_brought_back_and_its_neighbours_are(
    repository: Repository, tmp_path: Path
) -> None:
    other = another(repository)
    digest = Digest(repository.version("iris").entry("d").digest)
    append(repository, Erase(digest, "{}"))
    change(repository.session.store, data_pack(repository, "d"), None)
    report = mend(repository, [other.session], [tmp_path / "data"])
    assert report.lost == []
    assert report.healed > 0
    found = opened(repository).session.index()
    assert found.find(digest) is None
    assert opened(repository).version("iris").read("c") == FILES["c"]


def test_what_was_erased_is_not_copied_out_of_a_damaged_pack(repository: Repository) -> None:
    digest = Digest(repository.version("iris").entry("d").digest)
    key = data_pack(repository, "d")
    append(repository, Erase(digest, "{}"))
    store = repository.session.store
    change(store, key, store.get(key)[:-1] + b"x")
    report = mend(repository)
    assert report.salvaged > 0
    assert opened(repository).session.index().find(digest) is None
    assert opened(repository).version("iris").read("c") == FILES["c"]
