"""What every store must do, as a pytest class: subclass `StoreContract` and give it the fixture.

    class TestMine(StoreContract):
        @pytest.fixture
        def store(self): return MyStore(...)      # empty, and nobody else's

A store where nothing was ever put need not be there yet: listing it may raise.
A store that several processes reach subclasses `SharedStoreContract` instead.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.synchronize import Barrier
from typing import Any, TypeVar

import pytest

from dataver.errors import BadInputError, DamagedError, ObjectMissingError
from dataver.store.base import Store

THREADS = 16
PROCESSES = 8
BIG_BYTES = 64 * 1024 * 1024
KEY = "packs/ab/object"

_T = TypeVar("_T")

BAD_KEYS = [
    "",
    "/",
    "/absolute",
    "trailing/",
    "double//slash",
    ".",
    "..",
    "a/../b",
    "a/./b",
    ".hidden",
    "a/.tmp-1",
    "back\\slash",
    "sp ace",
    "new\nline",
    "end\n",
    "nul\0",
    "ümlaut",
    "٣",
    "a:b",
    "%2e%2e/a",
    "x" * 513,
]


class StoreContract:
    """The contract of `dataver.store.base.Store`, method by method, and its races."""

    @pytest.fixture
    def store(self) -> Any:
        """An empty store of its own for each test."""
        raise NotImplementedError("give the fixture `store`")

    # One object

    @pytest.mark.parametrize("size_bytes", [0, 1, 4095, 4096, 4097, 1_000_003])
    def test_what_was_put_is_read_back(self, store: Store, size_bytes: int) -> None:
        data = os.urandom(size_bytes)
        assert store.put_new(KEY, data) is True
        assert store.get(KEY) == data
        assert isinstance(store.get(KEY), bytes)

    def test_a_list_of_buffers_is_joined(self, store: Store) -> None:
        parts = [os.urandom(n % 7) for n in range(5000)]
        kinds = (bytes, bytearray, memoryview)
        mixed = [kinds[n % 3](part) for n, part in enumerate(parts)]
        assert store.put_new(KEY, mixed)
        assert store.put_new("packs/ab/tuple", tuple(mixed))
        assert store.put_new("packs/ab/wide", memoryview(b"12345678").cast("I"))
        assert store.put_new("packs/ab/none", [])
        assert store.get(KEY) == store.get("packs/ab/tuple") == b"".join(parts)
        assert store.get("packs/ab/wide") == b"12345678"
        assert store.get("packs/ab/none") == b""

    @pytest.mark.parametrize("barrier", [True, False])
    def test_a_key_is_created_once(self, store: Store, barrier: bool) -> None:
        assert store.put_new(KEY, b"first", barrier=barrier) is True
        assert store.put_new(KEY, b"second", barrier=barrier) is False
        assert store.put_new(KEY, b"first", barrier=not barrier) is False
        assert store.get(KEY) == b"first"
        assert [info.key for info in store.list("")] == [KEY]

    def test_the_caller_keeps_its_buffers(self, store: Store) -> None:
        mine = bytearray(b"as it was put")
        store.put_new(KEY, mine)
        store.put_hint("log/HINT", mine)
        mine[:] = b"changed after"
        assert store.get(KEY) == store.get("log/HINT") == b"as it was put"

    def test_a_big_object(self, store: Store) -> None:
        block = os.urandom(1 << 20)
        views = [memoryview(block)[n : n + 1000] for n in range(0, len(block), 1000)]
        assert store.put_new(KEY, views * (BIG_BYTES >> 20), barrier=False)
        assert store.get_suffix(KEY, 5) == (block[-5:], BIG_BYTES)
        assert store.get_ranges(KEY, [(BIG_BYTES // 2, 1 << 20)]) == [block]
        assert store.get(KEY) == block * (BIG_BYTES >> 20)

    def test_what_is_missing(self, store: Store) -> None:
        store.put_new(KEY, b"x")
        for key in ("packs/ab/other", "log/1", "packs", "packs/ab", KEY + "/below"):
            for read in (
                store.get,
                lambda k: store.get_ranges(k, [(0, 1)]),
                lambda k: store.get_ranges(k, [(-1, 0)]),
                lambda k: store.get_ranges(k, []),
                lambda k: store.get_suffix(k, 1),
            ):
                with pytest.raises(ObjectMissingError, match=key):
                    read(key)

    # Parts of an object

    def test_ranges(self, store: Store) -> None:
        store.put_new(KEY, b"0123456789")
        ranges = [(5, 5), (0, 3), (0, 10), (9, 1), (4, 0), (10, 0), (0, 3), (-3, 0), (-10, 7), (-99, 0)]
        expected = [
            b"56789",
            b"012",
            b"0123456789",
            b"9",
            b"",
            b"",
            b"012",
            b"789",
            b"0123456789",
            b"0123456789",
        ]
        assert [bytes(part) for part in store.get_ranges(KEY, ranges)] == expected
        assert store.get_ranges(KEY, []) == []

    @pytest.mark.parametrize("beyond", [(0, 11), (10, 1), (11, 0), (1 << 40, 1)])
    def test_a_range_beyond_the_end_is_damage(self, store: Store, beyond: tuple[int, int]) -> None:
        store.put_new(KEY, b"0123456789")
        with pytest.raises(DamagedError, match=KEY):
            store.get_ranges(KEY, [(0, 1), beyond])

    def test_suffixes(self, store: Store) -> None:
        store.put_new(KEY, b"0123456789")
        store.put_new("empty", b"")
        for length, expected in [(0, b""), (1, b"9"), (10, b"0123456789"), (11, b"0123456789")]:
            part, size_bytes = store.get_suffix(KEY, length)
            assert (bytes(part), size_bytes) == (expected, 10)
        assert store.get_suffix("empty", 5) == (b"", 0)
        assert store.get_ranges("empty", [(0, 0), (-5, 0)]) == [b"", b""]

    # Listings

    def test_a_listing_is_sorted_by_key_and_whole(self, store: Store) -> None:
        keys = [
            "log/1",
            "log/10",
            "log/2",
            "log-2",
            "log.3",
            "logs",
            "packs/ab/1",
            "packs/ab-c",
            "packs/b",
            "z",
        ]
        for number, key in enumerate(keys):
            store.put_new(key, b"x" * number, barrier=False)
        assert [info.key for info in store.list("")] == sorted(keys)
        sizes = {info.key: info.size_bytes for info in store.list("")}
        assert sizes == {key: number for number, key in enumerate(keys)}
        for prefix in (
            "log",
            "log/",
            "log/1",
            "logs",
            "packs/",
            "packs/ab",
            "packs/ab/",
            "packs/ab/1",
            "none",
            "no/ne/",
        ):
            expected = sorted(key for key in keys if key.startswith(prefix))
            assert [info.key for info in store.list(prefix)] == expected, prefix

    def test_a_listing_tells_when_an_object_was_stored(self, store: Store) -> None:
        store.put_new("a", b"")
        time.sleep(0.05)
        store.put_new("b", b"")
        first, second = store.list("")
        assert first.stored_at <= second.stored_at
        assert abs(second.stored_at - time.time()) < 3600

    # Changing

    def test_a_hint_overwrites(self, store: Store) -> None:
        store.put_hint("log/HINT", b"a longer one")
        assert store.get("log/HINT") == b"a longer one"
        store.put_hint("log/HINT", [b"an", b"other"])
        assert store.get("log/HINT") == b"another"
        assert [info.key for info in store.list("log/")] == ["log/HINT"]

    def test_delete(self, store: Store) -> None:
        store.put_new(KEY, b"x")
        store.put_new(KEY + "2", b"y")
        store.delete(KEY)
        store.delete(KEY)
        store.delete("never/was")
        with pytest.raises(ObjectMissingError):
            store.get(KEY)
        assert [info.key for info in store.list("")] == [KEY + "2"]
        assert store.put_new(KEY, b"again")
        assert store.get(KEY) == b"again"

    @pytest.mark.parametrize("key", BAD_KEYS)
    def test_bad_keys_are_refused(self, store: Store, key: str) -> None:
        calls: list[Callable[[], object]] = [
            lambda: store.get(key),
            lambda: store.get_ranges(key, [(0, 1)]),
            lambda: store.get_suffix(key, 1),
            lambda: store.put_new(key, b""),
            lambda: store.put_hint(key, b""),
            lambda: store.delete(key),
        ]
        for call in calls:
            with pytest.raises(BadInputError):
                call()

    @pytest.mark.parametrize("prefix", ["/", "a//", "../", "a/../b", ".tmp-", "a/.tmp-", "a b", "a\n"])
    def test_bad_prefixes_are_refused(self, store: Store, prefix: str) -> None:
        with pytest.raises(BadInputError):
            list(store.list(prefix))

    def test_a_pickled_store_is_the_same_store(self, store: Store) -> None:
        store.put_new(KEY, b"x")
        other = pickle.loads(pickle.dumps(store))  # noqa: S301 - made one line above
        assert other.url == store.url
        assert other.get(KEY) == b"x"
        assert other.put_new(KEY, b"y") is False

    # Races

    @pytest.mark.parametrize("barrier", [True, False])
    def test_of_racing_threads_one_creates(self, store: Store, barrier: bool) -> None:
        for number in range(10):
            key = f"log/{number}"

            def create(me: int, key: str = key) -> tuple[bool, bytes]:
                return store.put_new(key, [bytes([me])] * 3000, barrier=barrier), store.get(key)

            results = at_once(create, THREADS)
            winners = [me for me, (created, _) in enumerate(results) if created]
            assert len(winners) == 1
            # The losers' very next read gives the winner's bytes, whole.
            assert {seen for _, seen in results} == {bytes(winners) * 3000}

    def test_racing_threads_with_keys_of_their_own_all_create(self, store: Store) -> None:
        def create(me: int) -> list[bool]:
            return [store.put_new(f"packs/{n:02x}/{me}", bytes([me, n]), barrier=False) for n in range(20)]

        assert all(all(created) for created in at_once(create, THREADS))
        assert len(list(store.list("packs/"))) == THREADS * 20
        assert store.get("packs/13/15") == bytes([15, 19])

    def test_an_object_appears_whole(self, store: Store) -> None:
        block = os.urandom(1 << 20)
        store.put_new("log/0", b"")
        seen: set[int] = set()
        done = threading.Event()

        def watch(_: int) -> None:
            while not done.is_set():
                with contextlib.suppress(ObjectMissingError):
                    seen.add(store.get_suffix(KEY, 1)[1])
                seen.update(info.size_bytes for info in store.list("packs/"))

        def write(_: int) -> None:
            try:
                store.put_new(KEY, [block] * 16)
                store.get_suffix(KEY, 1)
            finally:
                time.sleep(0.02)
                done.set()

        at_once(lambda me: (write if me == 0 else watch)(me), 3)
        assert seen == {16 << 20}

    def test_a_hint_is_never_torn(self, store: Store) -> None:
        values = [bytes([n]) * 50_000 * (n + 1) for n in range(3)]
        store.put_hint("log/HINT", values[0])

        def run(me: int) -> set[bytes]:
            if me < 3:
                for _ in range(30):
                    store.put_hint("log/HINT", values[me])
                return set()
            return {store.get("log/HINT") for _ in range(60)}

        assert set().union(*at_once(run, 6)) <= set(values)


class SharedStoreContract(StoreContract):
    """The contract of a store that other processes open by its pickle."""

    def test_of_racing_processes_one_creates(self, store: Store) -> None:
        rounds = 25
        spawn = multiprocessing.get_context("spawn")
        answers = spawn.Queue()
        together = spawn.Barrier(PROCESSES)
        racers = [
            spawn.Process(target=_race, args=(store, me, rounds, together, answers))
            for me in range(PROCESSES)
        ]
        for racer in racers:
            racer.start()
        results = dict(answers.get(timeout=60) for _ in racers)
        for racer in racers:
            racer.join(timeout=60)
            assert racer.exitcode == 0
        for number in range(rounds):
            winners = [me for me in range(PROCESSES) if results[me][number][0]]
            assert len(winners) == 1
            assert {results[me][number][1] for me in range(PROCESSES)} == {bytes(winners) * 3000}
            assert store.get(f"log/{number}") == bytes(winners) * 3000


def at_once(work: Callable[[int], _T], count: int) -> list[_T]:
    """`work(0)` to `work(count - 1)`, each in a thread of its own, all starting together."""
    start = threading.Barrier(count)

    def run(me: int) -> _T:
        start.wait()
        return work(me)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def _race(store: Store, me: int, rounds: int, together: Barrier, answers: Any) -> None:
    results = []
    for number in range(rounds):
        key = f"log/{number}"
        together.wait(timeout=60)
        results.append((store.put_new(key, [bytes([me])] * 3000), store.get(key)))
    answers.put((me, results))
