"""`.dataverignore`: what a folder wants left out, in git's syntax.

Rules are asked once for each entry on a walk from the top that does not enter what is ignored, so
that a rule can bring a file back only where its folder is not ignored, as with git.
"""

from __future__ import annotations

from typing import Self

from pathspec import GitIgnoreSpec

__all__ = ["IgnoreRules"]


class IgnoreRules:
    """The rules that hold in one folder: its own ignore file's, then those from above."""

    __slots__ = ("_above", "_prefix_bytes", "_spec")

    def __init__(self, spec: GitIgnoreSpec, prefix_bytes: int, above: Self | None) -> None:
        self._spec = spec
        self._prefix_bytes = prefix_bytes
        self._above = above

    @classmethod
    def parse(cls, data: bytes, folder: bytes, above: Self | None) -> Self:
        text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
        lines = [line.removesuffix("\r") for line in text.split("\n")]
        return cls(GitIgnoreSpec.from_lines(lines), len(folder), above)

    def ignores(self, path: bytes) -> bool:
        """Whether the entry is left out. A folder's path ends with `/`."""
        rules: IgnoreRules | None = self
        while rules is not None:
            relative = path[rules._prefix_bytes :].decode("utf-8", "surrogateescape")
            verdict = rules._spec.check_file(relative).include
            if verdict is not None:
                return verdict
            rules = rules._above
        return False
