"""Full disks and disks that may only be read: told in a line, nothing lost, and a repeat completes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fault.disks import CHECKOUT, mounting, ways
from tests.fault.scenes import VERBS


@pytest.mark.parametrize("way", ways())
def test_every_verb_on_such_disks(tmp_path: Path, way: str) -> None:
    start = (mounting() or []) if way == "tmpfs" else []
    done = subprocess.run(
        [*start, sys.executable, "-m", "tests.fault.disks", way, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert set(told) == {str(verb) for verb in [*VERBS, CHECKOUT]}
    assert [verb for verb, ends in told.items() if not (ends["full"] and ends["enough"])] == []
