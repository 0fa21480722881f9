"""The log: finding the tail whatever the hint says, appending exactly once, noticing a rollback."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from dataver.digest import Digest
from dataver.errors import ConflictError, DamagedError, NewerFormatError, RollbackError, StoreError
from dataver.format.entry import CHECKPOINT_EVERY, decode_entry
from dataver.format.operations import ConfigSet, DatasetCreate, Genesis, Operation, RunStart
from dataver.hashing import blake3_digest
from dataver.keys import HINT_KEY, entry_key
from dataver.log.apply import Applier
from dataver.log.log import RETRY_S_MAX, Identity, Log
from dataver.log.state import State
from dataver.store.local import LocalStore
from dataver.store.memory import MemoryStore
from dataver.testing.stores import CountingStore, Fault, FaultyStore
from tests.far import FarStore

ENTRIES = 2 * CHECKPOINT_EVERY + 5
GENESIS = Genesis(1, "fastcdc2020-nc1-seed0", 16_384, 65_536, 262_144)
WHO = Identity("Test", now_us=lambda: 1_000)
NAMES = count()


def operations_of(number: int) -> tuple[Operation, ...]:
    """What entry `number` does: sets, changes and removes."""
    run = blake3_digest(str(number).encode())
    value = "" if number % 5 == 0 else str(number)
    return ConfigSet(f"key {number % 7}", value), RunStart(run[:16], run)


def grow(log: Log, last: int) -> None:
    """Append entries up to `last`."""
    for number in range(log.tail().entry.number + 1, last + 1):
        log.append(lambda _, n=number: operations_of(n), WHO)  # type: ignore[misc]


def fresh() -> MemoryStore:
    return MemoryStore(f"test-log-{next(NAMES)}")


def copy_of(store: MemoryStore) -> MemoryStore:
    other = fresh()
    for info in store.list(""):
        other.put_hint(info.key, store.get(info.key))
    return other


@pytest.fixture(scope="module")
def long_log() -> MemoryStore:
    store = fresh()
    log = Log(store)
    log.create(GENESIS, b"r" * 16, WHO)
    grow(log, ENTRIES)
    return store


def replayed(log: Log, last: int) -> dict[bytes, bytes]:
    """The state after `last` by all operations from the first entry on, without any checkpoint."""
    state = State(0, GENESIS, log.nodes, None, {})
    for number in range(last + 1):
        Applier(state, number, checked=True).apply(log.entry(number).entry.operations)
    return dict(state.items())


def test_the_state_at_every_entry_is_that_of_a_replay(long_log: MemoryStore) -> None:
    log = Log(long_log)
    state = State(0, GENESIS, log.nodes, None, {})
    for number in range(ENTRIES + 1):
        Applier(state, number, checked=True).apply(log.entry(number).entry.operations)
        assert dict(log.state_at(number).items()) == dict(state.items()), number


def test_checkpoints_name_the_state_before_them(long_log: MemoryStore) -> None:
    log = Log(long_log)
    for number in range(ENTRIES + 1):
        entry = log.entry(number).entry
        assert (entry.base is None) == (number < CHECKPOINT_EVERY)
        assert len(entry.since) == number % CHECKPOINT_EVERY
    base = log.entry(CHECKPOINT_EVERY).entry.base
    assert base is not None
    assert base.rows == len(replayed(log, CHECKPOINT_EVERY - 1))


def test_a_log_without_its_beginning_is_damage_and_gets_no_second_one(long_log: MemoryStore) -> None:
    store = copy_of(long_log)
    store.delete(entry_key(0))
    with pytest.raises(DamagedError, match="beginning"):
        Log(store).genesis()
    with pytest.raises(DamagedError, match="beginning"):
        Log(store).create(GENESIS, b"s" * 16, WHO)
    assert entry_key(0) not in [info.key for info in store.list("")]


@pytest.mark.parametrize("last", [1, 2])
def test_a_short_log_without_its_beginning_is_damage_too(last: int) -> None:
    store = fresh()
    log = Log(store)
    log.create(GENESIS, b"r" * 16, WHO)
    grow(log, last)
    store.delete(entry_key(0))
    with pytest.raises(DamagedError, match="beginning"):
        Log(store).create(GENESIS, b"s" * 16, WHO)


@pytest.mark.parametrize("place", ["file/below", "n" * 300], ids=["below a file", "a long name"])
def test_a_place_that_cannot_be_is_refused_at_once(place: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    pauses: list[float] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dataver.log.log.time.sleep", pauses.append)
        with pytest.raises(StoreError, match=r"cannot (read|write) object log/") as raised:
            Log(LocalStore(str(tmp_path / place))).create(GENESIS, b"r" * 16, WHO)
    assert (pauses, "may have been" in str(raised.value)) == ([], False)


def test_every_entry_names_the_one_before(long_log: MemoryStore) -> None:
    log = Log(long_log)
    tails = [log.entry(number) for number in range(ENTRIES + 1)]
    assert [tail.entry.previous for tail in tails[1:]] == [tail.digest for tail in tails[:-1]]


@pytest.mark.parametrize(
    "hint",
    [
        *(None, b"", b"0", b"1", b"64", b"100", b"%d" % ENTRIES, b"%d" % (ENTRIES + 1), b"9" * 19, b"9" * 40),
        *(b"-5", b"+3", b"3.5", b" 7", b"\xff\xfe", bytes(8), "\u0663".encode(), b"x" * 5_000),
    ],
)
def test_the_tail_is_found_whatever_the_hint_says(long_log: MemoryStore, hint: bytes | None) -> None:
    store = copy_of(long_log)
    store.delete(HINT_KEY)
    if hint is not None:
        store.put_hint(HINT_KEY, hint)
    log = Log(store)
    assert log.tail().entry.number == ENTRIES
    grow(log, ENTRIES + 1)
    assert Log(store).tail().entry.operations == operations_of(ENTRIES + 1)


@pytest.mark.parametrize("last", [0, 1, 2, 3, 4, 63, 64, 65])
def test_the_tail_of_any_length_is_found_without_a_hint(last: int) -> None:
    store = fresh()
    log = Log(store)
    log.create(GENESIS, b"r" * 16, WHO)
    grow(log, last)
    store.delete(HINT_KEY)
    assert Log(store).tail().entry.number == last


def reads_of_a_tail(log: Log, store: CountingStore) -> list[str]:
    """What is read to find the tail, entries by their numbers."""
    store.reset()
    log.tail()
    return [call.key.removeprefix("log/").lstrip("0") or "0" for call in store.calls]


def test_the_tail_is_found_in_few_reads(long_log: MemoryStore) -> None:
    store = CountingStore(copy_of(long_log))
    log = Log(store)
    log.genesis()
    assert reads_of_a_tail(log, store) == ["HINT", "133", "134"]
    assert reads_of_a_tail(log, store) == ["134"]
    store.reset()
    log.state_at(ENTRIES)
    assert [call.key for call in store.calls] == [entry_key(134)]  # Whether there is a newer one.
    grow(Log(store), 134)
    assert reads_of_a_tail(log, store) == ["134", "HINT", "135"]


@pytest.mark.parametrize(
    ("hint", "reads"),
    [
        (None, "1 3 7 15 31 63 127 255 191 159 143 135 131 133 134"),
        (b"x", "1 3 7 15 31 63 127 255 191 159 143 135 131 133 134"),
        (b"0", "1 3 7 15 31 63 127 255 191 159 143 135 131 133 134"),
        (b"3", "3 4 6 10 18 34 66 130 258 194 162 146 138 134 132 133"),
    ],
)
def test_steps_to_the_tail_are_doubled_then_halved(
    long_log: MemoryStore, hint: bytes | None, reads: str
) -> None:
    store = CountingStore(copy_of(long_log))
    store.delete(HINT_KEY)
    if hint is not None:
        store.put_hint(HINT_KEY, hint)
    log = Log(store)
    log.genesis()
    assert reads_of_a_tail(log, store) == ["HINT", *reads.split()]
    assert log.tail().entry.number == ENTRIES == 133


def test_a_flipped_byte_in_any_entry_is_damage(long_log: MemoryStore) -> None:
    store = copy_of(long_log)
    for number in range(ENTRIES + 1):
        key = entry_key(number)
        data = long_log.get(key)
        broken = bytearray(data)
        at = number * 7_919 % len(data)
        broken[at] ^= 0x10
        store.put_hint(key, bytes(broken))
        # Another version of the format may have its digest elsewhere, so that byte is looked at first.
        with pytest.raises(NewerFormatError if at == 4 else DamagedError):
            Log(store).entry(number)
        store.put_hint(key, data)


def test_each_byte_of_an_entry_counts(long_log: MemoryStore) -> None:
    data = long_log.get(entry_key(CHECKPOINT_EVERY))
    for at in range(len(data)):
        broken = bytearray(data)
        broken[at] ^= 1
        with pytest.raises(NewerFormatError if at == 4 else DamagedError):
            decode_entry(bytes(broken), "it")


def test_an_entry_in_the_place_of_another_is_damage(long_log: MemoryStore) -> None:
    store = copy_of(long_log)
    store.put_hint(entry_key(5), long_log.get(entry_key(6)))
    with pytest.raises(DamagedError):
        Log(store).entry(5)


def on_disk(folder: Path, last: int, repository: bytes = b"r" * 16) -> Log:
    log = Log(LocalStore(folder))
    log.create(GENESIS, repository, WHO)
    grow(log, last)
    return log


def test_newest_entries_that_are_gone_are_a_rollback(tmp_path: Path) -> None:
    log = on_disk(tmp_path / "repo", 6)
    for number in (5, 6):
        log.store.delete(entry_key(number))
    with pytest.raises(RollbackError) as raised:
        Log(log.store).tail()
    assert raised.value.exit_code == 5
    # The one that has it open notices before it appends.
    with pytest.raises(RollbackError):
        log.append(lambda _: operations_of(7), WHO)
    with pytest.raises(RollbackError):  # Nothing was adopted by failing.
        Log(log.store).tail()
    assert Log(log.store, accept_rollback=True).tail().entry.number == 4
    again = Log(log.store)
    assert again.tail().entry.number == 4
    grow(again, 5)


def test_an_entry_that_was_replaced_is_a_rollback(tmp_path: Path) -> None:
    log = on_disk(tmp_path / "repo", 4)
    shutil.copytree(tmp_path / "repo", tmp_path / "before")
    other = Log(LocalStore(tmp_path / "before"))
    log.append(lambda _: operations_of(5), WHO)
    other.append(lambda _: operations_of(105), WHO)
    shutil.rmtree(tmp_path / "repo")
    (tmp_path / "before").rename(tmp_path / "repo")
    with pytest.raises(RollbackError):
        Log(log.store).tail()


@pytest.mark.parametrize("what", ["another entry", "another repository", "nothing"])
def test_from_afar_the_entry_that_was_seen_last_is_the_very_same(what: str) -> None:
    store = fresh()
    log = Log(FarStore(store))
    log.create(GENESIS, b"r" * 16, WHO)
    grow(log, 4)
    assert Log(FarStore(store)).tail().entry.number == 4
    other = fresh()
    Log(other).create(GENESIS, (b"o" if what == "another repository" else b"r") * 16, WHO)
    grow(Log(other), 4)
    store.delete(entry_key(4))
    if what != "nothing":
        store.put_hint(entry_key(4), other.get(entry_key(4)))
    with pytest.raises(RollbackError):
        Log(FarStore(store)).tail()


def test_another_repository_in_the_place_is_a_rollback(tmp_path: Path) -> None:
    on_disk(tmp_path / "repo", 3)
    on_disk(tmp_path / "other", 9, b"o" * 16)
    shutil.rmtree(tmp_path / "repo")
    (tmp_path / "other").rename(tmp_path / "repo")
    store = LocalStore(tmp_path / "repo")
    with pytest.raises(RollbackError):
        Log(store).tail()
    assert Log(store, accept_rollback=True).tail().entry.number == 9
    assert Log(store).repository() == b"o" * 16
    assert Log(store).tail().entry.number == 9


def test_a_history_that_went_on_is_no_rollback(tmp_path: Path) -> None:
    log = on_disk(tmp_path / "repo", 3)
    other = Log(log.store)
    grow(other, 8)
    assert log.tail().entry.number == 8
    assert Log(log.store).tail().entry.number == 8


def faulty(faults: dict[int, Fault]) -> FaultyStore:
    """Faults of the calls that put an entry."""
    inner = fresh()
    log = Log(inner)
    log.create(GENESIS, b"r" * 16, WHO)
    grow(log, 2)
    return FaultyStore(inner, faults, lambda call: call.method == "put_new" and call.key.startswith("log/"))


@pytest.mark.parametrize("fault", [Fault.BEFORE, Fault.AFTER, Fault.LATE])
@pytest.mark.parametrize("times", [1, 2])
def test_a_lost_answer_appends_exactly_once(fault: Fault, times: int) -> None:
    store = faulty(dict.fromkeys(range(1, times + 1), fault))
    plans: list[int] = []

    def plan(state: State) -> tuple[Operation, ...]:
        plans.append(state.number)
        return (DatasetCreate(b"d" * 16, "once"),)  # A second time it would be a conflict.

    assert Log(store).append(plan, WHO).number == 3
    store.land()
    assert plans == [2]
    assert store.made > times
    assert Log(store.inner).tail().entry.number == 3


def racing(store: FaultyStore, other: Callable[[State], tuple[Operation, ...]]) -> list[int]:
    """Let another writer win the first race; the states that the plan was asked for."""
    plans: list[int] = []

    def plan(state: State) -> tuple[Operation, ...]:
        plans.append(state.number)
        if len(plans) == 1:
            Log(store.inner).append(other, WHO)
        return (DatasetCreate(b"d" * 16, "mine"),)

    Log(store).append(plan, WHO)
    return plans


@pytest.mark.parametrize("faults", [{}, {1: Fault.BEFORE}, {1: Fault.AFTER}, {1: Fault.LATE}])
def test_a_lost_race_is_planned_again(faults: dict[int, Fault]) -> None:
    store = faulty(faults)
    plans = racing(store, lambda _: (DatasetCreate(b"o" * 16, "other"),))
    store.land()
    assert plans == [2, 3]
    state = Log(store.inner).state()
    assert state.number == 4
    assert [name for name, _ in state.datasets()] == ["mine", "other"]


def test_between_races_a_writer_waits_longer_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    store = fresh()
    Log(store).create(GENESIS, b"r" * 16, WHO)
    most: list[tuple[float, float]] = []

    def at_once(low: float, high: float) -> float:
        most.append((low, high))
        return 0.0

    monkeypatch.setattr("random.uniform", at_once)
    numbers: list[int] = []

    def plan(state: State) -> tuple[Operation, ...]:
        numbers.append(state.number)
        if len(numbers) < 12:
            Log(store).append(lambda _: operations_of(state.number), WHO)
        return operations_of(1_000)

    Log(store).append(plan, WHO)
    assert numbers == list(range(12))
    assert most == [(0, min(2.0, 0.005 * 2**lost)) for lost in range(1, 10)] + [(0, 2.0)] * 2


class Clock:
    """Time that passes only when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 1_000.0
        monkeypatch.setattr("dataver.log.log.time.monotonic", lambda: self.now_s)
        monkeypatch.setattr("dataver.log.log.time.sleep", lambda _: None)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_a_writer_that_loses_every_race_gives_up_after_its_time(clock: Clock) -> None:
    store = fresh()
    Log(store).create(GENESIS, b"r" * 16, WHO)
    numbers: list[int] = []

    def plan(state: State) -> tuple[Operation, ...]:
        numbers.append(state.number)
        Log(store).append(lambda _: operations_of(state.number), WHO)
        clock.now_s += RETRY_S_MAX / 2
        return operations_of(1_000)

    with pytest.raises(ConflictError, match="lost every race"):
        Log(store).append(plan, WHO)
    assert numbers == [0, 1, 2]
    assert Log(store).tail().entry.number == 3


def test_what_is_damaged_is_read_again_while_others_write(clock: Clock) -> None:
    """It may have been collected, and the newer state does without."""
    store = fresh()
    Log(store).create(GENESIS, b"r" * 16, WHO)
    numbers: list[int] = []

    def plan_of(heals_at: int) -> Callable[[State], tuple[Operation, ...]]:
        def plan(state: State) -> tuple[Operation, ...]:
            numbers.append(state.number)
            if state.number == heals_at:
                return operations_of(1_000)
            Log(store).append(lambda _: operations_of(state.number), WHO)
            clock.now_s += RETRY_S_MAX / 2
            raise DamagedError("it is missing")

        return plan

    assert Log(store).append(plan_of(2), WHO).number == 3
    assert numbers == [0, 1, 2]
    numbers.clear()
    with pytest.raises(DamagedError, match="it is missing"):
        Log(store).append(plan_of(100), WHO)
    assert numbers == [3, 4, 5]


def test_damage_that_no_newer_entry_heals_is_told_at_once(clock: Clock) -> None:
    store = fresh()
    Log(store).create(GENESIS, b"r" * 16, WHO)
    numbers: list[int] = []

    def plan(state: State) -> tuple[Operation, ...]:
        numbers.append(state.number)
        raise DamagedError("it is missing")

    with pytest.raises(DamagedError, match="it is missing"):
        Log(store).append(plan, WHO)
    assert numbers == [0]


def test_a_hint_that_cannot_be_put_is_no_failure() -> None:
    inner = fresh()
    log = Log(FaultyStore(inner, {1: Fault.BEFORE}, lambda call: call.method == "put_hint"))
    log.create(GENESIS, b"r" * 16, WHO)
    grow(log, 2)
    assert Log(inner).tail().entry.number == 2


def test_a_conflict_of_two_writers_is_told(long_log: MemoryStore) -> None:
    store = faulty({})
    with pytest.raises(ConflictError):
        racing(store, lambda _: (DatasetCreate(b"o" * 16, "mine"),))
    assert Log(store.inner).state().dataset("mine") == b"o" * 16
    assert Log(store.inner).tail().entry.number == 3


def test_a_plan_of_nothing_appends_nothing(long_log: MemoryStore) -> None:
    assert Log(long_log).append(lambda _: None, WHO).number == ENTRIES
    assert Log(long_log).tail().entry.number == ENTRIES


def test_times_never_go_back() -> None:
    store = fresh()
    times = iter([50, 40, 60, 10])
    who = Identity("Test", now_us=lambda: next(times))
    log = Log(store)
    log.create(GENESIS, b"r" * 16, who)
    for number in (1, 2, 3):
        log.append(lambda _, n=number: operations_of(n), who)  # type: ignore[misc]
    assert [log.entry(number).entry.time_us for number in range(4)] == [50, 50, 60, 60]
    assert [log.number_at(time_us) for time_us in (50, 59, 60, 99)] == [1, 1, 3, 3]


def test_the_digest_of_an_entry_is_its_last_bytes(long_log: MemoryStore) -> None:
    tail = Log(long_log).tail()
    assert tail.digest == Digest(long_log.get(entry_key(ENTRIES))[-32:])
