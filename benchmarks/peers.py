"""The tools compared, one class each, all driven as whole commands.

A tool is given a folder of its own for everything it keeps (repository, caches, configuration) and the folder
of data that it versions; it leaves nothing anywhere else. The phases are named in `PHASES`. A phase is one
command; what has to be prepared for it is done before, unmeasured.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

CHECKOUT = Path(__file__).resolve().parent.parent

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
    with tempfile.TemporaryFile() as output:
        start = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            shown = output.read().decode(errors="replace")[-4_000:]
            raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}:\n{shown}")
    return Timing(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def tree_bytes(folder: Path) -> int:
    """Sum of the lengths of all files below `folder`, without what file systems round up to."""
    total = 0
    for parent, _, names in os.walk(folder):
        total += sum(os.lstat(os.path.join(parent, name)).st_size for name in names)
    return total


class Peer:
    """One tool with one repository in `home`, versioning `source`. Subclasses say which commands do what."""

    name: ClassVar[str]
    phases: ClassVar[tuple[str, ...]] = PHASES
    """The phases that the tool can be asked for."""

    def __init__(self, home: Path, source: Path) -> None:
        self.home, self.source = home, source
        home.mkdir(parents=True)
        self.env = {**os.environ, **self.environment()}

    @classmethod
    def program(cls) -> str | None:
        """The program's path, None where it is not installed."""
        return shutil.which(cls.name)

    @classmethod
    def version(cls) -> str:
        """What the program says of its version, one line."""
        return _first_line([cls.program() or cls.name, "--version"])

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


class Dataver(Peer):
    """dataver as this checkout has it, with its defaults."""

    name = "dataver"

    @classmethod
    def program(cls) -> str | None:
        beside = Path(sys.executable).with_name("dataver")
        return str(beside) if beside.exists() else shutil.which("dataver")

    def environment(self) -> dict[str, str]:
        return {
            "DATAVER_REPO": str(self.store),
            "DATAVER_CACHE_DIR": str(self.home / "cache"),
            "DATAVER_AUTHOR": "bench",
        }

    def init(self) -> None:
        self.run("init", str(self.store))

    def _commit(self) -> Timing:
        return self.run("commit", "bench", str(self.source), "-m", "benchmark")

    def first_commit(self) -> Timing:
        return self._commit()

    def nothing_changed(self) -> Timing:
        return self._commit()

    def status(self) -> Timing:
        return self.run("status", "bench", str(self.source))

    def commit_changed(self) -> Timing:
        return self._commit()

    def restore(self, target: Path) -> Timing:
        return self.run("checkout", "bench", str(target))

    def commit_document(self) -> dict[str, Any]:
        """Commits, and returns what `commit --json` says."""
        program = self.program()
        assert program is not None
        command = [program, "commit", "bench", str(self.source), "-m", "benchmark", "--json"]
        answer = subprocess.run(command, env=self.env, stdout=subprocess.PIPE, check=True)
        document: dict[str, Any] = json.loads(answer.stdout)
        return document


class Borg(Peer):
    """borg 1.x: zstd level 1 and no encryption, the quickest settings it has that still compress."""

    name = "borg"

    def environment(self) -> dict[str, str]:
        return {
            "BORG_REPO": str(self.store),
            "BORG_BASE_DIR": str(self.home / "base"),
            "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
        }

    def init(self) -> None:
        self.run("init", "--encryption", "none")

    def _create(self, archive: str) -> Timing:
        return self.run("create", "--compression", "zstd,1", f"::{archive}", ".", cwd=self.source)

    def first_commit(self) -> Timing:
        return self._create("first")

    def nothing_changed(self) -> Timing:
        return self._create(f"same-{time.monotonic_ns()}")

    def commit_changed(self) -> Timing:
        return self._create("changed")

    def restore(self, target: Path) -> Timing:
        return self.run("extract", "::changed", cwd=target)


class Restic(Peer):
    """restic always encrypts; the password is part of the benchmark."""

    name = "restic"

    @classmethod
    def version(cls) -> str:
        return " ".join(_first_line([cls.program() or "restic", "version"]).split()[:2])

    def environment(self) -> dict[str, str]:
        return {
            "RESTIC_REPOSITORY": str(self.store),
            "RESTIC_CACHE_DIR": str(self.home / "cache"),
            "RESTIC_PASSWORD": "benchmark",
        }

    def init(self) -> None:
        self.run("init")

    def _backup(self) -> Timing:
        return self.run("backup", ".", cwd=self.source)

    def first_commit(self) -> Timing:
        return self._backup()

    def nothing_changed(self) -> Timing:
        return self._backup()

    def commit_changed(self) -> Timing:
        return self._backup()

    def restore(self, target: Path) -> Timing:
        return self.run("restore", "latest", "--target", str(target))


class Dvc(Peer):
    """DVC without git, cache type copy.

    Its project has to be a folder above the data; `.dvc/` and the file for the data lie beside it.
    """

    name = "dvc"

    @classmethod
    def program(cls) -> str | None:
        named = os.environ.get("DATAVER_BENCH_DVC")
        own = CHECKOUT / ".venv-bench" / "bin" / "dvc"
        return named or (str(own) if own.exists() else shutil.which("dvc"))

    @classmethod
    def version(cls) -> str:
        return "dvc " + _first_line([cls.program() or "dvc", "--version"])

    def environment(self) -> dict[str, str]:
        return {
            "DVC_NO_ANALYTICS": "1",
            "DVC_GLOBAL_CONFIG_DIR": str(self.home),
            "DVC_SYSTEM_CONFIG_DIR": str(self.home),
            "DVC_SITE_CACHE_DIR": str(self.home / "site"),
        }

    @property
    def store(self) -> Path:
        return self.home / "cache"

    @property
    def _project(self) -> Path:
        return self.source.parent

    @property
    def _pointer(self) -> Path:
        return self._project / (self.source.name + ".dvc")

    def _make_project(self, folder: Path) -> None:
        self.run("init", "--no-scm", cwd=folder)
        core = "[core]\n    analytics = false\n    check_update = false\n    no_scm = true\n"
        cache = f"[cache]\n    type = copy\n    dir = {self.store}\n"
        (folder / ".dvc" / "config").write_text(core + cache)

    def init(self) -> None:
        self._make_project(self._project)

    def first_commit(self) -> Timing:
        return self.run("add", self.source.name, cwd=self._project)

    def nothing_changed(self) -> Timing:
        return self.run("commit", "--force", self._pointer.name, cwd=self._project)

    def status(self) -> Timing:
        return self.run("status", self._pointer.name, cwd=self._project)

    def commit_changed(self) -> Timing:
        return self.run("commit", "--force", self._pointer.name, cwd=self._project)

    def prepare_restore(self, target: Path) -> None:
        super().prepare_restore(target)
        self._make_project(target)
        shutil.copy(self._pointer, target)

    def restore(self, target: Path) -> Timing:
        return self.run("checkout", cwd=target)

    def restored(self, target: Path) -> Path:
        return target / self.source.name


class Git(Peer):
    """git, for `status` alone: the folder is its work tree, the repository lies elsewhere."""

    name = "git"
    phases = ("first_commit", "status")

    def environment(self) -> dict[str, str]:
        who = {
            f"GIT_{role}_{what}": "bench" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
        }
        return {
            "GIT_DIR": str(self.store),
            "GIT_WORK_TREE": str(self.source),
            "GIT_CONFIG_NOSYSTEM": "1",
            "HOME": str(self.home),
            **who,
        }

    def init(self) -> None:
        self.run("init", "--quiet")

    def first_commit(self) -> Timing:
        added = self.run("add", "--all", cwd=self.source)
        made = self.run("commit", "--quiet", "-m", "benchmark", cwd=self.source)
        return Timing(
            added.wall_s + made.wall_s,
            added.cpu_s + made.cpu_s,
            max(added.resident_bytes_max, made.resident_bytes_max),
        )

    def status(self) -> Timing:
        return self.run("status", "--porcelain", cwd=self.source)


class Floor(Peer):
    """No versioning at all: what the machine takes to copy the same bytes, or to look at every file once."""

    name = "floor"
    phases = ("first_commit", "status", "restore")

    @classmethod
    def version(cls) -> str:
        return "dd conv=fsync, cp -r and find -printf of " + _first_line(["cp", "--version"]).removeprefix(
            "cp "
        )

    @classmethod
    def program(cls) -> str | None:
        return "env"

    def init(self) -> None:
        self.store.mkdir()

    def first_commit(self) -> Timing:
        return self._copy(self.source, self.store)

    def status(self) -> Timing:
        return self.run("find", str(self.source), "-printf", "%p %s %T@ %C@ %i\\n")

    def restore(self, target: Path) -> Timing:
        return self._copy(self.source, target)

    def _copy(self, source: Path, target: Path) -> Timing:
        """One big file is forced to the disk as every commit is; a tree of files is not, as no restore is."""
        files = list(source.iterdir())
        if len(files) == 1:
            return self.run("dd", f"if={files[0]}", f"of={target / files[0].name}", "bs=1M", "conv=fsync")
        return self.run("cp", "-r", "--reflink=never", f"{source}/.", str(target))


def _first_line(command: list[str]) -> str:
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    return (answer.stdout + answer.stderr).strip().splitlines()[0]


PEERS: dict[str, type[Peer]] = {peer.name: peer for peer in (Dataver, Borg, Dvc, Restic, Git, Floor)}
TOOLS = ("dataver", "borg", "dvc", "restic", "floor")
"""What is compared where nothing else is asked for."""
