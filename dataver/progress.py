"""How long work tells its watcher what is done. The command line draws it; libraries may ignore it."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """A watcher of one piece of work at a time. Calls come from one thread at a time."""

    def begin(self, what: str, files: int | None = None, size_bytes: int | None = None) -> None:
        """A piece of work starts; totals are None where they are not known."""

    def advance(self, files: int = 0, size_bytes: int = 0) -> None:
        """So many more files and bytes are done."""

    def end(self) -> None:
        """The piece of work is over, also after an error."""


class Silent:
    """A watcher that watches nothing."""

    def begin(self, what: str, files: int | None = None, size_bytes: int | None = None) -> None:
        """Nothing to show."""

    def advance(self, files: int = 0, size_bytes: int = 0) -> None:
        """Nothing to show."""

    def end(self) -> None:
        """Nothing to show."""
