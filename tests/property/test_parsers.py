"""Every reader of bytes and text, under a limit of memory and of time: malformed input is refused, at once.

A few seconds here; `make fuzz` goes on for longer, guided by coverage.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings

from tests.fuzzing.targets import TARGETS, attempt

PROJECT = Path(__file__).parents[2]
QUICK_S, LONG_S = 6, 120


@pytest.mark.parametrize("name", TARGETS)
def test_honest_samples_are_read(name: str) -> None:
    """So that what is changed of them gets as far as it can."""
    target = TARGETS[name]
    assert [attempt(target, sample) for sample in target.samples].count(True) >= 1


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=PROJECT, env=environment, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip


def test_no_reader_fails_otherwise_than_it_may() -> None:
    seconds = LONG_S if settings.get_current_profile_name() == "long" else QUICK_S
    seed = 1 if seconds == QUICK_S else os.getpid()
    done = python("-m", "tests.fuzzing", "--seconds", str(seconds), "--seed", str(seed))
    assert done.returncode == 0, done.stdout + done.stderr
    tried = re.search(r"(\d+) readers, ([\d,]+) inputs, 0 findings", done.stdout)
    assert tried is not None
    assert int(tried[1]) == len(TARGETS)
    assert int(tried[2].replace(",", "")) > 20 * len(TARGETS)


@pytest.mark.parametrize("reader", ["hog", "sleeper", "defect"])
def test_the_limits_hold(reader: str) -> None:
    """A reader that takes memory or time, or raises what it may not, is found."""
    script = (
        "import sys, time\n"
        "from tests.fuzzing import __main__ as fuzzing, targets\n"
        "fuzzing.INPUT_S_MAX = 1\n"
        "readers = {'hog': lambda data: bytearray(2 << 30), 'sleeper': lambda data: time.sleep(9),\n"
        "           'defect': lambda data: {}[data]}\n"
        "targets.TARGETS['it'] = targets.Target(readers[sys.argv[1]], (b'',))\n"
        "fuzzing.limit()\n"
        "sys.exit(not fuzzing.tried('it', b''))\n"
    )
    done = python("-c", script, reader)
    assert done.returncode == 1, done.stderr
    assert {"hog": "MemoryError", "sleeper": "TooSlowError", "defect": "KeyError"}[reader] in done.stdout
