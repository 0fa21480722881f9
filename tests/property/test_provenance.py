"""What is said of where data came from comes back as it was said, and nothing else is believed."""

from __future__ import annotations

import json
import string
from contextlib import suppress
from datetime import UTC, date
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from dataver.cards.fields import read_written
from dataver.cards.page import cell, printable
from dataver.errors import BadInputError, DamagedError
from dataver.format.provenance import PROVENANCE_TAG, DerivedFrom, Provenance, Source, provenance_of
from dataver.provenance import make_source, shown_url

CANARY = "canary7f3a"

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
hexes = st.text("0123456789abcdef", min_size=64, max_size=64)
times = st.one_of(
    st.dates().map(date.isoformat),
    st.datetimes(timezones=st.just(UTC)).map(lambda time: time.replace(tzinfo=None).isoformat() + "Z"),
)
sources = st.builds(
    Source,
    url=texts,
    licence=texts,
    collected_at=st.one_of(st.just(""), times),
    collected_by=texts,
    method=texts,
    legal_basis=texts,
    digest=st.one_of(st.just(""), hexes.map("sha256:".__add__), hexes.map("blake3:".__add__)),
    note=texts,
)
derived = st.builds(DerivedFrom, texts.filter(bool), hexes, hexes, hexes.map(lambda digits: digits[:32]))
provenances = st.builds(
    Provenance,
    st.lists(sources, max_size=4).map(tuple),
    st.lists(derived, max_size=3).map(tuple),
    st.booleans(),
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=10,
)
names = st.sampled_from(["sources", "derived_from", "partial", "url", "collected_at", "digest", "id", "x"])
documents = st.recursive(
    values, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=3)
)


@given(provenances)
def test_a_record_comes_back(said: Provenance) -> None:
    body = said.encode()
    assert provenance_of([(PROVENANCE_TAG, 0, body)], "it") == said
    assert json.loads(body) is not None


@given(st.one_of(documents.map(lambda found: json.dumps(found, sort_keys=True).encode()), st.binary()))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with suppress(DamagedError):
        found = provenance_of([(PROVENANCE_TAG, 0, body)], "it")
        assert found is not None
        assert provenance_of([found.extension()], "it") == found


@given(sources)
@example(Source(url="data ?key=1"))
def test_what_was_made_ready_is_made_ready(said: Source) -> None:
    with suppress(BadInputError):
        once = make_source(said)
        assert make_source(once) == once


@given(
    st.sampled_from(["https", "s3", "az", "abfss", "ftp"]),
    st.text(string.ascii_letters + "._-@:", max_size=8),
    st.text(string.ascii_letters + "/._-", max_size=12),
    st.text(string.ascii_letters + "=&?/:@", max_size=8),
)
def test_no_secret_of_a_url_is_kept(scheme: str, user: str, path: str, query: str) -> None:
    for url in (
        f"{scheme}://{user}:{CANARY}@h.example/{path}?{query}",
        f"{scheme}://{user}@h.example/{path}?{query}{CANARY}",
        f"{scheme}://h.example/{path}#{CANARY}?{query}",
    ):
        with suppress(BadInputError):
            assert CANARY not in shown_url(url)
            assert CANARY not in make_source({"note": f"see '{url}' there"}).note


@given(st.binary(max_size=300), st.sampled_from([b"", b"+++\n", b"---\n"]))
def test_any_file_can_be_on_a_card(data: bytes, mark: bytes) -> None:
    found = read_written("README.md", mark + data + b"\n" + mark + b"text")
    json.dumps([found.fields, found.other, found.text], allow_nan=False).encode()


@given(st.text(max_size=60), values)
def test_no_cell_has_a_control_character_or_ends_early(text: str, value: Any) -> None:
    for shown in (cell(text), cell(value)):
        assert not set(shown) & set("\n\r\x1b\x00\u202e\x9b")
        assert "|" not in shown.replace("\\|", "")
        shown.encode()
    printable(text).encode()
