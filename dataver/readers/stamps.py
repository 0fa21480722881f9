"""What stood in which file when its bytes were last compared: a file of records, the last one counts."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from contextlib import suppress

from dataver.digest import DIGEST_BYTES
from dataver.hashing import xxh3_64
from dataver.private import opener
from dataver.source.columns import STAMP
from dataver.values import NamedTuple

MAGIC = b"dataver copies 1\n"
"""Behind it 16 random bytes, by which others see that the file was written anew."""
REWRITE_RECORDS = 10_000
"""After so many records more than twice the files, the file is written anew."""

_NONCE_BYTES = 16
_HEAD_BYTES = len(MAGIC) + _NONCE_BYTES
_RECORD_BYTES = STAMP.size + DIGEST_BYTES
_CHECKSUM = struct.Struct("<Q")
_STEP = _RECORD_BYTES + _CHECKSUM.size


class Known(NamedTuple):
    """A file as it was when its bytes had the digest. Stamps are those of `dataver.source.columns`."""

    stamp: bytes
    digest: bytes


class Stamps:
    """By inode, what is known of the files of a shelf. Only `get` may be called without the shelf's lock.

    Whatever was torn or cut off is as good as not known: its file is hashed again.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._known: dict[int, Known] = {}
        self._head = b""
        self._end = 0
        self._records = 0
        self._unsaved: list[Known] = []
        self.size_bytes = 0
        """What the files have together; removed ones are among them until `keep` drops them."""

    def get(self, inode: int) -> Known | None:
        """What is known of the file with this inode, if anything."""
        return self._known.get(inode)

    def refresh(self) -> None:
        """Read what other processes noted."""
        try:
            with open(self._path, "rb") as file:
                head = file.read(_HEAD_BYTES)
                if head != self._head:
                    self._forget()
                    if len(head) < _HEAD_BYTES or not head.startswith(MAGIC):
                        return
                    self._head, self._end = head, _HEAD_BYTES
                file.seek(self._end)
                data = file.read()
        except FileNotFoundError:
            self._forget()
            return
        for start in range(0, len(data) - _STEP + 1, _STEP):
            record = data[start : start + _RECORD_BYTES]
            if _CHECKSUM.unpack_from(data, start + _RECORD_BYTES)[0] != xxh3_64(record):
                break
            self._take(Known(record[: STAMP.size], record[STAMP.size :]))
            self._end += _STEP

    def note(self, known: Known) -> None:
        """Remember a file whose bytes were compared, or of which this process changed only the links."""
        self._take(known)
        self._unsaved.append(known)

    def save(self) -> None:
        """Tell other processes what was noted."""
        rows, self._unsaved = self._unsaved, []
        if not rows:
            return
        if not self._end or self._records > REWRITE_RECORDS + 2 * len(self._known):
            self._write_all()
            return
        fd = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.ftruncate(fd, self._end)  # What was torn would hide what comes after it.
            data = _encode(rows)
            os.pwrite(fd, data, self._end)
            self._end += len(data)
        finally:
            os.close(fd)

    def keep(self, inodes: Iterable[int]) -> None:
        """Forget all other files."""
        kept = set(inodes)
        known = [value for inode, value in self._known.items() if inode in kept]
        self._known, self.size_bytes = {}, 0
        for value in known:
            self._take(value)
        self._unsaved = []
        self._write_all()

    def _take(self, known: Known) -> None:
        _, size, _, _, inode = STAMP.unpack(known.stamp)
        before = self._known.get(inode)
        self.size_bytes += size - (STAMP.unpack(before.stamp)[1] if before else 0)
        self._known[inode] = known
        self._records += 1

    def _write_all(self) -> None:
        temporary = f"{self._path}.{os.urandom(8).hex()}"
        try:
            with open(temporary, "xb", opener=opener) as file:
                self._head = MAGIC + os.urandom(_NONCE_BYTES)
                file.write(self._head + _encode(self._known.values()))
                self._end = file.tell()
            os.replace(temporary, self._path)
        except BaseException:
            self._forget()
            with suppress(OSError):
                os.unlink(temporary)
            raise
        self._records = len(self._known)

    def _forget(self) -> None:
        self._known, self._head = {}, b""
        self._end = self._records = self.size_bytes = 0


def _encode(rows: Iterable[Known]) -> bytes:
    records = (stamp + digest for stamp, digest in rows)
    return b"".join(record + _CHECKSUM.pack(xxh3_64(record)) for record in records)
