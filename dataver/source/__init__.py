"""What is to be committed: a folder, a single file, or whatever fsspec reaches.

`open_source` picks the right one; `base` says what all of them promise.
"""

from __future__ import annotations

from dataver.source.base import EMPTY_FOLDER, FILE, READ_PAUSES_S, SYMLINK, Source, SourceFile, SourceReader
from dataver.source.local import LocalSource

__all__ = [
    "EMPTY_FOLDER",
    "FILE",
    "READ_PAUSES_S",
    "SYMLINK",
    "LocalSource",
    "Source",
    "SourceFile",
    "SourceReader",
]
