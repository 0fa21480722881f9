"""The walk over a local folder: names and stamps of what is to be committed, as fast as Python lists them."""

from __future__ import annotations

import os
import stat
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from dataver.errors import DataverError
from dataver.paths import PATH_BYTES_MAX, REPOSITORY_FOLDER
from dataver.source.base import EMPTY_FOLDER, FILE, IGNORE_FILE, PART_PREFIX, SPECIAL, SYMLINK, SourceFile
from dataver.source.batch import CALL_PATH_BYTES_MAX, FOLDER_FLAGS, list_folder, regular_stamp
from dataver.source.columns import Listing, pack_stamp
from dataver.source.faults import refuse_special, source_fault
from dataver.source.reading import read_whole, step_by_step

if TYPE_CHECKING:
    from dataver.globs import PathFilter
    from dataver.source.ignore import IgnoreRules

__all__ = ["Walk", "holds_repository"]

_GENESIS = b"/log/00000000000000000000"


def holds_repository(folder: bytes) -> bool:
    """Whether a repository lies in this very folder."""
    return os.path.lexists(folder + _GENESIS)


class Walk:
    """One walk over the folder `prefix` (absolute, ending with `/`)."""

    def __init__(self, prefix: bytes, chosen: PathFilter | None, ignore: bool) -> None:
        self._prefix = prefix
        self._chosen = chosen
        self._ignore = ignore
        self._paths: list[bytes] = []
        self._stamps: list[bytes] = []
        self._folders: list[tuple[bytes, IgnoreRules | None]] = []
        self.is_suspect = False
        """Whether a path may break the rules of `dataver.paths` in a way that a folder can hold."""

    def run(self) -> Listing:
        """All entries."""
        self._folders.append((b"", None))
        while self._folders:
            relative, rules = self._folders.pop()
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
                raise source_fault(error, self._prefix + relative) from error
        return Listing(self._paths, self._stamps)

    def _folder(self, relative: bytes, rules: IgnoreRules | None, descriptor: int) -> bool:
        """Take in one folder's entries. False where it holds nothing but what is ignored."""
        start = len(self._paths)
        folders, others = list_folder(descriptor, relative, self._paths, self._stamps)
        self._look_at([*self._paths[start:], *[relative + name for name in (*folders, *others)]])
        if self._ignore:
            self._forget_parts(start, relative)
        if rules is not None:
            self._keep(start, partial(_is_seen, rules, relative))
        occupied = len(self._paths) > start
        if self._chosen is not None:
            self._keep(start, self._chosen)
        for name in others:
            occupied = self._other(relative + name, name, rules, descriptor) or occupied
        # The first of them goes onto the stack last: so folders come in the order of their names.
        for name in reversed(folders):
            occupied = self._below(relative + name, name, rules) or occupied
        return occupied

    def _look_at(self, paths: list[bytes]) -> None:
        if max(map(len, paths), default=0) > PATH_BYTES_MAX:
            self.is_suspect = True
        try:
            b"\0".join(paths).decode()
        except UnicodeDecodeError:
            self.is_suspect = True

    def _forget_parts(self, start: int, relative: bytes) -> None:
        """Leave out what unfinished checkouts wrote. From `start` on the paths are sorted."""
        first = last = bisect_left(self._paths, relative + PART_PREFIX, start)
        while last < len(self._paths) and self._paths[last].startswith(relative + PART_PREFIX):
            last += 1
        del self._paths[first:last], self._stamps[first:last]

    def _keep(self, start: int, chosen: Callable[[bytes], bool]) -> None:
        """Keep only the chosen ones of the files from `start` on."""
        kept = [
            (path, stamp)
            for path, stamp in zip(self._paths[start:], self._stamps[start:], strict=True)
            if chosen(path)
        ]
        self._paths[start:] = [path for path, _ in kept]
        self._stamps[start:] = [stamp for _, stamp in kept]

    def _other(self, path: bytes, name: bytes, rules: IgnoreRules | None, descriptor: int) -> bool:
        """Take in what is neither folder nor regular file. False where it counts as not being there."""
        if (self._ignore and name.startswith(PART_PREFIX)) or (rules is not None and rules.ignores(path)):
            return False
        try:
            found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            if stat.S_ISREG(found.st_mode):  # by now
                stamp = regular_stamp(found)
            elif stat.S_ISLNK(found.st_mode):
                if name == REPOSITORY_FOLDER:
                    return False
                # Some file systems give another size for a link than its target has.
                size = len(os.readlink(name, dir_fd=descriptor))
                stamp = pack_stamp(SYMLINK, size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
            elif self._ignore and (self._chosen is None or self._chosen(path)):
                raise refuse_special(self._prefix + path, found.st_mode)
            else:
                stamp = pack_stamp(SPECIAL, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
        except FileNotFoundError:
            return False
        if self._chosen is None or self._chosen(path):
            self._paths.append(path)
            self._stamps.append(stamp)
        return True

    def _below(self, path: bytes, name: bytes, rules: IgnoreRules | None) -> bool:
        """Put a subfolder on the list. False where it counts as not being there."""
        if name == REPOSITORY_FOLDER or holds_repository(self._prefix + path):
            return False
        if rules is not None and rules.ignores(path + b"/"):
            return False
        if self._chosen is None or not self._chosen.excludes_all_below(path):
            self._folders.append((path + b"/", rules))
        return True

    def _empty_folder(self, relative: bytes, descriptor: int) -> None:
        if self._chosen is not None and not self._chosen(relative):
            return
        found = os.stat(descriptor)
        self._paths.append(relative[:-1])
        stamp = pack_stamp(EMPTY_FOLDER, 0, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
        self._stamps.append(stamp)

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


def _is_seen(rules: IgnoreRules, relative: bytes, path: bytes) -> bool:
    """Whether rules let a file of the folder through; a folder's rules themselves are part of the data."""
    return path == relative + IGNORE_FILE or not rules.ignores(path)


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
