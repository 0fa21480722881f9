"""Files that other tools name by a digest: a source whose every byte is compared with it while it is read."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from dataver.digest import DIGEST_BYTES
from dataver.errors import BadInputError, DamagedError
from dataver.paths import check_paths, safe_spelling
from dataver.source.base import EMPTY_FOLDER, FILE, REMOTE_TAG, Batch, SourceFile
from dataver.source.columns import Listing
from dataver.values import dataclass

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["GIT", "MD5", "MD5_TEXT", "SHA256", "Place", "Pointed", "PointedSource", "check_tree"]

MD5, MD5_TEXT, SHA256, GIT = "md5", "md5-dos2unix", "sha256", "git"
"""`md5-dos2unix`: as DVC 2 hashed what looks like text, without the CR of its line ends."""
BLOCK_BYTES = 1 << 20
"""DVC looks at so much at a time to tell text from other bytes, so that its MD5 depends on it."""
_TEXT = bytes(range(32, 127)) + b"\n\r\t\f\b"
_LOOKED_AT = 512


@dataclass(frozen=True, slots=True)
class Pointed:
    """A file as another tool names it. `kind` is that of `dataver.source`."""

    path: bytes
    algorithm: str
    digest: str
    executable: bool = False
    kind: int = FILE


class Place(Protocol):
    """Where the bytes of a file are."""

    @property
    def size(self) -> int:
        """How many they are."""

    @property
    def name(self) -> str:
        """For messages."""

    def open(self) -> BinaryIO:
        """A seekable file. Errors are those of `dataver.errors`."""


class PointedSource:
    """Files and their places, as what a commit reads. See `dataver.source.Source`.

    The digests of the other tool are the stamps of the files: what this machine read once under one of
    them is not read again. A file that does not have its digest is a `DamagedError` that names it.
    """

    def __init__(self, name: str, key: bytes, files: Iterable[tuple[Pointed, Place]]) -> None:
        """`name` is for messages, `key` identifies the line of versions on this machine."""
        self.name = safe_spelling(name)
        self.key = key
        self._files = {pointed.path: (pointed, place) for pointed, place in files}
        check_tree(list(self._files))

    def files(self) -> Listing:
        """All files. See `Source.files`."""
        return Listing.of(_stamped(pointed, place.size) for pointed, place in self._files.values())

    def read_small(self, file: SourceFile) -> tuple[bytes, SourceFile]:
        """The whole content. See `Source.read_small`."""
        if file.kind == EMPTY_FOLDER:
            return b"", file
        with self.open_stable(file) as reader:
            data = reader.read()
            reader.check()
        return data or b"", file

    def read_batch(self, files: Sequence[SourceFile], buffer: memoryview) -> Batch:  # noqa: ARG002
        """None: each is compared on its own. See `Source.read_batch`."""
        return Batch(bytes(len(files)), bytes(DIGEST_BYTES * len(files)))

    def open_stable(self, file: SourceFile) -> PointedReader:
        """Open a file. See `Source.open_stable`."""
        pointed, place = self._files[bytes(file.path)]
        return PointedReader(file, pointed, place)

    def locate(self, file: SourceFile) -> tuple[str, str]:
        """Nothing is imported by reference: the other tool may delete it."""
        raise BadInputError(f"{safe_spelling(file.path)} cannot be imported by reference")


class PointedReader(io.RawIOBase):
    """A `SourceReader` that hashes what is read from start to end, and the rest when it is checked."""

    def __init__(self, file: SourceFile, pointed: Pointed, place: Place) -> None:
        super().__init__()
        self.file = file
        self._pointed = pointed
        self._place = place
        self._opened = place.open()
        self._hash = new_hash(pointed, place.size)
        self._hashed = self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        view = memoryview(buffer).cast("B")
        data = self._opened.read(len(view))
        view[: len(data)] = data
        if self._at == self._hashed:
            self._hash.update(data)
            self._hashed += len(data)
        self._at += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self._at = self._opened.seek(offset, whence)
        return self._at

    def tell(self) -> int:
        return self._at

    def close(self) -> None:
        if not self.closed:
            self._opened.close()
        super().close()

    def check(self) -> None:
        """`DamagedError` where the bytes are not those that the digest was made of."""
        self._opened.seek(self._hashed)
        while data := self._opened.read(BLOCK_BYTES):
            self._hash.update(data)
            self._hashed += len(data)
        found = self._hash.hexdigest()
        if found != self._pointed.digest or self._hashed != self._place.size:
            raise DamagedError(
                f"{safe_spelling(self._pointed.path)} is damaged where it comes from: {self._place.name} has "
                f"the {self._pointed.algorithm} {found}, and not {self._pointed.digest}. Nothing of this "
                "version was imported; fetch the file again"
            )


class _TextHash:
    """The MD5 of DVC 2: blocks that look like text lose the CR of their line ends before they are hashed."""

    def __init__(self) -> None:
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._block = bytearray()

    def update(self, data: bytes) -> None:
        self._block += data
        while len(self._block) >= BLOCK_BYTES:
            self._take(bytes(self._block[:BLOCK_BYTES]))
            del self._block[:BLOCK_BYTES]

    def hexdigest(self) -> str:
        self._take(bytes(self._block))
        self._block.clear()
        return self._md5.hexdigest()

    def _take(self, block: bytes) -> None:
        self._md5.update(block.replace(b"\r\n", b"\n") if _is_text(block[:_LOOKED_AT]) else block)


def _is_text(block: bytes) -> bool:
    return b"\0" not in block and len(block.translate(None, _TEXT)) <= 0.3 * len(block)


def new_hash(pointed: Pointed, size: int) -> Any:
    """What hashes a file of this size as the other tool does, with `update` and `hexdigest`."""
    if pointed.algorithm == MD5_TEXT:
        return _TextHash()
    if pointed.algorithm == MD5:
        return hashlib.md5(usedforsecurity=False)
    if pointed.algorithm == SHA256:
        return hashlib.sha256()
    head = f"blob {size}\0".encode()
    is_short = len(pointed.digest) == 40
    return hashlib.sha1(head, usedforsecurity=False) if is_short else hashlib.sha256(head)


def check_tree(paths: Sequence[bytes]) -> None:
    """`BadInputError` where a path cannot be in a version, or is a file and a folder."""
    check_paths(paths)
    known = set(paths)
    for path in paths:
        folder = path.rpartition(b"/")[0]
        while folder:
            if folder in known:
                raise BadInputError(
                    f"{safe_spelling(folder)} is both a file and a folder, which no version holds"
                )
            folder = folder.rpartition(b"/")[0]


def _stamped(pointed: Pointed, size: int) -> SourceFile:
    """The entry of a file; its stamps are made of the digest, so that another one is another file."""
    if pointed.kind == EMPTY_FOLDER:
        return SourceFile(pointed.path, EMPTY_FOLDER, False, 0, 0, 0, 0)
    mark = hashlib.blake2b(f"{pointed.algorithm}:{pointed.digest}".encode(), digest_size=16).digest()
    first, second = (int.from_bytes(half, "big", signed=True) for half in (mark[:8], mark[8:]))
    return SourceFile(pointed.path, pointed.kind, pointed.executable, size, first, second, REMOTE_TAG)
