"""The bodies of requests as rows: JSON as MLflow's `/invocations` takes it, plain JSON, and CSV."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["NotUnderstoodError", "Row", "as_rows", "parse"]

Row = dict[str, Any]
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,300})(\.[0-9]+)?([eE][+-]?[0-9]{1,4})?", re.ASCII)
"""As JSON writes them: what begins with a zero is a code, as of a town, and no number."""
LISTS = ("dataframe_records", "instances", "inputs")


class NotUnderstoodError(ValueError):
    """A body, or what was given as rows, that holds none."""


def parse(content_type: str, body: bytes, names: Sequence[str] = ()) -> list[Row]:
    """The rows of a body. Columns are called `names` where rows are plain lists, else they are numbered.

    `NotUnderstoodError` for any other body.
    """
    kind = content_type.partition(";")[0].strip().lower()
    try:
        if kind in ("text/csv", "application/csv"):
            return _of_csv(body.decode("utf-8-sig"))
        if kind == "application/json" or kind.endswith("+json"):
            return _of_document(json.loads(body), names)
    except (UnicodeDecodeError, json.JSONDecodeError, csv.Error, RecursionError) as error:
        raise NotUnderstoodError(f"{kind}: {error}") from error
    raise NotUnderstoodError(f"{kind or 'no content type'} is none of application/json and text/csv")


def _of_csv(text: str) -> list[Row]:
    """The rows below a header, with the values that a model sees of them."""
    header, *lines = [line for line in csv.reader(io.StringIO(text, newline="")) if line] or [[]]
    if any(len(line) != len(header) for line in lines):
        raise NotUnderstoodError("text/csv: a row is longer or shorter than the header")
    return [dict(zip(header, map(_value, line), strict=True)) for line in lines]


def _value(text: str) -> Any:
    """A number or a truth value where that is what a text of CSV is; nothing for an empty one."""
    if _NUMBER.fullmatch(text):
        return json.loads(text)
    return {"": None, "true": True, "false": False}.get(text.lower(), text)


def _of_document(document: Any, names: Sequence[str]) -> list[Row]:
    if isinstance(document, dict):
        split = document.get("dataframe_split")
        if isinstance(split, dict) and isinstance(split.get("data"), list):
            columns = split.get("columns")
            return as_rows(split["data"], columns if isinstance(columns, list) else names)
        for key in LISTS:
            if isinstance(document.get(key), list | dict):
                return as_rows(document[key], names)
        # One row, as a service with endpoints of its own takes it.
        return [document]
    return as_rows(document, names)


def as_rows(given: Any, names: Sequence[str] = ()) -> list[Row]:
    """Rows of what people have: columns by name, a list of rows, a data frame, or a table of pyarrow."""
    if hasattr(given, "to_pylist"):
        given = given.to_pylist()
    elif hasattr(given, "to_dict") and hasattr(given, "columns"):
        given = {str(name): _plain_list(given[name]) for name in given.columns}
    if isinstance(given, Mapping):
        return _of_columns(given)
    if not isinstance(given, Iterable) or isinstance(given, str | bytes):
        raise NotUnderstoodError(f"{type(given).__name__} holds no rows")
    return [_row(value, names) for value in given]


def _of_columns(columns: Mapping[Any, Any]) -> list[Row]:
    lists = {str(name): _plain_list(values) for name, values in columns.items()}
    lengths = {len(values) for values in lists.values()}
    if len(lengths) != 1:
        raise NotUnderstoodError("its columns are of different lengths" if lengths else "it has no columns")
    return [dict(zip(lists, values, strict=True)) for values in zip(*lists.values(), strict=True)]


def _plain_list(values: Any) -> list[Any]:
    if isinstance(values, list | tuple):
        return list(values)
    for method in ("tolist", "to_list", "to_pylist"):
        if hasattr(values, method):
            found = getattr(values, method)()
            return found if isinstance(found, list) else [found]
    return [values]


def _row(value: Any, names: Sequence[str]) -> Row:
    if isinstance(value, Mapping):
        return {str(name): entry for name, entry in value.items()}
    values = _plain_list(value)
    if names and len(names) != len(values):
        raise NotUnderstoodError(f"a row has {len(values)} values, and there are {len(names)} columns")
    return dict(zip(map(str, names or range(len(values))), values, strict=True))
