"""Machines of a simulation: each with a clock that is wrong, randomness of its own, and its own cache.

While `Isolation` is entered, the threads of actors get from `time`, `os.urandom`, `secrets` and `random`
what their machine has, sleep in simulated time, and do at once what they hand to a pool of threads: one
thread a machine is what makes a seed give the same run twice. All other threads are left alone.
"""

from __future__ import annotations

import os
import random
import secrets
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from random import Random
from types import ModuleType, TracebackType
from typing import Any, Self

from dataver.testing.schedule import Actor, Scheduler
from dataver.values import dataclass

__all__ = ["Isolation", "Machine", "WrongClock"]

CACHE_VARIABLE = "DATAVER_CACHE_DIR"


class WrongClock:
    """A clock that is off by `offset_s`, gains `drift` seconds each second, and can be set.

    `true_us` is the simulated time, as everywhere here.
    """

    def __init__(self, offset_s: float, drift: float, began_us: int) -> None:
        self.offset_us = int(offset_s * 1e6)
        self.drift = drift
        self._began_us = began_us

    def now_us(self, true_us: int) -> int:
        """What it shows."""
        return true_us + self.offset_us + int((true_us - self._began_us) * self.drift)

    def set(self, offset_s: float, true_us: int) -> None:
        """Set it, to something wrong again."""
        self.offset_us, self._began_us = int(offset_s * 1e6), true_us


@dataclass(slots=True)
class Machine:
    """What an actor runs on, and what stays there when it dies. `folder` is that of its caches."""

    name: str
    folder: str
    clock: WrongClock
    entropy: Random

    def stamp(self, true_us: int) -> None:
        """Give the files in the cache the time that this machine's clock shows: disks know no better."""
        shown_ns = self.clock.now_us(true_us) * 1000
        for folder, _, files in os.walk(self.folder):
            for file in files:
                os.utime(os.path.join(folder, file), ns=(shown_ns, shown_ns))


class Isolation(AbstractContextManager["Isolation"]):
    """Gives each actor what its machine has. `machines` are by the actors' names."""

    def __init__(self, scheduler: Scheduler, machines: dict[str, Machine]) -> None:
        self._scheduler = scheduler
        self._machines = machines
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        self._scheduler.before_turn = self._before_turn
        self._keep_variable()
        self._replace(time, "time", lambda: self._shown_us() / 1e6)
        self._replace(time, "time_ns", lambda: self._shown_us() * 1000)
        self._replace(time, "monotonic", lambda: self._scheduler.now_us / 1e6)
        self._replace(time, "sleep", self._scheduler.sleep)
        for module, name in ((os, "urandom"), (secrets, "token_bytes")):
            self._replace(module, name, lambda size=32: self._machine().entropy.randbytes(size))
        self._replace(random, "uniform", self._uniform)
        self._replace(ThreadPoolExecutor, "submit", _at_once)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._scheduler.before_turn = None
        self._undo.close()

    def _replace(self, owner: ModuleType | type, name: str, ours: Callable[..., Any]) -> None:
        """Have actors' threads call `ours` in place of what is there."""
        theirs = getattr(owner, name)
        current = self._scheduler.current

        def call(*args: Any, **kwargs: Any) -> Any:
            return (theirs if current() is None else ours)(*args, **kwargs)

        setattr(owner, name, call)
        self._undo.callback(setattr, owner, name, theirs)

    def _keep_variable(self) -> None:
        before = os.environ.get(CACHE_VARIABLE)

        def restore() -> None:
            if before is None:
                os.environ.pop(CACHE_VARIABLE, None)
            else:
                os.environ[CACHE_VARIABLE] = before

        self._undo.callback(restore)

    def _before_turn(self, actor: Actor) -> None:
        os.environ[CACHE_VARIABLE] = self._machines[actor.name].folder

    def _machine(self) -> Machine:
        actor = self._scheduler.current()
        assert actor is not None
        return self._machines[actor.name]

    def _uniform(self, low: float, high: float) -> float:
        return self._machine().entropy.uniform(low, high)

    def _shown_us(self) -> int:
        return self._machine().clock.now_us(self._scheduler.now_us)


def _at_once(pool: ThreadPoolExecutor, work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
    """In place of `submit`: the work is done when this returns."""
    del pool
    future: Future[Any] = Future()
    future.set_running_or_notify_cancel()
    try:
        result = work(*args, **kwargs)
    except BaseException as error:  # noqa: BLE001 - as a pool does: whoever asks for the result gets it
        future.set_exception(error)
    else:
        future.set_result(result)
    return future
