"""Writers killed in the middle, and a disk that is full: nothing torn ever has a name."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataver.errors import ObjectMissingError, StoreError
from dataver.store.local import LocalStore

KILLS = 15
PART_BYTES = 10_000
PARTS = 300

# Each object says what it must be: the digest of the rest stands in front.
WRITER = f"""
import hashlib, os, sys
from dataver.store.local import LocalStore
store = LocalStore(sys.argv[1])
block = os.urandom({PART_BYTES})
number = 0
print("ready", flush=True)
while True:
    body = [number.to_bytes(8, "big"), *[block] * {PARTS}]
    digest = hashlib.sha256(b"".join(body)).digest()
    name = f"{{sys.argv[2]}}-{{number}}"
    assert store.put_new(f"packs/{{number % 4:02x}}/{{name}}", [digest, *body], barrier=False)
    assert store.put_new(f"log/{{name}}", [digest, b"entry"])
    store.put_hint("log/HINT", digest * 100)
    number += 1
"""


def test_killed_writers_leave_whole_objects_and_invisible_rests(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    leftovers = whole = 0
    for attempt in range(KILLS):
        _run_and_kill(tmp_path, str(attempt), delay_s=random.uniform(0.0, 0.04))
        whole += _check_all(store)
        on_disk = sum(len(names) for _, _, names in os.walk(tmp_path))
        listed = len(list(store.list("")))
        leftovers += on_disk - listed
        removed, _ = store.remove_leftovers(age_s_min=-3600)
        assert removed == on_disk - listed
        assert store.put_new(f"log/after-{attempt}", b"works") is True
    assert whole > 0
    assert leftovers > 0, "no writer was killed in the middle: the test shows nothing"


def _run_and_kill(root: Path, name: str, delay_s: float) -> None:
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(root), name], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    with writer.stdout:
        assert writer.stdout.readline() == b"ready\n"
        time.sleep(delay_s)
        writer.kill()
        writer.wait()


def _check_all(store: LocalStore) -> int:
    """Every visible object is whole, and every entry has its pack. Gives the number of packs."""
    packs = [info.key for info in store.list("packs/")]
    for key in packs:
        data = store.get(key)
        assert len(data) == 32 + 8 + PARTS * PART_BYTES
        assert hashlib.sha256(data[32:]).digest() == data[:32]
    digests = {key.rpartition("/")[2]: bytes(store.get_ranges(key, [(0, 32)])[0]) for key in packs}
    for info in store.list("log/"):
        name = info.key.removeprefix("log/")
        if name == "HINT":
            hint = store.get("log/HINT")
            assert hint == hint[:32] * 100
        elif not name.startswith("after"):
            assert store.get(info.key) == digests[name] + b"entry"
    return len(packs)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB. Only root can make one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = os.geteuid() == 0 and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m,nr_inodes=30", "tmpfs", str(folder)],
        check=False,
        capture_output=True,
    )
    if not mounted or mounted.returncode:
        pytest.skip("this user cannot mount a small file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk(small_disk: Path) -> None:
    store = LocalStore(small_disk / "repository")
    assert store.put_new("packs/aa/1", b"x" * 500_000)
    for barrier in (True, False):
        with pytest.raises(StoreError, match="No space left on device; free space") as raised:
            store.put_new("packs/aa/2", [b"x" * 1000] * 900, barrier=barrier)
        assert raised.value.exit_code == 7
        with pytest.raises(ObjectMissingError):
            store.get("packs/aa/2")
    with pytest.raises(StoreError, match="No space left"):
        store.put_hint("log/HINT", b"x" * 900_000)
    assert [info.key for info in store.list("")] == ["packs/aa/1"]
    assert store.remove_leftovers(age_s_min=-3600) == (0, 0), "the failed writes gave their space back"
    store.delete("packs/aa/1")
    assert store.put_new("packs/aa/2", [b"x" * 1000] * 900)


def test_a_disk_without_room_for_another_name(small_disk: Path) -> None:
    store = LocalStore(small_disk / "repository")
    stored: list[str] = []

    def fill() -> None:
        for number in range(100):
            store.put_new(f"log/{number:03}", b"x")
            stored.append(f"log/{number:03}")

    with pytest.raises(StoreError, match="No space left on device"):
        fill()
    assert 10 < len(stored) < 30
    assert [info.key for info in store.list("")] == stored
