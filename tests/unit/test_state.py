"""The state as a map over a tree of nodes, from near and from far, and what a machine remembers of it."""

from __future__ import annotations

import json
import os
from itertools import count
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import pytest

from dataver.errors import BadInputError, DamagedError, StoreError
from dataver.format.entry import CHECKPOINT_EVERY, StateRoot
from dataver.format.limits import NODE_BYTES_MAX
from dataver.format.node import Row
from dataver.format.operations import ConfigSet, Genesis, Operation
from dataver.hashing import blake3_digest
from dataver.keys import PACK_PREFIX, entry_key, pack_key
from dataver.log.log import DECIDE_S_MAX, Identity, Log
from dataver.log.nodes import StateNodes, place_pack, root_link
from dataver.log.remembered import Remembered, Seen
from dataver.log.state import State, value_of, value_row
from dataver.store.base import Store, Wrapper
from dataver.store.cached import with_cache
from dataver.store.memory import MemoryStore
from dataver.testing.stores import CountingStore, Fault, FaultyStore
from dataver.tree.build import build
from dataver.tree.schema import STATE, MemoryNodes
from dataver.tree.walk import links
from tests.far import FarStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dataver.store.base import Data, View

GENESIS = Genesis(1, "fastcdc2020-nc1-seed0", 16_384, 65_536, 262_144)
WHO = Identity("Test")
NAMES = count()
SETTINGS = 4_000
"""So many that a tree of them has nodes above others."""


def fresh() -> MemoryStore:
    return MemoryStore(f"test-state-{next(NAMES)}")


def settings(first: int, last: int, value: str) -> tuple[Operation, ...]:
    return tuple(ConfigSet(f"key {number:05}", value) for number in range(first, last))


def grow(log: Log, last: int) -> None:
    """Append small entries up to `last`."""
    for number in range(log.tail().entry.number + 1, last + 1):
        log.append(lambda _, n=number: settings(0, 1, str(n)), WHO)  # type: ignore[misc]


def begun(store: Store) -> Log:
    log = Log(store)
    log.create(GENESIS, b"r" * 16, WHO)
    return log


@pytest.fixture(scope="module")
def large() -> MemoryStore:
    """Two checkpoints of many nodes, of which the second changes a part; one pack each."""
    store = fresh()
    log = begun(store)
    # Right before a checkpoint: the entries until then repeat what was done since the last one.
    grow(log, CHECKPOINT_EVERY - 2)
    log.append(lambda _: settings(0, SETTINGS, "first"), WHO)
    grow(log, 2 * CHECKPOINT_EVERY - 2)
    log.append(lambda _: settings(1_000, 1_100, "second"), WHO)
    grow(log, 2 * CHECKPOINT_EVERY + 1)
    return store


def expected(newest: str) -> dict[str, str]:
    value = {number: "second" if 1_000 <= number < 1_100 else "first" for number in range(SETTINGS)}
    return {f"key {number:05}": newest if number == 0 else text for number, text in value.items()}


# Near and far


@pytest.mark.parametrize("is_far", [False, True], ids=["near", "far"])
def test_a_state_of_many_nodes_is_read_from_near_and_far(large: MemoryStore, is_far: bool) -> None:
    state = Log(FarStore(large) if is_far else large).state()
    assert dict(state.settings("")) == expected(str(2 * CHECKPOINT_EVERY + 1))
    assert state.setting("key 01050") == "second"
    assert state.setting("key 03999") == "first"
    assert state.setting("key 04000") is None


def test_a_look_up_reads_one_node_a_level_and_each_once(large: MemoryStore) -> None:
    counting = CountingStore(large)
    state = Log(counting).state()
    assert state.base is not None
    reads: list[int] = []
    for name in ("key 02000", "key 02000", "key 02001"):
        before = len(counting.calls)
        assert state.setting(name) == "first"
        reads.append(len(counting.calls) - before)
    assert reads == [2, 0, 0]


def test_from_far_the_nodes_beside_one_come_with_it(large: MemoryStore) -> None:
    counting = CountingStore(large)
    state = Log(FarStore(counting)).state_at(CHECKPOINT_EVERY)
    before = len(counting.calls)
    assert len(dict(state.settings(""))) == SETTINGS
    assert [call.method for call in counting.calls[before:]] == ["get_ranges"]


def test_from_far_no_more_than_is_told_comes_with_a_node(
    large: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    around = 40_000
    monkeypatch.setattr("dataver.log.nodes.AROUND_BYTES", around)
    spans: list[tuple[int, int]] = []

    class Noted(Wrapper):
        def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[View]:
            spans.extend(ranges)
            return super().get_ranges(key, ranges)

    assert dict(Log(FarStore(Noted(large))).state().settings("")) == expected("129")
    for number in range(1, SETTINGS, 300):  # Some of the nodes that stand before the root come with it.
        state = Log(FarStore(Noted(large))).state_at(CHECKPOINT_EVERY)
        assert state.setting(f"key {number:05}") == "first"
    assert max(length for _, length in spans) == around
    assert max(start for start, _ in spans) > 0


def test_nodes_that_did_not_change_are_those_of_the_checkpoint_before(large: MemoryStore) -> None:
    log = Log(large)
    base = log.tail().entry.base
    assert base is not None
    packs = [place_pack(link) for link in links(log.nodes, root_link(base))]
    first = log.entry(CHECKPOINT_EVERY).entry.base
    assert first is not None
    assert set(packs) == {base.pack, first.pack}
    assert packs.count(first.pack) > packs.count(base.pack)


@pytest.mark.parametrize("is_far", [False, True], ids=["near", "far"])
def test_each_flipped_byte_of_a_node_is_damage(large: MemoryStore, is_far: bool) -> None:
    base = Log(large).tail().entry.base
    assert base is not None
    key = pack_key(base.pack)
    data = large.get(key)
    for at in range(base.offset, base.offset + base.length, 97):
        broken = bytearray(data)
        broken[at] ^= 1
        large.put_hint(key, bytes(broken))
        with pytest.raises(DamagedError, match="digest"):
            Log(FarStore(large) if is_far else large).state().setting("key 02000")
    large.put_hint(key, data)


def test_a_pack_of_nodes_that_is_missing_is_damage() -> None:
    store = fresh()
    grow(begun(store), CHECKPOINT_EVERY)
    for info in list(store.list(PACK_PREFIX)):
        store.delete(info.key)
    with pytest.raises(DamagedError, match="missing"):
        Log(store).state().setting("other")


@pytest.mark.parametrize(
    ("more", "told"), [(0, "does not match its digest"), (1, "more than a node may have")]
)
def test_no_more_is_read_than_a_node_may_have(more: int, told: str) -> None:
    store, pack = fresh(), blake3_digest(b"pack")
    store.put_new(pack_key(pack), bytes(NODE_BYTES_MAX + more))
    root = StateRoot(blake3_digest(b"node"), blake3_digest(b""), 1, pack, 0, NODE_BYTES_MAX + more)
    with pytest.raises(DamagedError, match=told):
        StateNodes(store).load(root_link(root))


def test_nodes_leave_it_to_the_entry_to_make_all_durable() -> None:
    puts: dict[bool, set[str]] = {True: set(), False: set()}

    class Noted(Wrapper):
        def put_new(self, key: str, data: Data, *, barrier: bool = True) -> bool:
            puts[barrier].add(key.partition("/")[0])
            return super().put_new(key, data, barrier=barrier)

    grow(begun(Noted(fresh())), CHECKPOINT_EVERY)
    assert puts == {True: {"log"}, False: {PACK_PREFIX.partition("/")[0]}}


def test_nodes_are_kept_in_the_cache_of_a_far_store(
    large: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATAVER_CACHE_DIR", str(tmp_path))
    counting = CountingStore(large)
    assert len(dict(Log(with_cache(FarStore(counting))).state().settings(""))) == SETTINGS
    before = len(counting.calls)
    assert len(dict(Log(with_cache(FarStore(counting))).state().settings(""))) == SETTINGS
    calls = [call.key for call in counting.calls[before:]]
    assert not [key for key in calls if key.startswith(PACK_PREFIX)]


def test_what_was_just_written_is_read_again_from_the_store() -> None:
    """A checkpoint's nodes have other places once their pack has its name."""
    store = fresh()
    log = begun(store)
    grow(log, CHECKPOINT_EVERY - 2)
    log.append(lambda _: settings(0, SETTINGS, "x"), WHO)
    for number in range(CHECKPOINT_EVERY, 2 * CHECKPOINT_EVERY + 1):
        log.append(lambda _, n=number: settings(n, n + 1, "y"), WHO)  # type: ignore[misc]
    state, other = log.state(), Log(store).state()
    assert dict(state.items()) == dict(other.items())
    assert [state.setting(f"key {number:05}") for number in (63, 64, 128, 129)] == ["x", "y", "y", "x"]


def test_a_state_is_written_anew_with_nothing_of_what_was(large: MemoryStore) -> None:
    store = fresh()
    for info in large.list(""):
        store.put_hint(info.key, large.get(info.key))
    log = Log(store)
    state = log.state()
    before = dict(state.items())
    old = {info.key for info in store.list(PACK_PREFIX)}
    number = state.number
    assert log.renew(state, WHO) == 3 * CHECKPOINT_EVERY - number
    assert state.number == number  # The caller's own is as it was.
    for key in old:
        store.delete(key)
    tail = Log(store).tail()
    assert (tail.entry.number, tail.entry.since) == (3 * CHECKPOINT_EVERY, ())
    assert dict(Log(store).state().items()) == before


def test_a_state_that_is_written_anew_has_what_came_meanwhile() -> None:
    store = fresh()
    log = begun(store)
    log.append(lambda _: settings(0, 3, "x"), WHO)
    state = log.state()
    Log(store).append(lambda _: settings(1, 2, "meanwhile"), WHO)
    log.renew(state, WHO)
    assert dict(Log(store).state().settings("")) == {
        "key 00000": "x",
        "key 00001": "meanwhile",
        "key 00002": "x",
    }


def test_of_entries_that_are_in_a_state_already_none_is_read_again() -> None:
    store = CountingStore(fresh())
    log = begun(store)
    grow(log, 5)
    state = log.state()
    grow(Log(store), 7)
    store.reset()
    log.renew(state, WHO)
    read = {call.key for call in store.calls if call.method == "get" and call.key.startswith("log/0")}
    assert min(read) == entry_key(6)


@pytest.mark.parametrize("behind", [0, 1, 2])
def test_what_came_right_before_the_checkpoint_is_written_anew_too(behind: int) -> None:
    store = fresh()
    log = begun(store)
    grow(log, CHECKPOINT_EVERY - 3)
    state = log.state()
    other = Log(store)
    for number in range(behind):
        other.append(lambda _, n=number: settings(10 + n, 11 + n, "meanwhile"), WHO)  # type: ignore[misc]
    assert log.renew(state, WHO) == 3 - behind
    found = dict(Log(store).state().settings("key 0001"))
    assert found == {f"key {10 + number:05}": "meanwhile" for number in range(behind)}


# The map


@pytest.mark.parametrize("seed", range(20))
def test_a_tree_and_the_changes_since_are_one_map(seed: int) -> None:
    rolls = Random(seed)
    keys = [b"%c%c" % (a, b) for a in b"abc" for b in b"\x00mz\xff"] + [b"a", b"b", b"c", b"d"]
    below = {key: b"below" for key in keys if rolls.random() < 0.5}
    changes = {key: rolls.choice([None, b"change"]) for key in keys if rolls.random() < 0.5}
    nodes = MemoryNodes(STATE)
    base = build(nodes, [value_row(key, value) for key, value in sorted(below.items())])
    state = State(1, GENESIS, nodes, base, changes)
    whole = {key: value for key, value in (below | changes).items() if value is not None}
    for prefix in (b"", b"a", b"b\xff", b"c", b"e"):
        found = list(state.items(prefix))
        assert found == sorted((key, value) for key, value in whole.items() if key.startswith(prefix))
    assert all(state.get(key) == whole.get(key) for key in keys)
    copy = state.copy()
    copy.changes[b"a"] = b"other"
    assert (copy.number, copy.base, copy.get(b"a")) == (1, base, b"other")
    assert state.get(b"a") == whole.get(b"a")


def test_a_row_of_a_state_is_what_the_format_says() -> None:
    row = value_row(b"key", b"value")
    assert row == Row(b"key", b"", ((b"valu", 3, b"value"),))
    assert value_of(row) == b"value"
    assert value_of(Row(b"key", b"", ())) == b""


# What is remembered


def seen(number: int) -> Seen:
    return Seen("ab" * 16, number, blake3_digest(b"%d" % number))


def test_what_was_seen_is_remembered_by_place() -> None:
    Remembered("/one").save(seen(5))
    Remembered("/two").save(Seen("cd" * 16, 7, blake3_digest(b""), b"entry", b"genesis"))
    assert Remembered("/one").load() == seen(5)
    assert Remembered("/two").load() == Seen("cd" * 16, 7, blake3_digest(b""), b"entry", b"genesis")
    assert Remembered("/three").load() is None
    Remembered("/one").save(seen(6))
    assert Remembered("/one").load() == seen(6)


def test_of_memory_nothing_is_remembered() -> None:
    Remembered("memory://x").save(seen(5))
    assert Remembered("memory://x").load() is None
    Remembered("/folder/memory:").save(seen(5))
    assert Remembered("/folder/memory:").load() == seen(5)


def test_a_place_whose_name_is_no_text_is_remembered() -> None:
    Remembered("/folder/\udcff").save(seen(5))
    assert Remembered("/folder/\udcff").load() == seen(5)


def remembered_file() -> Path:
    return next(Path(os.environ["DATAVER_CACHE_DIR"], "repositories").iterdir())


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        b"7",
        b'{"repository": "ab", "number": "x", "digest": "00"}',
        b'{"repository": "ab", "number": 1, "digest": "00"}',
        b'{"repository": "ab", "number": null, "digest": "%s"}' % (b"00" * 32),
        b'{"repository": "ab", "number": 1, "digest": "%s", "entry": 5}' % (b"00" * 32),
        b'{"repository": "ab", "number": 1, "digest": "%s", "entry": "x"}' % (b"00" * 32),
    ],
)
def test_what_cannot_be_read_is_as_good_as_forgotten(text: bytes) -> None:
    Remembered("/one").save(seen(5))
    remembered_file().write_bytes(text)
    assert Remembered("/one").load() is None


def test_what_is_known_already_is_not_written_again() -> None:
    memory = Remembered("/one")
    memory.save(seen(5))
    remembered_file().unlink()
    memory.save(seen(5))
    assert memory.load() is None
    memory.save(seen(6))
    assert memory.load() == seen(6)
    document = json.loads(remembered_file().read_bytes())
    assert document == {"repository": "ab" * 16, "number": 6, "digest": str(seen(6).digest)}
    assert remembered_file().stat().st_mode & 0o077 == 0
    assert [path.name for path in remembered_file().parent.iterdir()] == [remembered_file().name]


# What a store does not say


def no_pause(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Time that passes only while the log waits; how long it waited each time."""
    pauses: list[float] = []
    monkeypatch.setattr("dataver.log.log.time.sleep", pauses.append)
    monkeypatch.setattr("dataver.log.log.time.monotonic", lambda: sum(pauses))
    return pauses


def test_a_store_that_never_answers_may_have_taken_it(monkeypatch: pytest.MonkeyPatch) -> None:
    inner = fresh()
    Log(inner).create(GENESIS, b"r" * 16, WHO)
    faults = dict.fromkeys(range(1, 1_000), Fault.BEFORE)
    store = FaultyStore(inner, faults, lambda call: call.method == "put_new" and call.key.startswith("log/"))
    pauses = no_pause(monkeypatch)
    with pytest.raises(StoreError, match="may have been committed") as raised:
        Log(store).append(lambda _: settings(0, 1, "x"), WHO)
    assert raised.value.exit_code == 7
    assert pauses[:4] == [0.05, 0.1, 0.2, 0.4]
    assert max(pauses) == 5.0
    assert DECIDE_S_MAX < sum(pauses) <= DECIDE_S_MAX + 5.0
    assert Log(inner).tail().entry.number == 0


@pytest.mark.parametrize("number", [7, 8])
def test_an_entry_of_another_repository_is_damage(number: int) -> None:
    one, other = fresh(), fresh()
    for store, repository in ((one, b"r" * 16), (other, b"o" * 16)):
        log = Log(store)
        log.create(GENESIS, repository, WHO)
        grow(log, 7)
    log = Log(one)
    assert log.tail().entry.number == 7
    grow(Log(other), 8)
    one.put_hint(entry_key(number), other.get(entry_key(number)))
    with pytest.raises(DamagedError, match="of another repository"):
        log.append(lambda _: settings(0, 1, "x"), WHO)


@pytest.mark.parametrize("length", [1, 2, 3, 7, 8])
def test_a_moment_means_the_newest_entry_until_then(length: int) -> None:
    store = fresh()
    times = iter(range(100, 1_000, 10))
    who = Identity("Test", now_us=lambda: next(times))
    log = Log(store)
    log.create(GENESIS, b"r" * 16, who)
    for number in range(1, length):
        log.append(lambda _, n=number: settings(0, 1, str(n)), who)  # type: ignore[misc]
    for number in range(length):
        assert [log.number_at(100 + 10 * number + more) for more in (0, 9)] == [number, number]
    assert log.number_at(10_000) == length - 1
    with pytest.raises(BadInputError, match="did not exist yet"):
        log.number_at(99)


def test_entries_say_who_made_them_and_when() -> None:
    store: Store = fresh()
    who = Identity("Ana <ana@example.org>", now_us=lambda: 5_000, write_id=lambda: b"w" * 16)
    log = Log(store)
    first = log.create(GENESIS, b"r" * 16, who).entry
    log.append(lambda _: settings(0, 1, "x"), who)
    second = Log(store).tail().entry
    for number, entry in enumerate((first, second)):
        assert (entry.number, entry.repository, entry.write_id) == (number, b"r" * 16, b"w" * 16)
        assert (entry.time_us, entry.author) == (5_000, "Ana <ana@example.org>")
    assert log.repository() == b"r" * 16
    assert log.genesis() == GENESIS
