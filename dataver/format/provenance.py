"""Where a version's data came from, as its record keeps it: the extension `srcs`.

The body is one JSON document in its only spelling (keys sorted, no blanks, UTF-8):

    {"derived_from": [{"dataset", "id", "repository", "tree"}…], "partial": true, "sources": [{…}…]}

What is empty or false is left out. Keys that a reader does not know are ignored: later releases may
add some.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import fields
from datetime import date, datetime
from typing import Any, NoReturn

from dataver.errors import BadInputError, DamagedError
from dataver.format.limits import PROVENANCE_BYTES_MAX
from dataver.values import dataclass

PROVENANCE_TAG = b"srcs"
UNVERIFIED = "unverified"
"""The key in a version's metadata for why its bytes may be others than those that were read."""

Extension = tuple[bytes, int, bytes]

# Texts, which `re` compiles where they are needed.
_TIME = r"\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d(\.\d{1,6})?Z)?"
_DIGEST = r"(sha256|blake3):[0-9a-f]{64}"
_ID = r"[0-9a-f]{64}"
_REPOSITORY = r"[0-9a-f]{32}"


@dataclass(frozen=True, slots=True)
class Source:
    """Where some of the data came from. Texts; one that is empty is not known.

    `url` has neither credentials nor a query. `collected_at` is a day, as `2026-01-31`, or a moment
    in UTC, as `2026-01-31T09:30:00Z`. `digest` is that of what was fetched, `sha256:` or `blake3:` and
    64 hex digits. `method` is how it was collected, `legal_basis` what permits to keep and use it.
    """

    url: str = ""
    licence: str = ""
    collected_at: str = ""
    collected_by: str = ""
    method: str = ""
    legal_basis: str = ""
    digest: str = ""
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """All fields by name, null where nothing is known."""
        return {field.name: getattr(self, field.name) or None for field in fields(self)}


@dataclass(frozen=True, slots=True)
class DerivedFrom:
    """A version that the data were made from, of this repository or another one.

    `dataset` is the name it had then; `id` and `tree` have 64 hex digits, `repository` has 32.
    """

    dataset: str
    id: str
    tree: str
    repository: str

    def to_json(self) -> dict[str, Any]:
        """`{"dataset", "id", "tree", "repository"}`."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True, slots=True)
class Provenance:
    """What one version's record says. `partial`: what holds for its parents holds for it, too."""

    sources: tuple[Source, ...] = ()
    derived_from: tuple[DerivedFrom, ...] = ()
    partial: bool = False

    def encode(self) -> bytes:
        """The one spelling. `BadInputError` for what no record can hold."""
        document: dict[str, Any] = {}
        if self.derived_from:
            document["derived_from"] = [entry.to_json() for entry in self.derived_from]
        if self.partial:
            document["partial"] = True
        if self.sources:
            document["sources"] = [
                {name: value for name, value in source.to_json().items() if value is not None}
                for source in self.sources
            ]
        try:
            body = _spelled(document)
            _read(document)
        except (TypeError, ValueError) as error:
            raise BadInputError(f"the sources of a version cannot be recorded: {error}") from None
        if len(body) > PROVENANCE_BYTES_MAX:
            raise BadInputError(
                f"the sources of a version have {len(body)} bytes, and {PROVENANCE_BYTES_MAX} are the most; "
                "put what is longer into a file"
            )
        return body

    def extension(self) -> Extension:
        """What stands in the version's record."""
        return PROVENANCE_TAG, 0, self.encode()


def provenance_of(extensions: Sequence[Extension], what: str) -> Provenance | None:
    """What a record says; None where it says nothing. `what` names it in the `DamagedError`s."""
    bodies = [body for tag, _, body in extensions if tag == PROVENANCE_TAG]
    if not bodies:
        return None
    if len(bodies) > 1:
        _fail(what, "it says twice where its data came from")
    body = bodies[0]
    if len(body) > PROVENANCE_BYTES_MAX:
        _fail(what, f"its sources have {len(body)} bytes")
    try:
        document = json.loads(body)
        if _spelled(document) != body:
            _fail(what, "its sources are not in canonical form")
        return _read(document)
    except (TypeError, ValueError, RecursionError):
        # Not repeated: the text may be anything.
        _fail(what, "its sources are not as the format has them")


def in_part(extensions: Sequence[Extension], what: str) -> tuple[Extension, ...]:
    """The extensions of a record that is put on top of what others did: their sources count as well."""
    found = provenance_of(extensions, what)
    if found is None or found.partial:
        return tuple(extensions)
    others = [extension for extension in extensions if extension[0] != PROVENANCE_TAG]
    partial = Provenance(found.sources, found.derived_from, partial=True)
    return tuple(sorted((*others, partial.extension())))


def check_time(text: str) -> str:
    """Return a day or a moment in UTC as a `Source` has it; else a `ValueError`."""
    match = re.fullmatch(_TIME, text, re.ASCII)
    if match is None:
        raise ValueError(f"{text[:100]!a} is no day and no moment in UTC")
    date.fromisoformat(text[:10])
    if match[1]:
        datetime.fromisoformat(text)
    return text


def check_digest(text: str) -> str:
    """Return the digest of what was fetched; else a `ValueError`."""
    if not re.fullmatch(_DIGEST, text):
        raise ValueError(f"{text[:100]!a} is no digest: sha256: or blake3: and 64 hex digits are expected")
    return text


def _fail(what: str, reason: str) -> NoReturn:
    raise DamagedError(f"{what} is malformed: {reason}")


def _spelled(document: object) -> bytes:
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def _read(document: Any) -> Provenance:
    """The values of a document; `TypeError` or `ValueError` for another one."""
    if not isinstance(document, dict):
        raise TypeError("an object is expected")
    partial = document.get("partial", True)
    if partial is not True:
        raise ValueError("partial is true or left out")
    sources = tuple([_source(entry) for entry in _list(document, "sources")])
    derived = tuple([_derived(entry) for entry in _list(document, "derived_from")])
    return Provenance(sources, derived, "partial" in document)


def _list(document: dict[str, Any], name: str) -> list[dict[str, Any]]:
    if name not in document:
        return []
    found = document[name]
    if not isinstance(found, list) or not found or not all(isinstance(entry, dict) for entry in found):
        raise TypeError(f"{name} is a list of objects that is not empty")
    return found


def _source(entry: dict[str, Any]) -> Source:
    texts = {field.name: entry[field.name] for field in fields(Source) if field.name in entry}
    for name, value in texts.items():
        if not isinstance(value, str) or not value:
            raise TypeError(f"{name} is a text that is not empty")
    if "collected_at" in texts:
        check_time(texts["collected_at"])
    if "digest" in texts:
        check_digest(texts["digest"])
    return Source(**texts)


def _derived(entry: dict[str, Any]) -> DerivedFrom:
    texts = [entry.get(field.name) for field in fields(DerivedFrom)]
    dataset, id, tree, repository = (text if isinstance(text, str) else "" for text in texts)
    ids = re.fullmatch(_ID, id) and re.fullmatch(_ID, tree) and re.fullmatch(_REPOSITORY, repository)
    if not dataset or not ids:
        raise ValueError("a version is named by its dataset, id, tree and repository")
    return DerivedFrom(dataset, id, tree, repository)
