"""How work in progress looks on standard error: bars on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TextIO

from dataver.cli.output import size_text

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn, TaskID

# Work that is over sooner shows nothing, and rich is not even imported.
DELAY_S = 0.3
BAR_INTERVAL_S = 0.1
LINE_INTERVAL_S = 2.0


class Display:
    """Counts what is done and draws it at intervals, since `advance` is called once a file.

    A piece of work inside another is counted by the outer one's caller, not here: `begin` while one
    is under way ends that one. `end` may be called when nothing is under way.
    """

    interval_s = BAR_INTERVAL_S

    def __init__(self, delay_s: float = DELAY_S) -> None:
        self._delay_s = delay_s
        self._what: str | None = None
        self._noun = ""
        self._files = 0
        self._bytes = 0
        self._files_total: int | None = None
        self._bytes_total: int | None = None
        self._started_s = 0.0
        self._next_s = 0.0

    def begin(self, what: str, files: int | None = None, size_bytes: int | None = None) -> None:
        """A piece of work starts; totals are None where they are not known."""
        self.end()
        self._what = what
        # Files are counted, unless the work names something else: "verifying packs".
        self._noun = "" if " " in what else " files"
        self._files = self._bytes = 0
        self._files_total = files
        self._bytes_total = size_bytes
        self._started_s = time.monotonic()
        self._next_s = self._started_s + self._delay_s

    def advance(self, files: int = 0, size_bytes: int = 0) -> None:
        """So many more files and bytes are done."""
        self._files += files
        self._bytes += size_bytes
        now_s = time.monotonic()
        if now_s >= self._next_s and self._what is not None:
            self._next_s = now_s + self.interval_s
            self.draw(self._what)

    def end(self) -> None:
        """The piece of work is over, also after an error."""
        if self._what is not None:
            what, self._what = self._what, None
            self.close(what)

    def draw(self, what: str) -> None:
        """Show how far it is."""
        raise NotImplementedError

    def close(self, what: str) -> None:
        """Take the display away."""
        raise NotImplementedError

    def files_text(self) -> str:
        """`1,200/50,000 files`; the total only where it is known, nothing where none is counted."""
        if self._files_total is None:
            return f"{self._files:,}{self._noun}" if self._files else ""
        return f"{self._files:,}/{self._files_total:,}{self._noun}"

    def bytes_text(self) -> str:
        """`12.3 MiB/40 MiB`; the total only where it is known, nothing where none is counted."""
        if self._bytes_total is None:
            return size_text(self._bytes) if self._bytes else ""
        return f"{size_text(self._bytes)}/{size_text(self._bytes_total)}"

    def rate_text(self) -> str:
        """Bytes a second since the start, files a second where no bytes are counted."""
        elapsed_s = max(time.monotonic() - self._started_s, 1e-6)
        if self._bytes:
            return f"{size_text(int(self._bytes / elapsed_s))}/s"
        return f"{self._files / elapsed_s:,.0f}{self._noun}/s" if self._files else ""

    def done(self) -> tuple[float, float | None]:
        """How much is done, and of how much: bytes where their total is known, else files."""
        if self._bytes_total:
            return self._bytes, self._bytes_total
        return self._files, self._files_total


class Lines(Display):
    """One plain line every few seconds and one at the end, for logs."""

    interval_s = LINE_INTERVAL_S

    def __init__(self, stream: TextIO) -> None:
        super().__init__(LINE_INTERVAL_S)
        self._stream = stream

    def draw(self, what: str) -> None:
        """Write how far it is."""
        done, total = self.done()
        left = ""
        if total and done:
            elapsed_s = time.monotonic() - self._started_s
            left = f"{elapsed_s / done * max(total - done, 0):,.0f} s left"
        self._write(what, left)

    def close(self, what: str) -> None:
        """Write what was done in all."""
        self._write(what, f"done in {time.monotonic() - self._started_s:,.1f} s")

    def _write(self, what: str, last: str) -> None:
        parts = [self.files_text(), self.bytes_text(), self.rate_text(), last]
        self._stream.write(f"{what}: {', '.join(part for part in parts if part)}\n")
        self._stream.flush()


class Bars(Display):
    """A bar with files, bytes, rate and time left, which goes away at the end."""

    def __init__(self) -> None:
        super().__init__()
        self._rich: Progress | None = None
        self._task: TaskID | None = None

    def draw(self, what: str) -> None:
        """Move the bar; the first time, put it there."""
        done, total = self.done()
        parts = (self.files_text(), self.bytes_text(), self.rate_text())
        detail = "  ".join(part for part in parts if part)
        if self._rich is None or self._task is None:
            self._rich = new_bars()
            self._task = self._rich.add_task(what, total=total, completed=int(done), detail=detail)
            self._rich.start()
        else:
            self._rich.update(self._task, completed=done, detail=detail)

    def close(self, what: str) -> None:  # noqa: ARG002
        """Take the bar away; the result is printed by the verb."""
        if self._rich is not None:
            self._rich.stop()
            self._rich = self._task = None


def new_bars() -> Progress:
    """Rich's display on standard error, with our columns."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns: list[ProgressColumn] = [
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[detail]}", markup=False),
        TimeRemainingColumn(compact=True),
    ]
    return Progress(*columns, console=Console(stderr=True), transient=True, refresh_per_second=5)
