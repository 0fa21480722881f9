"""The walk over a local folder: names and stamps of what is to be committed, as fast as Python lists them."""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from operator import attrgetter
from typing import TYPE_CHECKING, Any

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
        self._folders: list[tuple[bytes, IgnoreRules | None]] = []

    def run(self) -> Listing:
        """All entries."""
        self._folders.append((b"", None))
        while self._folders:
            relative, rules = self._folders.pop()
            try:
                with _opened(self._prefix + relative) as (place, descriptor):
                    if self._ignore:
                        rules = self._rules_in(relative, rules, descriptor)
                    with os.scandir(place) as listed:
                        names, entries = self._in_order(relative, listed, descriptor)
                    if not self._folder(relative, names, entries, rules, descriptor) and relative:
                        self._empty_folder(relative, descriptor)
            except DataverError:
                raise
            except (FileNotFoundError, NotADirectoryError) as error:
                if not relative:
                    raise source_fault(error, self._prefix) from error
            except OSError as error:
                raise source_fault(error, self._prefix + relative) from error
        return Listing(self._paths, self._stamps)

    def _folder(
        self,
        relative: bytes,
        names: list[bytes],
        entries: list[os.DirEntry[Any]],
        rules: IgnoreRules | None,
        descriptor: int | None,
    ) -> bool:
        """Take in one folder's entries, each under its name. False where it holds nothing but what is ignored."""
        chosen = self._chosen
        append_path, append_stamp, pack = self._paths.append, self._stamps.append, STAMP.pack
        folders = []
        occupied = False
        for name, entry in zip(names, entries, strict=True):
            if entry.is_dir(follow_symlinks=False):
                folders.append(name)
                continue
            path = relative + name
            if rules is not None and name != IGNORE_FILE and rules.ignores(path):
                continue
            try:
                found = entry.stat(follow_symlinks=False)
                mode = found.st_mode
                if mode & _TYPE_BITS == _REGULAR:
                    kind, size = (mode & 0o100) >> _EXECUTABLE_SHIFT, found.st_size
                elif stat.S_ISLNK(mode) and name == REPOSITORY_FOLDER:
                    continue
                else:
                    kind, size = self._odd(path, name, found, descriptor)
            except FileNotFoundError:
                continue
            occupied = True
            if chosen is None or chosen(path):
                append_path(path)
                try:
                    stamp = pack(kind, size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
                except struct.error:
                    stamp = pack_stamp(kind, size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
                append_stamp(stamp)
        # The first of them goes onto the stack last: so folders come in the order of their names.
        for name in reversed(folders):
            occupied = self._below(relative + name, name, rules) or occupied
        return occupied

    def _in_order(
        self, relative: bytes, entries: Iterable[os.DirEntry[Any]], descriptor: int | None
    ) -> tuple[list[bytes], list[os.DirEntry[Any]]]:
        """Names and entries side by side, sorted by name, save what nobody may see."""
        listed = sorted(entries, key=attrgetter("name"))
        names = [entry.name for entry in listed]
        if descriptor is None:
            self.is_suspect = True
            raw = b"\0".join(names)
        else:
            # Such names are text. Encoded all at once, as no name holds a NUL.
            joined = "\0".join(names)
            try:
                raw = joined.encode()
            except UnicodeEncodeError:
                self.is_suspect = True
                raw = os.fsencode(joined)
            names = raw.split(b"\0") if names else []
            self.is_suspect |= len(relative) + max(map(len, names), default=0) > PATH_BYTES_MAX
        if self._ignore and PART_PREFIX in raw:
            kept = [
                at
                for at, name in enumerate(names)
                if not name.startswith(PART_PREFIX) or listed[at].is_dir(follow_symlinks=False)
            ]
            names, listed = [names[at] for at in kept], [listed[at] for at in kept]
        return names, listed

    def _odd(
        self, path: bytes, name: bytes, found: os.stat_result, descriptor: int | None
    ) -> tuple[int, int]:
        """Kind and size of what is no regular file."""
        if stat.S_ISLNK(found.st_mode):
            # Some file systems give another size for a link than its target has.
            place = name if descriptor is not None else self._prefix + path
            return SYMLINK, len(os.readlink(place, dir_fd=descriptor))
        if not self._ignore:
            return SPECIAL, found.st_size
        if self._chosen is None or self._chosen(path):
            raise refuse_special(self._prefix + path, found.st_mode)
        return SPECIAL, 0

    def _below(self, path: bytes, name: bytes, rules: IgnoreRules | None) -> bool:
        """Put a subfolder on the list. False where it counts as not being there."""
        if name == REPOSITORY_FOLDER or holds_repository(self._prefix + path):
            return False
        if rules is not None and rules.ignores(path + b"/"):
            return False
        if self._chosen is None or not self._chosen.excludes_all_below(path):
            self._folders.append((path + b"/", rules))
        return True

    def _empty_folder(self, relative: bytes, descriptor: int | None) -> None:
        if self._chosen is not None and not self._chosen(relative):
            return
        found = os.stat(self._prefix + relative if descriptor is None else descriptor)
        self._paths.append(relative[:-1])
        stamp = pack_stamp(EMPTY_FOLDER, 0, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
        self._stamps.append(stamp)

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
