"""What the operating system said about a source, as errors of dataver."""

from __future__ import annotations

import errno
import stat

from dataver.errors import (
    BadInputError,
    DataverError,
    NotPermittedError,
    PathNotFoundError,
    SourceChangedError,
    StoreError,
)
from dataver.paths import safe_spelling
from dataver.source.base import SourceFile

__all__ = ["changed", "refuse_special", "source_fault"]

_ABSENT = (errno.ENOENT, errno.ENOTDIR)
_REFUSED = (errno.EACCES, errno.EPERM)

_SPECIAL = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}


def source_fault(error: OSError, path: bytes) -> DataverError:
    """The error that tells the user what stands against reading this path."""
    spelled = safe_spelling(path)
    if error.errno in _ABSENT:
        return PathNotFoundError(f"{spelled} does not exist")
    if error.errno in _REFUSED:
        return NotPermittedError(
            f"{spelled} cannot be read: permission denied; change its permissions, or leave it out "
            "with --exclude or .dataverignore"
        )
    if error.errno == errno.ELOOP:
        return BadInputError(f"{spelled} cannot be read: its symbolic links go in a circle")
    if error.errno == errno.ENAMETOOLONG:
        return BadInputError(f"{spelled} cannot be read: the name is too long")
    return StoreError(f"{spelled} cannot be read: {error.strerror or error}")


def refuse_special(path: bytes, mode: int) -> BadInputError:
    """The error for what is neither a regular file nor a symlink nor a folder."""
    what = _SPECIAL.get(stat.S_IFMT(mode), "neither a file nor a folder")
    return BadInputError(
        f"{safe_spelling(path)} is {what}, which no version can hold; remove it, or leave it out "
        "with --exclude or .dataverignore"
    )


def changed(file: SourceFile) -> SourceChangedError:
    """The error for a file that did not hold still, or is gone."""
    return SourceChangedError(
        f"{safe_spelling(file.path)} changed while it was read, again and again, or went away; "
        "run this again when nothing writes to it"
    )
