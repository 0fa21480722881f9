"""What `tag`, `alias` and `branch` share: set a name, delete it, list those there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import click

from dataver.cli import output
from dataver.cli.session import Function, Session
from dataver.cli.types import REF
from dataver.results import RefResult

DOCUMENT = '{"name", "id": id or null, "previous": id or null}; listed: {"names": [{"kind", "name", "id"}]}'


def name_parameters(kind: str) -> Callable[[Function], Function]:
    """REF, NAME and `--delete`."""

    def decorate(function: Function) -> Function:
        function = click.option("--delete", "-d", is_flag=True, help=f"Delete the {kind}.")(function)
        function = click.argument("name", required=False)(function)
        return click.argument("ref", type=REF)(function)

    return decorate


def run(session: Session, kind: str, ref: str, name: str | None, *, delete: bool) -> None:
    """Do what one of the three verbs was asked to do.

    REF alone, a dataset's name, lists the names of this kind. To delete, `DATASET NAME` and
    `DATASET@NAME` mean the same.
    """
    dataset, separator, selector = ref.partition("@")
    if name is None and not delete:
        if separator:
            raise click.UsageError("Missing argument 'NAME'.")
        list_names(session, kind, dataset)
        return
    name = name or selector
    if not name:
        raise click.UsageError("Missing argument 'NAME'.")
    repository = session.open()
    if delete:
        result = repository.delete_ref(kind, dataset, name)
    else:
        setter = {"tag": repository.tag, "alias": repository.alias, "branch": repository.branch}[kind]
        result = setter(ref, name)
    session.answer(result.to_json, lambda: result_lines(result, kind, dataset))


def list_names(session: Session, kind: str, dataset: str) -> None:
    """Print the names of one kind, each with the version it points at."""
    names = [ref for ref in session.open().refs(dataset) if ref.kind == kind]
    session.answer(
        lambda: {"names": [ref.to_json() for ref in names]},
        lambda: output.columns(
            [(output.name(ref.name), output.dim(output.elided_id(ref.id))) for ref in names]
        ),
    )


def result_lines(result: RefResult, kind: str, dataset: str) -> Iterator[str]:
    """Where the name points now, and where it pointed before."""
    name = output.name(f"{dataset}@{result.name.rpartition('@')[2]}")
    if result.id is None:
        yield f"{kind} {name} deleted  (was {output.elided_id(result.previous)})"
    elif result.previous == result.id:
        yield f"{kind} {name} -> {output.elided_id(result.id)}  (as before)"
    else:
        before = f"  (was {output.elided_id(result.previous)})" if result.previous else ""
        yield f"{kind} {name} -> {output.elided_id(result.id)}{before}"
