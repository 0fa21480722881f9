"""What was erased from a repository on purpose: who did, when and why.

The record of a file is canonical JSON: `author`, `time` (RFC 3339), `reason`, and what was asked for:
`dataset`, `path` (empty where a digest was given). That of a chunk is `{"of": digest of a file}`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

from dataver.digest import Digest
from dataver.errors import BadInputError, ErasedDataError, ErasedError
from dataver.format.canonical_json import canonical_json
from dataver.log.state import State
from dataver.paths import safe_spelling

if TYPE_CHECKING:
    from dataver.format.pack import PackKind

__all__ = ["Erasures", "chunk_record", "erased_error", "erasures", "file_record", "files_of"]

TEXT_CHARACTERS_MAX = 2_000
_OF = "of"


def file_record(author: str, time: str, reason: str, dataset: str, path: str) -> str:
    """The record of a file that is erased."""
    fields = {"author": author, "time": time, "reason": reason, "dataset": dataset, "path": path}
    return canonical_json(fields).decode()


def chunk_record(file: Digest) -> str:
    """The record of a chunk that is erased with a file."""
    return canonical_json({_OF: str(file)}).decode()


class Erasures:
    """The digests that are erased in one state, with their records. False where nothing ever was."""

    def __init__(self, records: dict[bytes, str]) -> None:
        self.records = records
        self._beside: frozenset[bytes] | None = None

    def __bool__(self) -> bool:
        return bool(self.records)

    def __len__(self) -> int:
        return len(self.records)

    def __contains__(self, digest: object) -> bool:
        return digest in self.records

    def within(self, kind: PackKind) -> Collection[bytes]:
        """What must not be in packs of a kind: of data chunks, of metadata what was recorded beside files.

        No other metadata goes, whatever a record may name: versions and manifests stay as they are.
        """
        from dataver.format.pack import PackKind
        from dataver.format.table_statistics import statistics_key

        if kind == PackKind.DATA:
            return self.records.keys()
        if self._beside is None:
            self._beside = frozenset(bytes(statistics_key(digest)) for digest in self.records)
        return self._beside if kind == PackKind.META else ()

    def chunks_of(self, file: Digest) -> list[bytes]:
        """The chunks that were erased with a file."""
        record = chunk_record(file)
        return [digest for digest, text in self.records.items() if text == record]

    def first(self, digests: Iterable[bytes]) -> bytes | None:
        """The first of these that is erased, or None."""
        return next((digest for digest in digests if digest in self.records), None)

    def refusal(self, digest: bytes, what: str, advice: str) -> ErasedDataError:
        """The error for bytes that come again. `what` is the sentence's subject, as a file's name."""
        told = _told(self.records[digest], self.records.get)
        return ErasedDataError(f"{what} has bytes that {told}; nothing was recorded. {advice}")


def erasures(state: State) -> Erasures:
    """What is erased in a state. Costs one look where nothing is."""
    return Erasures({bytes(digest): record for digest, record in state.erasures()})


def erased_error(state: State, digest: bytes) -> ErasedError | None:
    """What a reader of an object is told that was erased; None for one that was not."""
    record = state.erased(digest)
    if record is None:
        return None
    told = _told(record, state.erased)
    return ErasedError(f"object {Digest(digest)} cannot be read: its bytes {told}. It does not come back")


def files_of(found: Erasures, digests: Iterable[bytes]) -> str:
    """Who erased the first of these, when and why."""
    digest = found.first(digests)
    assert digest is not None
    return _told(found.records[digest], found.records.get)


def _told(record: str, look: Any) -> str:
    """`were erased by … on …: REASON (PATH of DATASET)`."""
    fields = _fields(record)
    file = fields.get(_OF)
    if isinstance(file, str):
        fields = _fields(look(_digest(file)) or "{}")
    who, when, why = (_text(fields.get(name)) for name in ("author", "time", "reason"))
    path, dataset = _text(fields.get("path")), _text(fields.get("dataset"))
    named = f", as {path} of {dataset}" if path and dataset else ""
    why = why or "no reason given"
    return f"were erased by {who or 'somebody'} on {when or 'an unknown day'}{named}: {why}"


def _fields(record: str) -> dict[str, Any]:
    """Nobody vouches for a record: one that is malformed says nothing."""
    try:
        found = json.loads(record)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _digest(text: str) -> bytes:
    try:
        return bytes(Digest.parse(text))
    except BadInputError:
        return b""


def _text(value: object) -> str:
    return safe_spelling(value[:TEXT_CHARACTERS_MAX]) if isinstance(value, str) else ""
