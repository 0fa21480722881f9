"""A folder or a single file on this machine."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from dataver.digest import DIGEST_BYTES
from dataver.errors import BadInputError
from dataver.globs import path_filter
from dataver.paths import REPOSITORY_FOLDER, RelativePath, check_paths, safe_spelling
from dataver.source.base import EMPTY_FOLDER, FILE, SYMLINK, Batch, Refused, SourceFile
from dataver.source.batch import CALL_PATH_BYTES_MAX, read_files
from dataver.source.columns import Listing
from dataver.source.faults import refuse_special, source_fault
from dataver.source.reading import LocalReader, open_local, read_link, read_whole, step_by_step
from dataver.source.walk import Walk, holds_repository

__all__ = ["LocalSource", "in_repository"]

# What a repository writes at its root; below these lie its objects.
_REPOSITORY_PARTS = (b"log", b"packs", b"index", b"probe")


def in_repository(path: bytes) -> bool:
    """Whether a real path lies in a folder `.dataver`, or among a repository's objects."""
    while (above := os.path.dirname(path)) != path:
        if os.path.basename(above) == REPOSITORY_FOLDER:
            return True
        if os.path.basename(path) in _REPOSITORY_PARTS and holds_repository(above):
            return True
        path = above
    return False


class LocalSource:
    """A folder, or one file whose base name is its path in the version.

    `source` itself may be a symlink and is followed; nothing below it is. Folders on other file
    systems are part of it. Left out: what `.dataverignore` files say, folders and symlinks named
    `.dataver`, folders that hold a repository, and what the filters do not let through. A folder
    is an entry where nothing in it is left, unless it was the filters that hid something.
    """

    def __init__(
        self,
        source: str | bytes | os.PathLike[str],
        *,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        ignore: bool = True,
        refused: Refused | None = None,
    ) -> None:
        """Look at `source`, read nothing in it yet.

        `include`, `exclude`: see `dataver.globs.path_filter`. `ignore=False` is for looking at a
        folder, not for committing it: it lists what ignore files leave out, too, names that cannot
        be in a version, symlinks named `.dataver`, and pipes, sockets and devices (as `SPECIAL`).
        `refused` is told the path of each folder that may not be read, empty for `source` itself, and of
        each that is a repository, or named as one, with whether it is one. They are left out unless it
        raises.
        Raises `PathNotFoundError`, `NotPermittedError`, and `BadInputError` where it is a repository,
        or neither a folder nor a regular file.
        """
        given = os.path.abspath(os.fsencode(source))
        self.name = safe_spelling(given)
        self.key = os.path.realpath(given)
        chosen = path_filter(include, exclude)
        self._filter = chosen if include or exclude else None
        self._ignore = ignore
        self._refused = refused
        self._single: bytes | None = None
        try:
            mode = os.stat(self.key).st_mode
        except OSError as error:
            raise source_fault(error, given) from error
        if stat.S_ISDIR(mode):
            self._prefix = self.key.rstrip(b"/") + b"/"
            if os.path.basename(self.key) == REPOSITORY_FOLDER or holds_repository(self.key):
                raise BadInputError(
                    f"{self.name} is a repository, and no version can hold one; name the folder of the data"
                )
        elif stat.S_ISREG(mode):
            self._prefix = os.path.dirname(self.key).rstrip(b"/") + b"/"
            self._single = RelativePath.parse(os.path.basename(given))
        else:
            raise refuse_special(given, mode)
        if in_repository(self.key):
            raise BadInputError(f"{self.name} is part of a repository, and no version can hold it")

    def files(self) -> Listing:
        """Everything to be committed, sorted by path. See `Source.files`.

        What vanishes meanwhile is left out. Raises `BadInputError` for names that are not UTF-8,
        pipes, sockets and devices, `NotPermittedError` for folders that cannot be read.
        """
        if self._single is not None:
            found = self._stat_single(self._single)
            return Listing.of([found] if self._filter is None or self._filter(found.path) else [])
        walk = Walk(self._prefix, self._filter, self._ignore, self._refused)
        files = walk.run()
        if not self._ignore or not walk.is_suspect:
            return files
        try:
            check_paths(files.paths)
        except BadInputError as error:
            raise BadInputError(
                f"{error}; rename it in {self.name}, or leave it out with --exclude or .dataverignore"
            ) from error
        return files

    def _stat_single(self, path: bytes) -> SourceFile:
        try:
            found = os.lstat(self.key)
        except OSError as error:
            raise source_fault(error, self.key) from error
        executable = bool(found.st_mode & stat.S_IXUSR)
        return SourceFile(
            path, FILE, executable, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino
        )

    def _full(self, file: SourceFile) -> bytes:
        return self._prefix + file.path if self._single is None else self.key

    def read_small(self, file: SourceFile) -> tuple[bytes, SourceFile]:
        """The whole content, or a symlink's target, with the stamps that belong to it. See `Source`."""
        if file.kind == EMPTY_FOLDER:
            return b"", file
        read = read_link if file.kind == SYMLINK else read_whole
        full = self._full(file)
        if len(full) <= CALL_PATH_BYTES_MAX:
            return read(full, file)
        with step_by_step(full) as (folder, name):
            return read(name, file, folder)

    def read_batch(self, files: Sequence[SourceFile], buffer: memoryview) -> Batch:
        """Those whose path one call takes. See `Source.read_batch`."""
        if self._single is not None:
            return Batch(bytes(len(files)), bytes(DIGEST_BYTES * len(files)))
        return read_files(self._prefix, files, buffer)

    def open_stable(self, file: SourceFile) -> LocalReader:
        """Open a regular file of any size. See `Source.open_stable`."""
        full = self._full(file)
        if len(full) <= CALL_PATH_BYTES_MAX:
            return open_local(full, file)
        with step_by_step(full) as (folder, name):
            return open_local(name, file, folder)

    def locate(self, file: SourceFile) -> tuple[str, str]:
        """A `file://` URL of the real path, not percent-encoded, and no tag. See `Source.locate`."""
        try:
            return f"file://{self._full(file).decode()}", ""
        except UnicodeDecodeError:
            raise BadInputError(
                f"{self.name} is not UTF-8, so that its files cannot be referred to"
            ) from None
