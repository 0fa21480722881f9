"""How the program speaks: one JSON document, or aligned lines for people; notes and warnings beside them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from dataver.paths import safe_spelling

if TYPE_CHECKING:
    from dataver.results import ChangeCounts, Changes

SHORT_ID_DIGITS = 8
LINES_A_WRITE = 1000


def safe(text: str) -> str:
    """Free text as one line that a terminal prints as it stands; what does not print is escaped."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else safe_spelling(character) for character in text)


def path_text(path: str) -> str:
    """A path in its safe spelling, however long it is: unlike in a message, all of it is wanted."""
    if path.isprintable() and "\\" not in path:
        return path
    return "/".join(map(safe_spelling, path.split("/")))


def write_json(document: dict[str, Any]) -> None:
    """Print the one document: ASCII, so that neither locale nor terminal can spoil it."""
    indent = 2 if sys.stdout is not None and sys.stdout.isatty() else None
    click.echo(json.dumps(document, indent=indent))


def write_lines(lines: Iterable[str]) -> None:
    """Print lines, many to a write: a listing may have millions."""
    iterator = iter(lines)
    while block := list(islice(iterator, LINES_A_WRITE)):
        click.echo("\n".join(block))


def warn(text: str) -> None:
    """Tell people something on standard error that is no failure."""
    click.echo(click.style("warning:", fg="yellow", bold=True) + f" {safe(text)}", err=True)


def note(text: str) -> None:
    """Tell people something on standard error that is nothing to worry about."""
    click.echo(dim("note:") + f" {safe(text)}", err=True)


def write_file(path: str, data: bytes) -> None:
    """Write a file that was asked for beside the output: readers see all of it, or what was there before."""
    from dataver.replacing import replacing

    place = os.path.realpath(path)
    if os.path.exists(place) and not os.path.isfile(place) and not os.path.isdir(place):
        with open(place, "wb") as device:
            device.write(data)
        return
    with replacing(path) as file:
        file.write(data)


def line_width() -> int:
    """How many places a line has: `COLUMNS`, else the terminal's; much where the output is none."""
    import shutil

    return max(20, shutil.get_terminal_size((200, 24)).columns)


def wrapped(text: str, room: int) -> Iterator[str]:
    """A line, or several that take no more than `room` places; all but the first are indented."""
    if width(text) <= room:
        yield text
        return
    line = ""
    for word in text.split(" "):
        longer = f"{line} {word}" if line.strip() else line + word
        if width(longer) > room and line.strip():
            yield line.rstrip()
            longer = f"    {word}"
        while width(longer) > room and longer.isprintable():
            stop = max(5, next(n for n in range(1, len(longer) + 1) if width(longer[:n]) > room) - 1)
            yield longer[:stop]
            longer = f"    {longer[stop:]}"
        line = longer
    if line.strip():
        yield line.rstrip()


def size_text(size_bytes: int) -> str:
    """`512 B`, `12.3 MiB`, `40 MiB`: binary units, one digit after the point unless it is 0."""
    if size_bytes < 1024:
        return f"{size_bytes} B"
    size = float(size_bytes)
    units = iter(("KiB", "MiB", "GiB", "TiB", "PiB", "EiB"))
    unit = "B"
    # 1023.95 would print as 1024.0, which the next unit says better.
    while size >= 1023.95:
        size /= 1024
        unit = next(units)
    return f"{size:.1f}".removesuffix(".0") + f" {unit}"


def amount(count: int, noun: str) -> str:
    """`1 file`, `1,200 files`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def counts_text(counts: ChangeCounts) -> str:
    """`3 added, 1 modified`; what is 0 is left out."""
    named = (
        (counts.added, "added"),
        (counts.modified, "modified"),
        (counts.deleted, "deleted"),
        (counts.renamed, "renamed"),
    )
    return ", ".join(f"{count:,} {what}" for count, what in named if count) or "nothing changed"


def short_id(digest: str | None) -> str:
    """The first digits of an id, enough to name it on the command line."""
    return (digest or "")[:SHORT_ID_DIGITS]


def elided_id(digest: str | None) -> str:
    """The short id with the mark that more digits follow."""
    return f"{short_id(digest)}…" if digest else "-"


def time_text(time: datetime) -> str:
    """`2026-01-31 09:30:00Z`: UTC, in the form that `--at` reads."""
    return time.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "seconds") + "Z"


def name(text: str) -> str:
    """The name of a version, dataset or ref, as it is shown everywhere."""
    return click.style(safe(text), fg="cyan", bold=True)


def dim(text: str) -> str:
    """What the eye may skip."""
    return click.style(text, dim=True)


def width(text: str) -> int:
    """How many places of a terminal's line a text takes; colour takes none, East Asian signs take two."""
    text = click.unstyle(text)
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(sign) else 1 + (east_asian_width(sign) in "WF") for sign in text)


def columns(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> Iterable[str]:
    """Align rows of cells, two spaces apart; columns named in `right` end at the same place.

    Colour in a cell takes no width. The last cell is never padded.
    """
    if not rows:
        return
    widths = [max(map(width, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = []
        for place, cell in enumerate(row):
            padding = " " * (widths[place] - width(cell))
            cells.append(padding + cell if place in right else cell + padding)
        yield "  ".join(cells).rstrip()


def changed_lines(added: Iterable[str], modified: Iterable[str], deleted: Iterable[str]) -> Iterable[str]:
    """One line a path: what happened to it, then the path."""
    for word, colour, paths in (
        ("added", "green", added),
        ("modified", "yellow", modified),
        ("deleted", "red", deleted),
    ):
        for path in paths:
            yield f"{click.style(f'{word:<8}', fg=colour)}  {path_text(path)}"


def renamed_lines(pairs: Iterable[tuple[str, str]]) -> Iterable[str]:
    """One line a renamed file: old path, arrow, new path."""
    for old, new in pairs:
        yield f"{click.style('renamed ', fg='blue')}  {path_text(old)} -> {path_text(new)}"


def changes_lines(changes: Changes) -> Iterable[str]:
    """Every changed path, and how many there are."""
    yield from changed_lines(changes.added, changes.modified, changes.deleted)
    yield from renamed_lines(changes.renamed)
    yield counts_text(changes.counts)
