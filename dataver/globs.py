"""Globs: those of `--include` and `--exclude`, and what ignore files are made of.

`*` and `?` match within a name; `**` between slashes is any number of folders; `[a-z]`, `[!a-z]`
and `[[:alpha:]]` are one character of several; a backslash takes the next character as it is.
Case counts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from dataver.errors import BadInputError

__all__ = ["PathFilter", "path_filter", "translate"]

_POSIX_CLASSES = {
    "alnum": "a-zA-Z0-9",
    "alpha": "a-zA-Z",
    "blank": r" \t",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": r"\x21-\x7e",
    "lower": "a-z",
    "print": r"\x20-\x7e",
    "punct": r"\x21-\x2f\x3a-\x40\x5b-\x60\x7b-\x7e",
    "space": r" \t-\r",
    "upper": "A-Z",
    "xdigit": "a-fA-F0-9",
}


class PathFilter:
    """Whether a path is to be taken. Call it with a path; that of a folder ends with `/`.

    A pattern without `/` matches a name at any depth; one with `/` the whole path from the top,
    with or without a leading `/`. What matches a folder matches everything below it; a trailing
    `/` restricts a pattern to folders.
    """

    __slots__ = ("_exclude", "_include")

    def __init__(self, include: Sequence[str], exclude: Sequence[str]) -> None:
        self._include = _compile(include, "--include")
        self._exclude = _compile(exclude, "--exclude")

    def __call__(self, path: bytes) -> bool:
        text = path.decode("utf-8", "surrogateescape")
        if self._include is not None and not self._include.fullmatch(text):
            return False
        return self._exclude is None or not self._exclude.fullmatch(text)

    def excludes_all_below(self, folder: bytes) -> bool:
        """Whether nothing below this folder can be taken, so that nobody need look there."""
        if self._exclude is None:
            return False
        return self._exclude.fullmatch(folder.decode("utf-8", "surrogateescape") + "/") is not None


def path_filter(include: Sequence[str] = (), exclude: Sequence[str] = ()) -> PathFilter:
    """A filter that takes what matches a pattern of `include` (all, if there is none) and none of `exclude`.

    A pattern that can match nothing is a `BadInputError`: one that is empty, has an empty, `.` or
    `..` part, or a `[` that is never closed.
    """
    return PathFilter(include, exclude)


def _compile(patterns: Sequence[str], option: str) -> re.Pattern[str] | None:
    if isinstance(patterns, str):
        raise BadInputError(f"{option} {patterns!r} is one text; pass a list, as in [{patterns!r}]")
    if not patterns:
        return None
    return re.compile("|".join([_expression(pattern, option) for pattern in patterns]), re.DOTALL)


def _expression(pattern: str, option: str) -> str:
    """One pattern as a regular expression for a whole path."""
    body = pattern.removeprefix("./").rstrip("/")
    anchored = "/" in body
    body = body.removeprefix("/")
    expression = translate(body)
    if expression is None or not body or not {"", ".", ".."}.isdisjoint(body.split("/")):
        raise BadInputError(
            f"{option} {pattern!r} matches no path: patterns start at the top, such as '*.csv' or 'train/**'"
        )
    start = "" if anchored else "(?:.*/)?"
    end = "/.*" if pattern.endswith("/") else "(?:/.*)?"
    return start + expression + end


def translate(pattern: str) -> str | None:
    """A glob as a regular expression, to be matched in full with `re.DOTALL`, as git's wildmatch does.

    `None` for a pattern that can match nothing: a set that is not closed or names an unknown class,
    a lone backslash at the end. Matching never takes longer than the length of the path to the power of two
    or three, whatever the pattern: see `_joined`.
    """
    pieces: list[str] = []
    at, end = 0, len(pattern)
    while at < end:
        character = pattern[at]
        if character == "*":
            piece, at = _stars(pattern, at)
        elif character == "?":
            piece, at = "[^/]", at + 1
        elif character == "[":
            found = _set(pattern, at + 1)
            if found is None:
                return None
            piece, at = found
        elif character == "\\":
            if at + 1 == end:
                return None
            piece, at = re.escape(pattern[at + 1]), at + 2
        else:
            piece, at = re.escape(character), at + 1
        pieces.append(piece)
    return _joined(pieces)


_NAME, _FOLDERS, _ANYTHING = "[^/]*", "(?:[^/]*/)*", ".*"


def _joined(pieces: list[str]) -> str:
    """The pieces of a pattern as one expression that does not try again what cannot help.

    Where a later `**` takes up any number of folders, the first place where what stands before it fits is
    as good as any other; so it is of names and a later `*`, and there is no other place where a `/` follows.
    All these are atomic: lazy, and never gone back into. The last of each stays as it is.
    """
    deep = [at for at, piece in enumerate(pieces) if piece in (_FOLDERS, _ANYTHING)]
    starts = [0, *deep]
    groups = [pieces[start:stop] for start, stop in zip(starts, [*deep, len(pieces)], strict=True)]
    expression = _names(groups[0], is_last=len(groups) == 1)
    for number, (star, *rest) in enumerate(groups[1:], 2):
        is_last = number == len(groups)
        after = _names(rest, is_last=is_last)
        expression += star + after if is_last else f"(?>{star}?{after})"
    return expression


def _names(pieces: list[str], *, is_last: bool) -> str:
    """A stretch without `**`; what follows one that is not the last begins after a `/`."""
    stars = [at for at, piece in enumerate(pieces) if piece == _NAME]
    if not stars:
        return "".join(pieces)
    expression = "".join(pieces[: stars[0]])
    for start, stop in zip(stars, [*stars[1:], len(pieces)], strict=True):
        fixed = pieces[start + 1 : stop]
        is_free = is_last and stop == len(pieces) and "/" not in fixed
        expression += _NAME + "".join(fixed) if is_free else f"(?>{_NAME}?{''.join(fixed)})"
    return expression


def _stars(pattern: str, start: int) -> tuple[str, int]:
    """A run of stars as an expression, and the position after what it stands for."""
    at = start
    while pattern[at : at + 1] == "*":
        at += 1
    follows = pattern[at : at + 1]
    whole_part = start == 0 or pattern[start - 1] == "/"
    if at - start > 1 and whole_part:
        if follows == "/":
            return _FOLDERS, at + 1
        if follows == "" or pattern[at : at + 2] == "\\/":
            return _ANYTHING, at
    return _NAME, at


def _set(pattern: str, start: int) -> tuple[str, int] | None:
    """The set whose `[` stands before `start`, and the position after its `]`. `None` if malformed."""
    at, end = start, len(pattern)
    negated = pattern[at : at + 1] in ("!", "^") and at < end
    at += negated
    items: list[str] = []
    low: str | None = None  # what a range could begin with
    first = at
    while True:
        if at >= end:
            return None
        character = pattern[at]
        if character == "]" and at > first:
            break
        if character == "-" and low is not None and pattern[at + 1 : at + 2] not in ("", "]"):
            at += 2 if pattern[at + 1] == "\\" else 1
            if at >= end:
                return None
            if low <= pattern[at]:
                items.append(f"{re.escape(low)}-{re.escape(pattern[at])}")
            low = None
        elif pattern.startswith("[:", at) and (close := pattern.find("]", at + 2)) != -1:
            name = pattern[at + 2 : close - 1]
            if close - 1 < at + 2 or pattern[close - 1] != ":":
                items.append(r"\[")
                low = "["
            elif name in _POSIX_CLASSES:
                items.append(_POSIX_CLASSES[name])
                low, at = None, close
            else:
                return None
        else:
            at += character == "\\"
            if at >= end:
                return None
            low = pattern[at]
            items.append(re.escape(low))
        at += 1
    inside = "".join(items)
    if not inside:  # only ranges that run backwards
        return ("[^/]" if negated else "(?!)"), at + 1
    return f"(?!/)[{'^' if negated else ''}{inside}]", at + 1
