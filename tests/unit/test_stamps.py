"""What is remembered of files that were compared, by several processes, in a file that may be torn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dataver.readers.stamps import Known, Stamps
from dataver.source.columns import pack_stamp
from dataver.tree.manifest import FILE as FILE_KIND


def known(inode: int, size: int = 1, digest: int = 0) -> Known:
    return Known(pack_stamp(FILE_KIND, size, 5, 6, inode), bytes([digest]) * 32)


@pytest.fixture
def stamps(tmp_path: Path) -> Callable[[], Stamps]:
    def make() -> Stamps:
        found = Stamps(str(tmp_path / "stamps"))
        found.refresh()
        return found

    return make


def noted(stamps: Stamps, *rows: Known) -> None:
    for row in rows:
        stamps.note(row)
    stamps.save()


def test_stamps_are_seen_by_others(stamps: Callable[[], Stamps]) -> None:
    one, other = stamps(), stamps()
    assert one.get(1) is None
    noted(one, known(1, 10), known(2, 20))
    other.refresh()
    assert (other.get(1), other.get(2), other.size_bytes) == (known(1, 10), known(2, 20), 30)
    noted(other, known(1, 11, 7))
    one.refresh()
    assert (one.get(1), one.size_bytes) == (known(1, 11, 7), 31)
    one.keep([2])
    other.refresh()
    assert (other.get(1), other.get(2), other.size_bytes) == (None, known(2, 20), 20)
    noted(other, known(3))
    one.refresh()
    assert one.get(3) == stamps().get(3) == known(3)


def test_stamps_that_are_torn(stamps: Callable[[], Stamps], tmp_path: Path) -> None:
    noted(stamps(), known(1), known(2), known(3))
    path = tmp_path / "stamps"
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        again = stamps()
        assert again.get(3) is None
        noted(again, known(4))
        assert stamps().get(4) == known(4)
    for at in range(0, len(data), 5):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        for inode in (1, 2, 3):
            assert stamps().get(inode) in (None, known(inode))


def test_stamps_do_not_grow_for_ever(stamps: Callable[[], Stamps], tmp_path: Path) -> None:
    one = stamps()
    for number in range(40):
        noted(one, *(known(inode, number) for inode in range(1000)))
    assert (tmp_path / "stamps").stat().st_size < 20_000 * 80
    assert stamps().size_bytes == 1000 * 39
