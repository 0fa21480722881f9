"""Erasures and copies between repositories: the records go along, the bytes do not, and never come back."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import dataver
from dataver.compression import Codec
from dataver.digest import Digest
from dataver.erasure import erase
from dataver.errors import ErasedDataError, ErasedError
from dataver.hashing import blake3_digest
from dataver.keys import PACK_PREFIX
from dataver.packs import read_footer
from dataver.repository import Repository
from tests.erased import traces

REASON = "request 4711"


def noise(seed: object, size_bytes: int) -> bytes:
    return random.Random(str(seed)).randbytes(size_bytes)


class Pair:
    """Two repositories and a folder that is committed from."""

    def __init__(self, place: Path) -> None:
        self.folder = place / "source"
        self.folder.mkdir()
        self.here = dataver.init(str(place / "here"))
        self.there = dataver.init(str(place / "there"))

    def write(self, path: str, data: bytes) -> bytes:
        (self.folder / path).write_bytes(data)
        return data

    def write_alone(self, path: str, data: bytes) -> Path:
        alone = self.folder.with_name("alone")
        alone.mkdir()
        (alone / path).write_bytes(data)
        return alone

    def erase(self, repository: Repository, what: str, ref: str = "d") -> None:
        erase(repository.session, ref, what, reason=REASON, yes=True)


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    made = Pair(tmp_path)
    made.write("large", noise("large", 700_000))
    for number in range(4):
        made.write(f"label{number}", b"label " * 50 + str(number).encode() + noise(number, 20).hex().encode())
    made.write("kept", noise("kept", 100_000))
    made.here.commit("d", made.folder)
    return made


def is_whole(repository: Repository, erased: int) -> bool:
    report = dataver.open(repository.url).verify(deep=True)
    assert report.ok, report.damaged
    return report.erased == erased


@pytest.mark.parametrize("path", ["large", "label2"])
def test_records_go_along_and_bytes_do_not(pair: Pair, path: str) -> None:
    data = (pair.folder / path).read_bytes()
    pair.erase(pair.here, path)
    result = pair.here.push(to=pair.there)
    assert (result.erased, result.not_erased) == (1, [])
    assert is_whole(pair.there, 1)
    assert traces(pair.there.session.store, data[-60:]) == []
    with pytest.raises(ErasedError, match=REASON):
        pair.there.version("d").read(path)
    for other in pair.folder.iterdir():
        if other.name != path:
            assert pair.there.version("d").read(other.name) == other.read_bytes()
    with pytest.raises(ErasedDataError, match=REASON):
        pair.there.commit("e", pair.folder)
    assert pair.here.push(to=pair.there).erased == 0
    # And from there to a third one.
    third = dataver.init(pair.there.url + "-third")
    assert third.pull(source=pair.there).erased == 1
    assert is_whole(third, 1)


@pytest.mark.parametrize("path", ["large", "label2"])
def test_what_the_receiver_erased_it_does_not_take(pair: Pair, path: str) -> None:
    data = (pair.folder / path).read_bytes()
    pair.here.push(to=pair.there)
    pair.erase(pair.there, path)
    pair.here.commit("e", pair.folder)
    number = pair.there.session.log.tail().entry.number
    with pytest.raises(ErasedDataError, match=rf"{path}.*{REASON}"):
        pair.here.push(["e"], to=pair.there)
    with pytest.raises(ErasedDataError, match=rf"{path}.*{REASON}"):
        pair.there.pull(["e"], source=pair.here)
    assert pair.there.session.log.tail().entry.number == number
    assert traces(pair.there.session.store, data[-60:]) == []
    pair.erase(pair.here, path)
    assert pair.here.push(to=pair.there).versions == 1
    assert is_whole(pair.there, 1)
    assert traces(pair.there.session.store, data[-60:]) == []


def test_a_file_with_a_part_that_the_receiver_erased_is_refused(pair: Pair) -> None:
    pair.here.push(to=pair.there)
    pair.erase(pair.there, "large")
    (pair.folder / "large").write_bytes(noise("large", 700_000) + b"more")
    pair.here.commit("d", pair.folder)
    with pytest.raises(ErasedDataError, match=REASON):
        pair.here.push(to=pair.there)
    assert traces(pair.there.session.store, noise("large", 700_000)[:200_000]) == []


def test_a_compressed_frame_goes_without_the_neighbour_that_was_erased(pair: Pair) -> None:
    pair.here.push(to=pair.there)
    secret = pair.write("label9", b"label " * 50 + b"9" + noise(9, 20).hex().encode())
    pair.write("label8", b"label " * 50 + b"8" + noise(8, 20).hex().encode())
    pair.here.commit("both", pair.folder)
    (pair.folder / "label9").unlink()
    pair.here.commit("one", pair.folder)
    pair.there.commit("mine", pair.write_alone("label9", secret))
    pair.erase(pair.there, blake3_digest(secret).hex(), "mine")
    assert pair.here.push(["one"], to=pair.there).versions == 1
    assert traces(pair.there.session.store, secret[-40:]) == []
    assert is_whole(pair.there, 1)
    assert pair.there.version("one").read("label8") == (pair.folder / "label8").read_bytes()


def test_what_the_receiver_still_has_is_told(pair: Pair) -> None:
    pair.here.push(to=pair.there)
    pair.erase(pair.here, "large")
    pair.here.branch("d", "again")
    pair.here.commit("d", pair.folder, branch="again", include=["kept"], allow_empty=True)
    assert pair.here.push(to=pair.there).not_erased == []
    assert pair.there.version("d").read("large") == noise("large", 700_000)
    pair.there.delete_dataset("d")
    pair.here.commit("f", pair.folder / "kept")
    assert pair.here.push(["f"], to=pair.there).erased == 0


def test_a_version_that_comes_where_the_bytes_are_is_whole(pair: Pair) -> None:
    pair.there.commit("own", pair.folder)
    pair.erase(pair.here, "large")
    digest = blake3_digest(noise("large", 700_000)).hex()
    result = pair.here.push(to=pair.there)
    assert (result.erased, result.not_erased) == (0, [digest])
    assert pair.there.version("d").read("large") == noise("large", 700_000)
    assert is_whole(pair.there, 0)
    pair.erase(pair.there, digest, "own")
    assert is_whole(pair.there, 1)


def test_frames_are_compressed_again(pair: Pair) -> None:
    """Else the tests of compressed frames above would test nothing."""
    pair.erase(pair.here, "label2")
    store = pair.here.session.store
    codecs = {
        frame.codec
        for info in store.list(PACK_PREFIX)
        for frame in read_footer(store, Digest.parse(info.key.rpartition("/")[2]))[0].frames
    }
    assert Codec.ZSTD in codecs
