"""`.dataverignore`: what a folder wants left out, in git's syntax.

Rules are asked once for each entry on a walk from the top that does not enter what is ignored, so
that a rule can bring a file back only where its folder is not ignored. As in git, names are bytes
here: `?` and a set match one byte, and the last rule that matches decides.
"""

from __future__ import annotations

import re
from itertools import groupby
from operator import attrgetter
from typing import Self

from dataver.globs import translate
from dataver.values import NamedTuple

__all__ = ["IgnoreRules"]

_WILDCARD = re.compile(r"[*?\[\\]")


class IgnoreRules:
    """The rules that hold in one folder: its own ignore file's, then those from above. Immutable."""

    __slots__ = ("_above", "_groups", "_prefix_bytes")

    def __init__(self, data: bytes, folder: bytes, above: Self | None) -> None:
        """Read an ignore file. `folder` is its folder's path: empty, or ending with `/`.

        As in git, a line that is no pattern is passed over.
        """
        self._groups = _groups(data)
        self._prefix_bytes = len(folder)
        self._above = above

    def ignores(self, path: bytes) -> bool:
        """Whether an entry, whose folder is not ignored, is left out. A folder's path ends with `/`."""
        is_folder = path.endswith(b"/")
        path = path.removesuffix(b"/")
        name = path[path.rfind(b"/") + 1 :]
        rules: IgnoreRules | None = self
        while rules is not None:
            relative = path[rules._prefix_bytes :]
            for group in rules._groups:
                names, paths = group.for_folders if is_folder else group.for_files
                if (names and names.fullmatch(name)) or (paths and paths.fullmatch(relative)):
                    return group.ignored
            rules = rules._above
        return False


_Patterns = tuple["re.Pattern[bytes] | None", "re.Pattern[bytes] | None"]


class _Group(NamedTuple):
    """A run of rules with one verdict: an expression for the name alone, one for the whole path."""

    ignored: bool
    for_files: _Patterns
    for_folders: _Patterns


class _Rule(NamedTuple):
    ignored: bool
    folders_only: bool
    by_name: bool
    expression: str


def _groups(data: bytes) -> list[_Group]:
    """The rules of a file, the last first. Neighbours that say the same are one group."""
    # Latin-1 makes each byte one character, so that what works on text works on bytes.
    lines = data.removeprefix(b"\xef\xbb\xbf").decode("latin-1").split("\n")
    rules = [rule for line in reversed(lines) if (rule := _rule(line))]
    groups = []
    for ignored, run in groupby(rules, key=attrgetter("ignored")):
        of_folders = list(run)
        of_files = [rule for rule in of_folders if not rule.folders_only]
        groups.append(_Group(ignored, _patterns(of_files), _patterns(of_folders)))
    return groups


def _patterns(rules: list[_Rule]) -> _Patterns:
    return (
        _any_of([rule.expression for rule in rules if rule.by_name]),
        _any_of([rule.expression for rule in rules if not rule.by_name]),
    )


def _any_of(expressions: list[str]) -> re.Pattern[bytes] | None:
    return re.compile("|".join(expressions).encode("latin-1"), re.DOTALL) if expressions else None


def _rule(line: str) -> _Rule | None:
    """What a line says, `None` where it says nothing."""
    if line.startswith("#"):
        return None
    line = _without_spaces_at_end(line.removesuffix("\r").partition("\0")[0])
    ignored = not line.startswith("!")
    body = line if ignored else line[1:]
    folders_only = body.endswith("/")
    body = body.removesuffix("/")
    by_name = "/" not in body
    body = body.removeprefix("/")
    # git compares what comes before the first wildcard on its own, and the rest as a new pattern:
    # a `**` right after it counts as one at the start.
    wildcard = _WILDCARD.search(body)
    literal_end = 0 if by_name else wildcard.start() if wildcard else len(body)
    expression = translate(body[literal_end:])
    if not body or expression is None:
        return None
    return _Rule(ignored, folders_only, by_name, re.escape(body[:literal_end]) + expression)


def _without_spaces_at_end(line: str) -> str:
    """The line without its spaces at the end, save those that a backslash keeps."""
    kept = line.rstrip(" ")
    backslashes = len(kept) - len(kept.rstrip("\\"))
    return kept + " " if backslashes % 2 and len(kept) < len(line) else kept
