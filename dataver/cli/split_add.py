"""`dataver split add`: a definition for the next version of a folder."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from dataver.cli import output
from dataver.cli.session import Session, key_values, name_list
from dataver.errors import PathNotFoundError

if TYPE_CHECKING:
    from dataver.splits.definition import Split


def add(
    session: Session,
    name: str,
    by: str | None,
    path: str | None,
    *,
    key: str | None,
    time: str | None,
    column: str | None,
    parts: tuple[str, ...],
    salt: str,
    rest: str | None,
    into: str,
) -> None:
    """Write the definition into the folder's file, and say what was written."""
    from dataver.parts import SPLITS_FILE, definition_of
    from dataver.splits.adding import add_definition
    from dataver.splits.definition import check_name, with_path

    check_name(name)
    kinds = {"--key": key, "--time": time, "--column": column, "--by": by}
    if sum(value is not None for value in kinds.values()) != 1:
        raise click.UsageError("Give one of --key, --time, --column and --by.")
    if by is not None:
        if parts or salt or rest:
            raise click.UsageError("--by names a whole definition; --part, --salt and --rest make one.")
        definition = definition_of(by, name)
        definition = definition if path is None else with_path(definition, path)
    else:
        definition = defined(key, time, column, key_values(parts, "--part"), salt, rest, path or "")
    if not os.path.isdir(into):
        raise PathNotFoundError(f"there is no folder {into!r}")
    file = os.path.join(into, SPLITS_FILE)
    add_definition(file, name, definition)
    columns = ", ".join(map(output.safe, definition.columns))
    session.answer(
        lambda: {
            "file": file,
            "name": name,
            "digest": definition.digest,
            "definition": definition.to_document(),
        },
        lambda: [
            f"{output.name(name)}  {definition.kind} split by {columns}",
            output.dim(f"definition {definition.digest}"),
            output.dim(f"in {output.path_text(file)}, which the next commit of {output.path_text(into)} has"),
        ],
    )


def defined(
    key: str | None,
    time: str | None,
    column: str | None,
    parts: dict[str, str],
    salt: str,
    rest: str | None,
    path: str,
) -> Split:
    """The definition that options spell. Parts by key are fractions where the first of them is a number."""
    from dataver.splits.definition import from_document

    document: dict[str, Any] = {"path": path, "parts": parts}
    if time is not None:
        document |= {"kind": "time", "column": time}
    elif column is not None:
        values = {name: value.split(",") for name, value in parts.items()}
        document |= {"kind": "column", "column": column, "parts": values}
    elif key is not None:
        listed = bool(parts) and not is_number(next(iter(parts.values())))
        document |= {"kind": "list" if listed else "hash", "keys": name_list([key], "--key")}
    if salt:
        document["salt"] = salt
    if rest is not None:
        document["rest"] = rest
    return from_document(document)


def is_number(text: str) -> bool:
    """Whether a part is spelled as a fraction and not as the path of a list."""
    try:
        float(text)
    except ValueError:
        return False
    return True
