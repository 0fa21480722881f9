"""Where data came from: what is recorded of it, what is refused, and for which versions it holds."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from dataver.errors import DamagedError, RefNotFoundError
from dataver.format.limits import PROVENANCE_BYTES_MAX
from dataver.format.provenance import (
    PROVENANCE_TAG,
    DerivedFrom,
    Provenance,
    Source,
    in_part,
    provenance_of,
)
from dataver.format.version import VersionRecord, decode_version
from dataver.hashing import blake3_digest
from dataver.origins import Origins, origins, quick_origins
from dataver.publish import Label
from dataver.repository import Repository, init
from tests.far import opened
from tests.golden.make_vectors import make, provenance
from tests.repositories import memory_repository

CANARY = "canary7f3a"
DERIVED = DerivedFrom("iris", "0a" * 32, "1b" * 32, "2c" * 16)
A, B, C = Source(url="https://a.example/a"), Source(url="https://b.example/b"), Source(url="doi:10.1/c")
NUMBERS = count()


class Folder:
    """A folder that is committed to the dataset `d`, each time with another content of one file."""

    def __init__(self, place: Path, repository: Repository) -> None:
        self.place = place
        self.repository = repository
        place.mkdir()

    def commit(self, *sources: Source, name: str = "file", **options: Any) -> str:
        (self.place / name).write_text(f"{next(NUMBERS)}")
        return self.repository.commit("d", self.place, sources=sources, **options).id

    def origins(self, ref: str = "d", versions_max: int | None = None) -> Origins:
        session = self.repository.session
        return origins(session, session.resolve(ref), versions_max)

    def sources(self, ref: str = "d") -> list[str]:
        return [source.url for source in self.origins(ref).sources]


@pytest.fixture
def data(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "data", memory_repository())


# The record


def test_the_body_is_one_spelling() -> None:
    body = Provenance((Source(url="u", note="\u2603"),), (DERIVED,), partial=True).encode()
    assert (
        body
        == (
            f'{{"derived_from":[{{"dataset":"iris","id":"{DERIVED.id}","repository":"{DERIVED.repository}",'
            f'"tree":"{DERIVED.tree}"}}],"partial":true,"sources":[{{"note":"\u2603","url":"u"}}]}}'
        ).encode()
    )
    assert Provenance().encode() == b"{}"


def test_the_vector_of_the_specification() -> None:
    (body,) = [
        bytes.fromhex(vector["bytes"]) for vector in make() if vector["name"] == "version with sources"
    ]
    assert provenance_of(decode_version(body, "it").extensions, "it") == provenance()


def test_it_is_part_of_the_version() -> None:
    def record(*extensions: tuple[bytes, int, bytes]) -> VersionRecord:
        return VersionRecord(blake3_digest(b""), (), 0, "a", "m", extensions=extensions)

    one, other = (record(Provenance((source,)).extension()) for source in (A, B))
    assert len({one.id(), other.id(), record().id()}) == 3
    assert provenance_of(decode_version(one.encode(), "it").extensions, "it") == Provenance((A,))
    assert provenance_of(record().extensions, "it") is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b'{"sources":[]}',
        b'{"sources":{}}',
        b'{"sources":[1]}',
        b'{"sources":[{"url":1}]}',
        b'{"sources":[{"url":""}]}',
        b'{"sources":[{"url":"a","url":"b"}]}',
        b'{"sources": [{"url":"a"}]}',
        b'{"sources":[{"url":"b","note":"a"}]}',
        b'{"sources":[{"url":"\\u0061"}]}',
        b'{"sources":[{"url":"\\ud800"}]}',
        b'{"sources":[{"url":"\xff"}]}',
        b'{"sources":[{"collected_at":"yesterday"}]}',
        b'{"sources":[{"collected_at":"2026-02-30"}]}',
        b'{"sources":[{"collected_at":"2026-01-01T25:00:00Z"}]}',
        b'{"sources":[{"digest":"md5:00"}]}',
        b'{"partial":false}',
        b'{"partial":1}',
        b'{"x":NaN}',
        b'{"x":' + b"9" * 5_000 + b"}",
        b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"derived_from":[{"dataset":"d"}]}',
        b'{"derived_from":[{"dataset":"d","id":"0","repository":"1","tree":"2"}]}',
        b'{"x":"' + b"x" * PROVENANCE_BYTES_MAX + b'"}',
    ],
)
def test_malformed_bodies_are_damage(body: bytes) -> None:
    with pytest.raises(DamagedError, match=r"^version 7 is malformed") as caught:
        provenance_of([(PROVENANCE_TAG, 0, body)], "version 7")
    assert len(str(caught.value)) < 200


def test_two_of_them_are_damage() -> None:
    with pytest.raises(DamagedError, match="twice"):
        provenance_of([Provenance((A,)).extension(), Provenance((B,)).extension()], "it")


def test_what_later_releases_add_is_ignored() -> None:
    body = b'{"later":1,"sources":[{"later":[1.5,null],"url":"https://a.example/a"}]}'
    assert provenance_of([(b"note", 0, b"x"), (PROVENANCE_TAG, 4, body)], "it") == Provenance((A,))


def test_what_is_put_on_top_of_others_is_partial() -> None:
    note = (b"zzzz", 0, b"kept")
    found = in_part((Provenance((A,)).extension(), note), "it")
    assert provenance_of(found, "it") == Provenance((A,), partial=True)
    assert note in found
    assert in_part((note,), "it") == (note,)
    assert in_part(found, "it") == found


# For which versions they hold


def test_a_version_without_sources_has_those_of_the_nearest_before(data: Folder) -> None:
    data.commit()
    assert data.origins() == Origins()
    first = data.commit(A, C)
    assert data.sources() == [A.url, C.url]
    data.commit()
    data.commit()
    assert (data.sources(), data.origins().versions) == ([A.url, C.url], (first,))
    data.commit(B)
    assert data.sources() == [B.url], "what is said of a whole version replaces what was said before"
    assert data.sources("d@v1") == []


def test_what_was_added_has_its_sources_beside_those_before(data: Folder) -> None:
    first = data.commit(A)
    second = data.commit(B, name="other", add=True)
    data.commit()
    assert (data.sources(), data.origins().versions) == ([B.url, A.url], (second, first))
    data.commit(C, into="below")
    data.commit(A, include=["file"])
    assert data.sources() == [A.url, C.url, B.url]


def test_a_look_back_can_be_bounded(data: Folder) -> None:
    data.commit(A)
    for _ in range(4):
        data.commit()
    assert data.origins(versions_max=4) == Origins(whole=False)
    assert data.origins(versions_max=5).sources == (A,)


def test_a_quick_look_is_bounded(data: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    data.commit(A)
    for _ in range(3):
        data.commit()
    session = data.repository.session
    found = session.resolve("d")
    assert quick_origins(session, found).sources == (A,)
    monkeypatch.setattr("dataver.origins.QUICK_VERSIONS_MAX_FAR", 3)
    assert quick_origins(session, found).sources == (A,)
    far = opened(session.store).session
    assert quick_origins(far, far.resolve("d")) == Origins(whole=False)
    monkeypatch.setattr("dataver.origins.QUICK_VERSIONS_MAX", 3)
    assert quick_origins(session, found) == Origins(whole=False)


def test_a_merge_has_the_sources_of_both_lines(data: Folder) -> None:
    data.commit(A)
    data.commit(B, name="b", branch="side")
    (data.place / "b").unlink()
    data.repository.checkout("d@v1", data.place, overwrite=True)
    data.commit(C, name="c")
    merged = data.repository.merge("d@side")
    assert data.sources() == [C.url, B.url]
    assert merged.id not in data.origins().versions, "it says nothing of its own"


def test_a_revert_has_the_sources_of_what_it_goes_back_to(data: Folder) -> None:
    data.commit()
    data.commit(A)
    data.commit()
    data.commit(B)
    data.repository.revert("d@v3")
    assert data.sources() == [A.url]
    data.repository.revert("d@v1")
    assert data.sources() == []
    data.repository.revert("d@v4")
    assert data.sources() == [B.url]
    records = data.repository.session.log.tail().entry.number
    data.repository.revert("d@v4")
    assert data.repository.session.log.tail().entry.number == records, "nothing changed"


def test_a_revert_to_a_history_in_part_leaves_room_for_the_rest(data: Folder) -> None:
    data.commit(A)
    data.commit(B, name="b", add=True)
    data.commit(C)
    there = memory_repository()
    there.pull(source=data.repository, depth=2)
    there.revert("d@v2")
    found = origins(there.session, there.session.resolve("d"))
    assert found.sources == (B, C), "C is too much; A is not known here, and C stands where all is said"


def test_what_is_put_on_top_of_others_has_their_sources_too(data: Folder, tmp_path: Path) -> None:
    data.commit(A)
    other = Folder(tmp_path / "other", data.repository)
    data.repository.checkout("d", other.place)
    data.commit(B, name="b")
    done = other.commit(C, name="c")
    assert data.repository.show("d").id == done
    assert data.sources() == [C.url, B.url]


def test_nothing_changed_records_no_sources(data: Folder) -> None:
    data.commit(A)
    done = data.repository.commit("d", data.place, sources=[B])
    assert (done.created, data.sources()) == (False, [A.url])
    assert data.repository.commit("d", data.place, sources=[B], allow_empty=True).created
    assert data.sources() == [B.url]


def test_derived_from(data: Folder) -> None:
    first = data.commit(A, tags=["paper"])
    repository = data.repository
    done = repository.commit(
        "e", data.place, derived_from=["d@paper", f"{repository.url}#d", repository.version("d@v1")]
    )
    version = repository.version(f"d@{first}")
    expected = DerivedFrom("d", first, version.tree, repository.id)
    assert data.origins("e") == Origins((), (expected,), (done.id,))
    before = repository.session.log.tail().entry.number
    for ref in ("d@v9", "none", f"{repository.url}#none"):
        with pytest.raises(RefNotFoundError):
            repository.commit("f", data.place, derived_from=[ref])
    assert repository.session.log.tail().entry.number == before


def test_derived_from_another_repository(data: Folder, tmp_path: Path) -> None:
    data.commit(A)
    other = init(str(tmp_path / "other"))
    other.commit("e", data.place, derived_from=[data.repository.version("d"), f"{data.repository.url}#d"])
    (found,) = origins(other.session, other.session.resolve("e")).derived_from
    assert (found.repository, found.id) == (data.repository.id, data.repository.show("d").id)


def test_no_secret_reaches_a_repository(data: Folder, tmp_path: Path) -> None:
    place = tmp_path / "repository"
    repository = init(str(place))
    (data.place / "file").write_text("1")
    secret = {
        "url": f"https://me:{CANARY}@h.example/x?sv=1&sig={CANARY}",
        "method": f"curl 'https://h.example/x?token={CANARY}'",
    }
    repository.commit("d", data.place, sources=[secret, f"az://c/p?sig={CANARY}"])
    found = origins(repository.session, repository.session.resolve("d"))
    assert CANARY not in json.dumps(found.to_json())
    version = repository.session.resolve("d").version.id
    assert CANARY.encode() not in repository.session.record(version).encode()
    assert all(CANARY.encode() not in file.read_bytes() for file in place.rglob("*") if file.is_file())


# Other repositories


def test_push_and_pull_carry_them(data: Folder) -> None:
    data.commit(A)
    done = data.commit(B, name="b", add=True)
    for move in (
        lambda there: data.repository.push(to=there),
        lambda there: there.pull(source=data.repository),
    ):
        there = memory_repository()
        move(there)
        assert there.show("d").id == done
        assert origins(there.session, there.session.resolve("d")) == data.origins()
        assert there.verify(deep=True).ok


def test_a_rebase_keeps_them_and_counts_those_of_the_other_line(data: Folder, tmp_path: Path) -> None:
    data.commit(A)
    there = memory_repository()
    data.repository.push(to=there)
    other = Folder(tmp_path / "other", there)
    there.checkout("d", other.place)
    other.commit(B, name="b")
    data.commit(C, name="c")
    data.commit(name="c")
    data.repository.pull(source=there, rebase=True)
    assert len(list(data.repository.log("d"))) == 4
    assert data.sources() == [C.url, B.url]
    assert data.repository.verify(deep=True).ok


def test_a_history_in_part_is_not_all_there_is_to_say(data: Folder) -> None:
    data.commit(A)
    data.commit(B, add=True)
    there = memory_repository()
    there.pull(source=data.repository, depth=1)
    found = origins(there.session, there.session.resolve("d"))
    assert (found.sources, found.whole) == ((B,), False)


# Hostile repositories


def test_a_forged_record_is_damage_and_its_files_are_read(
    data: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Label, "extensions", lambda self, moved: ((PROVENANCE_TAG, 0, b'{"sources":[]}'),))
    data.commit()
    session = data.repository.session
    assert data.repository.version("d").read("file")
    with pytest.raises(DamagedError, match="malformed"):
        data.origins()
    report = data.repository.verify()
    assert [damage.harms[0].version for damage in report.damaged] == ["v1"]
    assert "sources" in report.damaged[0].reason
    assert session.record(session.resolve("d").version.id).extensions
