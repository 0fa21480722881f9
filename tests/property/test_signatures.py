"""Envelopes: whatever they say is read as it was written, and nothing else is read at all."""

from __future__ import annotations

import json
from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from dataver.digest import Digest
from dataver.errors import BadInputError, DamagedError, NewerFormatError
from dataver.format.envelope import (
    Envelope,
    RunStatement,
    Statement,
    VersionStatement,
    decode_envelope,
    pae,
    signed_bytes,
)
from dataver.signing.public import PublicKey, parse_blob, parse_line


def hexes(size: int) -> st.SearchStrategy[str]:
    return st.binary(min_size=size, max_size=size).map(bytes.hex)


names = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
versions = st.builds(VersionStatement, names, hexes(32), hexes(32), hexes(32), hexes(16), hexes(32))
statements = st.one_of(versions, st.builds(RunStatement, hexes(16), hexes(32), hexes(32), hexes(16)))
envelopes = st.builds(
    Envelope,
    statements,
    st.binary(min_size=32, max_size=32).map(Digest),
    st.binary(min_size=64, max_size=64),
)


@given(envelopes)
def test_envelopes_are_read_as_they_were_written(envelope: Envelope) -> None:
    assert decode_envelope(envelope.encode(), "it") == envelope


@given(envelopes, st.data())
def test_no_other_bytes_are_read_as_the_same(envelope: Envelope, data: st.DataObject) -> None:
    written = envelope.encode()
    at = data.draw(st.integers(0, len(written) - 1))
    broken = data.draw(
        st.sampled_from(
            [
                written[:at],
                written[:at] + b" " + written[at:],
                written[:at] + bytes([written[at] ^ data.draw(st.integers(1, 255))]) + written[at + 1 :],
            ]
        )
    )
    with suppress(DamagedError, NewerFormatError):
        assert decode_envelope(broken, "it") != envelope


json_values: st.SearchStrategy[object] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)


@given(st.binary(max_size=300) | json_values.map(lambda value: json.dumps(value).encode()))
def test_anything_else_is_an_error_of_ours(data: bytes) -> None:
    with suppress(DamagedError, NewerFormatError):
        raise AssertionError(decode_envelope(data, "it"))


@given(envelopes, st.sampled_from(["payload", "payloadType", "signatures", "more"]), json_values)
def test_fields_of_other_kinds_are_errors_of_ours(envelope: Envelope, name: str, value: object) -> None:
    document = json.loads(envelope.encode()) | {name: value}
    data = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    with suppress(DamagedError, NewerFormatError):
        assert decode_envelope(data, "it").encode() == data


@given(statements, statements)
def test_different_statements_are_signed_as_different_bytes(a: Statement, b: Statement) -> None:
    assert (signed_bytes(a) == signed_bytes(b)) == (a == b)


@given(names, st.binary(max_size=40), names, st.binary(max_size=40))
def test_no_two_pairs_are_encoded_alike(a: str, x: bytes, b: str, y: bytes) -> None:
    assert (pae(a, x) == pae(b, y)) == ((a, x) == (b, y))


@given(st.binary(min_size=32, max_size=32))
def test_public_keys_are_read_as_they_are_written(raw: bytes) -> None:
    key = PublicKey(raw)
    assert parse_line(f"{key.line} a comment") == parse_blob(key.blob) == key


@given(st.text(max_size=120) | st.text(max_size=90).map(lambda text: f"ssh-ed25519 {text}"))
def test_no_text_breaks_the_reading_of_public_keys(text: str) -> None:
    with suppress(BadInputError):
        assert parse_line(text).line.split()[1] == text.split()[1]
