"""Signing and checking: what is signed, by which key, what counts, and what never does."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import replace
from pathlib import Path

import pytest

from dataver.digest import Digest
from dataver.errors import (
    BadInputError,
    DamagedError,
    NewerFormatError,
    RefNotFoundError,
    SignatureError,
)
from dataver.format.envelope import (
    Envelope,
    RunStatement,
    VersionStatement,
    decode_envelope,
    pae,
    signed_bytes,
)
from dataver.format.limits import ENVELOPE_BYTES_MAX
from dataver.format.operations import RunEnd, RunStart, Sign, VersionAdd
from dataver.log.state import SIGNATURE
from dataver.repository import Repository
from dataver.signing.check import SignatureInfo, signatures, version_subject
from dataver.signing.trust import trusted
from tests.damage import append
from tests.golden.make_vectors import digest_of, id_of
from tests.repositories import memory_repository
from tests.signing import make_key, public, write_key

ADA, BEN = make_key(1), make_key(2)


class World:
    """A repository with two versions of `iris`, and ada's key, which it trusts."""

    def __init__(self, folder: Path) -> None:
        self.repository = memory_repository()
        self.folder = folder
        self.data = folder / "data"
        self.data.mkdir()
        for text in ("one", "two"):
            self.commit("iris", text)
        self.key = write_key(folder / "ada", ADA)
        self.other_key = write_key(folder / "ben", BEN)
        self.repository.signatures.trust("ada@example.org", f"{self.key}.pub")

    def commit(self, dataset: str, text: str) -> None:
        (self.data / "file").write_text(text)
        self.repository.commit(dataset, self.data, message=text)

    def sign(self, ref: str = "iris@v2") -> bytes:
        """Sign with ada's key; the envelope."""
        assert self.repository.signatures.sign(ref, self.key).created
        return self.envelope(self.repository.version(ref).id)

    def envelope(self, id: str) -> bytes:
        (found,) = self.repository.session.state().signatures(bytes.fromhex(id))
        return found.envelope

    def record(self, envelope: bytes, ref: str = "iris@v2") -> SignatureInfo:
        """Have the log say that `envelope` is ada's signature of a version; what a check says of it."""
        subject = Digest.parse(self.repository.version(ref).id)
        append(self.repository, Sign(subject, public(ADA).id, envelope))
        (found,) = self.check(ref)
        return found

    def check(self, ref: str = "iris@v2") -> list[SignatureInfo]:
        return self.repository.signatures.verify(ref).signatures

    def forge(self, ref: str = "iris@v2", **changed: str) -> bytes:
        """An envelope that ada's key really signed, over a statement that is changed."""
        said = decode_envelope(self.sign(ref), "it").statement
        assert isinstance(said, VersionStatement)
        statement = replace(said, **changed)
        return Envelope(statement, public(ADA).id, ADA.sign(signed_bytes(statement))).encode()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


# Envelopes


def test_the_encoding_is_that_of_the_specification() -> None:
    """The example in DSSE's protocol.md, and that lengths count bytes."""
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )
    assert pae("", b"") == b"DSSEv1 0  0 "
    assert pae("\u00e9", "\u2603".encode()) == b"DSSEv1 2 \xc3\xa9 3 \xe2\x98\x83"


OF_A_VERSION = VersionStatement(
    "iris", str(digest_of("v")), "01" * 32, str(digest_of("m")), "02" * 16, "03" * 32
)
OF_A_RUN = RunStatement("04" * 16, "01" * 32, str(digest_of("r")), "02" * 16)


def envelope_of(statement: VersionStatement | RunStatement) -> bytes:
    return Envelope(statement, digest_of("key"), bytes(range(64))).encode()


@pytest.mark.parametrize("statement", [OF_A_VERSION, OF_A_RUN], ids=["version", "run"])
def test_an_envelope_is_read_as_it_was_written(statement: VersionStatement | RunStatement) -> None:
    found = decode_envelope(envelope_of(statement), "it")
    assert (found.statement, found.key_id, found.signature) == (statement, digest_of("key"), bytes(range(64)))
    assert found.encode() == envelope_of(statement)
    assert len(envelope_of(statement)) < ENVELOPE_BYTES_MAX / 4


def changed(**fields: object) -> bytes:
    return json.dumps(
        json.loads(envelope_of(OF_A_VERSION)) | fields, sort_keys=True, separators=(",", ":")
    ).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff",
        b"[" * 5_000,
        envelope_of(OF_A_VERSION) + b"\n",
        envelope_of(OF_A_VERSION).replace(b'":', b'": ', 1),
        changed(payload="!"),
        changed(payload=b64encode(b"{}").decode()),
        changed(payload=b64encode(b"7").decode()),
        changed(payload=7),
        changed(payloadType=[]),
        changed(payloadType="application/vnd.dataver.run+json"),
        changed(signatures=[]),
        changed(signatures=json.loads(envelope_of(OF_A_VERSION))["signatures"] * 2),
        changed(signatures=[{"keyid": "00", "sig": ""}]),
        changed(signatures=[{"keyid": "00" * 32, "sig": b64encode(bytes(63)).decode()}]),
        changed(more=1),
        envelope_of(replace(OF_A_VERSION, id="short")),
        envelope_of(replace(OF_A_VERSION, id="AA" * 32)),
        envelope_of(replace(OF_A_VERSION, dataset="d" * ENVELOPE_BYTES_MAX)),
    ],
)
def test_what_no_writer_makes_is_damage(data: bytes) -> None:
    with pytest.raises(DamagedError, match=r"^it "):
        decode_envelope(data, "it")


def test_a_statement_of_a_later_kind_is_no_damage() -> None:
    with pytest.raises(NewerFormatError, match="this release"):
        decode_envelope(changed(payloadType="application/vnd.dataver.model+json"), "it")


# What counts


def test_a_signature_names_what_it_is_of(world: World) -> None:
    said = decode_envelope(world.sign(), "it").statement
    version = world.repository.version("iris@v2")
    (state,) = [v for v in world.repository.session.state().versions(dataset_id(world)) if v.number == 2]
    assert said == VersionStatement(
        "iris", version.id, public(ADA).raw.hex(), str(state.manifest), world.repository.id, version.tree
    )


def dataset_id(world: World) -> bytes:
    found = world.repository.session.state().dataset("iris")
    assert found is not None
    return found


def test_signed_by_a_trusted_key(world: World) -> None:
    world.sign()
    key = public(ADA)
    (found,) = world.check()
    assert found == SignatureInfo(str(key.id), "ada@example.org", True, None)
    assert found.trusted
    assert found.fingerprint == key.fingerprint
    assert world.repository.signatures.verify("iris").ok
    assert not world.repository.signatures.verify("iris@v1").ok, "each version is signed by itself"


def test_signing_again_records_nothing(world: World) -> None:
    world.sign()
    before = world.repository.session.log.tail().entry.number
    again = world.repository.signatures.sign("iris@v2", world.key)
    assert (again.created, again.signer) == (False, "ada@example.org")
    assert world.repository.session.log.tail().entry.number == before


def test_several_may_sign(world: World) -> None:
    world.sign()
    done = world.repository.signatures.sign("iris@v2", world.other_key)
    assert (done.created, done.signer) == (True, None)
    found = {one.key: one for one in world.check()}
    other = found[str(public(BEN).id)]
    assert other == SignatureInfo(str(public(BEN).id), None, True, "the key is not trusted")
    assert len(found) == 2
    assert world.repository.signatures.verify("iris@v2").ok
    world.repository.signatures.distrust("ada@example.org")
    assert not world.repository.signatures.verify("iris@v2").ok


def test_no_flipped_bit_anywhere_counts(world: World) -> None:
    """In the envelope, and in the ids under which the log has it."""
    envelope = world.sign()
    state = world.repository.session.state().copy()
    subject = Digest.parse(world.repository.version("iris").id)
    signer = public(ADA).id
    session = world.repository.session
    trust = trusted(state)
    resolved = session.resolve("iris", state)
    wanted = version_subject(session.repository, resolved, session.record(resolved.version.id))
    assert all(signatures(state, wanted, trust))
    for bit in range(8 * len(envelope)):
        broken = bytearray(envelope)
        broken[bit // 8] ^= 1 << bit % 8
        state.changes[SIGNATURE + subject + signer] = bytes(broken)
        (found,) = signatures(state, wanted, trust)
        assert not found
        assert not found.valid
    state.changes[SIGNATURE + subject + signer] = None
    for bit in range(256):
        broken = bytearray(signer)
        broken[bit // 8] ^= 1 << bit % 8
        state.changes[SIGNATURE + subject + bytes(broken)] = envelope
        (found,) = signatures(state, wanted, trust)
        assert not found.valid
        state.changes[SIGNATURE + subject + bytes(broken)] = None


def test_no_truncated_envelope_counts(world: World) -> None:
    envelope = world.sign()
    for length in (0, 1, len(envelope) // 2, len(envelope) - 1):
        found = world.record(envelope[:length])
        assert (found.valid, bool(found)) == (False, False)
        assert "malformed" in str(found.problem)


def test_the_signature_of_another_version_does_not_count(world: World) -> None:
    found = world.record(world.sign("iris@v1"), "iris@v2")
    assert not found.valid
    assert "another id" in str(found.problem)


def test_the_signature_of_another_key_does_not_count(world: World) -> None:
    """What ben signed, under the id of ada's key: as it stands, and with his key's name changed to hers."""
    statement = decode_envelope(world.sign(), "it").statement
    bens = replace(statement, key=public(BEN).raw.hex())
    signature = BEN.sign(signed_bytes(bens))
    for envelope in (
        Envelope(bens, public(BEN).id, signature),
        Envelope(bens, public(ADA).id, signature),
        Envelope(statement, public(ADA).id, BEN.sign(signed_bytes(statement))),
        Envelope(statement, public(ADA).id, signature),
    ):
        found = world.record(envelope.encode())
        assert (found.name, found.valid) == ("ada@example.org", False)


@pytest.mark.parametrize("field", ["id", "manifest", "tree", "dataset"])
def test_what_ada_signed_of_something_else_does_not_count(world: World, field: str) -> None:
    found = world.record(world.forge(**{field: "another" if field == "dataset" else str(digest_of("x"))}))
    assert not found.valid
    assert f"another {field}" in str(found.problem)


def test_where_it_was_signed_does_not_matter(world: World) -> None:
    assert world.record(world.forge(repository="ab" * 16))


def test_other_files_under_a_signed_version_do_not_count(world: World, tmp_path: Path) -> None:
    """A record that was signed, with the manifest of another version behind it."""
    signed, state = world.repository.version("iris@v2"), world.repository.session.state()
    (other,) = [v for v in state.versions(dataset_id(world)) if v.number == 1]
    evil = memory_repository()
    world.sign()
    evil.pull(["iris@v1"], source=world.repository)
    dataset = dataset_id(world)
    add = VersionAdd(dataset, Digest.parse(signed.id), other.manifest, 1, 3, 0, 0)
    append(evil, add)
    evil.pull(["iris@v2"], source=world.repository)
    evil.signatures.trust("ada@example.org", f"{world.key}.pub")
    (found,) = evil.signatures.verify(f"iris@{signed.id}").signatures
    assert not found.valid
    assert "another manifest" in str(found.problem)
    with pytest.raises(SignatureError, match="another manifest"):
        evil.version(f"iris@{signed.id}", require_signed=True)
    with pytest.raises(DamagedError, match="not those that its record names"):
        evil.signatures.sign(f"iris@{signed.id}", world.key)


def test_a_dataset_of_another_name_is_signed_again(world: World) -> None:
    world.sign()
    world.repository.rename("iris", "flowers")
    (found,) = world.check("flowers@v2")
    assert "another dataset, iris" in str(found.problem)
    assert world.repository.signatures.sign("flowers@v2", world.key).created
    assert world.repository.signatures.verify("flowers@v2").ok


def test_a_signature_stays_over_a_checkpoint(world: World) -> None:
    world.sign()
    for number in range(70):
        world.repository.tag("iris@v2", f"t{number}")
    assert world.repository.signatures.verify("iris@t69").ok
    assert world.repository.verify(deep=True).ok


# Runs


def test_runs(world: World) -> None:
    run, record = id_of("run"), digest_of("end")
    ref = f"run:{run.hex()}"
    signatures = world.repository.signatures
    with pytest.raises(RefNotFoundError, match="no run"):
        signatures.sign(ref, world.key)
    append(world.repository, RunStart(run, digest_of("start")))
    with pytest.raises(BadInputError, match="not ended"):
        signatures.sign(ref, world.key)
    append(world.repository, RunEnd(run, record, 0))
    assert not signatures.verify(ref).ok
    done = signatures.sign(ref, world.key)
    assert (done.subject, done.kind, done.id, done.created) == (ref, "run", run.hex(), True)
    assert not signatures.sign(ref, world.key).created
    report = signatures.verify(ref)
    assert report.ok
    (state,) = world.repository.session.state().signatures(record)
    assert decode_envelope(state.envelope, "it").statement == RunStatement(
        run.hex(), public(ADA).raw.hex(), str(record), world.repository.id
    )


def test_the_signature_of_a_run_is_none_of_another_with_that_record(world: World) -> None:
    record = digest_of("end")
    for name in ("run", "other"):
        append(world.repository, RunStart(id_of(name), digest_of("start")))
        append(world.repository, RunEnd(id_of(name), record, 0))
    world.repository.signatures.sign(f"run:{id_of('run').hex()}", world.key)
    report = world.repository.signatures.verify(f"run:{id_of('other').hex()}")
    assert not report.ok
    assert "another id" in str(report.signatures[0].problem)


@pytest.mark.parametrize("ref", ["run:", "run:xyz", "run:" + "A" * 32, "run:" + "0" * 31])
def test_what_is_no_run(world: World, ref: str) -> None:
    with pytest.raises(BadInputError, match="is not a run"):
        world.repository.signatures.verify(ref)


def test_a_version_is_not_signed_for_a_run(world: World) -> None:
    version = Digest.parse(world.repository.version("iris").id)
    append(world.repository, RunStart(id_of("run"), digest_of("start")))
    append(world.repository, RunEnd(id_of("run"), version, 0))
    world.repository.signatures.sign("iris", world.key)
    report = world.repository.signatures.verify(f"run:{id_of('run').hex()}")
    assert [one.problem for one in report.signatures] == ["it signs something of another kind"]


# Required


def test_what_is_not_signed_is_not_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    repository: Repository = world.repository
    world.sign("iris@v1")
    assert repository.version("iris@v1", require_signed=True).read("file") == b"one"
    with pytest.raises(SignatureError, match="it is not signed"):
        repository.version("iris", require_signed=True)
    assert repository.version("iris").read("file") == b"two"
    monkeypatch.setenv("DATAVER_REQUIRE_SIGNED", "0")
    assert repository.version("iris").read("file") == b"two"
    monkeypatch.setenv("DATAVER_REQUIRE_SIGNED", "1")
    for read in (
        repository.version,
        repository.show,
        repository.log,
        lambda ref: repository.diff(ref, "iris@v1"),
    ):
        with pytest.raises(SignatureError):
            read("iris")
    with pytest.raises(SignatureError):
        repository.checkout("iris", world.folder / "out")
    assert not (world.folder / "out").exists()
    assert repository.checkout("iris@v1", world.folder / "out").files == 1
    world.repository.signatures.sign("iris", world.key)
    assert repository.version("iris").read("file") == b"two"


def test_a_key_that_lost_trust_counts_for_the_past_neither(world: World) -> None:
    world.sign()
    entry = world.repository.session.log.tail().entry.number
    then = Repository(world.repository.url, at=str(entry), require_signed=True)
    then._check()
    assert then.version("iris").read("file") == b"two"
    world.repository.signatures.distrust("ada@example.org")
    with pytest.raises(SignatureError):
        then.version("iris")
