"""What users say of where data came from, made ready for a version's record: checked, and without secrets."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, date, datetime
from typing import Any

from dataver.errors import BadInputError, PathNotFoundError
from dataver.format.provenance import (
    DerivedFrom,
    Provenance,
    Source,
    check_digest,
    check_time,
)
from dataver.paths import safe_spelling
from dataver.store.clients import AZURE, public_url
from dataver.store.failures import redact

SOURCES_FILE_BYTES_MAX = 8 << 20
FIELD_CHARACTERS_MAX = 16_384

SourceLike = Source | Mapping[str, Any] | str
"""What a source can be given as: itself, its fields by name, or its URL alone."""

_URL = r"(?<![A-Za-z0-9+.-])[A-Za-z][A-Za-z0-9+.-]{0,30}://[^\s<>\"']+"
_CHAIN = r"::(?=[A-Za-z][A-Za-z0-9+.-]*(?:://|::))"
_HOST = r"[^:]*(:[0-9]*)?|\[[0-9A-Fa-f:.]*\](:[0-9]*)?"
# Before the `@` these have no user, but the name of a container.
_CONTAINERS = (*AZURE, "wasb", "wasbs")


def make_provenance(
    sources: Sequence[SourceLike] | None, derived_from: Iterable[DerivedFrom], *, partial: bool
) -> Provenance | None:
    """What a new version's record is to say; None where nobody gave anything. See `make_source`."""
    if isinstance(sources, str | Mapping | Source):
        raise BadInputError("the sources are one source; pass a list of them")
    made = tuple(dict.fromkeys(map(make_source, sources or ())))
    derived = tuple(dict.fromkeys(derived_from))
    return Provenance(made, derived, partial) if made or derived else None


def make_source(given: SourceLike) -> Source:
    """A source that can be recorded. `BadInputError` for an unknown field or a malformed value.

    Of URLs neither credentials nor queries are kept, in any field.
    """
    if isinstance(given, str):
        given = {"url": given}
    elif isinstance(given, Source):
        given = {field.name: getattr(given, field.name) for field in fields(Source)}
    elif not isinstance(given, Mapping):
        raise BadInputError(f"a source is a URL or a table of fields, not a {type(given).__name__}")
    names = [field.name for field in fields(Source)]
    unknown = [name for name in given if name not in names]
    if unknown:
        raise BadInputError(
            f"a source has no field {str(unknown[0])[:100]!a}; its fields are {', '.join(names)}"
        )
    texts = {name: _value(name, value) for name, value in given.items() if value is not None}
    if not any(texts.values()):
        raise BadInputError(f"a source says nothing; its fields are {', '.join(names)}")
    return Source(**texts)


def load_sources(path: str | os.PathLike[str]) -> tuple[list[Source], list[str]]:
    """The sources in a file of TOML or JSON, and the refs that `derived_from` in it names."""
    shown = safe_spelling(os.fspath(path))
    try:
        with open(path, "rb") as file:
            data = file.read(SOURCES_FILE_BYTES_MAX + 1)
    except OSError as error:
        raise PathNotFoundError(f"the sources {shown!r} cannot be read: {error.strerror}") from error
    if len(data) > SOURCES_FILE_BYTES_MAX:
        raise BadInputError(f"the sources {shown!r} have more than {SOURCES_FILE_BYTES_MAX >> 20} MiB")
    try:
        text = data.decode()
        found = _parsed(text)
    except (ValueError, RecursionError) as error:
        raise BadInputError(f"{shown!r} is neither JSON nor TOML that can be read: {error}") from None
    document = found if isinstance(found, dict) else {"sources": found}
    rows, refs = document.get("sources", []), document.get("derived_from", [])
    if set(document) - {"sources", "derived_from"} or not isinstance(rows, list) or not _are_texts(refs):
        raise BadInputError(
            f"{shown!r} has something else than [[sources]] and derived_from, which is a list of refs"
        )
    return [make_source(row) for row in rows], refs


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return tomllib.loads(text)


def _are_texts(values: object) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


def _value(name: str, value: object) -> str:
    """A field of a source as it is recorded."""
    if name == "collected_at":
        return _time(value)
    if not isinstance(value, str):
        raise BadInputError(f"the {name} of a source is {value!r:.100}, which is no text")
    text = value.strip()
    if len(text) > FIELD_CHARACTERS_MAX:
        raise BadInputError(
            f"the {name} of a source has {len(text)} characters, and {FIELD_CHARACTERS_MAX} are the most; "
            "put what is longer into a file of the dataset"
        )
    try:
        text.encode()
        if name == "digest":
            return check_digest(text.lower()) if text else ""
    except ValueError as error:
        raise BadInputError(f"the {name} of a source cannot be recorded: {error}") from None
    shown = shown_url(text) if name == "url" else without_secrets(text)
    return shown.strip()  # What stood before a query that is not kept may end in a space.


def _time(value: object) -> str:
    """A day, or a moment in UTC; one without a zone is UTC."""
    try:
        if isinstance(value, str):
            value = value.strip()
            if not value:
                return ""
            value = date.fromisoformat(value) if len(value) == 10 else datetime.fromisoformat(value)
        if isinstance(value, datetime):
            aware = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
            return check_time(aware.replace(tzinfo=None).isoformat() + "Z")
        if isinstance(value, date):
            return check_time(value.isoformat())
    except (ValueError, OverflowError):
        pass
    raise BadInputError(
        f"{value!a:.100} is no time at which something was collected: a day as 2026-01-31, or RFC 3339 as "
        "2026-01-31T09:30:00Z"
    )


def shown_url(url: str) -> str:
    """A URL, or a chain of fsspec's, as it is recorded: without user, password, query and fragment.

    `BadInputError` where it cannot be told what is a password.
    """
    return "::".join(map(_shown, re.split(_CHAIN, url)))


def _shown(url: str) -> str:
    bare = public_url(url)
    scheme, separator, rest = bare.partition("://")
    if not separator:
        return re.sub(r"^([^/@:]+):[^/@]*@", r"\1@", bare)
    authority, slash, path = rest.partition("/")
    user, _, host = authority.rpartition("@")
    if not re.fullmatch(_HOST, host):
        # What looks like a port is not: perhaps a password with a slash in it.
        raise BadInputError(
            f"a URL that begins with {scheme[:20]!a}:// is malformed before its path: give no password"
        )
    is_container = scheme.lower() in _CONTAINERS and re.fullmatch(r"[A-Za-z0-9$-]+", user)
    kept = f"{user}@" if is_container else ""
    return f"{scheme}://{kept}{host}{slash}{path}"


def without_secrets(text: str) -> str:
    """Free text whose URLs are as `shown_url` has them, and in which nothing else looks like a secret."""
    return redact(re.sub(_URL, _shown_in_text, text))


def _shown_in_text(match: re.Match[str]) -> str:
    try:
        return shown_url(match[0])
    except BadInputError:
        return match[0].partition("://")[0] + "://…"
