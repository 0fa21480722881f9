"""The walk over a local folder: names and stamps of what is to be committed, as fast as Python lists them."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

from dataver.errors import DataverError
from dataver.paths import REPOSITORY_FOLDER
from dataver.source.base import EMPTY_FOLDER, FILE, IGNORE_FILE, PART_PREFIX, SPECIAL, SYMLINK, SourceFile
from dataver.source.faults import refuse_special, source_fault
from dataver.source.reading import CALL_PATH_BYTES_MAX, read_whole, step_by_step

if TYPE_CHECKING:
    from dataver.globs import PathFilter
    from dataver.source.ignore import IgnoreRules

__all__ = ["Walk", "holds_repository"]

_TYPE_BITS = 0o170000
_GENESIS = b"/log/00000000000000000000"

# A named tuple's own constructor costs twice as much, once a file.
_new_file: Callable[[type[SourceFile], tuple[object, ...]], SourceFile] = tuple.__new__


def holds_repository(folder: bytes) -> bool:
    """Whether a repository lies in this very folder."""
    return os.path.lexists(folder + _GENESIS)


class Walk:
    """One walk over the folder `prefix` (absolute, ending with `/`)."""

    def __init__(self, prefix: bytes, chosen: PathFilter | None, ignore: bool) -> None:
        self._prefix = prefix
        self._chosen = chosen
        self._ignore = ignore
        self._found: list[SourceFile] = []
        self._folders: list[tuple[bytes, IgnoreRules | None]] = []

    def run(self) -> list[SourceFile]:
        """All entries, in no order."""
        self._folders.append((b"", None))
        while self._folders:
            relative, rules = self._folders.pop()
            try:
                with _opened(self._prefix + relative) as (place, descriptor):
                    if self._ignore:
                        rules = self._rules_in(relative, rules, descriptor)
                    with os.scandir(place) as entries:
                        occupied = self._folder(relative, entries, rules, descriptor)
                    if not occupied and relative:
                        self._empty_folder(relative, descriptor)
            except DataverError:
                raise
            except (FileNotFoundError, NotADirectoryError) as error:
                if not relative:
                    raise source_fault(error, self._prefix) from error
            except OSError as error:
                raise source_fault(error, self._prefix + relative) from error
        return self._found

    def _folder(
        self,
        relative: bytes,
        entries: Iterator[os.DirEntry[bytes]] | Iterator[os.DirEntry[str]],
        rules: IgnoreRules | None,
        descriptor: int | None,
    ) -> bool:
        """Take in one folder's entries. False where it holds nothing but what is ignored."""
        append = self._found.append
        chosen = self._chosen
        occupied = False
        for entry in entries:
            name = cast("bytes", entry.name) if descriptor is None else os.fsencode(entry.name)
            path = relative + name
            if entry.is_dir(follow_symlinks=False):
                occupied = self._below(path, name, rules) or occupied
                continue
            if rules is not None and name != IGNORE_FILE and rules.ignores(path):
                continue
            if self._ignore and name.startswith(PART_PREFIX):
                continue
            try:
                found = entry.stat(follow_symlinks=False)
                mode = found.st_mode
                size = found.st_size
                kind = FILE
                if mode & _TYPE_BITS != stat.S_IFREG:
                    if stat.S_ISLNK(mode):
                        if name == REPOSITORY_FOLDER:
                            continue
                        kind = SYMLINK
                        # Some file systems give another size for a link than its target has.
                        place = name if descriptor is not None else self._prefix + path
                        size = len(os.readlink(place, dir_fd=descriptor))
                    elif not self._ignore:
                        kind = SPECIAL
                    elif chosen is None or chosen(path):
                        raise refuse_special(self._prefix + path, mode)
            except FileNotFoundError:
                continue
            occupied = True
            if chosen is None or chosen(path):
                append(
                    _new_file(
                        SourceFile,
                        (
                            path,
                            kind,
                            kind == FILE and mode & 0o100 != 0,
                            size,
                            found.st_mtime_ns,
                            found.st_ctime_ns,
                            found.st_ino,
                        ),
                    )
                )
        return occupied

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
        self._found.append(
            SourceFile(
                relative[:-1], EMPTY_FOLDER, False, 0, found.st_mtime_ns, found.st_ctime_ns, found.st_ino
            )
        )

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
    """A folder for `os.scandir`: its path, or where that is too long a descriptor."""
    if len(full) <= CALL_PATH_BYTES_MAX:
        yield full, None
        return
    with step_by_step(full) as (descriptor, _):
        yield descriptor, descriptor
