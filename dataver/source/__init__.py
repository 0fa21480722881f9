"""What is to be committed: a folder, a single file, or whatever fsspec reaches.

`open_source` picks the right one; `base` says what all of them promise.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from dataver.source.base import (
    EMPTY_FOLDER,
    FILE,
    NOISY,
    READ_PAUSES_S,
    SYMLINK,
    Batch,
    Source,
    SourceFile,
    SourceReader,
    pauses,
)
from dataver.source.local import LocalSource

__all__ = [
    "EMPTY_FOLDER",
    "FILE",
    "NOISY",
    "READ_PAUSES_S",
    "SYMLINK",
    "Batch",
    "LocalSource",
    "Source",
    "SourceFile",
    "SourceReader",
    "local_path",
    "open_source",
    "pauses",
]

# `zip://…::s3://…` is a URL as well, and so is `simplecache::s3://…`.
_URL = re.compile(r"[a-z][a-z0-9+.-]*(?:://|::)", re.IGNORECASE)
_LOCAL_URL = re.compile(r"(?:file|local)://(?!.*::)", re.IGNORECASE)


def open_source(
    source: str | bytes | os.PathLike[str],
    *,
    storage_options: Mapping[str, Any] | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    ignore: bool = True,
) -> Source:
    """The source of that path or URL. A path object, or text that names something on disk, is a path.

    `storage_options` go to fsspec and mean nothing to a local source. For the rest and the errors
    see `LocalSource` and `FsspecSource`.
    """
    filters: dict[str, Any] = {"include": include, "exclude": exclude, "ignore": ignore}
    if (path := local_path(source)) is not None:
        return LocalSource(path, **filters)
    assert isinstance(source, str)
    from dataver.source.fsspec_ import FsspecSource

    return FsspecSource(source, storage_options, **filters)


def local_path(place: str | bytes | os.PathLike[str]) -> str | bytes | os.PathLike[str] | None:
    """The path that a path or URL means on this machine; None where it is elsewhere."""
    if not isinstance(place, str) or not _URL.match(place) or os.path.lexists(place):
        return place
    found = _LOCAL_URL.match(place)
    return place[found.end() :] if found else None
