"""What users say of sources: what is recorded of it, and what is refused."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from dataver.errors import BadInputError, PathNotFoundError
from dataver.format.limits import PROVENANCE_BYTES_MAX
from dataver.format.provenance import Source
from dataver.provenance import FIELD_CHARACTERS_MAX, load_sources, make_source
from tests.repositories import memory_repository

CANARY = "canary7f3a"
A, C = Source(url="https://a.example/a"), Source(url="doi:10.1/c")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (f"https://u:{CANARY}@h.example:8443/a/b?x=1&sig={CANARY}#{CANARY}", "https://h.example:8443/a/b"),
        (f"https://{CANARY}@h.example/a", "https://h.example/a"),
        (f"https://a@b:{CANARY}@h.example/a", "https://h.example/a"),
        (f"abfss://box:{CANARY}@acc.dfs.core.windows.net/p", "abfss://box@acc.dfs.core.windows.net/p"),
        ("abfs://box@acc.dfs.core.windows.net/p", "abfs://box@acc.dfs.core.windows.net/p"),
        (f"acc.blob.core.windows.net/c/x?sv=1&sig={CANARY}", "acc.blob.core.windows.net/c/x"),
        (f"user:{CANARY}@h.example/x", "user@h.example/x"),
        ("https://[::1]:80/x", "https://[::1]:80/x"),
        (
            f"zip://a/b.csv::https://u:{CANARY}@h.example/x.zip?sig={CANARY}",
            "zip://a/b.csv::https://h.example/x.zip",
        ),
        (f"simplecache::abfs://box@acc.example/x?sig={CANARY}", "simplecache::abfs://box@acc.example/x"),
        (f"zip://*?{CANARY}::filecache::s3://b/k#{CANARY}", "zip://*::filecache::s3://b/k"),
        ("https://medium.example/@ada/data", "https://medium.example/@ada/data"),
        ("doi:10.24432/C56C76", "doi:10.24432/C56C76"),
        ("/measured/by hand", "/measured/by hand"),
    ],
)
def test_of_a_url_no_credentials_are_kept(given: str, kept: str) -> None:
    assert make_source(given).url == make_source({"url": given}).url == kept
    assert make_source(make_source(given)).url == kept


@pytest.mark.parametrize("url", [f"https://u:{CANARY}/x@h.example/p", f"s3://k:a/{CANARY}@b/p"])
def test_a_url_with_a_malformed_password_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(BadInputError) as caught:
        make_source(url)
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize("name", ["licence", "collected_by", "method", "legal_basis", "note"])
def test_other_fields_keep_no_secrets_either(name: str) -> None:
    text = (
        f"azcopy copy 'https://acc.example/c?sv=1&sig={CANARY}' . ; AccountKey={CANARY};x "
        f"curl -H 'Authorization: Bearer {CANARY}' https://me:{CANARY}@h.example/f"
    )
    kept = getattr(make_source({name: text}), name)
    assert CANARY not in kept
    assert "azcopy copy 'https://acc.example/c' ." in kept
    assert "https://h.example/f" in kept


def test_a_malformed_url_in_a_text_is_left_out_of_it() -> None:
    text = f"see http://host:port/x and https://u:{CANARY}/y@h.example/z, or https://a.example: all of it"
    assert make_source({"note": text}).note == "see http://… and https://… or https://a.example: all of it"


@pytest.mark.parametrize(
    "part", ["x", "X-Amz-", "a://", "://", ":", "@", "token=", "://a:", "a" * 31 + "://"]
)
def test_long_texts_are_read_in_time(part: str) -> None:
    text = (part * FIELD_CHARACTERS_MAX)[:FIELD_CHARACTERS_MAX].strip()
    start = time.monotonic()
    make_source({"note": text})
    with suppress(BadInputError):
        make_source(text)
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("2026-01-31", "2026-01-31"),
        (date(2026, 1, 31), "2026-01-31"),
        ("2026-01-31T09:30:00+01:00", "2026-01-31T08:30:00Z"),
        ("2026-01-31T09:30:00", "2026-01-31T09:30:00Z"),
        ("2026-01-31 09:30", "2026-01-31T09:30:00Z"),
        (datetime(2026, 1, 31, 9, 30, 0, 5, UTC), "2026-01-31T09:30:00.000005Z"),
        (datetime(2026, 1, 31, 9, tzinfo=timezone(timedelta(hours=2))), "2026-01-31T07:00:00Z"),
    ],
)
def test_times(given: object, kept: str) -> None:
    assert make_source({"collected_at": given}).collected_at == kept


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"url": ""},
        {"url": "  "},
        {"url": 3},
        {"uri": "x"},
        {"collected_at": "yesterday"},
        {"collected_at": "20260131"[:7]},
        {"collected_at": 3},
        {"collected_at": "0001-01-01T00:00:00+14:00"},
        {"digest": "00" * 32},
        {"digest": "sha256:xyz"},
        {"note": "\ud800"},
        {"note": "x" * PROVENANCE_BYTES_MAX},
        7,
    ],
)
def test_sources_that_cannot_be_recorded(given: Any, tmp_path: Path) -> None:
    repository = memory_repository()
    (tmp_path / "file").write_text("1")
    with pytest.raises(BadInputError):
        repository.commit("d", tmp_path, sources=[given])
    assert repository.session.log.tail().entry.number == 0


@pytest.mark.parametrize("options", [{"sources": "https://a"}, {"sources": A}, {"derived_from": "d"}])
def test_one_in_place_of_a_list(options: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="list"):
        memory_repository().commit("d", tmp_path, **options)


def test_a_digest_is_kept_in_lower_case() -> None:
    assert make_source({"digest": "SHA256:" + "AB" * 32}).digest == "sha256:" + "ab" * 32


SAMPLES = {
    "toml": (
        'derived_from = ["iris@v1"]\n[[sources]]\nurl = "u"\ncollected_at = 2026-01-05\n'
        '[[sources]]\nnote = "n"'
    ),
    "json": (
        '{"derived_from": ["iris@v1"], "sources": [{"url": "u", "collected_at": "2026-01-05"}, '
        '{"note": "n"}]}'
    ),
}


@pytest.mark.parametrize("text", SAMPLES.values(), ids=SAMPLES)
def test_a_file_of_sources(text: str, tmp_path: Path) -> None:
    (tmp_path / "s").write_text(text)
    assert load_sources(tmp_path / "s") == (
        [Source(url="u", collected_at="2026-01-05"), Source(note="n")],
        ["iris@v1"],
    )


def test_a_list_alone_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "s").write_text(json.dumps([A.to_json(), "doi:10.1/c"]))
    assert load_sources(tmp_path / "s") == ([A, C], [])


@pytest.mark.parametrize(
    "text",
    ["sources", "sources = 1", "derived_from = 'x'", "other = 1", "[[sources]]\nx = 1", "[" * 100_000, "\0"],
)
def test_files_that_are_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "s").write_text(text)
    with pytest.raises(BadInputError):
        load_sources(tmp_path / "s")
    (tmp_path / "s").write_bytes(b"\xff")
    with pytest.raises(BadInputError):
        load_sources(tmp_path / "s")
    with pytest.raises(PathNotFoundError):
        load_sources(tmp_path / "none")
