"""The few system calls that decide whether a local write survives a crash.

Kept apart from `local` so that each says what it guarantees, and so that tests can record their
order. All raise plain `OSError`s.
"""

from __future__ import annotations

import errno
import os
import sys

from dataver.errors import UnsafeStoreError

_IOV_MAX = os.sysconf("SC_IOV_MAX") if "SC_IOV_MAX" in os.sysconf_names else 16
_WRITE_BYTES_MAX = 1 << 30  # Linux writes at most 2 GiB - 4 KiB a call, macOS refuses more than 2 GiB - 1

# What `link` says on file systems without hard links, in containers that forbid it, and where one
# file has too many.
_NO_LINK = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV})
_NO_RENAME = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP})
_RENAME_NOREPLACE = 1
_AT_FDCWD = -100


def write_all(fd: int, views: list[memoryview]) -> None:
    """Write all of `views`, in order, from the descriptor's position."""
    first = 0
    while first < len(views):
        batch: list[memoryview] = []
        batch_bytes = 0
        for view in views[first : first + _IOV_MAX]:
            if batch and batch_bytes + view.nbytes > _WRITE_BYTES_MAX:
                break
            batch.append(view[:_WRITE_BYTES_MAX])
            batch_bytes += batch[-1].nbytes
        written = os.writev(fd, batch)
        if written <= 0:
            raise OSError(errno.EIO, "the file system took no bytes")
        while first < len(views) and written >= views[first].nbytes:
            written -= views[first].nbytes
            first += 1
        if written:
            views = [views[first][written:], *views[first + 1 :]]
            first = 0


def read_at(fd: int, start: int, length: int) -> bytes:
    """Up to `length` bytes from `start`; fewer only where the file ends."""
    data = os.pread(fd, length, start)
    if len(data) == length or not data:
        return data
    parts = [data]
    have = len(data)
    while have < length:
        data = os.pread(fd, length - have, start + have)
        if not data:
            break
        parts.append(data)
        have += len(data)
    return b"".join(parts)


def read_into(fd: int, start: int, buffer: memoryview) -> bool:
    """Fill the buffer from byte `start` of the file on; False where the file ends before."""
    while buffer:
        count = os.preadv(fd, [buffer], start)
        if not count:
            return False
        buffer = buffer[count:]
        start += count
    return True


def sync_file(fd: int) -> None:
    """Make the file's bytes durable.

    After an error nobody can know which bytes reached the disk, and the next call on the same
    file would report success for bytes that are lost: throw the file away, never call again.
    """
    if sys.platform == "darwin":
        # There `fsync` leaves the bytes in the drive's volatile cache.
        import fcntl

        try:
            fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
        except OSError as error:
            if error.errno not in (errno.ENOTSUP, errno.EINVAL, errno.ENOTTY):
                raise
        else:
            return
    os.fsync(fd)


def open_folder(folder: str) -> int:
    """A descriptor of `folder` for `sync_folder`."""
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def sync_folder(fd: int) -> None:
    """Make the names in the folder durable. The warning of `sync_file` holds here too."""
    try:
        sync_file(fd)
    except OSError as error:
        # Some network and FUSE file systems refuse to sync a folder: there names are durable, or
        # not, by the server's rules, and no call can change that.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise


def publish(temporary: str, final: str) -> bool:
    """Give the finished file its name unless that is taken (False). Atomic, never replaces.

    Afterwards `temporary` may or may not still be there. `UnsafeStoreError` where the file system
    can do neither of the two atomic ways: looking first and writing then is not one.
    """
    try:
        os.link(temporary, final)
        return True
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        return _rename_new(temporary, final, error)


def _rename_new(temporary: str, final: str, why: OSError) -> bool:
    refusal = UnsafeStoreError(
        f"cannot write to {os.path.dirname(final)}: its file system has neither hard links "
        f"({why.strerror}) nor a rename that never replaces, so commits could overwrite each other; "
        "keep the repository on another file system"
    )
    if not sys.platform.startswith("linux"):
        raise refusal from why
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        raise refusal from why
    status = libc.renameat2(
        ctypes.c_int(_AT_FDCWD),
        ctypes.c_char_p(os.fsencode(temporary)),
        ctypes.c_int(_AT_FDCWD),
        ctypes.c_char_p(os.fsencode(final)),
        ctypes.c_uint(_RENAME_NOREPLACE),
    )
    if status == 0:
        return True
    code = ctypes.get_errno()
    if code == errno.EEXIST:
        return False
    if code in _NO_RENAME:
        raise refusal from why
    raise OSError(code, os.strerror(code), final)
