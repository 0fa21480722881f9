"""Files of the user's that are read as a whole, or replaced as a whole or not at all."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

from dataver.errors import BadInputError, DataverError, NotPermittedError, PathNotFoundError

NAME_CHARACTERS_MAX = 48
"""Of a name, in that of its unfinished file, which file systems let be 255 bytes long."""


@contextmanager
def replacing(path: str | os.PathLike[str], unfinished: str | None = None) -> Iterator[BinaryIO]:
    """A new file that takes the place of `path` when the body is done, whole and on disk; else it goes.

    A symlink leads to the new file then, and the mode of the old one is kept. Until then it is in the folder
    `unfinished` of the same file system, else beside `path`.
    """
    final = os.path.realpath(path)
    if os.path.isdir(final):
        raise BadInputError(f"{path} is a folder; name a file")
    folder, name = os.path.split(final)
    # With a dot, so that what a killed process leaves is nobody's table.
    part = os.path.join(unfinished or folder, f".{name[:NAME_CHARACTERS_MAX]}.{os.urandom(4).hex()}.part")
    try:
        with open(part, "xb") as file:
            with suppress(FileNotFoundError):
                os.fchmod(file.fileno(), stat.S_IMODE(os.stat(final).st_mode))
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, final)
    except DataverError:
        raise
    except PermissionError as error:
        raise NotPermittedError(f"{path} cannot be written: {error.strerror}") from error
    except FileNotFoundError as error:
        raise PathNotFoundError(f"{path} has no folder to be written into; make it") from error
    except NotADirectoryError as error:
        raise BadInputError(f"{path} is no file that could be written") from error
    finally:
        with suppress(OSError):
            os.unlink(part)


def read_whole(path: str, bytes_max: int, what: str) -> bytes:
    """All of a file of the user's; `what` it should be. `BadInputError` also where it has more bytes."""
    try:
        with open(path, "rb") as file:
            data = file.read(bytes_max + 1)
    except FileNotFoundError:
        raise PathNotFoundError(f"there is no file {path}") from None
    except PermissionError as error:
        raise NotPermittedError(f"{path} cannot be read: {error.strerror}") from None
    except OSError as error:
        raise BadInputError(f"{path} cannot be read: {error.strerror}") from None
    if len(data) > bytes_max:
        raise BadInputError(f"{path} is too large for {what}")
    return data
