"""Statistics that this machine computed, kept in the user's cache folder by the digest of their file."""

from __future__ import annotations

import os
import threading

from dataver.config import cache_folder
from dataver.errors import DamagedError, NewerFormatError
from dataver.format.table_statistics import FileStatistics, decode, statistics_key
from dataver.store.disk_cache import DiskCache

FOLDER = "statistics"
CACHE_BYTES_MAX = 256 << 20
"""What was used longest ago goes beyond this: statistics of some ten thousand tables, as a rule."""


def load(file_digest: bytes) -> FileStatistics | None:
    """What was computed before, or None. What cannot be read is as good as none."""
    data = _cache().get(statistics_key(file_digest))
    if data is None:
        return None
    try:
        return decode(bytes(data), file_digest)
    except (DamagedError, NewerFormatError):
        return None


def save(file_digest: bytes, data: bytes) -> None:
    """Keep a record; readers see all of it or nothing. A folder that cannot be written is no error."""
    _cache().put(statistics_key(file_digest), data)


class _Caches:
    """The caches that this process uses, by folder."""

    def __init__(self) -> None:
        self.unlock()
        self.found: dict[str, DiskCache] = {}

    def unlock(self) -> None:
        """Begin as a forked process must, whoever held the lock."""
        self.lock = threading.Lock()


_caches = _Caches()
os.register_at_fork(after_in_child=_caches.unlock)


def _cache() -> DiskCache:
    folder = str(cache_folder() / FOLDER)
    with _caches.lock:
        if folder not in _caches.found:
            _caches.found[folder] = DiskCache(folder, CACHE_BYTES_MAX)
        return _caches.found[folder]
