"""The test tools test nothing if they do not fail as they say."""

from __future__ import annotations

import time
from uuid import uuid4

import pytest

from dataver.errors import ObjectMissingError, StoreError
from dataver.store.memory import MemoryStore
from dataver.testing.stores import Call, CountingStore, Fault, FaultyStore, LatencyStore, Pace


@pytest.fixture
def memory() -> MemoryStore:
    store = MemoryStore(str(uuid4()))
    store.put_new("a", b"0123456789")
    return store


def test_calls_and_bytes_are_counted(memory: MemoryStore) -> None:
    store = CountingStore(memory)
    store.put_new("b", [b"12", b"345"])
    store.put_hint("log/HINT", b"1")
    store.get("a")
    store.get_ranges("a", [(0, 2), (-3, 0)])
    store.get_suffix("a", 4)
    assert len(list(store.list("b"))) == 1
    store.delete("b")
    with pytest.raises(ObjectMissingError):
        store.get("b")
    methods = ["put_new", "put_hint", "get", "get_ranges", "get_suffix", "list", "delete", "get"]
    assert [call.method for call in store.calls] == methods
    assert store.calls[5] == Call("list", "b")
    assert store.counts["get"] == 2
    assert (store.read_bytes, store.written_bytes) == (10 + 5 + 4, 6)
    store.reset()
    assert (store.calls, store.read_bytes, store.written_bytes) == ([], 0, 0)


def test_a_fault_before_does_nothing(memory: MemoryStore) -> None:
    store = FaultyStore(memory, {1: Fault.BEFORE})
    with pytest.raises(StoreError, match="nothing was done"):
        store.put_new("b", b"x")
    store.get("a")
    with pytest.raises(ObjectMissingError):
        store.get("b")
    assert store.made == 3


def test_a_lost_answer_has_done_its_work(memory: MemoryStore) -> None:
    store = FaultyStore(memory, {1: Fault.AFTER})
    with pytest.raises(StoreError, match="answer was lost"):
        store.put_new("b", b"x")
    assert store.put_new("b", b"x") is False


def test_a_late_write_lands_after_the_next_look(memory: MemoryStore) -> None:
    store = FaultyStore(memory, {1: Fault.LATE})
    data = bytearray(b"as it was")
    with pytest.raises(StoreError, match="timed out"):
        store.put_new("b", data)
    data[:] = b"changed  "
    with pytest.raises(ObjectMissingError):
        store.get("b")
    assert store.get("b") == b"as it was"


def test_a_late_write_does_not_overwrite(memory: MemoryStore) -> None:
    store = FaultyStore(memory, {1: Fault.LATE, 3: Fault.LATE})
    with pytest.raises(StoreError):
        store.put_new("b", b"late")
    assert store.put_new("b", b"again") is True
    with pytest.raises(StoreError):
        store.put_new("c", b"at last")
    store.land()
    assert (memory.get("b"), memory.get("c")) == (b"again", b"at last")


def test_a_corrupted_read_differs_in_one_byte(memory: MemoryStore) -> None:
    store = FaultyStore(memory, dict.fromkeys(range(1, 6), Fault.CORRUPT))
    assert store.get("a") == b"01234\x346789"
    assert store.get_ranges("a", [(0, 1), (2, 3)]) == [b"0", b"2\x324"]
    assert store.get_suffix("a", 1) == (b"8", 10)
    assert store.put_new("b", b"x") is True
    assert [info.key for info in store.list("")] == ["a", "b"]
    assert memory.get("a") == b"0123456789"


def test_only_chosen_calls_count(memory: MemoryStore) -> None:
    store = FaultyStore(memory, {2: Fault.BEFORE}, counts=lambda call: call.key.startswith("log/"))
    store.put_new("log/0", b"")
    store.put_new("packs/aa/1", b"")
    with pytest.raises(StoreError, match="put_new of log/1"):
        store.put_new("log/1", b"")
    assert store.made == 2


def test_a_slow_store_takes_its_time(memory: MemoryStore) -> None:
    store = LatencyStore(memory, Pace(latency_s=0.02, bytes_per_s=1000))
    for work, least_s in (
        (lambda: store.get("a"), 0.02 + 0.01),
        (lambda: store.put_new("b", bytes(30)), 0.02 + 0.03),
        (lambda: store.delete("b"), 0.02),
    ):
        start = time.perf_counter()
        work()
        assert time.perf_counter() - start >= least_s
