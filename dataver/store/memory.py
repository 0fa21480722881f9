"""A store in this process's memory, for tests. Stores of one name share their objects."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from dataver.errors import ObjectMissingError
from dataver.store.base import ObjectInfo, View, as_views, check_key, check_prefix, place

if TYPE_CHECKING:
    from dataver.store.base import Data


class _Space:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.objects: dict[str, tuple[bytes, float]] = {}


_spaces: dict[str, _Space] = {}
_spaces_lock = threading.Lock()


class MemoryStore:
    """Objects in a dict. Nothing is durable, so a barrier has nothing to do.

    All stores of one `name` in a process are the same store; pickled into another process it
    opens that process's store of the name.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        with _spaces_lock:
            self._space = _spaces.setdefault(name, _Space())

    def __reduce__(self) -> tuple[type[MemoryStore], tuple[str]]:
        return MemoryStore, (self._name,)

    def __repr__(self) -> str:
        return f"MemoryStore({self._name!r})"

    @property
    def url(self) -> str:
        return f"memory://{self._name}"

    @property
    def identity(self) -> str:
        """The same URL."""
        return self.url

    def probe_subject(self) -> str:
        """Every memory store is the same code."""
        return "memory"

    def end_probe(self) -> None:
        """Nothing is left."""

    def get(self, key: str) -> bytes:
        check_key(key)
        with self._space.lock:
            found = self._space.objects.get(key)
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

    def put_new(self, key: str, data: Data, *, barrier: bool = True) -> bool:  # noqa: ARG002 - see above
        check_key(key)
        value = (b"".join(as_views(data)), time.time())
        with self._space.lock:
            return self._space.objects.setdefault(key, value) is value

    def put_hint(self, key: str, data: Data) -> None:
        check_key(key)
        value = (b"".join(as_views(data)), time.time())
        with self._space.lock:
            self._space.objects[key] = value

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        check_prefix(prefix)
        with self._space.lock:
            objects = list(self._space.objects.items())
        found = (ObjectInfo(k, len(data), at) for k, (data, at) in objects if k.startswith(prefix))
        return iter(sorted(found))

    def delete(self, key: str) -> None:
        check_key(key)
        with self._space.lock:
            self._space.objects.pop(key, None)

    def _what(self, key: str) -> str:
        return f"object {key} of {self.url}"
