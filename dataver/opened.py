"""Repositories that a process has open for reading, shared by what opens them again and again.

`pandas.read_parquet("dataver://…")` makes a file system for each call. What it would read of the
repository each time is kept here; what a ref means is looked up each time.
"""

from __future__ import annotations

import json
import os
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from dataver.config import find_repository
from dataver.errors import NotFoundError
from dataver.repository import Repository, open_repository

if TYPE_CHECKING:
    from dataver.results import DatasetInfo
    from dataver.version import Version

KEPT_MAX = 2


class Opened:
    """A repository with the versions of it that are in use. For use by several threads."""

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        self._genesis = repository.session.log.entry(0).digest
        self._versions: WeakValueDictionary[tuple[str, str], Version] = WeakValueDictionary()
        self._last: Version | None = None
        self._lock = threading.Lock()

    def version(self, ref: str, *, require_signed: bool = False) -> Version:
        """What a ref means now; the same object for a version that is in use, or was the last one."""
        with self._lock:
            found = self.repository.version(ref, require_signed=require_signed)
            self._last = self._versions.setdefault((found.dataset_name, found.id), found)
            return self._last

    def datasets(self) -> list[DatasetInfo]:
        """The datasets by name."""
        with self._lock:
            return self.repository.datasets()

    def is_current(self) -> bool:
        """Whether the place still has this repository, and not another or none."""
        with self._lock:
            try:
                return self.repository.session.log.entry(0).digest == self._genesis
            except NotFoundError:
                return False


class _Kept:
    """The repositories that were opened last."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew, as a forked process must: locks and connections are not its own."""
        self.lock = threading.Lock()
        self.opened: OrderedDict[str, Opened] = OrderedDict()


_kept = _Kept()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_kept.forget)


def open_shared(
    place: str | None, storage_options: Mapping[str, Any], at: str | None, offline: bool = False
) -> Opened:
    """The repository at `place`, as `dataver.open` finds it; the last `KEPT_MAX` are kept."""
    found = place or find_repository()
    where = found if found is None or "://" in found else os.path.abspath(found)
    key = json.dumps([where, at, offline, sorted(storage_options.items())], default=repr)
    with _kept.lock:
        opened = _kept.opened.get(key)
    if opened is None or not opened.is_current():
        opened = Opened(open_repository(where, storage_options=storage_options, at=at, offline=offline))
    with _kept.lock:
        _kept.opened[key] = opened
        _kept.opened.move_to_end(key)
        while len(_kept.opened) > KEPT_MAX:
            _kept.opened.popitem(last=False)
    return opened
