"""Collections, prunes, erasures and repairs killed at any moment, beside a process that commits."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fault.kills import PREY, Prey, check_kills


@pytest.mark.parametrize("prey", PREY, ids=str)
def test_a_few_kills(tmp_path: Path, prey: Prey) -> None:
    assert check_kills(prey, tmp_path, kills=4, seed=1).kills


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("prey", PREY, ids=str)
def test_many_kills(tmp_path: Path, prey: Prey, seed: int) -> None:
    assert check_kills(prey, tmp_path, kills=40, seed=seed).kills > 10
