"""What the record of a version says of where its data came from: its extension `srcs`.

The body is one JSON object: `sources`, objects with `url` and other texts, and `derived_from`, objects
with `dataset`, `id`, `tree` and `repository`. What is not so is left out here; `dataver verify` finds it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from dataver.format.version import VersionRecord
from dataver.values import dataclass

__all__ = ["Ancestor", "derived_from", "sources"]

TAG = b"srcs"
_ID = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Ancestor:
    """A version, perhaps of another repository, that the data were made from."""

    dataset: str
    version: bytes
    repository: str


def sources(record: VersionRecord) -> Iterator[dict[str, str]]:
    """The sources that a record names, each as texts by name, with a `url`."""
    for entry in _entries(record, "sources"):
        texts = {str(name): value for name, value in entry.items() if isinstance(value, str) and value}
        if texts:
            yield {"url": texts.get("note", "unnamed"), **texts}


def derived_from(record: VersionRecord) -> Iterator[Ancestor]:
    """The versions that a record says its data were made from."""
    for entry in _entries(record, "derived_from"):
        id = entry.get("id")
        if isinstance(id, str) and _ID.fullmatch(id):
            dataset, repository = str(entry.get("dataset") or "?"), str(entry.get("repository") or "")
            yield Ancestor(dataset, bytes.fromhex(id), repository)


def _entries(record: VersionRecord, name: str) -> list[dict[str, Any]]:
    body = next((body for tag, _, body in record.extensions if tag == TAG), None)
    if body is None:
        return []
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return []
    found = document.get(name) if isinstance(document, dict) else None
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []
