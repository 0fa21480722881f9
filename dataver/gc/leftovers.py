"""What writers that were killed left unfinished: files that are no objects, which no listing shows."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from dataver.store.base import Store, innermost

LEFTOVER_AGE_S = 3_600.0
"""Unfinished files that nobody wrote to for so long are of writers that were killed."""


@runtime_checkable
class HasLeftovers(Protocol):
    """A store in which writers that are killed leave files that are no objects."""

    def remove_leftovers(self, age_s_min: float, *, dry_run: bool = False) -> tuple[int, int]:
        """Remove those not written to for so many seconds: how many, and their bytes."""


def remove_leftovers(store: Store, *, dry_run: bool = False) -> tuple[int, int]:
    """Remove what was left unfinished: how many files, and their bytes. Raises as the store's own does."""
    inner = innermost(store)
    if isinstance(inner, HasLeftovers):
        return inner.remove_leftovers(LEFTOVER_AGE_S, dry_run=dry_run)
    return 0, 0
