"""A part of what a deep verification reads in full, by names alone."""

from __future__ import annotations

import re

from dataver.errors import BadInputError
from dataver.values import dataclass

NAME_BYTES = 8
_TEXT = re.compile(r"([0-9]{1,9})/([0-9]{1,9})")


@dataclass(frozen=True, slots=True)
class Part:
    """Part `number` of `count`, from 1.

    A name is always in the same part, whatever else is there: `count` runs, one for each number, have
    read all that was there when the first began.
    """

    number: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise BadInputError(f"part {self} cannot be: K/N is expected, with K from 1 to N")

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @classmethod
    def parse(cls, text: str) -> Part:
        """The part that `K/N` means. `BadInputError` where it means none."""
        found = _TEXT.fullmatch(text)
        if found is None:
            raise BadInputError(f"{text!r} is no part: K/N is expected, with K from 1 to N, such as 1/7")
        return cls(int(found[1]), int(found[2]))

    def has(self, name: bytes) -> bool:
        """Whether what has this digest for a name is in the part."""
        return int.from_bytes(name[:NAME_BYTES], "big") % self.count == self.number - 1


ALL = Part(1, 1)
