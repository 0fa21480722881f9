"""The walk over a local folder: names and stamps of what is to be committed, as fast as Python lists them."""

from __future__ import annotations

import os
import stat
import struct
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from dataver.errors import DataverError
from dataver.paths import PATH_BYTES_MAX, REPOSITORY_FOLDER
from dataver.source.base import EMPTY_FOLDER, FILE, IGNORE_FILE, PART_PREFIX, SPECIAL, SYMLINK, SourceFile
from dataver.source.columns import STAMP, STAMP_EXECUTABLE, Listing, pack_stamp
from dataver.source.faults import refuse_special, source_fault
from dataver.source.reading import read_whole, step_by_step

if TYPE_CHECKING:
    from dataver.globs import PathFilter
    from dataver.source.ignore import IgnoreRules

__all__ = ["CALL_PATH_BYTES_MAX", "Walk", "holds_repository"]

# A system call takes 4,096 bytes of path (1,024 on macOS); what lies deeper is opened step by step.
CALL_PATH_BYTES_MAX = 700

_TYPE_BITS = 0o170000
_REGULAR = stat.S_IFREG
_GENESIS = b"/log/00000000000000000000"

# From where the owner's executable bit stands in a mode to where it stands in a stamp.
_EXECUTABLE_SHIFT = (stat.S_IXUSR // STAMP_EXECUTABLE).bit_length() - 1

# Where the system lists a folder by its descriptor, files are looked at by their names in it: that is
# half of what the kernel takes for a path from the root, once a file.
_BY_DESCRIPTOR = os.scandir in os.supports_fd
_FOLDER_FLAGS = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0)


def holds_repository(folder: bytes) -> bool:
    """Whether a repository lies in this very folder."""
    return os.path.lexists(folder + _GENESIS)


class _Folder(NamedTuple):
    """A folder to be listed; `relative` ends with `/`, or is empty."""

    relative: bytes
    rules: IgnoreRules | None


class _Run(NamedTuple):
    """Files of one folder that follow each other in the listing."""

    relative: bytes
    names: list[bytes]
    stamps: list[bytes]


class Walk:
    """One walk over the folder `prefix` (absolute, ending with `/`)."""

    def __init__(self, prefix: bytes, chosen: PathFilter | None, ignore: bool) -> None:
        self._prefix = prefix
        self.is_suspect = False
        """Whether a path may break the rules of `dataver.paths` in a way that a folder can hold."""
        self._chosen = chosen
        self._ignore = ignore
        self._paths: list[bytes] = []
        self._stamps: list[bytes] = []
        self._last = b""
        self._is_sorted = True
        # What is to be done, the next at the end: folders to list, and runs of files to be put down.
        self._waiting: list[_Folder | _Run] = []

    def run(self) -> Listing:
        """All entries."""
        self._waiting.append(_Folder(b"", None))
        while self._waiting:
            following = self._waiting.pop()
            if isinstance(following, _Run):
                self._put_down(following)
            else:
                self._enter(*following)
        return Listing(b"\0".join(self._paths), b"".join(self._stamps), is_sorted=self._is_sorted)

    def _enter(self, relative: bytes, rules: IgnoreRules | None) -> None:
        try:
            with _opened(self._prefix + relative) as (place, descriptor):
                if self._ignore:
                    rules = self._rules_in(relative, rules, descriptor)
                with os.scandir(place) as listed:
                    entries: list[os.DirEntry[Any]] = sorted(listed, key=attrgetter("name"))
                if not self._folder(relative, entries, rules, descriptor) and relative:
                    self._empty_folder(relative, descriptor)
        except DataverError:
            raise
        except (FileNotFoundError, NotADirectoryError) as error:
            if not relative:
                raise source_fault(error, self._prefix) from error
        except OSError as error:
            raise source_fault(error, self._prefix + relative) from error

    def _folder(
        self,
        relative: bytes,
        entries: list[os.DirEntry[Any]],
        rules: IgnoreRules | None,
        descriptor: int | None,
    ) -> bool:
        """Take in one folder's entries. False where it holds nothing but what is ignored."""
        folders = [entry for entry in entries if entry.is_dir(follow_symlinks=False)]
        files = (
            [entry for entry in entries if not entry.is_dir(follow_symlinks=False)] if folders else entries
        )
        names = self._names(relative, files)
        if rules is not None or (self._ignore and _has_part(names)):
            kept = [at for at, name in enumerate(names) if self._is_seen(relative, name, rules)]
            files, names = [files[at] for at in kept], [names[at] for at in kept]
        stamps = self._look_at(relative, files, descriptor)
        there = [at for at, stamp in enumerate(stamps) if stamp]
        occupied = bool(there)
        if self._chosen is not None:
            there = [at for at in there if self._chosen(relative + names[at])]
        if len(there) < len(stamps):
            names, stamps = [names[at] for at in there], [stamps[at] for at in there]
        return self._order(relative, names, stamps, self._names(relative, folders), rules) or occupied

    def _look_at(self, relative: bytes, files: list[os.DirEntry[Any]], descriptor: int | None) -> list[bytes]:
        """The stamps of files. An empty one stands for what is not there."""
        pack = STAMP.pack
        stamps: list[bytes] = []
        append = stamps.append
        for file in files:
            try:
                found = file.stat(follow_symlinks=False)
                mode = found.st_mode
                if mode & _TYPE_BITS != _REGULAR:
                    append(self._odd(relative, os.fsencode(file.name), found, descriptor))
                    continue
            except FileNotFoundError:
                append(b"")
                continue
            kind = (mode & 0o100) >> _EXECUTABLE_SHIFT
            try:
                append(pack(kind, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino))
            except struct.error:
                append(pack_stamp(kind, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino))
        return stamps

    def _names(self, relative: bytes, entries: list[os.DirEntry[Any]]) -> list[bytes]:
        """The names of entries that stand in the order of their names."""
        if not entries:
            return []
        names = [entry.name for entry in entries]
        if isinstance(names[0], str):
            # What is listed by a descriptor. Encoded all at once, as no name holds a NUL.
            joined = "\0".join(names)
            try:
                names = joined.encode().split(b"\0")
            except UnicodeEncodeError:
                self.is_suspect = True
                self._is_sorted = False
                names = os.fsencode(joined).split(b"\0")
        else:
            self.is_suspect = True
        self.is_suspect |= len(relative) + max(map(len, names)) > PATH_BYTES_MAX
        return names

    def _is_seen(self, relative: bytes, name: bytes, rules: IgnoreRules | None) -> bool:
        if self._ignore and name.startswith(PART_PREFIX):
            return False
        return rules is None or name == IGNORE_FILE or not rules.ignores(relative + name)

    def _order(
        self,
        relative: bytes,
        names: list[bytes],
        stamps: list[bytes],
        folders: list[bytes],
        rules: IgnoreRules | None,
    ) -> bool:
        """Put files and subfolders on the list in the order of their paths. False where no subfolder counts.

        A folder stands where its name and a `/` would: among the files, as all that is below it does.
        """
        end = len(names)
        occupied = False
        for folder in reversed(folders):
            start = bisect_left(names, folder + b"/", 0, end)
            if start < end:
                self._waiting.append(_Run(relative, names[start:end], stamps[start:end]))
            end = start
            occupied = self._below(relative + folder, folder, rules) or occupied
        if end:
            self._waiting.append(_Run(relative, names[:end], stamps[:end]))
        return occupied

    def _put_down(self, run: _Run) -> None:
        self._is_sorted &= self._last < run.relative + run.names[0]
        self._last = run.relative + run.names[-1]
        self._paths.append(run.relative + (b"\0" + run.relative).join(run.names))
        self._stamps.append(b"".join(run.stamps))

    def _odd(self, relative: bytes, name: bytes, found: os.stat_result, descriptor: int | None) -> bytes:
        """The stamp of what is no regular file; an empty one for what counts as not being there."""
        kind, size = SPECIAL, found.st_size
        if stat.S_ISLNK(found.st_mode):
            if name == REPOSITORY_FOLDER:
                return b""
            # Some file systems give another size for a link than its target has.
            place = name if descriptor is not None else self._prefix + relative + name
            kind, size = SYMLINK, len(os.readlink(place, dir_fd=descriptor))
        elif self._ignore and (self._chosen is None or self._chosen(relative + name)):
            raise refuse_special(self._prefix + relative + name, found.st_mode)
        return pack_stamp(kind, size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)

    def _below(self, path: bytes, name: bytes, rules: IgnoreRules | None) -> bool:
        """Put a subfolder on the list. False where it counts as not being there."""
        if name == REPOSITORY_FOLDER or holds_repository(self._prefix + path):
            return False
        if rules is not None and rules.ignores(path + b"/"):
            return False
        if self._chosen is None or not self._chosen.excludes_all_below(path):
            self._waiting.append(_Folder(path + b"/", rules))
        return True

    def _empty_folder(self, relative: bytes, descriptor: int | None) -> None:
        if self._chosen is not None and not self._chosen(relative):
            return
        found = os.stat(self._prefix + relative if descriptor is None else descriptor)
        stamp = pack_stamp(EMPTY_FOLDER, 0, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
        self._put_down(_Run(b"", [relative[:-1]], [stamp]))

    def _rules_in(
        self, relative: bytes, rules: IgnoreRules | None, descriptor: int | None
    ) -> IgnoreRules | None:
        """The rules that hold inside a folder: those from above, then those of its own ignore file."""
        place = IGNORE_FILE if descriptor is not None else self._prefix + relative + IGNORE_FILE
        try:
            found = os.stat(place, dir_fd=descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return rules
        if not stat.S_ISREG(found.st_mode):  # as git, which does not follow a symlink here
            return rules
        from dataver.source.ignore import IgnoreRules

        path = relative + IGNORE_FILE
        listed = SourceFile(path, FILE, False, found.st_size, 0, 0, 0)
        data, _ = read_whole(place, listed, descriptor)
        return IgnoreRules(data, relative, rules)


@contextmanager
def _opened(full: bytes) -> Iterator[tuple[bytes | int, int | None]]:
    """A folder for `os.scandir`: its descriptor, or its path on systems that list by paths alone."""
    if len(full) > CALL_PATH_BYTES_MAX:
        with step_by_step(full) as (descriptor, _):
            yield descriptor, descriptor
    elif _BY_DESCRIPTOR:
        descriptor = os.open(full, _FOLDER_FLAGS)
        try:
            yield descriptor, descriptor
        finally:
            os.close(descriptor)
    else:
        yield full, None


def _has_part(names: list[bytes]) -> bool:
    """Whether one of the sorted names begins as unfinished files do."""
    at = bisect_left(names, PART_PREFIX)
    return at < len(names) and names[at].startswith(PART_PREFIX)
