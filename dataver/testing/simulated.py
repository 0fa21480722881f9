"""A store in memory that does all that the contract of stores allows, at the worst of times.

`Bucket` is what is stored. `SimulatedStore` is one machine's way to it: before each call others have
their turns, calls fail before or after they had their effect, or have it only later, listings show
some of what comes and goes meanwhile, and whoever calls may die.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import TYPE_CHECKING, TypeVar

from dataver.errors import ObjectMissingError, StoreError
from dataver.format.limits import OBJECT_BYTES_MAX
from dataver.hashing import blake3_digest
from dataver.store.base import ObjectInfo, View, as_views, check_key, check_prefix, place
from dataver.testing.schedule import Scheduler
from dataver.testing.stores import WRITES, Call, CallWrapper
from dataver.values import dataclass

if TYPE_CHECKING:
    from dataver.store.base import Data

__all__ = ["Bucket", "Faults", "SimulatedStore"]

LATE_STEPS = 400
DELETES_KEPT = 8
"""So many of the last deletions may be undone by a crash."""

_T = TypeVar("_T")


class Bucket:
    """Objects in memory, with times by a clock of the store's own, which `now_s` shows.

    `created` and `deleted` are told of each change, in the thread that makes it. Pickling is refused:
    there is one of each.
    """

    def __init__(
        self, name: str, now_s: Callable[[], float], *, pack_bytes_max: int = OBJECT_BYTES_MAX
    ) -> None:
        self.name = name
        self.pack_bytes_max = pack_bytes_max
        self.objects: dict[str, tuple[bytes, float]] = {}
        self.created: Callable[[str, bytes], None] = lambda _key, _data: None
        self.deleted: Callable[[str], None] = lambda _key: None
        self.written_bytes = 0
        self._now_s = now_s
        self._loose: dict[str, int] = {}
        self._last_deleted: list[tuple[str, tuple[bytes, float]]] = []

    @property
    def url(self) -> str:
        return f"memory://{self.name}"

    @property
    def identity(self) -> str:
        """The same URL."""
        return self.url

    def get(self, key: str) -> bytes:
        check_key(key)
        found = self.objects.get(key)
        if found is None:
            raise ObjectMissingError(f"there is no {self._what(key)}")
        return found[0]

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[View]:
        data = self.get(key)
        places = [place(start, length, len(data), self._what(key)) for start, length in ranges]
        return [data[start : start + length] for start, length in places]

    def get_suffix(self, key: str, length: int) -> tuple[View, int]:
        data = self.get(key)
        return data[max(0, len(data) - length) :], len(data)

    def put_new(self, key: str, data: Data, *, barrier: bool = True) -> bool:
        return self.create(key, b"".join(as_views(data)), 0, barrier=barrier)

    def create(self, key: str, data: bytes, by: int, *, barrier: bool) -> bool:
        """`put_new` of the store instance `by`, whose barriers make durable what it put before."""
        check_key(key)
        if barrier:
            self._loose = {name: owner for name, owner in self._loose.items() if owner != by and name != key}
        if key in self.objects:
            return False
        self.objects[key] = (data, self._now_s())
        self.written_bytes += len(data)
        if not barrier:
            self._loose[key] = by
        self.created(key, data)
        return True

    def put_hint(self, key: str, data: Data) -> None:
        check_key(key)
        value = b"".join(as_views(data))
        self.objects[key] = (value, self._now_s())
        self.written_bytes += len(value)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        check_prefix(prefix)
        found = (ObjectInfo(key, len(data), at) for key, (data, at) in self.objects.items())
        return iter(sorted(info for info in found if info.key.startswith(prefix)))

    def delete(self, key: str) -> None:
        check_key(key)
        found = self.objects.pop(key, None)
        if found is not None:
            self._last_deleted = [*self._last_deleted[1 - DELETES_KEPT :], (key, found)]
            self.deleted(key)

    def rely_on(self, key: str) -> None:
        """The name of another's object is durable from here on."""
        self._loose.pop(key, None)

    def crash(self, random: Random) -> None:
        """The power fails: names that no barrier made durable may be gone, what was deleted may be back."""
        for key in [*self._loose]:
            if random.random() < 0.5:
                self.objects.pop(key, None)
        for key, value in self._last_deleted:
            if random.random() < 0.5:
                self.objects.setdefault(key, value)
        self._loose, self._last_deleted = {}, []

    def _what(self, key: str) -> str:
        return f"object {key} of {self.url}"


@dataclass(frozen=True, slots=True)
class Faults:
    """The chance of each fault, for each call that writes; `reads` is how much of it is that for others.

    An outage lasts up to `outage_s_max`, for one machine.
    """

    before: float = 0.0
    after: float = 0.0
    late: float = 0.0
    die: float = 0.0
    hint_lost: float = 0.0
    outage: float = 0.0
    outage_s_max: float = 200.0
    reads: float = 1.0


class SimulatedStore(CallWrapper):
    """A bucket as one actor reaches it. `injected` counts the faults, `calls` the calls."""

    def __init__(self, bucket: Bucket, scheduler: Scheduler, faults: Faults, number: int) -> None:
        super().__init__(bucket)
        self.faults = faults
        self.calls = 0
        self.injected = 0
        self._bucket = bucket
        self._scheduler = scheduler
        self._number = number
        self._out_until_us = 0

    @property
    def url(self) -> str:
        return f"simulated://{self._bucket.name}"

    @property
    def identity(self) -> str:
        return self.url

    def around(self, call: Call, run: Callable[[], _T]) -> _T:
        return self._call(call, run, "")

    def put_new(self, key: str, data: Data, *, barrier: bool = True) -> bool:
        # A late write must not see what the caller does to its buffers after the call.
        own = b"".join(as_views(data))
        return self._call(
            Call("put_new", key),
            lambda: self._bucket.create(key, own, self._number, barrier=barrier),
            f"{len(own)} {blake3_digest(own).hex()[:12]}",
        )

    def put_hint(self, key: str, data: Data) -> None:
        own = b"".join(as_views(data))
        if self._scheduler.random.random() >= self.faults.hint_lost:
            self._call(Call("put_hint", key), lambda: self._bucket.put_hint(key, own), own.decode())

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        first = self._call(Call("list", prefix), lambda: [*self.inner.list(prefix)], "begins")
        second = self._call(Call("list", prefix), lambda: [*self.inner.list(prefix)], "ends")
        draw = self._scheduler.random
        always = {info.key for info in first} & {info.key for info in second}
        found = {info.key: info for info in (*first, *second)}
        return iter([found[key] for key in sorted(found) if key in always or draw.random() < 0.5])

    def _call(self, call: Call, run: Callable[[], _T], what: str) -> _T:
        actor = self._scheduler.current()
        if actor is None:
            return run()
        self._scheduler.point()
        self.calls += 1
        kind = self._draw(call)
        try:
            return self._run(call, run, kind)
        finally:
            place = f"{self._scheduler.steps} {actor.name} {call.method} {call.key}"
            self._scheduler.trace.add(" ".join(part for part in (place, what, kind) if part))

    def _draw(self, call: Call) -> str:
        """What goes wrong with a call: the name of a field of `Faults`, or nothing."""
        faults, draw = self.faults, self._scheduler.random
        now_us = self._scheduler.now_us
        if now_us < self._out_until_us:
            kind = "after" if draw.random() < 0.1 else "before"
        else:
            kind, at = "", draw.random() / (1.0 if call.method in WRITES else max(faults.reads, 1e-9))
            for name in ("before", "after", "late", "die", "outage"):
                at -= getattr(faults, name)
                if at < 0:
                    kind = name
                    break
        if kind == "outage":
            self._out_until_us = now_us + int(draw.uniform(1, faults.outage_s_max) * 1e6)
            kind = "before"
        if kind == "late" and call.method not in WRITES:
            kind = "before"
        self.injected += bool(kind)
        return kind

    def _run(self, call: Call, run: Callable[[], _T], kind: str) -> _T:
        draw = self._scheduler.random
        if not kind:
            return run()
        if kind == "die":
            if draw.random() < 0.5:
                run()
            self._scheduler.die()
        if kind == "after":
            run()
        if kind == "late":

            def effect() -> None:
                self._scheduler.trace.add(f"{self._scheduler.steps} late {call.method} {call.key}")
                run()

            self._scheduler.later(draw.randrange(1, LATE_STEPS), effect)
        raise StoreError(f"cannot do {call.method} of {call.key} on {self.url}: it failed; run it again")
