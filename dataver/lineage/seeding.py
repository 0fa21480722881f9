"""Seeding the generators of random numbers that training code draws from."""

from __future__ import annotations

import sys

__all__ = ["seed_all"]


def seed_all(value: int) -> dict[str, int]:
    """Seed `random`, and NumPy and PyTorch where they are loaded; the seed that each got, by its name."""
    import random

    random.seed(value)
    seeded = {"python": value}
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if numpy is not None:
        seeded["numpy"] = value % 2**32
        numpy.random.seed(seeded["numpy"])
    if torch is not None:
        torch.manual_seed(value)
        seeded["torch"] = value
    return seeded
