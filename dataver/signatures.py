"""Signing versions and runs, checking signatures, and listing whom to trust: what users ask a repository."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dataver.digest import Digest
from dataver.errors import (
    BadInputError,
    DamagedError,
    EnvironmentFaultError,
    MissingExtraError,
    NotFoundError,
    RefNotFoundError,
)
from dataver.format.operations import ConfigSet, Operation, Sign
from dataver.log.run_state import run_named
from dataver.log.state import State
from dataver.refs import Resolved, parse_ref
from dataver.session import Session
from dataver.values import dataclass

if TYPE_CHECKING:
    from dataver.signing.agent import AgentSigner
    from dataver.signing.check import SignatureInfo, Subject
    from dataver.signing.ed25519 import FileSigner
    from dataver.signing.trust import TrustedKey

KEY_VARIABLE = "DATAVER_SIGNING_KEY"
PASSPHRASE_VARIABLE = "DATAVER_SIGNING_PASSPHRASE"  # noqa: S105 - the name of a variable
AGENT = "agent"

_RUN = re.compile(r"run:([0-9a-f]{32})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Signed:
    """What a signing did. `created` is False where the key had signed it before: nothing was recorded.

    `kind` is "version" or "run"; `signer` is who holds the key, None where it is not trusted here.
    """

    subject: str
    kind: str
    id: str
    key: str
    fingerprint: str
    signer: str | None
    created: bool

    def to_json(self) -> dict[str, Any]:
        """`{"subject", "kind", "id", "key", "fingerprint", "name", "created"}`."""
        return {
            "subject": self.subject,
            "kind": self.kind,
            "id": self.id,
            "key": self.key,
            "fingerprint": self.fingerprint,
            "name": self.signer,
            "created": self.created,
        }


@dataclass(frozen=True, slots=True)
class SignatureReport:
    """All signatures of a version or a run. `trust` is the file of trusted keys; None: the repository."""

    subject: str
    kind: str
    id: str
    signatures: list[SignatureInfo]
    trust: str | None

    @property
    def ok(self) -> bool:
        """Whether a trusted key signed it."""
        return any(self.signatures)

    def to_json(self) -> dict[str, Any]:
        """`{"subject", "kind", "id", "ok", "trust", "signatures": [signature…]}`."""
        return {
            "subject": self.subject,
            "kind": self.kind,
            "id": self.id,
            "ok": self.ok,
            "trust": self.trust,
            "signatures": [one.to_json() for one in self.signatures],
        }


class Signatures:
    """The signatures of a repository, and whom it trusts. A REF is a version, `run:ID` a run that ended."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def sign(
        self, ref: str, key: str | None = None, *, passphrase: Callable[[], str | None] | None = None
    ) -> Signed:
        """Vouch for a version or a run with an Ed25519 key.

        `key` is a file with a private key, `agent` for the SSH agent's only one, or `agent:` and a
        fingerprint or comment; without it `DATAVER_SIGNING_KEY`. `passphrase` is asked where the file is
        encrypted and `DATAVER_SIGNING_PASSPHRASE` is not set. A key that has signed it signs nothing again.
        """
        from dataver.signing.check import is_signed_by
        from dataver.signing.trust import trusted

        state = self._session.newest()
        subject = self._subject(ref, state, writing=True)
        signer = _signer(key, passphrase)
        public = signer.public_key
        entry = trusted(state).keys.get(public.id)
        operation: list[Sign] = []

        def plan(state: State) -> tuple[Operation, ...] | None:
            if is_signed_by(state, subject, public):
                operation.clear()
                return None
            if not operation:
                operation.append(_signature(subject, signer))
            return tuple(operation)

        self._session.log.append(plan, self._session.who(None))
        return Signed(
            subject.name, subject.kind, subject.id, str(public.id), public.fingerprint,
            None if entry is None else entry.name, bool(operation),
        )  # fmt: skip

    def verify(self, ref: str) -> SignatureReport:
        """Every signature of a version or a run, checked. `ok` where a trusted key signed it."""
        from dataver.signing.check import signatures
        from dataver.signing.ed25519 import need_cryptography
        from dataver.signing.trust import trusted

        need_cryptography()
        subject = self._subject(ref, self._session.state())
        newest = self._session.log.state()
        trust = trusted(newest)
        found = signatures(newest, subject, trust)
        return SignatureReport(subject.name, subject.kind, subject.id, found, trust.file)

    def of(self, ref: str) -> list[SignatureInfo]:
        """The signatures of a version for those who did not ask for a check, which needs the extra `sign`.

        Without it, their `valid` is None.
        """
        state = self._session.log.state()
        found = list(state.signatures(self._session.resolve_ref(parse_ref(ref), state).version.id))
        if not found:
            return []
        try:
            return self.verify(ref).signatures
        except MissingExtraError as error:
            from dataver.signing.check import SignatureInfo

            return [SignatureInfo(str(one.signer), None, None, str(error)) for one in found]

    def trusted(self) -> list[TrustedKey]:
        """The keys whose signatures count: those in `DATAVER_TRUSTED_KEYS`, else the repository's own."""
        from dataver.signing.trust import trusted

        keys = trusted(self._session.log.state()).keys.values()
        return sorted(keys, key=lambda entry: (entry.name, entry.key.raw))

    def trust(self, name: str, key: str) -> TrustedKey:
        """List a public key (a file, or `ssh-ed25519 AAAA…`) in the repository, under a name."""
        from dataver.signing.public import check_name, read_public_key
        from dataver.signing.trust import TrustedKey, setting_of

        entry = TrustedKey(check_name(name), read_public_key(key))
        setting = setting_of(entry.key)
        self._set(lambda state: {} if state.setting(setting) == entry.line else {setting: entry.line})
        return entry

    def distrust(self, key: str) -> list[TrustedKey]:
        """Take keys from the repository's list: all of a name, or the one of a fingerprint or id."""
        from dataver.signing.trust import listed, setting_of

        gone: list[TrustedKey] = []

        def settings(state: State) -> dict[str, str]:
            known = listed(state).keys.values()
            gone[:] = [e for e in known if key in (e.name, e.key.fingerprint, str(e.key.id))]
            if not gone:
                raise NotFoundError(
                    "the repository trusts no key of this name; `dataver trust list` shows those it does"
                )
            return {setting_of(entry.key): "" for entry in gone}

        self._set(settings)
        return gone

    def _set(self, settings: Callable[[State], dict[str, str]]) -> None:
        def plan(state: State) -> tuple[Operation, ...] | None:
            return tuple(ConfigSet(*pair) for pair in settings(state).items()) or None

        self._session.newest()
        self._session.log.append(plan, self._session.who(None))

    def _subject(self, ref: str, state: State, *, writing: bool = False) -> Subject:
        from dataver.signing.check import run_subject, version_subject

        session = self._session
        if ref.startswith("run:"):
            return run_subject(session.repository, *_ended_run(ref, state))
        found = (
            session.resolve_ref(parse_ref(ref), state) if writing else session.resolve_unsigned(ref, state)
        )
        record = session.record(found.version.id, state)
        if writing:
            self._check_tree(found, record.tree, state)
        return version_subject(session.repository, found, record)

    def _check_tree(self, found: Resolved, tree: bytes, state: State) -> None:
        """Nobody vouches for files that are not those of the version."""
        root = self._session.root(self._session.nodes(state), found.version)
        if root.identity != tree:
            raise DamagedError(
                f"{found.canonical} is damaged: its files are not those that its record names; run "
                "`dataver verify`. Nothing was signed"
            )


def _ended_run(ref: str, state: State) -> tuple[bytes, Digest]:
    match = _RUN.fullmatch(ref)
    if match is None:
        raise BadInputError(f"{ref[:200]!a} is not a run: run: and 32 lower-case hex digits are expected")
    run = bytes.fromhex(match[1])
    found = run_named(state, run)
    if found is None:
        raise RefNotFoundError(f"there is no {ref} here")
    if found.end is None:
        raise BadInputError(f"{ref} has not ended; what it will have done cannot be signed yet")
    return run, found.end


def _signature(subject: Subject, signer: FileSigner | AgentSigner) -> Sign:
    from dataver.format.envelope import Envelope, signed_bytes
    from dataver.signing.ed25519 import is_valid

    key = signer.public_key
    statement = subject.stated_by(key)
    data = signed_bytes(statement)
    signature = signer.sign(data)
    if not is_valid(key, signature, data):
        raise EnvironmentFaultError(
            f"what signs with {key.fingerprint} gave a signature that is wrong; nothing was recorded"
        )
    return Sign(subject.digest, key.id, Envelope(statement, key.id, signature).encode())


def _signer(key: str | None, passphrase: Callable[[], str | None] | None) -> FileSigner | AgentSigner:
    chosen = key or os.environ.get(KEY_VARIABLE)
    if not chosen:
        raise BadInputError(f"no key to sign with: name one with --key FILE, --key agent, or {KEY_VARIABLE}")
    from dataver.signing.ed25519 import need_cryptography, read_private_key

    need_cryptography()
    if chosen == AGENT or chosen.startswith(f"{AGENT}:"):
        from dataver.signing.agent import agent_signer

        return agent_signer(chosen[len(AGENT) + 1 :])

    def ask() -> str | None:
        return os.environ.get(PASSPHRASE_VARIABLE) or (None if passphrase is None else passphrase())

    return read_private_key(chosen, ask)
