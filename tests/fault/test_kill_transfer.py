"""A killed push, pull or commit leaves both sides whole, and the next one puts only what is missing."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dataver.keys import PACK_PREFIX
from dataver.repository import Repository, init, open_repository
from tests.fault.test_kill import killed_after

# Packs of 256 KiB, so that a little data fills many. The process kills itself right after the
# put of a pack that is named, while others may be under way.
DYING = """
import os, signal, sys, threading
import dataver.packs
from dataver.log.log import Log
from dataver.repository import open_repository
from dataver.session import Session
from dataver.store.base import Wrapper

dataver.packs.pack_bytes_max = lambda store: 1 << 18

class Killing(Wrapper):
    left, lock = int(sys.argv[1]), threading.Lock()

    def put_new(self, key, data, *, barrier=True):
        done = self.inner.put_new(key, data, barrier=barrier)
        with self.lock:
            if key.startswith("packs/"):
                Killing.left -= 1
            if Killing.left == 0:
                threading.Event().wait(0.2)  # The other thread's put may end, and be noted.
                os.kill(os.getpid(), signal.SIGKILL)
        return done

verb, here, other = sys.argv[2:5]
repository = open_repository(here if verb != "push" else other)
store = Killing(repository.session.store)
repository.session = Session(store, Log(store))
if verb == "push":
    open_repository(here).push(to=repository)
elif verb == "pull":
    repository.pull(source=other)
else:
    repository.commit("d", other)
"""

PUSHER = """
import sys
from pathlib import Path
import dataver.transfer
from dataver.repository import open_repository
print("ready", flush=True)
open_repository(sys.argv[1]).push(to=sys.argv[2])
"""

FILES = 24
FILE_BYTES = 100_000


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    for number in range(FILES):
        (folder / f"{number:02}").write_bytes(os.urandom(FILE_BYTES))
    return folder


def stored(repository: Repository) -> dict[str, int]:
    return {info.key: info.size_bytes for info in repository.session.store.list(PACK_PREFIX)}


def die(after: int, verb: str, here: Path, other: Path) -> None:
    arguments = [sys.executable, "-c", DYING, str(after), verb, str(here), str(other)]
    assert subprocess.run(arguments, check=False).returncode == -signal.SIGKILL


@pytest.mark.parametrize("verb", ["push", "pull", "commit"])
def test_what_was_put_before_the_kill_is_used_again(tmp_path: Path, data: Path, verb: str) -> None:
    source, target = init(str(tmp_path / "source")), init(str(tmp_path / "target"))
    source.commit("d", data)
    places = {
        "push": (tmp_path / "source", tmp_path / "target"),
        "pull": (tmp_path / "target", tmp_path / "source"),
        "commit": (tmp_path / "target", data),
    }
    die(6, verb, *places[verb])
    assert target.datasets() == []
    assert target.verify(deep=True).ok
    left = stored(target)
    assert len(left) >= 6
    # Once more, killed later: what the first left is used, and what the second put too.
    die(2, verb, *places[verb])
    left = stored(target)
    target = open_repository(str(tmp_path / "target"))
    if verb == "push":
        done = source.push(to=target)
        assert done.bytes == sum(stored(target).values()) - sum(left.values())
    elif verb == "pull":
        target.pull(source=source)
    else:
        target.commit("d", data)
    put_again = sum(stored(target).values()) - FILES * FILE_BYTES
    # Of each run that was killed, at most what was noted of the last puts or not yet full is lost.
    assert put_again < 4 * (1 << 18)
    assert sum(size for key, size in stored(target).items() if key not in left) < 14 * FILE_BYTES
    shown = target.show("d")
    assert (shown.bytes, shown.new_bytes) == (FILES * FILE_BYTES,) * 2
    for number in range(FILES):
        assert target.version("d").read(f"{number:02}") == (data / f"{number:02}").read_bytes()
    assert target.verify(deep=True).ok
    assert not list(Path(os.environ["DATAVER_CACHE_DIR"], "uploads", target.id).iterdir())


def test_what_nobody_wanted_yet_waits_for_who_does(tmp_path: Path, data: Path) -> None:
    """A commit of something else, between the killed one and its repetition, uses and loses nothing."""
    target = init(str(tmp_path / "target"))
    die(6, "commit", tmp_path / "target", data)
    left = stored(target)
    other = tmp_path / "other"
    other.mkdir()
    (other / "file").write_bytes(b"x" * 30_000)
    target.commit("other", other)
    before = stored(target)
    target.commit("d", data)
    new = {key: size for key, size in stored(target).items() if key not in before}
    # The last puts may not have been noted.
    assert sum(new.values()) < FILES * FILE_BYTES - sum(left.values()) + 2 * (1 << 18)
    assert target.verify(deep=True).ok


def test_a_push_that_is_killed_at_any_moment(tmp_path: Path) -> None:
    rng, kills = random.Random(11), 0
    data, source = tmp_path / "data", init(str(tmp_path / "source"))
    data.mkdir()
    for number in range(12):
        for file in range(20):
            (data / f"{file}").write_bytes(os.urandom(rng.randrange(60_000)))
        source.commit("d", data, message=str(number))
    for trial in range(6):
        place = tmp_path / f"target-{trial}"
        target = init(str(place))
        kills += killed_after(rng.uniform(0.0, 0.4), PUSHER, source.url, place)
        assert target.verify(deep=True).ok
        assert len(target.datasets()) in (0, 1)
        source.push(to=target)
        assert [v.id for v in target.log("d")] == [v.id for v in source.log("d")]
        assert target.verify(deep=True).ok
    assert kills, "every push ended before it was killed"
