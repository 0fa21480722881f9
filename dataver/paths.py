"""Paths inside a version: relative, separated by `/`, raw UTF-8 bytes that are never normalised.

What a path may be is checked here and nowhere else: on the way in (sources), on the way out
(checkout), and whenever a manifest of a repository that nobody vouches for is read.

The length of one part is not limited: file systems disagree (255 bytes, 255 UTF-16 units, 1,024
bytes for an object store's key), and the one that is written to says so itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Self

from dataver.errors import BadInputError

__all__ = [
    "PATH_BYTES_MAX",
    "REPOSITORY_FOLDER",
    "RelativePath",
    "at_place",
    "check_paths",
    "host_problem",
    "safe_spelling",
]

PATH_BYTES_MAX = 65_535
REPOSITORY_FOLDER = b".dataver"

_SPELLING_CHARACTERS_MAX = 400
_SHORT_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\"}

# In paths joined by NUL with a NUL at both ends: an empty part, `.`, `..`, or a folder `.dataver`.
_BAD_PART = re.compile(rb"[/\0](?:\.{0,2}(?=[/\0])|\.dataver/)")

# Texts, which `re` compiles where they are needed.
_WINDOWS_CHARACTERS = r'[<>:"|?*\\\x00-\x1f]'
_WINDOWS_DEVICES = (
    r"(?is)(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9\u00b9\u00b2\u00b3])[ ]*(?:\..*)?"
)


class RelativePath(bytes):
    """A path that passed the rules of this module. Sorts, hashes and packs as the bytes it is."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: bytes | str) -> Self:
        """Check a path. Anything but a relative UTF-8 path of `/`-separated names is a `BadInputError`.

        Refused: nothing at all, a leading or trailing `/`, empty parts, `.` and `..`, NUL, bytes
        that are not UTF-8, a folder `.dataver` (a repository never is part of a version: checked
        out it would become the repository of the folder), more than `PATH_BYTES_MAX` bytes.
        """
        raw = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else bytes(value)
        problem = _problem(raw)
        if problem:
            raise BadInputError(f"'{safe_spelling(raw)}' cannot be a path inside a version: {problem}")
        return cls(raw)

    def __str__(self) -> str:
        return self.decode()

    def __repr__(self) -> str:
        return f"RelativePath({bytes(self)!r})"


def check_paths(paths: Sequence[bytes]) -> None:
    """Check many paths by the rules of `RelativePath.parse`, at the cost of a scan of their bytes."""
    if not paths:
        return
    joined = b"\0".join([b"", *paths, b""])
    parts = joined.replace(b"\0", b"/")
    # What a bad part begins with is searched for far quicker than all of it, and is rare.
    is_suspect = b"//" in parts or b"/." in parts
    if (
        joined.count(b"\0") != len(paths) + 1
        or (is_suspect and _BAD_PART.search(joined))
        or max(map(len, paths)) > PATH_BYTES_MAX
        or not _is_utf8(joined)
    ):
        for path in paths:
            RelativePath.parse(path)
        raise AssertionError("the check of many paths is stricter than that of one")


def _problem(path: bytes) -> str:
    if not path:
        return "it is empty"
    if len(path) > PATH_BYTES_MAX:
        return f"it has {len(path)} bytes, and {PATH_BYTES_MAX} are the most"
    if b"\0" in path:
        return "it holds a NUL byte"
    if path.startswith(b"/"):
        return "it is absolute"
    for part in (parts := path.split(b"/")):
        if not part:
            return "it has an empty part"
        if part in (b".", b".."):
            return f"it has a part {part.decode()!r}"
    if REPOSITORY_FOLDER in parts[:-1]:
        return "a folder '.dataver' holds a repository and is never part of a version"
    if not _is_utf8(path):
        return "it is not UTF-8"
    return ""


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def host_problem(path: bytes, system: str) -> str | None:
    """Why a file system of `system` (`os.name`, or `sys.platform` for macOS) cannot hold this path.

    `None` where nothing stands against it. `path` is one that passed `RelativePath.parse`. Covers
    what would make a write end elsewhere than it says: drives, devices, names that Windows trims,
    and `.dataver` in letters that a case-folding file system takes for the same. Not covered: two
    paths of one version that such a file system takes for one; only the writer sees both.
    """
    windows = system in ("nt", "win32")
    if not windows and system != "darwin":
        return None
    for part in path.decode().split("/"):
        # HFS+ ignores format characters when it compares names.
        folded = "".join(character for character in part if character.isprintable()).casefold()
        if folded.rstrip(". ") == ".dataver" and part != ".dataver":
            return f"'{safe_spelling(part)}' reads as '.dataver' there"
        if not windows:
            continue
        if re.search(_WINDOWS_CHARACTERS, part):
            return f"'{safe_spelling(part)}' has a character that Windows gives another meaning"
        if part[-1] in ". ":
            return f"'{safe_spelling(part)}' ends with a dot or a space, which Windows drops"
        if re.fullmatch(_WINDOWS_DEVICES, part):
            return f"'{safe_spelling(part)}' is a device on Windows"
    return None


def safe_spelling(path: bytes | str) -> str:
    """A path as one line of printable text, for messages: never for opening the file again.

    What does not print (control characters, line breaks, text direction marks, bytes that are not
    UTF-8) shows as an escape of Python's, a backslash as two. Very long paths lose their middle.
    """
    text = path.decode("utf-8", "surrogateescape") if isinstance(path, bytes) else path
    if len(text) > _SPELLING_CHARACTERS_MAX:
        half = _SPELLING_CHARACTERS_MAX // 2
        return f"{safe_spelling(text[:half])}…{safe_spelling(text[-half:])}"
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(map(_escaped, text))


def at_place(path: str) -> str:
    """` at 'PATH'` for messages; nothing for the top folder."""
    return f" at {safe_spelling(path)!r}" if path.strip("/") else ""


def _escaped(character: str) -> str:
    if character in _SHORT_ESCAPES:
        return _SHORT_ESCAPES[character]
    if character.isprintable():
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8, as `surrogateescape` decodes it
        code -= 0xDC00
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
