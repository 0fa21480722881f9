"""Statistics that this machine computed, kept in the user's cache folder by the digest of their file."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from dataver.config import cache_folder
from dataver.errors import DamagedError, NewerFormatError
from dataver.format.table_statistics import STATISTICS_BYTES_MAX, FileStatistics, decode, statistics_key


def load(file_digest: bytes) -> FileStatistics | None:
    """What was computed before, or None. A file that cannot be read is as good as none."""
    try:
        with open(_path(file_digest), "rb") as file:
            return decode(file.read(STATISTICS_BYTES_MAX + 1), file_digest)
    except (OSError, DamagedError, NewerFormatError):
        return None


def save(file_digest: bytes, data: bytes) -> None:
    """Keep a record; readers see all of it or nothing. A folder that cannot be written is no error."""
    path = _path(file_digest)
    temporary = path.with_name(f"{path.name}.{os.urandom(8).hex()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except OSError:
        with suppress(OSError):
            temporary.unlink()


def _path(file_digest: bytes) -> Path:
    name = statistics_key(file_digest).hex()
    return cache_folder() / "statistics" / name[:2] / name
