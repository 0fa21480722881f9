"""The parts that simulations are made of: turns, machines with wrong clocks, a store that does its worst."""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from dataver.errors import ObjectMissingError, StoreError
from dataver.testing.machines import Isolation, Machine, WrongClock
from dataver.testing.schedule import Pace, Scheduler
from dataver.testing.simulated import Bucket, Faults, SimulatedStore

DAY_S = 86_400.0
KEY = "packs/ab/object"


def bucket_of(scheduler: Scheduler) -> Bucket:
    return Bucket("test", lambda: scheduler.now_us / 1e6)


def run(scheduler: Scheduler, *bodies: Callable[[], None]) -> None:
    """Have actors named 0, 1, … do these, to their end."""
    started = [scheduler.start(str(number), body) for number, body in enumerate(bodies)]
    scheduler.run()
    scheduler.end()
    errors = [actor.error for actor in started if actor.error is not None]
    assert not errors, errors


# Turns


def order_of(seed: str, pace: Pace = Pace()) -> list[str]:  # noqa: B008 - immutable
    scheduler, order = Scheduler(seed, pace), list[str]()

    def body() -> None:
        for _ in range(20):
            actor = scheduler.current()
            assert actor is not None
            order.append(actor.name)
            scheduler.point()

    run(scheduler, body, body, body)
    return order


def test_a_seed_decides_whose_turn_it_is() -> None:
    assert order_of("a") == order_of("a")
    assert order_of("a") != order_of("b")
    assert sorted(order_of("a")) == sorted(order_of("b"))


def test_a_pace_lets_one_go_on_or_holds_it_up() -> None:
    def changes(order: list[str]) -> int:
        return sum(one != other for one, other in pairwise(order))

    assert changes(order_of("a", Pace(stay=0.95))) < changes(order_of("a")) / 2
    assert order_of("a", Pace(hold_up=0.5)) != order_of("a")


def test_who_sleeps_wakes_in_simulated_time() -> None:
    scheduler, woken = Scheduler("s"), list[str]()

    def sleeper(name: str, seconds: float) -> Callable[[], None]:
        def body() -> None:
            scheduler.sleep(seconds)
            woken.append(name)

        return body

    began_us = scheduler.now_us
    run(scheduler, sleeper("late", 10 * DAY_S), sleeper("early", DAY_S))
    assert woken == ["early", "late"]
    assert scheduler.now_us - began_us >= 10 * DAY_S * 1e6


def test_who_is_killed_never_goes_on() -> None:
    scheduler, done, dead = Scheduler("s"), list[str](), list[str]()
    scheduler.after_death = lambda actor: dead.append(actor.name)

    def killed() -> None:
        try:
            scheduler.die()
        finally:
            scheduler.point()
            done.append("after death")

    run(scheduler, killed, lambda: done.append("alive"))
    assert (done, dead) == (["alive"], ["0"])


def test_late_effects_come_between_turns_or_at_the_end() -> None:
    scheduler, came = Scheduler("s"), list[int]()

    def body() -> None:
        scheduler.later(3, lambda: came.append(scheduler.steps))
        scheduler.later(1_000_000, lambda: came.append(-1))
        for _ in range(10):
            scheduler.point()

    run(scheduler, body)
    assert came == [4, -1]


# Machines


def test_an_actor_has_the_clock_the_chance_and_the_cache_of_its_machine(tmp_path: Path) -> None:
    seen: list[list[object]] = []
    before = os.environ["DATAVER_CACHE_DIR"]
    for _ in range(2):
        scheduler, shown = Scheduler("s"), list[object]()
        clock = WrongClock(-30 * DAY_S, 0.5, scheduler.now_us)
        machines = {"0": Machine("0", str(tmp_path / "m"), clock, Random(1))}

        def body(scheduler: Scheduler = scheduler, shown: list[object] = shown) -> None:
            time.sleep(2 * DAY_S)
            off_s = time.time() - scheduler.now_us / 1e6
            assert -29 * DAY_S - 60 < off_s < -29 * DAY_S + 60
            with ThreadPoolExecutor(2) as pool:
                threads = [pool.submit(threading.get_ident).result(), threading.get_ident()]
            assert threads[0] == threads[1]
            shown += [time.time_ns(), os.urandom(8), secrets.token_hex(4), os.environ["DATAVER_CACHE_DIR"]]

        with Isolation(scheduler, machines):
            run(scheduler, body)
            assert abs(time.time() - time.time_ns() / 1e9) < 60, "other threads have the real clock"
            assert os.urandom(8) not in shown
        seen.append(shown)
    assert seen[0] == seen[1]
    assert seen[0][3] == str(tmp_path / "m")
    assert os.environ["DATAVER_CACHE_DIR"] == before


def test_a_pool_of_an_actor_hands_errors_on() -> None:
    scheduler = Scheduler("s")
    machines = {"0": Machine("0", "/nowhere", WrongClock(0, 0, scheduler.now_us), Random(1))}

    def body() -> None:
        with ThreadPoolExecutor(1) as pool, pytest.raises(ZeroDivisionError):
            pool.submit(lambda: 1 // 0).result()

    before = os.environ.get("DATAVER_CACHE_DIR")
    with Isolation(scheduler, machines):
        run(scheduler, body)
    assert os.environ.get("DATAVER_CACHE_DIR") == before


# The store


def one_put(faults: Faults) -> tuple[Bucket, SimulatedStore, list[object]]:
    """A put of one object, and what came of it: its answer, and whether the object was there at once."""
    scheduler, came = Scheduler("s"), list[object]()
    bucket = bucket_of(scheduler)
    store = SimulatedStore(bucket, scheduler, faults, 1)

    def body() -> None:
        try:
            came.append(store.put_new(KEY, [b"by", b"tes"]))
        except StoreError:
            came.append("failed")
        came.append(KEY in bucket.objects)

    run(scheduler, body)
    return bucket, store, came


@pytest.mark.parametrize(
    ("faults", "came", "there"),
    [
        (Faults(), [True, True], True),
        (Faults(before=1.0), ["failed", False], False),
        (Faults(after=1.0), ["failed", True], True),
        (Faults(late=1.0), ["failed", False], True),
        (Faults(outage=1.0), ["failed", False], False),
    ],
)
def test_a_put_may_fail_before_after_or_late(faults: Faults, came: list[object], there: bool) -> None:
    bucket, store, found = one_put(faults)
    assert found == came
    assert (KEY in bucket.objects) == there
    assert (store.calls, store.injected) == (1, int(faults != Faults()))


def test_who_calls_may_die() -> None:
    bucket, store, came = one_put(Faults(die=1.0))
    assert came == []
    assert store.injected == 1
    assert [*bucket.objects] in ([], [KEY])


def test_reads_fail_as_often_as_is_asked() -> None:
    scheduler, failed = Scheduler("s"), list[str]()
    bucket = bucket_of(scheduler)
    bucket.put_new(KEY, b"x")
    store = SimulatedStore(bucket, scheduler, Faults(before=0.5, reads=0.0), 1)

    def body() -> None:
        for _ in range(50):
            assert store.get(KEY) == b"x"
        for number in range(50):
            try:
                store.put_new(f"a/{number}", b"")
            except StoreError:
                failed.append("put")

    run(scheduler, body)
    assert 10 < len(failed) < 40


def test_a_listing_has_what_was_there_all_the_time_and_some_of_the_rest() -> None:
    sizes = set()
    for seed in range(20):
        scheduler = Scheduler(str(seed))
        bucket = bucket_of(scheduler)
        for number in range(5):
            bucket.put_new(f"a/{number}", b"")
        store = SimulatedStore(bucket, scheduler, Faults(), 1)
        listed: list[str] = []

        def lister(store: SimulatedStore = store, listed: list[str] = listed) -> None:
            listed += [info.key for info in store.list("a/")]

        def writer(scheduler: Scheduler = scheduler, bucket: Bucket = bucket) -> None:
            for number in range(5, 10):
                scheduler.point()
                bucket.put_new(f"a/{number}", b"")

        run(scheduler, lister, writer)
        assert {f"a/{number}" for number in range(5)} <= set(listed)
        assert listed == sorted(listed)
        sizes.add(len(listed))
    assert len(sizes) > 2


def test_a_power_failure_takes_what_no_barrier_made_durable() -> None:
    kept = {False: 0, True: 0}
    for seed in range(40):
        bucket = bucket_of(Scheduler("s"))
        bucket.create("a/loose", b"", 1, barrier=False)
        bucket.create("a/before", b"", 2, barrier=False)
        bucket.create("a/barrier", b"", 2, barrier=True)
        bucket.delete("a/never")
        bucket.crash(Random(seed))
        assert {"a/before", "a/barrier"} <= bucket.objects.keys()
        kept["a/loose" in bucket.objects] += 1
    assert min(kept.values()) > 5


def test_a_power_failure_may_bring_back_what_was_deleted() -> None:
    back = set()
    for seed in range(40):
        bucket = bucket_of(Scheduler("s"))
        bucket.put_new(KEY, b"x")
        bucket.delete(KEY)
        with pytest.raises(ObjectMissingError):
            bucket.get(KEY)
        bucket.crash(Random(seed))
        back.add(KEY in bucket.objects)
    assert back == {False, True}
