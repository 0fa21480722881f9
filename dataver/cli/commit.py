"""`dataver commit`: record a source as the next version."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from dataver.cli import output
from dataver.cli.options import (
    author_option,
    exclude_option,
    include_option,
    jobs_option,
    message_option,
    verb,
)
from dataver.cli.session import Function, Session, key_values
from dataver.cli.types import DATASET, PLACE, REF
from dataver.config import author_asked
from dataver.results import CommitResult

ORIGIN_OPTIONS = (
    ("--origin", "url", "URL", "Where the data came from; a DOI or a path will do."),
    ("--licence", "licence", "L", "Its licence, as CC-BY-4.0."),
    ("--collected", "collected_at", "TIME", "When it was collected: a day, or RFC 3339."),
    ("--collected-by", "collected_by", "WHO", "Who collected it."),
    ("--method", "method", "TEXT", "How it was collected."),
    ("--legal-basis", "legal_basis", "TEXT", "What permits to keep and use it."),
)

DOCUMENT = (
    '{"dataset", "version": "v3" or null, "id", "parents": [id…], "tree", "files", "bytes", "new_bytes",\n'
    ' "stored_bytes", "changed": {"added", "modified", "deleted", "renamed"}, "created": bool,\n'
    ' "rebased_onto": id or null, "dry_run": {"new_bytes", "requests", "cost_usd"} (only with --dry-run)}'
)


def origin_options(function: Function) -> Function:
    """The options that say where the data came from."""
    function = click.option(
        "--derived-from",
        type=REF,
        metavar="REF",
        multiple=True,
        help="A version that the data were made from, or URL#REF in another repository; repeatable.",
    )(function)
    function = click.option(
        "--sources", type=PLACE, metavar="FILE", help="Many sources, as TOML ([[sources]]) or JSON."
    )(function)
    for option, name, metavar, text in reversed(ORIGIN_OPTIONS):
        function = click.option(option, name, metavar=metavar, help=text)(function)
    return function


@verb(
    "commit",
    'dataver commit iris data/iris -m "first version"',
    "dataver commit iris data/iris --tag paper --meta source=uci",
    "dataver commit iris new/part-7.parquet --add --into train",
    "dataver commit iris data/iris --origin https://archive.ics.uci.edu/dataset/53 --licence CC-BY-4.0",
    "dataver commit clean data/clean --derived-from iris@v3",
    document=DOCUMENT,
)
@click.argument("dataset", type=DATASET)
@click.argument("source", type=PLACE)
@message_option
@click.option("--tag", "tags", metavar="T", multiple=True, help="Tag the version; repeatable.")
@click.option("--branch", "-b", metavar="B", default="main", help="The branch that moves; made if missing.")
@author_option
@click.option("--time", metavar="TIME", help="When, as RFC 3339; default: now.")
@click.option("--meta", metavar="K=V", multiple=True, help="Anything worth knowing; repeatable.")
@origin_options
@click.option("--add", is_flag=True, help="Add and replace SOURCE's files, delete none.")
@click.option("--into", metavar="PATH", default="", help="Put SOURCE below this path of the dataset.")
@click.option("--base", type=REF, metavar="REF", help="The version that SOURCE was made from.")
@include_option
@exclude_option
@click.option("--reference", is_flag=True, help="Record where the bytes are; leave them there.")
@click.option("--dry-run", is_flag=True, help="Forecast new bytes, requests and cost; commit nothing.")
@click.option("--allow-empty", is_flag=True, help="Make a version also where nothing changed.")
@click.option(
    "--stats/--no-stats",
    default=None,
    help="Record what the columns of new Parquet files hold; default: as `config commit.stats`, else off.",
)
@click.option(
    "--source-option",
    metavar="KEY=VALUE",
    multiple=True,
    help="An option of SOURCE's file system, where SOURCE is a URL; repeatable.",
)
@jobs_option
def command(
    session: Session,
    dataset: str,
    source: str,
    message: str,
    tags: tuple[str, ...],
    branch: str,
    author: str | None,
    time: str | None,
    meta: tuple[str, ...],
    sources: str | None,
    derived_from: tuple[str, ...],
    add: bool,
    into: str,
    base: str | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    reference: bool,
    dry_run: bool,
    allow_empty: bool,
    stats: bool | None,
    source_option: tuple[str, ...],
    jobs: int | None,
    **origin: str | None,
) -> None:
    """Record SOURCE (a folder, one file or an fsspec URL) as the next version of DATASET.

    What SOURCE changed against its base is what is committed. The base is --base, else the version
    that SOURCE was last checked out from or committed as on this machine, else the head. Where
    somebody else moved the head meanwhile and changed other paths, the change is put on top.
    Nothing changed: no version is made, unless --allow-empty is given.

    Where the data came from is kept in the version's record: one source by --origin and what follows it,
    more in a file (--sources), and the versions they were made from (--derived-from). Of URLs neither
    credentials nor queries are kept.
    """
    values = key_values(meta, "--meta")
    source_options = key_values(source_option, "--source-option")
    given, refs = origin_of(sources, {name: text for name, text in origin.items() if text})
    with author_asked(author) as said:
        repository = session.open()
        author = said()
    with session.watch() as progress:
        result = repository.commit(
            dataset,
            source,
            message=message,
            tags=tags,
            branch=branch,
            author=author,
            time=time,
            meta=values,
            sources=given,
            derived_from=[*refs, *derived_from],
            add=add,
            into=into,
            base=base,
            include=include,
            exclude=exclude,
            reference=reference,
            dry_run=dry_run,
            allow_empty=allow_empty,
            stats=stats,
            progress=progress,
            jobs=jobs,
            storage_options=source_options or None,
        )
    if (given or refs or derived_from) and result.dry_run is None and not result.created:
        output.note("nothing changed, so that no sources were recorded; --allow-empty makes a version")
    session.answer(result.to_json, lambda: committed_lines(result, branch, tags))


def origin_of(file: str | None, origin: dict[str, Any]) -> tuple[list[Any], list[str]]:
    """The sources that the file and the options tell of, and the refs that the file says they derive from."""
    if not origin and file is None:
        return [], []
    from dataver.provenance import load_sources, make_source

    sources, refs = ([], []) if file is None else load_sources(file)
    if origin:
        source = make_source(origin)
        for option, name, _, _ in ORIGIN_OPTIONS:
            kept = getattr(source, name)
            if name != "collected_at" and kept != origin.get(name, "").strip():
                output.note(f"{option} is recorded as {kept}, without what may be a secret")
        sources.append(source)
    return sources, refs


def committed_lines(result: CommitResult, branch: str, tags: tuple[str, ...] = ()) -> Iterator[str]:
    """What a commit, merge or revert did: one line, and one more for each thing out of the ordinary."""
    if result.dry_run is not None:
        forecast = result.dry_run
        cost = "none here" if forecast.cost_usd is None else f"about {forecast.cost_usd:.2g} USD"
        what = output.counts_text(result.changed)
        yield (
            f"{output.name(result.dataset)}  {'would commit ' if forecast.requests else ''}{what}  "
            f"{output.size_text(forecast.new_bytes)} new of {output.size_text(result.bytes)}  "
            f"{output.amount(forecast.requests, 'request')}, cost {cost}"
        )
        return
    name = output.name(f"{result.dataset}@{result.version or branch}")
    start = f"{name}  {output.elided_id(result.id)}  "
    if result.created:
        yield (
            f"{start}{output.counts_text(result.changed)}  "
            f"{output.size_text(result.new_bytes)} new of {output.size_text(result.bytes)} "
            f"(stored {output.size_text(result.stored_bytes)})"
        )
    elif result.id:
        yield f"{start}nothing changed, no new version"
    else:
        yield f"{output.name(result.dataset)}  nothing to record, no version"
    if result.rebased_onto:
        yield f"put on top of {output.elided_id(result.rebased_onto)}, which the source was not made from"
    if tags:
        yield "tagged " + ", ".join(output.name(tag) for tag in tags)
