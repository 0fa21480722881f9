"""Whether what somebody vouched for is what a reader is about to get."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from dataver.digest import Digest
from dataver.errors import DamagedError, NewerFormatError, SignatureError
from dataver.format.envelope import RunStatement, Statement, VersionStatement, decode_envelope
from dataver.format.version import VersionRecord
from dataver.log.state import SignatureState, State
from dataver.refs import Resolved
from dataver.signing.ed25519 import is_valid, need_cryptography
from dataver.signing.public import PublicKey, fingerprint
from dataver.signing.trust import Trust, trusted
from dataver.values import dataclass


@dataclass(frozen=True, slots=True)
class Subject:
    """What can be signed: `digest` is a version's id, or that of the record of a run's end.

    `statement` is what a signature has to say of it; its `key` and `repository` are the signer's own.
    """

    name: str
    kind: str
    id: str
    digest: Digest
    statement: Statement

    def stated_by(self, key: PublicKey) -> Statement:
        """What the holder of a key signs."""
        return replace(self.statement, key=key.raw.hex())


@dataclass(frozen=True, slots=True)
class SignatureInfo:
    """One signature: the id of its key, and who holds that, None where nobody said so: it is not trusted.

    `valid`: the holder of the key signed this very thing; None where nobody could check. `problem` says
    why a signature does not count.
    """

    key: str
    name: str | None
    valid: bool | None
    problem: str | None

    @property
    def trusted(self) -> bool:
        """Whether the key is."""
        return self.name is not None

    @property
    def fingerprint(self) -> str:
        """That of the key, as OpenSSH prints it."""
        return fingerprint(bytes.fromhex(self.key))

    def __bool__(self) -> bool:
        """Whether it counts: valid, and of a trusted key."""
        return self.problem is None

    def to_json(self) -> dict[str, Any]:
        """`{"key", "fingerprint", "name", "trusted", "valid", "problem"}`."""
        return {
            "key": self.key,
            "fingerprint": self.fingerprint,
            "name": self.name,
            "trusted": self.trusted,
            "valid": self.valid,
            "problem": self.problem,
        }


def version_subject(repository: str, found: Resolved, record: VersionRecord) -> Subject:
    """What a signature of a version is over."""
    version = found.version
    statement = VersionStatement(
        found.name, str(version.id), "", str(version.manifest), repository, str(record.tree)
    )
    return Subject(found.canonical, "version", str(version.id), version.id, statement)


def run_subject(repository: str, run: bytes, record: Digest) -> Subject:
    """What a signature of a run is over."""
    statement = RunStatement(run.hex(), "", str(record), repository)
    return Subject(f"run:{run.hex()}", "run", run.hex(), record, statement)


def signatures(state: State, subject: Subject, trust: Trust) -> list[SignatureInfo]:
    """Every signature of a subject that the repository has, checked, by key id."""
    return [_check(found, subject, trust) for found in state.signatures(subject.digest)]


def require(state: State, subject: Subject) -> None:
    """`SignatureError` unless a trusted key signed the subject."""
    need_cryptography()
    trust = trusted(state)
    found = signatures(state, subject, trust)
    if not any(found):
        raise SignatureError(f"{missing(subject, found, trust)}; nothing was read")


def missing(subject: Subject, found: Iterable[SignatureInfo], trust: Trust) -> str:
    """Says that nothing counts, and why."""
    problems = "; ".join(f"{one.fingerprint}: {one.problem}" for one in found)
    return (
        f"{subject.name} has no valid signature by a key that {trust.where} trusts"
        f" ({problems or 'it is not signed'})"
    )


def is_signed_by(state: State, subject: Subject, key: PublicKey) -> bool:
    """Whether the repository has a valid signature of a subject by a key, trusted or not."""
    nobody = Trust({})
    return any(
        one.signer == key.id and _check(one, subject, nobody).valid
        for one in state.signatures(subject.digest)
    )


def _check(found: SignatureState, subject: Subject, trust: Trust) -> SignatureInfo:
    entry = trust.keys.get(found.signer)
    name = None if entry is None else entry.name
    problem = _problem(found, subject)
    valid = problem is None
    if valid and name is None:
        problem = "the key is not trusted"
    return SignatureInfo(str(found.signer), name, valid, problem)


def _problem(found: SignatureState, subject: Subject) -> str | None:
    """Why the holder of the key that a signature stands under did not sign the subject, if that is so."""
    try:
        envelope = decode_envelope(found.envelope, "it")
    except (DamagedError, NewerFormatError) as error:
        return str(error)
    said, expected = envelope.statement, subject.statement
    key = PublicKey(bytes.fromhex(said.key))
    if not key.id == envelope.key_id == found.signer:
        return f"it is by another key, {key.fingerprint}"
    if type(said) is not type(expected):
        return "it signs something of another kind"
    for name in expected.FIELDS:
        mine, there = getattr(expected, name), getattr(said, name)
        if name not in ("key", "repository") and mine != there:
            return f"it signs another {name}, {there[:200]}, and here it is {mine}"
    if not is_valid(key, envelope.signature, envelope.signed):
        return "the signature is wrong: it was forged or damaged"
    return None
