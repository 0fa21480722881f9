"""What the record of a version says of where its data came from, as edges of the graph."""

from __future__ import annotations

from collections.abc import Iterator

from dataver.errors import DamagedError
from dataver.format.provenance import Provenance, provenance_of
from dataver.format.version import VersionRecord
from dataver.values import dataclass

__all__ = ["Ancestor", "derived_from", "sources"]


@dataclass(frozen=True, slots=True)
class Ancestor:
    """A version, perhaps of another repository, that the data were made from."""

    dataset: str
    version: bytes
    repository: str


def sources(record: VersionRecord) -> Iterator[dict[str, str]]:
    """The sources that a record names, each as texts by name, with a `url`: the note where it has none."""
    for source in _said(record).sources:
        texts = {name: value for name, value in source.to_json().items() if value}
        if texts:
            yield {"url": texts.get("note", "unnamed"), **texts}


def derived_from(record: VersionRecord) -> Iterator[Ancestor]:
    """The versions that a record says its data were made from."""
    for entry in _said(record).derived_from:
        yield Ancestor(entry.dataset, bytes.fromhex(entry.id), entry.repository)


def _said(record: VersionRecord) -> Provenance:
    """What is malformed says nothing here; `dataver verify` finds it."""
    try:
        return provenance_of(record.extensions, "the record") or Provenance()
    except DamagedError:
        return Provenance()
