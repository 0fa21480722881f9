"""The walk over a local folder: names and stamps of what is to be committed, as fast as Python lists them."""

from __future__ import annotations

import errno
import os
import stat
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dataver.column import Column
from dataver.errors import DataverError
from dataver.paths import PATH_BYTES_MAX, REPOSITORY_FOLDER
from dataver.source.base import (
    EMPTY_FOLDER,
    FILE,
    IGNORE_FILE,
    PART_PREFIX,
    SPECIAL,
    SYMLINK,
    Refused,
    SourceFile,
)
from dataver.source.batch import CALL_PATH_BYTES_MAX, FOLDER_FLAGS, list_folder, regular_stamp
from dataver.source.columns import Listing, pack_stamp
from dataver.source.faults import refuse_special, source_fault
from dataver.source.reading import read_whole, step_by_step
from dataver.values import NamedTuple

if TYPE_CHECKING:
    from dataver.globs import PathFilter
    from dataver.source.ignore import IgnoreRules

__all__ = ["Walk", "holds_repository"]

_GENESIS = b"/log/00000000000000000000"


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

    def __init__(
        self,
        prefix: bytes,
        chosen: PathFilter | None,
        ignore: bool,
        refused: Refused | None = None,
    ) -> None:
        self._prefix = prefix
        self._refused = refused
        self.is_suspect = False
        """Whether a path may break the rules of `dataver.paths` in a way that a folder can hold."""
        self._chosen = chosen
        self._ignore = ignore
        self._paths = Column()
        self._stamps = Column()
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
        return Listing(self._paths, self._stamps, is_sorted=self._is_sorted)

    def _enter(self, relative: bytes, rules: IgnoreRules | None) -> None:
        try:
            with _opened(self._prefix + relative) as descriptor:
                if self._ignore:
                    rules = self._rules_in(relative, rules, descriptor)
                if not self._folder(relative, rules, descriptor) and relative:
                    self._empty_folder(relative, descriptor)
        except DataverError:
            raise
        except (FileNotFoundError, NotADirectoryError) as error:
            if not relative:
                raise source_fault(error, self._prefix) from error
        except OSError as error:
            if self._refused is None or error.errno not in (errno.EACCES, errno.EPERM):
                raise source_fault(error, self._prefix + relative) from error
            self._refused(relative[:-1], False)

    def _folder(self, relative: bytes, rules: IgnoreRules | None, descriptor: int) -> bool:
        """Take in one folder's entries. False where it holds nothing but what is ignored."""
        names, stamps, folders, others = list_folder(descriptor)
        self._look_at(relative, [*names, *folders, *others])
        odd = [
            (name, stamp)
            for name in others
            if self._is_seen(relative, name, rules) and (stamp := self._odd(relative, name, descriptor))
        ]
        if odd:
            both = sorted([*zip(names, stamps, strict=True), *odd])
            names, stamps = [name for name, _ in both], [stamp for _, stamp in both]
        if rules is not None or (self._ignore and _has_part(names)):
            kept = [at for at, name in enumerate(names) if self._is_seen(relative, name, rules)]
            names, stamps = [names[at] for at in kept], [stamps[at] for at in kept]
        occupied = bool(names)
        if self._chosen is not None:
            kept = [at for at, name in enumerate(names) if self._chosen(relative + name)]
            names, stamps = [names[at] for at in kept], [stamps[at] for at in kept]
        return self._order(relative, names, stamps, folders, rules) or occupied

    def _look_at(self, relative: bytes, names: list[bytes]) -> None:
        """See whether there is a name that may not be in a version."""
        if len(relative) + max(map(len, names), default=0) > PATH_BYTES_MAX:
            self.is_suspect = True
        try:
            b"\0".join(names).decode()
        except UnicodeDecodeError:
            self.is_suspect = True

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
        before = b"\0" + run.relative if self._last else run.relative
        self._paths += before + (b"\0" + run.relative).join(run.names)
        self._stamps += b"".join(run.stamps)
        self._last = run.relative + run.names[-1]

    def _odd(self, relative: bytes, name: bytes, descriptor: int) -> bytes:
        """The stamp of what is no regular file; an empty one for what counts as not being there."""
        try:
            found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            if stat.S_ISREG(found.st_mode):  # by now
                return regular_stamp(found)
            kind, size = SPECIAL, found.st_size
            if stat.S_ISLNK(found.st_mode):
                if self._ignore and name == REPOSITORY_FOLDER:
                    return b""
                # Some file systems give another size for a link than its target has.
                kind, size = SYMLINK, len(os.readlink(name, dir_fd=descriptor))
            elif self._ignore and (self._chosen is None or self._chosen(relative + name)):
                raise refuse_special(self._prefix + relative + name, found.st_mode)
        except FileNotFoundError:
            return b""
        return pack_stamp(kind, size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)

    def _below(self, path: bytes, name: bytes, rules: IgnoreRules | None) -> bool:
        """Put a subfolder on the list. False where it counts as not being there."""
        if name == REPOSITORY_FOLDER or holds_repository(self._prefix + path):
            if self._refused is not None:
                self._refused(path, True)
            return False
        if rules is not None and rules.ignores(path + b"/"):
            return False
        if self._chosen is None or not self._chosen.excludes_all_below(path):
            self._waiting.append(_Folder(path + b"/", rules))
        return True

    def _empty_folder(self, relative: bytes, descriptor: int) -> None:
        if self._chosen is not None and not self._chosen(relative):
            return
        found = os.stat(descriptor)
        stamp = pack_stamp(EMPTY_FOLDER, 0, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
        self._put_down(_Run(b"", [relative[:-1]], [stamp]))

    def _rules_in(self, relative: bytes, rules: IgnoreRules | None, descriptor: int) -> IgnoreRules | None:
        """The rules that hold inside a folder: those from above, then those of its own ignore file."""
        try:
            found = os.stat(IGNORE_FILE, dir_fd=descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return rules
        if not stat.S_ISREG(found.st_mode):  # as git, which does not follow a symlink here
            return rules
        from dataver.source.ignore import IgnoreRules

        listed = SourceFile(relative + IGNORE_FILE, FILE, False, found.st_size, 0, 0, 0)
        data, _ = read_whole(IGNORE_FILE, listed, descriptor)
        return IgnoreRules(data, relative, rules)


@contextmanager
def _opened(full: bytes) -> Iterator[int]:
    """A folder, open to be listed."""
    if len(full) > CALL_PATH_BYTES_MAX:
        with step_by_step(full) as (descriptor, _):
            yield descriptor
        return
    descriptor = os.open(full, FOLDER_FLAGS)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _has_part(names: list[bytes]) -> bool:
    """Whether one of the sorted names begins as unfinished files do."""
    at = bisect_left(names, PART_PREFIX)
    return at < len(names) and names[at].startswith(PART_PREFIX)
