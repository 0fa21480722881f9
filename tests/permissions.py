"""What a user may do who is not root, in tests that root may run."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def permissions_hold_for_root() -> Iterator[None]:
    """Root may read and write what nobody may; this thread lays those rights down for a while.

    They are `CAP_DAC_OVERRIDE` and `CAP_DAC_READ_SEARCH`.
    """
    if os.geteuid():
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)()
    assert libc.capget(header, data) == 0
    before = data[0]
    data[0] = before & ~(1 << 1 | 1 << 2)
    assert libc.capset(header, data) == 0
    try:
        yield
    finally:
        data[0] = before
        assert libc.capset(header, data) == 0


@contextmanager
def only_to_be_read(place: Path) -> Iterator[None]:
    """All at `place` is somebody else's where root runs the tests, and may be read only."""
    paths = [place, *place.rglob("*")]
    modes = [path.stat().st_mode & 0o7777 for path in paths]
    owner = os.geteuid()
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
        if not owner:
            os.chown(path, 65_534, 65_534)
    try:
        with permissions_hold_for_root():
            yield
    finally:
        for path, mode in zip(paths, modes, strict=True):
            if not owner:
                os.chown(path, owner, os.getegid())
            path.chmod(mode)
