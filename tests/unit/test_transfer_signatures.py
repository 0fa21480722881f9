"""Signatures go along with the versions that they are of."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataver.digest import Digest
from dataver.errors import SignatureError
from dataver.format.operations import Sign
from dataver.repository import Repository
from tests.damage import append
from tests.golden.make_vectors import digest_of
from tests.repositories import memory_repository
from tests.signing import make_key, public, write_key

ADA, BEN = make_key(1), make_key(2)


class World:
    """`here` has two versions of `d`, the second of them signed; `there` is empty and trusts ada."""

    def __init__(self, folder: Path) -> None:
        self.here, self.there = memory_repository(), memory_repository()
        self.data = folder / "data"
        self.data.mkdir()
        self.key, self.other_key = write_key(folder / "ada", ADA), write_key(folder / "ben", BEN)
        for text in ("one", "two"):
            (self.data / "file").write_text(text)
            self.here.commit("d", self.data, message=text)
        self.here.signatures.sign("d@v2", self.key)
        self.there.signatures.trust("ada", public(ADA).line)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def signed(repository: Repository) -> set[tuple[str, str]]:
    """Which version is signed by whose key, as the log has it."""
    names = {public(ADA).id: "ada", public(BEN).id: "ben"}
    return {(str(s.subject), names[s.signer]) for s in repository.session.state().signatures()}


def test_a_push_carries_them(world: World) -> None:
    result = world.here.push(to=world.there)
    assert (result.versions, result.signatures) == (2, 1)
    assert signed(world.there) == {(world.here.version("d@v2").id, "ada")}
    assert world.there.signatures.verify("d").ok
    assert world.there.version("d", require_signed=True).read("file") == b"two"
    with pytest.raises(SignatureError):
        world.there.version("d@v1", require_signed=True)
    assert world.there.verify(deep=True).ok


def test_a_pull_carries_them(world: World) -> None:
    assert world.there.pull(["d"], source=world.here).signatures == 1
    assert world.there.signatures.verify("d").ok


def test_those_of_versions_that_are_not_there_stay(world: World) -> None:
    result = world.here.push(["d@v1"], to=world.there)
    assert (result.versions, result.signatures) == (1, 0)
    assert signed(world.there) == set()


def test_what_is_signed_later_follows(world: World) -> None:
    world.here.push(to=world.there)
    for ref, key in (("d@v1", world.key), ("d@v2", world.other_key)):
        world.here.signatures.sign(ref, key)
    result = world.here.push(to=world.there)
    assert (result.refs, result.versions, result.signatures) == ([], 0, 2)
    assert signed(world.there) == signed(world.here)
    entries = world.there.session.log.tail().entry.number
    assert world.here.push(to=world.there).signatures == 0
    assert world.there.session.log.tail().entry.number == entries, "nothing is recorded twice"


def test_both_sides_get_what_the_other_signed(world: World) -> None:
    world.here.push(to=world.there)
    world.there.signatures.sign("d@v1", world.other_key)
    assert world.here.pull(source=world.there).signatures == 1
    assert signed(world.here) == signed(world.there)


def test_a_copy_that_signs_again_records_nothing(world: World) -> None:
    """The other repository has another id, which a signature may name."""
    world.here.push(to=world.there)
    assert not world.there.signatures.sign("d@v2", world.key).created


def test_one_for_the_new_name_takes_the_place_of_one_for_the_old(world: World) -> None:
    world.here.push(to=world.there)
    for repository in (world.here, world.there):
        repository.rename("d", "flowers")
    assert world.here.push(to=world.there).signatures == 0
    assert not world.there.signatures.verify("flowers").ok
    world.here.signatures.sign("flowers", world.key)
    assert world.here.push(to=world.there).signatures == 1
    assert world.there.signatures.verify("flowers").ok
    world.here.rename("flowers", "d")
    world.here.signatures.sign("d", world.key)
    assert world.here.push(to=world.there).signatures == 0, "that of there is for the name of there"
    assert world.there.signatures.verify("flowers").ok


def test_the_list_of_trusted_keys_stays(world: World) -> None:
    world.here.signatures.trust("ben", public(BEN).line)
    world.here.push(to=world.there)
    assert [entry.name for entry in world.there.signatures.trusted()] == ["ada"]


def test_what_no_writer_makes_goes_no_further(world: World) -> None:
    version = Digest.parse(world.here.version("d@v1").id)
    append(world.here, Sign(version, public(BEN).id, b"{}"))
    append(world.here, Sign(digest_of("nothing"), public(BEN).id, b"{}"))
    assert world.here.push(to=world.there).signatures == 1
    assert signed(world.there) == {(world.here.version("d@v2").id, "ada")}


def test_another_dataset_keeps_its_own(world: World) -> None:
    world.here.commit("other", world.data, message="other")
    world.here.signatures.sign("other", world.key)
    assert world.here.push(["d"], to=world.there).signatures == 1
    assert world.here.push(["other"], to=world.there).signatures == 1


def test_a_push_of_one_name_brings_those_of_what_is_there_too(world: World) -> None:
    world.here.push(to=world.there)
    world.here.signatures.sign("d@v1", world.key)
    world.here.tag("d@v2", "paper")
    assert world.here.push(["d@paper"], to=world.there).signatures == 1
