"""A version as a handle: its files, their bytes, and the readers that training code likes."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from dataver.digest import Digest
from dataver.errors import BadInputError, PathNotFoundError
from dataver.paths import RelativePath, safe_spelling
from dataver.progress import Progress
from dataver.reading import read_file, read_range
from dataver.refs import Resolved
from dataver.results import CheckoutResult, FileEntry, Listing, VersionInfo
from dataver.tree.manifest import FOLDER, KIND_NAMES, REFERENCE, SYMLINK, Entry, manifest_link, to_entry
from dataver.tree.walk import find, prefix_stop, scan

if TYPE_CHECKING:
    import pyarrow
    import pyarrow.dataset

    from dataver.repository import Repository

READ_AHEAD_BYTES = 256 << 10


class Version:
    """One immutable version. It carries the id: what a branch or tag does later changes nothing here.

    Every byte it gives was verified. Pickles carry the repository's URL and the id. For use by
    several threads.
    """

    def __init__(self, repository: Repository, resolved: Resolved) -> None:
        self._repository = repository
        self._resolved = resolved
        session = repository.session
        self._objects = session.objects()
        self._nodes = session.nodes()
        self._root = manifest_link(resolved.version.manifest)

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self._repository, f"{self.dataset_name}@{self.id}")

    def __repr__(self) -> str:
        return f"<Version {self.name} {self.id[:16]} of {self._repository.url}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and (self.id, self.dataset_name) == (other.id, other.dataset_name)

    def __hash__(self) -> int:
        return hash((self.id, self.dataset_name))

    @property
    def dataset_name(self) -> str:
        """The name of the dataset."""
        return self._resolved.name

    @property
    def id(self) -> str:
        """64 hex digits that no other version has."""
        return str(self._resolved.version.id)

    @property
    def name(self) -> str:
        """`DATASET@vN`, or `DATASET@<64 hex digits>` for a version that was never on `main`."""
        return self._resolved.canonical

    @property
    def tree(self) -> str:
        """The digest of the files alone: 64 hex digits, the same in every repository."""
        return str(self._repository.session.record(Digest(self._resolved.version.id)).tree)

    @property
    def info(self) -> VersionInfo:
        """What `dataver show` says."""
        return self._repository.show(f"{self.dataset_name}@{self.id}")

    # Files

    def files(self, prefix: str = "") -> Iterator[FileEntry]:
        """The entries whose paths begin with `prefix`, by path as bytes; no data is read."""
        start = prefix.encode()
        for row in scan(self._nodes, self._root, start, prefix_stop(start) if start else None):
            yield to_file_entry(to_entry(row))

    def listing(self, path: str = "", recursive: bool = False) -> Listing:
        """The files and folders at a path. `PathNotFoundError` where there is nothing."""
        folder = bytes(RelativePath.parse(path.rstrip("/"))) if path.strip("/") else b""
        if folder:
            row = find(self._nodes, self._root, folder)
            if row is not None:
                entry = to_entry(row)
                return Listing([], []) if entry.kind == FOLDER else Listing([to_file_entry(entry)], [])
            folder += b"/"
        files: list[FileEntry] = []
        folders: list[str] = []
        for entry in self._below(folder, recursive):
            if entry.kind == FOLDER:
                folders.append(entry.path.decode())
            else:
                files.append(to_file_entry(entry))
        if folder and not files and not folders:
            raise PathNotFoundError(
                f"{self.name} has no {safe_spelling(path)!r}; `dataver ls {self.name}` lists it"
            )
        return Listing(files, sorted(folders))

    def _below(self, folder: bytes, recursive: bool) -> Iterator[Entry]:
        """What is in a folder; without `recursive`, a folder in it stands for all that is below."""
        stop = prefix_stop(folder) if folder else None
        start: bytes | None = folder
        while start is not None:
            rows = scan(self._nodes, self._root, start, stop)
            start = None
            for row in rows:
                name, slash, _ = row.key[len(folder) :].partition(b"/")
                if recursive or not slash:
                    yield to_entry(row)
                    continue
                yield Entry(folder + name, FOLDER, False, 0, b"")
                # Whatever is below that folder is skipped without being read.
                start = folder + name + b"0"
                break

    def entry(self, path: str) -> Entry:
        """The entry of a file. `PathNotFoundError` where there is none, `BadInputError` for a folder."""
        key = bytes(RelativePath.parse(path))
        row = find(self._nodes, self._root, key)
        if row is None or to_entry(row).kind == FOLDER:
            if row is not None or next(iter(scan(self._nodes, self._root, key + b"/", key + b"0")), None):
                raise BadInputError(f"{safe_spelling(path)!r} is a folder of {self.name}; name a file in it")
            raise PathNotFoundError(f"{self.name} has no file {safe_spelling(path)!r}")
        return to_entry(row)

    def read(self, path: str) -> bytes:
        """All bytes of a file; a symlink's are those of what it points at within the version."""
        return read_file(self._followed(path), self._objects)

    def read_ranges(self, path: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Several (start, length) ranges of a file; what lies beyond its end is left out."""
        entry = self._followed(path)
        return [self._range(entry, start, start + length) for start, length in ranges]

    def open(self, path: str) -> BinaryIO:
        """A file for reading: seekable, buffered, and only what is asked for is read."""
        raw = _File(self._range, self._followed(path))
        return cast("BinaryIO", io.BufferedReader(raw, READ_AHEAD_BYTES))

    def _range(self, entry: Entry, start: int, stop: int) -> bytes:
        if entry.kind == REFERENCE:
            return read_file(entry, self._objects)[start:stop]
        return read_range(entry, self._objects, start, stop)

    def _followed(self, path: str) -> Entry:
        entry = self.entry(path)
        for _ in range(40):
            if entry.kind != SYMLINK:
                return entry
            target = os.path.normpath(
                os.path.join(os.path.dirname(entry.path), read_file(entry, self._objects))
            )
            if target.startswith((b"/", b"../")) or target == b"..":
                raise BadInputError(
                    f"{safe_spelling(path)!r} is a symlink out of {self.name}; check it out to follow it"
                )
            entry = self.entry(target.decode("utf-8", "surrogateescape"))
        raise BadInputError(f"{safe_spelling(path)!r} is a symlink that leads nowhere")

    # Readers

    def checkout(
        self,
        target: str | os.PathLike[str],
        *,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        overwrite: bool = False,
        progress: Progress | None = None,
        jobs: int | None = None,
    ) -> CheckoutResult:
        """Write the files into a folder. See `Repository.checkout`."""
        ref = f"{self.dataset_name}@{self.id}"
        return self._repository.checkout(
            ref, target, include=include, exclude=exclude, overwrite=overwrite, progress=progress, jobs=jobs
        )

    def dataset(self, path: str = "") -> pyarrow.dataset.Dataset:
        """The Parquet files at a path as one lazy dataset."""
        import pyarrow.dataset
        import pyarrow.fs

        from dataver.fs import DataverFileSystem

        system = pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(DataverFileSystem.of(self)))
        root = f"{self.dataset_name}@{self.id}"
        parts = [file.path for file in self._tables(path)]
        if not parts:
            raise PathNotFoundError(f"{self.name} has no Parquet files at {safe_spelling(path)!r}")
        return pyarrow.dataset.dataset(
            [f"{root}/{part}" for part in parts], filesystem=system, format="parquet"
        )

    def to_arrow(self, path: str = "") -> pyarrow.Table:
        """The Parquet files at a path as one table, in memory."""
        return self.dataset(path).to_table()

    def _tables(self, path: str) -> list[FileEntry]:
        files = self.listing(path, recursive=True).files
        if len(files) == 1 and files[0].path == path.rstrip("/"):
            return files
        return [file for file in files if file.path.endswith((".parquet", ".pq"))]


class _File(io.RawIOBase):
    """A file of a version as a raw stream. `name` is its path."""

    def __init__(self, read: Any, entry: Entry) -> None:
        super().__init__()
        self.name = entry.path.decode()
        self._read = read
        self._entry = entry
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._entry.size}[whence]
        if base + offset < 0:
            raise ValueError("a position before the start of the file")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        data = self._read(self._entry, self._at, self._at + len(view))
        view[: len(data)] = data
        self._at += len(data)
        return len(data)

    def readall(self) -> bytes:
        data: bytes = self._read(self._entry, self._at, self._entry.size)
        self._at += len(data)
        return data


def to_file_entry(entry: Entry) -> FileEntry:
    """An entry as callers see it."""
    return FileEntry(
        entry.path.decode(),
        KIND_NAMES.get(entry.kind, "file"),
        entry.executable,
        entry.size,
        entry.digest.hex(),
    )


def _reopen(repository: Repository, ref: str) -> Version:
    return repository.version(ref)
