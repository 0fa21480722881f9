"""From a flat listing of keys to what is to be committed: the rules of a walk, without the walk."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from dataver.errors import BadInputError
from dataver.paths import REPOSITORY_FOLDER, safe_spelling
from dataver.source.base import IGNORE_FILE

if TYPE_CHECKING:
    from dataver.source.ignore import IgnoreRules

__all__ = ["Chosen", "choose"]

GENESIS = b"log/00000000000000000000"

# The files to commit, and the empty folders without a `/` at the end, both in no order.
Chosen = tuple[list[bytes], list[bytes]]


def choose(
    files: Collection[bytes],
    folders: Collection[bytes],
    read_ignore_file: Callable[[bytes], bytes] | None,
) -> Chosen:
    """Leave out what a walk over the same files on disk would leave out, save for globs.

    `folders` are those the listing names; the folders of files need not be among them.
    `read_ignore_file` gives the content of an ignore file; `None`: such files are not obeyed.
    Raises `BadInputError` where a path is a file and a folder, as object stores allow.
    """
    return _Chooser(files, read_ignore_file).run(folders)


class _Chooser:
    def __init__(self, files: Collection[bytes], read_ignore_file: Callable[[bytes], bytes] | None) -> None:
        self._files = files if isinstance(files, set | dict) else set(files)
        self._read = read_ignore_file
        # Folder, ending with `/`: the rules in it; `_SKIPPED` where nothing of it counts.
        self._seen: dict[bytes, IgnoreRules | _Skipped | None] = {b"": self._rules(b"", None)}
        self._occupied: set[bytes] = set()

    def run(self, folders: Collection[bytes]) -> Chosen:
        chosen = []
        for path in self._files:
            folder = path[: path.rfind(b"/") + 1]
            rules = self._enter(folder)
            if isinstance(rules, _Skipped):
                continue
            name = path[len(folder) :]
            if rules is None or name == IGNORE_FILE or not rules.ignores(path):
                self._occupied.add(folder)
                chosen.append(path)
        for folder in folders:
            self._enter(folder + b"/")
        empty = [
            folder[:-1]
            for folder, rules in self._seen.items()
            if folder and folder not in self._occupied and not isinstance(rules, _Skipped)
        ]
        return chosen, empty

    def _enter(self, folder: bytes) -> IgnoreRules | _Skipped | None:
        """The rules inside a folder; and its parent is no longer empty."""
        try:
            return self._seen[folder]
        except KeyError:
            pass
        missing = [folder]
        while (above := folder[: folder.rfind(b"/", 0, -1) + 1]) not in self._seen:
            missing.append(folder := above)
        rules = self._seen[above]
        for folder in reversed(missing):
            parent = folder[: folder.rfind(b"/", 0, -1) + 1]
            rules = self._below(folder, folder[len(parent) : -1], rules)
            self._seen[folder] = rules
            if not isinstance(rules, _Skipped):
                self._occupied.add(parent)
        return rules

    def _below(
        self, folder: bytes, name: bytes, rules: IgnoreRules | _Skipped | None
    ) -> IgnoreRules | _Skipped | None:
        if isinstance(rules, _Skipped) or name == REPOSITORY_FOLDER or folder + GENESIS in self._files:
            return _SKIPPED
        if rules is not None and rules.ignores(folder):
            return _SKIPPED
        if folder[:-1] in self._files:
            raise BadInputError(
                f"{safe_spelling(folder[:-1])} is both a file and a folder, which no version can hold; "
                "rename one, or leave it out with .dataverignore"
            )
        return self._rules(folder, rules)

    def _rules(self, folder: bytes, above: IgnoreRules | None) -> IgnoreRules | None:
        path = folder + IGNORE_FILE
        if self._read is None or path not in self._files:
            return above
        from dataver.source.ignore import IgnoreRules

        return IgnoreRules(self._read(path), folder, above)


class _Skipped:
    __slots__ = ()


_SKIPPED = _Skipped()
