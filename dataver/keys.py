"""The names of a repository's objects in its store. Nothing else is in a repository."""

from __future__ import annotations

LOG_PREFIX = "log/"
HINT_KEY = "log/HINT"
PACK_FOLDER = "packs"
PACK_PREFIX = f"{PACK_FOLDER}/"
SEGMENT_FOLDER = "index"
SEGMENT_PREFIX = f"{SEGMENT_FOLDER}/"


def entry_key(number: int) -> str:
    """The key of log entry `number`."""
    return f"{LOG_PREFIX}{number:020d}"


def pack_key(digest: bytes) -> str:
    """The key of a pack, by the digest of its bytes."""
    name = digest.hex()
    return f"{PACK_PREFIX}{name[:2]}/{name}"


def segment_key(digest: bytes) -> str:
    """The key of an index segment, by the digest of its bytes."""
    return f"{SEGMENT_PREFIX}{digest.hex()}"
