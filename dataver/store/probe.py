"""Does a store really create an object at most once? Commits are only as safe as that answer.

Clients emulate exclusive creation by looking first and writing then, ignore the option, or have
lost it in a release. So before the first write a store is asked to create one key twice, and then
by many threads at once. What passed is remembered in the local cache folder, for this machine,
this store and these library versions; a failure is found anew each time, so that it can be mended.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from dataver import config
from dataver.errors import (
    EnvironmentFaultError,
    NotPermittedError,
    ObjectMissingError,
    StoreError,
    UnsafeStoreError,
)
from dataver.hashing import cache_key
from dataver.private import make_folder, opener
from dataver.store.base import Store, Wrapper, begin_upload

if TYPE_CHECKING:
    from dataver.store.base import Data, Upload

PROBE_REVISION = 1
PROBE_PREFIX = "probe/"
RACERS = 16
ROUNDS = 3
# Large enough that a store which shows half-written objects is likely to be caught at it.
PAYLOAD_BYTES = 32 * 1024

_passed: set[str] = set()


class ProbeableStore(Store, Protocol):
    """A store that can say what a passed probe stays true for."""

    def probe_subject(self) -> str:
        """The place (file system, bucket) and the software that decide, with versions."""

    def end_probe(self) -> None:
        """Remove what the deleted objects of a probe left behind, such as a folder."""


class GuardedStore(Wrapper):
    """`inner`, whose first write waits for the probe, and which refuses writes if that fails.

    The writing methods raise `UnsafeStoreError` where `inner` creates a key twice.
    """

    def __init__(self, inner: ProbeableStore) -> None:
        super().__init__(inner)
        self._subject = inner.probe_subject
        self._end_probe = inner.end_probe
        self._safe = False
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[GuardedStore], tuple[Store]]:
        return GuardedStore, (self.inner,)

    def __repr__(self) -> str:
        return repr(self.inner)

    def put_new(self, key: str, data: Data, *, barrier: bool = True) -> bool:
        if not self._safe:
            self.ensure_safe()
        return self.inner.put_new(key, data, barrier=barrier)

    def begin_upload(self, folder: str) -> Upload:
        """Begin an object, once the store is known to be safe. See `TakesUploads`."""
        if not self._safe:
            self.ensure_safe()
        return begin_upload(self.inner, folder)

    def put_hint(self, key: str, data: Data) -> None:
        if not self._safe:
            self.ensure_safe()
        self.inner.put_hint(key, data)

    def delete(self, key: str) -> None:
        if not self._safe:
            self.ensure_safe()
        self.inner.delete(key)

    def map(self, key: str) -> memoryview:
        """The whole object, memory-mapped where `inner` can. `ObjectMissingError` where there is none."""
        mapped: Callable[[str], memoryview] | None = getattr(self.inner, "map", None)
        return memoryview(self.inner.get(key)) if mapped is None else mapped(key)

    def read_into(self, key: str, ranges: Sequence[tuple[int, int]], buffer: memoryview) -> bool:
        """Parts of an object into the buffer, where `inner` does that."""
        read: Callable[[str, Sequence[tuple[int, int]], memoryview], bool] | None
        read = getattr(self.inner, "read_into", None)
        return read is not None and read(key, ranges, buffer)

    def ensure_safe(self) -> None:
        """Probe unless a passed probe is remembered. Raises as `probe` does."""
        with self._lock:
            if not self._safe:
                subject = self._subject()
                if not _is_remembered(subject):
                    try:
                        probe(self.inner)
                    finally:
                        self._end_probe()
                    _remember(subject)
                self._safe = True


def probe(store: Store) -> None:
    """Try whether `store` creates a key at most once. It writes small objects below `probe/`.

    They are deleted where that is permitted. `UnsafeStoreError` where it failed; `StoreError` and
    `NotPermittedError` as any write.
    """
    token = os.urandom(16).hex()
    keys = [f"{PROBE_PREFIX}{token}-{number}" for number in range(ROUNDS + 1)]
    try:
        _create_twice(store, keys[0])
        for key in keys[1:]:
            _race(store, key)
    finally:
        for key in keys:
            # A writer that may not delete is a normal set-up; the first error matters more.
            with suppress(NotPermittedError, StoreError):
                store.delete(key)


def _create_twice(store: Store, key: str) -> None:
    first, second = (os.urandom(PAYLOAD_BYTES) for _ in range(2))
    if not store.put_new(key, first, barrier=False):
        raise _refusal(store, "it says that a key which nobody can have used exists")
    if store.put_new(key, second, barrier=False):
        raise _refusal(store, "it created one key twice")
    if _read(store, key) != first:
        raise _refusal(store, "it changed an object that it said it would leave alone")


def _race(store: Store, key: str) -> None:
    from concurrent.futures import ThreadPoolExecutor

    payloads = [os.urandom(PAYLOAD_BYTES) for _ in range(RACERS)]
    start = threading.Barrier(RACERS)

    def run(payload: bytes) -> tuple[bool, bytes]:
        start.wait()
        created = store.put_new(key, payload, barrier=False)
        return created, _read(store, key)

    with ThreadPoolExecutor(RACERS) as pool:
        try:
            results = list(pool.map(run, payloads))
        except BaseException:
            start.abort()  # those that started would wait for ever for those that could not
            raise
    winners = [payload for payload, (created, _) in zip(payloads, results, strict=True) if created]
    if len(winners) != 1:
        raise _refusal(
            store, f"{len(winners)} of {RACERS} racing writers were told that they created one key"
        )
    if any(seen != winners[0] for _, seen in results):
        raise _refusal(store, "readers saw other bytes than those of the writer that won")


def _read(store: Store, key: str) -> bytes:
    try:
        return store.get(key)
    except ObjectMissingError:
        raise _refusal(store, "an object that exists could not be read back") from None


def _refusal(store: Store, why: str) -> UnsafeStoreError:
    return UnsafeStoreError(
        f"{store.url} is not written to, because commits could overwrite each other there: {why}; "
        "update its fsspec package, or keep the repository elsewhere and push copies by other means"
    )


# What passed


def _record(subject: str) -> tuple[str, dict[str, object]]:
    import platform

    content: dict[str, object] = {
        "machine": config.machine_id() or platform.node(),
        "revision": PROBE_REVISION,
        "subject": subject,
    }
    name = cache_key(json.dumps(content, sort_keys=True).encode())
    return str(config.cache_folder() / "probes" / f"{name.hex()}.json"), content


def _is_remembered(subject: str) -> bool:
    if subject in _passed:
        return True
    try:
        path, content = _record(subject)
        with open(path, "rb") as file:
            found = json.loads(file.read())
    except (OSError, ValueError, RecursionError, EnvironmentFaultError):
        return False
    if found != content:
        return False
    _passed.add(subject)
    return True


def _remember(subject: str) -> None:
    _passed.add(subject)
    # Without a cache folder the probe runs once a process: slower, and as safe.
    with suppress(OSError, EnvironmentFaultError):
        path, content = _record(subject)
        temporary = f"{path}.{os.urandom(8).hex()}"
        make_folder(os.path.dirname(path))
        with open(temporary, "x", encoding="utf-8", opener=opener) as file:
            json.dump(content, file)
        os.replace(temporary, path)
