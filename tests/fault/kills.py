"""Verbs that are killed at any moment beside a process that commits, and what is true after each kill."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dataver.errors import RefNotFoundError
from dataver.gc import collect
from dataver.repository import Repository, init, open_repository
from dataver.store.local import LocalStore
from dataver.values import dataclass
from tests.damage import flip, place_of
from tests.erased import traces
from tests.fault.scenes import Files, check_promises, write
from tests.worlds import noise

COMMITS_PER_KILL = 3
WAIT_S = 60.0

# Commits once for each line that it is given, and says which version holds which bytes.
WRITER = """
import pathlib, sys
from dataver.errors import ConflictError
from dataver.repository import open_repository
from tests.worlds import noise

folder = pathlib.Path(sys.argv[2])
folder.mkdir()
repository = open_repository(sys.argv[1])
for number, _ in enumerate(sys.stdin):
    (folder / "file").write_bytes(noise(("writer", number), 40_000))
    while True:
        try:
            done = repository.commit("w", folder, message=str(number))
            break
        except ConflictError:
            pass  # What it had found here was collected meanwhile.
    print(done.version, number, flush=True)
"""

# Runs a command line, and kills itself at the so-manieth file of the repository that it opens, names,
# renames or removes. Said to be 0 it lives, and tells how many there were.
VICTIM = """
import os, signal, sys

root, at, count = sys.argv[1] + "/", int(sys.argv[2]), 0

def hook(event, arguments):
    global count
    if event in ("open", "os.link", "os.remove", "os.rename", "os.mkdir"):
        if any(isinstance(path, str) and path.startswith(root) for path in arguments):
            count += 1
            if count == at:
                os.kill(os.getpid(), signal.SIGKILL)

from dataver.cli import main
sys.addaudithook(hook)
try:
    main(["--repo", sys.argv[1], *sys.argv[3:]])
finally:
    if not at:
        print(count, file=sys.stderr)
"""


@dataclass(frozen=True, slots=True)
class Prey:
    """A verb to be killed. `prepare` gives it work, and says its line and what must stay whole meanwhile;
    `finished` fails where it has not come about.
    """

    name: str
    prepare: Callable[[Repository, Path, int], tuple[list[str], dict[str, Files]]]
    finished: Callable[[Repository, int], None]

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Kills:
    """How many runs were started, how many of them killed, and what was committed meanwhile."""

    runs: int
    kills: int
    commits: int


class Writer:
    """A process that commits when it is told to, at its own pace."""

    def __init__(self, url: str, folder: Path) -> None:
        self.said: list[tuple[str, int]] = []
        self._process = subprocess.Popen(
            [sys.executable, "-c", WRITER, url, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @classmethod
    @contextmanager
    def started(cls, url: str, folder: Path) -> Iterator[Writer]:
        """Start one; at the end it has done all that it was told to."""
        writer = cls(url, folder)
        try:
            yield writer
            assert writer._process.stdin is not None
            writer._process.stdin.close()
            assert writer._process.wait(WAIT_S) == 0
        finally:
            writer._process.kill()
            writer._process.wait()
            writer._reader.join()
            for pipe in (writer._process.stdin, writer._process.stdout):
                if pipe is not None:
                    pipe.close()

    def commit(self, times: int) -> None:
        """Have it commit so often, while the caller goes on."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n" * times)
        self._process.stdin.flush()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            version, number = line.split()
            self.said.append((version, int(number)))


def check_kills(prey: Prey, place: Path, kills: int, seed: int) -> Kills:
    """Kill it so often at moments that are drawn, each time beside commits; then let it end."""
    draw, url = random.Random(f"{prey}{seed}"), str(place / "repository")
    init(url)
    promised: dict[str, Files] = {}
    killed = 0
    moments = _moments(prey, place)
    with Writer.started(url, place / "writer") as writer:
        for number in range(kills):
            line, more = prey.prepare(open_repository(url), place / "data", number)
            promised |= more
            writer.commit(COMMITS_PER_KILL)
            killed += _run(url, draw.randrange(1, moments + 1), line, place).returncode == -signal.SIGKILL
            _check(url, promised, writer)
            _complete(url, line, place)
            prey.finished(open_repository(url), number)
            _check(url, promised, writer)
    repository = open_repository(url)
    assert len(writer.said) == kills * COMMITS_PER_KILL
    _check(url, promised, writer)
    assert repository.verify(deep=True).ok
    collect(repository.session, yes=True, grace_s=0)
    left = collect(open_repository(url).session, grace_s=0)
    assert (left.marked, left.swept, left.waiting, left.unknown) == (0, 0, 0, [])
    assert open_repository(url).verify(deep=True).ok
    # What was written to a minute ago is a living writer's by the hour that is waited; here none lives.
    store = LocalStore(url)
    store.remove_leftovers(-3_600.0)
    on_disk = {str(path.relative_to(url)) for path in Path(url).rglob("*") if path.is_file()}
    assert on_disk == {info.key for info in store.list("")}
    return Kills(kills, killed, len(writer.said))


def _moments(prey: Prey, place: Path) -> int:
    """How many there are to be killed at, where nobody else is at work."""
    url = str(place / "counted")
    init(url)
    done = None
    for number in range(2):  # The first time there is more to do: the store is probed.
        line, _ = prey.prepare(open_repository(url), place / "counted-data", number)
        done = _run(url, 0, line, place)
        assert done.returncode == 0, done.stderr
    assert done is not None
    return int(done.stderr.split()[-1])


def _run(url: str, at: int, line: list[str], place: Path) -> subprocess.CompletedProcess[str]:
    # Another machine than the writer's: it shares nothing but the disk.
    environment = os.environ | {"DATAVER_CACHE_DIR": str(place / "cache-of-the-victim")}
    done = subprocess.run(
        [sys.executable, "-c", VICTIM, url, str(at), *line],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    # 4: others made every entry that it tried to make.
    assert done.returncode in (0, 4, -signal.SIGKILL), done.stderr
    return done


def _complete(url: str, line: list[str], place: Path) -> None:
    """Repeat it until it is through. The writer has few commits left to come in between."""
    for _ in range(COMMITS_PER_KILL + 1):
        if _run(url, 0, line, place).returncode == 0:
            return
    raise AssertionError(f"{line} does not complete")


def _check(url: str, promised: dict[str, Files], writer: Writer) -> None:
    repository = open_repository(url)
    check_promises(repository, promised, "killed")
    for version, number in [*writer.said][-COMMITS_PER_KILL:]:
        assert repository.version(f"w@{version}").read("file") == noise(("writer", number), 40_000)


# What is killed


def _gc(repository: Repository, folder: Path, number: int) -> tuple[list[str], dict[str, Files]]:
    """A branch that goes, of which one chunk stays."""
    kept: Files = {"kept": noise(("kept", number), 30_000)}
    lost: Files = {"lost": noise(("lost", number), 60_000)}
    base = "g@main" if number else None
    repository.commit("g", write(folder, kept | lost), branch=f"trial{number}", base=base)
    repository.commit("g", write(folder, kept), base=base)
    repository.delete_ref("branch", "g", f"trial{number}")
    return ["gc", "--yes", "--grace", "0d"], {f"g@v{number + 1}": kept}


def _is_collected(repository: Repository, number: int) -> None:
    left = collect(repository.session, grace_s=0)
    assert (left.waiting, left.versions) == (0, [])
    assert repository.version("g").read("kept") == noise(("kept", number), 30_000)


def _prune(repository: Repository, folder: Path, number: int) -> tuple[list[str], dict[str, Files]]:
    files: Files = {}
    for version in range(3):
        files = {"new": noise(("pruned", number, version), 30_000), "old": noise("old", 30_000)}
        repository.commit("p", write(folder, files))
    repository.tag("p", f"t{number}")
    return ["prune", "p", "--keep-tagged", "--yes"], {f"p@t{number}": files}


def _is_pruned(repository: Repository, number: int) -> None:
    assert repository.version(f"p@v{3 * number + 3}").info.id == repository.version(f"p@t{number}").info.id
    for gone in (3 * number + 1, 3 * number + 2):
        with pytest.raises(RefNotFoundError):
            repository.version(f"p@v{gone}")


def _erase(repository: Repository, folder: Path, number: int) -> tuple[list[str], dict[str, Files]]:
    kept: Files = {"kept": noise(("kept", number), 30_000), "small": b"small" * (number + 1)}
    repository.commit("e", write(folder, kept | {"secret": noise(("secret", number), 60_000)}))
    return ["erase", "e", "secret", "--reason", "law", "--yes"], {f"e@v{number + 1}": kept}


def _is_erased(repository: Repository, number: int) -> None:
    assert traces(repository.session.store, noise(("secret", number), 60_000)) == []


def _repair(repository: Repository, folder: Path, number: int) -> tuple[list[str], dict[str, Files]]:
    """A damaged pack, of which what is lost is found in the folder."""
    files: Files = {"r": noise(("r", number), 12_000)}
    repository.commit("r", write(folder, files | {"whole": noise(("whole", number), 5_000)}))
    store = repository.session.store
    flip(store, *place_of(repository, "r", "r"))
    return ["repair", "--yes", "--folder", str(folder)], {f"r@v{number + 1}": {}}


def _is_repaired(repository: Repository, number: int) -> None:
    for version in range(number + 1):
        assert repository.version(f"r@v{version + 1}").read("r") == noise(("r", version), 12_000)


PREY = [
    Prey("gc", _gc, _is_collected),
    Prey("prune", _prune, _is_pruned),
    Prey("erase", _erase, _is_erased),
    Prey("repair", _repair, _is_repaired),
]
