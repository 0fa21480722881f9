"""Writers killed in the middle, and a disk that is full: nothing torn ever has a name."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from dataver.errors import ObjectMissingError, StoreError
from dataver.store.local import LocalStore
from tests.fault.disks import Limited, mounting

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
while True:
    body = [number.to_bytes(8, "big"), *[block] * {PARTS}]
    digest = hashlib.sha256(b"".join(body)).digest()
    name = f"{{sys.argv[2]}}-{{number}}"
    assert store.put_new(f"packs/{{number % 4:02x}}/{{name}}", [digest, *body], barrier=False)
    assert store.put_new(f"log/{{name}}", [digest, b"entry"])
    store.put_hint("log/HINT", digest * 100)
    number += 1
    if number == 1:
        print("ready", flush=True)
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


# A file system of 1 MiB with room for 30 names, in a namespace of this program's own.
ON_A_SMALL_DISK = """
import subprocess, sys
from contextlib import nullcontext
from pathlib import Path
from tests.fault import test_local_crash

folder = Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,nr_inodes=30", "tmpfs", str(folder)], check=True)
test_local_crash.check_without_space(folder, nullcontext(), "No space left on device")
test_local_crash.check_without_names(folder)
"""


def test_a_full_disk(tmp_path: Path) -> None:
    check_without_space(tmp_path, Limited(tmp_path, []).full(600_000), "File too large")
    start = mounting()
    if start is not None:
        (tmp_path / "small").mkdir()
        line = [*start, sys.executable, "-c", ON_A_SMALL_DISK, str(tmp_path / "small")]
        done = subprocess.run(
            line, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


def check_without_space(folder: Path, full: AbstractContextManager[None], told: str) -> None:
    store = LocalStore(folder / "repository")
    assert store.put_new("packs/aa/1", b"x" * 500_000)
    with full:
        for barrier in (True, False):
            with pytest.raises(StoreError, match=f"{told}; free space") as raised:
                store.put_new("packs/aa/2", [b"x" * 1000] * 900, barrier=barrier)
            assert raised.value.exit_code == 7
            with pytest.raises(ObjectMissingError):
                store.get("packs/aa/2")
        with pytest.raises(StoreError, match=told):
            store.put_hint("log/HINT", b"x" * 900_000)
    assert [info.key for info in store.list("")] == ["packs/aa/1"]
    assert store.remove_leftovers(age_s_min=-3600) == (0, 0), "the failed writes gave their space back"
    store.delete("packs/aa/1")
    assert store.put_new("packs/aa/2", [b"x" * 1000] * 900)


def check_without_names(folder: Path) -> None:
    """On a disk without room for another name."""
    store = LocalStore(folder / "other")
    stored: list[str] = []

    def fill() -> None:
        for number in range(100):
            store.put_new(f"log/{number:03}", b"x")
            stored.append(f"log/{number:03}")

    with pytest.raises(StoreError, match="No space left on device"):
        fill()
    assert 10 < len(stored) < 30
    assert [info.key for info in store.list("")] == stored
