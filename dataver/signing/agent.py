"""The SSH agent, asked over its socket: which Ed25519 keys it holds, and to sign with one of them.

A message is a u32 length and so many bytes, the first of which says what it is; numbers are big-endian
(draft-ietf-sshm-ssh-agent). What an Ed25519 key signs there is the data itself, so that nobody can tell
an agent's signature from one by a file.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence

from dataver.errors import BadInputError, EnvironmentFaultError, NotPermittedError
from dataver.format.envelope import SIGNATURE_BYTES
from dataver.signing.public import KEY_TYPE, PublicKey, parse_blob
from dataver.values import NamedTuple

SOCKET_VARIABLE = "SSH_AUTH_SOCK"
MESSAGE_BYTES_MAX = 256 << 10
ANSWER_S_MAX = 120.0
"""An agent may ask its user to confirm, or to touch a key."""

_FAILURE = 5
_LIST, _LISTED = 11, 12
_SIGN, _SIGNED = 13, 14


class AgentKey(NamedTuple):
    """A key that an agent holds, with its comment."""

    key: PublicKey
    comment: str


class AgentSigner:
    """Signs with a key of the agent."""

    def __init__(self, public_key: PublicKey) -> None:
        self.public_key = public_key

    def sign(self, data: bytes) -> bytes:
        """The 64 bytes of a signature. `NotPermittedError` where the agent, or its user, refuses."""
        request = bytes([_SIGN]) + _string(self.public_key.blob) + _string(data) + bytes(4)
        answer = _ask(request)
        if answer[:1] == bytes([_FAILURE]):
            raise NotPermittedError(
                f"the SSH agent refuses to sign with {self.public_key.fingerprint}: it may be locked, or its "
                "user did not confirm"
            )
        reader = _Fields(answer, _SIGNED)
        signature = _Fields(reader.string())
        if signature.string() != KEY_TYPE.encode():
            raise _garbled()
        found = signature.string()
        signature.end()
        reader.end()
        if len(found) != SIGNATURE_BYTES:
            raise _garbled()
        return found


def agent_signer(wanted: str) -> AgentSigner:
    """The agent's key of this fingerprint or comment, or its only one where `wanted` is empty."""
    keys = agent_keys()
    found = [key for key in keys if not wanted or wanted in (key.key.fingerprint, key.comment)]
    if not keys:
        raise BadInputError("the SSH agent holds no Ed25519 key; `ssh-add FILE` adds one")
    if not found:
        raise BadInputError(f"the SSH agent holds no Ed25519 key {wanted[:200]!a}; it has {_listed(keys)}")
    if len({key.key for key in found}) > 1:
        raise BadInputError(f"the SSH agent holds several such keys; say which, as agent:{_listed(found)}")
    return AgentSigner(found[0].key)


def agent_keys() -> list[AgentKey]:
    """The Ed25519 keys that the agent holds. Keys of other kinds, also in hardware, are left out."""
    reader = _Fields(_ask(bytes([_LIST])), _LISTED)
    found = []
    for _ in range(reader.number()):
        key, comment = parse_blob(reader.string()), reader.string().decode("utf-8", "replace")
        if key is not None:
            found.append(AgentKey(key, comment))
    reader.end()
    return found


def _listed(keys: Sequence[AgentKey]) -> str:
    return ", ".join(f"{key.key.fingerprint} ({key.comment[:100]!a})" for key in keys)


def _ask(request: bytes) -> bytes:
    """Send one message and read the answer."""
    path = os.environ.get(SOCKET_VARIABLE)
    if not path:
        raise BadInputError(
            f"no SSH agent is known: {SOCKET_VARIABLE} is not set; start one, or name a key file with --key"
        )
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(ANSWER_S_MAX)
            connection.connect(path)
            connection.sendall(_string(request))
            length = int.from_bytes(_receive(connection, 4), "big")
            if not 0 < length <= MESSAGE_BYTES_MAX:
                raise _garbled()
            return _receive(connection, length)
    except TimeoutError:
        raise EnvironmentFaultError(
            f"the SSH agent at {path} did not answer for {ANSWER_S_MAX:.0f} s; nothing was signed"
        ) from None
    except OSError as error:
        raise EnvironmentFaultError(
            f"the SSH agent at {path} cannot be reached ({error}); start one, or name a key file with --key"
        ) from None


def _receive(connection: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        more = connection.recv(length - len(data))
        if not more:
            raise _garbled()
        data += more
    return data


def _string(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


class _Fields:
    """Takes numbers and strings from a message, each checked against what is left of it."""

    def __init__(self, data: bytes, kind: int | None = None) -> None:
        self._data = data
        self._at = 0
        if kind is not None and self._take(1) != bytes([kind]):
            raise _garbled()

    def number(self) -> int:
        return int.from_bytes(self._take(4), "big")

    def string(self) -> bytes:
        return self._take(self.number())

    def end(self) -> None:
        if self._at != len(self._data):
            raise _garbled()

    def _take(self, length: int) -> bytes:
        if length > len(self._data) - self._at:
            raise _garbled()
        self._at += length
        return self._data[self._at - length : self._at]


def _garbled() -> EnvironmentFaultError:
    return EnvironmentFaultError("the SSH agent gave an answer that is none; nothing was signed")
