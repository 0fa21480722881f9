"""Measures tools on a workload: interleaved, from equal beginnings, several rounds."""

from __future__ import annotations

import filecmp
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.memory import touch_apart
from benchmarks.peer import Peer, Timing
from benchmarks.workloads import Workload

Say = Callable[[str], None]

# ext4 without a journal passes over every inode that was freed in the last minute, one by one, whenever a
# file is made: after the deletion of a large tree, making many files takes several times as long. So trees of
# this many files are deleted when all is measured, or long enough before.
FILES_MANY = 1_000
FORGOTTEN_S = 65

# What a file takes on the disk besides its length: about half a block to the next whole one, and an inode.
BLOCK_BYTES = 4096

# What a command may take of memory besides twice the data: the files it writes and its buffers.
ROOM_BYTES = 1 << 30


@dataclass(slots=True)
class Measured:
    """What one tool did on one workload: each phase's measurements in order, and the bytes stored."""

    phases: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    stored_bytes: int | None = None  # after the first commit
    growth_bytes: int | None = None  # by the commit of the edit

    def add(self, phase: str, timing: Timing, flush_s: float) -> None:
        self.phases.setdefault(phase, []).append({**asdict(timing), "flush_s": flush_s})

    def best_s(self, phase: str) -> float | None:
        """The shortest wall time of the phase, None where it was not measured."""
        return min((one["wall_s"] for one in self.phases.get(phase, [])), default=None)

    def spread(self, phase: str) -> float:
        """The longest wall time of the phase over the shortest."""
        times = [one["wall_s"] for one in self.phases.get(phase, [])]
        return max(times) / min(times) if times else 1.0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def settle(*folders: Path, cold: bool, room_bytes: int) -> None:
    """Gives every phase the same beginning.

    Nothing waits to be written; all bytes of `folders` are in the page cache, or with `cold` none of them;
    and the machine has `room_bytes` of free memory at hand that need not come from a host first.
    """
    os.sync()
    if cold:
        Path("/proc/sys/vm/drop_caches").write_text("3")
    else:
        read_all(*folders)
    touch_apart(room_bytes)


def read_all(*folders: Path) -> None:
    """Reads every file below `folders` once, so that it is in the page cache."""
    buffer = bytearray(1 << 20)
    for folder in folders:
        for parent, _, names in os.walk(folder):
            for name in names:
                path = os.path.join(parent, name)
                if os.path.islink(path):
                    continue
                with open(path, "rb", buffering=0) as file:
                    while file.readinto(buffer):
                        pass


def stamps(folder: Path) -> int:
    """A number that is another one once any file of `folder` was written, moved or touched."""
    found: list[tuple[str, int, int]] = []
    for parent, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(parent, name)
            facts = os.lstat(path)
            found.append((path, facts.st_ctime_ns, facts.st_ino))
    return hash(tuple(sorted(found)))


def same_files(left: Path, right: Path) -> bool:
    """Whether both folders hold the same files with the same bytes."""

    def names(folder: Path) -> list[str]:
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())

    every = names(left)
    filecmp.clear_cache()
    return every == names(right) and not any(filecmp.cmpfiles(left, right, every, shallow=False)[1:])


class Round:
    """One round: every tool with a new repository, all versioning one folder, which no tool may change."""

    def __init__(
        self,
        workload: Workload,
        kinds: Sequence[type[Peer]],
        folder: Path,
        *,
        cold: bool,
        slow: bool,
        checked: bool,
    ) -> None:
        self._workload, self._folder, self._checked = workload, folder, checked
        self._cold, self._slow = cold, slow
        self._room_bytes = 2 * workload.size_bytes + ROOM_BYTES
        self._source = folder / "work" / "data"  # DVC's project is `work`
        self._source.parent.mkdir(parents=True)
        workload.copy_to(self._source)
        self._peers = [kind(folder / kind.name, self._source) for kind in kinds]
        for peer in self._peers:
            peer.init()

    def run(self, phases: Sequence[str], into: dict[str, Measured], say: Say) -> None:
        """Runs phase after phase, each with one tool after the other.

        What was measured is added to `into`, by name of tool.
        """
        for phase in phases:
            if phase == "commit_changed":
                self._workload.apply_edit(self._source)
            before = stamps(self._source)
            for peer in self._peers:
                if phase not in peer.phases or (not self._slow and phase in self._left_out(peer)):
                    continue
                measured = into.setdefault(peer.name, Measured())
                had_bytes = peer.stored_bytes() if phase == "commit_changed" else 0
                timing, flush_s = self._one(peer, phase)
                measured.add(phase, timing, flush_s)
                say(f"  {phase:16} {peer.name:8} {timing.wall_s:8.2f} s")
                if phase == "first_commit":
                    measured.stored_bytes = peer.stored_bytes()
                if phase == "commit_changed":
                    measured.growth_bytes = peer.stored_bytes() - had_bytes
                if stamps(self._source) != before:
                    raise RuntimeError(
                        f"{phase} by {peer.name} changed the shared data, and so the other tools' figures"
                    )

    def _left_out(self, peer: Peer) -> tuple[str, ...]:
        return peer.slow.get(self._workload.name, ())

    def _one(self, peer: Peer, phase: str) -> tuple[Timing, float]:
        """The timing of one command, and the seconds that a `sync` took after it."""
        if phase == "restore":
            return self._restore(peer)
        settle(self._source, peer.home, cold=self._cold, room_bytes=self._room_bytes)
        method: Callable[[], Timing] = getattr(peer, phase)
        timing = method()
        return timing, flushed_s()

    def _restore(self, peer: Peer) -> tuple[Timing, float]:
        target = self._folder / "restored" / peer.name
        peer.prepare_restore(target)
        settle(self._source, peer.home, cold=self._cold, room_bytes=self._room_bytes)
        timing = peer.restore(target)
        flush_s = flushed_s()
        if self._checked and not same_files(self._source, peer.restored(target)):
            raise RuntimeError(f"{peer.name} restored other files than were committed")
        return timing, flush_s


def flushed_s() -> float:
    """Seconds that `sync` takes now."""
    start = time.perf_counter()
    os.sync()
    return time.perf_counter() - start


def measure(
    workload: Workload,
    kinds: Sequence[type[Peer]],
    phases: Sequence[str],
    *,
    rounds: int,
    folder: Path,
    cold: bool = False,
    slow: bool = False,
    say: Say = print,
) -> dict[str, Measured]:
    """Measures each tool `rounds` times, below `folder`, which is made anew.

    The order of the tools moves on by one each round. In the first one the restored bytes are compared.
    With `slow` also the phases that take a tool minutes are measured (`Peer.slow`).
    What a round of many files leaves behind stays until `folder` is deleted (see `FILES_MANY`).
    """
    clear(folder, say)
    found: dict[str, Measured] = {}
    for number in range(rounds):
        say(f"{workload.name}, round {number + 1} of {rounds}")
        turn = number % len(kinds)
        ordered = [*kinds[turn:], *kinds[:turn]]
        place = folder / str(number)
        one = Round(workload, ordered, place, cold=cold, slow=slow, checked=number == 0)
        one.run(phases, found, say)
        if workload.files < FILES_MANY:
            shutil.rmtree(place)
    return {kind.name: found[kind.name] for kind in kinds if kind.name in found}


def clear(folder: Path, say: Say) -> None:
    """Deletes what an earlier run left, and lets that pass out of the file system's mind."""
    many = sum(len(names) for _, _, names in os.walk(folder)) >= FILES_MANY
    shutil.rmtree(folder, ignore_errors=True)
    os.sync()
    if many:
        say(f"waiting {FORGOTTEN_S} s: an earlier run's files were deleted")
        time.sleep(FORGOTTEN_S)


def room_needed(workload: Workload, tools: int, rounds: int) -> int:
    """About how many bytes of disk `measure` takes: the data, its copies, repositories, restored folders."""
    kept = rounds if workload.files >= FILES_MANY else 1
    one_copy = workload.size_bytes + workload.files * BLOCK_BYTES
    return one_copy * (2 + kept * (1 + 3 * tools))


def warn_if_busy() -> None:
    """Says so on standard error where other work would spoil the figures."""
    load = os.getloadavg()[0]
    if load > 0.5:
        print(
            f"warning: other programs keep this machine busy (load {load:.1f}); only the ratios mean much",
            file=sys.stderr,
        )
