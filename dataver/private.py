"""Files and folders for this user alone, whatever the umask: caches, notes and what waits on this machine."""

from __future__ import annotations

import os
from contextlib import suppress

__all__ = ["make_folder", "opener"]


def make_folder(path: str | os.PathLike[str]) -> None:
    """Make a folder for this user alone, with those above it. One that is there stays as it is."""
    with suppress(FileExistsError):
        try:
            os.mkdir(path, 0o700)
        except FileNotFoundError:
            above = os.path.dirname(os.path.abspath(path))
            if above == os.path.abspath(path):
                raise
            make_folder(above)
            os.mkdir(path, 0o700)


def opener(path: str, flags: int) -> int:
    """For `open`: a file that is made is for this user alone."""
    return os.open(path, flags | os.O_CLOEXEC, 0o600)
