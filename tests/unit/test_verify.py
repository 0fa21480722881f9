from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataver.errors import NewerFormatError, ObjectMissingError, RefNotFoundError, StoreError
from dataver.format.entry import CHECKPOINT_EVERY
from dataver.format.operations import ConfigSet
from dataver.format.pack import HEADER_BYTES, TRAILER_BYTES
from dataver.hashing import Kind, kind_digest
from dataver.keys import HINT_KEY, entry_key, pack_key
from dataver.log.state import value_row
from dataver.repository import Repository, init
from dataver.results import Harm
from dataver.store.base import Store, View, Wrapper
from dataver.testing.stores import CountingStore, Fault, FaultyStore
from dataver.tree.build import build
from dataver.tree.update import update
from dataver.tree.walk import links
from dataver.verify.replay import ReplayNodes
from tests.damage import WHOLE, append, change, commit, flip, harms, opened, place_of, the_one
from tests.worlds import noise, text

NAMES = count()


@pytest.fixture
def repository() -> Repository:
    return init(f"memory://verify-{next(NAMES)}")


# What is looked at


def test_a_whole_repository_is_whole_and_all_of_it_is_counted(repository: Repository, tmp_path: Path) -> None:
    commit(repository, tmp_path / "data", a=noise(1, 200_000), b=b"b\n")
    repository.tag("iris", "paper")
    stored = [info for info in repository.session.store.list("") if info.key != HINT_KEY]
    shallow, deep = repository.verify(), repository.verify(deep=True)
    assert shallow.ok
    assert deep.ok
    assert shallow.objects == deep.objects == len(stored)
    assert shallow.bytes < 70_000 + 10_000 < sum(info.size_bytes for info in stored) < deep.bytes


def test_an_empty_repository_is_whole(repository: Repository) -> None:
    assert repository.verify(deep=True).to_json() == {
        "ok": True, "objects": 1, "bytes": repository.verify().bytes, "part": None, "damaged": [],
        "erased": 0,
    }  # fmt: skip


def test_without_deep_the_bytes_of_chunks_are_not_read(repository: Repository, tmp_path: Path) -> None:
    commit(repository, tmp_path / "data", a=noise(1, 200_000), b=noise(2, 10_000))
    flip(repository.session.store, *place_of(repository, "b"))
    assert repository.verify().ok
    assert not repository.verify(deep=True).ok


def test_a_session_that_has_read_everything_still_sees_what_is_stored(
    repository: Repository, tmp_path: Path
) -> None:
    commit(repository, tmp_path / "data", a=b"one", b=b"two")
    version = repository.version("iris")
    assert [version.read(path) for path in ("a", "b")] == [b"one", b"two"]
    assert repository.verify(deep=True).ok
    for info in list(repository.session.store.list("packs/")):
        flip(repository.session.store, info.key, HEADER_BYTES + 20)
    assert len(repository.verify(deep=True).damaged) == 2


# What damage harms


def test_a_damaged_chunk_harms_each_version_and_path_that_has_it(
    repository: Repository, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    commit(repository, data, bad=noise(1, 9_000), good=noise(2, 9_000))
    commit(repository, data, copy=noise(1, 9_000))
    (data / "bad").unlink()
    commit(repository, data, good=noise(3, 9_000))
    (data / "copy").unlink()
    commit(repository, data)
    key, offset = place_of(repository, "bad", "iris@v1")
    flip(repository.session.store, key, offset)
    report = repository.verify(deep=True)
    assert harms(report) == {
        key: [("iris", "v1", "bad"), ("iris", "v2", "bad"), ("iris", "v2", "copy"), ("iris", "v3", "copy")]
    }
    assert "do not match its name" in the_one(report).reason
    assert "checksum" in the_one(report).reason


@pytest.mark.parametrize("deep", [False, True])
def test_a_missing_pack_harms_the_files_in_it(repository: Repository, tmp_path: Path, deep: bool) -> None:
    commit(repository, tmp_path / "data", a=noise(1, 300_000), b=b"b")
    key, _ = place_of(repository, "b")
    change(repository.session.store, key, None)
    report = repository.verify(deep=deep)
    assert the_one(report).reason == "it is missing"
    assert harms(report) == {key: [("iris", "v1", "a"), ("iris", "v1", "b")]}


def test_a_chunk_in_the_middle_of_a_long_file_harms_that_file(repository: Repository, tmp_path: Path) -> None:
    commit(repository, tmp_path / "data", long=noise(1, 600_000), other=noise(2, 600_000))
    version = repository.version("iris")
    root = version.entry("long").chunks
    assert root is not None
    key = next(info.key for info in repository.session.store.list("packs/") if info.size_bytes > 1_000_000)
    data = repository.session.store.get(key)
    at = data.index(noise(1, 600_000)[300_000:300_050])
    flip(repository.session.store, key, at)
    assert harms(repository.verify(deep=True)) == {key: [("iris", "v1", "long")]}


@pytest.mark.parametrize("deep", [False, True])
def test_a_lost_manifest_harms_all_of_its_versions(
    repository: Repository, tmp_path: Path, deep: bool
) -> None:
    commit(repository, tmp_path / "data", a=b"one")
    commit(repository, tmp_path / "data", a=b"two")
    place = repository.session.index().find(repository.session.resolve("iris@v1").version.id)
    assert place is not None
    key = pack_key(place.pack)
    change(repository.session.store, key, None)
    assert harms(repository.verify(deep=deep)) == {key: [("iris", "v1", None)]}


def test_a_shared_manifest_is_read_once_and_harms_every_version(
    repository: Repository, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    commit(repository, data, **{f"f{number:04}": b"%d" % number for number in range(3_000)})
    for number in range(20):
        commit(repository, data, f0000=b"edit %d" % number)
    counting = CountingStore(repository.session.store)
    report = opened(repository, lambda _: counting).verify()
    assert report.ok
    # A commit writes a record, a leaf and a root at most, and the first one all leaves.
    nodes = 3 * 21 + 20
    assert sum(call.method == "get_ranges" for call in counting.calls) <= nodes + 2 * 42
    last = repository.version("iris").entry("f2999")
    place = repository.session.index().find(last.digest)
    assert place is not None
    flip(repository.session.store, pack_key(place.pack), place.frame_offset + 9)
    found = harms(repository.verify(deep=True))[pack_key(place.pack)]
    assert {version for _, version, path in found if path == "f2999"} == {f"v{n}" for n in range(1, 22)}


def test_deleted_datasets_and_branches_are_checked_too(repository: Repository, tmp_path: Path) -> None:
    commit(repository, tmp_path / "data", a=b"gone")
    side = tmp_path / "side"
    side.mkdir()
    (side / "b").write_bytes(b"branch")
    made = repository.commit("iris", side, branch="trial", add=True)
    keys = place_of(repository, "a")[0], place_of(repository, "b", "iris@trial")[0]
    repository.delete_ref("branch", "iris", "trial")
    repository.delete_dataset("iris")
    for key in keys:
        change(repository.session.store, key, None)
    assert harms(repository.verify()) == {
        keys[0]: [("iris", made.id, "a"), ("iris", "v1", "a")],
        keys[1]: [("iris", made.id, "b")],
    }


def test_a_damaged_footer_alone_keeps_nobody_from_reading(repository: Repository, tmp_path: Path) -> None:
    commit(repository, tmp_path / "data", a=noise(1, 100_000), b=text(2, 100_000))
    key = max(repository.session.store.list("packs/"), key=lambda info: info.size_bytes).key
    flip(repository.session.store, key, len(repository.session.store.get(key)) - TRAILER_BYTES - 5)
    deep = the_one(repository.verify(deep=True))
    assert deep.object == key
    assert "footer" in deep.reason
    assert deep.harms == []
    version = opened(repository).version("iris")
    assert [len(version.read(path)) for path in ("a", "b")] == [100_000, 100_000]
    # Without its footer nothing of it is known to be right, short of reading it.
    assert {harm.path for harm in the_one(repository.verify()).harms} == {"a", "b"}


def test_a_damaged_frame_header_is_found_and_harms_nothing(repository: Repository, tmp_path: Path) -> None:
    commit(repository, tmp_path / "data", a=b"a")
    key, _ = place_of(repository, "a")
    flip(repository.session.store, key, HEADER_BYTES + 5)
    damage = the_one(repository.verify(deep=True))
    assert "the header of the frame at 48" in damage.reason
    assert damage.harms == []


# One version


def test_a_ref_is_checked_for_what_it_reaches_alone(repository: Repository, tmp_path: Path) -> None:
    commit(repository, tmp_path / "data", a=b"one")
    commit(repository, tmp_path / "data", a=b"two")
    key, offset = place_of(repository, "a", "iris@v1")
    flip(repository.session.store, key, offset)
    assert harms(repository.verify("iris@v1", deep=True)) == {key: [("iris", "v1", "a")]}
    assert harms(repository.verify("iris@latest~1", deep=True)) == {key: [("iris", "v1", "a")]}
    assert repository.verify("iris@v2", deep=True).ok
    assert repository.verify("iris@v2", deep=True).objects < repository.verify().objects


def test_a_ref_that_means_nothing_is_the_callers_error(repository: Repository, tmp_path: Path) -> None:
    commit(repository, tmp_path / "data", a=b"one")
    with pytest.raises(RefNotFoundError):
        repository.verify("iris@v2")
    with pytest.raises(RefNotFoundError):
        repository.verify("roses")


def test_a_ref_behind_a_record_that_is_lost_is_damage(repository: Repository, tmp_path: Path) -> None:
    commit(repository, tmp_path / "data", a=b"one")
    commit(repository, tmp_path / "data", a=b"two")
    version = repository.session.resolve("iris@v2").version.id
    place = repository.session.index().find(version)
    assert place is not None
    change(repository.session.store, pack_key(place.pack), None)
    report = repository.verify("iris@latest~1")
    assert [damage.object for damage in report.damaged] == [pack_key(place.pack)]
    assert report.damaged[0].harms[0].dataset == "iris"


@pytest.mark.parametrize("number", [0, 2])
def test_a_ref_that_no_entry_can_tell_of(repository: Repository, tmp_path: Path, number: int) -> None:
    commit(repository, tmp_path / "data", a=b"one")
    commit(repository, tmp_path / "data", a=b"two")
    flip(repository.session.store, entry_key(number), 100)
    damage = the_one(opened(repository).verify("iris@v1"))
    assert (damage.object, damage.harms) == (entry_key(number), [WHOLE])


# Files that stayed where they are


def test_references_are_read_where_they_are_with_deep_alone(repository: Repository, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for name in ("same", "changed", "gone"):
        (data / name).write_bytes(name.encode())
    repository.commit("iris", data, reference=True)
    assert repository.verify(deep=True).ok
    (data / "changed").write_bytes(b"CHANGED")
    (data / "gone").unlink()
    assert repository.verify().ok
    report = repository.verify(deep=True)
    found = {damage.object.rpartition("/")[2]: damage for damage in report.damaged}
    assert set(found) == {"changed", "gone"}
    assert all(damage.object.endswith(str(data / name)) for name, damage in found.items())
    assert found["gone"].harms == [Harm("iris", "v1", "gone")]
    assert "no more" in found["gone"].reason
    assert "changed" in found["changed"].reason


# What is raised, and what happens meanwhile


def test_a_newer_format_is_not_damage(repository: Repository) -> None:
    data = bytearray(repository.session.log._next(
        repository.session.log.tail(), (ConfigSet("colour", "red"),), repository.session.who(None)
    ).encode()[:-32])  # fmt: skip
    data[4] = 2
    body = bytes(data)
    assert repository.session.store.put_new(entry_key(1), body + kind_digest(Kind.LOG_ENTRY, body))
    with pytest.raises(NewerFormatError):
        opened(repository).verify()


def test_a_store_that_fails_is_raised(repository: Repository, tmp_path: Path) -> None:
    commit(repository, tmp_path / "data", a=b"one")

    def failing(store: Store) -> Store:
        return FaultyStore(store, {1: Fault.BEFORE}, lambda call: call.key.startswith("packs/"))

    with pytest.raises(StoreError):
        opened(repository, failing).verify()
    with pytest.raises(StoreError):
        opened(repository, failing).verify(deep=True)


def test_what_vanishes_under_a_collection_is_looked_for_in_the_state_after_it(
    repository: Repository, tmp_path: Path
) -> None:
    commit(repository, tmp_path / "data", a=b"one")

    class Vanishing(Wrapper):
        vanished = False

        def get_suffix(self, key: str, length: int) -> tuple[View, int]:
            if not self.vanished:
                self.vanished = True
                repository.tag("iris", "paper")
                raise ObjectMissingError(f"there is no {key}")
            return self.inner.get_suffix(key, length)

    assert opened(repository, Vanishing).verify().ok


def test_history_that_went_back_is_named(tmp_path: Path) -> None:
    repository = init(str(tmp_path / "repository"))
    commit(repository, tmp_path / "data", a=b"one")
    commit(repository, tmp_path / "data", a=b"two")
    (tmp_path / "repository" / entry_key(2)).unlink()
    (tmp_path / "repository" / HINT_KEY).unlink()
    report = opened(repository).verify()
    assert {damage.object: damage.harms for damage in report.damaged} == {entry_key(2): [WHOLE]}
    assert "rolled back" in report.damaged[0].reason


def test_a_lost_last_entry_of_a_block_does_not_stop_the_replay(repository: Repository) -> None:
    for number in range(1, CHECKPOINT_EVERY + 3):
        append(repository, ConfigSet(f"key {number}", "value"))
    change(repository.session.store, entry_key(CHECKPOINT_EVERY - 1), None)
    damage = the_one(opened(repository).verify())
    assert damage.object == entry_key(CHECKPOINT_EVERY - 1)


def test_what_a_lost_entry_did_is_known_from_the_next_checkpoint(
    repository: Repository, tmp_path: Path
) -> None:
    for number in range(1, CHECKPOINT_EVERY - 1):
        append(repository, ConfigSet(f"key {number}", "value"))
    commit(repository, tmp_path / "data", a=b"one")
    key, _ = place_of(repository, "a")
    append(repository, ConfigSet("checkpoint", "value"))
    change(repository.session.store, entry_key(CHECKPOINT_EVERY - 1), None)
    change(repository.session.store, key, None)
    found = {damage.object: damage.harms for damage in opened(repository).verify().damaged}
    assert found == {entry_key(CHECKPOINT_EVERY - 1): [WHOLE], key: [Harm("iris", "v1", "a")]}


@given(st.lists(st.dictionaries(st.integers(0, 3_000), st.booleans(), max_size=200), max_size=8))
def test_a_replay_keeps_the_nodes_of_its_tree_and_no_others(rounds: list[dict[int, bool]]) -> None:
    nodes = ReplayNodes()
    root = build(nodes, [value_row(b"%05d" % number, b"old") for number in range(0, 3_000, 2)])
    nodes.drop_outgrown(root)
    for changes in rounds:
        edits = {b"%05d" % n: value_row(b"%05d" % n, b"new") if kept else None for n, kept in changes.items()}
        root = update(nodes, root, edits)
        nodes.drop_outgrown(root)
    assert set(nodes._nodes) == {link.digest for link in links(nodes, root)}
