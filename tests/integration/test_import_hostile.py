"""Importing from a git repository that nobody vouches for: it runs nothing, and leads nowhere else."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

import dataver
from dataver.errors import BadInputError, DamagedError, DataverError, PathNotFoundError
from dataver.integrations.importing.dvc_files import load_yaml, settings
from dataver.integrations.importing.from_dvc import Asked, import_dvc
from dataver.integrations.importing.report import Report
from dataver.repository import Repository


class Hostile:
    """A git repository with what stands for a project of DVC."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / ".dvc" / "cache").mkdir(parents=True)
        (folder / ".dvc" / "config").write_text("")
        (folder / ".dvc" / ".gitignore").write_text("/cache\n")
        self.git("init", "-q", "-b", "main")
        self.git("config", "user.name", "Eve Example")
        self.git("config", "user.email", "eve@example.org")

    def git(self, *arguments: str) -> None:
        subprocess.run(["git", *arguments], cwd=self.folder, check=True, capture_output=True)

    def keep(self, data: bytes, suffix: str = "") -> str:
        """Put bytes into the cache; their MD5."""
        digest = hashlib.md5(data).hexdigest() + suffix
        place = self.folder / ".dvc" / "cache" / "files" / "md5" / digest[:2] / digest[2:]
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
        return digest

    def output(self, name: str, path: str, md5: str, more: str = "") -> None:
        text = f"outs:\n- md5: {md5}\n  hash: md5\n  path: {path}\n{more}"
        (self.folder / name).write_text(text)

    def commit(self) -> None:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "change")


@pytest.fixture
def hostile(tmp_path: Path) -> Hostile:
    return Hostile(tmp_path / "hostile")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return dataver.init(str(tmp_path / "repository"))


def take(repository: Repository, hostile: Hostile, *targets: str, **more: Any) -> Report:
    return import_dvc(repository, Asked(str(hostile.folder), **more), targets)


def test_nothing_of_it_is_run(
    hostile: Hostile, repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile.output("a.csv.dvc", "a.csv", hostile.keep(b"1\n"))
    (hostile.folder / ".gitattributes").write_text("* filter=evil diff=evil\n")
    hostile.commit()
    witness = tmp_path / "witness"
    script = tmp_path / "evil.sh"
    script.write_text(f"#!/bin/sh\necho \"$0 $@\" >> '{witness}'\ncat\n")
    script.chmod(0o755)
    hooks = hostile.folder / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    for name in ("post-checkout", "pre-commit", "reference-transaction", "post-index-change", "fsmonitor"):
        (hooks / name).write_text(script.read_text())
        (hooks / name).chmod(0o755)
    evil = str(script)
    for name, value in {
        "core.fsmonitor": evil, "core.pager": evil, "core.sshCommand": evil, "core.editor": evil,
        "core.gitProxy": evil, "diff.external": evil, "diff.evil.textconv": evil, "diff.evil.command": evil,
        "filter.evil.smudge": evil, "filter.evil.clean": evil, "filter.evil.process": evil,
        "filter.evil.required": "true", "log.showSignature": "true", "gpg.program": evil,
        "alias.rev-list": f"!{evil}", "alias.cat-file": f"!{evil}", "pager.rev-list": "true",
        "uploadpack.packObjectsHook": evil, "credential.helper": f"!{evil}",
        "protocol.ext.allow": "always", "protocol.file.allow": "always",
        "remote.evil.url": f"ext::{evil} %S", "remote.evil.promisor": "true", "remote.evil.uploadpack": evil,
        "remote.evil.partialclonefilter": "blob:none", "extensions.partialClone": "evil",
    }.items():  # fmt: skip
        hostile.git("config", name, value)
    hostile.git("config", "core.repositoryFormatVersion", "1")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))  # as in a hook of another repository
    assert len(take(repository, hostile).versions) == 1
    assert len(import_dvc(repository, Asked(f"file://{hostile.folder}", dataset="again")).versions) == 1
    assert not witness.exists()


def test_what_a_partial_clone_lacks_is_not_fetched(
    hostile: Hostile, repository: Repository, tmp_path: Path
) -> None:
    hostile.output("a.csv.dvc", "a.csv", hostile.keep(b"1\n"))
    hostile.commit()
    witness, script = tmp_path / "witness", tmp_path / "evil.sh"
    script.write_text(f"#!/bin/sh\necho fetched >> '{witness}'\n")
    script.chmod(0o755)
    id = subprocess.run(
        ["git", "rev-parse", "HEAD:a.csv.dvc"], cwd=hostile.folder, check=True, capture_output=True, text=True
    ).stdout.strip()
    for name, value in {
        "core.repositoryFormatVersion": "1", "extensions.partialClone": "evil",
        "remote.evil.promisor": "true", "remote.evil.url": f"file://{tmp_path}/none",
        "remote.evil.uploadpack": str(script), "protocol.file.allow": "always",
    }.items():  # fmt: skip
        hostile.git("config", name, value)
    (hostile.folder / ".git" / "objects" / id[:2] / id[2:]).unlink()
    with pytest.raises(DataverError):
        take(repository, hostile)
    assert not witness.exists()


@pytest.mark.parametrize(
    "path",
    ["../../secret.csv", "/etc/passwd", "~/secret.csv", "s3://bucket/key", "x/../../y", "remote://a/b"],
)
def test_outputs_outside_are_left_out(hostile: Hostile, repository: Repository, path: str) -> None:
    md5 = hostile.keep(b"1\n")
    hostile.output("bad.dvc", path, md5, f"- md5: {md5}\n  hash: md5\n  path: good.csv\n")
    hostile.output("worse.dvc", "a.csv", md5, "wdir: ../..\n")
    (hostile.folder / "dvc.lock").write_text(
        f"schema: '2.0'\nstages:\n  one:\n    outs:\n    - path: {path}\n      hash: md5\n      md5: {md5}\n"
    )
    hostile.commit()
    report = take(repository, hostile)
    assert [one.dataset for one in report.versions] == ["good.csv"]
    assert {one.file for one in report.refused} == {"bad.dvc", "worse.dvc", "dvc.lock"}
    with pytest.raises(BadInputError, match="leads out of the repository"):
        take(repository, hostile, "worse.dvc")


@pytest.mark.parametrize("path", ["../a", "/a", "a/../../b", "", ".dataver/a", "a\\u0000b", "a//b"])
def test_lists_of_folders_lead_nowhere_else(hostile: Hostile, repository: Repository, path: str) -> None:
    md5 = hostile.keep(b"1\n")
    rows = f'[{{"md5": "{md5}", "relpath": "{path}"}}]'
    hostile.output("d.dvc", "d", hostile.keep(rows.encode(), ".dir"))
    hostile.commit()
    with pytest.raises(BadInputError):
        take(repository, hostile)
    assert repository.datasets() == []


@pytest.mark.parametrize(
    "rows",
    [b"{", b"{}", b"[1]", b'[{"relpath": "a"}]', b'[{"relpath": 1, "md5": 2}]', b"[" * 100_000, b"\xff"],
)
def test_malformed_lists_are_damage(hostile: Hostile, repository: Repository, rows: bytes) -> None:
    hostile.output("d.dvc", "d", hostile.keep(rows, ".dir"))
    hostile.commit()
    with pytest.raises(DamagedError):
        take(repository, hostile)


def test_a_list_with_a_file_that_is_a_folder(hostile: Hostile, repository: Repository) -> None:
    md5 = hostile.keep(b"1\n")
    for names in (("a", "a/b"), ("a", "a")):
        rows = ", ".join(f'{{"md5": "{md5}", "relpath": "{name}"}}' for name in names)
        hostile.output("d.dvc", "d", hostile.keep(f"[{rows}]".encode(), ".dir"))
        hostile.commit()
    with pytest.raises(DataverError):
        take(repository, hostile)


BOMB = "a: &a [x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + at)}: &{chr(98 + at)} [{','.join([f'*{chr(97 + at)}'] * 8)}]\n" for at in range(20)
)


@pytest.mark.parametrize(
    "text",
    [
        BOMB,
        "outs: " + "[" * 100_000,
        "outs: {a: [",
        "outs: !!python/object/apply:os.system [touch /tmp/x]",
        "- 1",
    ],
    ids=["bomb", "deep", "cut", "python", "list"],
)
def test_yaml_that_is_too_much_is_left_out(hostile: Hostile, repository: Repository, text: str) -> None:
    (hostile.folder / "bad.dvc").write_text(text)
    hostile.output("good.dvc", "good", hostile.keep(b"1\n"))
    hostile.commit()
    report = take(repository, hostile)
    assert [one.dataset for one in report.versions] == ["good"]
    assert [one.file for one in report.refused] == ["bad.dvc"]


def test_texts_stay_texts() -> None:
    found = load_yaml(b"a: yes\nb: 1:20\nc: 0o17\nd: 2026-01-01\ne: ~\nf: !!int '3'\n", "it")
    assert found == {"a": "yes", "b": "1:20", "c": "0o17", "d": "2026-01-01", "e": "~", "f": "3"}


def test_a_document_that_is_too_long(hostile: Hostile, repository: Repository) -> None:
    (hostile.folder / "bad.dvc").write_bytes(b"#" * (17 << 20))
    hostile.commit()
    assert "bytes" in take(repository, hostile).refused[0].reason


def test_a_pipe_in_the_cache_is_no_file(hostile: Hostile, repository: Repository) -> None:
    md5 = hostile.keep(b"1\n")
    hostile.output("a.dvc", "a", md5)
    hostile.commit()
    place = hostile.folder / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:]
    place.unlink()
    os.mkfifo(place)
    assert stat.S_ISFIFO(place.stat().st_mode)
    with pytest.raises(PathNotFoundError, match=md5):
        take(repository, hostile)


def test_documents_that_are_links_are_not_read(
    hostile: Hostile, repository: Repository, tmp_path: Path
) -> None:
    (tmp_path / "secret.dvc").write_text(f"outs:\n- {{md5: {hostile.keep(b'1')}, hash: md5, path: a}}\n")
    (hostile.folder / "a.dvc").symlink_to(tmp_path / "secret.dvc")
    hostile.commit()
    assert take(repository, hostile).versions == []


def test_revisions_are_no_options(hostile: Hostile, repository: Repository) -> None:
    hostile.commit()
    for revision in ("--output=x", "-n1", "nothing", "HEAD; touch x"):
        with pytest.raises(BadInputError):
            take(repository, hostile, revision=revision)


def test_settings() -> None:
    plain, remotes = settings(
        [
            "[core]\n    remote = one\n['remote \"one\"']\n    url = ../a%b;c\n",
            '[cache]\ndir = "/x y"\n[\'remote "one"\']\nurl = s3://b/c#d\n',
        ]
    )
    assert plain == {"core.remote": "one", "cache.dir": "/x y"}
    assert remotes == {"one": {"url": "s3://b/c#d"}}
    with pytest.raises(BadInputError, match="configuration"):
        settings(["no section\n"])


def test_what_is_no_project(repository: Repository, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(PathNotFoundError, match="no git repository"):
        import_dvc(repository, Asked(str(tmp_path / "empty")))
    with pytest.raises(PathNotFoundError, match="no folder"):
        import_dvc(repository, Asked(str(tmp_path / "none")))
    subprocess.run(["git", "init", "-q", str(tmp_path / "empty")], check=True)
    with pytest.raises(BadInputError):
        import_dvc(repository, Asked(str(tmp_path / "empty")))
