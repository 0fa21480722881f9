"""The tools compared, one class each, all driven as whole commands."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.peer import PHASES, Peer, Timing, first_line

CHECKOUT = Path(__file__).resolve().parent.parent
BENCH_ENV = CHECKOUT / ".venv-bench"


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
        # What pip does with a package; without it the first command of a checkout would.
        compiled = [sys.executable, "-m", "compileall", "-q", str(CHECKOUT / "dataver")]
        subprocess.run(compiled, env=self.env, check=True)
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
        return " ".join(first_line([cls.program() or "restic", "version"]).split()[:2])

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
        own = BENCH_ENV / "bin" / "dvc"
        return named or (str(own) if own.exists() else shutil.which("dvc"))

    @classmethod
    def version(cls) -> str:
        return "dvc " + first_line([cls.program() or "dvc", "--version"])

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


class Casync(Peer):
    """casync: an archive's index and a store of chunks. No encoder cache (`--cache`), as by default."""

    name = "casync"

    def init(self) -> None:
        (self.store / "chunks").mkdir(parents=True)

    def _casync(self, command: str, index: str, folder: Path) -> Timing:
        return self.run(
            command, f"--store={self.store / 'chunks'}", str(self.store / f"{index}.caidx"), str(folder)
        )

    def first_commit(self) -> Timing:
        return self._casync("make", "first", self.source)

    def nothing_changed(self) -> Timing:
        return self._casync("make", f"same-{time.monotonic_ns()}", self.source)

    def commit_changed(self) -> Timing:
        return self._casync("make", "changed", self.source)

    def restore(self, target: Path) -> Timing:
        return self._casync("extract", "changed", target)


class Library(Peer):
    """A package of `.venv-bench` without a command: a program beside this one calls it, a process a phase."""

    package: ClassVar[str]
    distribution: ClassVar[str]

    @classmethod
    def program(cls) -> str | None:
        found = any(BENCH_ENV.glob(f"lib/python*/site-packages/{cls.package}"))
        return str(BENCH_ENV / "bin" / "python") if found else None

    @classmethod
    def version(cls) -> str:
        asked = f"from importlib.metadata import version; print(version({cls.distribution!r}))"
        return f"{cls.distribution} " + first_line([cls.program() or "python3", "-Ic", asked])

    def drive(self, *arguments: str) -> Timing:
        driver = Path(__file__).with_name(f"{self.name}_driver.py")
        return self.run("-I", str(driver), *arguments)


class Xet(Library):
    """hf-xet with an endpoint on the local disk.

    What is stored are its xorbs and shards; the copies of the shards beside them are a cache, and the names
    and hashes of the files are the caller's to keep.
    """

    name, package, distribution = "xet", "hf_xet", "hf-xet"
    slow: ClassVar[dict[str, tuple[str, ...]]] = {"small": ("restore",), "labels": ("restore",)}

    def environment(self) -> dict[str, str]:
        return {"HF_XET_CACHE": str(self.home / "cache")}

    @property
    def _endpoint(self) -> Path:
        return self.home / "endpoint"

    @property
    def store(self) -> Path:
        return self._endpoint / "xet" / "xorbs"

    def init(self) -> None:
        self._endpoint.mkdir()

    def _transfer(self, command: str, folder: Path) -> Timing:
        return self.drive(command, f"local://{self._endpoint}", str(self.home / "hashes.json"), str(folder))

    def first_commit(self) -> Timing:
        return self._transfer("upload", self.source)

    def nothing_changed(self) -> Timing:
        return self._transfer("upload", self.source)

    def commit_changed(self) -> Timing:
        return self._transfer("upload", self.source)

    def restore(self, target: Path) -> Timing:
        return self._transfer("download", target)


class Oxen(Library):
    """Oxen's Python package.

    Its project has to be a folder above the data, as DVC's; `.oxen` there is a link to the store. What is
    restored into is another project with a link to the same store.
    """

    name, package, distribution = "oxen", "oxen", "oxenai"
    slow: ClassVar[dict[str, tuple[str, ...]]] = {"small": ("restore",), "labels": PHASES}

    def environment(self) -> dict[str, str]:
        return {"HOME": str(self.home)}

    @property
    def _project(self) -> Path:
        return self.source.parent

    def init(self) -> None:
        self.drive("init", str(self._project))
        made = self._project / ".oxen"
        made.rename(self.store)
        made.symlink_to(self.store)

    def _commit(self) -> Timing:
        return self.drive("commit", str(self._project), str(self.source))

    def first_commit(self) -> Timing:
        return self._commit()

    def nothing_changed(self) -> Timing:
        return self._commit()

    def status(self) -> Timing:
        return self.drive("status", str(self._project))

    def commit_changed(self) -> Timing:
        return self._commit()

    def prepare_restore(self, target: Path) -> None:
        super().prepare_restore(target)
        (target / ".oxen").symlink_to(self.store)

    def restore(self, target: Path) -> Timing:
        return self.drive("restore", str(target), self.source.name)

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
        return "dd conv=fsync, cp -r and find -printf of " + first_line(["cp", "--version"]).removeprefix(
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


PEERS: dict[str, type[Peer]] = {
    peer.name: peer for peer in (Dataver, Borg, Dvc, Restic, Xet, Oxen, Casync, Git, Floor)
}
TOOLS = ("dataver", "borg", "dvc", "restic", "xet", "oxen", "casync", "floor")
"""What is compared where nothing else is asked for."""
