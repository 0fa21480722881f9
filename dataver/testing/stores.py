"""Stores that wrap a real one and count, fail on cue, or take their time."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, TypeVar

from dataver.errors import StoreError
from dataver.keys import LOG_PREFIX
from dataver.store.base import ObjectInfo, Store, View, Wrapper, as_views
from dataver.values import NamedTuple, dataclass

if TYPE_CHECKING:
    from dataver.store.base import Data

_T = TypeVar("_T")

READS = frozenset({"get", "get_ranges", "get_suffix", "list"})
WRITES = frozenset({"put_new", "put_hint", "delete"})


class Call(NamedTuple):
    """One call of a store: `method` is its name, `key` its key, or the prefix of a listing."""

    method: str
    key: str


class CallWrapper(Wrapper):
    """Sends every call through `around`, which subclasses override.

    A listing is read to its end inside the call, so that it fails as a whole.
    """

    def around(self, call: Call, run: Callable[[], _T]) -> _T:
        """Do `run`, which is `call` on the wrapped store, and give what it gave."""
        raise NotImplementedError(call)

    def get(self, key: str) -> bytes:
        return self.around(Call("get", key), lambda: self.inner.get(key))

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[View]:
        return self.around(Call("get_ranges", key), lambda: self.inner.get_ranges(key, ranges))

    def get_suffix(self, key: str, length: int) -> tuple[View, int]:
        return self.around(Call("get_suffix", key), lambda: self.inner.get_suffix(key, length))

    def put_new(self, key: str, data: Data, *, barrier: bool = True) -> bool:
        return self.around(Call("put_new", key), lambda: self.inner.put_new(key, data, barrier=barrier))

    def put_hint(self, key: str, data: Data) -> None:
        self.around(Call("put_hint", key), lambda: self.inner.put_hint(key, data))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        return iter(self.around(Call("list", prefix), lambda: [*self.inner.list(prefix)]))

    def delete(self, key: str) -> None:
        self.around(Call("delete", key), lambda: self.inner.delete(key))


class CountingStore(CallWrapper):
    """Keeps the calls in the order in which they began, and the bytes they moved."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Forget what was counted."""
        self.calls: list[Call] = []
        self.read_bytes = 0
        self.written_bytes = 0

    @property
    def counts(self) -> Counter[str]:
        """How often each method was called."""
        return Counter(call.method for call in self.calls)

    def around(self, call: Call, run: Callable[[], _T]) -> _T:
        with self._lock:
            self.calls.append(call)
        result = run()
        with self._lock:
            self.read_bytes += _bytes_of(result)
        return result

    def put_new(self, key: str, data: Data, *, barrier: bool = True) -> bool:
        self._count_written(data)
        return super().put_new(key, data, barrier=barrier)

    def put_hint(self, key: str, data: Data) -> None:
        self._count_written(data)
        super().put_hint(key, data)

    def _count_written(self, data: Data) -> None:
        with self._lock:
            self.written_bytes += sum(view.nbytes for view in as_views(data))


class Fault(Enum):
    """What goes wrong with a call. All but `CORRUPT` and `SHORT` raise `StoreError`."""

    BEFORE = "nothing was done"
    """The call has no effect."""
    AFTER = "the answer was lost"
    """The call was done, whole; only its answer is lost."""
    LATE = "it timed out"
    """A write is done only after the next call on this store has come back: the caller's first
    look does not see it yet. A read is as `BEFORE`."""
    CORRUPT = "a byte was flipped"
    """A read gives its bytes with one flipped, in the middle. Other calls are done as usual."""
    SHORT = "the last byte was lost"
    """A read gives its bytes without the last one. Other calls are done as usual."""
    TORN = "the upload was cut"
    """A write leaves half of its bytes under the key. An entry of the log, which counts by being there,
    is not torn: no store that passed the probe shows half of it. Other calls are as `BEFORE`."""


class FaultyStore(CallWrapper):
    """Lets chosen calls fail.

    `faults` says which: the number of a call, from 1, among those that `counts` accepts (all by
    default). `made` is how many there were, so that a loop over all calls knows its end; `struck` is how many
    of the faults changed what was done or told.
    """

    def __init__(
        self,
        inner: Store,
        faults: Mapping[int, Fault],
        counts: Callable[[Call], bool] = lambda _: True,
    ) -> None:
        super().__init__(inner)
        self.made = self.struck = 0
        self._faults = dict(faults)
        self._counts = counts
        self._late: list[Callable[[], object]] = []
        self._lock = threading.Lock()

    def around(self, call: Call, run: Callable[[], _T], tear: Callable[[], object] | None = None) -> _T:
        with self._lock:
            late, self._late = self._late, []
            fault = None
            if self._counts(call):
                self.made += 1
                fault = self._faults.get(self.made)
        try:
            if fault is Fault.TORN and tear is not None:
                tear()
            return self._run(call, run, fault)
        finally:
            for write in late:
                write()

    def land(self) -> None:
        """Do the late writes that still wait for a next call."""
        with self._lock:
            late, self._late = self._late, []
        for write in late:
            write()

    def _run(self, call: Call, run: Callable[[], _T], fault: Fault | None) -> _T:
        if fault is None:
            return run()
        if fault in _SPOILING:
            result = run()
            spoiled = _spoiled(result, _SPOILING[fault])
            self.struck += spoiled is not result
            return spoiled
        self.struck += 1
        if fault is Fault.AFTER:
            run()
        if fault is Fault.LATE and call.method in WRITES:
            with self._lock:
                self._late.append(run)
        raise StoreError(f"cannot do {call.method} of {call.key} on {self.url}: {fault.value}; run it again")

    def put_new(self, key: str, data: Data, *, barrier: bool = True) -> bool:
        # A late write must not see what the caller does to its buffers after the call.
        whole = b"".join(as_views(data))
        return self.around(
            Call("put_new", key),
            lambda: self.inner.put_new(key, whole, barrier=barrier),
            None if key.startswith(LOG_PREFIX) else lambda: self.inner.put_new(key, _half(whole)),
        )

    def put_hint(self, key: str, data: Data) -> None:
        whole = b"".join(as_views(data))
        self.around(
            Call("put_hint", key),
            lambda: self.inner.put_hint(key, whole),
            lambda: self.inner.put_hint(key, _half(whole)),
        )


@dataclass(frozen=True, slots=True)
class Pace:
    """How slow: seconds before each answer, and bytes a second in either direction (0: any)."""

    latency_s: float
    bytes_per_s: float = 0.0


class LatencyStore(CallWrapper):
    """As slow as a store far away. Calls of different threads wait at the same time."""

    def __init__(self, inner: Store, pace: Pace) -> None:
        super().__init__(inner)
        self.pace = pace

    def around(self, call: Call, run: Callable[[], _T]) -> _T:  # noqa: ARG002 - all calls are as slow
        time.sleep(self.pace.latency_s)
        result = run()
        self._transfer(_bytes_of(result))
        return result

    def put_new(self, key: str, data: Data, *, barrier: bool = True) -> bool:
        self._transfer(sum(view.nbytes for view in as_views(data)))
        return super().put_new(key, data, barrier=barrier)

    def put_hint(self, key: str, data: Data) -> None:
        self._transfer(sum(view.nbytes for view in as_views(data)))
        super().put_hint(key, data)

    def _transfer(self, size_bytes: int) -> None:
        if self.pace.bytes_per_s:
            time.sleep(size_bytes / self.pace.bytes_per_s)


def _bytes_of(result: object) -> int:
    """The bytes of a read's answer; 0 for other answers."""
    if isinstance(result, bytes | memoryview):
        return len(result)
    if isinstance(result, list | tuple):
        return sum(_bytes_of(part) for part in result)
    return 0


def _half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _flipped(data: bytes) -> bytes:
    changed = bytearray(data)
    changed[len(changed) // 2] ^= 0x01
    return bytes(changed)


_SPOILING: dict[Fault, Callable[[bytes], bytes]] = {
    Fault.CORRUPT: _flipped,
    Fault.SHORT: lambda data: data[:-1],
}


def _spoiled(result: _T, spoil: Callable[[bytes], bytes]) -> _T:
    """A read's answer with its largest part spoiled; an answer without bytes as it is."""
    if isinstance(result, bytes | memoryview) and len(result):
        return type(result)(spoil(bytes(result)))
    if isinstance(result, list | tuple) and not isinstance(result, ObjectInfo):
        parts = [*result]
        largest = max(range(len(parts)), key=lambda i: _bytes_of(parts[i]), default=None)
        if largest is not None and _bytes_of(parts[largest]):
            parts[largest] = _spoiled(parts[largest], spoil)
            return type(result)(parts)
    return result
