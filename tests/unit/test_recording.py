"""Notes of what is read: what is in the file, and what becomes of it where things go wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataver import recording
from dataver.lineage.gathering import gather
from dataver.notes import WINDOW_BYTES, NotesFile
from dataver.recording import FileReads, Reads, Recorder


class AFile(NamedTuple):
    path: bytes
    size: int = 100
    digest: bytes = bytes(32)


def facts(**changes: object) -> dict[str, object]:
    version = {"dataset": "iris", "version": "ab" * 32, "tree": "cd" * 32, "repository": "ef" * 16}
    return {**version, "ref": "iris", "role": "input", "number": 1, "files": 3, "size_bytes": 300, **changes}


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    return Recorder("0" * 32, str(tmp_path))


def reads_of(recorder: Recorder, **changes: object) -> Reads:
    return recorder.reads(str(changes), lambda: facts(**changes))


def lines(part: bytes) -> dict[str, object]:
    return {path: ranges for path, _, _, ranges in map(json.loads, part.splitlines())}


def test_files_and_ranges(recorder: Recorder) -> None:
    reads = reads_of(recorder)
    reads.whole(AFile(b"a\n\xc3\xa4"))
    reads.whole(AFile(b"a\n\xc3\xa4"))
    reads.part(AFile(b"b"), 10, 20)
    reads.part(AFile(b"b"), 15, 30)
    reads.part(AFile(b"b"), 50, 60)
    recorder.close()
    found = gather(recorder.folder)
    assert [(one.files, one.whole, one.bytes_read) for one in found.inputs] == [(2, False, 130)]
    assert lines(found.parts[0]) == {"a\nä": None, "b": [[10, 30], [50, 60]]}


def test_ranges_are_written_in_time_and_once(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = reads_of(recorder)
    for number in range(300):
        reads.part(AFile(b"%d" % (number % 3), 10**6), number * 100, number * 100 + 10)
    written: list[str] = []
    monkeypatch.setattr(recorder, "write", written.append)
    reads.flush()
    assert len("".join(written).splitlines()) == 3
    reads.flush()
    assert len(written) == 1
    monkeypatch.undo()
    recorder.close()
    (one,) = gather(recorder.folder).inputs
    assert one.bytes_read < 3000  # What was written while `write` was replaced is lost.


def test_a_file_read_in_parts_is_whole_once_all_of_it_is(recorder: Recorder) -> None:
    reads = reads_of(recorder)
    for start in (50, 0, 25, 75):
        reads.part(AFile(b"a"), start, start + 25)
    for path in (b"b", b"c"):
        reads.whole(AFile(path))
    recorder.close()
    (one,) = gather(recorder.folder).inputs
    assert (one.whole, one.files, one.bytes_read, one.reads) == (True, 3, 300, ())


def test_what_is_declared_takes_what_was_read_of_the_same_version(recorder: Recorder) -> None:
    reads_of(recorder).whole(AFile(b"a"))
    reads_of(recorder, role="training", declared=True, ref="iris@v1").number()
    recorder.close()
    (one,) = gather(recorder.folder).inputs
    assert (one.role, one.ref, one.files) == ("training", "iris@v1", 1)


def test_two_roles_are_two_inputs_and_undeclared_reads_a_third(recorder: Recorder) -> None:
    for role in ("training", "validation"):
        reads_of(recorder, role=role, declared=True).number()
    reads_of(recorder).whole(AFile(b"a"))
    recorder.close()
    assert [one.role for one in gather(recorder.folder).inputs] == ["training", "validation", "input"]


def test_a_part_that_was_read_stands_for_the_version_that_was_looked_up(recorder: Recorder) -> None:
    reads_of(recorder).number()
    reads_of(recorder, split={"part": "train"}).whole(AFile(b"a"))
    recorder.close()
    assert [one.split for one in gather(recorder.folder).inputs] == [{"part": "train"}]


def test_a_line_that_was_cut_short_is_left_out(recorder: Recorder) -> None:
    reads_of(recorder).whole(AFile(b"a"))
    recorder.close()
    (notes,) = Path(recorder.folder).glob("*.notes")
    notes.write_bytes(notes.read_bytes() + b'["f",1,"b","' + bytes(100))
    assert [one.files for one in gather(recorder.folder).inputs] == [1]


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=30))
def test_ranges_are_the_bytes_that_were_read(ranges: list[tuple[int, int]]) -> None:
    known, told = FileReads(), FileReads()
    wanted: set[int] = set()
    for start, stop in ranges:
        new = set(range(start, stop)) - wanted
        assert known.add(start, stop) == bool(new)
        wanted |= new
    for start, stop in known.taken():
        told.add(start, stop)
    for found in (known.ranges, told.ranges):
        assert {at for start, stop in found for at in range(start, stop)} == wanted
        assert all(a[1] < b[0] for a, b in pairwise(found))


@given(st.lists(st.integers(1, WINDOW_BYTES * 2), max_size=6))
def test_notes_are_what_was_appended(tmp_path_factory: pytest.TempPathFactory, sizes: list[int]) -> None:
    place = str(tmp_path_factory.mktemp("notes") / "file")
    notes = NotesFile(place)
    for number, size in enumerate(sizes):
        notes.append(bytes([number + 1]) * size)
    notes.close()
    assert Path(place).read_bytes() == b"".join(bytes([n + 1]) * size for n, size in enumerate(sizes))
    os.unlink(place)


def test_a_file_system_without_maps_takes_plain_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "not supported")

    notes = NotesFile(str(tmp_path / "file"))
    notes.append(b"a" * (WINDOW_BYTES - 1))
    monkeypatch.setattr(os, "posix_fallocate", refuse)
    notes.append(b"bcd")
    notes.append(b"e")
    notes.close()
    assert (tmp_path / "file").read_bytes() == b"a" * (WINDOW_BYTES - 1) + b"bcde"


def test_notes_survive_a_process_that_is_killed(tmp_path: Path) -> None:
    script = (
        "import os, sys; from dataver.notes import NotesFile\n"
        f"NotesFile({str(tmp_path / 'file')!r}).append(b'noted'); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", script], check=False, env={**os.environ, "PYTHONPATH": os.getcwd()})
    assert (tmp_path / "file").read_bytes().rstrip(b"\0") == b"noted"


def test_notes_that_cannot_be_written_are_told_once_and_fail_nothing(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(NotesFile, "append", full)
    with pytest.warns(UserWarning, match="No space left"):
        reads_of(recorder).whole(AFile(b"a"))
    reads_of(recorder).whole(AFile(b"b"))
    recorder.close()


def test_who_outlives_the_run_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    recorder = Recorder("0" * 32, str(tmp_path / "gone"))
    (tmp_path / "gone").rmdir()
    reads_of(recorder).whole(AFile(b"a"))
    assert recorder.failed == "the run has ended"


def test_the_first_to_look_a_name_up_says_what_it_means(recorder: Recorder) -> None:
    other = Recorder(recorder.run, recorder.folder)
    assert recorder.pinned("repo", "iris@main") is None
    assert recorder.pin("repo", "iris", "iris@main", "one") == "one"
    assert other.pin("repo", "iris", "iris@main", "two") == "one"
    assert other.pinned("repo", "iris@main") == "one"
    recorder.made({"repository": "repo", "dataset": "other"})
    assert other.pinned("repo", "iris@main") == "one"
    recorder.made({"repository": "repo", "dataset": "iris"})
    assert other.pinned("repo", "iris@main") is None
    recorder.close()


@pytest.mark.parametrize(
    ("run", "folder"), [("", "/"), ("0" * 32, "relative"), ("x" * 32, "/"), ("0" * 32, "/nothing/there")]
)
def test_a_process_takes_part_in_a_run_that_is_there(
    monkeypatch: pytest.MonkeyPatch, run: str, folder: str
) -> None:
    monkeypatch.setenv(recording.RUN_VARIABLE, run)
    monkeypatch.setenv(recording.FOLDER_VARIABLE, folder)
    assert recording._inherited() is None
