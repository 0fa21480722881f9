"""This machine's caches drop the bytes of what was erased from a repository, when its log says so.

What cannot be removed, as in a folder that is read-only now, is no error of the command that is running:
a cache never is.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import suppress

from dataver.config import cache_folder
from dataver.errors import EnvironmentFaultError
from dataver.format.table_statistics import statistics_key
from dataver.readers.shelf import shelf
from dataver.stat_file import forget_digests
from dataver.store.disk_cache import DiskCache
from dataver.tables.cache import FOLDER as STATISTICS

__all__ = ["forget"]


def forget(erased: Collection[bytes], packs: Collection[bytes]) -> None:
    """Drop files and chunks by digest, what was computed of them, and what was read of these packs."""
    try:
        folder = os.fspath(cache_folder())
    except EnvironmentFaultError:
        return
    digests = frozenset(erased)
    names = digests | {bytes(statistics_key(digest)) for digest in digests}
    for place in (folder, f"{folder}/{STATISTICS}"):
        DiskCache(place, 0).drop(names, frozenset(packs))
    with suppress(OSError):
        shelf().drop(digests)
    with suppress(OSError):
        forget_digests(digests)
