"""`dataver ls`: the files and folders of a version."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import merge

import click

from dataver.cli import output
from dataver.cli.options import verb
from dataver.cli.session import Session
from dataver.cli.types import REF
from dataver.results import FileEntry, Listing

SIZE_WIDTH = len("1023.9 MiB")

DOCUMENT = '{"files": [{"path", "kind", "executable", "size", "digest"}], "folders": [path…]}'


@verb("ls", "dataver ls iris", "dataver ls iris@v3 train -r", reads=True, document=DOCUMENT)
@click.argument("ref", type=REF)
@click.argument("path", default="")
@click.option("--recursive", "-r", is_flag=True, help="All files below PATH.")
@click.option("--long", "-l", is_flag=True, help="With each file's BLAKE3-256, what b3sum prints.")
def command(session: Session, ref: str, path: str, recursive: bool, long: bool) -> None:
    """List the files and folders at PATH of a version, sorted by path as bytes.

    A folder ends with `/`, a symbolic link with `@`, an executable file with `*`.
    """
    listing = session.open().version(ref).listing(path, recursive=recursive)
    session.answer(listing.to_json, lambda: listing_lines(listing, long=long))


def listing_lines(listing: Listing, *, long: bool) -> Iterator[str]:
    """One line an entry: size, digest if asked for, path."""
    blank = f"{'':>{SIZE_WIDTH}}  " + (f"{'':64}  " if long else "")
    files = ((entry.path, file_line(entry, long=long)) for entry in listing.files)
    folders = (
        (path, f"{blank}{click.style(output.path_text(path), fg='blue', bold=True)}/")
        for path in listing.folders
    )
    for _, line in merge(files, folders):
        yield line


def file_line(entry: FileEntry, *, long: bool) -> str:
    """The line of one file."""
    mark = "@" if entry.kind == "symlink" else "*" if entry.executable else ""
    digest = f"{entry.digest}  " if long else ""
    return f"{output.size_text(entry.size):>{SIZE_WIDTH}}  {digest}{output.path_text(entry.path)}{mark}"
