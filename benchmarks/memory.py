"""Touches free memory, so that no tool pays for what the host of a virtual machine gives late.

    python -m benchmarks.memory 4096        as many MiB

Such a machine gets a page from its host when the page is first written to, which costs several times as
much as the copy into it; a page that was in use a moment ago costs nothing more. A kernel may tell the host
what has been free for some seconds, and the host takes that back. So what ran before decides whether a
command writes 1 GiB in 0.3 s or in 2.5 s, unless the pages that it will get are touched right before it.
"""

from __future__ import annotations

import mmap
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

MARGIN_BYTES = 3 << 29
"""Stays untouched, for other programs."""
STEP_BYTES = 64 << 20

_MEMORY = Path("/proc/meminfo")
_LIMIT = Path("/sys/fs/cgroup/memory.max")
_USED = Path("/sys/fs/cgroup/memory.current")
_SACRIFICE = Path("/proc/self/oom_score_adj")


def free_bytes() -> int:
    """Memory that holds nothing, as far as this process may have it; 0 where the system does not say."""
    try:
        facts = dict(line.split(":") for line in _MEMORY.read_text().splitlines())
        free = int(facts["MemFree"].split()[0]) << 10
    except (OSError, KeyError, ValueError):
        return 0
    with suppress(OSError, ValueError):  # no control group, or one without a limit
        free = min(free, int(_LIMIT.read_text()) - int(_USED.read_text()))
    return free


def touch(size_bytes: int, margin_bytes: int = MARGIN_BYTES) -> int:
    """Has the kernel clear so many bytes of free pages, while `margin_bytes` are left.

    Gives the bytes touched. All are free again afterwards, and nothing was driven out of the page cache.
    Linux only; elsewhere nothing is done.
    """
    if not sys.platform.startswith("linux"):
        return 0
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE
    held: list[mmap.mmap] = []
    try:
        while len(held) * STEP_BYTES < size_bytes and free_bytes() >= margin_bytes + STEP_BYTES:
            held.append(mmap.mmap(-1, STEP_BYTES, flags=flags))
        return len(held) * STEP_BYTES
    finally:
        for one in held:
            one.close()


def touch_apart(size_bytes: int) -> None:
    """`touch` in a process of its own, the first that the kernel ends should memory get short."""
    command = [sys.executable, "-m", "benchmarks.memory", str(-(-size_bytes >> 20))]
    subprocess.run(command, cwd=Path(__file__).parent.parent, check=False)


if __name__ == "__main__":
    with suppress(OSError):
        _SACRIFICE.write_text("1000")
    touch(int(sys.argv[1]) << 20)
