"""The globs of `--include` and `--exclude`, for what goes into a version and for what comes out.

`*` and `?` match within a name, `**` spans folders, `[a-z]` and `[!a-z]` are one character of
several, a backslash takes the next character as it is. A pattern without `/` matches a name at
any depth; one with `/` the whole path from the top, with or without a leading `/`. What matches a
folder matches everything below it; a trailing `/` restricts a pattern to folders. Case counts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from dataver.errors import BadInputError

__all__ = ["PathFilter", "path_filter"]


class PathFilter:
    """Whether a path is to be taken. Call it with a path; a folder's path ends with `/`."""

    __slots__ = ("_exclude", "_include")

    def __init__(self, include: Sequence[str], exclude: Sequence[str]) -> None:
        self._include = _compile(include, "--include")
        self._exclude = _compile(exclude, "--exclude")

    def __call__(self, path: bytes) -> bool:
        text = path.decode("utf-8", "surrogateescape")
        if self._include is not None and not self._include.match(text):
            return False
        return self._exclude is None or not self._exclude.match(text)

    def excludes_all_below(self, folder: bytes) -> bool:
        """Whether nothing below this folder can be taken, so that nobody need look there."""
        if self._exclude is None:
            return False
        return self._exclude.match(folder.decode("utf-8", "surrogateescape") + "/") is not None


def path_filter(include: Sequence[str] = (), exclude: Sequence[str] = ()) -> PathFilter:
    """A filter that takes what matches a pattern of `include` (all, if there is none) and none of `exclude`.

    A pattern that can match nothing, as it is empty or has an empty, `.` or `..` part, is a
    `BadInputError`.
    """
    return PathFilter(include, exclude)


def _compile(patterns: Sequence[str], option: str) -> re.Pattern[str] | None:
    if not patterns:
        return None
    return re.compile("|".join([_expression(pattern, option) for pattern in patterns]), re.DOTALL)


def _expression(pattern: str, option: str) -> str:
    """One pattern as a regular expression that has to match a whole path."""
    body = pattern.removeprefix("./")
    folders_only = body.endswith("/")
    body = body.rstrip("/")
    anchored = "/" in body
    body = body.lstrip("/")
    parts = body.split("/")
    if not body or "" in parts or ".." in parts or "." in parts:
        raise BadInputError(
            f"{option} {pattern!r} matches no path: patterns start at the top, such as '*.csv' or 'train/**'"
        )
    start = "" if anchored else "(?:.*/)?"
    end = "/.*" if folders_only else "(?:/.*)?"
    return rf"{start}{_translate(parts)}{end}\Z"


def _translate(parts: list[str]) -> str:
    expression = ""
    last = len(parts) - 1
    for index, part in enumerate(parts):
        if part == "**":
            # `**/` is any number of folders, none among them; a final `**` is everything below.
            expression += ".+" if index == last else "(?:.*/)?"
        else:
            expression += translate_name(part, any_depth="**" in part)
            expression += "" if index == last else "/"
    return expression


def translate_name(part: str, *, any_depth: bool = False) -> str:
    """One part of a pattern as a regular expression. With `any_depth`, `**` within it crosses folders."""
    expression = ""
    position = 0
    while position < len(part):
        character = part[position]
        position += 1
        if character == "*":
            if any_depth and part[position : position + 1] == "*":
                expression += ".*"
                position += 1
            else:
                expression += "[^/]*"
        elif character == "?":
            expression += "[^/]"
        elif character == "[":
            found = _character_set(part, position)
            if found is None:
                expression += r"\["
            else:
                expression += found[0]
                position = found[1]
        elif character == "\\" and position < len(part):
            expression += re.escape(part[position])
            position += 1
        else:
            expression += re.escape(character)
    return expression


def _character_set(part: str, start: int) -> tuple[str, int] | None:
    """The expression of a set that opened before `start`, and where it ends. `None` if it never closes."""
    position = start
    negated = part[position : position + 1] in ("!", "^") and position < len(part)
    position += negated
    items: list[str] = []
    first = True
    while position < len(part):
        character = part[position]
        if character == "]" and not first:
            inside = "".join(items)
            if not inside:  # only ranges that run backwards: no character matches
                return ("[^/]" if negated else "(?!)"), position + 1
            return f"(?!/)[{'^' if negated else ''}{inside}]", position + 1
        first = False
        low, position = _set_member(part, position)
        if part[position : position + 1] == "-" and part[position + 1 : position + 2] not in ("", "]"):
            high, position = _set_member(part, position + 1)
            if low <= high:
                items.append(f"{re.escape(low)}-{re.escape(high)}")
        else:
            items.append(re.escape(low))
    return None


def _set_member(part: str, position: int) -> tuple[str, int]:
    if part[position] == "\\" and position + 1 < len(part):
        return part[position + 1], position + 2
    return part[position], position + 1
