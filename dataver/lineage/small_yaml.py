"""The YAML that tools write into small files, as far as one block of it goes: for where PyYAML is missing.

Mappings and lists in block style, texts plain or quoted on one line, numbers, true, false, null, `[]` and
`{}`. Whatever else stands in the block is refused, never guessed.
"""

from __future__ import annotations

import json
import re
from typing import Any

from dataver.errors import BadInputError

__all__ = ["parse_block"]

DEPTH_MAX = 32
_ENTRY = re.compile(r"""("(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^\s'"\[\]{}#&*!|>%@`,?:-][^:#]*?):(?:\s+(.*))?""")
_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"-?[0-9]+\.[0-9]*([eE][-+]?[0-9]+)?")
_WORDS: dict[str, Any] = {"null": None, "~": None, "": None, "true": True, "false": False, "[]": [], "{}": {}}

Line = tuple[int, str]


def parse_block(text: str, key: str, what: str) -> Any:
    """The value of a top-level key, None where it is not there. `BadInputError` for what is refused."""
    lines: list[Line] = []
    inside = False
    for line in text.splitlines():
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        indent = len(line) - len(line.lstrip(" "))
        if not indent and not (inside and stripped.startswith("- ")):
            inside = line.startswith(f"{key}:")
            if not inside:
                continue
        if inside:
            lines.append((indent, stripped))
    if not lines:
        return None
    return _Parser(lines, what).value(0, 0)[key]


class _Parser:
    def __init__(self, lines: list[Line], what: str) -> None:
        self._lines = lines
        self._at = 0
        self._what = what

    def value(self, indent: int, depth: int) -> Any:
        """The mapping or list whose lines begin at `indent`."""
        if depth > DEPTH_MAX:
            raise self._refused("it is nested too deep")
        return self._list(indent, depth) if self._is_item(indent) else self._mapping(indent, depth)

    def _is_item(self, indent: int) -> bool:
        at, text = self._lines[self._at]
        return at == indent and (text == "-" or text.startswith("- "))

    def _mapping(self, indent: int, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while self._at < len(self._lines) and self._lines[self._at][0] == indent:
            if self._is_item(indent):
                break
            match = _ENTRY.fullmatch(self._lines[self._at][1])
            if match is None:
                raise self._refused(f"{self._lines[self._at][1][:60]!a} is no simple entry")
            name = str(self._scalar(match[1]))
            if name in found:
                raise self._refused(f"{name[:60]!a} is there twice")
            self._at += 1
            found[name] = self._scalar(match[2]) if match[2] else self._below(indent, depth)
        if self._at < len(self._lines) and self._lines[self._at][0] > indent:
            raise self._refused("a line is indented as none before it")
        return found

    def _below(self, indent: int, depth: int) -> Any:
        """What stands under an entry with nothing behind it: deeper, or a list at the same depth."""
        if self._at == len(self._lines):
            return None
        next_indent = self._lines[self._at][0]
        if next_indent > indent or self._is_item(indent):
            return self.value(next_indent, depth + 1)
        return None

    def _list(self, indent: int, depth: int) -> list[Any]:
        found: list[Any] = []
        while self._at < len(self._lines) and self._is_item(indent):
            text = self._lines[self._at][1][1:]
            rest = text.lstrip()
            if not rest:
                self._at += 1
                found.append(self._below(indent, depth))
            elif _ENTRY.fullmatch(rest) and not rest.startswith(("'", '"')):
                # The first entry of a mapping: it stands where the text does.
                inner = indent + 1 + len(text) - len(rest)
                self._lines[self._at] = inner, rest
                found.append(self.value(inner, depth + 1))
            else:
                found.append(self._scalar(rest))
                self._at += 1
        return found

    def _scalar(self, text: str) -> Any:
        if text in _WORDS:
            value = _WORDS[text]
            return type(value)() if isinstance(value, list | dict) else value
        if text.startswith("'") and text.endswith("'") and len(text) > 1:
            inner = text[1:-1]
            if "'" in inner.replace("''", ""):
                raise self._refused(f"{text[:60]!a} is quoted oddly")
            return inner.replace("''", "'")
        if text.startswith('"'):
            try:
                return json.loads(text)
            except ValueError:
                raise self._refused(f"{text[:60]!a} is quoted oddly") from None
        if _INTEGER.fullmatch(text):
            return int(text)
        if _FLOAT.fullmatch(text):
            return float(text)
        if text == "-" or text.startswith(("- ", "? ", ": ")):
            raise self._refused(f"{text[:60]!a} is no simple value")
        if text[0] in "[]{}&*!|>%@`,?'" or ": " in text or " #" in text or text.endswith(":"):
            raise self._refused(f"{text[:60]!a} is no simple value")
        return text

    def _refused(self, reason: str) -> BadInputError:
        return BadInputError(f"{self._what} cannot be read without PyYAML: {reason}; `pip install pyyaml`")
