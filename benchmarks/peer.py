"""What a tool under comparison has to offer, and how one command of it is measured.

A tool is given a folder of its own for everything it keeps (repository, caches, configuration) and the folder
of data that it versions; it leaves nothing anywhere else. The phases are named in `PHASES`. A phase is one
command; what has to be prepared for it is done before, unmeasured.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

# Starts the command and tells of it. A process counts what started it as its own memory, and this is small.
_LAUNCHER = """
import os, sys, time
report = int(sys.argv[1])
os.set_inheritable(report, False)
start = time.perf_counter()
pid = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(pid, 0)
wall_s = time.perf_counter() - start
os.write(report, f"{wall_s} {usage.ru_utime + usage.ru_stime} {usage.ru_maxrss} {status}".encode())
"""

PHASES = ("first_commit", "nothing_changed", "status", "commit_changed", "restore")


@dataclass(frozen=True, slots=True)
class Timing:
    """One command: wall seconds, processor seconds (user and system, all its processes), and memory.

    `resident_bytes_max` is the largest resident set of one process.
    """

    wall_s: float
    cpu_s: float
    resident_bytes_max: int


def timed(command: Sequence[str], *, cwd: Path, env: dict[str, str]) -> Timing:
    """Runs the command to its end. What it prints is kept only to be shown if it fails (RuntimeError)."""
    reading, writing = os.pipe()
    with tempfile.TemporaryFile() as output, open(reading) as report:
        launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(writing), *command]
        process = subprocess.Popen(
            launcher, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            pass_fds=[writing],
        )  # fmt: skip
        os.close(writing)
        found = report.read().split()
        process.wait()
        code = os.waitstatus_to_exitcode(int(found[3])) if found else process.returncode
        if code:
            output.seek(0)
            shown = output.read().decode(errors="replace")[-4_000:]
            raise RuntimeError(f"{' '.join(command)} ended with {code}:\n{shown}")
    return Timing(float(found[0]), float(found[1]), int(found[2]) * 1024)


def tree_bytes(folder: Path) -> int:
    """Sum of the lengths of all files below `folder`, without what file systems round up to."""
    total = 0
    for parent, _, names in os.walk(folder):
        total += sum(os.lstat(os.path.join(parent, name)).st_size for name in names)
    return total


def first_line(command: list[str]) -> str:
    """The first line of what the command prints."""
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    return (answer.stdout + answer.stderr).strip().splitlines()[0]


class Peer:
    """One tool with one repository in `home`, versioning `source`. Subclasses say which commands do what."""

    name: ClassVar[str]
    phases: ClassVar[tuple[str, ...]] = PHASES
    """The phases that the tool can be asked for."""
    slow: ClassVar[dict[str, tuple[str, ...]]] = {}
    """By workload: phases that take the tool minutes, left out unless they are asked for with `--slow`."""

    def __init__(self, home: Path, source: Path) -> None:
        self.home, self.source = home, source
        home.mkdir(parents=True)
        # As an installed package has it: no start compiles what an earlier one compiled.
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        self.env = {**kept, **self.environment()}

    @classmethod
    def program(cls) -> str | None:
        """The program's path, None where it is not installed."""
        return shutil.which(cls.name)

    @classmethod
    def version(cls) -> str:
        """What the program says of its version, one line."""
        return first_line([cls.program() or cls.name, "--version"])

    def environment(self) -> dict[str, str]:
        """Environment variables that keep the tool inside `home`, and quiet."""
        return {}

    @property
    def store(self) -> Path:
        """The folder that holds what was committed, and nothing that could be made again."""
        return self.home / "repository"

    def run(self, *arguments: str, cwd: Path | None = None) -> Timing:
        program = self.program()
        assert program is not None
        return timed([program, *arguments], cwd=cwd or self.home, env=self.env)

    def stored_bytes(self) -> int:
        """Length of all that the repository holds."""
        return tree_bytes(self.store)

    def init(self) -> None:
        """Makes the repository. Not measured."""
        raise NotImplementedError

    def first_commit(self) -> Timing:
        raise NotImplementedError

    def nothing_changed(self) -> Timing:
        """The commit again, of the very same files."""
        raise NotImplementedError

    def status(self) -> Timing:
        """Asks what changed, where the tool has a command for it; else what comes nearest."""
        return self.nothing_changed()

    def commit_changed(self) -> Timing:
        raise NotImplementedError

    def prepare_restore(self, target: Path) -> None:
        """What a user would have to do before the restore, and the empty folder. Not measured."""
        target.mkdir(parents=True)

    def restore(self, target: Path) -> Timing:
        """Writes the last committed version into `target`."""
        raise NotImplementedError

    def restored(self, target: Path) -> Path:
        """Where below `target` the files of the data folder are after a restore."""
        return target
