"""Keys: files and their passphrases, public ones, lists of trusted ones, the SSH agent. Nothing leaks."""

from __future__ import annotations

import io
import logging
import pickle
import re
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from dataver.errors import (
    BadInputError,
    DamagedError,
    DataverError,
    EnvironmentFaultError,
    MissingExtraError,
    NotFoundError,
    NotPermittedError,
)
from dataver.format.operations import ConfigSet
from dataver.repository import Repository, open_repository
from dataver.signing import agent
from dataver.signing.agent import agent_keys, agent_signer
from dataver.signing.ed25519 import FileSigner, is_valid, read_private_key
from dataver.signing.public import PublicKey, parse_line, read_public_key
from dataver.signing.trust import read_file
from tests.damage import append
from tests.repositories import memory_repository
from tests.signing import make_key, public, write_key
from tests.ssh_agent import FAILURE, Agent, framed, listening, string

ADA, BEN = make_key(1), make_key(2)
CANARY = "canary-in-the-passphrase"


def nobody() -> str | None:
    raise AssertionError("no passphrase is needed")


# Private keys


@pytest.mark.parametrize("form", [PrivateFormat.OpenSSH, PrivateFormat.PKCS8])
def test_a_key_file_signs(tmp_path: Path, form: PrivateFormat) -> None:
    signer = read_private_key(write_key(tmp_path / "key", ADA, form), nobody)
    assert signer.public_key == public(ADA)
    assert signer.sign(b"data") == ADA.sign(b"data")
    assert is_valid(signer.public_key, signer.sign(b"data"), b"data")
    assert not is_valid(signer.public_key, signer.sign(b"data"), b"date")
    assert not is_valid(public(BEN), signer.sign(b"data"), b"data")
    assert not is_valid(signer.public_key, b"short", b"data")


@pytest.mark.parametrize("form", [PrivateFormat.OpenSSH, PrivateFormat.PKCS8])
def test_a_key_with_a_passphrase(tmp_path: Path, form: PrivateFormat) -> None:
    path = write_key(tmp_path / "key", ADA, form, passphrase=CANARY)
    assert read_private_key(path, lambda: CANARY).public_key == public(ADA)
    for missing in ("", None):
        with pytest.raises(BadInputError, match="is encrypted: set DATAVER_SIGNING_PASSPHRASE"):
            read_private_key(path, lambda missing=missing: missing)  # type: ignore[misc]
    with pytest.raises(BadInputError, match="the passphrase is not that of"):
        read_private_key(path, lambda: "another")


def test_the_environment_has_the_passphrase_before_anybody_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = with_data(tmp_path)
    path = write_key(tmp_path / "key", ADA, passphrase=CANARY)
    with pytest.raises(BadInputError, match="is encrypted"):
        repository.signatures.sign("iris", path)
    assert repository.signatures.sign("iris", path, passphrase=lambda: CANARY).created
    monkeypatch.setenv("DATAVER_SIGNING_PASSPHRASE", CANARY)
    assert not repository.signatures.sign("iris", path, passphrase=nobody).created
    monkeypatch.setenv("DATAVER_SIGNING_KEY", path)
    assert not repository.signatures.sign("iris").created


def with_data(folder: Path) -> Repository:
    data = folder / "data"
    data.mkdir()
    (data / "file").write_bytes(b"1")
    repository = memory_repository()
    repository.commit("iris", data)
    return repository


def rsa_pem() -> bytes:
    key = rsa.generate_private_key(65537, 2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())


def ec_pem() -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "holds no private key"),
        (b"ssh-ed25519 AAAA", "holds no private key"),
        (b"-----BEGIN PRIVATE KEY-----\nrubbish\n-----END PRIVATE KEY-----\n", "is malformed"),
        (b"-----BEGIN OPENSSH PRIVATE KEY-----\nQUFB\n-----END OPENSSH PRIVATE KEY-----\n", "is malformed"),
        (rsa_pem(), "no Ed25519 key"),
        (ec_pem(), "no Ed25519 key"),
        (bytes(1 << 17), "too much for keys"),
    ],
    ids=["empty", "public", "no PEM", "no OpenSSH", "RSA", "EC", "large"],
)
def test_what_is_no_key(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "key").write_bytes(data)
    with pytest.raises(BadInputError, match=message) as raised:
        read_private_key(str(tmp_path / "key"), nobody)
    assert str(tmp_path / "key") in str(raised.value)


def test_there_is_no_key(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="there is no file"):
        read_private_key(str(tmp_path / "none"), nobody)
    with pytest.raises(BadInputError, match="cannot be read"):
        read_private_key(str(tmp_path), nobody)
    with pytest.raises(BadInputError, match="no key to sign with"):
        with_data(tmp_path).signatures.sign("iris")


def test_nothing_tells_of_a_private_key_or_a_passphrase(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither in errors and their tracebacks, nor in logs or output, nor anywhere in the repository."""
    caplog.set_level(logging.DEBUG)
    data = tmp_path / "data"
    data.mkdir()
    (data / "file").write_bytes(b"1")
    repository = Repository(str(tmp_path / "repository"))
    repository.session.create()
    repository.commit("iris", data)
    path = Path(write_key(tmp_path / "key", ADA, passphrase=CANARY))
    plain = Path(write_key(tmp_path / "plain", ADA))
    said = io.StringIO()
    text = plain.read_text()
    (tmp_path / "cut").write_text(text[:200])
    (tmp_path / "changed").write_text(text.replace("A", "B"))
    attempts: list[Callable[[], object]] = [
        lambda: repository.signatures.sign("iris", str(path), passphrase=lambda: f"{CANARY}x"),
        lambda: repository.signatures.sign("iris", str(tmp_path / "cut")),
        lambda: repository.signatures.sign("iris", str(tmp_path / "changed")),
        lambda: repository.signatures.trust("ada", str(plain)),
        lambda: repository.signatures.trust("ada", text),
        lambda: repository.signatures.trust("ada", text.replace("\n", " ")),
        lambda: repository.signatures.trust(text, text),
        lambda: repository.signatures.distrust(text),
        lambda: repository.signatures.sign("iris", text),
    ]
    for attempt in attempts:
        with pytest.raises(DataverError) as raised:
            attempt()
        traceback.print_exception(raised.value, file=said)
    done = repository.signatures.sign("iris", str(path), passphrase=lambda: CANARY)
    signer = read_private_key(str(plain), nobody)
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(signer)
    said.write(f"{done!r} {done.to_json()} {signer!r} {caplog.text} {''.join(capfd.readouterr())}")
    secrets = [CANARY, ADA.private_bytes_raw().hex(), *text.split("\n")[1:-2]]
    assert len(secrets) > 5
    assert [secret for secret in secrets if secret in said.getvalue()] == []
    stored = b"".join(
        file.read_bytes() for file in Path(tmp_path / "repository").rglob("*") if file.is_file()
    )
    assert str(public(ADA).id).encode() in stored
    for secret in (*(text.encode() for text in secrets), ADA.private_bytes_raw(), b"PRIVATE"):
        assert secret not in stored


def test_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = with_data(tmp_path)
    path = write_key(tmp_path / "key", ADA)
    repository.signatures.sign("iris", path)
    for name in list(sys.modules):
        if name.partition(".")[0] == "cryptography":
            monkeypatch.setitem(sys.modules, name, None)
    hint = r"pip install 'dataver\[sign\]'"
    for attempt in (
        lambda: repository.signatures.sign("iris", path),
        lambda: repository.signatures.verify("iris"),
        lambda: repository.version("iris", require_signed=True),
    ):
        with pytest.raises(MissingExtraError, match=hint):
            attempt()
    (shown,) = repository.signatures.of("iris")
    assert (shown.valid, bool(shown)) == (None, False)
    assert repository.version("iris").read("file") == b"1"


# Public keys


def test_public_keys_in_every_form(tmp_path: Path) -> None:
    write_key(tmp_path / "key", ADA)
    pem = ADA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "pem").write_bytes(pem)
    line = (tmp_path / "key.pub").read_text()
    for given in (line, str(tmp_path / "key.pub"), str(tmp_path / "pem"), public(ADA).line):
        assert read_public_key(given) == public(ADA)
    assert line.startswith(public(ADA).line + " ")


def test_the_fingerprint_is_that_of_openssh() -> None:
    """As `ssh-keygen -l` printed it for this key."""
    key = parse_line("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea")
    assert key.raw.hex() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert key.fingerprint == "SHA256:bbXpuKG6zhzdmnxq256TlqzFBzRl2f6OOg722cYNbU8"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ssh-ed25519",
        "ssh-ed25519 !",
        "ssh-ed25519 AAAA",
        "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAAQ==",
        public(ADA).line[:-4],
        public(ADA).line.replace("C3Nz", "D3Nz"),
        "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----",
        "-----BEGIN PUBLIC KEY-----",
        "\udcff",
    ],
)
def test_what_is_no_public_key(tmp_path: Path, text: str) -> None:
    (tmp_path / "key").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(BadInputError, match="key"):
        read_public_key(str(tmp_path / "key"))


# Whom to trust


def test_the_repositorys_list(tmp_path: Path) -> None:
    signatures = memory_repository().signatures
    assert signatures.trusted() == []
    for name, key in (("ben", BEN), ("ada", ADA)):
        assert signatures.trust(name, public(key).line).name == name
    assert [entry.line for entry in signatures.trusted()] == [
        f"ada {public(ADA).line}",
        f"ben {public(BEN).line}",
    ]
    signatures.trust("ada@example.org", public(ADA).line)
    assert [entry.name for entry in signatures.trusted()] == ["ada@example.org", "ben"]
    assert [entry.name for entry in signatures.distrust(public(ADA).fingerprint)] == ["ada@example.org"]
    assert [entry.name for entry in signatures.distrust("ben")] == ["ben"]
    assert signatures.trusted() == []
    with pytest.raises(NotFoundError, match="trusts no key of this name"):
        signatures.distrust("ben")


def test_listing_a_key_again_records_nothing() -> None:
    repository = memory_repository()
    repository.signatures.trust("ada", public(ADA).line)
    before = repository.session.log.tail().entry.number
    repository.signatures.trust("ada", public(ADA).line)
    assert repository.session.log.tail().entry.number == before


@pytest.mark.parametrize(
    "name", ["", " ", "two words", "tab\there", "#ada", "ssh-ed25519", "a" * 201, "a\x7f"]
)
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(BadInputError, match="cannot name a key"):
        memory_repository().signatures.trust(name, public(ADA).line)


@pytest.mark.parametrize(
    "value", ["", "ada", "ada ssh-rsa AAAA", f"ada {public(BEN).line}", f"two words {public(ADA).line}"]
)
def test_a_malformed_setting_is_damage(value: str) -> None:
    repository = memory_repository()
    append(repository, ConfigSet(f"trust/{public(ADA).id}", value))
    if not value:
        assert repository.signatures.trusted() == []
        return
    with pytest.raises(DamagedError, match="malformed"):
        repository.signatures.trusted()


def test_a_file_of_the_users_is_all_that_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = with_data(tmp_path)
    repository.signatures.trust("ben", public(BEN).line)
    repository.signatures.sign("iris", write_key(tmp_path / "ben", BEN))
    assert repository.signatures.verify("iris").ok
    file = tmp_path / "trusted"
    monkeypatch.setenv("DATAVER_TRUSTED_KEYS", str(file))
    with pytest.raises(NotFoundError, match="there is no file"):
        repository.signatures.verify("iris")
    entries = repository.session.log.tail().entry.number
    with pytest.raises(NotFoundError, match="there is no file"):
        repository.signatures.sign("iris", write_key(tmp_path / "ada", ADA))
    assert repository.session.log.tail().entry.number == entries
    file.write_text(f"# those we know\n\n  ada {public(ADA).line} a comment\r\n")
    report = repository.signatures.verify("iris")
    assert (report.ok, report.trust) == (False, str(file))
    assert [entry.name for entry in repository.signatures.trusted()] == ["ada"]
    repository.signatures.sign("iris", write_key(tmp_path / "ada", ADA))
    assert repository.signatures.verify("iris").ok
    monkeypatch.setenv("DATAVER_TRUSTED_KEYS", "")
    with pytest.raises(BadInputError, match="DATAVER_TRUSTED_KEYS is empty"):
        repository.signatures.verify("iris")
    with pytest.raises(BadInputError, match="DATAVER_TRUSTED_KEYS is empty"):
        repository.version("iris", require_signed=True)


@pytest.mark.parametrize(
    "line",
    [b"ada", b"ada ssh-rsa AAAA", b"ada cert-authority " + public(BEN).line.encode(), b"\xff x y", b"a b c"],
)
def test_half_a_list_is_no_list(tmp_path: Path, line: bytes) -> None:
    (tmp_path / "trusted").write_bytes(f"ada {public(ADA).line}\n".encode() + line + b"\n")
    with pytest.raises(BadInputError, match="line 2: expected is NAME ssh-ed25519 KEY"):
        read_file(str(tmp_path / "trusted"))


# The SSH agent


def test_the_agent_signs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = with_data(tmp_path)
    repository.signatures.trust("ada", public(ADA).line)
    held = Agent([(ADA, "ada@example.org")])
    with listening(framed(held)) as path:
        monkeypatch.setenv("SSH_AUTH_SOCK", path)
        assert [key.key for key in agent_keys()] == [public(ADA)]
        for key, created in (
            ("agent", True),
            (f"agent:{public(ADA).fingerprint}", False),
            ("agent:ada@example.org", False),
        ):
            done = repository.signatures.sign("iris", key)
            assert (done.signer, done.created) == ("ada", created)
    assert len(held.signed) == 1
    assert held.signed[0].startswith(b"DSSEv1 36 application/vnd.dataver.version+json ")
    assert repository.signatures.verify("iris").ok
    file = write_key(tmp_path / "key", ADA)
    assert not repository.signatures.sign("iris", file).created, "the same key in a file signs the same"


def test_which_key_of_the_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(framed(Agent([(ADA, "work"), (BEN, "work"), (make_key(3), "home")]))) as path:
        monkeypatch.setenv("SSH_AUTH_SOCK", path)
        assert agent_signer("home").public_key == public(make_key(3))
        assert agent_signer(public(BEN).fingerprint).public_key == public(BEN)
        for wanted in ("", "work"):
            with pytest.raises(BadInputError, match=re.escape(public(BEN).fingerprint)):
                agent_signer(wanted)
        with pytest.raises(BadInputError, match="no Ed25519 key 'another'; it has SHA256:"):
            agent_signer("another")
    with listening(framed(Agent([]))) as path:
        monkeypatch.setenv("SSH_AUTH_SOCK", path)
        with pytest.raises(BadInputError, match="`ssh-add FILE` adds one"):
            agent_signer("")


def test_an_agent_that_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(framed(Agent([(ADA, "ada")], refuses=True))) as path:
        monkeypatch.setenv("SSH_AUTH_SOCK", path)
        with pytest.raises(NotPermittedError, match="refuses to sign with SHA256:"):
            agent_signer("").sign(b"data")


def test_there_is_no_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for missing in ("", None):
        if missing is None:
            monkeypatch.delenv("SSH_AUTH_SOCK")
        else:
            monkeypatch.setenv("SSH_AUTH_SOCK", missing)
        with pytest.raises(BadInputError, match="SSH_AUTH_SOCK is not set"):
            agent_keys()
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "none"))
    with pytest.raises(EnvironmentFaultError, match="cannot be reached"):
        agent_keys()


SIGNED = string(b"ssh-ed25519") + string(bytes(64))


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\0\0",
        string(b""),
        string(FAILURE),
        string(b"\x0c"),
        string(b"\x0c\xff\xff\xff\xff"),
        string(b"\x0c\0\0\0\1\xff\xff\xff\xff"),
        string(b"\x0c\0\0\0\0more"),
        (agent.MESSAGE_BYTES_MAX + 1).to_bytes(4, "big"),
        b"\0\0\0\x10short",
    ],
)
def test_a_garbled_list(answer: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(lambda _: answer) as path:
        monkeypatch.setenv("SSH_AUTH_SOCK", path)
        with pytest.raises(EnvironmentFaultError, match="an answer that is none"):
            agent_keys()


@pytest.mark.parametrize(
    "answer",
    [
        b"\x0c\0\0\0\0",
        b"\x0e",
        b"\x0e" + string(b""),
        b"\x0e" + string(SIGNED + b"x"),
        b"\x0e" + string(SIGNED) + b"x",
        b"\x0e" + string(string(b"ssh-rsa") + string(bytes(64))),
        b"\x0e" + string(string(b"ssh-ed25519") + string(bytes(63))),
    ],
)
def test_a_garbled_signature(answer: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(lambda _: string(answer)) as path:
        monkeypatch.setenv("SSH_AUTH_SOCK", path)
        with pytest.raises(EnvironmentFaultError, match="an answer that is none"):
            agent.AgentSigner(public(ADA)).sign(b"data")


def test_a_wrong_signature_is_not_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = with_data(tmp_path)
    honest = Agent([(ADA, "ada")])
    with listening(
        lambda request: string(honest(request) if request[:1] == b"\x0b" else b"\x0e" + string(SIGNED))
    ) as path:
        monkeypatch.setenv("SSH_AUTH_SOCK", path)
        with pytest.raises(EnvironmentFaultError, match="nothing was recorded"):
            repository.signatures.sign("iris", "agent")
    assert repository.signatures.verify("iris").signatures == []


def test_an_agent_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    monkeypatch.setattr(agent, "ANSWER_S_MAX", 0.05)
    ended = threading.Event()

    def wait(_: bytes) -> bytes:
        ended.wait(10)
        return b""

    with listening(wait) as path:
        monkeypatch.setenv("SSH_AUTH_SOCK", path)
        with pytest.raises(EnvironmentFaultError, match="did not answer"):
            agent_keys()
        ended.set()


def test_a_signer_says_its_public_key_alone() -> None:
    assert repr(FileSigner(ADA)) == f"<FileSigner {public(ADA).fingerprint}>"
    assert isinstance(public(ADA), PublicKey)


def test_pickles_of_a_repository_keep_what_it_requires(tmp_path: Path) -> None:
    repository = with_data(tmp_path)
    strict = open_repository(repository.url, require_signed=True)
    assert pickle.loads(pickle.dumps(strict)).session.require_signed
    assert not pickle.loads(pickle.dumps(repository)).session.require_signed
