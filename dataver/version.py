"""A version as a handle: its files, their bytes, and the readers that training code likes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from dataver import recording
from dataver.errors import BadInputError, PathNotFoundError
from dataver.files import Files, below, listing, to_file_entry, to_path
from dataver.format.version import VersionRecord, decode_version
from dataver.hashing import Kind
from dataver.noting import reads_of
from dataver.objects import Objects
from dataver.paths import safe_spelling
from dataver.process_reader import ProcessReader, another
from dataver.progress import Progress
from dataver.reading import blocks, file_ranges, read_file, read_ranges
from dataver.recording import Asked, OpenFile, Reads
from dataver.refs import Resolved
from dataver.results import CheckoutResult, FileEntry, Listing, VersionInfo
from dataver.streams import VersionFile
from dataver.tree.manifest import FOLDER, Entry
from dataver.version_readers import TABLE_SUFFIXES, VersionReaders

if TYPE_CHECKING:
    from dataver.cards.card import Card
    from dataver.format.provenance import Source
    from dataver.log.state import State
    from dataver.origins import Origins
    from dataver.parts import Definition, SplitView
    from dataver.repository import Repository
    from dataver.store.base import View
    from dataver.verify.copy import Wanted
    from dataver.verify.copy_report import CopyReport


class Writable(Protocol):
    """What bytes can be written to."""

    def write(self, data: View, /) -> object:
        """Take all of `data`."""


class Version(VersionReaders):
    """One immutable version. It carries the id: what a branch or tag does later changes nothing here.

    Every byte it gives was verified. Pickles carry the repository's URL and the id. For use by
    several threads, and by processes that were forked.
    """

    def __init__(
        self,
        repository: Repository,
        resolved: Resolved,
        state: State | None = None,
        asked: Asked = Asked(""),  # noqa: B008 - immutable
    ) -> None:
        """`state` is the newest state, where it was read a moment ago; `asked` what a run records of it."""
        self._resolved = resolved
        self._asked = asked
        self._noted: Reads | None = None
        self._process_reader = ProcessReader(repository, resolved, state)
        reads = self.reads
        if reads is not None:
            reads.number()

    def __reduce__(self) -> tuple[Any, ...]:
        return Version, (self.repository, self._resolved, None, self._asked)

    def __repr__(self) -> str:
        return f"<Version {self.name} {self.id[:16]} of {self.repository.url}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and (self.id, self.dataset_name) == (other.id, other.dataset_name)

    def __hash__(self) -> int:
        return hash((self.id, self.dataset_name))

    @property
    def _reader(self) -> ProcessReader:
        reader = self._process_reader
        if reader.process != os.getpid():
            # A forked process shares neither locks nor connections with the one it came from.
            again = another(reader.repository)
            reader = self._process_reader = ProcessReader(again, self._resolved, None)
        return reader

    @property
    def reads(self) -> Reads | None:
        """What notes reads in the run that is on, None where none is; for layers above."""
        if recording.active is None:
            return None
        noted = self._noted
        if noted is None or noted.recorder is not recording.active:
            noted = self._noted = reads_of(self.repository.session, self._resolved, self._asked)
        return noted

    def asked_as(self, **changes: Any) -> Version:
        """The same version, of which a run records reads in another way; for layers above."""
        other = object.__new__(Version)
        vars(other).update(vars(self))
        other._asked, other._noted = self._asked._replace(**changes), None
        return other

    @property
    def repository(self) -> Repository:
        """Where the version is. For one thread, unlike the version."""
        return self._reader.repository

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
        return str(self._record.tree)

    @property
    def time(self) -> datetime:
        """When the version was made, in UTC."""
        from dataver.history import to_time

        return to_time(self._record.time_us)

    @property
    def info(self) -> VersionInfo:
        """What `dataver show` says."""
        return self.repository.show(f"{self.dataset_name}@{self.id}")

    @property
    def origins(self) -> Origins:
        """Where the data came from: by its record, or those of the nearest versions before it."""
        from dataver.origins import origins

        return origins(self.repository.session, self._resolved)

    @property
    def sources(self) -> list[Source]:
        """The sources in `origins`."""
        return list(self.origins.sources)

    def card(self, *, compute: bool = False) -> Card:
        """What is to be said of it. `compute` reads files of which no statistics are at hand."""
        from dataver.cards.card import card_of

        return card_of(self, compute=compute)

    @property
    def _record(self) -> VersionRecord:
        reader = self._reader
        if reader.record is None:
            id = self._resolved.version.id
            reader.record = decode_version(reader.objects.record(Kind.VERSION, id), f"version {id}")
        return reader.record

    # Files

    def files(self, prefix: str = "") -> Iterator[FileEntry]:
        """The entries whose paths begin with `prefix`, by path as bytes; no data is read."""
        return map(to_file_entry, self._reader.files.scan(prefix.encode()))

    def listing(self, path: str = "", recursive: bool = False) -> Listing:
        """The files and folders at a path. `PathNotFoundError` where there is nothing.

        A symlink is listed as such, but one that leads to a folder as that folder.
        """
        return listing(self._reader.files, to_path(path), self._follow, recursive)

    def objects(self) -> Objects:
        """Verified reads by digest, for layers above."""
        return self._reader.objects

    def tree_of_files(self) -> Files:
        """The files as folders and links, for layers above."""
        return self._reader.files

    def entry(self, path: str) -> Entry:
        """What stands at a path, followed if it is a symlink.

        `PathNotFoundError` where there is nothing, `BadInputError` for a folder or a link that
        leads out of the version.
        """
        entry = self._follow(to_path(path))
        if entry.kind == FOLDER:
            raise BadInputError(f"{safe_spelling(path)!r} is a folder of {self.name}; name a file in it")
        return entry

    def _follow(self, path: bytes) -> Entry:
        try:
            return self._reader.files.follow(path)
        except PathNotFoundError as error:
            raise PathNotFoundError(f"in {self.name} {error}; `dataver ls {self.name}` lists it") from None

    def read(self, path: str) -> bytes:
        """All bytes of a file; a symlink's are those of what it points at within the version."""
        return self.read_entry(self.entry(path))

    def read_entry(self, entry: Entry) -> bytes:
        """All bytes of what `entry` gave; for layers above, which looked it up."""
        reads = self.reads
        if reads is not None:
            reads.whole(entry)
        return read_file(entry, self._reader.objects)

    def read_ranges(self, path: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Several (start, length) ranges of a file; what lies beyond its end is left out."""
        return self.read_ranges_of(self.entry(path), ranges)

    def read_ranges_of(self, entry: Entry, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """As `read_ranges`, of what `entry` gave; for layers above."""
        reader, reads = self._reader, self.reads
        wanted = [(start, start + length) for start, length in ranges]
        if reads is not None:
            reads.parts(entry, wanted)
        with closing(file_ranges(entry, reader.objects, reader.lists)) as parts:
            return read_ranges(parts, entry.size, wanted)

    def copy(self, path: str, target: Writable, advance: Callable[[int], object] | None = None) -> None:
        """Write all bytes of a file to `target`, and tell `advance` how many each time.

        What was written counts only if this returns: the digest is compared in the end.
        """
        entry, reads = self.entry(path), self.reads
        if reads is not None:
            reads.whole(entry)
        for block in blocks(entry, self._reader.objects):
            for data in block:
                target.write(data)
                if advance is not None:
                    advance(len(data))

    def open(self, path: str) -> VersionFile:
        """A binary file for reading: seekable, buffered, and only what is asked for is read."""
        return self.open_entry(self.entry(path), path)

    def open_entry(self, entry: Entry, path: str) -> VersionFile:
        """As `open`, of what `entry` gave for the path; for layers above."""
        reader, reads = self._reader, self.reads
        ranges = file_ranges(entry, reader.objects, reader.lists)
        note = None if reads is None else OpenFile(reads, entry)
        return VersionFile(ranges, path, entry.size, (self.open, path), note)

    # Readers

    def checkout(
        self,
        target: str | os.PathLike[str],
        *,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        overwrite: bool = False,
        skip_erased: bool = False,
        progress: Progress | None = None,
        jobs: int | None = None,
    ) -> CheckoutResult:
        """Write the files into a folder. See `Repository.checkout`."""
        from dataver.checkout import check_out

        return check_out(
            self.repository.session, self._resolved, target, self._asked,
            include=include, exclude=exclude, overwrite=overwrite, skip_erased=skip_erased,
            progress=progress, jobs=jobs,
        )  # fmt: skip

    def verify_at(
        self,
        place: str | os.PathLike[str],
        path: str = "",
        *,
        allow_extra: bool = False,
        progress: Progress | None = None,
        jobs: int | None = None,
    ) -> CopyReport:
        """Compare every byte of a folder of this machine, or of one file, with the version.

        For copies by whatever tool: mounted, downloaded, exported. `path` is what of the version should be
        there. Files that are too many count as a difference unless `allow_extra` says otherwise.
        """
        from dataver.verify.copy import compare

        wanted = self.wanted(path)
        return compare(wanted, place, allow_extra=allow_extra, progress=progress, jobs=jobs)

    def wanted(self, path: str = "") -> Wanted:
        """What a copy of it is compared with; for layers above."""
        from dataver.erased import erasures
        from dataver.verify.copy import Wanted

        session = self.repository.session
        erased = erasures(session.state())
        return Wanted(self.name, self.id, self.tree, self._reader.files, path, erased, session.repository)

    def list_file(self) -> bytes:
        """The list of the files for whoever has a copy of them and no way to the repository.

        `dataver verify --at FOLDER --manifest FILE REF` reads it; an export puts it beside the files.
        """
        from dataver.verify.listed import document_of

        repository = self.repository
        name = (self.dataset_name, self._resolved.version.number or None)
        return document_of(name, self._record, (repository.id, repository.url), self._reader.files)

    def split(self, part: str, by: Definition | None = None, *, path: str | None = None) -> SplitView:
        """The rows of one part of a split: `PART`, or `NAME/PART` where there are several splits.

        `by` is the definition: an object such as `dataver.HashSplit`, its document, or a file of TOML or
        JSON; without it, what the version's own file `.dataver-splits.toml` has. `path` is where the
        tables are, if not where the definition says. `BadInputError` for a part that is not defined.
        """
        from dataver.parts import split_view

        return split_view(self, part, by, path)

    def tables(self, path: str = "", suffixes: tuple[str, ...] = TABLE_SUFFIXES["parquet"]) -> list[str]:
        """The paths of the Parquet files at a path: that file, or all below that folder.

        Names that begin with `.` or `_` are left out, as pyarrow does it.
        """
        found = self._follow(to_path(path))
        return [path] if found.kind != FOLDER else below(self._reader.files, found, path, suffixes)
