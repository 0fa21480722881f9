"""The queries that come with dataver, and the workbook that shows them.

A query is a file of Kusto's language whose first line is a comment that says what it is about.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from dataver.values import dataclass

__all__ = ["Query", "queries", "workbook", "workbook_text"]

FOLDER = "queries"
SUFFIX = ".kql"
COMMENT = "// "
_KQL_ITEM, _TEXT_ITEM = 3, 1
"""What workbooks call kinds of items."""


@dataclass(frozen=True, slots=True)
class Query:
    """One query: `kql` is all of its file."""

    name: str
    about: str
    kql: str


def queries() -> dict[str, Query]:
    """The queries by name."""
    found = {}
    for file in sorted(files(__package__).joinpath(FOLDER).iterdir(), key=lambda file: file.name):
        if file.name.endswith(SUFFIX):
            kql = file.read_text(encoding="utf-8")
            name = file.name.removesuffix(SUFFIX)
            found[name] = Query(name, kql.partition("\n")[0].removeprefix(COMMENT), kql)
    return found


def workbook() -> dict[str, Any]:
    """All of them on one page, as a workbook of Azure Monitor."""
    title = "## dataver\nWhat was done with versions of datasets, and by which runs."
    items: list[dict[str, Any]] = [{"type": _TEXT_ITEM, "content": {"json": title}, "name": "title"}]
    for query in queries().values():
        content = {
            "version": "KqlItem/1.0",
            "query": query.kql,
            "size": 0,
            "title": query.about,
            "timeContext": {"durationMs": 30 * 86_400_000},
            "queryType": 0,
            "resourceType": "microsoft.insights/components",
            "visualization": "table",
        }
        items.append({"type": _KQL_ITEM, "content": content, "name": query.name})
    return {
        "version": "Notebook/1.0",
        "items": items,
        "isLocked": False,
        "$schema": "https://github.com/Microsoft/Application-Insights-Workbooks/blob/master/schema/workbook.json",
    }


def workbook_text() -> str:
    """The workbook as the portal's advanced editor takes it."""
    return json.dumps(workbook(), indent=2) + "\n"
