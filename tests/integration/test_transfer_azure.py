"""Versions that go to a container, come back, and are found again after a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from dataver.keys import PACK_PREFIX
from dataver.repository import Repository, init, open_repository
from tests.fault.test_kill_transfer import DYING
from tests.integration.test_concurrency import folder, together
from tests.integration.test_transfer_concurrency import PUSH
from tests.worlds import noise, text

FILES = {"a.txt": text("a", 3_000), "noise.bin": noise("n", 700_000), "b": b"b"}


def filled(place: Path) -> Path:
    place.mkdir()
    for name, data in FILES.items():
        (place / name).write_bytes(data)
    return place


def stored_bytes(repository: Repository) -> int:
    return sum(info.size_bytes for info in repository.session.store.list(PACK_PREFIX))


def test_there_and_back(azure: str, tmp_path: Path) -> None:
    data = filled(tmp_path / "data")
    here, there = init(str(tmp_path / "here")), init(azure)
    here.commit("d", data, tags=["paper"])
    (data / "a.txt").write_text("changed")
    here.commit("d", data)
    assert here.push(to=azure).versions == 2
    assert here.push(to=azure).bytes == 0
    back = init(str(tmp_path / "back"))
    assert back.pull(source=azure, depth=1).versions == 1
    assert back.pull(source=azure).versions == 1
    assert back.refs("d") == here.refs("d")
    version = back.version("d@paper")
    assert {entry.path: version.read(entry.path) for entry in version.files()} == FILES
    assert back.verify(deep=True).ok
    assert there.verify(deep=True).ok
    # Both sides go on, and come together.
    back.checkout("d", tmp_path / "work")
    (tmp_path / "work" / "theirs").write_text("1")
    back.commit("d", tmp_path / "work")
    back.push(to=azure)
    (data / "ours").write_text("1")
    here.commit("d", data)
    here.pull(source=azure, rebase=True)
    here.push(to=azure)
    assert {entry.path for entry in open_repository(azure).version("d").files()} == {*FILES, "theirs", "ours"}


def test_what_was_put_before_a_kill_is_used_again(azure: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for number in range(16):
        (data / f"{number:02}").write_bytes(os.urandom(100_000))
    source, target = init(str(tmp_path / "source")), init(azure)
    source.commit("d", data)
    arguments = [sys.executable, "-c", DYING, "5", "push", source.url, azure]
    assert subprocess.run(arguments, check=False).returncode == -signal.SIGKILL
    assert target.datasets() == []
    left = stored_bytes(target)
    done = source.push(to=azure)
    assert done.bytes < 1_600_000 - left + 3 * (1 << 18)
    assert target.show("d").new_bytes == 1_600_000
    assert target.verify(deep=True).ok


def test_pushes_of_several_processes(azure: str, tmp_path: Path) -> None:
    target, sources = init(azure), []
    for number in range(3):
        sources.append(init(str(tmp_path / f"source-{number}")))
        sources[-1].commit(f"set{number}", folder(tmp_path / f"data-{number}", text=f"{number}\n" * 1_000))
    assert together(PUSH, [[source.url, azure] for source in sources]) == ["done 1 1"] * 3
    assert [info.name for info in target.datasets()] == ["set0", "set1", "set2"]
    assert target.verify(deep=True).ok
