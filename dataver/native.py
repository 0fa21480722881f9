"""The compiled part, for many small steps; None where it was not built.

It is optional: what it does, Python does as well, and gives the same, more slowly. See `dataver/_native.c`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from blake3 import blake3

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["native"]

_TRIED = tuple((bytes(range(251)) * 80)[:size] for size in (0, 1, 63, 64, 65, 1024, 1025, 2049, 5000, 20_000))


def _native() -> ModuleType | None:
    """The compiled part, where it hashes right: a compiler's mistake must not become a file's identity."""
    try:
        import dataver._native as native
    except ImportError:
        return None
    # One after the other, and all side by side: few and many lanes are other code.
    alone = b"".join(native.digests([data]) for data in _TRIED)
    right = b"".join(blake3(data).digest() for data in _TRIED)
    return native if alone == right and native.digests(_TRIED) == right else None


native = _native()
