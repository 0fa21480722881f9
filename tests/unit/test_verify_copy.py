"""A copy of a version's files against the version: what differs is found, and nothing else is said to."""

from __future__ import annotations

import io
import json
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import dataver
from dataver.errors import BadInputError, DamagedError, NotPermittedError, PathNotFoundError
from dataver.progress import Silent
from dataver.verify.listed import LIST_FILE, read_list
from dataver.verify.mltable import MLTABLE_FILE, mltable_file
from dataver.version import Version
from tests.permissions import permissions_hold_for_root

LARGE = os.urandom(3 << 20)


@pytest.fixture
def version(tmp_path: Path) -> Version:
    """Files in folders, an executable one, a symlink to a file, an empty file and an empty folder."""
    data = tmp_path / "data"
    (data / "sub" / "deep").mkdir(parents=True)
    (data / "hollow").mkdir()
    (data / "a.csv").write_text("x\n1\n")
    (data / "empty").touch()
    (data / "sub" / "large").write_bytes(LARGE)
    (data / "sub" / "deep" / "a.csv").write_text("x\n2\n")
    (data / "sub" / "run").write_text("#!/bin/sh\n")
    (data / "sub" / "run").chmod(0o755)
    (data / "link").symlink_to("sub/deep/a.csv")
    repository = dataver.init(tmp_path / "repository")
    repository.commit("iris", data)
    return repository.version("iris@v1")


@pytest.fixture
def copy(version: Version, tmp_path: Path) -> Path:
    """What a mount shows of it: no symlinks, no modes, no empty folders."""
    folder = tmp_path / "copy"
    for entry in version.files():
        if entry.kind != "folder":
            place = folder / entry.path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(version.read(entry.path))
    return folder


def test_a_copy_and_a_checkout_are_what_the_version_has(version: Version, copy: Path, tmp_path: Path) -> None:
    report = version.verify_at(copy)
    assert report
    assert (report.files, report.bytes) == (6, len(LARGE) + 22)
    assert (report.ref, report.id, report.tree) == ("iris@v1", version.id, version.tree)
    version.checkout(tmp_path / "out")
    assert version.verify_at(tmp_path / "out")
    assert version.verify_at(os.fspath(tmp_path / "out"), jobs=1)


def test_each_difference_is_found(version: Version, copy: Path) -> None:
    (copy / "a.csv").write_text("x\n7\n")
    (copy / "sub" / "deep" / "a.csv").unlink()
    (copy / "link").write_text("x\n22\n")
    (copy / "empty").unlink()
    (copy / "empty").mkdir()
    (copy / "more").mkdir()
    (copy / "more" / "z").touch()
    report = version.verify_at(copy)
    assert not report
    assert report.missing == ["empty", "sub/deep/a.csv"]
    assert [(one.path, one.reason) for one in report.changed] == [
        ("a.csv", "its bytes are others"),
        ("link", "it has 5 bytes, not 4"),
    ]
    assert report.extra == ["more/z"]
    assert report.to_json()["changed"][0] == {"path": "a.csv", "reason": "its bytes are others"}


@pytest.mark.parametrize("at", [0, 1, len(LARGE) // 2, len(LARGE) - 1])
def test_one_flipped_bit_is_found(version: Version, copy: Path, at: int) -> None:
    place = copy / "sub" / "large"
    data = bytearray(LARGE)
    data[at] ^= 1
    place.write_bytes(data)
    assert [one.path for one in version.verify_at(copy).changed] == ["sub/large"]


def test_extra_files_may_be_allowed(version: Version, copy: Path) -> None:
    (copy / "z").touch()
    assert not version.verify_at(copy)
    report = version.verify_at(copy, allow_extra=True)
    assert report
    assert report.extra == ["z"]
    (copy / "a.csv").unlink()
    assert not version.verify_at(copy, allow_extra=True)


def test_a_symlink_is_what_it_leads_to(version: Version, copy: Path, tmp_path: Path) -> None:
    (copy / "link").unlink()
    (copy / "link").symlink_to("sub/deep/a.csv")
    shutil.move(copy / "sub", tmp_path / "elsewhere")
    (copy / "sub").symlink_to(tmp_path / "elsewhere")
    assert version.verify_at(copy)
    (copy / "sub" / "round").symlink_to(copy)
    assert version.verify_at(copy).extra == ["sub/round"]
    (copy / "sub" / "round").unlink()
    (copy / "link").unlink()
    (copy / "link").symlink_to("a.csv")
    assert [one.reason for one in version.verify_at(copy).changed] == ["the symlink leads elsewhere"]
    (copy / "link").unlink()
    (copy / "link").symlink_to("nothing")
    assert [one.path for one in version.verify_at(copy).changed] == ["link"]


def test_a_symlink_that_leads_nowhere_is_a_difference(version: Version, copy: Path) -> None:
    (copy / "a.csv").unlink()
    (copy / "a.csv").symlink_to("nothing")
    (copy / "empty").unlink()
    (copy / "empty").symlink_to("empty")
    (copy / "nowhere").symlink_to("a.csv/nothing")
    (copy / "round").symlink_to("round")
    report = version.verify_at(copy)
    reason = "it is a symlink that leads nowhere"
    assert [(one.path, one.reason) for one in report.changed] == [("a.csv", reason), ("empty", reason)]
    assert report.extra == ["nowhere", "round"]


def test_a_part_of_the_paths(version: Version, copy: Path) -> None:
    assert version.verify_at(copy / "sub", "sub").files == 3
    assert version.verify_at(copy / "sub", "sub/")
    assert not version.verify_at(copy / "sub")
    assert version.verify_at(copy / "sub" / "deep", "sub/deep")
    with pytest.raises(PathNotFoundError):
        version.verify_at(copy, "nothing")


def test_a_single_file(version: Version, copy: Path, tmp_path: Path) -> None:
    assert version.verify_at(copy / "sub" / "large").files == 1
    assert version.verify_at(copy / "a.csv")
    assert not version.verify_at(copy / "a.csv", "sub/deep/a.csv")
    assert version.verify_at(copy / "sub" / "deep" / "a.csv", "sub/deep")
    renamed = tmp_path / "INPUT_data"
    shutil.copy(copy / "sub" / "large", renamed)
    with pytest.raises(BadInputError, match="--path"):
        version.verify_at(renamed)
    assert version.verify_at(renamed, "sub/large")
    renamed.write_bytes(LARGE[:-1])
    assert not version.verify_at(renamed, "sub/large")


def test_what_was_erased_may_be_missing_and_nothing_else(
    version: Version, copy: Path, tmp_path: Path
) -> None:
    repository = version.repository
    repository.erase("iris@v1", "sub/large", reason="asked", yes=True)
    assert version.verify_at(copy), "a copy from before has it"
    (copy / "sub" / "large").unlink()
    report = repository.version("iris@v1").verify_at(copy)
    assert report
    assert (report.missing, report.erased) == ([], 1)
    (copy / "a.csv").unlink()
    assert repository.version("iris@v1").verify_at(copy).missing == ["a.csv"]


def test_a_version_of_one_file_is_that_file(tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text("x\n")
    repository = dataver.init(tmp_path / "repository")
    repository.commit("one", tmp_path / "one.csv")
    shutil.copy(tmp_path / "one.csv", tmp_path / "another-name")
    assert repository.version("one").verify_at(tmp_path / "another-name")


def test_what_cannot_be_read_was_not_found_to_differ(version: Version, copy: Path, tmp_path: Path) -> None:
    with pytest.raises(PathNotFoundError):
        version.verify_at(tmp_path / "nothing")
    (copy / "sub").chmod(0)
    with permissions_hold_for_root(), pytest.raises(NotPermittedError):
        version.verify_at(copy)
    (copy / "sub").chmod(0o700)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadInputError):
        version.verify_at(tmp_path / "pipe")
    (copy / "a.csv").unlink()
    os.mkfifo(copy / "a.csv")
    assert [one.reason for one in version.verify_at(copy).changed] == ["it is no file"]


def test_the_files_of_an_export_are_no_part_of_it(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "a.csv").write_text("x\n1\n")
    repository = dataver.init(data / ".dataver")
    repository.commit("iris", data)
    version = repository.version("iris")
    (data / LIST_FILE).write_bytes(version.list_file())
    table = mltable_file(version.tree_of_files())
    assert table is not None
    (data / MLTABLE_FILE).write_bytes(table)
    assert version.verify_at(data)
    (data / MLTABLE_FILE).write_bytes(table.replace(b"./a.csv", b"./b.csv"))
    assert version.verify_at(data).extra == [MLTABLE_FILE]


def test_a_folder_that_is_called_as_a_repository_is_and_is_none_counts(
    version: Version, copy: Path, tmp_path: Path
) -> None:
    (copy / ".dataver" / "log").mkdir(parents=True)
    assert version.verify_at(copy)  # no files
    (copy / ".dataver" / "evil.csv").write_text("x\n6\n")
    assert version.verify_at(copy).extra == [".dataver/evil.csv"]
    (copy / ".dataver" / "log" / "1").touch()
    assert version.verify_at(copy).extra == [".dataver/evil.csv", ".dataver/log/1"]
    shutil.rmtree(copy / ".dataver")
    dataver.init(copy / ".dataver")
    assert version.verify_at(copy)
    (copy / ".dataver").rename(tmp_path / "elsewhere")
    (copy / ".dataver").symlink_to(tmp_path / "elsewhere")
    assert version.verify_at(copy)
    (copy / ".dataver").unlink()
    (copy / ".dataver").touch()
    assert version.verify_at(copy).extra == [".dataver"]


def test_tables_of_a_version(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "t").mkdir(parents=True)
    repository = dataver.init(tmp_path / "repository")

    def table() -> bytes | None:
        repository.commit("iris", data)
        return mltable_file(repository.version("iris").tree_of_files())

    (data / "readme.txt").touch()
    assert table() is None
    (data / "t" / 'a "b".jsonl').touch()
    assert b'  - file: "./t/a \\"b\\".jsonl"\n' in (table() or b"")
    (data / "_hidden.parquet").touch()
    (data / "a.csv").touch()
    assert b"read_delimited" in (table() or b"")
    (data / "t" / "B.PARQUET").touch()
    assert (
        table() == b'type: mltable\npaths:\n  - file: "./t/B.PARQUET"\ntransformations:\n  - read_parquet\n'
    )
    (data / MLTABLE_FILE).write_text("paths: []\n")
    assert table() is None


# The list that travels with a copy


def test_the_list_leads_to_the_same_files(version: Version, copy: Path) -> None:
    data = version.list_file()
    assert data == version.repository.version("iris@v1").list_file()
    listed = read_list(data, "list")
    assert (listed.name, listed.id, str(listed.record.tree)) == ("iris@v1", version.id, version.tree)
    assert (listed.repository, listed.url) == (version.repository.id, version.repository.url)
    mine = [entry[:5] for entry in listed.files.scan()]
    assert mine == [entry[:5] for entry in version.tree_of_files().scan()]
    assert listed.files.follow(b"link").path == b"sub/deep/a.csv"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda document: document["files"][0].update(digest="0" * 64),
        lambda document: document["files"][0].update(size=5),
        lambda document: document["files"][0].update(path="b.csv"),
        lambda document: document["files"][0].update(executable=True),
        lambda document: document["files"].pop(),
        lambda document: document.update(files=[]),
        lambda document: document.update(id="0" * 64),
    ],
)
def test_a_list_that_was_changed_is_found(version: Version, spoil: Callable[..., object]) -> None:
    document = json.loads(version.list_file())
    spoil(document)
    with pytest.raises(DamagedError):
        read_list(json.dumps(document).encode(), "list")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda it: it.pop("id"),
        lambda it: it.update(id=None),
        lambda document: document["files"][0].update(digest="0" * 62),
        lambda document: document["files"][0].update(size=-1),
        lambda document: document["files"][0].update(size=True),
        lambda document: document["files"][0].update(size=1 << 64),
        lambda document: document["files"][0].update(path="../a"),
        lambda document: document["files"][0].update(path=".dataver/log"),
        lambda document: document["files"][0].update(kind="door"),
        lambda document: document["files"][0].pop("size"),
        lambda document: document["files"].append(document["files"][0]),
        lambda document: [one.update(target="a.csv") for one in document["files"] if "target" in one],
        lambda document: document.update(files=7),
        lambda document: document.update(dataset=7),
        lambda document: document.update(version="vx"),
        lambda document: document.update(record="zz"),
        lambda document: document.update(format="dataver files 2"),
    ],
)
def test_a_malformed_list_is_bad_input(version: Version, spoil: Callable[..., object]) -> None:
    document = json.loads(version.list_file())
    spoil(document)
    with pytest.raises(BadInputError):
        read_list(json.dumps(document).encode(), "list")


@given(st.binary(max_size=200) | st.from_regex(r'\A[\[{"0-9a-z:,}\]]{0,60}\Z').map(str.encode))
def test_other_bytes_are_no_list(data: bytes) -> None:
    with pytest.raises(BadInputError):
        read_list(data, "list")


def test_nobody_waits_for_a_large_file_after_an_interrupt(
    version: Version, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, read_to_its_end = threading.Event(), threading.Event()
    deadline = time.monotonic() + 60

    class Large(io.RawIOBase):
        """A file that takes a minute to be read."""

        def readinto(self, block: Any) -> int:
            reading.set()
            if time.monotonic() < deadline:
                return len(block)
            read_to_its_end.set()
            return 0

    class Interrupted(Silent):
        def advance(self, files: int = 0, size_bytes: int = 0) -> None:
            assert reading.wait(60)
            raise KeyboardInterrupt

    def opened(place: bytes, *how: Any, **options: Any) -> Any:
        return Large() if place.endswith(b"large") else open(place, *how, **options)

    monkeypatch.setattr("dataver.verify.copy.open", opened, raising=False)
    with pytest.raises(KeyboardInterrupt):
        version.verify_at(copy, jobs=2, progress=Interrupted())
    assert not read_to_its_end.is_set()
