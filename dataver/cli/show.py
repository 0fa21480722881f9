"""`dataver show`: one version."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import click

from dataver.cli import output
from dataver.cli.options import verb
from dataver.cli.session import Session
from dataver.cli.types import REF
from dataver.results import VersionInfo

if TYPE_CHECKING:
    from dataver.origins import Origins
    from dataver.signing.check import SignatureInfo
    from dataver.tables.footer import TableFooter

RUNS_SHOWN = 5
DOCUMENT = (
    '{"dataset", "version": "v3" or null, "id", "parents": [id…], "tree", "files", "bytes", "new_bytes",\n'
    ' "stored_bytes", "message", "author", "time": RFC 3339 UTC, "tags": […], "aliases": […],\n'
    ' "branches": […], "meta": {…}, "runs": [id…], "read_by": [id…],\n'
    ' "changed": {"added", "modified", "deleted", "renamed"} or null, "absent": [id…],\n'
    ' "signatures": [{"key", "fingerprint", "name": text or null, "trusted": bool, "valid": bool or null,\n'
    '   "problem": text or null}…],\n'
    ' "sources": [{"url", "licence", "collected_at", "collected_by", "method", "legal_basis", "digest",\n'
    ' "note"}…], "derived_from": [{"dataset", "id", "tree", "repository"}…],\n'
    ' "sources_of": [id…] whose records say so, "sources_whole": bool,\n'
    ' "tables": [{"path", "rows", "columns": [{"name", "type"}…]}…] (only with --tables; of what is no\n'
    '   table rows and columns are null, with a "reason")}'
)


@verb(
    "show",
    "dataver show iris@v3",
    "dataver show iris --tables",
    "dataver show iris --json",
    reads=True,
    document=DOCUMENT,
)
@click.argument("ref", type=REF)
@click.option("--tables", is_flag=True, help="Also the rows and columns of each Parquet file.")
def command(session: Session, ref: str, tables: bool) -> None:
    """Show one version: id, parents, message, author, time, sizes, names, runs, signers and sources.

    Sources are those of its record, or of the nearest versions before it whose records have any, among the
    last hundred, or of a remote repository the last ten; `dataver card` looks at all.
    """
    from dataver.origins import quick_origins

    repository = session.open()
    version = repository.show(ref)
    exact_ref = f"{version.dataset}@{version.id}"
    signatures = repository.signatures.of(exact_ref)
    found_origins = quick_origins(repository.session, repository.session.resolve(exact_ref))
    found: list[tuple[str, TableFooter | str]] = []
    if tables:
        from dataver.tabular import all_footers

        found = all_footers(repository.version(f"{version.dataset}@{version.id}"))

    def document() -> dict[str, object]:
        shown: dict[str, object] = {**version.to_json(), **found_origins.to_json()}
        shown["signatures"] = [one.to_json() for one in signatures]
        return {**shown, "tables": [table_json(*table) for table in found]} if tables else shown

    def lines() -> Iterator[str]:
        signers = [("signed", signer_text(one)) for one in signatures]
        yield from version_lines(version, [*signers, *origin_facts(found_origins, version.id)])
        for path, footer in found:
            yield ""
            yield from table_lines(path, footer)

    session.answer(document, lines)


def table_json(path: str, footer: TableFooter | str) -> dict[str, object]:
    """`{"path", "rows", "columns": [{"name", "type"}…]}`; for no table both are null, with a `reason`."""
    if isinstance(footer, str):
        return {"path": path, "rows": None, "columns": None, "reason": footer}
    columns = [{"name": name, "type": kind} for name, kind in footer.columns]
    return {"path": path, "rows": footer.rows, "columns": columns}


def table_lines(path: str, footer: TableFooter | str) -> Iterator[str]:
    """The path and the size of a table, then a line a column."""
    if isinstance(footer, str):
        yield f"{output.path_text(path)}  no table that can be read: {output.safe(footer)}"
        return
    size = f"{output.amount(footer.rows, 'row')}, {output.amount(len(footer.columns), 'column')}"
    yield f"{output.path_text(path)}  {size}"
    rows = [(f"  {output.safe(name)}", output.safe(kind)) for name, kind in footer.columns]
    yield from output.columns(rows)


def signer_text(signature: SignatureInfo) -> str:
    """Who signed, and what speaks against it."""
    who = output.safe(signature.name or signature.fingerprint)
    return who if signature else f"{who} ({output.safe(signature.problem or '')})"


def origin_facts(found: Origins, id: str) -> Iterator[tuple[str, str]]:
    """Where the data came from, as facts of the version `id`."""
    for source in found.sources:
        facts = [source.licence, source.collected_at, source.collected_by, source.method, source.note]
        yield "source", "; ".join(output.safe(fact) for fact in (source.url, *facts) if fact)
    for entry in found.derived_from:
        yield "made from", output.safe(f"{entry.dataset}@{entry.id}")
    for version in found.versions:
        if version != id:
            yield "said by", version
    if not found.whole and not found.versions:
        yield "source", "none said by the last versions; `dataver card` looks further back"


def version_lines(version: VersionInfo, more: Iterable[tuple[str, str]] = ()) -> Iterator[str]:
    """The name of the version, its facts in two columns, then the message."""
    yield output.name(f"{version.dataset}@{version.version or output.short_id(version.id)}")
    new = f"{output.size_text(version.new_bytes)}, stored {output.size_text(version.stored_bytes)}"
    readers, unshown = set(version.read_by), len(version.read_by) - RUNS_SHOWN
    facts = [
        ("id", version.id),
        *(("parent", parent + " (not here)" * (parent in version.absent)) for parent in version.parents),
        ("tree", version.tree),
        ("author", output.safe(version.author)),
        ("time", output.time_text(version.time)),
        ("files", f"{output.amount(version.files, 'file')}, {output.size_text(version.bytes)}"),
        ("new", new),
        ("changed", "" if version.changed is None else output.counts_text(version.changed)),
        ("tags", ", ".join(map(output.safe, version.tags))),
        ("aliases", ", ".join(map(output.safe, version.aliases))),
        ("branches", ", ".join(map(output.safe, version.branches))),
        *(("made by", f"run {run}") for run in version.runs if run not in readers),
        *(("read by", f"run {run}") for run in version.read_by[:RUNS_SHOWN]),
        ("", f"{output.amount(unshown, 'more run')}; see `dataver runs --dataset`" if unshown > 0 else ""),
        *more,
        *(("meta", output.safe(f"{key}={value}")) for key, value in sorted(version.meta.items())),
    ]
    yield from output.columns([(output.dim(key), value) for key, value in facts if value])
    if version.message:
        yield ""
        yield from (f"    {output.safe(line)}".rstrip() for line in version.message.rstrip("\n").split("\n"))
