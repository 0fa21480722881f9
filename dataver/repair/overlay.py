"""A store whose writes go elsewhere: for a dry run, which reads back what it would have written."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dataver.store.base import ObjectInfo, Store, View, Wrapper
from dataver.store.local import LocalStore

if TYPE_CHECKING:
    from dataver.store.base import Data


class Overlay(Wrapper):
    """`inner` with what was written on top, which is in `upper`."""

    def __init__(self, inner: Store, upper: Store) -> None:
        super().__init__(inner)
        self._upper = upper
        self._written: set[str] = set()

    def _of(self, key: str) -> Store:
        return self._upper if key in self._written else self.inner

    def get(self, key: str) -> bytes:
        return self._of(key).get(key)

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[View]:
        return self._of(key).get_ranges(key, ranges)

    def get_suffix(self, key: str, length: int) -> tuple[View, int]:
        return self._of(key).get_suffix(key, length)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        yield from self.inner.list(prefix)
        yield from self._upper.list(prefix)

    def put_new(self, key: str, data: Data, *, barrier: bool = True) -> bool:
        self._written.add(key)
        return self._upper.put_new(key, data, barrier=barrier)

    def put_hint(self, key: str, data: Data) -> None:
        """Nothing: the hint of the store stays as it is."""


@contextmanager
def writing_nothing(store: Store) -> Iterator[Store]:
    """A store over this one that keeps what is written in a temporary folder, until the end."""
    with tempfile.TemporaryDirectory(prefix="dataver-repair-") as folder:
        yield Overlay(store, LocalStore(folder))
